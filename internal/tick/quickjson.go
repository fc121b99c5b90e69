package tick

// quick reads the JSON form as appendJSON writes it and most producers do: one
// object of known names, without white space, escapes or exponents. Where it
// meets anything else it reports false, and jsonDecoder reads the whole anew: this
// is for speed alone, since decoding is most of the work on a tick in JSON. It
// takes nothing that jsonDecoder refuses, and gives the same tick.
func quick(b []byte, t *Tick) bool {
	*t = Tick{}
	q := quickReader{b: b}
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return false
	}
	for q.i = 1; ; q.i++ {
		name := q.text()
		if q.bad || q.i >= len(b) || b[q.i] != ':' {
			return false
		}
		q.i++
		switch name {
		case jsonSymbol:
			t.Symbol = q.text()
		case jsonEventTime:
			t.EventTime = q.integer()
		case jsonPrice:
			t.Price = q.price()
		case jsonSize:
			t.Size = q.integer()
		case jsonSeq:
			t.Seq = q.integer()
		case jsonDayVolume:
			t.DayVolume = q.integer()
		case jsonPreviousClose:
			t.PreviousClose = q.price()
		case jsonCurrency:
			t.Currency = q.text()
		case jsonExchange:
			t.Exchange = q.text()
		case jsonMarketState:
			t.MarketState = ParseMarketState(q.text())
		case jsonSource:
			t.Source = ParseSource(q.text())
		case jsonReceivedTime:
			t.ReceivedTime = q.integer()
		default:
			return false
		}
		switch {
		case q.bad || q.i >= len(b):
			return false
		case b[q.i] == '}':
			return q.i == len(b)-1
		case b[q.i] != ',':
			return false
		}
	}
}

// quickReader is a place in the input; bad says that it is not as quick wants it.
type quickReader struct {
	b   []byte
	i   int
	bad bool
}

// text reads a string of ASCII without escapes, which aliases the input.
func (q *quickReader) text() string {
	if q.i >= len(q.b) || q.b[q.i] != '"' {
		q.bad = true
		return ""
	}
	rest := q.b[q.i+1:]
	for n, c := range rest {
		if c == '"' {
			q.i += n + 2
			return alias(rest[:n])
		}
		if c < ' ' || c >= 0x7f || c == '\\' {
			break
		}
	}
	q.bad = true
	return ""
}

// mostDigits always fit an int64.
const mostDigits = 18

// digits reads digits behind those that v is made of, and says how many.
func (q *quickReader) digits(v int64) (int64, int) {
	rest := q.b[q.i:]
	for n, c := range rest {
		d := c - '0'
		if d > 9 {
			q.i += n
			return v, n
		}
		if n == mostDigits {
			break
		}
		v = v*10 + int64(d)
	}
	q.bad = true // too many, or the input ends
	return 0, 0
}

// whole reads an integer's digits, which begin with 0 only where that is all.
func (q *quickReader) whole() (v int64, n int) {
	zero := q.i < len(q.b) && q.b[q.i] == '0'
	v, n = q.digits(0)
	q.bad = q.bad || n == 0 || zero && n > 1
	return v, n
}

func (q *quickReader) sign() int64 {
	if q.i < len(q.b) && q.b[q.i] == '-' {
		q.i++
		return -1
	}
	return 1
}

func (q *quickReader) integer() int64 {
	sign := q.sign()
	v, _ := q.whole()
	return sign * v
}

// price reads a number of so few digits that it is exact in units of 1e-8.
func (q *quickReader) price() Price {
	sign := q.sign()
	v, n := q.whole()
	decimals := 0
	if q.i < len(q.b) && q.b[q.i] == '.' {
		q.i++
		v, decimals = q.digits(v)
		q.bad = q.bad || decimals == 0
	}
	if q.bad || decimals > Decimals || n+Decimals > mostDigits {
		q.bad = true
		return 0
	}
	return Price(sign * v * powers[Decimals-decimals])
}

var powers = [Decimals + 1]int64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000}
