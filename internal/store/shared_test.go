package store

import (
	"bytes"
	"testing"

	"ticktape/internal/window"
)

// FuzzSharedRow reads rows of several chunks of any cells: of those that were made
// here the same chunks come back, and of others an error or none.
func FuzzSharedRow(f *testing.F) {
	row := []Chunk{
		{Symbol: "AAPL", First: 10, Last: 12, Summary: []byte("a summary"), Ticks: []byte("ticks")},
		{Symbol: "MSFT", First: 11, Last: 11, Ticks: bytes.Repeat([]byte("many ticks "), 50)},
	}
	v := newValues(2, 100)
	summary, ticks := v.sharedRow(10, row)
	var got []Chunk
	if err := eachShared(10, *summary, (*[]byte)(ticks), func(c *sharedChunk) bool {
		got = append(got, Chunk{Symbol: string(c.Symbol), First: c.First, Last: c.Last, Summary: c.Summary, Ticks: c.Ticks})
		return true
	}); err != nil || len(got) != len(row) {
		f.Fatalf("read back %v, %v", got, err)
	}
	for i := range got {
		if w, g := &row[i], &got[i]; g.Symbol != w.Symbol || g.First != w.First || g.Last != w.Last || !bytes.Equal(g.Summary, w.Summary) || !bytes.Equal(g.Ticks, w.Ticks) {
			f.Errorf("read back %v, want %v", g, w)
		}
	}
	f.Add([]byte(*summary), []byte(*ticks))
	f.Add([]byte(*summary)[:len(*summary)-1], []byte(*ticks))
	f.Add([]byte(*summary), []byte(*ticks)[:3])
	f.Fuzz(func(t *testing.T, summary, ticks []byte) {
		chunks := 0
		err := eachShared(0, summary, &ticks, func(c *sharedChunk) bool {
			chunks++
			if len(c.Symbol)+len(c.Summary) > len(summary) || len(c.Ticks) > len(ticks) {
				t.Errorf("chunk %v is larger than its cells", c)
			}
			return true
		})
		if err == nil && chunks == 0 && len(summary) > 0 {
			t.Error("a cell with something in it had no chunk, and that was no error")
		}
	})
}

// FuzzBucketCell does the same with the registers of a bucket.
func FuzzBucketCell(f *testing.F) {
	v := newValues(1, 100)
	for _, symbol := range []string{"A", "MSFT"} {
		v.bytes = append(append(v.bytes, byte(len(symbol))), symbol...)
		for i := range int64(4) {
			v.bytes = appendPoint(v.bytes, window.Point{EventTime: i, Offset: i + 1, Price: -i})
		}
	}
	f.Add(v.bytes)
	f.Add(v.bytes[:len(v.bytes)-1])
	f.Fuzz(func(t *testing.T, cell []byte) {
		size := 0
		err := eachOfBucket(cell, func(symbol []byte, p *points) { size += 1 + len(symbol) + pointsSize })
		if size > len(cell) || err == nil && size != len(cell) {
			t.Errorf("read %d of %d bytes, error %v", size, len(cell), err)
		}
	})
}
