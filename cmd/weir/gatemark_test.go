package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/guard"
)

// deaf is a broker whose answer to a stored mark is lost, once for each time that
// lose is set: the mark is there.
type deaf struct {
	*broker.Broker
	lose atomic.Bool
	lost chan struct{}
}

func (d *deaf) StoreMark(ctx context.Context, data []byte, revision uint64) (uint64, error) {
	stored, err := d.Broker.StoreMark(ctx, data, revision)
	if err == nil && d.lose.CompareAndSwap(true, false) {
		close(d.lost)
		return 0, context.DeadlineExceeded
	}
	return stored, err
}

// A broker that was away for longer than a mark is tried to be stored may have
// stored it: that is no other weir, and nothing stops for it.
func TestH19AMarkWhoseAnswerWasLostIsNobodyElses(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	d := &deaf{Broker: s.broker, lost: make(chan struct{})}
	cfg, err := s.guarded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.File, cfg.Every = "", 10*time.Millisecond
	g, err := guard.Open(t.Context(), zerolog.Nop(), d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, func(context.Context, []guard.Finding) error { return nil }) }()
	d.lose.Store(true)
	publishOnceMore(t, s.broker, []string{"a"}) // something for the mark to follow
	within(t, patience, "a mark to be stored without an answer", d.lost)
	before, _, err := s.broker.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	publishOnceMore(t, s.broker, []string{"a", "b"})
	await(t, patience, "a later mark, or the end", func() bool {
		data, _, err := s.broker.Mark(t.Context())
		return err == nil && string(data) != string(before) || len(ended) > 0
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the guard ended with %v", err)
	}
	other, err := guard.Open(t.Context(), zerolog.Nop(), s.broker, cfg)
	if err == nil {
		err = other.Accept(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	publishOnceMore(t, s.broker, []string{"a", "b", "c"})
	if err := g.Accept(t.Context()); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("a mark that another weir wrote: got %v, want a conflict", err)
	}
}

// A former owner writes its last mark while the next one compares: the next one
// compares once more, and starts.
func TestH19AFormerOwnersLastMarkIsNoFailure(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	cfg, err := s.guarded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.File = ""
	former, err := guard.Open(t.Context(), zerolog.Nop(), s.broker, cfg)
	if err == nil {
		err = former.Accept(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.guard.Close(); err != nil {
		t.Fatal(err)
	}

	s.atGate = func() { // between the comparison and the acceptance
		s.atGate = nil
		if err := former.Accept(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.pass(t.Context()); err != nil {
		t.Errorf("the next owner: %v", err)
	}
}

// What a publisher sends to a subject that no lane reads is not a lane's to have
// done, however far the lane has come.
func TestH19AStrangeSubjectIsNoGap(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	js := s.broker.JetStream()
	if _, err := js.Publish(t.Context(), "weir.events.Acme", []byte("x")); err != nil {
		t.Fatal(err)
	}
	queues, err := s.broker.Lane(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	in := consumer.Intent{Lane: "acme", Key: consumer.Key("acme", "/crm", "lead-0"), State: consumer.Ended, N: 1}
	if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	publishOnceMore(t, s.broker, []string{"a"})
	got, err := queues.Events.Fetch(1, 10*time.Second)
	if err != nil || len(got) != 1 {
		t.Fatalf("fetch: got %d messages, %v", len(got), err)
	}
	if err := got[0].Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if floors, err := s.broker.Floors(t.Context(), "acme"); err != nil || floors["weir.events.acme"] != 2 {
		t.Fatalf("floors: got %v, %v; want 2", floors, err)
	}
	found, err := s.guard.Scrub(t.Context())
	if err != nil || len(found) > 0 {
		t.Errorf("scrub: got %v, %v; want nothing", found, err)
	}
}

// Each priority is judged by its own ack floor.
func TestH19AnEventOfHighPriorityThatWaitsIsNoGap(t *testing.T) {
	t.Parallel()
	s, _ := gated(t, filepath.Join(t.TempDir(), "store"))
	qs, err := s.broker.Lane(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	in := consumer.Intent{Lane: "acme", Key: consumer.Key("acme", "/crm", "lead-0"), State: consumer.Ended, N: 1}
	if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.broker.PublishHigh(t.Context(), "acme", nil, []byte("unknown to the ledger"), ""); err != nil {
		t.Fatal(err)
	}
	publishOnceMore(t, s.broker, []string{"a"})
	for _, tt := range []struct {
		queue consumer.Queue
		gaps  int
	}{{qs.Events, 0}, {qs.High, 1}} {
		got, err := tt.queue.Fetch(1, 20*time.Second)
		if err != nil || len(got) != 1 {
			t.Fatalf("fetch: got %d messages, %v", len(got), err)
		}
		if err := got[0].Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, err := s.guard.Scrub(t.Context()); err != nil || len(found) != tt.gaps {
			t.Errorf("scrub: got %v, %v; want %d findings", found, err, tt.gaps)
		}
	}
}

// Streams that are put back on a new broker, without the one that holds the mark,
// are as old as each other, and the new mark's stream is younger than they are.
func TestH19StreamsPutBackWithoutTheMarkHoldTheLanes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, stop := gated(t, dir)
	entries(t, s, 5)
	if err := s.broker.JetStream().DeleteStream(t.Context(), broker.StreamLanes); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := os.Remove(filepath.Join(dir, markFile)); err != nil {
		t.Fatal(err)
	}
	s, stop = gated(t, dir)
	if why := whyHeld(t, s); !strings.Contains(why, broker.StreamLanes) {
		t.Errorf("held because of %q, want the mark's stream", why)
	}
	if err := s.broker.Release(t.Context(), "acme", time.Now(), "ana", "looked"); err != nil {
		t.Fatal(err)
	}
	stop()
	if s, _ = gated(t, dir); whyHeld(t, s) != "" {
		t.Errorf("after the release and another start: held because of %q", whyHeld(t, s))
	}
}

// A release at a machine whose clock is behind must not set its boundary before
// the hold: what was called until then would look like new.
func TestH19AReleaseByASlowClockIsNotBeforeTheHold(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	since := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	gate := fmt.Sprintf(`{"v":1,"held":true,"since":%q,"why":"lost"}`, since.Format(time.RFC3339))
	if _, err := b.JetStream().Publish(t.Context(), "$KV.WEIR_LANES.gate.acme", []byte(gate)); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := weir(t.Context(), k.env, "release", "--all", "--by", "ana", "--reason", "looked", "--yes", "-c", k.yaml); err != nil {
		t.Fatalf("release: %v\n%s%s", err, stdout, stderr)
	}
	gates, err := b.Gates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g := gates["acme"]; g.Held || g.Before.Before(since) {
		t.Errorf("got held %v, boundary %v; want none, and not before the hold of %v", g.Held, g.Before, since)
	}
}

// A mark that somebody else has written means that this weir does not know any more
// what has to be there: it ends, rather than working on without its guard.
func TestH19AMarkOfSomebodyElseEndsWeir(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	cmd := child(t, k.env, "serve", "-c", k.yaml)
	k.awaitStreams(t, b)
	await(t, patience, "another mark in the place of weir's", func() bool {
		_, revision, err := b.Mark(t.Context())
		if err != nil || revision == 0 {
			return false
		}
		_, err = b.StoreMark(t.Context(), []byte(`{"v":1,"by":"somebody else"}`), revision)
		return err == nil
	})
	k.publish(t, b, 1) // something for the mark to follow
	await(t, patience, "weir to end", func() bool { return !populated(t) })
	if err := cmd.Wait(); err == nil {
		t.Error("weir ended without an error")
	}
	contains(t, cmd.Stdout.(*syncBuffer).String(), "another weir writes the mark")
}
