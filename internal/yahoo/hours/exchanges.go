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
	// Regional is that of Germany's other exchanges, Frankfurt's own floor first.
	Regional = &Calendar{
		zone: zone("Europe/Berlin"), pre: at(8, 0), open: at(8, 0), shut: at(22, 0), post: at(22, 0),
		early: at(14, 0), earlyPost: at(14, 0), dates: frankfurt,
	}
	// Zurich is that of the SIX Swiss Exchange.
	Zurich = &Calendar{zone: zone("Europe/Zurich"), pre: at(9, 0), open: at(9, 0), shut: at(17, 30), post: at(17, 30), dates: zurich}
	// Milan is that of the Borsa Italiana.
	Milan = &Calendar{zone: zone("Europe/Rome"), pre: at(9, 0), open: at(9, 0), shut: at(17, 30), post: at(17, 30), dates: milan}
	// Madrid is that of the Spanish exchanges.
	Madrid = &Calendar{
		zone: zone("Europe/Madrid"), pre: at(9, 0), open: at(9, 0), shut: at(17, 30), post: at(17, 30),
		early: at(14, 0), earlyPost: at(14, 0), dates: euronext,
	}
	// Toronto is that of Canada's exchanges.
	Toronto = &Calendar{
		zone: zone("America/Toronto"), pre: at(9, 30), open: at(9, 30), shut: at(16, 0), post: at(16, 0),
		early: at(13, 0), earlyPost: at(13, 0), dates: toronto,
	}
	// Tokyo is that of the Tokyo Stock Exchange.
	Tokyo = &Calendar{
		zone: zone("Asia/Tokyo"), pre: at(9, 0), open: at(9, 0), shut: at(15, 30), post: at(15, 30),
		noon: at(11, 30), afternoon: at(12, 30), dates: tokyo,
	}
	// Sydney is that of the Australian Securities Exchange.
	Sydney = &Calendar{
		zone: zone("Australia/Sydney"), pre: at(10, 0), open: at(10, 0), shut: at(16, 0), post: at(16, 0),
		early: at(14, 10), earlyPost: at(14, 10), dates: sydney,
	}
	// Those of Asia below keep feasts of the moon, or days that are announced from
	// year to year.
	HongKong  = &Calendar{zone: zone("Asia/Hong_Kong"), pre: at(9, 30), open: at(9, 30), shut: at(16, 0), post: at(16, 0), noon: at(12, 0), afternoon: at(13, 0), uncertain: true}
	Shanghai  = &Calendar{zone: zone("Asia/Shanghai"), pre: at(9, 30), open: at(9, 30), shut: at(15, 0), post: at(15, 0), noon: at(11, 30), afternoon: at(13, 0), uncertain: true}
	Singapore = &Calendar{zone: zone("Asia/Singapore"), pre: at(9, 0), open: at(9, 0), shut: at(17, 0), post: at(17, 0), noon: at(12, 0), afternoon: at(13, 0), uncertain: true}
	Taipei    = &Calendar{zone: zone("Asia/Taipei"), pre: at(9, 0), open: at(9, 0), shut: at(13, 30), post: at(13, 30), uncertain: true}
	Seoul     = &Calendar{zone: zone("Asia/Seoul"), pre: at(9, 0), open: at(9, 0), shut: at(15, 30), post: at(15, 30), uncertain: true}
	India     = &Calendar{zone: zone("Asia/Kolkata"), pre: at(9, 15), open: at(9, 15), shut: at(15, 30), post: at(15, 30), uncertain: true}
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
		Toronto:    {"TOR", "VAN", "CNQ", "NEO"},
		London:     {"LSE", "IOB"},
		Frankfurt:  {"GER"},
		Regional:   {"FRA", "STU", "MUN", "BER", "DUS", "HAM", "HAN"},
		Euronext:   {"PAR", "AMS", "BRU", "LIS"}, // Lisbon an hour earlier by its own clock
		Zurich:     {"EBS", "ZRH"},
		Milan:      {"MIL"},
		Madrid:     {"MCE"},
		Tokyo:      {"JPX", "TYO"},
		HongKong:   {"HKG"},
		Shanghai:   {"SHH", "SHZ"},
		Singapore:  {"SES"},
		Taipei:     {"TAI", "TWO"},
		Seoul:      {"KSC", "KOE"},
		India:      {"NSI", "BSE"},
		Sydney:     {"ASX"},
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
	sunday := easter(year)
	shut = append(christmas(year), monday(date(year, time.January, 1)), sunday.AddDate(0, 0, -2), sunday.AddDate(0, 0, 1),
		nth(year, time.May, time.Monday, 1), nth(year, time.May, time.Monday, -1), nth(year, time.August, time.Monday, -1))
	return shut, []time.Time{lastTradingDay(date(year, time.December, 24)), lastTradingDay(date(year, time.December, 31))}
}

// monday is the date, or the Monday after where that is on a weekend.
func monday(d time.Time) time.Time {
	switch d.Weekday() {
	case time.Saturday:
		return d.AddDate(0, 0, 2)
	case time.Sunday:
		return d.AddDate(0, 0, 1)
	}
	return d
}

// christmas are the two days of Christmas where each that falls on a weekend has
// a Monday or a Tuesday instead.
func christmas(year int) []time.Time {
	first, second := monday(date(year, time.December, 25)), monday(date(year, time.December, 26))
	if !second.After(first) {
		second = first.AddDate(0, 0, 1)
	}
	return []time.Time{first, second}
}

func zurich(year int) (shut, half []time.Time) {
	sunday := easter(year)
	return append(continental(year), date(year, time.January, 2), sunday.AddDate(0, 0, 39), sunday.AddDate(0, 0, 50),
		date(year, time.August, 1), date(year, time.December, 24), date(year, time.December, 31)), nil
}

func milan(year int) (shut, half []time.Time) {
	return append(continental(year), date(year, time.December, 24), date(year, time.December, 31)), nil
}

func toronto(year int) (shut, half []time.Time) {
	// Victoria Day is the Monday before 25 May.
	may := date(year, time.May, 24)
	victoria := may.AddDate(0, 0, -int((may.Weekday()-time.Monday+7)%7))
	shut = append(christmas(year), monday(date(year, time.January, 1)), nth(year, time.February, time.Monday, 3), easter(year).AddDate(0, 0, -2),
		victoria, monday(date(year, time.July, 1)), nth(year, time.August, time.Monday, 1), nth(year, time.September, time.Monday, 1),
		nth(year, time.October, time.Monday, 2))
	return shut, []time.Time{date(year, time.December, 24)}
}

func sydney(year int) (shut, half []time.Time) {
	sunday := easter(year)
	shut = append(christmas(year), monday(date(year, time.January, 1)), monday(date(year, time.January, 26)), sunday.AddDate(0, 0, -2),
		sunday.AddDate(0, 0, 1), date(year, time.April, 25), nth(year, time.June, time.Monday, 2))
	return shut, []time.Time{lastTradingDay(date(year, time.December, 24)), lastTradingDay(date(year, time.December, 31))}
}

func tokyo(year int) (shut, half []time.Time) {
	// The equinoxes by the usual formula, which holds from 1980 to 2099.
	equinox := func(base int) int { return (base+242194*(year-1980))/1_000_000 - (year-1980)/4 }
	days := []time.Time{
		date(year, time.January, 1), nth(year, time.January, time.Monday, 2), date(year, time.February, 11), date(year, time.February, 23),
		date(year, time.March, equinox(20_843_100)), date(year, time.April, 29), date(year, time.May, 3), date(year, time.May, 4),
		date(year, time.May, 5), nth(year, time.July, time.Monday, 3), date(year, time.August, 11), nth(year, time.September, time.Monday, 3),
		date(year, time.September, equinox(23_248_800)), nth(year, time.October, time.Monday, 2), date(year, time.November, 3), date(year, time.November, 23),
	}
	is := map[time.Time]bool{}
	for _, d := range days {
		is[d] = true
	}
	shut = append(days, date(year, time.January, 2), date(year, time.January, 3), date(year, time.December, 31))
	for _, d := range days {
		if d.Weekday() == time.Sunday { // the next day that is none already is one instead
			for is[d] {
				d = d.AddDate(0, 0, 1)
			}
			shut = append(shut, d)
		} else if is[d.AddDate(0, 0, 2)] { // a day between two is one
			shut = append(shut, d.AddDate(0, 0, 1))
		}
	}
	return shut, nil
}

func futures(year int) (shut, half []time.Time) {
	shut, _ = currencies(year)
	return append(shut, easter(year).AddDate(0, 0, -2)), nil
}

func currencies(year int) (shut, half []time.Time) {
	return []time.Time{date(year, time.January, 1), date(year, time.December, 25)}, nil
}
