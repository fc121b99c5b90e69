package stream

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/stream/streampb"
	"ticktape/internal/yahoo/yahootest"
)

// Frames that Yahoo has sent.
const (
	msft = "CgRNU0ZUFYVrMUMY0KLMjcNcKgNOTVMwCDgBRZ+B3L9IuPn8CVU0IjRDXYVrMUNlQApHwNgBBA=="
	dkng = "CgRES05HFa5HxEEYkJu3uYxoKgNOTVMwCDgBRet8lUBIpqS0BmXwKIw/2AEE"
)

func TestRealFramesAreRead(t *testing.T) {
	newYork := -4 * time.Hour // in summer
	for _, c := range []struct {
		frame string
		want  yahoo.Quote
	}{
		{msft, yahoo.Quote{
			Symbol: "MSFT", Price: price(t, "177.42"), Time: 1_589_554_809_000, Volume: 10_460_764, PreviousClose: price(t, "180.53"),
		}},
		{dkng, yahoo.Quote{
			Symbol: "DKNG", Price: price(t, "24.54"), Time: 1_788_377_229_000, Volume: 6_719_763, PreviousClose: price(t, "23.45"),
		}},
	} {
		t.Run(c.want.Symbol, func(t *testing.T) {
			for _, frame := range []string{c.frame, `{"type":"pricing","message":"` + c.frame + `"}`, " " + c.frame + "\n"} {
				p, err := DecodeFrame([]byte(frame))
				if err != nil {
					t.Fatal(err)
				}
				got, err := Quote(p, tick.SourceYahooStream)
				if err != nil {
					t.Fatal(err)
				}
				want := c.want
				want.Type, want.Exchange, want.MarketState, want.PriceHint = "EQUITY", "NMS", tick.MarketRegular, 2
				want.HasVolume, want.VolumeTime, want.UTCOffset, want.Source = true, want.Time, newYork, tick.SourceYahooStream
				if got != want {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			}
		})
	}
}

func trade(change func(*streampb.PricingData)) *streampb.PricingData {
	p := &streampb.PricingData{
		Id: "AAPL", Price: 231.5, Time: 1_732_545_000_123, Exchange: "NMS", QuoteType: 8, MarketHours: 1, DayVolume: 1000, PriceHint: 2,
	}
	change(p)
	return p
}

func TestWhatCantBeUsedIsATypedError(t *testing.T) {
	for _, c := range []struct {
		name   string
		frame  string
		reason Reason
	}{
		{"nothing", "", BadFrame},
		{"half of JSON", `{"type":"pricing","mess`, BadFrame},
		{"another type", `{"type":"error","message":"slow down"}`, BadFrame},
		{"a message that is a number", `{"type":"pricing","message":7}`, BadFrame},
		{"an empty message", `{"type":"pricing","message":""}`, BadFrame},
		{"no base64", "what?", BadFrame},
		{"base64 that was cut", msft[:30], BadFrame},
		{"no PricingData", `{"type":"pricing","message":"////"}`, BadMessage},
		{"a message that was cut", msft[:40], BadMessage},
		{"more than any frame has", strings.Repeat("A", maxFrame+1), BadFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeFrame([]byte(c.frame))
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.reason || len(e.Error()) > 500 {
				t.Errorf("error %v, want one of reason %s", err, c.reason)
			}
		})
	}
	for _, c := range []struct {
		name   string
		change func(*streampb.PricingData)
		reason Reason
	}{
		{"no symbol", func(p *streampb.PricingData) { p.Id = "" }, BadTrade},
		{"no time", func(p *streampb.PricingData) { p.Time = 0 }, BadTrade},
		{"a time in seconds", func(p *streampb.PricingData) { p.Time /= 1000 }, BadTrade},
		{"a negative volume", func(p *streampb.PricingData) { p.DayVolume = -1 }, BadTrade},
		{"no price", func(p *streampb.PricingData) { p.Price = 0 }, BadPrice},
		{"a share below zero", func(p *streampb.PricingData) { p.Price = -1 }, BadPrice},
		{"not a number", func(p *streampb.PricingData) { p.Price = float32(math.NaN()) }, BadPrice},
		{"infinity", func(p *streampb.PricingData) { p.Price = float32(math.Inf(1)) }, BadPrice},
		{"a price out of range", func(p *streampb.PricingData) { p.Price = 1e20 }, BadPrice},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Quote(trade(c.change), tick.SourceYahooStream)
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.reason {
				t.Errorf("error %v, want one of reason %s", err, c.reason)
			}
		})
	}
}

func TestAQuoteSaysWhatTheMessageSays(t *testing.T) {
	at := func(hour int) int64 { return time.Date(2024, 11, 25, hour+5, 0, 0, 0, time.UTC).UnixMilli() } // in New York
	for _, c := range []struct {
		name   string
		change func(*streampb.PricingData)
		ok     func(*yahoo.Quote) bool
	}{
		{"the previous close, where it is given", func(p *streampb.PricingData) { p.PreviousClose, p.Change = 230.1, 5 }, func(q *yahoo.Quote) bool { return q.PreviousClose == price(t, "230.1") }},
		{"or what the change is from", func(p *streampb.PricingData) { p.Change = 1.1 }, func(q *yahoo.Quote) bool { return q.PreviousClose == price(t, "230.4") }},
		{"but not after the close, when it is from the day's", func(p *streampb.PricingData) { p.Change, p.MarketHours = 1.1, 2 }, func(q *yahoo.Quote) bool {
			return q.PreviousClose == tick.Unknown && q.MarketState == tick.MarketPost
		}},
		{"a share without market hours is in the pre-market", func(p *streampb.PricingData) { p.MarketHours, p.DayVolume = 0, 0 }, func(q *yahoo.Quote) bool {
			return q.MarketState == tick.MarketPre && q.HasVolume
		}},
		{"a currency without market hours is not", func(p *streampb.PricingData) { p.MarketHours, p.QuoteType = 0, 14 }, func(q *yahoo.Quote) bool { return q.MarketState == tick.MarketRegular }},
		{"nor is what is of an unknown type", func(p *streampb.PricingData) { p.MarketHours, p.QuoteType = 0, 99 }, func(q *yahoo.Quote) bool { return q.MarketState == tick.MarketUnknown }},
		{"extended hours in the morning", func(p *streampb.PricingData) { p.MarketHours, p.Time = 3, at(8) }, func(q *yahoo.Quote) bool { return q.MarketState == tick.MarketPre }},
		{"extended hours in the evening", func(p *streampb.PricingData) { p.MarketHours, p.Time = 3, at(18) }, func(q *yahoo.Quote) bool { return q.MarketState == tick.MarketPost }},
		{"a volume that is not there is not known", func(p *streampb.PricingData) { p.DayVolume = 0 }, func(q *yahoo.Quote) bool { return !q.HasVolume }},
		{"a volume of 24 hours", func(p *streampb.PricingData) { p.QuoteType, p.Vol_24Hr = 41, 1000 }, func(q *yahoo.Quote) bool { return q.VolumeRolling }},
		{"a future below zero", func(p *streampb.PricingData) { p.QuoteType, p.Price = 18, -37.63 }, func(q *yahoo.Quote) bool { return q.Price == price(t, "-37.63") }},
		{"a day east of Greenwich", func(p *streampb.PricingData) { p.Exchange = "JPX" }, func(q *yahoo.Quote) bool { return q.UTCOffset == 9*time.Hour }},
		{"an exchange that nobody knows", func(p *streampb.PricingData) { p.Exchange = "???" }, func(q *yahoo.Quote) bool { return q.UTCOffset == 0 }},
		{"milliseconds", func(*streampb.PricingData) {}, func(q *yahoo.Quote) bool { return q.Time == 1_732_545_000_123 && q.Currency == "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := Quote(trade(c.change), tick.SourceYahooStream)
			if err != nil || !c.ok(&q) {
				t.Errorf("%+v, %v", q, err)
			}
		})
	}
}

func TestHeartbeatsAreNoTrades(t *testing.T) {
	p, err := DecodeFrame(yahootest.Frame(&streampb.PricingData{QuoteType: 7}, true))
	if err != nil || !Heartbeat(p) {
		t.Errorf("%v, %v", p, err)
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{msft, dkng, `{"type":"pricing","message":"` + msft + `"}`, `{"type":"x"}`, "{", "", "////"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		kept := string(frame)
		p, err := DecodeFrame(frame)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error %v", err)
		}
		if string(frame) != kept {
			t.Fatal("the frame was changed")
		}
		if err == nil {
			usable(t, p)
		}
	})
}

func FuzzPricingData(f *testing.F) {
	for _, frame := range []string{msft, dkng} {
		p, err := DecodeFrame([]byte(frame))
		if err != nil {
			f.Fatal(err)
		}
		b, err := p.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var p streampb.PricingData
		if p.UnmarshalVT(message) == nil {
			usable(t, &p)
		}
	})
}

// usable checks that a quote that is made of any message can be believed.
func usable(t *testing.T, p *streampb.PricingData) {
	q, err := Quote(p, tick.SourceYahooStream)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("error %v", err)
		}
		return
	}
	if q.Price == 0 || q.Price < 0 && !belowZero(p.QuoteType) || q.Volume < 0 || q.Symbol == "" {
		t.Fatalf("%+v of %v", q, p)
	}
	// The price is what the float says, to half of the last place that is shown.
	unit := 1.0
	for range q.PriceHint {
		unit /= 10
	}
	if q.PriceHint == 0 {
		unit = 1e-8
	}
	off := math.Abs(float64(q.Price)/float64(tick.Unit) - float64(p.Price))
	if off > unit/2+math.Abs(float64(p.Price))*1e-7+1e-8 {
		t.Fatalf("%v by %d became %s", p.Price, p.PriceHint, q.Price)
	}
}
