package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
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

	events, due  *stream
	entries      map[string]stored
	revision     uint64
	outcomes     map[string]event.Event // by id
	order        []string               // of durable acts, as "publish created", "keep dead", "ack" …
	history      []string               // of all acts, with their time; only where a test asks for it
	began        time.Time
	keepsHistory bool // else nobody wants it
	acts         int  // with an effect on the world
	letters      map[string]consumer.Letter
	pauses       map[string]string

	newest     *process            // that was started
	made       map[string][]string // intent -> conversations
	live       map[string]time.Time
	asked      map[string]consumer.Item // what a conversation was made for
	hush       map[string]bool          // conversations that do not echo what they were made for
	highest    int
	posts      []consumer.Batch
	postedAt   []time.Time // each one's answer
	gets       int
	answer     func(w *world, b consumer.Batch) consumer.Answer // nil: all created
	ids        bool                                             // the provider takes our id: c is the intent itself
	visible    map[string]time.Time                             // from when on an id is found, and honoured
	hidden     func(it consumer.Item) time.Duration             // how long a new one is not; nil: not at all
	lists      int
	dueSeq     uint64 // of what Weir puts into the due queue
	slotless   map[string]bool
	length     time.Duration        // of a call
	lengths    func() time.Duration // of each call, instead
	lasts      map[string]time.Duration
	limit      int
	gone       bool // GETs fail
	mute       bool // no outcome can be published
	slowAnswer bool // to GETs: they take their time after they were looked up, not before
	denied     bool // GETs answer that the credentials are refused
	storeErr   func(in consumer.Intent) (stored bool, err error)
	slowStore  time.Duration // from the write to its answer

	hours  *hours                        // when people may be contacted; nil: at any time
	result func(id string) string        // of a conversation; nil: completed
	listed func(intent string) time.Time // from when on its person must not be contacted; zero: never; nil: nobody
	lives  map[string]span               // when an intent's event may be sent; none: at any time
	chance *chance                       // nil: nothing goes wrong by itself
	books  *books                        // nil: nobody looks at each step
}

type stored struct {
	intent   consumer.Intent
	revision uint64
}

func newWorld() *world {
	w := &world{
		entries: make(map[string]stored), outcomes: make(map[string]event.Event),
		letters: make(map[string]consumer.Letter), pauses: make(map[string]string), dueSeq: 1000, visible: make(map[string]time.Time), slotless: make(map[string]bool),
		made: make(map[string][]string), live: make(map[string]time.Time), asked: make(map[string]consumer.Item), lasts: make(map[string]time.Duration), hush: make(map[string]bool),
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
	scheduled bool     // put off by an owner
	holder    *process // who works on it
	key       string   // of its intent, where a storm published it
	published time.Time
	high      bool // of high priority
	redial    bool // an engine put it there
}

// ackWait is the broker's: a delivery without a sign of life comes again.
const ackWait = 60 * time.Second

// publish puts an event into the stream.
func (s *stream) publish(header map[string][]string, data []byte) *record {
	return s.put(&record{header: header, data: data})
}

// put puts a record into the stream.
func (s *stream) put(r *record) *record {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	r.seq, r.ready = uint64(len(s.msgs)+1), time.Now()
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
	early  func() // before the engine runs

	// ops counts acts with an effect on the world; the process dies at number
	// dieAt, before or after its effect.
	ops     int
	dieAt   int
	dieLate bool
	dead    bool
	fence   error
	dry     bool      // its file says send: false
	stands  time.Time // until when it stands still (SIGSTOP)
	stopAt  int       // it stands still after this act, for stopFor
	stopFor time.Duration
	runs    bool      // its engine was started
	lost    bool      // another one has its lease
	renewed time.Time // when the newest renewal of its lease that succeeded was sent
}

var errKilled = errors.New("killed")

// note enters an act into the history. The caller holds w.mu.
func (w *world) note(format string, args ...any) {
	if w.keepsHistory {
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
	p.w.acts++
	if p.ops == p.stopAt && !p.w.chance.calm {
		p.w.meet(standsStill)
		p.stands = time.Now().Add(p.stopFor)
	}
	if p.dieAt == 0 || p.ops < p.dieAt {
		return true, true
	}
	p.dead = true
	return p.dieLate, false
}

// stand returns when the process does not stand still any more.
func (p *process) stand() {
	for {
		p.w.mu.Lock()
		left := time.Until(p.stands)
		p.w.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(left)
	}
}

// write makes one change of the broker's: apply is called under w.mu if the change
// has its effect, at once or after the caller gave up. Its error is the broker's
// answer.
func (p *process) write(what string, apply func(seen bool) error) error {
	p.stand()
	defer p.stand()
	if err := p.w.reach(5 * time.Second); err != nil {
		p.w.storeLate(p, what, apply)
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	effect, seen := p.act()
	if effect && p.w.strikes(writeLost) {
		return errors.Join(errSilent, killed(seen))
	}
	var err error
	if effect {
		err = apply(seen)
	}
	if effect && p.w.strikes(answerOfWriteLost) {
		err = errSilent
	}
	return errors.Join(err, killed(seen))
}

type queue struct {
	p *process
	s *stream
}

func (q queue) Fetch(n int, wait time.Duration) ([]consumer.Message, error) {
	return q.fetch(context.Background(), n, wait, false)
}

func (q queue) Await(ctx context.Context, wait time.Duration) (consumer.Message, error) {
	return single(q.fetch(ctx, 1, wait, false))
}

// highQueue is the queue of a stream's events of high priority.
type highQueue struct{ queue }

func (q highQueue) Fetch(n int, wait time.Duration) ([]consumer.Message, error) {
	return q.fetch(context.Background(), n, wait, true)
}

func (q highQueue) Await(ctx context.Context, wait time.Duration) (consumer.Message, error) {
	return single(q.fetch(ctx, 1, wait, true))
}

func single(msgs []consumer.Message, err error) (consumer.Message, error) {
	if len(msgs) == 0 {
		return nil, err
	}
	return msgs[0], err
}

func (q queue) fetch(ctx context.Context, n int, wait time.Duration, high bool) ([]consumer.Message, error) {
	q.p.stand()
	if err := q.p.w.reach(2 * time.Second); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for {
		q.p.w.mu.Lock()
		out, next := q.ready(n, deadline, high)
		changed := q.s.changed
		q.p.w.mu.Unlock()
		if len(out) > 0 || !time.Now().Before(deadline) {
			q.p.stand()
			return out, nil
		}
		select {
		case <-time.After(time.Until(next)):
		case <-changed:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// ready takes up to n messages of one priority that may be delivered now, and returns when the
// next one may be, at the latest by the deadline. The caller holds w.mu.
func (q queue) ready(n int, deadline time.Time, high bool) (out []consumer.Message, next time.Time) {
	now, next := time.Now(), deadline
	for _, r := range q.s.msgs {
		switch {
		case r.acked || r.high != high || q.p.dead || len(out) >= n:
		case r.ready.After(now) && !q.p.w.tooSoon(r):
			next = earliest(next, r.ready)
		default:
			r.ready, r.holder = now.Add(ackWait), q.p
			r.delivered++
			out = append(out, &message{p: q.p, s: q.s, r: r})
		}
	}
	q.p.w.books.hold(q.p)
	return out, next
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
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	return consumer.Origin{
		Stream: m.s.name, StreamAge: time.Unix(1, 0), Sequence: m.r.seq, Published: m.r.published, High: m.r.high, Intent: m.r.intent, Replay: m.r.replay,
	}
}

func (m *message) Ack(context.Context) error {
	w := m.p.w
	return m.p.write("ack", func(bool) error {
		w.books.ack(m.r)
		w.order = append(w.order, "ack")
		w.note("ack %s %d", m.s.name, m.r.seq)
		m.r.acked, m.r.holder = true, nil
		if w.strikes(ackForgotten) {
			m.r.acked, m.r.delivered, m.r.ready = false, 0, time.Now().Add(w.chance.upTo(2*time.Second))
			m.s.stir()
		}
		return nil
	})
}

func (m *message) Nak(delay time.Duration) error {
	m.p.stand()
	w := m.p.w
	if err := w.reach(time.Second); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.p.dead {
		return errKilled
	}
	w.note("nak %s %d for %v", m.s.name, m.r.seq, delay)
	m.r.holder = nil
	switch {
	case w.strikes(nakLost):
		return nil
	case w.strikes(nakForgotten):
		m.r.ready = time.Now()
	case w.strikes(nakLate):
		m.r.ready = time.Now().Add(delay + w.chance.upTo(time.Minute))
	default:
		m.r.ready = time.Now().Add(delay)
	}
	m.s.stir()
	return nil
}

func (m *message) Progress() error {
	m.p.stand()
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	if !m.p.dead && !m.r.acked && !m.p.w.strikes(beatLost) {
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
	p.stand()
	defer p.stand()
	if err := p.w.reach(5 * time.Second); err != nil {
		return consumer.Intent{}, 0, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return consumer.Intent{}, 0, errKilled
	}
	if p.w.strikes(readFailed) {
		return consumer.Intent{}, 0, errSilent
	}
	s, ok := p.w.entries[lane+"."+key]
	if !ok {
		return consumer.Intent{Lane: lane, Key: key}, 0, nil
	}
	return s.intent, s.revision, nil
}

func (p *process) Store(_ context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	p.sorted()
	var slow time.Duration
	p.w.do(func() { slow = p.w.slowStore })
	defer time.Sleep(slow) // without the lock
	key, stores := in.Lane+"."+in.Key, uint64(0)
	err := p.write("store", func(seen bool) error {
		if p.w.entries[key].revision != revision {
			return consumer.ErrConflict
		}
		var err error
		if p.w.storeErr != nil {
			var effect bool
			if effect, err = p.w.storeErr(in); !effect {
				return err
			}
		}
		p.w.books.store(p, p.w.entries[key].intent, in)
		p.w.revision++
		if seen { // else nobody waits for it, or not any more
			stores = p.w.revision
		}
		p.w.entries[key] = stored{in, p.w.revision}
		p.w.order = append(p.w.order, "store "+string(in.State))
		p.w.note("store %s: %s, n %d, claim %d: %s (seen: %v, %v)", in.ID, in.State, in.N, in.Claims, in.Reason, seen, err)
		return err
	})
	return stores, err
}

func (p *process) Scan(_ context.Context, lane string, _ time.Time) iter.Seq2[consumer.Entry, error] {
	p.stand()
	err := p.w.reach(5 * time.Second)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.strikes(scanFailed) {
		err = errSilent
	}
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
		if err != nil {
			yield(consumer.Entry{}, err)
		}
	}
}

func (p *process) Publish(_ context.Context, _, kind string, ev event.Event) error {
	return p.write("publish", func(seen bool) error {
		if p.w.mute {
			return errors.New("the broker takes no outcomes")
		}
		p.w.outcomes[ev.ID()] = ev
		p.w.books.publish(kind, ev)
		p.w.order = append(p.w.order, "publish "+kind)
		p.w.note("publish %s of %s (seen: %v)", kind, ev.Subject(), seen)
		return nil
	})
}

func (p *process) Keep(_ context.Context, l consumer.Letter) error {
	return p.write("keep", func(seen bool) error {
		p.w.letters[l.Intent] = l
		p.w.order = append(p.w.order, "keep "+string(l.State))
		p.w.note("keep %s of %s (seen: %v)", l.State, l.ID, seen)
		return nil
	})
}

func (p *process) Discard(_ context.Context, _, intent string) error {
	return p.write("discard", func(bool) error {
		delete(p.w.letters, intent)
		return nil
	})
}

func (p *process) Postpone(_ context.Context, l consumer.Postponed) error {
	return p.write("postpone", func(seen bool) error {
		p.w.order = append(p.w.order, "postpone")
		p.w.note("postpone %s until %v (seen: %v)", l.Intent, l.At, seen)
		p.w.due.msgs = slices.DeleteFunc(p.w.due.msgs, func(r *record) bool {
			return r.intent == l.Intent && r.scheduled && r.ready.After(time.Now()) && r.delivered == 0
		})
		p.w.addDue(&record{header: l.Header, data: l.Data, intent: l.Intent, ready: l.At, published: l.At, replay: l.Replay, scheduled: true})
		return nil
	})
}

// addDue puts a message of Weir's own into the due queue. The caller holds mu.
func (w *world) addDue(r *record) {
	w.dueSeq++
	r.seq, r.key, r.published = w.dueSeq, r.intent, r.ready
	w.due.msgs = append(w.due.msgs, r)
	w.due.stir()
}

func (p *process) Kept(_ context.Context, _, intent string) (bool, error) {
	p.stand()
	if err := p.w.reach(5 * time.Second); err != nil {
		return false, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return false, errKilled
	}
	return p.w.stillDue(intent), nil
}

// stillDue reports whether a message of Weir's own stands for an intent. The caller
// holds mu.
func (w *world) stillDue(intent string) bool {
	return slices.ContainsFunc(w.due.msgs, func(r *record) bool { return r.intent == intent && !r.acked })
}

func (p *process) Restore(_ context.Context, _, intent string, sequence uint64) error {
	return p.write("restore", func(bool) error {
		i := slices.IndexFunc(p.w.events.msgs, func(r *record) bool { return r.seq == sequence })
		if i < 0 {
			return consumer.ErrGone
		}
		p.w.order = append(p.w.order, "restore")
		p.w.note("restore %s", intent)
		r := p.w.events.msgs[i]
		p.w.addDue(&record{header: r.header, data: r.data, intent: intent, ready: time.Now()})
		return nil
	})
}

func (p *process) Event(_ context.Context, _ string, sequence uint64) (map[string][]string, []byte, error) {
	p.stand()
	if err := p.w.reach(5 * time.Second); err != nil {
		return nil, nil, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return nil, nil, errKilled
	}
	i := slices.IndexFunc(p.w.events.msgs, func(r *record) bool { return r.seq == sequence })
	if i < 0 {
		return nil, nil, consumer.ErrGone
	}
	return p.w.events.msgs[i].header, p.w.events.msgs[i].data, nil
}

func (p *process) Append(_ context.Context, _, id string, header map[string][]string, data []byte) error {
	return p.write("append", func(seen bool) error {
		p.w.order = append(p.w.order, "append")
		p.w.note("append %s (seen: %v)", id, seen)
		last := p.w.events.msgs[len(p.w.events.msgs)-1].seq
		p.w.events.msgs = append(p.w.events.msgs, &record{
			seq: last + 1, header: header, data: data, ready: time.Now(), published: time.Now(), key: id[:strings.LastIndexByte(id, '.')], redial: true,
		})
		p.w.events.stir()
		return nil
	})
}

func (p *process) Pause(_ context.Context, lane, _, reason string) error {
	return p.write("pause", func(bool) error {
		p.w.pauses[lane] = reason
		p.w.note("pause: %s", reason)
		return nil
	})
}

func (p *process) Prepare(request map[string]any) (consumer.Request, error) {
	to, _ := request["to"].(string)
	if to == "" {
		return consumer.Request{}, &schema.Refusal{Class: schema.ClassRequest, Field: "to", Reason: "no number"}
	}
	channel, _ := request["channel"].(string)
	return consumer.Request{Pair: to, Channel: channel, To: consumer.Recipient{Channel: channel, Number: to, Field: "to"}, Body: to}, nil
}

func (p *process) Create(_ context.Context, b consumer.Batch) consumer.Answer {
	p.sorted()
	p.stand()
	began := time.Now()
	if err := b.Permit(); err != nil {
		return all(b, consumer.VerdictUnsent, err.Error())
	}
	p.w.books.post(p, b)
	time.Sleep(100*time.Millisecond + p.w.slow())
	p.w.mu.Lock()
	effect, _ := p.act()
	var a consumer.Answer
	if effect || p.w.strikes(orphanRequest) {
		p.w.posts, p.w.postedAt = append(p.w.posts, b), append(p.w.postedAt, time.Now())
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
	switch {
	case a.Status == -1: // hangs until the time-out
		time.Sleep(15 * time.Second)
		a.Status = 0
	case a.Status == -2:
		panic("the client has a fault")
	}
	if p.stand(); time.Since(began) > 15*time.Second && a.Status != 0 {
		p.w.do(func() {
			if p.w.strikes(lateAnswer) {
				a = all(b, consumer.VerdictDoubt, "the answer came too late")
			}
		})
	}
	a.Began, a.Done = began, time.Now()
	return a
}

// accept creates each item's conversation while slots are free, and answers 429
// for a request that does not fit.
func (w *world) accept(b consumer.Batch) consumer.Answer {
	if w.alive()+len(b.Items) > w.grants() && !free[b.Items[0].Request.Channel] {
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
	w.asked[id] = it
	w.lasts[id] = w.callLength()
	w.live[id] = time.Now().Add(w.lasts[id])
	w.highest = max(w.highest, w.alive())
	w.books.create(it)
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
	p.sorted()
	p.stand()
	defer p.stand()
	before, after := 50*time.Millisecond, time.Duration(0)
	p.w.do(func() {
		if p.w.slowAnswer {
			before, after = after, before
		}
	})
	time.Sleep(before)
	defer time.Sleep(after) // without the lock
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.gets++
	until, ok := p.w.live[id]
	if c, err, struck := p.w.badLook(id); struck {
		return c, err
	}
	switch {
	case p.w.gone || p.dead:
		return consumer.Conversation{}, errors.New("503")
	case p.w.denied:
		return consumer.Conversation{}, consumer.ErrUnauthorized
	case !ok, p.w.visible[id].After(time.Now()):
		return consumer.Conversation{}, consumer.ErrNotFound
	}
	conv := consumer.Conversation{ID: id, Ended: !until.After(time.Now()), Result: "completed", Duration: p.w.lasts[id]}
	if p.w.result != nil {
		conv.Result = p.w.result(id)
	}
	if it := p.w.asked[id]; !p.w.hush[id] {
		conv.Intent, conv.Attempt, conv.Pair = it.Intent, it.Attempt, it.Request.Pair
	}
	return conv, nil
}

// sorted holds the orders of the engine's slots against the slots.
func (p *process) sorted() {
	if err := p.engine.Sorted(); err != nil {
		panic(err)
	}
}

// lister is a process whose provider has a list.
type lister struct{ *process }

func (p lister) Conversations(context.Context, time.Time) ([]consumer.Conversation, error) {
	p.sorted()
	time.Sleep(50 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.lists++
	if p.w.gone || p.dead {
		return nil, errors.New("503")
	}
	var out []consumer.Conversation
	if p.w.strikes(listFails) {
		return nil, errSilent
	}
	for id, until := range p.w.live {
		if !p.w.visible[id].After(time.Now()) && !p.w.strikes(listHides) {
			out = append(out, consumer.Conversation{ID: id, Ended: !until.After(time.Now())})
		}
	}
	return out, nil
}

// catalog is one for all engines: it takes longer to compile than a small world
// to play.
var catalog = sync.OnceValue(schema.NewCatalog)

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
		Ledger: p, Outbox: p, Stream: p, Switch: p, Catalog: catalog(),
		Fence: func() (err error) { w.do(func() { err = p.fence }); return err },
		Accounts: []consumer.AccountConfig{{
			Name: "a", Provider: p,
			Limiter: ratelimiter.Config{Limit: w.limit, Rand: func() float64 { return .5 }},
			MaxCall: 10 * time.Minute, MeanCall: 20 * time.Second,
			Lanes: []consumer.LaneConfig{{
				Name: "l", Batch: 5, Routes: routes,
				High: highQueue{queue{p, w.events}}, Events: queue{p, w.events}, Due: queue{p, w.due},
			}},
		}},
	}
	if w.hours != nil {
		cfg.Accounts[0].Lanes[0].Contact = w.hours
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
	if p.early != nil {
		p.early()
	}
	go func() { p.done <- p.engine.Run(ctx) }()
	w.do(func() { w.newest = p })
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

// urgent is lead for a lead of high priority.
func (w *world) urgent(id string) string {
	return w.leadOf(id, map[string]any{"id": id, "phone": "+1415556" + id}, true)
}

func (w *world) leadWith(id string, data map[string]any) string { return w.leadOf(id, data, false) }

func (w *world) leadOf(id string, data map[string]any, high bool) string {
	return w.leadUntil(id, data, high, nil)
}

// leadUntil is leadOf with more attributes.
func (w *world) leadUntil(id string, data map[string]any, high bool, more map[string]any) string {
	event := map[string]any{
		"specversion": "1.0", "id": id, "source": "/crm", "type": "lead.created",
		"datacontenttype": "application/json", "data": data,
	}
	maps.Copy(event, more)
	body, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	w.events.put(&record{header: map[string][]string{"Content-Type": {"application/cloudevents+json"}}, data: body, high: high})
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
