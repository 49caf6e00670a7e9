package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/bench"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
)

// benchGap is the pause between two single events: each is long done when the next
// one comes. It varies by half, so that nothing else keeps its time.
const benchGap = 20 * time.Millisecond

// probe sends events one by one, and between them makes one publish and one
// compare-and-set at the other broker.
func (m *benchRun) probe(ctx context.Context, n int) error {
	first := m.take(n)
	sent := make([]time.Time, n)
	gap := func() error { return sleep(ctx, benchGap/2+rand.N(benchGap)) }
	for i := range n {
		lane := m.lanes[i%len(m.lanes)]
		event := bench.Event(first+i, m.c.Size)
		sent[i] = time.Now()
		if err := m.send(ctx, lane, first+i, event); err != nil {
			return err
		}
		if err := gap(); err != nil {
			return err
		}
		publish, cas, err := m.yard.Pair(ctx, benchSubject(benchPairLane), event)
		if err != nil {
			return err
		}
		m.publish, m.cas, m.pair = append(m.publish, publish), append(m.cas, cas), append(m.pair, publish+cas)
		if err := gap(); err != nil {
			return err
		}
	}
	took, err := m.arrived(ctx, first, sent)
	m.alone = append(m.alone, took...)
	return err
}

// send publishes one event.
func (m *benchRun) send(ctx context.Context, lane string, number int, event []byte) error {
	_, err := m.js.Publish(ctx, benchSubject(lane), event, jetstream.WithMsgID("bench-"+strconv.Itoa(number)))
	return err
}

// arrived waits until all events are done, and returns how long each took from then
// to its first byte at the provider.
func (m *benchRun) arrived(ctx context.Context, first int, then []time.Time) ([]time.Duration, error) {
	if err := m.settled(ctx); err != nil {
		return nil, err
	}
	at, err := m.asker.Arrivals(ctx, first, first+len(then))
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(then))
	for i := range then {
		if at[i].IsZero() {
			return nil, fmt.Errorf("event %d was not asked for", first+i)
		}
		took[i] = at[i].Sub(then[i])
	}
	return took, nil
}

// benchLoad is the share of the rate at which events are published under load.
const benchLoad = 0.5

// load publishes events at half the rate that Weir reached, each when it is due
// whatever became of those before.
func (m *benchRun) load(ctx context.Context) error {
	m.cell.LoadRate = m.cell.Weir.Median() * benchLoad
	first, n := m.take(m.c.Events), m.c.Events
	due := make([]time.Time, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n {
		due[i] = began.Add(time.Duration(float64(i) / m.cell.LoadRate * float64(time.Second)))
		if err := sleep(ctx, time.Until(due[i])); err != nil {
			wg.Wait()
			return err
		}
		wg.Go(func() {
			errs[i] = m.send(ctx, m.lanes[i%len(m.lanes)], first+i, bench.Event(first+i, m.c.Size))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	took, err := m.arrived(ctx, first, due)
	m.cell.Loaded = bench.QuantilesOf(took)
	return err
}

// benchWhole is how many calls are followed to their end.
const benchWhole = 100

// whole follows calls to their ends, which come at once, and counts what all of it
// makes Weir write and ask.
func (m *benchRun) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, benchPatience, fmt.Errorf("calls have not ended after %v", benchPatience))
	defer cancel()
	before, asked, err := m.tally(ctx)
	if err != nil {
		return err
	}
	n := min(benchWhole, m.c.Events)
	w := m.work(*m.cell)
	w.Lanes, w.Events = []string{benchShortLane}, n
	if err := bench.Feed(ctx, m.js, w, m.take(n), m.c.Size); err != nil {
		return err
	}
	if err := m.ended(ctx, uint64(n)); err != nil { //nolint:gosec // a count
		return err
	}
	after, now, err := m.tally(ctx)
	if err != nil {
		return err
	}
	m.cell.ToEnd = make(map[string]float64)
	for name, seq := range after {
		if writes := seq - before[name]; writes > 0 {
			m.cell.ToEnd[name] = float64(writes) / float64(n)
		}
	}
	m.cell.Looks = float64(now.Looks-asked.Looks) / float64(n)
	return nil
}

// ended waits until the ends of n calls are told and written down.
func (m *benchRun) ended(ctx context.Context, n uint64) error {
	subject := "weir.outcomes." + benchShortLane + ".ended"
	for {
		s, err := m.js.Stream(ctx, broker.StreamOutcomes)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return err
		}
		if info.State.Subjects[subject] >= n {
			break
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return m.still(ctx)
}

// still waits until nothing is written to the ledger any more: an end is told before
// it is written down.
func (m *benchRun) still(ctx context.Context) error {
	last := uint64(0)
	for {
		s, err := m.js.Stream(ctx, ledger.Stream)
		if err != nil {
			return err
		}
		if now := s.CachedInfo().State.LastSeq; now == last {
			return nil
		} else {
			last = now
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// benchProfiled is of how many events each allocation is noted.
const benchProfiled = 200

// allocations sends events through a weir serve that notes each allocation, in the
// place of the other one.
func (m *benchRun) allocations(ctx context.Context) error {
	if err := m.weir.Stop(); err != nil {
		return err
	}
	var err error
	if m.weir, err = m.serve("bench-serve"); err != nil {
		return err
	}
	w := m.work(*m.cell)
	w.Events = min(benchProfiled, m.c.Events)
	if err := bench.Feed(ctx, m.js, w, m.take(w.Events), m.c.Size); err != nil {
		return err
	}
	if err := m.settled(ctx); err != nil {
		return err
	}
	if err := m.weir.Stop(); err != nil {
		return err
	}
	said, err := m.weir.Output()
	if err != nil {
		return err
	}
	var all bench.Allocs
	if err := json.Unmarshal(said, &all); err != nil {
		return fmt.Errorf("what was allocated: %w", err)
	}
	m.cell.Cost.Way = all.Each(w.Events)
	return nil
}

// spent is what the processes have used so far.
func (m *benchRun) spent(ctx context.Context) (benchCost, error) {
	weir, server, provider := m.weir.Usage(), m.server.Usage(), m.provider.Usage()
	c := benchCost{weir: weir.CPU, broker: server.CPU, provider: provider.CPU, unknown: !weir.Known}
	figures, err := scrape(ctx, "http://"+m.admin+"/metrics", "go_memstats_mallocs_total", "go_memstats_alloc_bytes_total")
	if err != nil {
		return c, fmt.Errorf("measure weir serve: %w", err)
	}
	c.mallocs, c.bytes = figures[0], figures[1]
	return c, nil
}

// add adds what was used between two looks, for n events.
func (c *benchCost) add(from, to benchCost, n int) {
	c.weir += to.weir - from.weir
	c.broker += to.broker - from.broker
	c.provider += to.provider - from.provider
	c.mallocs += to.mallocs - from.mallocs
	c.bytes += to.bytes - from.bytes
	c.events += n
	c.unknown = c.unknown || from.unknown || to.unknown
}

// scrape reads metrics without labels.
func scrape(ctx context.Context, url string, names ...string) ([]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	values := make([]float64, len(names))
	found := 0
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		for i, name := range names {
			if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
				if values[i], err = strconv.ParseFloat(text, 64); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				found++
			}
		}
	}
	if found != len(names) {
		return nil, fmt.Errorf("%s: %d of %d metrics were found", url, found, len(names))
	}
	return values, lines.Err()
}
