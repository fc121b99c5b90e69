package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"golang.org/x/time/rate"
)

const (
	cookieName = "ticktape"
	// cookieDays is how long a browser need not say the token again.
	cookieDays = 30

	loginsPerSecond = 1
	loginsBurst     = 10
)

// guard asks for the token where there is one.
type guard struct {
	token  [sha256.Size]byte
	cookie string
	logins *rate.Limiter
}

// newGuard returns nil where no token is wanted.
func newGuard(token string) *guard {
	if token == "" {
		return nil
	}
	// The cookie is made from the token, so that every replica knows it and a new
	// token ends it, and does not tell it.
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("ticktape dashboard cookie"))
	return &guard{
		token: sha256.Sum256([]byte(token)), cookie: hex.EncodeToString(mac.Sum(nil)),
		logins: rate.NewLimiter(loginsPerSecond, loginsBurst),
	}
}

// same compares without telling by its time where two texts differ.
func (g *guard) same(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return hmac.Equal(sum[:], g.token[:])
}

func (g *guard) admits(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.same(token)
	}
	c, err := r.Cookie(cookieName)
	return err == nil && hmac.Equal([]byte(c.Value), []byte(g.cookie))
}

// protect answers 401 to what lacks the token, but for signing in.
func (g *guard) protect(next http.Handler) http.Handler {
	if g == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/api/login" && !g.admits(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="ticktape"`)
			writeProblem(w, http.StatusUnauthorized, "", "This dashboard asks for a token (DASHBOARD_TOKEN of its service).")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	if g == nil { // there is nothing to sign in to
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !g.logins.Allow() {
		w.Header().Set("Retry-After", "10")
		writeProblem(w, http.StatusTooManyRequests, "", "Too many tries to sign in: wait ten seconds.")
		return
	}
	var body struct {
		Token string `json:"token"`
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(b, &body) != nil {
		writeProblem(w, http.StatusBadRequest, "token", `Send {"token":"…"}.`)
		return
	}
	if !g.same(body.Token) {
		writeProblem(w, http.StatusUnauthorized, "token", "This is not the token.")
		return
	}
	http.SetCookie(w, g.cookieFor(r, g.cookie, cookieDays*24*60*60))
	w.WriteHeader(http.StatusNoContent)
}

func (g *guard) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, g.cookieFor(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (g *guard) cookieFor(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// A proxy that ends TLS says so.
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}
