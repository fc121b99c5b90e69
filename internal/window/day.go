package window

import (
	"fmt"
	"sync"
	"time"
	// Days depend on it, so it must not be missing where a process runs.
	_ "time/tzdata"
)

// zones lists the exchanges by Yahoo's codes and the time zone of their days.
// Markets without a day of their own (currencies, crypto currencies) are absent,
// as are unknown ones: their day is that of UTC.
var zones = map[string][]string{
	"America/New_York": {
		"NMS", "NGM", "NCM", "NAS", "NIM", "NYQ", "NYS", "ASE", "PCX", "BTS", "BATS", "IEX", "PNK", "OTC", "OQB", "OQX", "OEM", "OID",
		"SNP", "DJI", "NYB", "NYM", "CMX", "OPR", "CGI", "WCB", "CXI", "NYA",
	},
	"America/Chicago":                {"CME", "CBT", "CBOE"},
	"America/Toronto":                {"TOR", "VAN", "CNQ", "NEO"},
	"America/Mexico_City":            {"MEX"},
	"America/Sao_Paulo":              {"SAO"},
	"America/Argentina/Buenos_Aires": {"BUE"},
	"America/Santiago":               {"SGO"},
	"Europe/London":                  {"LSE", "IOB", "AQS", "FGI", "CXE"},
	"Europe/Dublin":                  {"ISE"},
	"Europe/Lisbon":                  {"LIS"},
	"Europe/Berlin":                  {"GER", "FRA", "STU", "MUN", "BER", "DUS", "HAM", "HAN", "EUX", "DXE"},
	"Europe/Paris":                   {"PAR", "ENX"},
	"Europe/Amsterdam":               {"AMS"},
	"Europe/Brussels":                {"BRU"},
	"Europe/Rome":                    {"MIL", "TLO"},
	"Europe/Madrid":                  {"MCE"},
	"Europe/Zurich":                  {"EBS", "ZRH"},
	"Europe/Vienna":                  {"VIE"},
	"Europe/Stockholm":               {"STO"},
	"Europe/Copenhagen":              {"CPH"},
	"Europe/Oslo":                    {"OSL"},
	"Europe/Helsinki":                {"HEL"},
	"Atlantic/Reykjavik":             {"ICE"},
	"Europe/Athens":                  {"ATH"},
	"Europe/Warsaw":                  {"WSE"},
	"Europe/Prague":                  {"PRA"},
	"Europe/Budapest":                {"BUD"},
	"Europe/Bucharest":               {"BVB"},
	"Europe/Tallinn":                 {"TAL"},
	"Europe/Riga":                    {"RIS"},
	"Europe/Vilnius":                 {"LIT"},
	"Europe/Istanbul":                {"IST"},
	"Europe/Moscow":                  {"MCX"},
	"Asia/Jerusalem":                 {"TLV"},
	"Africa/Johannesburg":            {"JNB"},
	"Africa/Cairo":                   {"CAI"},
	"Asia/Riyadh":                    {"SAU"},
	"Asia/Qatar":                     {"DOH"},
	"Asia/Kuwait":                    {"KUW"},
	"Asia/Dubai":                     {"DFM"},
	"Asia/Karachi":                   {"KAR"},
	"Asia/Kolkata":                   {"NSI", "BSE"},
	"Asia/Colombo":                   {"CSE"},
	"Asia/Bangkok":                   {"SET"},
	"Asia/Jakarta":                   {"JKT"},
	"Asia/Ho_Chi_Minh":               {"VSE"},
	"Asia/Kuala_Lumpur":              {"KLS"},
	"Asia/Singapore":                 {"SES"},
	"Asia/Manila":                    {"PHS", "PHP"},
	"Asia/Hong_Kong":                 {"HKG"},
	"Asia/Shanghai":                  {"SHH", "SHZ"},
	"Asia/Taipei":                    {"TAI", "TWO"},
	"Asia/Seoul":                     {"KSC", "KOE"},
	"Asia/Tokyo":                     {"JPX", "OSA", "TYO", "SAP", "FKA"},
	"Australia/Sydney":               {"ASX", "CHX"},
	"Pacific/Auckland":               {"NZE"},
}

var locations = sync.OnceValue(func() map[string]*time.Location {
	m := map[string]*time.Location{}
	for name, codes := range zones {
		loc, err := time.LoadLocation(name)
		if err != nil {
			panic(fmt.Sprintf("time zone %s, which the binary carries: %v", name, err))
		}
		for _, code := range codes {
			m[code] = loc
		}
	}
	return m
})

func location(exchange string) *time.Location {
	if loc, ok := locations()[exchange]; ok {
		return loc
	}
	return time.UTC
}

// Day returns the local day of an exchange, named by Yahoo's code ("NMS", "LSE"),
// that the time t falls into, from its midnight to the next, in milliseconds since
// the Unix epoch. It is the day of UTC where the market never closes or the code is
// not known. Both ends are windows' starts; a day has 23 to 25 hours.
func Day(exchange string, t int64) (start, end int64) {
	return Date(exchange, time.UnixMilli(t).In(location(exchange)))
}

// Date returns, as Day does, the day of an exchange that has the date that the
// given time shows in its own location.
func Date(exchange string, date time.Time) (start, end int64) {
	loc := location(exchange)
	y, m, d := date.Date()
	return midnight(y, m, d, loc), midnight(y, m, d+1, loc)
}

// Zone returns the time zone of an exchange's days, named by Yahoo's code; nil
// where the market never closes or the code is not known.
func Zone(exchange string) *time.Location { return locations()[exchange] }

// midnight returns the first instant of a local day. Where clocks are put forward
// at midnight, time.Date names an instant of the day before or of this one.
func midnight(y int, m time.Month, d int, loc *time.Location) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	if t.Hour() != 0 {
		// 0:00 does not exist: the day starts where the new offset does.
		_, t = t.Add(-12 * time.Hour).ZoneBounds()
	}
	return t.UnixMilli()
}
