package yahootest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// handleControl serves what is no call of Yahoo's:
//
//	GET    /healthz                          says what is served
//	GET    /control                          the faults, the calls so far, the market's time
//	POST   /control/faults?kind=429&for=10m  injects a fault (ParseFault)
//	POST   /control/consent                  asks visitors for consent from now on
//	POST   /control/expire                   makes all cookies and crumbs invalid
//	DELETE /control/faults                   heals all of it
//	POST   /control/stream?die=5s            how the streamer behaves from now on (ParseStreamOptions)
func (s *Server) handleControl() {
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s.replay != nil {
			fmt.Fprintf(w, "ok, %d recorded answers\n", len(s.replay.all))
			return
		}
		fmt.Fprintf(w, "ok, %d symbols, seed %d, market time %s\n", len(s.Market.names), s.Market.opts.Seed, s.Market.Now().UTC().Format(time.RFC3339))
	})
	s.mux.HandleFunc("GET /control", s.state)
	s.mux.HandleFunc("POST /control/faults", func(w http.ResponseWriter, r *http.Request) {
		f, err := ParseFault(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Inject(f)
		s.state(w, r)
	})
	s.mux.HandleFunc("POST /control/consent", func(w http.ResponseWriter, r *http.Request) {
		s.AskForConsent()
		s.state(w, r)
	})
	s.mux.HandleFunc("POST /control/expire", func(w http.ResponseWriter, r *http.Request) {
		s.ExpireCrumbs()
		s.state(w, r)
	})
	s.mux.HandleFunc("DELETE /control/faults", func(w http.ResponseWriter, r *http.Request) {
		s.Heal()
		s.state(w, r)
	})
}

func (s *Server) state(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	faults := []string{}
	for _, f := range s.faults {
		text := strings.TrimSpace(f.name)
		if f.Times > 0 {
			text += fmt.Sprintf(" (%d calls left)", f.Times)
		}
		if f.For > 0 {
			text += fmt.Sprintf(" (%s left)", f.until.Sub(s.Market.opts.Clock()).Round(time.Second))
		}
		faults = append(faults, text)
	}
	doc := map[string]any{"faults": faults, "consent": s.consent, "calls": s.counts, "most_in_flight": s.most, "market_time": s.Market.Now().UTC()}
	body, err := json.Marshal(doc)
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}
