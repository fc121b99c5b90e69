package yahootest

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
)

// AskForConsent makes the server treat its visitors as Yahoo treats those from
// the EU: quote pages lead over redirects to a page with a form, and without what
// comes of that form the cookie is not enough for a crumb. Cookies and crumbs
// given out before are refused.
func (s *Server) AskForConsent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consent = true
	s.epoch++
}

func (s *Server) wantsConsent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.consent
}

func (s *Server) consented(r *http.Request) bool {
	k, err := r.Cookie("GUC")
	return err == nil && k.Value == s.token(consentKind)
}

// handleConsent serves the pages of the hosts guce.yahoo.com and
// consent.yahoo.com.
func (s *Server) handleConsent() {
	s.handle("GET /consent", "consent", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "GUCS", Value: s.token(sessionKind), Path: "/"})
		to := url.Values{"sessionId": {"3_cc-session_" + s.token(sessionKind)}, "done": {r.URL.Query().Get("done")}}
		http.Redirect(w, r, "/v2/collectConsent?"+to.Encode(), http.StatusFound)
	})
	s.handle("GET /v2/collectConsent", "consent", s.consentForm)
	s.handle("POST /v2/collectConsent", "consent", s.collectConsent)
	s.handle("GET /copyConsent", "consent", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "GUC", Value: s.token(consentKind), Path: "/"})
		s.setCookie(w)
		http.Redirect(w, r, r.URL.Query().Get("done"), http.StatusFound)
	})
}

func (s *Server) consentForm(w http.ResponseWriter, r *http.Request) {
	done := r.URL.Query().Get("done")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><head><title>Yahoo is part of the family (simulated)</title></head><body>
<form method="get" action="/search"><input type="text" name="q"></form>
<form method="post" class="consent-form">
 <input type="hidden" name="csrfToken" value="%s">
 <input type="hidden" name="sessionId" value="%s">
 <input type="hidden" name="originalDoneUrl" value="%s">
 <input type="hidden" name="namespace" value="yahoo">
 <button type="submit" name="agree" value="agree">Accept all</button>
 <button type="submit" name="reject" value="reject">Reject all</button>
</form></body></html>`, s.token(csrfKind), html.EscapeString(r.URL.Query().Get("sessionId")), html.EscapeString(done))
}

// collectConsent takes the form, and nothing less than all of it.
func (s *Server) collectConsent(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f := r.PostForm
	for name, want := range map[string]string{
		"csrfToken": s.token(csrfKind), "sessionId": "3_cc-session_" + s.token(sessionKind), "namespace": "yahoo", "agree": "agree",
	} {
		if f.Get(name) != want {
			http.Error(w, "the field "+name+" is not what the form had", http.StatusBadRequest)
			return
		}
	}
	if k, err := r.Cookie("GUCS"); err != nil || k.Value != s.token(sessionKind) || f.Get("originalDoneUrl") == "" {
		http.Error(w, "the cookie GUCS or the field originalDoneUrl is missing", http.StatusBadRequest)
		return
	}
	to := url.Values{"sessionId": {f.Get("sessionId")}, "done": {f.Get("originalDoneUrl")}}
	http.Redirect(w, r, "/copyConsent?"+to.Encode(), http.StatusFound)
}
