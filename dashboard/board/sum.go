package board

import (
	"fmt"
	"math/big"
	"strings"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// AppendSum writes a sum of prices, which is in units of 1e-8, as exact decimal text.
func AppendSum(b []byte, s window.Sum) []byte {
	if s.Hi == int64(s.Lo)>>63 {
		return tick.Price(s.Lo).AppendText(b)
	}
	v := new(big.Int).Lsh(big.NewInt(s.Hi), 64)
	v.Add(v, new(big.Int).SetUint64(s.Lo))
	if v.Sign() < 0 {
		b = append(b, '-')
	}
	whole, rest := new(big.Int).DivMod(v.Abs(v), big.NewInt(int64(tick.Unit)), new(big.Int))
	b = whole.Append(b, 10)
	if frac := strings.TrimRight(fmt.Sprintf("%08d", rest.Int64()), "0"); frac != "" {
		b = append(append(b, '.'), frac...)
	}
	return b
}

// ParseSum reads what AppendSum writes. The error says what the text is.
func ParseSum(text string) (window.Sum, error) {
	digits, neg := strings.CutPrefix(text, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	bad := fmt.Errorf("%.50q is no decimal number of at most %d places", text, tick.Decimals)
	if whole == "" || len(frac) > tick.Decimals || len(whole) > 40 || strings.Trim(whole+frac, "0123456789") != "" {
		return window.Sum{}, bad
	}
	v, ok := new(big.Int).SetString(whole+frac+strings.Repeat("0", tick.Decimals-len(frac)), 10)
	if !ok || v.BitLen() > 127 {
		return window.Sum{}, bad
	}
	s := window.Sum{Hi: new(big.Int).Rsh(v, 64).Int64(), Lo: new(big.Int).And(v, new(big.Int).SetUint64(1<<64-1)).Uint64()}
	if neg {
		var zero window.Sum
		zero.Sub(s)
		s = zero
	}
	return s, nil
}
