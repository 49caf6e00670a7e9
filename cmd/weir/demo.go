package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// demoCmd is weir demo.
type demoCmd struct {
	Seed     uint64        `default:"7" help:"Of the simulated providers' faults and call lengths."`
	Duration time.Duration `default:"75s" help:"Give up after this long."`
}

// demoLane is one lane of the demo with the provider behind it.
type demoLane struct {
	name  string
	leads int
	sim   simulator.Config
	more  string // yaml of the lane's block

	provider *simulator.Simulator
	sent     map[string]string // intent -> what is expected of it, for every distinct event
	dups     int
}

// demoScale is how many times faster than life calls run: 71 s become 1.2 s,
// the longest (10 min) 10 s.
const demoScale = 60

// demoLanes are a lane that an operator has tuned, with an outage to come, and
// one that is left to its defaults with a provider that hides answers.
func demoLanes(seed uint64) []*demoLane {
	return []*demoLane{
		{
			name: "acme-sales", leads: 70,
			sim: simulator.Config{
				Limit: 6, Scale: demoScale, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
				Headers: simulator.HeadersNone, Latency: 20 * time.Millisecond,
				Faults: simulator.Faults{Shuffle: .5},
			},
			// The operator knows that a 503 of this provider comes before
			// anything is created, so the outage leaves no doubts. The limit is
			// set above the provider's, which tells nobody: hence the 429s.
			more: "    limit: 8\n    refused_statuses: [503]\n",
		},
		{
			name: "globex-support", leads: 40,
			sim: simulator.Config{
				Limit: 4, Scale: demoScale, Seed: seed + 1, Shape: simulator.Mixed, Headers: simulator.HeadersXRateLimit,
				Latency: 20 * time.Millisecond,
				Faults:  simulator.Faults{Accepted500: .03, AcceptedHang: .02, Cut: .03, HangFor: 3 * time.Second},
			},
			more: "    limit: 4\n    batch: 1\n",
		},
	}
}

// Run shows the whole job on temporary state and fails if anything was lost,
// doubled or over the limit.
func (c *demoCmd) Run(a *app) (err error) {
	dir, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(a.ctx, c.Duration)
	defer cancel()
	d := &demo{app: a, lanes: demoLanes(c.Seed), began: time.Now()}
	return d.run(ctx, dir)
}

// demo is one run of the demo.
type demo struct {
	app   *app
	lanes []*demoLane
	began time.Time
	svc   *service
	mu    sync.Mutex // one line at a time
}

// run starts everything, plays the story and draws the balance.
func (d *demo) run(ctx context.Context, dir string) (err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	around, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	cfg, err := d.configure(around, dir, &wg)
	if err != nil {
		return err
	}
	if d.svc, err = startService(ctx, zerolog.Nop(), cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.svc.close()) }()
	served := make(chan error, 1)
	serving, finish := context.WithCancel(around)
	go func() { served <- d.svc.run(serving) }()
	wg.Go(func() { d.tell(around) })

	d.say("", "Two lanes, two simulated providers, an embedded broker in %s.", dir)
	d.say("", "Calls run %d times faster than in life; each provider takes so many at once and answers 429 above that.", demoScale)
	err = d.play(ctx)
	if err == nil {
		err = d.settled(ctx)
	}
	finish()
	err = errors.Join(err, <-served)
	stop()
	if errors.Is(err, context.DeadlineExceeded) {
		d.say("", "Time is up; the balance shows what is left.")
		err = nil
	}
	if err != nil {
		return err
	}
	return d.balance(context.WithoutCancel(ctx))
}

// configure starts the providers and writes the weir.yaml that the demo runs
// on, as an operator would.
func (d *demo) configure(ctx context.Context, dir string, wg *sync.WaitGroup) (*config.Config, error) {
	var y strings.Builder
	fmt.Fprintf(&y, "embedded: {dir: %q}\nlanes:\n", filepath.Join(dir, "store"))
	for i, ln := range d.lanes {
		ln.sent = make(map[string]string)
		var err error
		if ln.provider, err = simulator.New(zerolog.Nop(), ln.sim); err != nil {
			return nil, err
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		wg.Go(func() { _ = ln.provider.Serve(ctx, l) }) // ends with ctx; its requests would fail loudly
		fmt.Fprintf(&y, demoLaneYAML, ln.name, l.Addr(), ln.provider.MaxCall()+time.Second, ln.more, i)
	}
	return config.Parse("weir.yaml", []byte(y.String()), func(name string) string { return name }) // any credential is taken
}

// demoLaneYAML is a lane's block: name, address, max_call, more, number.
const demoLaneYAML = `  - name: %[1]s
    provider: oration
    url: http://%[2]s/api/v2
    auth: {api_key: {env: DEMO_KEY}, workspace_id: {env: WORKSPACE_%[5]d}}
    timeout: 2s
    max_call: %[3]s
    doubt_limit: 0
    pacing: {mean_call: 1.2s}
    breaker: {failures: 3, open: 1s}
%[4]s    routes:
      - type: lead.created
        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
          dynamicVariables: {firstName: "${ data.first_name ?? 'there' }"}
`

// play publishes the leads, the good ones and the bad, and breaks the first
// provider for a while.
func (d *demo) play(ctx context.Context) error {
	for _, ln := range d.lanes {
		d.say(ln.name, "%d leads arrive, some of them twice, some of them not usable.", ln.leads)
		for i := range ln.leads {
			if err := d.publish(ctx, ln, i); err != nil {
				return err
			}
		}
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	broken := d.lanes[0]
	d.say(broken.name, "The provider goes down: 503 for four seconds.")
	if err := broken.provider.SetOutage(simulator.Outage503, time.Now().Add(4*time.Second)); err != nil {
		return err
	}
	if err := sleep(ctx, 4*time.Second); err != nil {
		return err
	}
	d.say(broken.name, "The provider is well again.")
	return nil
}

// publish sends the i-th lead of a lane, as a CRM would have it: every tenth is
// bad in some way, every eighth comes twice.
func (d *demo) publish(ctx context.Context, ln *demoLane, i int) error {
	id := fmt.Sprintf("%s-%03d", ln.name, i)
	version, phone, want := "1.0", fmt.Sprintf(`"+1415555%04d"`, i), "call"
	switch i {
	case 10:
		phone, want = `null`, "dead"
	case 20:
		phone, want = `"(415) 555-0120"`, "dead"
	case 30:
		version, want = "0.3", "dead"
	}
	body := fmt.Sprintf(`{"specversion":%q,"id":%q,"source":"/demo/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"first_name":"Ana","phone":%s}}`, version, id, i, phone)
	key := consumer.Key(ln.name, "/demo/crm", id)
	if version != "1.0" {
		key = "" // cannot be read as an event: its key is its place in the stream
	}
	copies := 1
	if i%8 == 5 {
		copies, ln.dups = 2, ln.dups+1
	}
	for range copies {
		header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
		// A CRM that repeats itself does not send the same message id.
		msgID := fmt.Sprintf("demo-%s-%d", id, time.Now().UnixNano())
		if _, err := d.svc.broker.PublishEvent(ctx, ln.name, header, []byte(body), msgID); err != nil {
			return err
		}
	}
	ln.sent[cmp.Or(key, "unreadable "+id)] = want
	return nil
}

func sleep(ctx context.Context, dur time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(dur):
		return nil
	}
}

// settled waits until no event is waiting and no call is live.
func (d *demo) settled(ctx context.Context) error {
	for {
		busy := false
		for _, ln := range d.lanes {
			pending, unacked, err := d.svc.broker.Backlog(ctx, ln.name)
			if err != nil {
				return err
			}
			count, err := d.count(ctx, ln)
			if err != nil {
				return err
			}
			busy = busy || pending+unacked > 0 || count.live > 0
		}
		if !busy {
			return nil
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

// tally is a lane's balance, the ledger's word beside the provider's own log.
type tally struct {
	Lane      string `json:"lane"`
	Published int    `json:"published"` // distinct events
	Repeated  int    `json:"repeated"`
	Created   int    `json:"created"`
	Dead      int    `json:"dead"`
	Doubt     int    `json:"in_doubt"`
	Waiting   int    `json:"waiting"`
	Doubled   int    `json:"doubled"`
	Lost      int    `json:"lost"`
	Highest   int    `json:"highest_slots"`
	Limit     int    `json:"limit"`

	live int
}

// count compares the ledger with the provider's log.
func (d *demo) count(ctx context.Context, ln *demoLane) (tally, error) {
	t := tally{Lane: ln.name, Published: len(ln.sent), Repeated: ln.dups}
	report := ln.provider.Report()
	t.Highest, t.Limit = report.Highest, report.Limit
	made := make(map[string]int)
	for _, conv := range ln.provider.Conversations() {
		made[conv.Intent]++
	}
	for key, n := range made {
		if _, known := ln.sent[key]; !known || n > 1 {
			t.Doubled++ // a call that no event stands for is one too many as well
		}
	}
	if report.LogError != "" {
		return t, fmt.Errorf("the log of the simulated provider of %s has a gap: %s", ln.name, report.LogError)
	}
	states := make(map[string]consumer.State)
	unreadable := 0
	for entry, err := range d.svc.ledger.Scan(ctx, ln.name, time.Time{}) {
		if err != nil {
			return t, err
		}
		states[entry.Intent.Key] = entry.Intent.State
		if entry.Intent.Class == string(schema.ClassVersion) {
			unreadable++
		}
	}
	for key := range ln.sent {
		state := states[key]
		if strings.HasPrefix(key, "unreadable ") && unreadable > 0 {
			state, unreadable = consumer.Dead, unreadable-1
		}
		t.add(state, made[key])
	}
	return t, nil
}

// add enters one event. A state that the provider's log contradicts counts as
// lost: nobody was called although the books say so, or the other way round.
func (t *tally) add(state consumer.State, made int) {
	switch {
	case state == consumer.Created && made > 0:
		t.Created++
		t.live++
	case state == consumer.Ended && made > 0:
		t.Created++
	case state == consumer.Dead && made == 0:
		t.Dead++
	case state == consumer.Doubt:
		t.Doubt++
	case state == consumer.Waiting || state == consumer.Started || state == consumer.Absent && made == 0:
		t.Waiting++
	default:
		t.Lost++
	}
}

// balance draws the table, and is an error if a promise was broken.
func (d *demo) balance(ctx context.Context) error {
	var tallies []tally
	var broken error
	for _, ln := range d.lanes {
		t, err := d.count(ctx, ln)
		if err != nil {
			return err
		}
		pending, unacked, err := d.svc.broker.Backlog(ctx, ln.name)
		if err != nil {
			return err
		}
		if there := int(pending + unacked); t.Waiting > there { //nolint:gosec // a backlog of this demo
			t.Lost += t.Waiting - there
			t.Waiting = there
		}
		if t.Lost > 0 || t.Doubled > 0 || t.Highest > t.Limit {
			broken = errors.New("a promise was broken: see the table")
		}
		tallies = append(tallies, t)
	}
	fmt.Fprintln(d.app.stderr)
	err := d.app.print(tallies, func(w io.Writer) {
		fmt.Fprintln(w, "LANE\tPUBLISHED\tREPEATED\tCREATED\tDEAD\tIN DOUBT\tWAITING\tDOUBLED\tLOST\tHIGHEST SLOTS\tLIMIT")
		for _, t := range tallies {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", t.Lane, t.Published, t.Repeated, t.Created,
				t.Dead, t.Doubt, t.Waiting, t.Doubled, t.Lost, t.Highest, t.Limit)
		}
	})
	return errors.Join(err, broken)
}

// say prints one line of the story.
func (d *demo) say(lane, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.app.stderr, "%5.1fs  %-15s %s\n", time.Since(d.began).Seconds(), lane, fmt.Sprintf(format, args...))
}

// tell reports what the lanes do, a line a lane each second, and each new dead
// letter and doubt with its reason, until ctx ends.
func (d *demo) tell(ctx context.Context) {
	seen := make(map[string]bool)
	for sleep(ctx, time.Second) == nil {
		for _, ln := range d.lanes {
			d.tellKept(ctx, ln, seen)
			d.tellStatus(ctx, ln)
		}
	}
}

// tellKept prints the dead letters and doubts that are new.
func (d *demo) tellKept(ctx context.Context, ln *demoLane, seen map[string]bool) {
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		for l, err := range d.svc.broker.Letters(ctx, state, ln.name) {
			if err != nil {
				return // the broker is closing
			}
			if !seen[l.Intent] {
				seen[l.Intent] = true
				what := "dead letter"
				if state == consumer.Doubt {
					what = "in doubt (the call may be live: its slot stays taken)"
				}
				d.say(ln.name, "%s: %s: %s", what, cmp.Or(l.ID, "event without id"), l.Reason)
			}
		}
	}
}

// tellStatus prints a line that shows the slots in use.
func (d *demo) tellStatus(ctx context.Context, ln *demoLane) {
	pending, unacked, err := d.svc.broker.Backlog(ctx, ln.name)
	if err != nil {
		return // the broker is closing
	}
	r := ln.provider.Report()
	status := d.svc.status(ctx, ln.name)
	line := fmt.Sprintf("%s%s %d/%d live, %d waiting, %d called, %d answers 429",
		strings.Repeat("#", r.Live), strings.Repeat(".", max(r.Limit-r.Live, 0)), r.Live, r.Limit, pending+unacked, r.Conversations, r.Full)
	if status.State == "stopped" || status.State == "paused" {
		line += "; " + status.State
	}
	d.say(ln.name, "%s", line)
}
