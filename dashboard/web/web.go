// Package web holds the page: its source in TypeScript, which `npm ci && npm run
// build` in this folder turns into dist/page, and the built page within the binary.
//
// dist/page is a product of the build and not in the repository; a binary that
// was built without it says so where the page would be.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// The folder holds at least the file that keeps it in the repository.
//
//go:embed all:dist
var dist embed.FS

const notBuilt = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Ticktape</title>
<h1>The page has not been built</h1>
<p>This binary was built without its page. In the folder dashboard/web run <code>npm ci &amp;&amp; npm run build</code>,
or <code>make build</code> in the folder above it, and build the binary again.</p>
<p>The data are at <a href="/api/status">/api/status</a> and <a href="/api/snapshot">/api/snapshot</a>.</p>
`

type file struct {
	plain, zipped, brotli []byte
	contentType           string
	tag                   string
	immutable             bool
}

// Handler serves the page.
func Handler() (http.Handler, error) {
	site, err := fs.Sub(dist, "dist/page")
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	return handler(site)
}

func handler(site fs.FS) (http.Handler, error) {
	files := map[string]*file{}
	err := fs.WalkDir(site, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil && name == "." {
			return fs.SkipAll // not built
		}
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(site, name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".br" {
			return nil // served in place of the file that it is of
		}
		f, err := newFile(name, b)
		if err != nil {
			return err
		}
		// The build compresses with more patience than a start has.
		if f.brotli, err = fs.ReadFile(site, name+".br"); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		files["/"+name] = f
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	files["/"] = files["/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Only GET and HEAD are answered here.", http.StatusMethodNotAllowed)
			return
		}
		if files["/"] == nil && r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, notBuilt)
			return
		}
		f := files[r.URL.Path]
		if f == nil {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	}), nil
}

func newFile(name string, b []byte) (*file, error) {
	sum := sha256.Sum256(b)
	f := &file{
		plain:       b,
		contentType: mime.TypeByExtension(path.Ext(name)),
		tag:         hex.EncodeToString(sum[:8]),
		// Vite puts a hash of the content into the names of these.
		immutable: strings.HasPrefix(name, "assets/"),
	}
	switch path.Ext(name) {
	case ".woff2":
		f.contentType = "font/woff2" // not in every system's table
		return f, nil                // is compressed already
	case ".png":
		return f, nil
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if z.Len() < len(b) {
		f.zipped = z.Bytes()
	}
	return f, nil
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache")
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, tag := f.plain, `"`+f.tag+`"`
	if f.zipped != nil || f.brotli != nil {
		h.Set("Vary", "Accept-Encoding")
	}
	switch {
	case f.brotli != nil && Accepts(r, "br"):
		h.Set("Content-Encoding", "br")
		body, tag = f.brotli, `"`+f.tag+`-br"`
	case f.zipped != nil && Accepts(r, "gzip"):
		h.Set("Content-Encoding", "gzip")
		body, tag = f.zipped, `"`+f.tag+`-gzip"`
	}
	h.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // a reader that has gone is no concern of ours
}

// Accepts reports whether the client has named the coding among those it takes.
func Accepts(r *http.Request, coding string) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == coding {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(params, " ", ""), "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}
