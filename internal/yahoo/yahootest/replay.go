package yahootest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Recordings are recorded answers of Yahoo's. A file holds one, a list of them,
// or several one after the other:
//
//	{"request": "/v7/finance/quote?symbols=AAPL&crumb=x", "status": 200,
//	 "contentType": "application/json;charset=utf-8", "body": {"quoteResponse": …}}
//
// where a body that is no JSON is text. Fields of other names are passed over.
//
// A request is answered by what was recorded of the same path and query, but for
// the parts of a query that say nothing of what is asked (crumb, lang, …). What
// was recorded several times is answered in that order, the last one then again
// and again. Quotes of symbols that were recorded in other company are put
// together. What was not recorded is answered with 404 and a text that says so.
type Recordings struct {
	all    []*recording
	byKey  map[string][]*recording
	quotes map[string]json.RawMessage // by symbol

	mu    sync.Mutex
	asked map[string]int // by key
}

type recording struct {
	Request     string          `json:"request"`
	Status      int             `json:"status"`
	ContentType string          `json:"contentType"`
	Body        json.RawMessage `json:"body"`

	path  string
	query url.Values
}

// LoadRecordings reads files, and the files of folders whose names end in .json.
func LoadRecordings(paths ...string) (*Recordings, error) {
	r := &Recordings{byKey: map[string][]*recording{}, quotes: map[string]json.RawMessage{}, asked: map[string]int{}}
	for _, path := range paths {
		files := []string{path}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil {
				return nil, err
			}
		}
		for _, file := range files {
			if err := r.load(file); err != nil {
				return nil, fmt.Errorf("recorded answers in %s: %w", file, err)
			}
		}
	}
	if len(r.all) == 0 {
		return nil, fmt.Errorf("there are no recorded answers in %s", strings.Join(paths, ", "))
	}
	return r, nil
}

func (r *Recordings) load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	docs := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		if err := docs.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		list := []*recording{}
		if bytes.HasPrefix(raw, []byte("[")) {
			err = json.Unmarshal(raw, &list)
		} else {
			one := &recording{}
			err = json.Unmarshal(raw, one)
			list = append(list, one)
		}
		if err != nil {
			return err
		}
		for _, rec := range list {
			if err := r.add(rec); err != nil {
				return err
			}
		}
	}
}

func (r *Recordings) add(rec *recording) error {
	u, err := url.Parse(rec.Request)
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		return fmt.Errorf("request %q is no path and query", rec.Request)
	}
	if rec.Status == 0 {
		rec.Status = http.StatusOK
	}
	if rec.Status < 200 || rec.Status > 599 {
		return fmt.Errorf("request %s has the status %d", rec.Request, rec.Status)
	}
	rec.path, rec.query = u.Path, u.Query()
	key := key(rec.path, rec.query)
	r.all = append(r.all, rec)
	r.byKey[key] = append(r.byKey[key], rec)
	var doc struct {
		QuoteResponse struct {
			Result []json.RawMessage `json:"result"`
		} `json:"quoteResponse"`
	}
	if rec.path != quotePath || json.Unmarshal(rec.Body, &doc) != nil {
		return nil
	}
	for _, q := range doc.QuoteResponse.Result {
		var named struct {
			Symbol string `json:"symbol"`
		}
		if json.Unmarshal(q, &named) == nil && named.Symbol != "" {
			r.quotes[strings.ToUpper(named.Symbol)] = q
		}
	}
	return nil
}

const quotePath = "/v7/finance/quote"

// key is what makes two requests the same: of a query what says what is asked.
// Symbols may come in any order.
func key(path string, q url.Values) string {
	kept := url.Values{}
	for _, name := range []string{"interval", "range", "period1", "period2"} {
		if v := q.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	if path == quotePath {
		kept["symbols"] = symbolsOf(q)
	}
	return path + "?" + kept.Encode()
}

func symbolsOf(q url.Values) []string {
	symbols := strings.Split(strings.ToUpper(q.Get("symbols")), ",")
	slices.Sort(symbols)
	return slices.Compact(symbols)
}

// has tells whether the request was recorded.
func (r *Recordings) has(req *http.Request) bool {
	return len(r.byKey[key(req.URL.Path, req.URL.Query())]) > 0
}

func (r *Recordings) serve(w http.ResponseWriter, req *http.Request) {
	k := key(req.URL.Path, req.URL.Query())
	if same := r.byKey[k]; len(same) > 0 {
		r.mu.Lock()
		n := min(r.asked[k], len(same)-1)
		r.asked[k]++
		r.mu.Unlock()
		same[n].send(w)
		return
	}
	switch req.URL.Path {
	case "/v1/test/getcrumb":
		(&recording{Status: http.StatusOK, ContentType: "text/plain;charset=utf-8", Body: json.RawMessage(`"recorded.01"`)}).send(w)
		return
	case quotePath:
		found := []json.RawMessage{}
		for _, symbol := range symbolsOf(req.URL.Query()) {
			if q, ok := r.quotes[symbol]; ok {
				found = append(found, q)
			}
		}
		if len(found) > 0 {
			send(w, http.StatusOK, map[string]any{"quoteResponse": map[string]any{"result": found, "error": nil}})
			return
		}
	}
	var similar []string
	for _, rec := range r.all {
		if rec.path == req.URL.Path {
			similar = append(similar, key(rec.path, rec.query))
		}
	}
	text := "No answer was recorded to " + k + "."
	if len(similar) > 0 {
		text += " Recorded were: " + strings.Join(similar[:min(20, len(similar))], ", ") + "."
	}
	http.Error(w, text, http.StatusNotFound)
}

// send answers with the body as it was recorded, digit by digit.
func (rec *recording) send(w http.ResponseWriter) {
	body := []byte(rec.Body)
	var text string
	if json.Unmarshal(rec.Body, &text) == nil {
		body = []byte(text)
	}
	if rec.ContentType != "" {
		w.Header().Set("Content-Type", rec.ContentType)
	}
	w.WriteHeader(rec.Status)
	_, _ = w.Write(body)
}

// NewReplay makes a server that answers with what was recorded. Its answers don't
// say that they are simulated: they were real once, and the client's setting
// decides what to call them. Where no cookie page was recorded it sets one, and
// any crumb is taken.
func NewReplay(r *Recordings) *Server {
	s := NewServer(Options{Symbols: 1})
	s.replay = r
	s.handle("GET /", "other", http.NotFound)
	return s
}
