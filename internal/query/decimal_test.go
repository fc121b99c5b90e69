package query

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

func price(t *testing.T, text string) tick.Price {
	t.Helper()
	p, err := tick.ParsePrice(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestChangeAndPercentAreExact(t *testing.T) {
	for _, c := range []struct{ name, last, previous, change, percent string }{
		{"a rise", "187.44", "185", "2.44", "1.3189"},
		{"a fall", "185", "187.44", "-2.44", "-1.3017"},
		{"no change", "5", "5", "0", "0"},
		{"half of the last place goes to the even digit below", "1.0000005", "1", "0.0000005", "0"},
		{"half of the last place goes to the even digit above", "1.0000015", "1", "0.0000015", "0.0002"},
		{"a negative half goes to the even digit", "0.9999985", "1", "-0.0000015", "-0.0002"},
		{"a negative previous close keeps the sign of the change", "-30", "-37.63", "7.63", "20.2764"},
		{"a price from negative to positive", "10", "-37.63", "47.63", "126.5745"},
		{"wider than a price", "92233720368.54775807", "-92233720368.54775808", "184467440737.09551615", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			last, previous := price(t, c.last), tick.Price(math.MinInt64)
			if c.name != "wider than a price" {
				previous = price(t, c.previous)
			}
			if got := change(last, previous).String(); got != c.change {
				t.Errorf("change is %s, want %s", got, c.change)
			}
			if got := percent(last, previous).String(); got != c.percent {
				t.Errorf("percent is %s, want %s", got, c.percent)
			}
		})
	}
	if percent(5, 0) != nil {
		t.Error("there is a percentage of nothing")
	}
}

func TestVWAPIsTurnoverByVolumeRoundedHalfToEven(t *testing.T) {
	for _, c := range []struct {
		name     string
		turnover window.Sum
		volume   int64
		want     string
	}{
		{"an exact quotient", window.Sum{Lo: 300_000_000}, 2, "1.5"},
		{"a half below an even digit", window.Sum{Lo: 5}, 2, "0.00000002"},
		{"a half above an odd digit", window.Sum{Lo: 7}, 2, "0.00000004"},
		{"a third", window.Sum{Lo: 100_000_000}, 3, "0.33333333"},
		{"two thirds", window.Sum{Lo: 200_000_000}, 3, "0.66666667"},
		{"a turnover past 64 bits", window.Sum{Hi: 1}, 1_000_000_000, "184.46744074"},
		{"a negative turnover", window.Sum{Hi: -1, Lo: math.MaxUint64 - 4}, 2, "-0.00000002"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := vwap(c.turnover, c.volume).String(); got != c.want {
				t.Errorf("VWAP is %s, want %s", got, c.want)
			}
		})
	}
	if vwap(window.Sum{Lo: 5}, 0) != nil {
		t.Error("there is a VWAP without volume")
	}
}

func TestDivideIsTheNearestInteger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := big.NewInt(rapid.Int64().Draw(t, "num"))
		den := big.NewInt(rapid.Int64Range(1, math.MaxInt64).Draw(t, "den"))
		quotient := divide(num, den)
		off := new(big.Int).Sub(num, new(big.Int).Mul(quotient, den))
		switch off.Abs(off).Lsh(off, 1).Cmp(den) {
		case 1:
			t.Fatalf("%s / %s is not nearest to %s", num, den, quotient)
		case 0:
			if quotient.Bit(0) != 0 {
				t.Fatalf("%s / %s is halfway and went to the odd %s", num, den, quotient)
			}
		}
	})
}

func TestDecimalTextIsThatOfAPrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := tick.Price(rapid.Int64Min(math.MinInt64+1).Draw(t, "price"))
		if got := sumDecimal(window.Sum{Hi: int64(p) >> 63, Lo: uint64(p)}).String(); got != p.String() {
			t.Fatalf("%d is %s, want %s", p, got, p)
		}
	})
}
