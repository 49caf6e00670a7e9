package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/bench"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
)

// benchPatience bounds each step of a run: no step waits for ever for what does not
// come.
const benchPatience = 10 * time.Minute

// measure measures one cell.
func (c *benchCmd) measure(a *app, cell bench.Cell) (bench.Cell, error) {
	err := c.withBench(a, cell, func(ctx context.Context, r *benchRig) error {
		r.say("%s: starting", cell.Name())
		if err := r.warm(ctx, cell); err != nil {
			return fmt.Errorf("first events: %w", err)
		}
		m := &benchRun{benchRig: r, cell: &cell}
		for _, step := range []func(context.Context) error{m.rounds, m.load, m.whole, m.allocations} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return cell, err
}

// work is what a yardstick has to do in a round.
func (r *benchRig) work(cell bench.Cell) bench.Work {
	return bench.Work{
		Lanes: r.lanes, Events: r.c.Events, Batch: cell.Batch, Workers: benchWorkers,
		Stream: broker.StreamEvents, Subject: benchSubject,
	}
}

func benchSubject(lane string) string { return "weir.events." + lane }

// warm sends a few events through each lane, which opens connections and shows what
// Weir writes for an event.
func (r *benchRig) warm(ctx context.Context, cell bench.Cell) error {
	rec, err := bench.Record(r.js.Conn(), "$KV."+ledger.Bucket+".>", "weir.outcomes.>")
	if err != nil {
		return err
	}
	w := r.work(cell)
	w.Events = benchWarm * len(w.Lanes)
	if err := bench.Feed(ctx, r.js, w, r.take(w.Events), r.c.Size); err != nil {
		return err
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	template, err := rec.Template()
	if err != nil {
		return err
	}
	r.yard, err = bench.NewYard(r.yards.JetStream().Conn(), r.base, benchWorkers*len(r.lanes), template)
	return err
}

// take returns the first of the next n numbers of events.
func (r *benchRig) take(n int) int {
	first := r.next
	r.next += n
	return first
}

// settled waits until each event of the lanes is acknowledged.
func (r *benchRig) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, benchPatience, fmt.Errorf("not done after %v", benchPatience))
	defer cancel()
	for _, lane := range r.lanes {
		var consumer jetstream.Consumer
		for { // a lane's consumers are made by weir serve
			var err error
			consumer, err = r.js.Consumer(ctx, broker.StreamEvents, "weir-"+lane)
			if err == nil {
				break
			}
			if !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return err
			}
			if err := sleep(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		if err := bench.Settled(ctx, consumer); err != nil {
			return err
		}
	}
	return nil
}

// benchRun is the measuring of one cell.
type benchRun struct {
	*benchRig
	cell *bench.Cell

	alone, publish, cas, pair []time.Duration
	weirCost                  benchCost
	loopCost, writesCost      benchCost // own is what this process used
	counts                    bench.Counts
	wrote                     map[string]uint64
}

// benchCost is what was used, and for how many events.
type benchCost struct {
	weir, broker, provider, own time.Duration
	mallocs, bytes              float64
	events                      int
	unknown                     bool
}

// rounds measures each figure in turn, in another order each time.
func (m *benchRun) rounds(ctx context.Context) error {
	m.wrote = make(map[string]uint64)
	figures := []func(context.Context) error{m.throughput, m.loop, m.writes, m.requests}
	for round := range m.c.Rounds {
		if err := m.probe(ctx, m.c.Probes*(round+1)/m.c.Rounds-m.c.Probes*round/m.c.Rounds); err != nil {
			return fmt.Errorf("single events: %w", err)
		}
		for i := range figures {
			if err := figures[(round+i)%len(figures)](ctx); err != nil {
				return err
			}
		}
		last := func(s bench.Series) float64 { return s[len(s)-1] }
		m.say("%s: round %d of %d: %.0f events/s; the same writes alone %.0f, bare loop %.0f, requests alone %.0f", m.cell.Name(),
			round+1, m.c.Rounds, last(m.cell.Weir), last(m.cell.Writes), last(m.cell.Loop), last(m.cell.Requests))
	}
	m.cell.Alone, m.cell.Pair = bench.QuantilesOf(m.alone), bench.QuantilesOf(m.pair)
	m.cell.Publish, m.cell.CAS = bench.QuantilesOf(m.publish), bench.QuantilesOf(m.cas)
	m.conclude()
	return nil
}

// conclude turns sums into figures of one event.
func (m *benchRun) conclude() {
	n := float64(m.weirCost.events)
	m.cell.ToAck = make(map[string]float64)
	for stream, writes := range m.wrote {
		m.cell.ToAck[stream] = float64(writes) / n
	}
	m.cell.Creates = float64(m.counts.Creates) / n
	each := func(d time.Duration, events int) bench.Duration {
		return bench.Duration(d / time.Duration(max(1, events)))
	}
	w, l, alone := m.weirCost, m.loopCost, m.writesCost
	m.cell.Cost = bench.Cost{
		Known: !w.unknown, Weir: each(w.weir, w.events), Broker: each(w.broker, w.events), Provider: each(w.provider, w.events),
		Loop: each(l.own, l.events), LoopBy: each(l.broker, l.events),
		Writes: each(alone.own, alone.events), WritesBy: each(alone.broker, alone.events),
		Allocs: w.mallocs / n, Bytes: w.bytes / n, Peak: m.weir.Usage().Peak,
	}
}

// benchStreams are the streams of the durable writes of an event.
var benchStreams = []string{ledger.Stream, broker.StreamOutcomes, broker.StreamDead, broker.StreamLater, broker.StreamContact}

// written returns the last sequence of each stream.
func (m *benchRun) written(ctx context.Context) (map[string]uint64, error) {
	last := make(map[string]uint64)
	for _, name := range benchStreams {
		s, err := m.js.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		last[name] = s.CachedInfo().State.LastSeq
	}
	return last, nil
}

// tally is how far the streams are and what the provider was asked.
func (m *benchRun) tally(ctx context.Context) (written map[string]uint64, asked bench.Counts, err error) {
	if written, err = m.written(ctx); err != nil {
		return nil, asked, err
	}
	asked, err = m.asker.Counts(ctx)
	return written, asked, err
}

// throughput measures Weir: its lanes have all events of the round, and the broker
// begins to deliver them at one moment.
func (m *benchRun) throughput(ctx context.Context) error {
	if err := m.deliverFrom(ctx, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	first := m.take(m.c.Events)
	if err := bench.Feed(ctx, m.js, m.work(*m.cell), first, m.c.Size); err != nil {
		return err
	}
	before, asked, err := m.tally(ctx)
	if err != nil {
		return err
	}
	begin := time.Now().Add(300 * time.Millisecond)
	if err := m.deliverFrom(ctx, begin); err != nil {
		return err
	}
	cost, err := m.spent(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, time.Until(begin)); err != nil {
		return err
	}
	if err := m.settled(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	now, err := m.spent(ctx)
	if err != nil {
		return err
	}
	m.weirCost.add(cost, now, m.c.Events)
	m.cell.Weir = append(m.cell.Weir, float64(m.c.Events)/took.Seconds())
	return m.account(ctx, before, asked)
}

// account enters what the round made Weir write and ask, and fails if an event was
// not asked for exactly once.
func (m *benchRun) account(ctx context.Context, before map[string]uint64, asked bench.Counts) error {
	after, now, err := m.tally(ctx)
	if err != nil {
		return err
	}
	for name, seq := range after {
		m.wrote[name] += seq - before[name]
	}
	maps.DeleteFunc(m.wrote, func(_ string, n uint64) bool { return n == 0 })
	if got := now.Events - asked.Events; got != m.c.Events || now.Doubled > 0 {
		return fmt.Errorf("%d of %d events were asked for, %d of them again", got, m.c.Events, now.Doubled)
	}
	m.counts.Creates += now.Creates - asked.Creates
	m.cell.AtOnce = max(m.cell.AtOnce, now.Most)
	return nil
}

// deliverFrom lets the broker deliver the lanes' events from a moment on.
func (m *benchRun) deliverFrom(ctx context.Context, at time.Time) error {
	var wg sync.WaitGroup
	errs := make([]error, len(m.lanes))
	for i, lane := range m.lanes {
		wg.Go(func() { _, errs[i] = m.js.PauseConsumer(ctx, broker.StreamEvents, "weir-"+lane, at) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("put off deliveries: %w", err)
	}
	return nil
}

// loop measures the bare loop.
func (m *benchRun) loop(ctx context.Context) error {
	w := m.work(*m.cell)
	if err := bench.Feed(ctx, m.yards.JetStream(), w, 0, m.c.Size); err != nil {
		return err
	}
	if _, err := m.asker.Counts(ctx); err != nil {
		return err
	}
	took, err := m.costing(&m.loopCost, func() (time.Duration, error) { return m.yard.Loop(ctx, w) })
	if err != nil {
		return err
	}
	m.cell.Loop = append(m.cell.Loop, float64(w.Events)/took.Seconds())
	now, err := m.asker.Counts(ctx)
	m.cell.LoopMost = max(m.cell.LoopMost, now.Most)
	return err
}

// costing runs a yardstick for the round's events, and adds what this process and the
// yardsticks' broker used.
func (m *benchRun) costing(sum *benchCost, yardstick func() (time.Duration, error)) (time.Duration, error) {
	before, served := bench.OwnUsage(), m.yardServer.Usage()
	took, err := yardstick()
	sum.own += bench.OwnUsage().CPU - before.CPU
	sum.broker += m.yardServer.Usage().CPU - served.CPU
	sum.events += m.c.Events
	return took, err
}

// writes measures the same writes alone.
func (m *benchRun) writes(ctx context.Context) error {
	took, err := m.costing(&m.writesCost, func() (time.Duration, error) { return m.yard.Writes(ctx, m.work(*m.cell)) })
	m.cell.Writes = append(m.cell.Writes, float64(m.c.Events)/took.Seconds())
	return err
}

// requests measures the same requests alone.
func (m *benchRun) requests(ctx context.Context) error {
	took, err := m.yard.Requests(ctx, m.work(*m.cell))
	m.cell.Requests = append(m.cell.Requests, float64(m.c.Events)/took.Seconds())
	return err
}
