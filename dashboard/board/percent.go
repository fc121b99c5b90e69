package board

import (
	"math/bits"
	"strconv"
)

// Percent returns part / whole in percent with two decimals, rounded half to
// even, as decimal text. The percentage is of whole's magnitude, so that it has
// the sign of part. It is empty where whole is zero or the result out of range.
func Percent(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	of := uint64(whole)
	if whole < 0 {
		of = -of
	}
	neg := part < 0
	abs := uint64(part)
	if neg {
		abs = -abs
	}
	hi, lo := bits.Mul64(abs, 10_000)
	if hi >= of {
		return ""
	}
	q, r := bits.Div64(hi, lo, of)
	if rest := of - r; r > rest || r == rest && q%2 == 1 {
		q++
	}
	out := make([]byte, 0, 24)
	if neg && q != 0 {
		out = append(out, '-')
	}
	out = strconv.AppendUint(out, q/100, 10)
	return string(append(out, '.', byte('0'+q/10%10), byte('0'+q%10)))
}
