package query

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// position is where the page before ended, and the range that it was cut from:
// a range that was left to its default must not move between two pages.
type position struct {
	From, To int64
	// At is the key of the last item given, or of the next one to give: what it
	// means is the function's affair.
	At []int64
	// Symbol is the last symbol given, where symbols are paged through.
	Symbol string
}

const cursorVersion = 1

// encode writes the position as opaque text. query stands for the parameters
// that the position belongs to.
func (p *position) encode(query string) string {
	b := []byte{cursorVersion}
	b = binary.AppendVarint(b, p.From)
	b = binary.AppendVarint(b, p.To)
	b = binary.AppendUvarint(b, uint64(len(p.At)))
	for _, v := range p.At {
		b = binary.AppendVarint(b, v)
	}
	b = append(b, p.Symbol...)
	b = binary.BigEndian.AppendUint32(b, cursorSum(b, query))
	return base64.RawURLEncoding.EncodeToString(b)
}

// cursorSum guards against damage and against a cursor that is sent with
// another query. It is no signature: a made-up cursor can only ask for what its
// maker could have asked for by parameters, which are checked after it is read.
func cursorSum(b []byte, query string) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b), crc32.IEEETable, []byte(query))
}

// maxAt bounds the numbers of a position.
const maxAt = 4

// maxCursor is more than the longest cursor there is.
const maxCursor = 200

// decodeCursor reads what encode wrote for the same query; ok is false for
// anything else.
func decodeCursor(text, query string) (p position, ok bool) {
	if len(text) > maxCursor {
		return p, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 5 || b[0] != cursorVersion {
		return p, false
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if cursorSum(b, query) != sum {
		return p, false
	}
	b = b[1:]
	next := func() (v int64) {
		v, n := binary.Varint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	ok = true
	p.From, p.To = next(), next()
	count, n := binary.Uvarint(b)
	if n <= 0 || count > maxAt {
		return p, false
	}
	b = b[n:]
	for range count {
		p.At = append(p.At, next())
	}
	p.Symbol = string(b)
	return p, ok
}
