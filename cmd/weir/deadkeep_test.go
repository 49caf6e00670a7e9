package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

// TestOldDeadLettersAreDropped lets dead letters grow old: they are dropped and told
// of, each once. What is young, ordered to be sent again, or in doubt stays.
func TestOldDeadLettersAreDropped(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.edit(t, "accounts:\n", "dead: {keep: 24h}\naccounts:\n")
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s, err := startService(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	drop := func(age time.Duration) {
		t.Helper()
		if err := s.dropOld(t.Context(), "sales", time.Now().Add(age)); err != nil {
			t.Errorf("after %v: got error %v, want none", age, err)
		}
	}
	in := consumer.Intent{ID: "doubt", State: consumer.Doubt, N: 2, Claims: 1, Digest: "d"}
	doubt := p.rest(t, s, in, 1, consumer.Letter{Class: "request", Reason: "r", Data: []byte("{}")})
	over := p.rest(t, s, consumer.Intent{ID: "over", State: consumer.Ended, N: 4, Claims: 1, Digest: "d"}, 1, consumer.Letter{Class: "request", Data: []byte("{}")})
	young := p.rest(t, s, consumer.Intent{ID: "0", State: consumer.Dead, N: 1, Digest: "d"}, 1, consumer.Letter{Class: "request", Data: []byte("{}")})
	drop(48 * time.Hour) // nobody owns the lane yet
	if in, _, err := s.ledger.Load(t.Context(), "sales", young); err != nil || in.State != consumer.Dead {
		t.Errorf("without an owner: got %s, %v; want it dead", in.State, err)
	}

	stop := background(t, s.run)
	defer func() { stop() }()
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "", ""), lead("2", "", ""), lead("3", "", "")))
	p.settled(t, "dead", 4)
	await(t, patience, "the pause", func() bool {
		return strings.Contains(p.weir(t, "lane", "pause", "sales", "--reason", "test"), "has seen it")
	})
	p.weir(t, "dead", "replay", "3", "--reason", "again")

	drop(23 * time.Hour)
	p.settled(t, "dead", 4)
	for range 2 {
		drop(25 * time.Hour)
		if rows := p.settled(t, "dead", 1); rows[0].ID != "3" {
			t.Errorf("dead letters left: got %+v, want that which is to be sent again", rows)
		}
	}
	got := p.show(t, consumer.Key("sales", "/crm", "1"))
	if got.State != consumer.Cancelled || !slices.Equal(got.kinds(), []string{"rejected", "cancelled"}) || got.Timeline[len(got.Timeline)-1].By != "weir" {
		t.Errorf("dropped: got %+v, want it cancelled by weir and told of once", got)
	}
	if in, _, err := s.ledger.Load(t.Context(), "sales", doubt); err != nil || in.State != consumer.Doubt {
		t.Errorf("a doubt: got %s, %v; want that it stays", in.State, err)
	}
	if _, err := s.broker.Letter(t.Context(), consumer.Dead, "sales", doubt); err != nil {
		t.Errorf("letter of a doubt: got %v, want it kept", err)
	}
	if _, err := s.broker.Letter(t.Context(), consumer.Dead, "sales", over); !errors.Is(err, broker.ErrNoLetter) {
		t.Errorf("letter of what is over: got %v, want none", err)
	}
	if found, err := s.guard.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("the scrub found %v, %v", found, err)
	}

	stop()
	stop = func() {}
	s.cfg.Dead.Keep = 0
	drop(10 * 365 * 24 * time.Hour)
	p.settled(t, "dead", 1)
}
