package yahootest

import (
	"fmt"
	"math"
	"time"

	"ticktape/internal/yahoo/hours"
)

// Instrument is what the market trades. The first twenty are named after real
// ones; their prices are made up.
type Instrument struct {
	Symbol   string
	Name     string
	Type     string // Yahoo's quoteType
	Exchange string // Yahoo's code: NMS
	Venue    string // its name: NasdaqGS
	Currency string
	Timezone string
	// Decimals is the number of decimal places that its prices have, PriceHint
	// the number that Yahoo says to show.
	Decimals, PriceHint int

	base       float64 // price that it wanders about
	volatility float64 // standard deviation of a session's change, as a part of the price
	beta       float64 // the part of its moves, in volatilities of the market, that all share
	rate       float64 // trades a second
	dayVolume  float64 // about what a day trades; 0: it has no volume
	calendar   *hours.Calendar
	seed       uint64
	zone       *time.Location
}

const marketVolatility = 0.008

func share(symbol, name, exchange, venue string, base, volatility, beta, rate, dayVolume float64) Instrument {
	return Instrument{
		Symbol: symbol, Name: name, Type: "EQUITY", Exchange: exchange, Venue: venue, Currency: "USD", Timezone: "America/New_York",
		Decimals: 2, PriceHint: 2, base: base, volatility: volatility, beta: beta, rate: rate, dayVolume: dayVolume, calendar: hours.NewYork,
	}
}

func wellKnown() []Instrument {
	nasdaq := func(symbol, name string, base, volatility, beta, rate, dayVolume float64) Instrument {
		return share(symbol, name, "NMS", "NasdaqGS", base, volatility, beta, rate, dayVolume)
	}
	nyse := func(symbol, name string, base, volatility, beta, rate, dayVolume float64) Instrument {
		return share(symbol, name, "NYQ", "NYSE", base, volatility, beta, rate, dayVolume)
	}
	sap := share("SAP.DE", "SAP SE", "GER", "XETRA", 251, 0.014, 1.0, 1.2, 2.1e6)
	sap.Currency, sap.Timezone, sap.calendar = "EUR", "Europe/Berlin", hours.Frankfurt
	spy := share("SPY", "SPDR S&P 500 ETF Trust", "PCX", "NYSEArca", 601.6, marketVolatility, 1, 8, 62e6)
	spy.Type = "ETF"
	return []Instrument{
		nasdaq("AAPL", "Apple Inc.", 232, 0.013, 1.1, 5, 52e6),
		nasdaq("MSFT", "Microsoft Corporation", 424, 0.012, 1.0, 4, 22e6),
		nasdaq("NVDA", "NVIDIA Corporation", 138, 0.024, 1.7, 8, 240e6),
		nasdaq("AMZN", "Amazon.com, Inc.", 226, 0.017, 1.2, 4, 38e6),
		nasdaq("GOOGL", "Alphabet Inc.", 184, 0.016, 1.1, 3.5, 28e6),
		nasdaq("META", "Meta Platforms, Inc.", 688, 0.018, 1.2, 3, 14e6),
		nasdaq("TSLA", "Tesla, Inc.", 352, 0.032, 1.8, 7, 92e6),
		nyse("BRK-B", "Berkshire Hathaway Inc.", 481, 0.009, 0.7, 1, 3.8e6),
		nyse("JPM", "JPMorgan Chase & Co.", 276, 0.013, 1.0, 2, 9.4e6),
		nyse("V", "Visa Inc.", 348, 0.010, 0.8, 1.5, 6.2e6),
		nyse("WMT", "Walmart Inc.", 97, 0.010, 0.5, 2, 17e6),
		nyse("KO", "Coca-Cola Company (The)", 68, 0.008, 0.4, 1.5, 15e6),
		nasdaq("NFLX", "Netflix, Inc.", 1012, 0.019, 1.1, 1.5, 3.9e6),
		nasdaq("AMD", "Advanced Micro Devices, Inc.", 118, 0.026, 1.6, 4, 41e6),
		sap,
		spy,
		{
			Symbol: "^GSPC", Name: "S&P 500", Type: "INDEX", Exchange: "SNP", Venue: "SNP", Currency: "USD", Timezone: "America/New_York",
			Decimals: 2, PriceHint: 2, base: 6032.4, volatility: marketVolatility, beta: 1, rate: 1, calendar: hours.NewYork,
		},
		{
			Symbol: "EURUSD=X", Name: "EUR/USD", Type: "CURRENCY", Exchange: "CCY", Venue: "CCY", Currency: "USD", Timezone: "Europe/London",
			Decimals: 5, PriceHint: 4, base: 1.0842, volatility: 0.005, rate: 2, calendar: hours.Currencies,
		},
		{
			Symbol: "GC=F", Name: "Gold", Type: "FUTURE", Exchange: "CMX", Venue: "COMEX", Currency: "USD", Timezone: "America/New_York",
			Decimals: 1, PriceHint: 2, base: 2874, volatility: 0.009, beta: -0.2, rate: 1.5, dayVolume: 190_000, calendar: hours.Futures,
		},
		{
			Symbol: "BTC-USD", Name: "Bitcoin USD", Type: "CRYPTOCURRENCY", Exchange: "CCC", Venue: "CCC", Currency: "USD", Timezone: "UTC",
			Decimals: 2, PriceHint: 2, base: 96_400, volatility: 0.022, beta: 0.6, rate: 4, dayVolume: 28e9, calendar: hours.Crypto,
		},
	}
}

// instruments returns the first n: the well-known ones, then generated ones
// called SIM0021, SIM0022 and so on.
func instruments(seed uint64, n int) []Instrument {
	all := wellKnown()
	for i := len(all) + 1; i <= n; i++ {
		h := func(k uint64) float64 { return uniform(hash(seed, 3, uint64(i), k)) }
		s := share(fmt.Sprintf("SIM%04d", i), fmt.Sprintf("Simulated %d Inc.", i), "NYQ", "NYSE",
			8*math.Pow(60, h(1)), 0.008+0.02*h(2), 0.4+1.2*h(3), 0.1*math.Pow(30, h(4)), 0)
		s.base = math.Round(s.base*100) / 100
		s.dayVolume = s.rate * 86_400 * (20 + 180*h(5))
		all = append(all, s)
	}
	all = all[:min(n, len(all))]
	for i := range all {
		all[i].seed = hashText(mix(seed), all[i].Symbol)
		zone, err := time.LoadLocation(all[i].Timezone)
		if err != nil {
			panic(err) // the names above are in the embedded database
		}
		all[i].zone = zone
	}
	return all
}
