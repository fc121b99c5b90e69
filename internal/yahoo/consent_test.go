package yahoo_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/yahootest"
)

func TestConsentIsGivenWhereItIsAskedFor(t *testing.T) {
	t.Run("from the start", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		s.AskForConsent()
		a, err := client(t, config(url)).Quotes(t.Context(), []string{"AAPL"})
		// The first cookie page sets a cookie that is not enough for a crumb.
		if err != nil || len(a.Quotes) != 1 || s.Calls("cookie") != 3 || s.Calls("consent") != 4 || s.Calls("crumb") != 2 {
			t.Errorf("%d cookie, %d consent, %d crumb calls: %+v, %v", s.Calls("cookie"), s.Calls("consent"), s.Calls("crumb"), a, err)
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		c := client(t, config(url))
		for range 2 {
			if _, err := c.Quotes(t.Context(), []string{"AAPL"}); err != nil {
				t.Fatal(err)
			}
			s.AskForConsent()
		}
	})
	t.Run("on the page of a quote call", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		c := client(t, config(url))
		s.Inject(yahootest.Fault{Call: "quote", Times: 1, Status: 302, Header: http.Header{"Location": {"/consent?done=/"}}})
		if _, err := c.Quotes(t.Context(), []string{"AAPL"}); err != nil || s.Calls("crumb") != 2 {
			t.Errorf("%d crumb calls, %v", s.Calls("crumb"), err)
		}
	})
	for name, fault := range map[string]yahootest.Fault{
		"refused":        {Call: "consent", Status: http.StatusBadRequest, Body: "no"},
		"without an end": {Call: "consent", Status: http.StatusFound, Header: http.Header{"Location": {"/consent"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := standIn(t, yahootest.Options{})
			s.AskForConsent()
			s.Inject(fault)
			_, err := client(t, config(url)).Quotes(t.Context(), []string{"AAPL"})
			if kind := kindOf(err); kind != yahoo.Unauthorized && kind != yahoo.BadAnswer {
				t.Errorf("error %v", err)
			}
			if n := s.Calls("consent"); n > 12 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// asYahoo sends requests of any host to one handler, without TLS.
type asYahoo struct{ http.RoundTripper }

func (a asYahoo) RoundTrip(r *http.Request) (*http.Response, error) {
	plain := r.Clone(r.Context())
	plain.URL.Scheme = "http"
	res, err := a.RoundTripper.RoundTrip(plain)
	if res != nil {
		res.Request = r
	}
	return res, err
}

// TestConsentOverYahoosHosts goes the way that visitors from the EU are led, over
// five hosts with their cookies.
func TestConsentOverYahoosHosts(t *testing.T) {
	set := func(w http.ResponseWriter, name, value string, domain string) {
		http.SetCookie(w, &http.Cookie{Name: name, Value: value, Domain: domain, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode, MaxAge: 31_557_600})
	}
	has := func(r *http.Request, name, value string) bool {
		k, err := r.Cookie(name)
		return err == nil && k.Value == value
	}
	const token = `a"b&c=1+/`
	mux := http.NewServeMux()
	mux.HandleFunc("fc.yahoo.com/", func(w http.ResponseWriter, _ *http.Request) {
		set(w, "A3", "before", ".yahoo.com")
		w.WriteHeader(http.StatusNotFound)
	})
	mux.HandleFunc("finance.yahoo.com/", func(w http.ResponseWriter, r *http.Request) {
		if !has(r, "A3", "after") {
			http.Redirect(w, r, "https://guce.yahoo.com/consent?brandType=nonEu", http.StatusFound)
		}
	})
	mux.HandleFunc("guce.yahoo.com/consent", func(w http.ResponseWriter, r *http.Request) {
		set(w, "GUCS", "started", ".yahoo.com")
		http.Redirect(w, r, "https://consent.yahoo.com/v2/collectConsent?sessionId=3_cc-1", http.StatusFound)
	})
	mux.HandleFunc("GET consent.yahoo.com/v2/collectConsent", func(w http.ResponseWriter, _ *http.Request) {
		set(w, "own", "of this host", "")
		fmt.Fprint(w, `<html><body><FORM method='post' ACTION="/v2/collectConsent?sessionId=3_cc-1"><p>We<br>
			<INPUT value="a&quot;b&amp;c=1+/" NAME=csrfToken type=HIDDEN><input type="hidden" name="sessionId" value="3_cc-1"/>
			<input type="hidden" name="originalDoneUrl" value="https://finance.yahoo.com/quote/AAPL?a=1&amp;b=2"><input type="hidden" name="consentUUID" value="default">
			<button type="submit" name="agree" value="agree">Yes</button><button type="submit" name="reject" value="reject">No</button></FORM>`)
	})
	mux.HandleFunc("POST consent.yahoo.com/v2/collectConsent", func(w http.ResponseWriter, r *http.Request) {
		want := url.Values{
			"csrfToken": {token}, "sessionId": {"3_cc-1"}, "originalDoneUrl": {"https://finance.yahoo.com/quote/AAPL?a=1&b=2"},
			"namespace": {"yahoo"}, "agree": {"agree"}, "consentUUID": {"default"},
		}
		if r.ParseForm() != nil || r.PostForm.Encode() != want.Encode() || !has(r, "GUCS", "started") || !has(r, "own", "of this host") {
			http.Error(w, "form "+r.PostForm.Encode(), http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "https://guce.yahoo.com/copyConsent?sessionId=3_cc-1", http.StatusFound)
	})
	mux.HandleFunc("guce.yahoo.com/copyConsent", func(w http.ResponseWriter, r *http.Request) {
		set(w, "A3", "after", ".yahoo.com")
		http.Redirect(w, r, "https://finance.yahoo.com/quote/AAPL", http.StatusFound)
	})
	mux.HandleFunc("query1.finance.yahoo.com/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !has(r, "A3", "after") || has(r, "own", "of this host"):
			http.Error(w, `{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Cookie"}}}`, http.StatusUnauthorized)
		case r.URL.Path == "/v1/test/getcrumb":
			fmt.Fprint(w, "abcDEF12.gh")
		default:
			fmt.Fprint(w, oneQuote)
		}
	})
	transport, stop := yahootest.Pipe(mux)
	defer stop()
	cfg := config("https://query1.finance.yahoo.com")
	cfg.Transport = asYahoo{transport}
	a, err := client(t, cfg).Quotes(t.Context(), []string{"^GSPC"})
	if err != nil || len(a.Quotes) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestCookiesOfAnotherStandIn(t *testing.T) {
	// It passes on Yahoo's own cookie, of another domain and for TLS, and takes
	// nothing else for it.
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "B=old; Max-Age=0")
		w.Header().Add("Set-Cookie", "A3=d=AQABBK&S=AQAAAu; Expires=Tue, 24 Nov 2099 10:00:00 GMT; Max-Age=31557600; Domain=.yahoo.com; Path=/; SameSite=None; Secure; HttpOnly")
		w.WriteHeader(http.StatusNotFound)
	})
	mux.HandleFunc("/v1/test/getcrumb", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "A3=d=AQABBK&S=AQAAAu" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "abcDEF12.gh")
	})
	mux.HandleFunc("/v7/finance/quote", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, oneQuote) })
	web := httptest.NewServer(mux)
	defer web.Close()
	if _, err := client(t, config(web.URL)).Quotes(t.Context(), []string{"^GSPC"}); err != nil {
		t.Error(err)
	}
}

func TestFormsOfConsentPages(t *testing.T) {
	at, err := url.Parse("https://consent.yahoo.com/v2/collectConsent?sessionId=fromURL")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, page, action, fields string }{
		{"without a form", `<input type=hidden name=csrfToken value=t>`, at.String(), "agree=agree&csrfToken=t&namespace=yahoo&sessionId=fromURL"},
		{"that is cut", `<form action="/x"><input type=hidden name=csrfToken value=t><input type=hidden name=sessionId value=s><but`, "https://consent.yahoo.com/x", "agree=agree&csrfToken=t&namespace=yahoo&sessionId=s"},
		{"among others", `<form action="/search"><input name=q></form><form><input type=hidden name=csrfToken value=t></form><form><input type=hidden name=z value=1></form>`, at.String(), "agree=agree&csrfToken=t&namespace=yahoo&sessionId=fromURL"},
		{"with an agree button of another value", `<form><input type=hidden name=csrfToken value=t><button name=agree value=yes></form>`, at.String(), "agree=yes&csrfToken=t&namespace=yahoo&sessionId=fromURL"},
		{"without a token", `<form><input type=hidden name=sessionId value=s></form>`, "", ""},
		{"that leads to a script", `<form action="javascript:x()"><input type=hidden name=csrfToken value=t></form>`, "", ""},
		{"in a comment", `<!-- <input type=hidden name=csrfToken value=t> -->`, "", ""},
		{"that is none", `{"finance":{}}`, "", ""},
		{"with a token too long to be one", `<input type=hidden name=csrfToken value="` + strings.Repeat("t", 9000) + `">`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			form, ok := yahoo.DecodeConsent([]byte(c.page), at)
			if ok != (c.action != "") || ok && (form.Action.String() != c.action || form.Fields.Encode() != c.fields) {
				t.Errorf("%v: %s %s", ok, form.Action, form.Fields.Encode())
			}
		})
	}
}

func FuzzDecodeConsent(f *testing.F) {
	f.Add([]byte(`<form action="/x?a=b"><input type=hidden name=csrfToken value="t"><input type=hidden name=sessionId value=s></form>`))
	f.Add([]byte(`<form><input type='hidden' name="csrfToken" value='&quot;&#x41;'/><form action="http://[">`))
	at, err := url.Parse("https://consent.yahoo.com/v2/collectConsent")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		form, ok := yahoo.DecodeConsent(page, at)
		if !ok {
			return
		}
		for _, name := range []string{"csrfToken", "sessionId", "namespace", "agree"} {
			if form.Fields.Get(name) == "" {
				t.Fatalf("no %s in %v", name, form.Fields)
			}
		}
		if form.Action.Host == "" || form.Action.Scheme != "http" && form.Action.Scheme != "https" || len(form.Fields) > 66 {
			t.Fatalf("action %s, %d fields", form.Action, len(form.Fields))
		}
	})
}

func TestRequestsGoThroughTheProxyThatIsSet(t *testing.T) {
	// A proxy sees whole addresses; what it answers is what the host answers.
	var seen []string
	s := yahootest.NewServer(yahootest.Options{})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Host)
		s.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	cfg := config("http://yahoo.test:81")
	cfg.Proxy = proxy.URL
	if a, err := client(t, cfg).Quotes(t.Context(), []string{"AAPL"}); err != nil || len(a.Quotes) != 1 || len(seen) != 3 || seen[0] != "yahoo.test:81" {
		t.Errorf("%v, the proxy was asked for %v", err, seen)
	}
	cfg.Proxy = "http://user:secret@127.0.0.1:1"
	if _, err := client(t, cfg).Quotes(within(t, 3*time.Second), []string{"AAPL"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a proxy that is away: %v", err)
	}
}
