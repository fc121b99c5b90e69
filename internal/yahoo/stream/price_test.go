package stream

import (
	"errors"
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"ticktape/internal/tick"
)

func price(t testing.TB, text string) tick.Price {
	t.Helper()
	p, err := tick.ParsePrice(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAFloatBecomesThePriceThatWasMeant(t *testing.T) {
	for _, c := range []struct {
		name string
		f    float32
		hint int64
		want string
	}{
		{"a float that is no such decimal", 177.42, 2, "177.42"},
		{"the float's own value is below the tie, what was meant is one: to the even digit", 1.015, 2, "1.02"},
		{"and down to the even digit", 1.025, 2, "1.02"},
		{"half of the last place of a negative price", -37.635, 2, "-37.64"},
		{"more decimals than the hint shows", 1.08423, 4, "1.0842"},
		{"fewer", 24.5, 4, "24.5"},
		{"a whole number", 96400, 2, "96400"},
		{"beyond what a float tells apart by cents", 1234567.89, 2, "1234567.9"},
		{"no hint: all the digits that there are", 0.00001234, 0, "0.00001234"},
		{"no hint and noise", 231.1, 0, "231.1"},
		{"a hint below 0 is none", 231.1, -3, "231.1"},
		{"a hint of more decimals than a price has", 1.5, 40, "1.5"},
		{"the largest of hints", 1.5, math.MaxInt64, "1.5"},
		{"a hint that leaves nothing", 0.004, 2, "0.004"},
		{"what is too small for any decimal", 1e-12, 2, "0"},
		{"the smallest float", math.SmallestNonzeroFloat32, 2, "0"},
		{"just below a half, which eight decimals would make one", 0.0149999999, 2, "0.02"}, // the float is 0.015
		{"rounded once, not twice", 0.01499999, 2, "0.01"},
		{"zero", 0, 2, "0"},
		{"large", 92_000_000_000, 2, "92000000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := fixed(c.f, c.hint)
			if err != nil || got != price(t, c.want) {
				t.Errorf("%v by %d is %s, %v; want %s", c.f, c.hint, got, err, c.want)
			}
		})
	}
	for _, f := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e12, -1e12, math.MaxFloat32} {
		if got, err := fixed(f, 2); !errors.Is(err, tick.ErrPrice) {
			t.Errorf("%v is %s, %v", f, got, err)
		}
	}
}

// TestWhatYahooRoundedToAFloatComesBack: a price with as many digits as a float32
// keeps is found again by its number of decimals.
func TestWhatYahooRoundedToAFloatComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		decimals := rapid.IntRange(1, tick.Decimals).Draw(t, "decimals")
		digits := rapid.Int64Range(-999_999, 999_999).Draw(t, "digits")
		for range tick.Decimals - decimals {
			digits *= 10
		}
		want := tick.Price(digits)
		text := want.String()
		f, err := strconv.ParseFloat(text, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fixed(float32(f), int64(decimals)); err != nil || got != want {
			t.Fatalf("%s as a float by %d is %s, %v", text, decimals, got, err)
		}
	})
}
