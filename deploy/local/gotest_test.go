package main

import (
	"strings"
	"testing"
)

func TestGoTestsEventsBecomeItsLines(t *testing.T) {
	events := `{"Action":"start","Package":"ticktape/a"}
{"Action":"run","Package":"ticktape/a","Test":"TestGood"}
{"Action":"output","Package":"ticktape/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"ticktape/a","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"ticktape/a","Test":"TestGood"}
{"Action":"output","Package":"ticktape/b","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"ticktape/b","Test":"TestBad","Output":"    b_test.go:1: no\n"}
{"Action":"output","Package":"ticktape/b","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"ticktape/b","Test":"TestBad"}
{"Action":"output","Package":"ticktape/b","Test":"TestAway","Output":"--- SKIP: TestAway (0.00s)\n"}
{"Action":"skip","Package":"ticktape/b","Test":"TestAway"}
{"Action":"output","Package":"ticktape/b","Test":"TestHung","Output":"panic: test timed out\n"}
{"Action":"output","Package":"ticktape/b","Output":"FAIL\n"}
{"Action":"output","Package":"ticktape/b","Output":"FAIL\tticktape/b\t0.1s\n"}
{"Action":"fail","Package":"ticktape/b"}
{"ImportPath":"ticktape/c","Action":"build-output","Output":"c.go:1: undefined: x\n"}
{"ImportPath":"ticktape/c","Action":"build-fail"}
a line that is no event
{"Action":"output","Package":"ticktape/a","Output":"PASS\n"}
{"Action":"output","Package":"ticktape/a","Output":"ok  \tticktape/a\t0.1s\n"}
`
	const done = `{"Action":"pass","Package":"ticktape/a"}` + "\n"
	var out strings.Builder
	lines := newGoTestLines(&out)
	lines.read(strings.NewReader(events))
	if got := lines.underWay(); !strings.HasPrefix(got, "a (") {
		t.Errorf("under way: %s", got)
	}
	lines.read(strings.NewReader(done))
	want := `    b_test.go:1: no
--- FAIL: TestBad (0.00s)
--- SKIP: TestAway (0.00s)
panic: test timed out
FAIL
FAIL	ticktape/b	0.1s
c.go:1: undefined: x
a line that is no event
ok  	ticktape/a	0.1s
`
	if out.String() != want {
		t.Errorf("lines:\n%s\nwant:\n%s", out.String(), want)
	}
	if got := lines.underWay(); got != "compiling" {
		t.Errorf("under way at the end: %s", got)
	}
}
