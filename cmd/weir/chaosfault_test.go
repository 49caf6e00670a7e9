//go:build chaos && linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// Where the faults of a group strike. Faults of one group take turns, those of
// different groups strike at the same time.
const (
	atProcess  = "process"  // weir and the broker
	atBroker   = "broker"   // the way to the broker
	atProvider = "provider" // the way to the providers, and the providers whole
	atAnswer   = "answer"   // single answers of the providers, at a rate
	atPublish  = "publish"  // what is published
	atClock    = "clock"    // the time of day
)

// The kinds of brokers that a round may have.
const (
	kindOne     = "one"     // a server
	kindCluster = "cluster" // three
	kindDisk    = "disk"    // a server on a small disk
	kindPower   = "power"   // a server on a disk image
	kindFlip    = "flip"    // a server whose store is damaged
	kindFlip3   = "flip3"   // a cluster, one of whose stores is damaged
	kindClock   = "clock"   // a server whose clock, and weir's, can be turned
)

// fault is one row of the table.
type fault struct {
	name  string
	group string
	kinds []string // of brokers at which it is possible; nil: one, clock and cluster, and every one for answers and events
	short bool     // cheap enough for the short run
	needs string   // what it needs that no run has; empty: nothing

	setup  func(*simConfig) // faults of answers: before the round
	inject func(ctx context.Context, r *rig, d *rand.Rand)
}

var (
	one     = []string{kindOne, kindClock}
	cluster = []string{kindCluster}
)

// chaosFaults is the table.
var chaosFaults = []fault{
	{name: "weir-kill", group: atProcess, short: true, inject: bursts(killWeir)},
	{name: "weir-term", group: atProcess, short: true, inject: bursts(termWeir)},
	{name: "weir-term-twice", group: atProcess, short: true, inject: termWeirTwice},
	{name: "weir-stop-short", group: atProcess, short: true, inject: stopWeir("weir-stop-short", 500*time.Millisecond, 4*time.Second)},
	{name: "weir-stop-long", group: atProcess, inject: stopWeir("weir-stop-long", 5*time.Second, 40*time.Second)},
	{name: "weir-takeover", group: atProcess, kinds: one, inject: takeOver},
	{name: "weir-config", group: atProcess, short: true, inject: rewriteConfig},
	{name: "server-kill", group: atProcess, kinds: one, short: true, inject: bursts(killServer("server-kill"))},
	{name: "server-term", group: atProcess, kinds: one, short: true, inject: termServer},
	{name: "server-stop", group: atProcess, kinds: one, short: true, inject: stopServer},
	{name: "both-kill", group: atProcess, kinds: one, short: true, inject: bursts(killBoth)},
	{name: "leader-stepdown", group: atProcess, kinds: cluster, inject: stepDown},
	{name: "leader-kill", group: atProcess, kinds: cluster, inject: killNode(true)},
	{name: "follower-down", group: atProcess, kinds: cluster, inject: killNode(false)},
	{name: "leader-stop", group: atProcess, kinds: cluster, inject: stopLeader},
	{name: "quorum-lost", group: atProcess, kinds: cluster, inject: loseQuorum},
	{name: "cluster-kill", group: atProcess, kinds: cluster, inject: killServer("cluster-kill")},

	{name: "broker-cut", group: atBroker, short: true, inject: each((*chaos.Proxy).Cut, "broker-cut")},
	{name: "broker-reset", group: atBroker, short: true, inject: each((*chaos.Proxy).Reset, "broker-reset")},
	{name: "broker-delay", group: atBroker, short: true, inject: brokerMode("broker-delay", chaos.Mode{Kind: chaos.KindDelay, Delay: 150 * time.Millisecond}, 4*time.Second)},
	{name: "broker-blackhole", group: atBroker, short: true, inject: brokerMode("broker-blackhole", chaos.Mode{Kind: chaos.KindBlackhole}, 12*time.Second)},
	{name: "broker-half-open", group: atBroker, short: true, inject: brokerMode("broker-half-open", chaos.Mode{Kind: chaos.KindHalfOpen}, 8*time.Second)},
	{name: "broker-slow", group: atBroker, short: true, inject: brokerMode("broker-slow", chaos.Mode{Kind: chaos.KindSlow}, 5*time.Second)},
	{name: "broker-refuse", group: atBroker, short: true, inject: refuseBroker},

	{name: "provider-cut", group: atProvider, short: true, inject: often((*chaos.Proxy).Cut, "provider-cut")},
	{name: "provider-reset", group: atProvider, short: true, inject: often((*chaos.Proxy).Reset, "provider-reset")},
	{name: "provider-refuse", group: atProvider, short: true, inject: providerMode("provider-refuse", chaos.Mode{Kind: chaos.KindRefuse}, 4*time.Second)},
	{name: "provider-delay", group: atProvider, short: true, inject: providerMode("provider-delay", chaos.Mode{Kind: chaos.KindDelay, Delay: 400 * time.Millisecond}, 4*time.Second)},
	{name: "provider-blackhole", group: atProvider, short: true, inject: providerMode("provider-blackhole", chaos.Mode{Kind: chaos.KindBlackhole}, 3*time.Second)},
	{name: "provider-half-open", group: atProvider, short: true, inject: providerMode("provider-half-open", chaos.Mode{Kind: chaos.KindHalfOpen}, 3*time.Second)},
	{name: "provider-slow", group: atProvider, short: true, inject: providerMode("provider-slow", chaos.Mode{Kind: chaos.KindSlow}, 4*time.Second)},
	{name: "provider-truncate", group: atProvider, short: true, inject: providerMode("provider-truncate", chaos.Mode{Kind: chaos.KindTruncate, Keep: 150}, 2*time.Second)},
	{name: "outage-503", group: atProvider, short: true, inject: outage(simulator.Outage503)},
	{name: "outage-hang", group: atProvider, short: true, inject: outage(simulator.OutageHang)},
	{name: "outage-refuse", group: atProvider, short: true, inject: outage(simulator.OutageRefuse)},

	{name: "answer-refuse-503", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.Refuse503 = .03 })},
	{name: "answer-html-502", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.HTML502 = .03 })},
	{name: "answer-reset-early", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.ResetEarly = .03 })},
	{name: "answer-accepted-500", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.Accepted500 = .03 })},
	{name: "answer-accepted-hang", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.AcceptedHang, f.HangFor = .03, 2*time.Second })},
	{name: "answer-cut", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.Cut = .03 })},
	{name: "answer-reset", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.Reset = .03 })},
	{name: "answer-shuffle", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.Shuffle = .5 })},
	{name: "answer-drop-result", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.DropResult = .03 })},
	{name: "answer-item-error", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.ItemError = .03 })},
	{name: "answer-slow", group: atAnswer, short: true, setup: answer(func(f *simulator.Faults) { f.Slow, f.SlowFor = .1, 400*time.Millisecond })},
	{name: "answer-too-many", group: atAnswer, short: true, setup: func(c *simConfig) { c.Anyreach.TooMany = .05 }},
	{name: "answer-late-sight", group: atAnswer, short: true, setup: func(c *simConfig) {
		c.Anyreach.VisibleAfter, c.Anyreach.VisibleShare = 800*time.Millisecond, .5
	}},

	{name: "publish-twice", group: atPublish, short: true, inject: publishAgain(true)},
	{name: "publish-again", group: atPublish, short: true, inject: publishAgain(false)},
	{name: "publish-old", group: atPublish, short: true, inject: publishOld},

	{name: "disk-full", group: atProcess, kinds: []string{kindDisk}, inject: fillDisk},
	{name: "disk-slow", group: atProcess, kinds: []string{kindPower}, inject: slowDisk},
	{name: "disk-stall", group: atProcess, kinds: []string{kindPower}, inject: stallDisk},
	{name: "power-cut", group: atProcess, kinds: []string{kindPower}, inject: cutPower},
	{name: "bit-flip", group: atProcess, kinds: []string{kindFlip, kindFlip3}, inject: damage("bit-flip", flipBits)},
	{name: "file-cut", group: atProcess, kinds: []string{kindFlip, kindFlip3}, inject: damage("file-cut", cutShort)},
	{name: "clock-jump", group: atClock, kinds: []string{kindClock}, inject: jumpClock},
	{name: "clock-drift", group: atClock, kinds: []string{kindClock}, inject: driftClock},
}

func answer(set func(*simulator.Faults)) func(*simConfig) {
	return func(c *simConfig) {
		set(&c.Oration.Faults)
		set(&c.Anyreach.Faults)
	}
}

// between draws a duration.
func between(d *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)))
}

// hold keeps weir away for a while once it has ended.
func (r *rig) hold(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = time.Now().Add(d)
}

func killWeir(ctx context.Context, r *rig, d *rand.Rand) {
	w := r.awake(ctx)
	r.strike("weir-kill", fmt.Sprint(w.PID()))()
	r.hold(between(d, 0, 3*time.Second))
	w.Kill()
	r.rest(ctx, r.breath(d))
}

func termWeir(ctx context.Context, r *rig, d *rand.Rand) {
	w := r.awake(ctx)
	defer r.strike("weir-term", fmt.Sprint(w.PID()))()
	r.hold(between(d, 0, 2*time.Second))
	w.Terminate()
	w.Await(ctx, 20*time.Second) // longer, where the broker is away
}

func termWeirTwice(ctx context.Context, r *rig, d *rand.Rand) {
	w := r.awake(ctx)
	defer r.strike("weir-term-twice", fmt.Sprint(w.PID()))()
	w.Terminate()
	r.rest(ctx, between(d, 0, 300*time.Millisecond))
	w.Terminate()
	w.Await(ctx, 20*time.Second)
}

func stopWeir(name string, low, high time.Duration) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		w, pause := r.awake(ctx), between(d, low, high)
		defer r.strike(name, pause.String())()
		w.Stop()
		r.rest(ctx, pause)
		w.Continue()
	}
}

// takeOver stops weir, lets another one take its place, and lets the first go
// on beside it, and is asked to stop.
func takeOver(ctx context.Context, r *rig, _ *rand.Rand) {
	w := r.awake(ctx)
	defer r.strike("weir-takeover", fmt.Sprint(w.PID()))()
	w.Stop()
	heir, err := r.startWeir("weir-heir")
	if err != nil {
		r.find(chaos.Crash, "%v", err)
		w.Continue()
		return
	}
	r.mu.Lock()
	r.next = heir
	r.mu.Unlock()
	r.rest(ctx, 14*time.Second)       // longer than a lease
	r.publish(ctx, 60, time.Second/2) // or there may be nothing left that the first could send
	w.Continue()
	r.rest(ctx, 8*time.Second) // both are replicas now, and share what there is
	w.Terminate()
	if !w.Await(context.WithoutCancel(ctx), 30*time.Second) {
		r.find(chaos.Crash, "a weir serve that woke up and was asked to stop has not ended")
	}
}

// rewriteConfig changes what may change, and starts weir again.
func rewriteConfig(ctx context.Context, r *rig, d *rand.Rand) {
	w := r.awake(ctx)
	defer r.strike("weir-config", fmt.Sprint(w.PID()))()
	r.conf.draw(d, r.load.batches)
	if err := r.configure(); err != nil {
		r.find(chaos.Crash, "%v", err)
	}
	w.Terminate()
	w.Await(ctx, 20*time.Second)
}

// killServer kills all servers at once.
func killServer(name string) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		defer r.strike(name, "")()
		for _, n := range r.nodes {
			n.proc.Kill()
		}
		r.rest(ctx, between(d, 0, 6*time.Second))
		for _, n := range r.nodes {
			r.startNode(n)
		}
		r.rest(ctx, r.breath(d))
	}
}

func termServer(ctx context.Context, r *rig, d *rand.Rand) {
	defer r.strike("server-term", "")()
	for _, n := range r.nodes {
		n.proc.Terminate()
		n.proc.Await(ctx, 15*time.Second)
		n.proc.Kill()
		r.rest(ctx, between(d, 0, 2*time.Second))
		r.startNode(n)
	}
	r.rest(ctx, 2*time.Second)
}

func stopServer(ctx context.Context, r *rig, d *rand.Rand) {
	pause := between(d, 500*time.Millisecond, 15*time.Second)
	defer r.strike("server-stop", pause.String())()
	for _, n := range r.nodes {
		n.proc.Stop()
	}
	r.rest(ctx, pause)
	for _, n := range r.nodes {
		n.proc.Continue()
	}
}

func killBoth(ctx context.Context, r *rig, d *rand.Rand) {
	w := r.awake(ctx)
	defer r.strike("both-kill", fmt.Sprint(w.PID()))()
	r.hold(between(d, 0, 3*time.Second))
	if d.IntN(2) == 0 {
		w.Kill()
	}
	for _, n := range r.nodes {
		n.proc.Kill()
	}
	w.Kill()
	r.rest(ctx, between(d, 0, 3*time.Second))
	for _, n := range r.nodes {
		r.startNode(n)
	}
	r.rest(ctx, r.breath(d))
}

// leader returns the node that leads the ledger's stream, the first if nobody
// knows.
func (r *rig) leader(ctx context.Context) *node {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	s, err := r.b.JetStream().Stream(ctx, ledger.Stream)
	if err == nil && s.CachedInfo().Cluster != nil {
		for _, n := range r.nodes {
			if n.cfg.Name == s.CachedInfo().Cluster.Leader {
				return n
			}
		}
	}
	return r.nodes[0]
}

func stepDown(ctx context.Context, r *rig, d *rand.Rand) {
	defer r.hist.Disturb("leader-stepdown", "")()
	for range 3 {
		for _, stream := range []string{ledger.Stream, broker.StreamEvents, broker.StreamOutcomes, broker.StreamLanes} {
			ask, cancel := context.WithTimeout(ctx, 3*time.Second)
			answer, err := r.b.JetStream().Conn().RequestWithContext(ask, jetstream.DefaultAPIPrefix+"STREAM.LEADER.STEPDOWN."+stream, nil)
			cancel()
			if err == nil && strings.Contains(string(answer.Data), `"success":true`) {
				r.count("leader-stepdown", 1)
			}
			r.rest(ctx, between(d, 0, time.Second))
		}
	}
}

// killNode kills the leader, or one that follows it.
func killNode(leads bool) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		n := r.leader(ctx)
		name := "leader-kill"
		if !leads {
			name = "follower-down"
			for _, other := range r.nodes {
				if other != n {
					n = other
					break
				}
			}
		}
		defer r.strike(name, n.cfg.Name)()
		n.proc.Kill()
		r.rest(ctx, between(d, time.Second, 15*time.Second))
		r.startNode(n)
		r.rest(ctx, 5*time.Second)
	}
}

func stopLeader(ctx context.Context, r *rig, d *rand.Rand) {
	n, pause := r.leader(ctx), between(d, 2*time.Second, 20*time.Second)
	defer r.strike("leader-stop", n.cfg.Name+" "+pause.String())()
	n.proc.Stop()
	r.rest(ctx, pause)
	n.proc.Continue()
}

func loseQuorum(ctx context.Context, r *rig, d *rand.Rand) {
	first := d.IntN(len(r.nodes))
	defer r.strike("quorum-lost", r.nodes[first].cfg.Name+" is left")()
	for i, n := range r.nodes {
		if i != first {
			n.proc.Kill()
		}
	}
	r.rest(ctx, between(d, 5*time.Second, 20*time.Second))
	for i, n := range r.nodes {
		if i != first {
			r.startNode(n)
		}
	}
	r.rest(ctx, 8*time.Second)
}

// each does something to the connections to all servers.
func each(do func(*chaos.Proxy), name string) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		defer r.hist.Disturb(name, "")()
		for range 4 {
			r.count(name, 1)
			for _, n := range r.nodes {
				do(n.proxy)
			}
			r.rest(ctx, between(d, 0, 2*time.Second))
		}
	}
}

func brokerMode(name string, m chaos.Mode, most time.Duration) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		length := between(d, 500*time.Millisecond, most)
		defer r.strike(name, length.String())()
		for _, n := range r.nodes {
			n.proxy.Set(m)
		}
		r.rest(ctx, length)
		for _, n := range r.nodes {
			n.proxy.Set(chaos.Mode{})
		}
	}
}

// refuseBroker cuts the connections and lets none be made.
func refuseBroker(ctx context.Context, r *rig, d *rand.Rand) {
	length := between(d, 500*time.Millisecond, 10*time.Second)
	defer r.strike("broker-refuse", length.String())()
	for _, n := range r.nodes {
		n.proxy.Set(chaos.Mode{Kind: chaos.KindRefuse})
		n.proxy.Reset()
	}
	r.rest(ctx, length)
	for _, n := range r.nodes {
		n.proxy.Set(chaos.Mode{})
	}
}

// often does something to the connections to the providers, at moments that
// fall into requests.
func often(do func(*chaos.Proxy), name string) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		for range 6 {
			heal := r.strike(name, "")
			do(r.front)
			heal()
			r.rest(ctx, between(d, 0, time.Second))
		}
	}
}

func providerMode(name string, m chaos.Mode, most time.Duration) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		length := between(d, 500*time.Millisecond, most)
		defer r.strike(name, length.String())()
		r.front.Set(m)
		r.rest(ctx, length)
		r.front.Set(chaos.Mode{})
	}
}

func outage(kind string) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		length := between(d, 500*time.Millisecond, 6*time.Second)
		defer r.strike("outage-"+kind, length.String())()
		if err := r.outage(kind, length); err != nil {
			r.find(chaos.Crash, "the simulator does not answer: %v", err)
		}
		r.rest(ctx, length)
	}
}
