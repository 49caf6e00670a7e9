//go:build chaos && linux

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// ledgerAge is how old the entries are: older than what a new owner reads.
const ledgerAge = 10 * 24 * time.Hour

// ledgerGoal is what weir may add to the broker's own start, whatever the ledger
// holds.
const ledgerGoal = time.Second

// ledgerRig is a broker with a ledger of so many entries.
type ledgerRig struct {
	*scaleRig
	size          int
	server        time.Duration // its start
	first, second time.Duration // weir's: without a mark, and with one on a broker that has just started
	third         time.Duration // weir's, on a broker that ran on
	cpu, cpuThird time.Duration // of weir's second and third start
	rss           int64         // then
	lg            *ledger.Ledger
	claims        []time.Duration
}

// ledger measures how a start and a claim depend on how many entries there are.
func (s *scaleBench) ledger() (string, error) {
	if why := turnable(s.ctx); why != "" {
		return "", fmt.Errorf("the entries have to be old: %s", why)
	}
	var rigs []*ledgerRig
	defer func() {
		for _, r := range rigs {
			r.close()
		}
	}()
	for _, size := range s.sizes([]int{1000, 10_000, 100_000, 1_000_000}, []int{100, 1000}) {
		base, err := newScaleRig(s.ctx, filepath.Join(s.dir, fmt.Sprint("ledger-", size)), 1, simulator.Config{Limit: 100, Seed: 1}, s.say)
		if err != nil {
			return "", err
		}
		base.limit = 100
		r := &ledgerRig{scaleRig: base, size: size}
		rigs = append(rigs, r)
		if err := s.ledgerStart(r); err != nil {
			return "", err
		}
	}
	rounds := 40
	if s.small {
		rounds = 2
	}
	for range rounds { // in turns, so that noise hits all alike
		for _, r := range rigs {
			if err := r.claim(10); err != nil {
				return "", err
			}
		}
	}
	t := newScaleTable("entries", "the broker's start s", "weir's first start s", "weir's start s", "its CPU ms", "on a broker that ran on s", "its CPU ms", "memory MiB", "a claim p50 ms", "p99")
	for _, r := range rigs {
		slices.Sort(r.claims)
		p50, p99 := r.claims[len(r.claims)/2], r.claims[len(r.claims)*99/100]
		t.add(r.size,
			seconds("the broker's start", r.server), seconds("weir's first start", r.first), seconds("weir's start", r.second), figure("its CPU", float64(r.cpu.Milliseconds())),
			seconds("on a broker that ran on", r.third), figure("its CPU then", float64(r.cpuThird.Milliseconds())), mib("memory", r.rss), figure("a claim", p50.Seconds()*1000), figure("", p99.Seconds()*1000))
	}
	small, large := rigs[0], rigs[len(rigs)-1]
	p50 := func(r *ledgerRig) time.Duration { return r.claims[len(r.claims)/2] }
	return fmt.Sprintf(`## The ledger

Entries of calls that have ended, ten days old (written by a broker whose clock was turned), in one lane. Weir's start is from its first instruction until the first request reaches the provider, with an event that waits; the first one without a mark reads everything, as after an update from a weir that kept none. Before, the broker was stopped in order and started, which is timed until it answers; then weir alone is stopped and started once more. A claim is one Create, at all sizes in turns.

%s
Goal, with a million entries weir adds less than a second to the broker's own start: %s, of which %.2f s are the same with %s. To a broker that ran on: %s.

Goal, claims are as fast as with a thousand: %s.
`, t, met(large.second < ledgerGoal, fmt.Sprintf("%.2f s", large.second.Seconds())), small.second.Seconds(), thousands(small.size),
		met(large.third < ledgerGoal, fmt.Sprintf("%.2f s", large.third.Seconds())),
		met(p50(large) < p50(small)*5/4, fmt.Sprintf("%.0f µs against %.0f µs", p50(large).Seconds()*1e6, p50(small).Seconds()*1e6))), nil
}

// ledgerStart fills the ledger and measures the starts.
func (s *scaleBench) ledgerStart(r *ledgerRig) error {
	clock, err := newClock(filepath.Join(r.dir, "clock"))
	if err != nil {
		return err
	}
	clock.set(-ledgerAge)
	if _, err := r.startBroker(clock.env()); err != nil {
		return err
	}
	if err := r.fillLedger(); err != nil {
		return err
	}
	r.stopBroker()
	if _, err := r.startBroker(); err != nil {
		return err
	}
	for n, took := range []*time.Duration{&r.first, &r.second, &r.third} {
		if err := r.fillOne(laneName(0), n); err != nil {
			return err
		}
		w, err := r.startWeir()
		if err != nil {
			return err
		}
		if err := r.awaiting("a call", 2*time.Millisecond, func() bool { return r.sim.Report().Conversations > n }); err != nil {
			return err
		}
		*took = time.Since(w.began)
		v, err := chaos.VitalsOf(w.PID())
		if err != nil {
			return err
		}
		time.Sleep(2 * time.Second) // the mark follows once a second
		r.stopWeirs()
		if took == &r.third {
			r.cpuThird = v.CPU
			break
		}
		if r.cpu, r.rss = v.CPU, v.RSS; took == &r.second {
			continue // the broker runs on
		}
		r.stopBroker()
		if r.server, err = r.startBroker(); err != nil {
			return err
		}
	}
	r.lg, err = ledger.Open(r.ctx, r.b.JetStream(), ledger.Config{})
	s.say("ledger: %d entries: broker %v, weir %v, then %v (CPU %v), then %v (CPU %v)", r.size, r.server.Round(time.Millisecond), r.first.Round(time.Millisecond), r.second.Round(time.Millisecond), r.cpu, r.third.Round(time.Millisecond), r.cpuThird)
	return err
}

// fillLedger writes entries as weir does, without waiting for each: the bytes are
// those of one that the ledger wrote.
func (r *ledgerRig) fillLedger() error {
	lg, err := r.provision()
	if err != nil {
		return err
	}
	js := r.b.JetStream()
	stream, err := js.Stream(r.ctx, ledger.Stream)
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = 8 << 30
	if _, err := js.UpdateStream(r.ctx, cfg); err != nil {
		return err
	}
	at := time.Now().Add(-ledgerAge).UTC()
	in := consumer.Intent{
		Lane: laneName(0), Key: uuid.NewString(), State: consumer.Ended, N: 3, Claims: 1, Attempts: 1, Nonce: uuid.NewString(), Claimed: at,
		Source: "/crm", ID: "1234567", Type: "lead.created", Digest: "0123456789abcdef", Conversation: uuid.NewString(),
		History: []consumer.Transition{
			{N: 1, State: consumer.Started, At: at, Reason: "sending"},
			{N: 2, State: consumer.Created, At: at, Reason: "the provider named the conversation"},
			{N: 3, State: consumer.Ended, At: at, Reason: "the call has ended"},
		},
	}
	rev, err := lg.Store(r.ctx, in, 0)
	if err != nil {
		return err
	}
	m, err := stream.GetMsg(r.ctx, rev)
	if err != nil {
		return err
	}
	return r.flood(r.size-1, func(int) *nats.Msg {
		return &nats.Msg{Subject: "$KV." + ledger.Bucket + "." + laneName(0) + "." + uuid.NewString(), Data: m.Data}
	})
}

// claim makes claims, as an engine does.
func (r *ledgerRig) claim(n int) error {
	for range n {
		in := consumer.Intent{
			Lane: laneName(0), Key: uuid.NewString(), State: consumer.Started, N: 1, Claims: 1, Attempts: 1, Nonce: uuid.NewString(), Claimed: time.Now(),
			Source: "/crm", ID: uuid.NewString(), Type: "lead.created",
		}
		began := time.Now()
		if _, err := r.lg.Store(r.ctx, in, 0); err != nil {
			return err
		}
		r.claims = append(r.claims, time.Since(began))
	}
	return nil
}
