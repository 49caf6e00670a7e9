package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// world is a model of everything around the engine, in virtual time: a broker
// that delivers again, a ledger, an outbox and a provider. Engines come and go
// (see process); the world stays.
type world struct {
	mu sync.Mutex

	events, due *stream
	entries     map[string]stored
	revision    uint64
	outcomes    map[string]event.Event // by id
	order       []string               // of durable acts, as "publish created", "keep dead", "ack" …
	history     []string               // of all acts, with their time; only where a test asks for it
	began       time.Time
	told        bool // history is kept
	letters     map[string]consumer.Letter
	pauses      map[string]string

	made     map[string][]string // intent -> conversations
	live     map[string]time.Time
	highest  int
	posts    []consumer.Batch
	gets     int
	answer   func(w *world, b consumer.Batch) consumer.Answer // nil: all created
	ids      bool                                             // the provider takes our id: c is the intent itself
	visible  map[string]time.Time                             // from when on an id is found, and honoured
	hidden   func(it consumer.Item) time.Duration             // how long a new one is not; nil: not at all
	lists    int
	dueSeq   uint64 // of what Weir puts into the due queue
	slotless map[string]bool
	length   time.Duration // of a call
	limit    int
	gone     bool // GETs fail
	denied   bool // GETs answer that the credentials are refused
	storeErr func(in consumer.Intent) (stored bool, err error)
}

type stored struct {
	intent   consumer.Intent
	revision uint64
}

func newWorld() *world {
	w := &world{
		entries: make(map[string]stored), outcomes: make(map[string]event.Event),
		letters: make(map[string]consumer.Letter), pauses: make(map[string]string), dueSeq: 1000, visible: make(map[string]time.Time), slotless: make(map[string]bool),
		made: make(map[string][]string), live: make(map[string]time.Time),
		length: 20 * time.Second, limit: 3,
	}
	w.events = newStream(w, "EVENTS")
	w.due = newStream(w, "DUE")
	return w
}

// stream is the model of one stream with one consumer.
type stream struct {
	w       *world
	name    string
	msgs    []*record
	changed chan struct{} // closed and replaced when a message may be ready sooner
}

func newStream(w *world, name string) *stream {
	return &stream{w: w, name: name, changed: make(chan struct{})}
}

// stir wakes the fetches that wait. The caller holds w.mu.
func (s *stream) stir() {
	close(s.changed)
	s.changed = make(chan struct{})
}

type record struct {
	seq       uint64
	header    map[string][]string
	data      []byte
	intent    string
	replay    *consumer.Replay
	ready     time.Time
	delivered int
	acked     bool
	published time.Time
}

// ackWait is the broker's: a delivery without a sign of life comes again.
const ackWait = 60 * time.Second

// publish puts an event into the stream.
func (s *stream) publish(header map[string][]string, data []byte) *record {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r := &record{seq: uint64(len(s.msgs) + 1), header: header, data: data, ready: time.Now()}
	s.msgs = append(s.msgs, r)
	s.stir()
	return r
}

// process is one run of an engine; it may be killed, after which nothing that
// it does has an effect.
type process struct {
	w      *world
	engine *consumer.Engine
	cancel context.CancelFunc
	done   chan error

	// ops counts acts with an effect on the world; the process dies at number
	// dieAt, before or after its effect.
	ops     int
	dieAt   int
	dieLate bool
	dead    bool
	fence   error
}

var errKilled = errors.New("killed")

// note enters an act into the history. The caller holds w.mu.
func (w *world) note(format string, args ...any) {
	if w.told {
		w.history = append(w.history, fmt.Sprintf("%9.3fs  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

// act reports whether an act of the process may have its effect, and then
// whether the process still lives to see it. The caller holds w.mu.
func (p *process) act() (effect, seen bool) {
	if p.dead {
		return false, false
	}
	p.ops++
	if p.dieAt == 0 || p.ops < p.dieAt {
		return true, true
	}
	p.dead = true
	return p.dieLate, false
}

type queue struct {
	p *process
	s *stream
}

func (q queue) Fetch(n int, wait time.Duration) ([]consumer.Message, error) {
	deadline := time.Now().Add(wait)
	for {
		q.p.w.mu.Lock()
		var out []consumer.Message
		now, next := time.Now(), deadline
		for _, r := range q.s.msgs {
			switch {
			case r.acked || q.p.dead || len(out) >= n:
			case r.ready.After(now):
				next = earliest(next, r.ready)
			default:
				r.ready = now.Add(ackWait)
				r.delivered++
				out = append(out, &message{p: q.p, s: q.s, r: r})
			}
		}
		changed := q.s.changed
		q.p.w.mu.Unlock()
		if len(out) > 0 || !now.Before(deadline) {
			return out, nil
		}
		select {
		case <-time.After(next.Sub(now)):
		case <-changed:
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

type message struct {
	p *process
	s *stream
	r *record
}

func (m *message) Header() map[string][]string { return m.r.header }
func (m *message) Data() []byte                { return m.r.data }
func (m *message) Origin() consumer.Origin {
	return consumer.Origin{
		Stream: m.s.name, StreamAge: time.Unix(1, 0), Sequence: m.r.seq, Published: m.r.published, Intent: m.r.intent, Replay: m.r.replay,
	}
}

func (m *message) Ack(context.Context) error {
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	effect, seen := m.p.act()
	if effect {
		m.r.acked = true
		m.p.w.order = append(m.p.w.order, "ack")
		m.p.w.note("ack %s %d", m.s.name, m.r.seq)
	}
	return killed(seen)
}

func (m *message) Nak(delay time.Duration) error {
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	if m.p.dead {
		return errKilled
	}
	m.r.ready = time.Now().Add(delay)
	m.p.w.note("nak %s %d for %v", m.s.name, m.r.seq, delay)
	m.s.stir()
	return nil
}

func (m *message) Progress() error {
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	if !m.p.dead && !m.r.acked {
		m.r.ready = time.Now().Add(ackWait)
	}
	return nil
}

func killed(seen bool) error {
	if seen {
		return nil
	}
	return errKilled
}

func (p *process) Load(_ context.Context, lane, key string) (consumer.Intent, uint64, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return consumer.Intent{}, 0, errKilled
	}
	s, ok := p.w.entries[lane+"."+key]
	if !ok {
		return consumer.Intent{Lane: lane, Key: key}, 0, nil
	}
	return s.intent, s.revision, nil
}

func (p *process) Store(_ context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	key := in.Lane + "." + in.Key
	effect, seen := p.act()
	if effect && p.w.entries[key].revision != revision {
		return 0, consumer.ErrConflict
	}
	var err error
	if p.w.storeErr != nil && effect {
		effect, err = p.w.storeErr(in)
	}
	if effect {
		p.w.revision++
		p.w.entries[key] = stored{in, p.w.revision}
		p.w.order = append(p.w.order, "store "+string(in.State))
		p.w.note("store %s: %s, n %d, claim %d: %s (seen: %v, %v)", in.ID, in.State, in.N, in.Claims, in.Reason, seen, err)
	}
	return p.w.revision, errors.Join(err, killed(seen))
}

func (p *process) Scan(_ context.Context, lane string, _ time.Time) iter.Seq2[consumer.Entry, error] {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	var entries []consumer.Entry
	for _, key := range slices.Sorted(maps.Keys(p.w.entries)) {
		if s := p.w.entries[key]; s.intent.Lane == lane {
			entries = append(entries, consumer.Entry{Intent: s.intent, Revision: s.revision})
		}
	}
	return func(yield func(consumer.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (p *process) Publish(_ context.Context, _, kind string, ev event.Event) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	effect, seen := p.act()
	if effect {
		p.w.outcomes[ev.ID()] = ev
		p.w.order = append(p.w.order, "publish "+kind)
		p.w.note("publish %s of %s (seen: %v)", kind, ev.Subject(), seen)
	}
	return killed(seen)
}

func (p *process) Keep(_ context.Context, l consumer.Letter) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	effect, seen := p.act()
	if effect {
		p.w.letters[l.Intent] = l
		p.w.order = append(p.w.order, "keep "+string(l.State))
		p.w.note("keep %s of %s (seen: %v)", l.State, l.ID, seen)
	}
	return killed(seen)
}

func (p *process) Discard(_ context.Context, _, intent string) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	effect, seen := p.act()
	if effect {
		delete(p.w.letters, intent)
	}
	return killed(seen)
}

func (p *process) Postpone(_ context.Context, l consumer.Postponed) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	effect, seen := p.act()
	if effect {
		p.w.order = append(p.w.order, "postpone")
		p.w.note("postpone %s until %v (seen: %v)", l.Intent, l.At, seen)
		p.w.due.msgs = slices.DeleteFunc(p.w.due.msgs, func(r *record) bool {
			return r.intent == l.Intent && r.replay == nil && r.ready.After(time.Now()) && r.delivered == 0
		})
		p.w.dueSeq++
		p.w.due.msgs = append(p.w.due.msgs, &record{
			seq: p.w.dueSeq, header: l.Header, data: l.Data, intent: l.Intent, ready: l.At,
		})
		p.w.due.stir()
	}
	return killed(seen)
}

func (p *process) Kept(_ context.Context, _, intent string) (bool, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return false, errKilled
	}
	return slices.ContainsFunc(p.w.due.msgs, func(r *record) bool { return r.intent == intent && !r.acked }), nil
}

func (p *process) Restore(_ context.Context, _, intent string, sequence uint64) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	effect, seen := p.act()
	i := slices.IndexFunc(p.w.events.msgs, func(r *record) bool { return r.seq == sequence })
	if i < 0 {
		return consumer.ErrGone
	}
	if effect {
		p.w.order = append(p.w.order, "restore")
		r := p.w.events.msgs[i]
		p.w.dueSeq++
		p.w.due.msgs = append(p.w.due.msgs, &record{seq: p.w.dueSeq, header: r.header, data: r.data, intent: intent, ready: time.Now()})
		p.w.due.stir()
	}
	return killed(seen)
}

func (p *process) Pause(_ context.Context, lane, _, reason string) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.pauses[lane] = reason
	return nil
}

func (p *process) Prepare(request map[string]any) (consumer.Request, error) {
	to, _ := request["to"].(string)
	if to == "" {
		return consumer.Request{}, &schema.Refusal{Class: schema.ClassRequest, Field: "to", Reason: "no number"}
	}
	channel, _ := request["channel"].(string)
	return consumer.Request{Pair: to, Channel: channel, Body: to}, nil
}

func (p *process) Create(_ context.Context, b consumer.Batch) consumer.Answer {
	began := time.Now()
	if err := b.Permit(); err != nil {
		return all(b, consumer.VerdictUnsent, err.Error())
	}
	time.Sleep(100 * time.Millisecond)
	p.w.mu.Lock()
	effect, _ := p.act()
	var a consumer.Answer
	if effect {
		p.w.posts = append(p.w.posts, b)
		answer := p.w.answer
		if answer == nil {
			answer = (*world).accept
		}
		a = answer(p.w, b)
		for i, it := range b.Items {
			p.w.note("post %s, attempt %d: %v (status %d), made so far %v", it.Intent, it.Attempt, a.Results[i].Verdict, a.Status, p.w.made[it.Intent])
		}
	} else {
		a = all(b, consumer.VerdictDoubt, "dead process")
	}
	p.w.mu.Unlock()
	if a.Status == -1 { // hangs until the time-out
		time.Sleep(15 * time.Second)
		a.Status = 0
	}
	a.Began, a.Done = began, time.Now()
	return a
}

// accept creates each item's conversation while slots are free, and answers 429
// for a request that does not fit.
func (w *world) accept(b consumer.Batch) consumer.Answer {
	if w.alive()+len(b.Items) > w.limit && !free[b.Items[0].Request.Channel] {
		a := all(b, consumer.VerdictFull, "full")
		a.Status, a.Full = 429, true
		return a
	}
	a := consumer.Answer{Status: 200}
	for _, it := range b.Items {
		a.Results = append(a.Results, consumer.Result{Verdict: consumer.VerdictCreated, Conversation: w.create(it)})
	}
	return a
}

// create makes one conversation, whatever is said of it.
func (w *world) create(it consumer.Item) string {
	if w.ids {
		if until, ok := w.visible[it.Intent]; ok && !until.After(time.Now()) {
			return it.Intent // returned unchanged
		}
		w.visible[it.Intent] = time.Now()
		if w.hidden != nil {
			w.visible[it.Intent] = time.Now().Add(w.hidden(it))
		}
		w.made[it.Intent] = append(w.made[it.Intent], it.Intent)
		w.occupy(it.Intent, it)
		return it.Intent
	}
	id := fmt.Sprintf("c-%s-%d", it.Intent, len(w.made[it.Intent])+1)
	w.made[it.Intent] = append(w.made[it.Intent], id)
	w.occupy(id, it)
	return id
}

// free are the channels on which a conversation holds no slot.
var free = map[string]bool{"email": true, "text": true}

func (w *world) occupy(id string, it consumer.Item) {
	w.slotless[id] = free[it.Request.Channel]
	w.live[id] = time.Now().Add(w.length)
	w.highest = max(w.highest, w.alive())
}

func (w *world) alive() int {
	n := 0
	for id, until := range w.live {
		if until.After(time.Now()) && !w.slotless[id] {
			n++
		}
	}
	return n
}

func all(b consumer.Batch, v consumer.Verdict, reason string) consumer.Answer {
	var a consumer.Answer
	for range b.Items {
		a.Results = append(a.Results, consumer.Result{Verdict: v, Reason: reason})
	}
	return a
}

// always answers every request so, and creates nothing.
func always(v consumer.Verdict, reason string, status int) func(*world, consumer.Batch) consumer.Answer {
	return func(_ *world, b consumer.Batch) consumer.Answer {
		a := all(b, v, reason)
		a.Status = status
		return a
	}
}

func (p *process) Conversation(_ context.Context, id string) (consumer.Conversation, error) {
	time.Sleep(50 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.gets++
	until, ok := p.w.live[id]
	switch {
	case p.w.gone || p.dead:
		return consumer.Conversation{}, errors.New("503")
	case p.w.denied:
		return consumer.Conversation{}, consumer.ErrUnauthorized
	case !ok, p.w.visible[id].After(time.Now()):
		return consumer.Conversation{}, consumer.ErrNotFound
	}
	return consumer.Conversation{ID: id, Ended: !until.After(time.Now()), Result: "completed", Duration: p.w.length}, nil
}

// lister is a process whose provider has a list.
type lister struct{ *process }

func (p lister) Conversations(context.Context, time.Time) ([]consumer.Conversation, error) {
	time.Sleep(50 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.lists++
	if p.w.gone || p.dead {
		return nil, errors.New("503")
	}
	var out []consumer.Conversation
	for id, until := range p.w.live {
		if !p.w.visible[id].After(time.Now()) {
			out = append(out, consumer.Conversation{ID: id, Ended: !until.After(time.Now())})
		}
	}
	return out, nil
}

// start runs an engine over the world, with the given lanes (name "l" if none
// are given) sharing one account.
func (w *world) start(t *testing.T, p *process, edit func(*consumer.Config)) *process {
	t.Helper()
	p.w = w
	routes, err := schema.CompileRoutes([]schema.RouteSource{{Type: "lead.created", Request: map[string]any{"to": "${ data.phone }"}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := consumer.Config{
		Ledger: p, Outbox: p, Switch: p, Catalog: schema.NewCatalog(),
		Fence: func() (err error) { w.do(func() { err = p.fence }); return err },
		Accounts: []consumer.AccountConfig{{
			Name: "a", Provider: p,
			Limiter: ratelimiter.Config{Limit: w.limit, Rand: func() float64 { return .5 }},
			MaxCall: 10 * time.Minute, MeanCall: 20 * time.Second,
			Lanes: []consumer.LaneConfig{{
				Name: "l", Batch: 5, Routes: routes, Events: queue{p, w.events}, Due: queue{p, w.due},
			}},
		}},
	}
	if edit != nil {
		edit(&cfg)
	}
	p.engine, err = consumer.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.cancel, p.done = cancel, make(chan error, 1)
	go func() { p.done <- p.engine.Run(ctx) }()
	return p
}

// stop ends the process and waits for it.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	if err := <-p.done; err != nil {
		t.Errorf("run: %v", err)
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld()) })
}

// lead publishes a lead with this id and returns its intent's key.
func (w *world) lead(id string) string {
	return w.leadWith(id, map[string]any{"id": id, "phone": "+1415555" + id})
}

func (w *world) leadWith(id string, data map[string]any) string {
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/crm", "type": "lead.created",
		"datacontenttype": "application/json", "data": data,
	})
	if err != nil {
		panic(err)
	}
	w.events.publish(map[string][]string{"Content-Type": {"application/cloudevents+json"}}, body)
	return consumer.Key("l", "/crm", id)
}

// state returns the ledger's word on an intent of lane l.
func (w *world) state(key string) consumer.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entries["l."+key].intent.State
}

// kinds counts the outcomes of each kind.
func (w *world) kinds() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := make(map[string]int)
	for _, ev := range w.outcomes {
		counts[ev.Type()[len(consumer.OutcomePrefix):]]++
	}
	return counts
}

// doubled returns the intents with more than one conversation.
func (w *world) doubled() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for intent, ids := range w.made {
		if len(ids) > 1 {
			out = append(out, intent)
		}
	}
	return out
}

// unacked counts the messages that are not done.
func (w *world) unacked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range []*stream{w.events, w.due} {
		for _, r := range s.msgs {
			if !r.acked {
				n++
			}
		}
	}
	return n
}

// digest is that of the event in the n-th message.
func (w *world) digest(t *testing.T, n int) string {
	t.Helper()
	ev, err := schema.Decode(w.events.msgs[n].header, w.events.msgs[n].data, 0)
	if err != nil {
		t.Fatal(err)
	}
	return schema.Digest(ev)
}

// do runs f while nothing else touches the world.
func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// posted counts the create requests so far.
func (w *world) posted() (n int) {
	w.do(func() { n = len(w.posts) })
	return n
}
