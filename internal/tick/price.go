package tick

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

// Price is an amount of money in units of 1e-8 of its currency, so that
// 1.5 dollars are Price(150_000_000). The range is about ±92 billion.
type Price int64

// Decimals is the number of decimal places that a Price carries.
const Decimals = 8

// Unit is one whole unit of currency.
const Unit Price = 100_000_000

// ErrPrice is the root of the errors of ParsePrice.
var ErrPrice = errors.New("not a price")

// ParsePrice reads decimal text, as JSON writes numbers ("187.44", "-0.5",
// "1.2e-5"), without passing through a float. Digits past the eighth decimal
// place are rounded half to even. Text that is no number, or a number out of
// range, is an error that wraps ErrPrice: nothing wraps round silently.
func ParsePrice(s string) (Price, error) {
	fail := func(why string) (Price, error) {
		return 0, fmt.Errorf("%w: %.40q %s", ErrPrice, s, why)
	}
	i, neg := 0, false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		neg = s[i] == '-'
		i++
	}
	// The number is digits × 10^-scale, and what was cut off behind 19 or 20
	// digits: of that, all that can still matter is the first digit and whether
	// anything but zeros follows.
	var digits uint64
	var scale int
	var first byte
	var more, seen, point bool
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen = true
		if digits < (1<<64-1-9)/10 {
			digits = digits*10 + uint64(c-'0')
			if point {
				scale++
			}
			continue
		}
		if first == 0 {
			first = c
		} else {
			more = more || c != '0'
		}
		if !point {
			scale--
		}
	}
	if !seen {
		return fail("has no digits")
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		exp, err := strconv.Atoi(s[i+1:])
		if err != nil || exp > 400 || exp < -400 {
			return fail("has a bad exponent")
		}
		scale -= exp
		i = len(s)
	}
	if i != len(s) {
		return fail("has something behind the number")
	}
	cut := first > '0' || more
	if scale == Decimals && (first > '5' || first == '5' && (more || digits%2 == 1)) {
		digits++
	}
	for ; scale < Decimals && digits != 0; scale++ {
		hi, lo := bits.Mul64(digits, 10)
		if hi != 0 {
			return fail("is out of range")
		}
		digits = lo
	}
	if scale > Decimals {
		unit := uint64(1) // of the last place kept, in units of the last digit read
		for ; scale > Decimals && unit <= digits; scale-- {
			hi, lo := bits.Mul64(unit, 10)
			if hi != 0 {
				break
			}
			unit = lo
		}
		kept, rest := digits/unit, digits%unit
		if scale > Decimals { // less than a tenth of the last place
			kept, rest, cut = 0, 0, true
		}
		if rest > unit-rest || rest == unit-rest && (cut || kept%2 == 1) {
			kept++
		}
		digits = kept
	}
	if digits > 1<<63-1 {
		return fail("is out of range")
	}
	if neg {
		return -Price(digits), nil
	}
	return Price(digits), nil
}

// String writes the shortest decimal text that ParsePrice reads back to the
// same price: "187.44", "0.00001234", "-3".
func (p Price) String() string {
	return string(p.AppendText(make([]byte, 0, 24)))
}

// AppendText appends what String returns.
func (p Price) AppendText(dst []byte) []byte {
	if p < 0 {
		dst = append(dst, '-')
	}
	v := p.abs()
	dst = strconv.AppendUint(dst, v/uint64(Unit), 10)
	frac := v % uint64(Unit)
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for place := uint64(Unit) / 10; frac != 0; place /= 10 {
		dst = append(dst, byte('0'+frac/place))
		frac %= place
	}
	return dst
}

// MarshalJSON writes the price as a JSON number of exact decimal text.
func (p Price) MarshalJSON() ([]byte, error) {
	return p.AppendText(make([]byte, 0, 24)), nil
}

// UnmarshalJSON reads a JSON number, or a string that holds one, exactly. Like
// every other number's, a price's null changes nothing.
func (p *Price) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		b = b[1 : len(b)-1]
	}
	v, err := ParsePrice(string(b))
	if err != nil {
		return err
	}
	*p = v
	return nil
}

// abs is right for the smallest int64, too.
func (p Price) abs() uint64 {
	if p < 0 {
		return -uint64(p)
	}
	return uint64(p)
}
