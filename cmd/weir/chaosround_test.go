//go:build chaos && linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// chaosLanes are the lanes of a run: Oration's, Anyreach's for calls, Anyreach's
// for every channel.
var chaosLanes = []string{"acme", "calls", "all"}

// lanesConfig is what of weir.yaml may change while a run goes on.
type lanesConfig struct {
	batch  int
	preset string
	label  string
}

func (c *lanesConfig) draw(d *rand.Rand, batches []int) {
	c.batch = batches[d.IntN(len(batches))]
	c.preset = []string{"frugal", "tight"}[d.IntN(2)]
	c.label = fmt.Sprint("Acme ", d.IntN(100))
}

func (r *rig) yaml() string { return filepath.Join(r.dir, "weir.yaml") }

// configure writes weir.yaml. max_call is longer than a call and all that can
// hold its request up.
func (r *rig) configure() error {
	y := fmt.Sprintf(chaosYAML, strings.Join(r.servers(false), `", "`), r.replicas(), r.front.Addr(), r.load.calls(), r.load.texts(),
		r.load.oration(), r.conf.batch, r.conf.preset, r.conf.label)
	if r.admin != "" {
		y = fmt.Sprintf("admin: {listen: %q}\n%s", r.admin, y)
	}
	return os.WriteFile(r.yaml(), []byte(y), 0o600)
}

const chaosYAML = `broker: {urls: ["%s"], replicas: %d, ack_wait: 2s}
accounts:
  - name: globex
    provider: anyreach
    url: http://%[3]s
    auth: {token: {env: TOKEN}}
    limits: {telephone: %[4]d, text: %[5]d}
    timeout: 1s
    max_call: 7s
    visible_after: 3s
    pacing: {mean_call: 500ms}
    breaker: {failures: 5, open: 1s}
lanes:
  - name: acme
    label: %[9]q
    provider: oration
    url: http://%[3]s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
    limit: %[6]d
    batch: %[7]d
    timeout: 1s
    max_call: 7s
    doubt_limit: 0
    pacing: {mean_call: 500ms, preset: %[8]s}
    breaker: {failures: 5, open: 1s}
    routes:
      - type: lead.created
        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
  - name: calls
    account: globex
    attempts: 100
    routes:
      - type: lead.created
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: a, agent_number: "+14155550199"}
  - name: all
    account: globex
    attempts: 100
    routes:
      - type: lead.created
        when: data.attributes.channel == 'telephone'
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: a, agent_number: "+14155550199"}
      - type: lead.created
        when: data.attributes.channel == 'email'
        request: {channel: email, user_id: "u-${ data.id }", to_address: "${ data.email }", agent_id: a}
      - type: lead.created
        request: {channel: "${ data.attributes.channel }", user_id: "u-${ data.id }", agent_id: a}
`

// simulators is what both providers are like in a round. Oration may have more
// room than weir's limit, so that keeping the limit is weir's own doing.
func (r *rig) simulators(seed uint64, d *rand.Rand) simConfig {
	r.slack = []int{0, 3 * r.load.factor}[d.IntN(2)]
	return simConfig{
		Proof: r.past.path,
		Oration: simulator.Config{
			Limit: r.load.oration() + r.slack, Scale: chaosScale, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
			Headers: []string{simulator.HeadersXRateLimit, simulator.HeadersIETF, simulator.HeadersNone}[d.IntN(3)],
			Latency: r.load.latency,
		},
		Anyreach: simulator.AnyreachConfig{
			Limit: r.load.calls() + r.slack, Scale: chaosScale, Seed: seed + 1, Accepted: simulator.Mixed, Detail: simulator.Mixed,
			Columns: simulator.ColumnsSafe, Latency: r.load.latency,
		},
	}
}

// sentEvent is one event that is published, and where it was stored.
type sentEvent struct {
	lane, id string
	n        int
	at       time.Time // of its making, which it keeps when it is published again
	seq      uint64    // of WEIR_EVENTS
	msgID    string    // under which it was stored there
}

// eventLog is what was published and acknowledged in a round.
type eventLog struct {
	mu   sync.Mutex
	next int // number of an event of this round
	sent []sentEvent
	old  []sentEvent // of earlier rounds with the same store
	cut  []sentEvent // whose publish was interrupted: nobody knows whether they are stored
}

func (l *eventLog) add(e sentEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, e)
}

// reserve takes n numbers, and returns the first.
func (l *eventLog) reserve(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next += n
	return l.next - n
}

// any returns one that was published, in this round or before it.
func (l *eventLog) any(d *rand.Rand, old bool) (sentEvent, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.sent
	if old {
		from = l.old
	}
	if len(from) == 0 {
		return sentEvent{}, false
	}
	return from[d.IntN(len(from))], true
}

// publishLimit is how long the broker may refuse the publisher: longer than any
// fault lasts.
const publishLimit = 3 * time.Minute

// publish publishes n events of the round over a time, and returns when all
// are acknowledged or ctx ends.
func (r *rig) publish(interrupted context.Context, n int, over time.Duration) {
	ctx, cancel := context.WithTimeout(interrupted, over+publishLimit)
	defer cancel()
	defer func() {
		if ctx.Err() != nil && interrupted.Err() == nil {
			r.find(chaos.Stuck, "the broker did not take the round's events within %v", over+publishLimit)
		}
	}()
	first := r.published.reserve(n)
	var senders sync.WaitGroup
	for sender := range r.load.senders {
		senders.Go(func() {
			for i := first + sender; i < first+n && r.publishOne(ctx, i); i += r.load.senders {
				r.rest(ctx, over*time.Duration(r.load.senders)/time.Duration(n))
			}
		})
	}
	senders.Wait()
}

// publishOne publishes the event of the round with this number, and reports
// whether it was acknowledged; it is unless ctx ends.
func (r *rig) publishOne(ctx context.Context, i int) bool {
	l := sentEvent{lane: chaosLanes[[]int{0, 0, 0, 0, 1, 1, 1, 2, 2, 2}[i%10]], id: fmt.Sprintf("r%d-%d", r.round, i), n: i, at: time.Now()}
	l.msgID = l.id + "-" + l.lane
	var err error
	if l.seq, err = r.send(ctx, l, l.msgID); err != nil {
		r.published.mu.Lock()
		defer r.published.mu.Unlock()
		r.published.cut = append(r.published.cut, l)
		return false
	}
	r.published.add(l)
	return true
}

// send publishes an event until it is acknowledged.
func (r *rig) send(ctx context.Context, l sentEvent, msgID string) (uint64, error) {
	channel := []string{"telephone", "email", "text", "webrtc", "text", "telephone", "text"}[l.n%7]
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","time":%q,"datacontenttype":"application/json",`+
		`"data":{"id":%d,"phone":"+1415%07d","email":"a%d@example.com","attributes":{"channel":%q}}}`, l.id, l.at.UTC().Format(time.RFC3339Nano), l.n, l.n, l.n, channel)
	m := &nats.Msg{Subject: "weir.events." + l.lane, Header: nats.Header{
		"Content-Type": {"application/cloudevents+json"}, nats.MsgIdHdr: {msgID},
	}, Data: []byte(body)}
	for {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		ack, err := r.b.JetStream().PublishMsg(try, m)
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if !r.rest(ctx, 100*time.Millisecond) {
			return 0, err
		}
	}
}

// publishAgain publishes events a second time: under the same message id, which
// the broker drops, or under another one, which weir must know.
func publishAgain(same bool) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		name := map[bool]string{true: "publish-twice", false: "publish-again"}[same]
		r.hist.Note("fault", name, "")
		for i := range 20 {
			if l, ok := r.published.any(d, false); ok {
				r.count(name, 1)
				id := l.msgID
				if !same {
					id = fmt.Sprintf("%s-again-%d-%d", l.msgID, i, d.Uint32())
				}
				_, _ = r.send(ctx, l, id)
			}
			if !r.rest(ctx, between(d, 0, 300*time.Millisecond)) {
				return
			}
		}
	}
}

// publishOld publishes events of earlier rounds again, most of them outside the
// broker's window for duplicates.
func publishOld(ctx context.Context, r *rig, d *rand.Rand) {
	r.hist.Note("fault", "publish-old", "")
	for range 20 {
		l, ok := r.published.any(d, true)
		if !ok {
			return
		}
		r.count("publish-old", 1)
		_, _ = r.send(ctx, l, l.msgID)
		if !r.rest(ctx, between(d, 0, 300*time.Millisecond)) {
			return
		}
	}
}

// intents reads what the ledger has from a time on.
func (r *rig) intents(ctx context.Context, since time.Time) (map[string]consumer.Intent, error) {
	lg, err := ledger.Open(ctx, r.b.JetStream(), ledger.Config{Replicas: r.replicas()})
	if err != nil {
		return nil, err
	}
	intents := make(map[string]consumer.Intent)
	for _, lane := range chaosLanes {
		for entry, err := range lg.Scan(ctx, lane, since) {
			if err != nil {
				return nil, err
			}
			intents[entry.Intent.Key] = entry.Intent
		}
	}
	return intents, nil
}

// settle waits until every event of the round has come to its end. What has not
// in time is for the check to tell.
func (r *rig) settle(ctx context.Context, since time.Time, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	idle := idleness{most: 20 * time.Second}
	for {
		if done, err := r.settled(ctx, since); done && err == nil {
			return nil
		}
		if r.quiet(ctx, &idle) {
			return nil
		}
		if r.kind == kindClock && idle.lasts(r.backlog(ctx)) && idle.last > 0 {
			r.remind(ctx)
		}
		if !r.rest(ctx, time.Second) {
			return fmt.Errorf("not every event came to its end within %v", limit)
		}
	}
}

func (r *rig) settled(ctx context.Context, since time.Time) (bool, error) {
	if left, err := r.backlog(ctx); left > 0 || err != nil {
		return false, err
	}
	intents, err := r.intents(ctx, since)
	if err != nil {
		return false, err
	}
	for _, l := range r.published.sent {
		if !intents[consumer.Key(l.lane, "/crm", l.id)].Settled() {
			return false, nil
		}
	}
	return true, nil
}

// facts gathers what is known after the calm.
func (r *rig) facts(ctx context.Context, since time.Time, outcomes uint64) (f chaos.Facts, err error) {
	if f.Intents, err = r.intents(ctx, since); err != nil {
		return f, err
	}
	stream, err := r.stream(ctx, broker.StreamEvents)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return f, err
	}
	f.Events = make([]chaos.Event, len(r.published.sent))
	together(len(f.Events), func(i int) {
		l := r.published.sent[i]
		f.Events[i] = chaos.Event{
			Lane: l.lane, ID: l.id, Key: consumer.Key(l.lane, "/crm", l.id), TakesID: l.lane != "acme", Stored: stored(ctx, stream, l),
		}
	})
	if f.Outcomes, err = r.outcomes(ctx, outcomes); err != nil {
		return f, err
	}
	reports, err := r.report(ctx)
	if err != nil {
		return f, err
	}
	r.countAnswers(reports)
	for _, l := range r.published.cut {
		f.Maybe = append(f.Maybe, consumer.Key(l.lane, "/crm", l.id))
	}
	f.Spans = r.hist.Spans()
	f.Damaged = r.damaged()
	if r.kind == kindClock { // nor do weir's
		f.Spans = append(f.Spans, chaos.Span{Name: "clock"})
	}
	f.Limits = []chaos.Limit{
		{Provider: simulator.ProviderOration, Channel: "telephony", Most: r.load.oration()},
		{Provider: simulator.ProviderAnyreach, Channel: "telephone", Most: r.load.calls()},
		{Provider: simulator.ProviderAnyreach, Channel: "text", Most: r.load.texts()},
	}
	return f, nil
}

// countAnswers notes how often single answers went wrong.
func (r *rig) countAnswers(reports map[string]simulator.Report) {
	for _, report := range reports {
		for name, n := range report.Faults {
			name = "answer-" + strings.ReplaceAll(name, "_", "-")
			if slices.ContainsFunc(chaosFaults, func(f fault) bool { return f.name == name }) {
				r.count(name, n)
			}
		}
	}
}

// stream finds a stream, whose leader may have to be elected first.
func (r *rig) stream(ctx context.Context, name string) (s jetstream.Stream, err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); r.rest(ctx, 500*time.Millisecond) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err = r.b.JetStream().Stream(try, name)
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) || ctx.Err() != nil {
			break
		}
	}
	return s, err
}

// stored reports whether the broker still has what it acknowledged.
func stored(ctx context.Context, stream jetstream.Stream, l sentEvent) bool {
	if stream == nil {
		return false
	}
	for range 5 { // a replica may be behind
		m, err := stream.GetMsg(ctx, l.seq)
		if err == nil {
			return m.Header.Get(nats.MsgIdHdr) == l.msgID
		}
		timer := time.NewTimer(200 * time.Millisecond)
		<-timer.C
	}
	return false
}

// outcomes reads what was published behind a sequence.
func (r *rig) outcomes(ctx context.Context, after uint64) ([]chaos.Outcome, error) {
	s, err := r.stream(ctx, broker.StreamOutcomes)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := make([]chaos.Outcome, s.CachedInfo().State.LastSeq-after)
	errs := make([]error, len(all))
	together(len(all), func(i int) {
		all[i], errs[i] = outcome(ctx, s, after+1+uint64(i))
	})
	return all, errors.Join(errs...)
}

// outcome reads one.
func outcome(ctx context.Context, s jetstream.Stream, seq uint64) (o chaos.Outcome, err error) {
	m, err := s.GetMsg(ctx, seq)
	if err != nil {
		return o, fmt.Errorf("outcome %d: %w", seq, err)
	}
	var data consumer.OutcomeData
	if err := json.Unmarshal(outcomeData(m), &data); err != nil {
		return o, fmt.Errorf("outcome %d: %w", seq, err)
	}
	return chaos.Outcome{
		Intent: data.Intent, Kind: m.Subject[strings.LastIndex(m.Subject, ".")+1:], Conversation: data.Conversation,
	}, nil
}

// together calls f with each number below n, from several goroutines.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// plan is what a round is.
type plan struct {
	round  int
	load   load
	seed   uint64
	kind   string
	faults []fault
}

// draw is the random numbers of one part of the round.
func (p plan) draw(stream string) *rand.Rand { return chaos.Draws(p.seed, stream, p.round) }

// run runs the round: events under faults, a calm, a check. Once stopping ends,
// nothing more is published or disturbed.
func (r *rig) run(ctx, stopping context.Context, p plan) (v chaos.Verdict, injected map[string]int, err error) {
	sim := r.simulators(p.draw("seed").Uint64(), p.draw("simulators"))
	r.conf.draw(p.draw("config"), r.load.batches)
	for _, f := range p.faults {
		if f.setup != nil {
			f.setup(&sim)
			r.count(f.name, 0) // the providers count, where there is something to count
		}
	}
	began := time.Now().Add(-time.Second)
	if p.kind == kindClock {
		began = time.Time{} // the broker's times say nothing
	}
	if err := r.past.skip(); err != nil {
		return v, nil, err
	}
	if r.watch != nil {
		ports, err := freePorts(1)
		if err != nil {
			return v, nil, err
		}
		r.admin = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	if err := r.up(ctx, sim); err != nil {
		return v, nil, err
	}
	if err := r.awaitLanes(ctx); err != nil {
		return v, nil, err
	}
	s, err := r.stream(ctx, broker.StreamOutcomes)
	if err != nil {
		return v, nil, err
	}
	outcomes := s.CachedInfo().State.LastSeq
	defer r.watching(ctx)()
	r.disturb(stopping, p)
	r.heal(ctx)
	r.hist.Note("round", "calm", fmt.Sprintf("%d events were acknowledged", len(r.published.sent)))
	if err := r.settle(ctx, began, r.load.settle(p.kind)); err != nil {
		r.hist.Note("check", "settle", err.Error())
		if left, err := r.backlog(ctx); left > 0 || err != nil {
			r.find(chaos.Stuck, "%d messages are not acknowledged (%v)", left, err)
		}
	}
	if ctx.Err() != nil {
		return v, nil, ctx.Err()
	}
	f, err := r.facts(ctx, began, outcomes)
	if err != nil {
		return v, nil, err
	}
	r.close(ctx, true)
	f.Past, f.Made = r.past.made, make(map[string]int)
	if f.Proof, err = r.past.next(); err != nil { // what was made during the close counts too
		return v, nil, err
	}
	for _, line := range f.Proof {
		if line.Event == "made" {
			f.Made[line.Intent]++
		}
	}
	v = chaos.Check(f)
	for _, line := range f.Proof {
		r.past.sum(line)
	}
	lines, _, err := chaos.Crashes(r.logFile("weir"), 0)
	for _, line := range lines {
		r.find(chaos.Crash, "weir: %s", line)
	}
	v.Findings = append(v.Findings, r.found...)
	return v, r.strikes(), err
}

// watching lets the round be watched until the returned func is called.
func (r *rig) watching(ctx context.Context) (end func()) {
	if r.watch == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.watch(ctx, r)
	}()
	return func() {
		cancel()
		<-done
	}
}

// faultNames returns the names of the faults of a group that a kind of broker allows.
func faultNames(faults []fault, group, kind string) (names []string) {
	for _, f := range faults {
		kinds := f.kinds
		if kinds == nil {
			kinds = []string{kindOne, kindCluster, kindClock}
			if group == atAnswer || group == atPublish { // these leave a broker's disk alone
				kinds = append(kinds, kindDisk, kindPower, kindFlip, kindFlip3)
			}
		}
		if f.group == group && f.needs == "" && slices.Contains(kinds, kind) {
			names = append(names, f.name)
		}
	}
	return names
}
