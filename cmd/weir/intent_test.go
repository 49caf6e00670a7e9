package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

func TestNamed(t *testing.T) {
	t.Parallel()
	l := consumer.Letter{Intent: "c25516fa-f344-5b22-8951-0b87693d8531", ID: "7"}
	for _, tt := range []struct {
		word string
		want bool
	}{
		{"c25516fa-f344-5b22-8951-0b87693d8531", true},
		{"C255", true},
		{"c25", false}, // too short to be meant
		{"5516", false},
		{"7", true},
		{"", false},
	} {
		if got := named(l, tt.word); got != tt.want {
			t.Errorf("named(%q): got %v, want %v", tt.word, got, tt.want)
		}
	}
	if named(consumer.Letter{Intent: l.Intent}, "") {
		t.Error("no word means an event without an id")
	}
}

func TestSigned(t *testing.T) {
	t.Parallel()
	a := &app{getenv: func(name string) string { return map[string]string{"USER": "ana"}[name] }}
	got, err := decision{Reason: " why "}.signed(a)
	if want := (decision{Reason: "why", By: "ana"}); err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	got, err = decision{Reason: "why", By: "bo"}.signed(a)
	if err != nil || got.By != "bo" {
		t.Errorf("got %+v (%v), want the name given", got, err)
	}
}

// TestKnock tells a broker that is not running from one that cannot be read.
func TestKnock(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	if err := knock(t.Context(), p.store); err != nil {
		t.Errorf("a running broker: got error %v, want none", err)
	}
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startService(t.Context(), zerolog.Nop(), cfg); !errors.Is(err, broker.ErrInUse) {
		t.Errorf("a second weir on the same store: got error %v, want %v", err, broker.ErrInUse)
	}
	// The file of one that is gone.
	text, err := os.ReadFile(filepath.Join(p.store, "endpoint.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[notRunningError](knock(t.Context(), dir)); !ok {
		t.Error("a broker that was stopped: want notRunningError")
	}
	if err := os.WriteFile(filepath.Join(dir, "endpoint.json"), text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := knock(t.Context(), dir); err == nil || errors.Is(err, notRunningError{dir}) {
		t.Errorf("a file that cannot be read: got %v, want an error of its own", err)
	}
}

// TestLettersReplacedWhileTheyAreRead keeps a letter anew each time that one is
// read, as an owner does whose events die again.
func TestLettersReplacedWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	in := consumer.Intent{Lane: "sales", Key: consumer.Key("sales", "/crm", "1"), State: consumer.Dead, N: 1}
	if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	keep := func(n int) {
		if err := s.broker.Keep(t.Context(), consumer.Letter{Lane: "sales", Intent: in.Key, State: consumer.Dead, N: n}); err != nil {
			t.Fatal(err)
		}
	}
	keep(1)
	d := &desk{broker: s.broker, ledger: s.ledger}
	n := 1
	for _, err := range d.letters(t.Context(), consumer.Dead, "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n > 4 {
			t.Fatal("got the same letter again and again")
		}
		keep(n)
	}
	if n != 2 {
		t.Errorf("got the letter %d times, want once", n-1)
	}
}
