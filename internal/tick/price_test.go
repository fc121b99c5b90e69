package tick

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParsePrice(t *testing.T) {
	for text, want := range map[string]Price{
		"0":                                    0,
		"1":                                    Unit,
		"-1":                                   -Unit,
		"+2.5":                                 250_000_000,
		"187.44":                               18_744_000_000,
		".5":                                   50_000_000,
		"5.":                                   500_000_000,
		"1.2e-5":                               1_200,
		"1E3":                                  1000 * Unit,
		"12.5e+1":                              125 * Unit,
		"0.00000001":                           1,
		"0.000000005":                          0, // half to even
		"0.000000015":                          2,
		"0.000000025":                          2,
		"0.0000000250001":                      3,
		"0.00000002500000000000000000000001":   3,
		"187.4400024414062500000000000001":     18_744_000_244,
		"92233720368.54775807":                 math.MaxInt64,
		"-92233720368.54775807":                -math.MaxInt64,
		"92233720368.547758064":                math.MaxInt64 - 1,
		"92233720368.547758065":                math.MaxInt64 - 1, // half to even
		"92233720368.5477580650001":            math.MaxInt64,
		"92233720368.547758066":                math.MaxInt64,
		"92233720368547758069e-9":              math.MaxInt64,
		"20000000000.000000009":                2_000_000_000_000_000_001,
		"1e-400":                               0,
		"0.0000000000000000000000000000000001": 0,
	} {
		got, err := ParsePrice(text)
		if err != nil || got != want {
			t.Errorf("ParsePrice(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "-", ".", "e5", "abc", "1a", "1.2.3", "1e", "1e+", "--1", "NaN", "Infinity", "null", " 1", "1 ", "0x10", "1_000", "1,5", "0e999999999999999999",
		"92233720368.54775808", "92233720368.547758075", "92233720369", "1e11", "1e300", "99999999999999999999999999",
	} {
		if got, err := ParsePrice(text); !errors.Is(err, ErrPrice) {
			t.Errorf("ParsePrice(%q) = %d, %v; want ErrPrice", text, got, err)
		}
	}
}

// reference rounds the exact rational number half to even.
func reference(text string) (*big.Int, bool) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, false
	}
	r.Mul(r, big.NewRat(int64(Unit), 1))
	neg := r.Sign() < 0
	r.Abs(r)
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	switch rest.Lsh(rest, 1).Cmp(r.Denom()) {
	case 1:
		q.Add(q, big.NewInt(1))
	case 0:
		q.Add(q, big.NewInt(int64(q.Bit(0))))
	}
	if neg {
		q.Neg(q)
	}
	return q, q.IsInt64() && q.Int64() != math.MinInt64
}

func TestParsePriceAgreesWithRationalArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`-?[0-9]{1,25}(\.[0-9]{0,30})?(e-?[0-9]{1,2})?`),
			// As many digits as a price has, and few more.
			rapid.StringMatching(`-?[1-9][0-9]{9,10}\.[0-9]{8}(0{0,2}[0-9]{0,3}|50{0,3}1?)`),
		).Draw(t, "text")
		want, ok := reference(text)
		got, err := ParsePrice(text)
		if !ok {
			if err == nil {
				t.Fatalf("ParsePrice(%q) = %d, want out of range", text, got)
			}
			return
		}
		if err != nil || int64(got) != want.Int64() {
			t.Fatalf("ParsePrice(%q) = %d, %v; want %s", text, got, err, want)
		}
	})
}

func TestPriceTextReadsBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Price(rapid.Int64Min(math.MinInt64+1).Draw(t, "price"))
		text := p.String()
		got, err := ParsePrice(text)
		if err != nil || got != p {
			t.Fatalf("ParsePrice(%q) = %d, %v; want %d", text, got, err, p)
		}
		if strings.Contains(text, ".") && strings.HasSuffix(text, "0") {
			t.Fatalf("%q ends in a zero that says nothing", text)
		}
	})
}

func FuzzParsePrice(f *testing.F) {
	for _, s := range []string{"187.44", "-0.5", "1.2e-5", "1e11", "", "..", "9999999999999999999999.5e-20"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePrice(text)
		if err != nil {
			return
		}
		// What is accepted is a number that others read too.
		want, err := strconv.ParseFloat(text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			t.Fatalf("ParsePrice(%q) = %d, but it is no number: %v", text, p, err)
		}
		if got := float64(p) / float64(Unit); math.Abs(got-want) > 1e-8+math.Abs(want)*1e-9 {
			t.Fatalf("ParsePrice(%q) = %s", text, p)
		}
	})
}
