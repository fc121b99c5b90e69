package stream

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"ticktape/internal/tick"
)

// pow10 has the powers of ten up to that of a whole unit of a tick.Price.
var pow10 = [...]int64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000}

// fixed makes a price of a float32. Its shortest decimal text that reads back to
// the same float is what Yahoo rounded to it wherever that had up to seven
// digits, as 177.42 where the float is 177.4199981…; that is rounded half to even
// to the number of decimals that hint says, all on integers. A hint of 0, which is
// also what is there where Yahoo gives none, rounds to the eight decimals of a
// tick.Price, as does one below 0 or above 8. So does a hint that would leave
// nothing of the price.
func fixed(f float32, hint int64) (tick.Price, error) {
	if f != f || math.IsInf(float64(f), 0) {
		return 0, fmt.Errorf("%w: %v", tick.ErrPrice, f)
	}
	digits, exponent := shortest(f)
	if hint <= 0 || hint > tick.Decimals {
		hint = tick.Decimals
	}
	p, err := round(digits, exponent, int(hint))
	if p == 0 && err == nil && hint < tick.Decimals {
		p, err = round(digits, exponent, tick.Decimals)
	}
	return p, err
}

// shortest is the float as digits × 10^exponent, with at most nine digits.
func shortest(f float32) (digits int64, exponent int) {
	var buf [24]byte
	text := strconv.AppendFloat(buf[:0], float64(f), 'e', -1, 32)
	negative := false
	for i, c := range text {
		switch {
		case c == '-':
			negative = true
		case c == '.':
		case c == 'e':
			e, _ := strconv.Atoi(string(text[i+1:])) // AppendFloat wrote it
			exponent += e
			if negative {
				digits = -digits
			}
			return digits, exponent
		default:
			if digits != 0 {
				exponent--
			}
			digits = digits*10 + int64(c-'0')
		}
	}
	return digits, exponent
}

var errRange = errors.New("is out of range")

// round returns digits × 10^exponent with that many decimals.
func round(digits int64, exponent, decimals int) (tick.Price, error) {
	if cut := -decimals - exponent; cut > 0 {
		if cut >= len(pow10) {
			// Below a tenth of the last place kept, because digits has at most nine.
			cut, digits = 1, 0
		}
		unit := pow10[cut]
		kept, rest := digits/unit, digits%unit
		if rest < 0 {
			rest = -rest
		}
		if rest > unit-rest || rest == unit-rest && kept%2 != 0 {
			if digits < 0 {
				kept--
			} else {
				kept++
			}
		}
		digits, exponent = kept, -decimals
	}
	for shift := exponent + tick.Decimals; shift > 0 && digits != 0; shift-- {
		if digits > math.MaxInt64/10 || digits < -math.MaxInt64/10 {
			return 0, fmt.Errorf("%w: it %w", tick.ErrPrice, errRange)
		}
		digits *= 10
	}
	return tick.Price(digits), nil
}
