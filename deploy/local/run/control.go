package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"ticktape/deploy/local/process"
)

// Stop ends the runtime on cfg.Dir, in order, and what a runtime that was
// killed left behind. Where nothing runs it says so; that is no error.
func Stop(ctx context.Context, cfg Config, say *Progress) error {
	s, ok, err := ReadState(cfg.Dir)
	if err != nil {
		return err
	}
	if !ok {
		say.Say("nothing runs on %s", cfg.Dir)
		return nil
	}
	if s.Running() {
		if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
			return fmt.Errorf("stop Ticktape (pid %d): %w", s.PID, err)
		}
		step := say.Begin(fmt.Sprintf("stopping Ticktape (pid %d)", s.PID))
		defer step.End("")
		if err := awaitEnd(ctx, s.PID, s.Birth); err != nil {
			return err
		}
	}
	if left, _, err := ReadState(cfg.Dir); err == nil {
		s.Parts = append(s.Parts, left.Parts...)
	}
	for _, name := range s.killLeftovers() {
		say.Say("ended %s, which an earlier run left behind", name)
	}
	if err := forget(cfg.Dir); err != nil {
		return fmt.Errorf("forget what ran: %w", err)
	}
	say.Say("Ticktape is stopped; what it stored is in %s", cfg.Dir)
	return nil
}

// stopPatience is above the sum of what the stages may take.
const stopPatience = 4 * time.Minute

func awaitEnd(ctx context.Context, pid int, birth string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	for alive(pid, birth) {
		select {
		case <-tick.C:
		case <-patience.C:
			return fmt.Errorf("the runtime (pid %d) did not stop within %s: kill -9 %d ends it and all its parts", pid, stopPatience, pid)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Status prints what runs.
func Status(cfg Config, out io.Writer) error {
	s, ok, err := ReadState(cfg.Dir)
	if err != nil {
		return err
	}
	if !ok {
		fmt.Fprintf(out, "Ticktape does not run on %s. `make run` starts it.\n", cfg.Dir)
		return nil
	}
	if !s.Running() {
		fmt.Fprintf(out, "Ticktape was ended from outside. `make run` starts it again, `make stop` clears up after it.\n")
		return nil
	}
	state := "starting"
	if s.Ready {
		state = "ready"
	}
	prices := "real prices"
	if s.Simulated {
		prices = "SIMULATED prices"
	}
	fmt.Fprintf(out, "Ticktape is %s for %s, with %s.\nDashboard %s, functions %s.\n\n",
		state, time.Since(s.Started).Round(time.Second), prices, s.Dashboard, s.Functions)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PART\tSTATE\tPID\tPORT\tMEMORY\tUP\tRESTARTS\tLAST ENDING")
	total := process.RSS(s.PID)
	fmt.Fprintf(table, "runtime and gateway\tready\t%d\t\t%s\t%s\t\t\n", s.PID, size(total), time.Since(s.Started).Round(time.Second))
	var profiled []string
	if s.Profiles != "" {
		profiled = append(profiled, "runtime and gateway\t"+s.Profiles)
	}
	for _, p := range s.Parts {
		name := p.Name
		if p.Kind == "function" {
			name = "function " + name
		}
		state, memory, up, pid := string(p.State), "", "", ""
		if alive(p.PID, p.Birth) {
			rss := process.RSS(p.PID)
			total += rss
			memory, up, pid = size(rss), time.Since(p.Started).Round(time.Second).String(), fmt.Sprint(p.PID)
			if process.Frozen(p.PID) {
				state = "frozen"
			}
			if url := profiles(p.Log, p.PID); url != "" {
				profiled = append(profiled, name+"\t"+url)
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n", name, state, pid, p.Port, memory, up, p.Restarts, p.Ending)
	}
	fmt.Fprintf(table, "total\t\t\t\t%s\t\t\t\n", size(total))
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print what runs: %w", err)
	}
	if len(profiled) > 0 {
		fmt.Fprint(table, "\nGo's profiles, as in `go tool pprof URL/profile?seconds=10` and `go tool pprof URL/heap`:\n", strings.Join(profiled, "\n"), "\n")
		if err := table.Flush(); err != nil {
			return fmt.Errorf("print where profiles are: %w", err)
		}
	}
	fmt.Fprintf(out, "\nLogs: %s and %s\n", filepath.Join(cfg.Dir, "logs"), filepath.Join(cfg.Dir, "functions", "logs"))
	return nil
}

func size(bytes int64) string { return fmt.Sprintf("%d MiB", bytes/mib) }

// Clean removes the data and what was built. Downloads stay.
func Clean(ctx context.Context, cfg Config, say *Progress) error {
	if err := Stop(ctx, cfg, say); err != nil {
		return err
	}
	unlock, err := lockDir(cfg.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer unlock()
		for _, dir := range []string{cfg.Dir, cfg.Bin} {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove %s: %w", dir, err)
			}
		}
		say.Say("removed %s and %s", cfg.Dir, cfg.Bin)
	}
	return err
}
