package hours

import (
	"testing"
	"time"
)

func TestStatesByLocalTimeWeekdayAndHoliday(t *testing.T) {
	for _, c := range []struct {
		name     string
		calendar *Calendar
		at       string // local
		want     State
	}{
		{"before everything", NewYork, "2026-03-04 03:59", PrePre},
		{"pre-market", NewYork, "2026-03-04 04:00", Pre},
		{"the opening", NewYork, "2026-03-04 09:30", Regular},
		{"the last regular minute", NewYork, "2026-03-04 15:59", Regular},
		{"post-market", NewYork, "2026-03-04 16:00", Post},
		{"after everything", NewYork, "2026-03-04 20:00", PostPost},
		{"a Saturday", NewYork, "2026-03-07 12:00", Closed},
		{"a Sunday", NewYork, "2026-03-08 12:00", Closed},
		{"the day the clocks go forward is a Sunday, the Monday after trades by the new time", NewYork, "2026-03-09 09:30", Regular},
		{"New Year", NewYork, "2026-01-01 12:00", Closed},
		{"New Year on a Saturday takes no Friday", NewYork, "2021-12-31 12:00", Regular},
		{"New Year on a Sunday takes the Monday", NewYork, "2023-01-02 12:00", Closed},
		{"Martin Luther King's day", NewYork, "2026-01-19 12:00", Closed},
		{"Washington's birthday", NewYork, "2026-02-16 12:00", Closed},
		{"Good Friday", NewYork, "2026-04-03 12:00", Closed},
		{"Easter Monday is a day like any other", NewYork, "2026-04-06 12:00", Regular},
		{"Memorial Day", NewYork, "2026-05-25 12:00", Closed},
		{"Juneteenth", NewYork, "2026-06-19 12:00", Closed},
		{"Juneteenth before it was one", NewYork, "2020-06-19 12:00", Regular},
		{"Independence Day on a Saturday takes the Friday", NewYork, "2026-07-03 12:00", Closed},
		{"the day before Independence Day is short", NewYork, "2025-07-03 13:00", Post},
		{"Labor Day", NewYork, "2026-09-07 12:00", Closed},
		{"Thanksgiving", NewYork, "2026-11-26 12:00", Closed},
		{"the day after Thanksgiving, in the morning", NewYork, "2026-11-27 12:59", Regular},
		{"the day after Thanksgiving, in the afternoon", NewYork, "2026-11-27 13:00", Post},
		{"the day after Thanksgiving, in the evening", NewYork, "2026-11-27 17:00", PostPost},
		{"Christmas Eve is short", NewYork, "2026-12-24 14:00", Post},
		{"Christmas", NewYork, "2026-12-25 12:00", Closed},
		{"Christmas on a Saturday takes the Friday", NewYork, "2027-12-24 12:00", Closed},

		{"Xetra before the opening", Frankfurt, "2026-03-04 08:59", PrePre},
		{"Xetra", Frankfurt, "2026-03-04 09:00", Regular},
		{"Xetra after the close", Frankfurt, "2026-03-04 17:30", PostPost},
		{"Xetra on Easter Monday", Frankfurt, "2026-04-06 12:00", Closed},
		{"Xetra on Christmas Eve", Frankfurt, "2026-12-24 10:00", Closed},
		{"Xetra on its last day of the year", Frankfurt, "2026-12-30 14:00", PostPost},
		{"Paris on Labour Day", Euronext, "2026-05-01 12:00", Closed},
		{"Paris on Christmas Eve", Euronext, "2026-12-24 14:04", Regular},
		{"Paris on Christmas Eve, later", Euronext, "2026-12-24 14:05", PostPost},
		{"London", London, "2026-03-04 08:00", Regular},
		{"London in August", London, "2026-08-31 12:00", Closed},
		{"London after a Saturday's Boxing Day", London, "2026-12-28 12:00", Closed},
		{"London after a Saturday's Christmas", London, "2027-12-28 12:00", Closed},
		{"London after a Sunday's Christmas", London, "2022-12-27 12:00", Closed},
		{"London on New Year's Eve", London, "2026-12-31 12:30", PostPost},

		{"London after a Friday's Christmas", London, "2026-12-28 12:00", Closed},
		{"London, the day after that", London, "2026-12-29 12:00", Regular},
		{"Frankfurt's floor in the evening", Regional, "2026-03-04 21:59", Regular},
		{"Zurich on Ascension Day", Zurich, "2026-05-14 12:00", Closed},
		{"Zurich on Whit Monday", Zurich, "2026-05-25 12:00", Closed},
		{"Milan in August", Milan, "2025-08-15 12:00", Regular},
		{"Milan on New Year's Eve", Milan, "2026-12-31 12:00", Closed},
		{"Madrid on Christmas Eve", Madrid, "2026-12-24 14:00", PostPost},
		{"Toronto before the opening", Toronto, "2026-03-04 09:29", PrePre},
		{"Toronto on Family Day", Toronto, "2026-02-16 12:00", Closed},
		{"Toronto on Victoria Day", Toronto, "2026-05-18 12:00", Closed},
		{"Toronto on Canada Day", Toronto, "2026-07-01 12:00", Closed},
		{"Toronto on its Thanksgiving", Toronto, "2026-10-12 12:00", Closed},
		{"Toronto on the American one", Toronto, "2026-11-26 12:00", Regular},
		{"Toronto after a Saturday's Boxing Day", Toronto, "2026-12-28 12:00", Closed},
		{"Tokyo in the morning", Tokyo, "2026-03-04 11:29", Regular},
		{"Tokyo at lunch", Tokyo, "2026-03-04 11:30", Closed},
		{"Tokyo in the afternoon", Tokyo, "2026-03-04 12:30", Regular},
		{"Tokyo after the close", Tokyo, "2026-03-04 15:30", PostPost},
		{"Tokyo after New Year", Tokyo, "2025-01-03 10:00", Closed},
		{"Tokyo at the vernal equinox", Tokyo, "2026-03-20 10:00", Closed},
		{"Tokyo at the autumnal equinox", Tokyo, "2026-09-23 10:00", Closed},
		{"Tokyo on the day between two holidays", Tokyo, "2026-09-22 10:00", Closed},
		{"Tokyo after a Sunday's holiday", Tokyo, "2025-02-24 10:00", Closed},
		{"Tokyo after a Sunday's holiday with others behind it", Tokyo, "2026-05-06 10:00", Closed},
		{"Tokyo on the day after that", Tokyo, "2026-05-07 10:00", Regular},
		{"Sydney on Australia Day", Sydney, "2026-01-26 12:00", Closed},
		{"Sydney on Christmas Eve", Sydney, "2026-12-24 14:10", PostPost},
		{"Hong Kong at lunch", HongKong, "2026-03-04 12:30", Closed},
		{"Hong Kong", HongKong, "2026-03-04 13:00", Regular},
		{"Shanghai on a Sunday", Shanghai, "2026-03-08 10:00", Closed},
		{"India", India, "2026-03-04 09:15", Regular},

		{"futures on Sunday before the opening", Futures, "2026-03-08 17:59", Closed},
		{"futures on Sunday", Futures, "2026-03-08 18:00", Regular},
		{"futures in the daily pause", Futures, "2026-03-04 17:30", Closed},
		{"futures at night", Futures, "2026-03-04 02:00", Regular},
		{"futures after Friday's close", Futures, "2026-03-06 18:30", Closed},
		{"futures on Good Friday", Futures, "2026-04-03 12:00", Closed},
		{"currencies on Friday evening", Currencies, "2026-03-06 17:00", Closed},
		{"currencies on Wednesday at five", Currencies, "2026-03-04 17:00", Regular},
		{"currencies on Saturday", Currencies, "2026-03-07 12:00", Closed},
		{"currencies at Christmas", Currencies, "2026-12-25 12:00", Closed},
		{"crypto at Christmas on a weekend", Crypto, "2027-12-25 12:00", Regular},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := time.ParseInLocation("2006-01-02 15:04", c.at, c.calendar.Zone())
			if err != nil {
				t.Fatal(err)
			}
			if got := c.calendar.At(at.UTC()); got != c.want {
				t.Errorf("%s is %s, want %s", c.at, got, c.want)
			}
		})
	}
}

func TestEaster(t *testing.T) {
	for year, want := range map[int]string{2000: "04-23", 2008: "03-23", 2019: "04-21", 2024: "03-31", 2025: "04-20", 2026: "04-05", 2038: "04-25"} {
		if got := easter(year).Format("01-02"); got != want {
			t.Errorf("Easter of %d is on %s, want %s", year, got, want)
		}
	}
}

func TestNextChangeOfState(t *testing.T) {
	for _, c := range []struct {
		calendar   *Calendar
		from, want string
	}{
		{NewYork, "2026-03-04 12:00", "2026-03-04 16:00"},
		{NewYork, "2026-11-27 12:00", "2026-11-27 13:00"},
		{NewYork, "2026-03-07 12:00", "2026-03-09 00:00"},
		{Tokyo, "2026-03-04 10:00", "2026-03-04 11:30"},
		{Futures, "2026-03-06 20:00", "2026-03-08 18:00"},
	} {
		parse := func(s string) time.Time {
			at, err := time.ParseInLocation("2006-01-02 15:04", s, c.calendar.Zone())
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		if got := c.calendar.Next(parse(c.from).Add(30 * time.Second)); !got.Equal(parse(c.want)) {
			t.Errorf("after %s comes %s, want %s", c.from, got, c.want)
		}
	}
	if got := Crypto.Next(time.Now()); !got.IsZero() {
		t.Errorf("crypto changes at %s", got)
	}
}

func TestCalendarsByYahoosCodes(t *testing.T) {
	for code, want := range map[string]*Calendar{"NMS": NewYork, "NYQ": NewYork, "PCX": NewYork, "GER": Frankfurt, "JPX": Tokyo, "TOR": Toronto, "HKG": HongKong, "CMX": Futures, "CCY": Currencies, "CCC": Crypto} {
		if got, ok := Of(code); !ok || got != want {
			t.Errorf("%s has no or another calendar", code)
		}
	}
	if _, ok := Of("NOWHERE"); ok {
		t.Error("an unknown exchange has a calendar")
	}
	if !Tokyo.HolidaysKnown() || HongKong.HolidaysKnown() {
		t.Error("of whom the holidays are known")
	}
	if !NewYork.Extends() || Frankfurt.Extends() || Crypto.Extends() {
		t.Error("who has extended sessions")
	}
}
