package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ticktape/deploy/local/process"
	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/replay"
	"ticktape/internal/tick"
)

// ingested is what a way into Kafka came to.
type ingested struct {
	ticks int64
	took  time.Duration
	cpu   costs // seconds per million ticks
	peak  peaks
	note  string
}

func (i *ingested) rate() float64 { return float64(i.ticks) / i.took.Seconds() }

// replayed is connectors/replay as a user starts it: a program that fills the topic.
type replayed struct {
	encoding   tick.Encoding
	partitions int
	symbols    int
	ticks      int64
}

func (p replayed) String() string {
	return fmt.Sprintf("connectors/replay, %s, %d partitions, %s symbols, %s ticks", encodingName(p.encoding), p.partitions, thousands(p.symbols), thousands(p.ticks))
}

func (p replayed) run(ctx context.Context, r *rig) (res *ingested, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	b, err := r.begin(ctx, p.partitions)
	if err != nil {
		return nil, err
	}
	defer b.end()
	start := time.Now().Truncate(time.Minute).UTC()
	m := b.meter()
	cmd := exec.CommandContext(ctx, filepath.Join(r.cfg.Bin, "replay"),
		fmt.Sprint("-ticks=", p.ticks), fmt.Sprint("-symbols=", p.symbols), "-encoding="+encodingName(p.encoding), "-start="+start.Format(time.RFC3339), fmt.Sprint("-span=", span(p.ticks)))
	cmd.Env = process.Environ(b.env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	res = &ingested{ticks: p.ticks, took: time.Since(begun), note: "from the program's start to its end"}
	if err != nil {
		return nil, fmt.Errorf("replay: %w: %s", err, lastLine(out))
	}
	if res.cpu, res.peak, err = m.read(b, float64(p.ticks)/1e6); err != nil {
		return nil, err
	}
	delete(res.cpu, "gateway") // it has no part in this
	res.cpu["replay"] = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / (float64(p.ticks) / 1e6)
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		res.peak["replay"] = usage.Maxrss << 10
	}
	source, err := replay.Market{Seed: 1, Symbols: p.symbols, Ticks: p.ticks, Start: start, Span: span(p.ticks)}.Open()
	if err != nil {
		return nil, err
	}
	if err := b.verifyTopic(ctx, source); err != nil {
		return nil, wrong{err}
	}
	return res, nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// verifyTopic reads every record of the topic of ticks and holds it against the source: each
// symbol's ticks, all of them, once, in their order.
func (b *bench) verifyTopic(ctx context.Context, source replay.Source) error {
	want := map[string][]tick.ID{}
	var t tick.Tick
	for {
		if err := source.Next(&t); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		want[t.Symbol] = append(want[t.Symbol], t.ID())
	}
	next := map[string]int{}
	err := b.eachTick(ctx, func(key string, t *tick.Tick) error {
		i := next[key]
		next[key] = i + 1
		if key != t.Symbol || i >= len(want[t.Symbol]) || t.ID() != want[t.Symbol][i] {
			return fmt.Errorf("tick %d of %s, with key %q, is %+v", i, t.Symbol, key, *t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for symbol, ids := range want {
		if next[symbol] != len(ids) {
			return fmt.Errorf("%d ticks of %s, want %d", next[symbol], symbol, len(ids))
		}
	}
	return nil
}

// eachTick calls f with every tick that is in the topic, a partition's in order.
// The tick with its strings is f's only until it returns.
func (b *bench) eachTick(ctx context.Context, f func(key string, t *tick.Tick) error) error {
	info, err := b.client.TopicInfo(ctx, b.bus.TicksTopic)
	if err != nil {
		return err
	}
	var decoder tick.Decoder
	var t tick.Tick
	ends, err := b.client.OffsetsAfter(ctx, b.bus.TicksTopic, time.Now())
	if err != nil {
		return err
	}
	for p := range info.Partitions {
		cursor := b.client.Cursor(b.bus.TicksTopic, info, p, 0)
		for cursor.Next() < ends[p] {
			if err := readChunk(ctx, cursor, &decoder, &t, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func readChunk(ctx context.Context, cursor *bus.Cursor, decoder *tick.Decoder, t *tick.Tick, f func(key string, t *tick.Tick) error) error {
	chunk, err := cursor.Fetch(ctx, time.Second, 4<<20)
	if err != nil {
		return err
	}
	for {
		var record bus.Record
		more, err := chunk.Next(&record)
		if err != nil || !more {
			return err
		}
		if err := decoder.Decode("", record.Value, t); err != nil {
			return fmt.Errorf("record %d: %w", record.Offset, err)
		}
		if err := f(string(record.Key), t); err != nil {
			return err
		}
	}
}

// fetched is the real function fetch, called again and again, over the stand-in
// for Yahoo, whose market runs so fast that nearly every symbol has traded since
// the call before.
type fetched struct {
	symbols    int
	duration   time.Duration
	partitions int
}

func (f fetched) String() string {
	return fmt.Sprintf("function fetch over HTTP from yahootest, %s symbols a call, calls for %s", thousands(f.symbols), inSeconds(f.duration))
}

// marketSpeed is how many times faster than the clock the stand-in's market runs.
const marketSpeed = 200

func (f fetched) run(ctx context.Context, r *rig) (res *ingested, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.duration+3*time.Minute)
	defer cancel()
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	yahoo := fmt.Sprintf("127.0.0.1:%d", port)
	names := make([]string, f.symbols)
	for i := range names {
		names[i] = fmt.Sprintf("SIM%04d", i+21) // as yahootest calls those past its first 20
	}
	b, err := r.beginWith(ctx, f.partitions, map[string]string{
		"YAHOO_URL": "http://" + yahoo, "SYMBOLS": strings.Join(names, ","), "FETCH_TIMEOUT": "15s",
		// Yahoo is to be spared; its stand-in is not.
		"YAHOO_RATE": "100000", "YAHOO_IN_FLIGHT": "8",
	}, "fetch")
	if err != nil {
		return nil, err
	}
	defer b.end()
	if err := b.start("market", nil, "-addr="+yahoo, fmt.Sprint("-symbols=", f.symbols+20), fmt.Sprint("-speed=", marketSpeed)); err != nil {
		return nil, err
	}
	if err := awaitHTTP(ctx, "http://"+yahoo+"/"); err != nil {
		return nil, fmt.Errorf("the stand-in for Yahoo: %w", err)
	}
	// The first call learns what was published and seeds the watch list.
	total, err := b.fetch(ctx)
	if err != nil {
		return nil, err
	}
	m := b.meter()
	res = &ingested{}
	calls := 0
	begun := time.Now()
	for ; time.Since(begun) < f.duration; calls++ {
		n, err := b.fetch(ctx)
		if err != nil {
			return nil, err
		}
		res.ticks += n
	}
	res.took = time.Since(begun)
	if res.cpu, res.peak, err = m.read(b, float64(max(res.ticks, 1))/1e6); err != nil {
		return nil, err
	}
	res.note = fmt.Sprintf("%d calls, %.0f%% of symbols new in each", calls, 100*float64(res.ticks)/float64(calls)/float64(f.symbols))
	total += res.ticks
	if n, err := b.verifyNew(ctx); err != nil {
		return nil, wrong{err}
	} else if n != total {
		return nil, wrong{fmt.Errorf("%d records are in the topic, and fetch said that it published %d", n, total)}
	}
	return res, nil
}

// fetch calls the function once and returns how many ticks it says that it published.
func (b *bench) fetch(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/function/fetch", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Trigger-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	var sum struct {
		Asked     int   `json:"asked"`
		Published int64 `json:"published"`
		Failed    []any `json:"failed"`
		Unknown   []any `json:"unknown"`
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("fetch: %s: %s", resp.Status, body)
	}
	if err := json.Unmarshal(body, &sum); err != nil {
		return 0, fmt.Errorf("fetch: %w", err)
	}
	if sum.Asked == 0 || len(sum.Failed)+len(sum.Unknown) > 0 {
		return 0, fmt.Errorf("fetch asked for %d symbols, of which %d failed and %d are unknown: its log is in %s", sum.Asked, len(sum.Failed), len(sum.Unknown), b.dir)
	}
	return sum.Published, nil
}

// verifyNew holds that each tick of a symbol in the topic is a later trade than
// the one before, so none was published twice, and counts them.
func (b *bench) verifyNew(ctx context.Context) (n int64, err error) {
	type place struct{ time, seq int64 }
	last := map[string]place{}
	err = b.eachTick(ctx, func(symbol string, t *tick.Tick) error {
		n++
		at := place{t.EventTime, t.Seq}
		if before, ok := last[symbol]; ok && (at.time < before.time || at.time == before.time && at.seq <= before.seq) {
			return fmt.Errorf("a tick of %s at %d (seq %d) comes after one at %d (seq %d)", symbol, at.time, at.seq, before.time, before.seq)
		}
		last[symbol] = at
		return nil
	})
	return n, err
}

// awaitHTTP waits until a server answers, with whatever status.
func awaitHTTP(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
