// Package stream follows Yahoo's streamer: it spreads symbols over WebSockets,
// keeps those alive, knows which symbols it really hears of, and turns frames into
// quotes. Prices are made fixed point without arithmetic on floats.
//
// It is not for deciding what becomes a tick (connectors/yahoo/feed). Yahoo
// describes its streamer nowhere; what is done here follows what public clients
// of it have found, and what one of them has measured: a connection serves a
// hundred symbols and is silent about the rest, which is why silence is watched.
package stream

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// Config is how to reach the streamer. Its fields are set by the environment
// variables in their tags.
type Config struct {
	URL       string `env:"YAHOO_STREAM_URL" envDefault:"wss://streamer.finance.yahoo.com/?version=2"`
	Origin    string `env:"YAHOO_STREAM_ORIGIN" envDefault:"https://finance.yahoo.com"`
	UserAgent string `env:"YAHOO_USER_AGENT" envDefault:"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"`
	// Proxy is the address of a proxy; empty takes HTTPS_PROXY and NO_PROXY.
	Proxy string `env:"YAHOO_PROXY"`
	// Source says what the trades are: yahoo, simulated, or auto, which takes them
	// for simulated unless they come from a host of Yahoo's.
	Source string `env:"SOURCE" envDefault:"auto"`
	// SymbolsPerConnection is how many symbols a connection is given at most.
	SymbolsPerConnection int `env:"STREAM_SYMBOLS_PER_CONNECTION" envDefault:"100"`
	// MaxConnections bounds the connections. Symbols beyond are not streamed.
	MaxConnections int `env:"STREAM_CONNECTIONS" envDefault:"64"`
	// Silence is how long a symbol may be silent while its market is open before
	// it is moved to another connection; twice as long after each move in vain.
	Silence time.Duration `env:"STREAM_SILENCE" envDefault:"2m"`
	// Timeout is how long a connection may bring nothing, no answer to a ping
	// either, and how long a dial may take.
	Timeout time.Duration `env:"STREAM_TIMEOUT" envDefault:"20s"`
	// DialRate is the most connections a second that are begun, all together.
	DialRate float64 `env:"STREAM_DIAL_RATE" envDefault:"2"`
	// MinBackoff and MaxBackoff bound the pauses before a connection is made again.
	MinBackoff time.Duration `env:"STREAM_MIN_BACKOFF" envDefault:"500ms"`
	MaxBackoff time.Duration `env:"STREAM_MAX_BACKOFF" envDefault:"1m"`
}

// symbolLimit is what Yahoo serves on a connection.
const symbolLimit = 100

// maxAge is how old a trade may be. What is older comes as a snapshot of a
// symbol that has not traded since, and is no news.
const maxAge = 24 * time.Hour

// maxAhead is how far a trade's time may be ahead of our clock. A time far in
// the future would hide all trades until then.
const maxAhead = 5 * time.Minute

// Update is a trade as a frame told it.
type Update struct {
	yahoo.Quote
	Received time.Time
	// Snapshot says that it is the first since the symbol was subscribed to on its
	// connection, which is its latest trade whenever that was.
	Snapshot bool
}

// check returns the parsed addresses, or an error that names the variable to change.
func (c *Config) check() (endpoint *url.URL, proxy func(*http.Request) (*url.URL, error), err error) {
	endpoint, err = url.Parse(c.URL)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "ws" && endpoint.Scheme != "wss" {
		return nil, nil, service.Settingf("YAHOO_STREAM_URL=%.100q is not an address: write it like wss://streamer.finance.yahoo.com/?version=2", c.URL)
	}
	switch c.Source {
	case "yahoo", "simulated", "auto":
	default:
		return nil, nil, service.Settingf("SOURCE=%.40q is neither yahoo nor simulated nor auto: set it to one of them", c.Source)
	}
	proxy = http.ProxyFromEnvironment
	if c.Proxy != "" {
		through, err := url.Parse(c.Proxy)
		if err != nil || through.Host == "" {
			return nil, nil, service.Settingf("YAHOO_PROXY=%.100q is not an address: write it like http://proxy:3128", c.Proxy)
		}
		proxy = http.ProxyURL(through)
	}
	if c.SymbolsPerConnection > symbolLimit || c.SymbolsPerConnection < 1 {
		return nil, nil, service.Settingf("STREAM_SYMBOLS_PER_CONNECTION=%d must be 1 to %d, which is what Yahoo serves", c.SymbolsPerConnection, symbolLimit)
	}
	for name, bad := range map[string]bool{
		"STREAM_CONNECTIONS": c.MaxConnections < 1, "STREAM_SILENCE": c.Silence <= 0, "STREAM_TIMEOUT": c.Timeout <= 0,
		"STREAM_DIAL_RATE": !(c.DialRate > 0), "STREAM_MIN_BACKOFF": c.MinBackoff <= 0, "STREAM_MAX_BACKOFF": c.MaxBackoff < c.MinBackoff,
	} {
		if bad {
			return nil, nil, service.Settingf("%s is too small: see connectors/yahoo/README.md", name)
		}
	}
	return endpoint, proxy, nil
}

// source is what trades are that come without yahoo.SimulatedHeader.
func (c *Config) source(endpoint *url.URL) tick.Source {
	host := endpoint.Hostname()
	ofYahoo := host == "yahoo.com" || strings.HasSuffix(host, ".yahoo.com")
	if c.Source == "yahoo" || c.Source == "auto" && ofYahoo {
		return tick.SourceYahooStream
	}
	return tick.SourceSimulated
}

// State is what is heard of a symbol.
type State string

// The states a symbol can be in.
const (
	// Waiting: nothing has come yet on its connection, or that is down.
	Waiting State = "waiting"
	// Live: trades come, or its market is closed.
	Live State = "live"
	// Stale: all that came is a snapshot older than a day.
	Stale State = "stale"
	// Silent: nothing comes although its market is open.
	Silent State = "silent"
	// Unplaced: all connections are full.
	Unplaced State = "unplaced"
)

// Status is what is known of a symbol.
type Status struct {
	Symbol string `json:"symbol"`
	State  State  `json:"state"`
	// Connection is its connection's number, 0 where it has none.
	Connection int `json:"connection,omitempty"`
	// Connected says whether that is up at the moment.
	Connected bool   `json:"connected"`
	Exchange  string `json:"exchange,omitempty"`
	// Heard is when a frame last came, LastTrade the time of its latest trade.
	Heard     time.Time `json:"heard,omitzero"`
	LastTrade time.Time `json:"last_trade,omitzero"`
	// Trades and Stale count the frames, Moves the changes of connection.
	Trades int64 `json:"trades"`
	Stale  int64 `json:"stale,omitempty"`
	Moves  int   `json:"moves,omitempty"`
	// Problem is the last frame's that could not be used.
	Problem string `json:"problem,omitempty"`
}
