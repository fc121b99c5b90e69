// Command yahootest serves a made-up market over Yahoo Finance's interface, for
// when Yahoo can't be reached or shouldn't be asked; or, with -replay, answers
// that were recorded.
//
//	yahootest -addr 127.0.0.1:8099
//	YAHOO_URL=http://127.0.0.1:8099 …
//	YAHOO_STREAM_URL='ws://127.0.0.1:8099/streamer?version=2' …
//	curl -X POST 'http://127.0.0.1:8099/control/faults?kind=429&for=10m'
//	curl -X POST 'http://127.0.0.1:8099/control/stream?die=5s'
package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"ticktape/internal/service"
	"ticktape/internal/yahoo/yahootest"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	seed := flag.Uint64("seed", 1, "`number` that decides the whole market")
	symbols := flag.Int("symbols", 20, "`number` of symbols; those past 20 are called SIM0021, SIM0022, …")
	speed := flag.Float64("speed", 1, "how many `times` faster than the clock the market runs; above 1 it begins a day in the past")
	hours := flag.Bool("exchange-hours", false, "keep to the hours of the real exchanges instead of trading around the clock")
	at := flag.String("at", "", "`time` at which the market's clock begins, like 2026-11-27T12:55:00-05:00; now by default")
	consent := flag.Bool("consent", false, "ask visitors for consent, as those from the EU are")
	var faults []yahootest.Fault
	flag.Func("fault", "a `fault` to begin with, like kind=429&call=quote&for=10m; may be given several times; kinds are statuses and "+strings.Join(yahootest.FaultKinds(), ", "), func(text string) error {
		f, err := yahootest.ParseFault(text)
		faults = append(faults, f)
		return err
	})
	var streams yahootest.StreamOptions
	flag.Func("stream", "how the streamer at /streamer behaves, like die=5s&malformed=20&stale=72h&cap=50&refuse=503&mute=AAPL", func(text string) (err error) {
		streams, err = yahootest.ParseStreamOptions(text)
		return err
	})
	var recorded []string
	flag.Func("replay", "`file` or folder of recorded answers to serve instead of a market; may be given several times", func(path string) error {
		recorded = append(recorded, path)
		return nil
	})
	service.Main("yahootest", func(ctx context.Context) error {
		flag.Parse()
		if flag.NArg() > 0 {
			return service.Settingf("unknown argument %q: see -help", flag.Arg(0))
		}
		if *symbols < 1 || !(*speed > 0) {
			return service.Settingf("-symbols and -speed must be above 0")
		}
		o := yahootest.Options{Seed: *seed, Symbols: *symbols, Speed: *speed}
		if *speed > 1 {
			o.Start = time.Now().Add(-24 * time.Hour)
		}
		if *at != "" {
			var err error
			if o.Start, err = time.Parse(time.RFC3339, *at); err != nil {
				return service.Settingf("-at %q is no time: write it like 2026-11-27T12:55:00-05:00", *at)
			}
		}
		if *hours {
			o.Hours = yahootest.ExchangeHours
		}
		server := yahootest.NewServer(o)
		if len(recorded) > 0 {
			recordings, err := yahootest.LoadRecordings(recorded...)
			if err != nil {
				return service.Settingf("-replay: %v", err)
			}
			server = yahootest.NewReplay(recordings)
		}
		server.Streamer.Set(streams)
		if *consent {
			server.AskForConsent()
		}
		for _, f := range faults {
			server.Inject(f)
		}
		ln, err := service.Listen(ctx, "-addr", *addr)
		if err != nil {
			return err
		}
		fmt.Printf("http://%s\n", ln.Addr())
		return service.Serve(ctx, ln, server)
	})
}
