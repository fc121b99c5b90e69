package query

import (
	"math/big"
	"strings"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// Decimal is an exact decimal number: units × 10^-places. It marshals as a JSON
// number of its shortest exact text. A nil *Decimal is a value that does not exist.
type Decimal struct {
	units  *big.Int
	places int
}

// percentPlaces is the number of decimal places of a percentage.
const percentPlaces = 4

// sumDecimal is a sum of prices, or of price × size, in units of 1e-8.
func sumDecimal(s window.Sum) *Decimal {
	return &Decimal{bigSum(s), tick.Decimals}
}

// bigSum widens a 128-bit sum.
func bigSum(s window.Sum) *big.Int {
	v := new(big.Int).Lsh(big.NewInt(s.Hi), 64)
	return v.Add(v, new(big.Int).SetUint64(s.Lo))
}

// vwap is turnover / volume, rounded half to even at the eighth decimal place;
// nil where nothing was traded by volume, as with an index.
func vwap(turnover window.Sum, volume int64) *Decimal {
	if volume <= 0 {
		return nil
	}
	return &Decimal{divide(bigSum(turnover), big.NewInt(volume)), tick.Decimals}
}

// change is last − previous, exact. It may be wider than a price.
func change(last, previous tick.Price) *Decimal {
	return &Decimal{new(big.Int).Sub(big.NewInt(int64(last)), big.NewInt(int64(previous))), tick.Decimals}
}

// percent is the change in hundredths of the previous close's magnitude, so that
// it has the sign of the change, rounded half to even at the fourth decimal place;
// nil where the previous close is zero.
func percent(last, previous tick.Price) *Decimal {
	if previous == 0 {
		return nil
	}
	const scale = 100 * 10_000 // hundredths, and four decimal places
	num := new(big.Int).Mul(change(last, previous).units, big.NewInt(scale))
	den := big.NewInt(int64(previous))
	return &Decimal{divide(num, den.Abs(den)), percentPlaces}
}

// divide returns num / den, den > 0, rounded half to even.
func divide(num, den *big.Int) *big.Int {
	// Euclidean division, so that 0 ≤ rest < den for negative numbers too.
	quotient, rest := new(big.Int).DivMod(num, den, new(big.Int))
	half := rest.Lsh(rest, 1).Cmp(den)
	if half > 0 || half == 0 && quotient.Bit(0) == 1 {
		quotient.Add(quotient, big.NewInt(1))
	}
	return quotient
}

// String writes the shortest decimal text: "187.44", "-0.5", "3".
func (d Decimal) String() string {
	digits := new(big.Int).Abs(d.units).String()
	if missing := d.places + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	whole, frac := digits[:len(digits)-d.places], strings.TrimRight(digits[len(digits)-d.places:], "0")
	if frac != "" {
		whole += "." + frac
	}
	if d.units.Sign() < 0 {
		whole = "-" + whole
	}
	return whole
}

// MarshalJSON writes the number as String does.
func (d Decimal) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }
