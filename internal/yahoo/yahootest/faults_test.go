package yahootest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestFaultsWrittenAsText(t *testing.T) {
	for text, want := range map[string]string{
		"kind=429&call=quote&times=3&retry_after=30": "",
		"kind=503&for=10m":                           "",
		"kind=slow&delay=2s":                         "",
		"kind=bad-crumb":                             "",
		"call=quote":                                 "is no kind of fault",
		"kind=17":                                    "is no kind of fault",
		"kind=429&call=quotes":                       "is none of",
		"kind=429&times=0":                           "no number above 0",
		"kind=429&for=ten":                           "is no time",
		"kind=cut&retry_after=3":                     "needs a kind that is a status",
		"kind=429&retries=3":                         "is no part of a fault",
		"kind=%zz":                                   "write it like",
	} {
		f, err := ParseFault(text)
		if want == "" && (err != nil || f.name != text) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
	for _, kind := range FaultKinds() {
		if _, err := ParseFault("kind=" + kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestFaultsAreSwitchedWhileTheServerRuns(t *testing.T) {
	now := noon
	s := NewServer(Options{Clock: func() time.Time { return now }})
	control := func(method, path string) string {
		t.Helper()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Body.String()
	}
	if text := control("POST", "/control/faults?kind=429&call=chart&for=10m&retry_after=7"); !strings.Contains(text, "(10m0s left)") {
		t.Errorf("after the injection: %s", text)
	}
	control("POST", "/control/faults?kind=503&call=chart&times=1")
	path := "/v8/finance/chart/AAPL?interval=1m&period1=" + itoa(noon.Add(-time.Minute)) + "&period2=" + itoa(noon)
	for _, want := range []struct {
		passed time.Duration
		status int
	}{{0, 429}, {9 * time.Minute, 429}, {10 * time.Minute, 503}, {10 * time.Minute, 200}} {
		now = noon.Add(want.passed)
		if status, _, h := get(t, s, path, ""); status != want.status || status == 429 && h.Get("Retry-After") != "7" {
			t.Errorf("after %s: %d, header %v", want.passed, status, h)
		}
	}
	control("POST", "/control/faults?kind=html")
	if text := control("DELETE", "/control/faults"); !strings.Contains(text, `"faults":[]`) || !strings.Contains(text, `"chart":4`) {
		t.Errorf("healed: %s", text)
	}
	if text := control("POST", "/control/faults?kind=none"); !strings.Contains(text, "is no kind of fault: give a status, or one of as-text, bad-crumb") {
		t.Errorf("a mistake: %s", text)
	}

	cookie, _ := enter(t, s)
	control("POST", "/control/expire")
	if status, _, _ := get(t, s, "/v1/test/getcrumb", cookie); status != http.StatusUnauthorized {
		t.Errorf("expired: %d", status)
	}
	if text := control("POST", "/control/consent"); !strings.Contains(text, `"consent":true`) {
		t.Errorf("consent: %s", text)
	}
	if status, _, h := get(t, s, "/quote/AAPL", ""); status != http.StatusFound || h.Get("Location") != "/consent?done=%2Fquote%2FAAPL" {
		t.Errorf("a quote page: %d to %s", status, h.Get("Location"))
	}
	control("DELETE", "/control/faults")
	enter(t, s)
}

func TestTheConsentFormIsTakenAsAWholeOnly(t *testing.T) {
	s := NewServer(Options{})
	s.AskForConsent()
	form := "csrfToken=" + s.token(csrfKind) + "&sessionId=3_cc-session_" + s.token(sessionKind) + "&originalDoneUrl=%2F&namespace=yahoo&agree=agree"
	for _, c := range []struct {
		name, form string
		status     int
	}{
		{"whole", form, http.StatusFound},
		{"without consent", strings.Replace(form, "agree=agree", "reject=reject", 1), http.StatusBadRequest},
		{"with another token", strings.Replace(form, "csrfToken=", "csrfToken=x", 1), http.StatusBadRequest},
		{"without an address", strings.Replace(form, "originalDoneUrl=%2F", "", 1), http.StatusBadRequest},
	} {
		r := httptest.NewRequest(http.MethodPost, "/v2/collectConsent", strings.NewReader(c.form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "GUCS", Value: s.token(sessionKind)})
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}
