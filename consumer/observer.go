package consumer

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// Observer hears what the engine has done, for logs, metrics and traces. It is
// called by the goroutine that did it, with no lock held: it must return at once,
// and hand on what takes time. It may be called concurrently, and changes nothing
// of what it gets. An observer that panics is logged, and its record lost.
//
// An answer is told before what each of its items made of it is written down, and
// that before the item's message is acknowledged. What is told has happened; what
// has happened need not be told: a process that dies, or a write whose fate the
// broker does not tell, leaves no record. The ledger is the truth, and this is not.
type Observer interface {
	// Answered hears of each create request that was begun, once.
	Answered(Answered)
	// Attempted hears of each item of such a request, when what its verdict means
	// was written down, or could not be.
	Attempted(Attempted)
	// Turned hears of each change of an intent that this process wrote, those of
	// attempts among them; and of a wait of which nothing is written (From is To).
	Turned(Turned)
}

// Subject is the event that a record is about, in its lane. EventID, EventSource and
// EventType are the publisher's words, not masked.
type Subject struct {
	Lane, Account, Provider         string
	Intent                          string
	EventSource, EventID, EventType string
	Channel                         string    // of the newest claim; empty: there is one count for all
	Born                            time.Time // Intent.Born, by the broker's clock; zero: not known
	Trace                           string    // Intent.Trace
}

// Answered is one create request and its answer.
type Answered struct {
	Lane, Account, Provider, Channel string

	Began time.Time // before a connection was asked for
	Sent  time.Time // when its first byte went out; zero: none did
	Done  time.Time // when the answer was complete, or given up

	Status  int // of HTTP; 0 if none was read
	Items   []Sent
	Refused ratelimiter.Refusal // whether it said that there is no slot, and whether that is explained
	Barred  bool                // the engine itself forbade the first byte: no fault of the provider's
	Stop    string              // Answer.Stop
}

// Sent is one item of a request.
type Sent struct {
	Subject
	Claim   int // its weir_attempt
	Verdict Verdict
}

// Attempted is one item of a request, and what became of it.
type Attempted struct {
	Subject
	Answered *Answered // shared with the other items
	Index    int       // among them

	Claim    int    // its weir_attempt
	By       string // the person who ordered it; empty: nobody
	Fetched  time.Time
	Claimed  time.Time
	Queued   time.Duration // from Born to the request's first byte, by the broker's clock; 0 if not known
	Waits    []Waited      // since Born, or since the claim before this one, in their order
	Verdict  Verdict
	Reason   string // the provider's words, masked
	Doubtful int    // claims that ended in doubt, with this one

	Conversation string    // VerdictCreated: the provider's id
	State        State     // after it; Started: it could not be written down, and will be a doubt
	Cause        string    // of Waiting: why. Of Dead: the class of the dead letter
	Until        time.Time // of Waiting: not before then; zero: when there is a slot
}

// Waited is one wait of an event. The cause is one of those in Intent.Waits (full,
// unsent, unauthorized, stopped, paused, ledger, window, notbefore), or CauseQueue: it
// could be taken up, and was not yet, because its lane had no slot, was paused, or had
// others before it.
type Waited struct {
	Cause string
	Began time.Time
	For   time.Duration
}

// Turned is one change of an intent, or a wait of which nothing is written.
type Turned struct {
	Subject
	Kind     StepKind // of a wait of which nothing is written: StepDefer
	From, To State
	Attempt  bool // a claim of this process, or the verdict on it: Attempted tells the same
	N        int  // of the intent after it
	Claim    int
	At       time.Time

	Cause    string    // of Waiting: why. Of Dead and Suppressed: the class
	Rule     string    // the contact rule that made it; empty: none did
	Reason   string    // for a person, masked
	By       string    // the person who decided; empty: nobody
	Until    time.Time // of Waiting: not before then
	Later    bool      // it is postponed: the broker keeps it until then
	Attempts int       // claims that ended in doubt
	Parked   bool      // of Doubt: it waits for a person

	Conversation string
	Made         int           // the claim that made it
	Second       bool          // a second conversation of the event was found: Conversation
	Result       string        // StepEnd: completed, unanswered, transferred, failed or cancelled
	Began, Ended time.Time     // StepEnd: of the conversation, as the provider says; zero: not known
	Talked       time.Duration // StepEnd: its length; 0: not known
}

// subject is what records say of an intent.
func (ln *lane) subject(in Intent) Subject {
	return Subject{
		Lane: ln.cfg.Name, Account: ln.a.cfg.Name, Provider: ln.a.cfg.Kind, Intent: in.Key,
		EventSource: in.Source, EventID: in.ID, EventType: in.Type, Channel: in.Channel, Born: in.Born, Trace: in.Trace,
	}
}

// tell calls the observer.
func (e *Engine) tell(what func(Observer)) {
	defer func() {
		if p := recover(); p != nil {
			e.lg.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("the observer panicked")
		}
	}()
	what(e.cfg.Observer)
}

// turned tells of a change that was written.
func (e *Engine) turned(from State, in Intent, s Step, effect Effect, why occasion) {
	ln := e.lanes[in.Lane]
	if e.cfg.Observer == nil || ln == nil {
		return
	}
	t := Turned{
		Subject: ln.subject(in), Kind: s.Kind, From: from, To: in.State, N: in.N, Claim: in.Claims, At: time.Now(),
		Cause: s.Class, Rule: s.Rule, Reason: s.Reason, By: s.By, Until: in.NotBefore, Later: in.Later,
		Attempts: in.Attempts, Parked: in.parked(), Conversation: in.Conversation, Made: in.made(), Second: effect == Alarm, Attempt: why.attempt,
	}
	if t.Second {
		t.Conversation = s.Conversation
	}
	if facts := why.facts; facts != nil {
		t.Result, t.Began, t.Ended, t.Talked = facts.Result, facts.StartedAt, facts.EndedAt, facts.length()
	}
	e.tell(func(o Observer) { o.Turned(t) })
}

// tellWait tells of a wait of which nothing is written.
func (ln *lane) tellWait(in Intent, cause, rule, reason string, until time.Time) {
	if ln.e.cfg.Observer == nil {
		return
	}
	t := Turned{
		Subject: ln.subject(in), Kind: StepDefer, From: in.State, To: in.State, N: in.N, Claim: in.Claims, At: time.Now(),
		Cause: cause, Rule: rule, Reason: reason, Until: until, Attempts: in.Attempts, Parked: in.parked(),
	}
	ln.e.tell(func(o Observer) { o.Turned(t) })
}

// answered tells of a request, and returns its record for attempted: nil if nobody
// listens.
func (ln *lane) answered(group []*candidate, answer Answer, sent time.Time, barred bool, refused ratelimiter.Refusal) *Answered {
	if ln.e.cfg.Observer == nil {
		return nil
	}
	a := &Answered{
		Lane: ln.cfg.Name, Account: ln.a.cfg.Name, Provider: ln.a.cfg.Kind, Channel: group[0].request.Channel,
		Began: answer.Began, Sent: sent, Done: answer.Done, Status: answer.Status,
		Refused: refused, Barred: barred, Stop: answer.Stop, Items: make([]Sent, len(group)),
	}
	for i, c := range group {
		a.Items[i] = Sent{Subject: ln.subject(c.intent), Claim: c.intent.Claims, Verdict: answer.Results[i].Verdict}
	}
	ln.e.tell(func(o Observer) { o.Answered(*a) })
	return a
}

// attempted tells of one item of a request. In is what was written, or the claim if
// nothing could be.
func (ln *lane) attempted(c *candidate, in Intent, r Result, a *Answered, i int, step Step) {
	if a == nil {
		return
	}
	t := Attempted{
		Subject: a.Items[i].Subject, Answered: a, Index: i, Claim: c.intent.Claims,
		Fetched: c.fetched, Claimed: c.intent.Claimed, Waits: c.waits, Verdict: r.Verdict, Reason: r.Reason,
		Doubtful: in.Attempts, Conversation: r.Conversation, State: in.State, Until: in.NotBefore,
	}
	if c.replay != nil {
		t.By = c.replay.By
	}
	if in.State == Waiting || in.State == Dead {
		t.Cause = step.Class
	}
	if theirs, _ := ln.e.cfg.Clock.broker(a.Sent); !a.Sent.IsZero() && !t.Born.IsZero() {
		t.Queued = max(0, theirs.Sub(t.Born))
	}
	ln.e.tell(func(o Observer) { o.Attempted(t) })
}

// waited lists the waits of an intent that is claimed now, since it was published or
// ordered to be sent again (born) or claimed last, as far as its history tells them.
func waited(in Intent, born, now time.Time) (waits []Waited) {
	add := func(cause string, from, to time.Time) {
		if !from.IsZero() && to.After(from) {
			waits = append(waits, Waited{Cause: cause, Began: from, For: to.Sub(from)})
		}
	}
	if n := len(in.History); n == 0 || in.State == Dead || in.State == Doubt && born.After(in.History[n-1].At) {
		add(CauseQueue, born, now) // it was not waited for anything else
		return waits
	}
	if first := in.History[0]; first.N == 1 && first.State == Waiting {
		add(CauseQueue, born, first.At)
	}
	for i, line := range in.History {
		switch {
		case line.State == Started:
			waits = waits[:0]
		case line.State != Waiting:
		case i+1 < len(in.History):
			add(line.Cause, line.At, in.History[i+1].At)
		case in.NotBefore.After(line.At):
			add(line.Cause, line.At, earlier(in.NotBefore, now))
			add(CauseQueue, in.NotBefore, now)
		default:
			add(line.Cause, line.At, now)
		}
	}
	return waits
}

// length is how long the conversation lasted, as far as the provider says; 0: not
// known.
func (c Conversation) length() time.Duration {
	if c.StartedAt.IsZero() || c.EndedAt.IsZero() {
		return c.Duration
	}
	return max(0, c.EndedAt.Sub(c.StartedAt))
}

// Observers are several that hear the same, one after the other.
type Observers []Observer

// Answered implements Observer.
func (all Observers) Answered(a Answered) {
	for _, o := range all {
		o.Answered(a)
	}
}

// Attempted implements Observer.
func (all Observers) Attempted(a Attempted) {
	for _, o := range all {
		o.Attempted(a)
	}
}

// Turned implements Observer.
func (all Observers) Turned(t Turned) {
	for _, o := range all {
		o.Turned(t)
	}
}

// traceparent is what the outcome of a state carries; empty: nothing.
func (ln *lane) traceparent(in Intent, s State) string {
	if ln.e.cfg.Traceparent == nil {
		return in.Trace
	}
	return ln.e.cfg.Traceparent(ln.subject(in), s, in.made(), in.Conversation)
}
