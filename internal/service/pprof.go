package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"regexp"
	"syscall"
	"time"
)

const pprofListens = "pprof listens"

// StartPprof serves Go's profiles where PPROF=1, on a listener of its own, on
// loopback and nowhere else, because they show memory and cost time. PPROF_ADDR
// is where. By default, and where another process has that port already, a free
// one is taken: many processes that share their settings share a machine. The
// log and url tell which; url is empty where PPROF is not set.
//
// Main calls it; it is for processes that do without Main.
func StartPprof() (url string, stop func(), err error) {
	cfg, err := Load[struct {
		On   bool   `env:"PPROF"`
		Addr string `env:"PPROF_ADDR" envDefault:"127.0.0.1:0"`
	}]()
	if err != nil || !cfg.On {
		return "", func() {}, err
	}
	addr, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil || !addr.Addr().IsLoopback() {
		return "", nil, Settingf("PPROF_ADDR=%q is no address on loopback: write it like 127.0.0.1:6060, or 127.0.0.1:0 for a free port", cfg.Addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", addr.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		addr = netip.AddrPortFrom(addr.Addr(), 0)
		ln, err = Listen(context.Background(), "PPROF_ADDR", addr.String())
	}
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("pprof ended", "error", err)
		}
	}()
	url = "http://" + ln.Addr().String() + "/debug/pprof/"
	slog.Info(pprofListens, "url", url, "pid", os.Getpid())
	return url, func() { _ = srv.Close(); <-done }, nil
}

// PprofURL finds in a log, which may be that of several processes one after
// another, where the process serves its profiles. It is empty where it serves none.
func PprofURL(log []byte, pid int) string {
	if !bytes.Contains(log, []byte(pprofListens)) {
		return ""
	}
	// Text: url=http://… pid=1; JSON: "url":"http://…","pid":1
	line := regexp.MustCompile(fmt.Sprintf(`%s.*(http://[^" ]+/debug/pprof/).*\bpid\W{1,3}%d\b`, pprofListens, pid))
	all := line.FindAllSubmatch(log, -1)
	if len(all) == 0 {
		return ""
	}
	return string(all[len(all)-1][1])
}
