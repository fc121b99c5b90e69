package run

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ticktape/deploy/local/process"
	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

func TestWherePricesComeFromIsChosenOnceForThoseThatStoreThem(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	say := NewProgress(out)
	defer say.Close()
	cfg := Config{Dir: t.TempDir(), Source: "simulated"}
	choice := Choice{File: filepath.Join(t.TempDir(), "run", "prices.env"), Market: "functions:8085"}
	written := func() string {
		t.Helper()
		if err := Prepare(t.Context(), cfg, choice, say); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(choice.File)
		if err != nil {
			t.Fatal(err)
		}
		_, settings, _ := strings.Cut(string(text), "\n")
		return settings
	}
	simulated := "PRICES=simulated\nSOURCE=simulated\nYAHOO_URL=http://functions:8085\nYAHOO_COOKIE_URL=\nYAHOO_STREAM_URL=ws://functions:8085/streamer?version=2\n"
	if got := written(); got != simulated {
		t.Errorf("simulated prices: %s", got)
	}
	secret := filepath.Join(cfg.secretsDir(), trigger.TokenSecret)
	token, err := os.ReadFile(secret)
	if err != nil || len(token) < 32 {
		t.Errorf("the token is %q, %v", token, err)
	}

	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Source, choice.Servers = "yahoo", []string{"127.0.0.1:1", server.Addr().String()}
	if got := written(); got != simulated {
		t.Errorf("another choice while a server stores what the first has brought: %s", got)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if got := written(); got != "PRICES=yahoo\nSOURCE=yahoo\n" {
		t.Errorf("another choice once nothing runs: %s", got)
	}
	if again, err := os.ReadFile(secret); err != nil || string(again) != string(token) {
		t.Errorf("the token was %s and is %s, %v", token, again, err)
	}
}

func TestWhatWasChosenIsNotAskedAgain(t *testing.T) {
	for _, c := range []struct {
		name              string
		cfg               Config
		simulated, market bool
	}{
		{"Yahoo, that answered", Config{Source: "auto", Prices: "yahoo"}, false, false},
		{"a stand-in of somebody else's, that answered", Config{Source: "auto", Prices: "simulated"}, true, false},
		{"ours", Config{Source: "simulated", Prices: "simulated"}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &runtime{cfg: c.cfg}
			if s := r.chooseSource(t.Context()); s.simulated != c.simulated || s.market != c.market {
				t.Errorf("simulated %v, market %v; want %v, %v", s.simulated, s.market, c.simulated, c.market)
			}
		})
	}
}

func TestFunctionsAloneNeedServers(t *testing.T) {
	for _, cfg := range []Config{{}, {KafkaBrokers: "kafka:9092"}, {CassandraHosts: "cassandra"}} {
		var settings *service.SettingsError
		if err := Functions(t.Context(), cfg, nil); !errors.As(err, &settings) || !strings.Contains(err.Error(), "CASSANDRA_HOSTS") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestServersThatAreStillStartingAreWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "said")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r := &runtime{say: NewProgress(out)}
	tries := 0
	if err := r.insist(t.Context(), "Kafka", func(context.Context) error {
		if tries++; tries < 2 {
			return errors.New("connection refused")
		}
		return nil
	}); err != nil || tries != 2 {
		t.Errorf("%d tries, %v", tries, err)
	}
	if err := r.insist(t.Context(), "Kafka", func(context.Context) error { return service.Settingf("TICK_PARTITIONS=0") }); err == nil {
		t.Error("a setting that can't be used is waited for")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.insist(ctx, "Kafka", func(context.Context) error { cancel(); return errors.New("gone") }); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
	r.say.Close()
	if said, err := os.ReadFile(path); err != nil || strings.Count(string(said), "waiting for Kafka: connection refused") != 1 {
		t.Errorf("it said %q, %v", said, err)
	}
}

func TestARuntimeIsReadyOnceItSaysSo(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	if err := Ready(cfg); err == nil {
		t.Error("a runtime that does not run is ready")
	}
	s := State{PID: os.Getpid(), Birth: process.Birth(os.Getpid())}
	for _, ready := range []bool{false, true} {
		s.Ready = ready
		if err := s.write(cfg.Dir); err != nil {
			t.Fatal(err)
		}
		if err := Ready(cfg); (err == nil) != ready {
			t.Errorf("ready %v: %v", ready, err)
		}
	}
}
