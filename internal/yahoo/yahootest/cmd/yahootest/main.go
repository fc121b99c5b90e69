// Command yahootest serves a made-up market over Yahoo Finance's interface, for
// when Yahoo can't be reached or shouldn't be asked.
//
//	yahootest -addr 127.0.0.1:8099
//	YAHOO_URL=http://127.0.0.1:8099 …
package main

import (
	"context"
	"flag"
	"fmt"
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
	flag.Parse()
	service.Main("yahootest", func(ctx context.Context) error {
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
		if *hours {
			o.Hours = yahootest.ExchangeHours
		}
		ln, err := service.Listen(ctx, "-addr", *addr)
		if err != nil {
			return err
		}
		fmt.Printf("http://%s\n", ln.Addr())
		return service.Serve(ctx, ln, yahootest.NewServer(o))
	})
}
