package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func site(t *testing.T) http.Handler {
	t.Helper()
	h, err := handler(fstest.MapFS{
		"index.html":         {Data: []byte("<!doctype html>" + strings.Repeat("page ", 100))},
		"assets/app-1.js":    {Data: []byte(strings.Repeat("let a = 1;", 100))},
		"assets/font.woff2":  {Data: []byte("font")},
		"assets/app-2.js":    {Data: []byte(strings.Repeat("let b = 2;", 100))},
		"assets/app-2.js.br": {Data: []byte("in Brotli")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestThePageIsCompressedAndCheckedAnewWhileItsPartsAreKept(t *testing.T) {
	h := site(t)
	resp := get(t, h, "/", "Accept-Encoding", "br, gzip;q=0.5")
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Cache-Control") != "no-cache" || resp.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("headers are %v", resp.Header)
	}
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || !strings.HasPrefix(string(b), "<!doctype html>") {
		t.Errorf("%v: %.40s", err, b)
	}
	if resp := get(t, h, "/", "Accept-Encoding", "gzip", "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("asked with its tag: %s", resp.Status)
	}
	for _, accept := range []string{"", "gzip;q=0", "br"} {
		if resp := get(t, h, "/", "Accept-Encoding", accept); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("Accept-Encoding %q got %v", accept, resp.Header)
		}
	}
	for accept, want := range map[string]string{"gzip, deflate, br": "br", "gzip, br;q=0": "gzip", "gzip": "gzip", "": ""} {
		if got := get(t, h, "/assets/app-2.js", "Accept-Encoding", accept).Header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q got %q, want %q", accept, got, want)
		}
	}
	if resp := get(t, h, "/assets/app-2.js.br"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the compressed form by its own name: %s", resp.Status)
	}
	resp = get(t, h, "/assets/app-1.js")
	if !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("headers are %v", resp.Header)
	}
	if resp := get(t, h, "/assets/font.woff2", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Type") != "font/woff2" || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("headers are %v", resp.Header)
	}
}

func TestOtherAddressesAreNotFound(t *testing.T) {
	h := site(t)
	for _, path := range []string{"/nothing", "/assets/", "/assets/../index.htm", "/.gitignore"} {
		if resp := get(t, h, path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestABinaryWithoutItsPageSaysSo(t *testing.T) {
	h, err := handler(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	resp := get(t, h, "/")
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), "npm run build") {
		t.Errorf("%s: %s", resp.Status, b)
	}
}

// The first load is the page with all that it asks for.
func TestTheFirstLoadIsSmall(t *testing.T) {
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	page := get(t, h, "/", "Accept-Encoding", "gzip")
	if page.StatusCode != http.StatusOK {
		t.Skip("the page is not built: run npm ci && npm run build in dashboard/web, or make test")
	}
	entries, err := dist.ReadDir("dist/page/assets")
	if err != nil {
		t.Fatal(err)
	}
	total := page.ContentLength
	for _, e := range entries {
		if path.Ext(e.Name()) == ".br" {
			continue
		}
		total += get(t, h, "/assets/"+e.Name(), "Accept-Encoding", "gzip").ContentLength
	}
	const most = 200_000
	t.Logf("%d bytes", total)
	if total > most {
		t.Errorf("the first load is %d bytes, more than %d", total, most)
	}
}
