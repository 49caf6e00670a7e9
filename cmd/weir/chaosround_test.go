//go:build chaos && linux

package main

import (
	"bufio"
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

// The limits in weir.yaml, and how fast conversations pass: the longest, ten
// minutes, takes four seconds.
const (
	orationLimit = 5
	callLimit    = 4
	textLimit    = 3
	chaosScale   = 150
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

func (c *lanesConfig) draw(d *rand.Rand) {
	c.batch = []int{1, 3, 5}[d.IntN(3)]
	c.preset = []string{"frugal", "tight"}[d.IntN(2)]
	c.label = fmt.Sprint("Acme ", d.IntN(100))
}

func (r *rig) yaml() string { return filepath.Join(r.dir, "weir.yaml") }

// configure writes weir.yaml. max_call is longer than a call and all that can
// hold its request up.
func (r *rig) configure() error {
	y := fmt.Sprintf(chaosYAML, strings.Join(r.servers(false), `", "`), r.replicas(), r.front.Addr(), callLimit, textLimit,
		orationLimit, r.conf.batch, r.conf.preset, r.conf.label)
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
	r.slack = []int{0, 3}[d.IntN(2)]
	return simConfig{
		Proof: r.proof(),
		Oration: simulator.Config{
			Limit: orationLimit + r.slack, Scale: chaosScale, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
			Headers: []string{simulator.HeadersXRateLimit, simulator.HeadersIETF, simulator.HeadersNone}[d.IntN(3)],
			Latency: 60 * time.Millisecond,
		},
		Anyreach: simulator.AnyreachConfig{
			Limit: callLimit + r.slack, Scale: chaosScale, Seed: seed + 1, Accepted: simulator.Mixed, Detail: simulator.Mixed,
			Columns: simulator.ColumnsSafe, Latency: 60 * time.Millisecond,
		},
	}
}

func (r *rig) proof() string { return filepath.Join(r.dir, "proof.ndjson") }

// sentEvent is one event that is published, and where it was stored.
type sentEvent struct {
	lane, id string
	n        int
	seq      uint64 // of WEIR_EVENTS
	msgID    string // under which it was stored there
}

// eventLog is what was published and acknowledged in a round.
type eventLog struct {
	mu   sync.Mutex
	next int // number of an event of this round
	sent []sentEvent
	old  []sentEvent // of earlier rounds with the same store
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
	for i := first; i < first+n; i++ {
		l := sentEvent{lane: chaosLanes[[]int{0, 0, 0, 0, 1, 1, 1, 2, 2, 2}[i%10]], id: fmt.Sprintf("r%d-%d", r.round, i), n: i}
		seq, err := r.send(ctx, l, l.id+"-"+l.lane)
		if err != nil {
			return // interrupted: it was never acknowledged
		}
		l.seq, l.msgID = seq, l.id+"-"+l.lane
		r.published.add(l)
		if !r.rest(ctx, over/time.Duration(n)) {
			return
		}
	}
}

// send publishes an event until it is acknowledged.
func (r *rig) send(ctx context.Context, l sentEvent, msgID string) (uint64, error) {
	channel := []string{"telephone", "email", "text", "webrtc", "text", "telephone", "text"}[l.n%7]
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json",`+
		`"data":{"id":%d,"phone":"+1415%07d","email":"a%d@example.com","attributes":{"channel":%q}}}`, l.id, l.n, l.n, l.n, channel)
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
		r.hist.Note("fault", "publish-again", fmt.Sprintf("same message id: %v", same))
		for i := range 20 {
			if l, ok := r.published.any(d, false); ok {
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
	for {
		if done, err := r.settled(ctx, since); done && err == nil {
			return nil
		}
		if !r.rest(ctx, 500*time.Millisecond) {
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
func (r *rig) facts(ctx context.Context, since time.Time, offset int64, outcomes uint64) (f chaos.Facts, err error) {
	if f.Intents, err = r.intents(ctx, since); err != nil {
		return f, err
	}
	stream, err := r.stream(ctx, broker.StreamEvents)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return f, err
	}
	for _, l := range r.published.sent {
		f.Events = append(f.Events, chaos.Event{
			Lane: l.lane, ID: l.id, Key: consumer.Key(l.lane, "/crm", l.id), TakesID: l.lane != "acme", Stored: stored(ctx, stream, l),
		})
	}
	if err := r.readProof(&f, offset); err != nil {
		return f, err
	}
	if f.Outcomes, err = r.outcomes(ctx, outcomes); err != nil {
		return f, err
	}
	reports, err := r.report(ctx)
	if err != nil {
		return f, err
	}
	struck := reports[simulator.ProviderOration].Faults
	for _, name := range []string{"refuse_503", "html_502", "reset_early", "item_error", "drop_result"} {
		f.Unmade += 5 * struck[name] // the largest batch
	}
	f.Spans = r.hist.Spans()
	f.Limits = []chaos.Limit{
		{Provider: simulator.ProviderOration, Channel: "telephony", Most: orationLimit},
		{Provider: simulator.ProviderAnyreach, Channel: "telephone", Most: callLimit},
		{Provider: simulator.ProviderAnyreach, Channel: "text", Most: textLimit},
	}
	return f, nil
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

// readProof reads the providers' log; the round's part begins at offset.
func (r *rig) readProof(f *chaos.Facts, offset int64) error {
	file, err := os.Open(r.proof())
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	f.Made, f.Past = make(map[string]int), make(map[string]bool)
	scanner, at := bufio.NewScanner(file), int64(0)
	for scanner.Scan() {
		var line chaos.Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return fmt.Errorf("proof at %d: %w", at, err)
		}
		old := at < offset
		at += int64(len(scanner.Bytes())) + 1
		if !old {
			f.Proof = append(f.Proof, line)
		}
		if line.Event == "made" {
			f.Made[line.Intent]++
			if old {
				f.Past[line.Intent] = true
			}
		}
	}
	return scanner.Err()
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
	var all []chaos.Outcome
	for seq := after + 1; seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			return nil, fmt.Errorf("outcome %d: %w", seq, err)
		}
		var data consumer.OutcomeData
		if err := json.Unmarshal(outcomeData(m), &data); err != nil {
			return nil, fmt.Errorf("outcome %d: %w", seq, err)
		}
		all = append(all, chaos.Outcome{
			Intent: data.Intent, Kind: m.Subject[strings.LastIndex(m.Subject, ".")+1:], Conversation: data.Conversation,
		})
	}
	return all, nil
}

// plan is what a round is.
type plan struct {
	round, events int
	seed          uint64
	kind          string
	faults        []fault
}

// draw is the random numbers of one part of the round.
func (p plan) draw(stream string) *rand.Rand { return chaos.Draws(p.seed, stream, p.round) }

// run runs the round: events under faults, a calm, a check. Once stopping ends,
// nothing more is published or disturbed.
func (r *rig) run(ctx, stopping context.Context, p plan) (v chaos.Verdict, injected map[string]int, err error) {
	sim := r.simulators(p.draw("seed").Uint64(), p.draw("simulators"))
	r.conf.draw(p.draw("config"))
	for _, f := range p.faults {
		if f.setup != nil {
			f.setup(&sim)
		}
	}
	began, offset := time.Now().Add(-time.Second), size(r.proof())
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
	injected = r.disturb(stopping, p)
	r.heal(ctx)
	r.hist.Note("round", "calm", fmt.Sprintf("%d events were acknowledged", len(r.published.sent)))
	if err := r.settle(ctx, began, map[bool]time.Duration{true: 10 * time.Minute, false: 6 * time.Minute}[p.kind == kindCluster]); err != nil {
		r.hist.Note("check", "settle", err.Error())
	}
	if ctx.Err() != nil {
		return v, nil, ctx.Err()
	}
	f, err := r.facts(ctx, began, offset, outcomes)
	if err != nil {
		return v, nil, err
	}
	r.close(ctx, true)
	v = chaos.Check(f)
	lines, _, err := chaos.Crashes(r.logFile("weir"), 0)
	for _, line := range lines {
		r.find(chaos.Crash, "weir: %s", line)
	}
	v.Findings = append(v.Findings, r.found...)
	return v, injected, err
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// disturb publishes the events while the faults strike, each group in turns of
// its own, and returns how often each one did.
func (r *rig) disturb(ctx context.Context, p plan) map[string]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	injected := make(map[string]int)
	wg.Go(func() { r.publish(ctx, p.events, 12*time.Second) })
	groups := make(map[string][]fault)
	for _, f := range p.faults {
		if f.inject == nil {
			injected[f.name] = 1
			continue
		}
		groups[f.group] = append(groups[f.group], f)
	}
	for group, faults := range groups {
		wg.Go(func() {
			d := p.draw("inject " + group)
			for range 2 {
				for _, f := range faults {
					if !r.rest(ctx, between(d, 0, 3*time.Second)) {
						return
					}
					f.inject(ctx, r, d)
					mu.Lock()
					injected[f.name]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return injected
}

// faultNames returns the names of the faults of a group that a kind of broker allows.
func faultNames(faults []fault, group, kind string) (names []string) {
	for _, f := range faults {
		kinds := f.kinds
		if kinds == nil {
			kinds = []string{kindOne, kindCluster}
			if group == atAnswer || group == atPublish { // these leave a broker's disk alone
				kinds = append(kinds, kindDisk, kindPower)
			}
		}
		if f.group == group && f.needs == "" && slices.Contains(kinds, kind) {
			names = append(names, f.name)
		}
	}
	return names
}
