//go:build pacing

package main

import (
	"container/heap"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/pacingtest"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/ratelimiter"
)

var (
	pacingSeeds = flag.Int("seeds", 8, "runs of each cell")
	pacingPage  = flag.String("page", "", "file to write; none: standard output")
)

// pacingScale is how many times faster calls run over HTTP than in life. The round
// trip of 30 ms stands for 120 ms.
const pacingScale = 4

// TestBenchPacing measures how full the slots are kept, in virtual time and over
// HTTP, and writes docs/benchmarks/pacing.md.
func TestBenchPacing(t *testing.T) {
	began := time.Now()
	lab := &pacingtest.Lab{Seeds: *pacingSeeds, Bubble: func(f func()) {
		synctest.Test(t, func(*testing.T) { f() })
	}}
	over := pacingOverHTTP(t, lab) // first: what follows takes all processors
	text := pacingPreface(*pacingSeeds) + lab.Document() + over
	text = strings.TrimSpace(text) + "\n"
	for strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	t.Logf("took %v", time.Since(began).Round(time.Second))
	if *pacingPage == "" {
		fmt.Println(text)
		return
	}
	if err := os.WriteFile(*pacingPage, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pacingPreface says what the page shows.
func pacingPreface(seeds int) string {
	return fmt.Sprintf(`# Pacing

How full a provider's slots are kept, and what that costs. Written by %s.

A call holds a slot from its request until it ends, a minute later on average. Nobody tells when: it has to be found out, by a request that asks for one more conversation, by a look at the headers of a status, by asking for the call, or from a webhook. Each table but the last is made in virtual time: the product's own limiter and breaker, driven as the engine drives them, in a model of a provider with %d seeds a cell (%s). A figure stands with its standard error, where that would not be shown as 0. An *oracle*, which knows each end at once and still needs half a round trip, is 100 %%. It gathers nothing, so who does can be a little faster.

Calls last 71.25 s on average: 45 %% stay unanswered (25 s), 25 %% are short (60 s), 30 %% long (150 s). A round trip takes 120 ms. Providers differ: **A** refuses a request for more than fits as a whole, **B** creates what fits; **+H** tells limit and remaining on every answer, under names that surely count conversations, **+N** tells nothing. The clients: *auto* is the default; *post* is %s, the operator's word that the provider refuses what passes the limit; *tight* accepts 1 %% of idle time instead of 2.5 %%. Where nothing else is said, one call in 30 is asked for to learn how long calls last; an engine without webhooks asks for each, since its end is to be told. P0 to P3 are what people write who have no pacer.

In each run nobody was ever above the limit: a provider that refuses cannot show it, so that is tested where nothing is refused (%s).

`, "`make bench-pacing`", seeds, "`internal/pacingtest`", "`pacing: {probe: post}`", "`internal/pacingtest.TestNothingPassesTheLimitWhereNobodyRefuses`, `ratelimiter.TestLimiterModelLimit`")
}

// pacingCell is one run of weir against a simulated provider.
type pacingCell struct {
	name     string
	limit    int
	leads    int
	overflow string
	headers  bool
	probe    string
	webhooks bool
}

func pacingCells() []pacingCell {
	whole, parts := simulator.OverflowWhole, simulator.OverflowMulti
	return []pacingCell{
		{"auto, A+H", 20, 200, whole, true, config.ProbeAuto, false},
		{"auto, B+H", 20, 200, parts, true, config.ProbeAuto, false},
		{"auto, A+N", 20, 200, whole, false, config.ProbeAuto, false},
		{"post, A+H", 20, 200, whole, true, config.ProbePost, false},
		{"post, B+H", 20, 200, parts, true, config.ProbePost, false},
		{"post, A+N", 20, 200, whole, false, config.ProbePost, false},
		{"post, B+N", 20, 200, parts, false, config.ProbePost, false},
		{"auto, A+H, webhooks", 20, 200, whole, true, config.ProbeAuto, true},
		{"auto, A+N, webhooks", 20, 200, whole, false, config.ProbeAuto, true},
		{"auto, A+H, 5 slots", 5, 50, whole, true, config.ProbeAuto, false},
	}
}

// pacingOverHTTP runs the cells, all at once, and writes their table.
func pacingOverHTTP(t *testing.T, lab *pacingtest.Lab) string {
	cells := pacingCells()
	rows := make([]string, len(cells))
	var wg sync.WaitGroup
	for i, c := range cells {
		wg.Go(func() { rows[i] = c.run(t) })
	}
	wg.Wait()
	for i, c := range cells {
		rows[i] = fmt.Sprintf("| %s | %s | %s |\n", c.name, rows[i], c.expected(lab))
		t.Log(strings.TrimSpace(rows[i]))
	}
	return fmt.Sprintf(`
## Over HTTP

The real thing: weir with its embedded broker, every write synced, against the simulated provider on loopback, everything %d times faster than in life, ten runs at once. So a tenth of a second that weir, its broker's disk or a busy machine takes counts as %.1f s here. The oracle knows the lengths of the very calls. Beside it what the model says of the same cell, with every end asked for as the engine does. Machine: %d processors, %s.

| cell | weir: ratio %% / requests / 429 | model |
|---|---|---|
%s`, pacingScale, pacingScale/10.0, runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, strings.Join(rows, ""))
}

// expected is what the model says of the cell.
func (c pacingCell) expected(lab *pacingtest.Lab) string {
	cfg := ratelimiter.Config{Limit: c.limit, Probe: probing(c.probe)}
	sc := pacingtest.Scenario{Limit: c.limit, Backlog: c.leads, Partial: c.overflow == simulator.OverflowMulti, Headers: c.headers}
	o := pacingtest.Options{Limiter: cfg, Polls: pacingtest.PollAll, Batch: 20}
	if c.webhooks {
		o.Hooks, o.Delay, o.Confirm = true, 200*time.Millisecond, true
	}
	ratio, requests, refused := lab.Efficiency(sc, o)
	return fmt.Sprintf("%v / %v / %v", ratio, requests, refused)
}

// run sends the cell's leads and says how that went.
func (c pacingCell) run(t *testing.T) string {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := gatewayPort(t)
	sc := simulator.Config{
		Limit: c.limit, Scale: pacingScale, Seed: 1, Latency: 120 * time.Millisecond / pacingScale,
		Overflow: c.overflow, Headers: simulator.HeadersNone,
	}
	if c.headers {
		sc.Headers = simulator.HeadersIETF
	}
	if c.webhooks {
		sc.Webhooks = simulator.Webhooks{URL: "http://" + address + "/hooks/provider/bench/" + hookSecret, Delay: 200 * time.Millisecond / pacingScale}
	}
	sim, err := simulator.New(zerolog.Nop(), sc)
	if err != nil {
		t.Error(err)
		return "failed"
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return "failed"
	}
	ended := make(chan error, 2)
	go func() { ended <- sim.Serve(ctx, ln) }()
	s, err := c.serve(ctx, t.TempDir(), ln.Addr().String(), address)
	if err != nil {
		t.Error(err)
		return "failed"
	}
	go func() { ended <- s.run(ctx) }()
	for deadline := time.Now().Add(10 * time.Minute); sim.Report().Conversations < c.leads; {
		if time.Now().After(deadline) {
			t.Errorf("%s: %d of %d leads after ten minutes", c.name, sim.Report().Conversations, c.leads)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	r := sim.Report()
	cancel()
	if err := errors.Join(<-ended, <-ended, s.close()); err != nil {
		t.Error(err)
	}
	if r.Highest > c.limit || len(r.Doubled) > 0 {
		t.Errorf("%s: %d calls at once of %d, doubled %v", c.name, r.Highest, c.limit, r.Doubled)
	}
	requests := float64(r.Requests["create"]+r.Requests["lookup"]) / float64(r.Conversations)
	return fmt.Sprintf("%.2f / %.2f / %.1f", 100*pacingRatio(sim.Conversations(), c.limit), requests, 100*float64(r.Full)/float64(r.Conversations))
}

// serve starts weir with the cell's leads in its stream.
func (c pacingCell) serve(ctx context.Context, dir, provider, gateway string) (*service, error) {
	yaml := fmt.Sprintf(`
embedded: {dir: %q}
gateway: {listen: %q}
lanes:
  - name: bench
    provider: oration
    url: http://%s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: KEY}}
    limit: %d
    batch: 20
    pacing: {mean_call: 18750ms, probe: %s}
    webhook: {secret: {env: HOOK}}
    routes:
      - type: lead.created
%s`, filepath.Join(dir, "store"), gateway, provider, c.limit, c.probe, plantRoute)
	cfg, err := config.Parse("weir.yaml", []byte(yaml), func(string) string { return hookSecret })
	if err != nil {
		return nil, err
	}
	s, err := startService(ctx, zerolog.Nop(), cfg)
	if err != nil {
		return nil, err
	}
	for i := range c.leads {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/bench","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"phone":"+1415%07d"}}`, i, i, i)
		if _, err := s.broker.PublishEvent(ctx, "bench", nil, []byte(body), fmt.Sprint(i)); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// pacingEnds is a heap of the times at which slots come free.
type pacingEnds []time.Duration

func (e pacingEnds) Len() int           { return len(e) }
func (e pacingEnds) Less(i, j int) bool { return e[i] < e[j] }
func (e pacingEnds) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *pacingEnds) Push(x any)        { *e = append(*e, x.(time.Duration)) }
func (e *pacingEnds) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// pacingRatio is how long the very calls would take if each slot that comes free
// were taken at once, through how long they took, to the last creation.
func pacingRatio(calls []simulator.Conversation, limit int) float64 {
	slices.SortFunc(calls, func(a, b simulator.Conversation) int { return a.Created.Compare(b.Created) })
	free := make(pacingEnds, limit)
	var last time.Duration
	for _, c := range calls {
		last = heap.Pop(&free).(time.Duration)
		heap.Push(&free, last+c.Ends.Sub(c.Created))
	}
	return last.Seconds() / calls[len(calls)-1].Created.Sub(calls[0].Created).Seconds()
}
