package hours

import "time"

// The calendars there are.
var (
	// NewYork is that of the exchanges of the United States for shares.
	NewYork = &Calendar{
		zone: zone("America/New_York"), pre: at(4, 0), open: at(9, 30), shut: at(16, 0), post: at(20, 0),
		early: at(13, 0), earlyPost: at(17, 0), dates: newYork,
	}
	// Frankfurt is that of Xetra.
	Frankfurt = &Calendar{
		zone: zone("Europe/Berlin"), pre: at(9, 0), open: at(9, 0), shut: at(17, 30), post: at(17, 30),
		early: at(14, 0), earlyPost: at(14, 0), dates: frankfurt,
	}
	// Euronext is that of Paris, Amsterdam and Brussels.
	Euronext = &Calendar{
		zone: zone("Europe/Paris"), pre: at(9, 0), open: at(9, 0), shut: at(17, 30), post: at(17, 30),
		early: at(14, 5), earlyPost: at(14, 5), dates: euronext,
	}
	// London is that of the London Stock Exchange.
	London = &Calendar{
		zone: zone("Europe/London"), pre: at(8, 0), open: at(8, 0), shut: at(16, 30), post: at(16, 30),
		early: at(12, 30), earlyPost: at(12, 30), dates: london,
	}
	// Futures is that of the futures exchanges of the CME group: from Sunday to
	// Friday with a pause of an hour a day.
	Futures = &Calendar{zone: zone("America/New_York"), week: &week{opens: at(18, 0), closes: at(17, 0)}, dates: futures}
	// Currencies is that of currency pairs: from Sunday to Friday.
	Currencies = &Calendar{zone: zone("America/New_York"), week: &week{opens: at(17, 0), closes: at(17, 0)}, dates: currencies}
	// Crypto never closes.
	Crypto = &Calendar{zone: time.UTC, week: &week{never: true}}
)

var byExchange = func() map[string]*Calendar {
	out := map[string]*Calendar{}
	for c, codes := range map[*Calendar][]string{
		NewYork:    {"NMS", "NGM", "NCM", "NAS", "NIM", "NYQ", "NYS", "ASE", "PCX", "BTS", "BATS", "IEX", "SNP", "DJI"},
		Frankfurt:  {"GER"},
		Euronext:   {"PAR", "AMS", "BRU"},
		London:     {"LSE"},
		Futures:    {"CMX", "NYM", "CBT", "CME"},
		Currencies: {"CCY"},
		Crypto:     {"CCC"},
	} {
		for _, code := range codes {
			out[code] = c
		}
	}
	return out
}()

// Of returns the calendar of an exchange by Yahoo's code (NMS, GER, CCC); ok is
// false where none is known.
func Of(exchange string) (c *Calendar, ok bool) {
	c, ok = byExchange[exchange]
	return c, ok
}

func at(hour, minute int) int { return hour*60 + minute }

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err) // the names above are in the embedded database
	}
	return z
}

func date(year int, m time.Month, d int) time.Time {
	return time.Date(year, m, d, 0, 0, 0, 0, time.UTC)
}

// easter is the date of Easter Sunday, by the rule of Meeus, Jones and Butcher
// for the Gregorian calendar.
func easter(year int) time.Time {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	g := (8*b + 13) / 25
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return date(year, time.Month(n/31), n%31+1)
}

// nth is the nth weekday of a month, or the last where n is -1.
func nth(year int, m time.Month, w time.Weekday, n int) time.Time {
	if n < 0 {
		last := date(year, m+1, 0)
		return last.AddDate(0, 0, -int((last.Weekday()-w+7)%7))
	}
	first := date(year, m, 1)
	return first.AddDate(0, 0, int((w-first.Weekday()+7)%7)+7*(n-1))
}

func newYork(year int) (shut, half []time.Time) {
	// What falls on a weekend is kept on the working day beside it, but the last
	// day of a year is never given to the new one.
	observed := func(d time.Time) time.Time {
		switch d.Weekday() {
		case time.Saturday:
			if d.YearDay() > 1 {
				return d.AddDate(0, 0, -1)
			}
		case time.Sunday:
			return d.AddDate(0, 0, 1)
		}
		return d
	}
	thanksgiving := nth(year, time.November, time.Thursday, 4)
	shut = []time.Time{
		observed(date(year, time.January, 1)),
		nth(year, time.January, time.Monday, 3),
		nth(year, time.February, time.Monday, 3),
		easter(year).AddDate(0, 0, -2),
		nth(year, time.May, time.Monday, -1),
		observed(date(year, time.July, 4)),
		nth(year, time.September, time.Monday, 1),
		thanksgiving,
		observed(date(year, time.December, 25)),
	}
	if year >= 2022 {
		shut = append(shut, observed(date(year, time.June, 19)))
	}
	half = []time.Time{date(year, time.July, 3), thanksgiving.AddDate(0, 0, 1), date(year, time.December, 24)}
	return shut, half
}

// lastTradingDay is the date, or the Friday before where that is on a weekend.
func lastTradingDay(d time.Time) time.Time {
	switch d.Weekday() {
	case time.Saturday:
		return d.AddDate(0, 0, -1)
	case time.Sunday:
		return d.AddDate(0, 0, -2)
	}
	return d
}

// continental are the holidays that Xetra and Euronext share.
func continental(year int) []time.Time {
	sunday := easter(year)
	return []time.Time{
		date(year, time.January, 1), sunday.AddDate(0, 0, -2), sunday.AddDate(0, 0, 1), date(year, time.May, 1),
		date(year, time.December, 25), date(year, time.December, 26),
	}
}

func frankfurt(year int) (shut, half []time.Time) {
	return append(continental(year), date(year, time.December, 24), date(year, time.December, 31)),
		[]time.Time{lastTradingDay(date(year, time.December, 30))}
}

func euronext(year int) (shut, half []time.Time) {
	return continental(year), []time.Time{date(year, time.December, 24), date(year, time.December, 31)}
}

func london(year int) (shut, half []time.Time) {
	// Of the two days of Christmas each that falls on a weekend has a Monday or a
	// Tuesday instead.
	newYear, christmas, boxing := date(year, time.January, 1), date(year, time.December, 25), date(year, time.December, 26)
	switch newYear.Weekday() {
	case time.Saturday:
		newYear = newYear.AddDate(0, 0, 2)
	case time.Sunday:
		newYear = newYear.AddDate(0, 0, 1)
	}
	switch christmas.Weekday() {
	case time.Friday:
		boxing = boxing.AddDate(0, 0, 2)
	case time.Saturday, time.Sunday:
		christmas, boxing = date(year, time.December, 27), date(year, time.December, 28)
		if date(year, time.December, 25).Weekday() == time.Sunday {
			christmas, boxing = date(year, time.December, 26), date(year, time.December, 27)
		}
	}
	sunday := easter(year)
	shut = []time.Time{
		newYear, sunday.AddDate(0, 0, -2), sunday.AddDate(0, 0, 1), nth(year, time.May, time.Monday, 1),
		nth(year, time.May, time.Monday, -1), nth(year, time.August, time.Monday, -1), christmas, boxing,
	}
	return shut, []time.Time{lastTradingDay(date(year, time.December, 24)), lastTradingDay(date(year, time.December, 31))}
}

func futures(year int) (shut, half []time.Time) {
	shut, _ = currencies(year)
	return append(shut, easter(year).AddDate(0, 0, -2)), nil
}

func currencies(year int) (shut, half []time.Time) {
	return []time.Time{date(year, time.January, 1), date(year, time.December, 25)}, nil
}
