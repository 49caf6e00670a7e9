package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// Config is all that an Engine needs. Zero durations get the defaults that
// their comments name.
type Config struct {
	Accounts []AccountConfig
	Ledger   Ledger
	Outbox   Outbox
	Switch   Switchboard
	Catalog  *schema.Catalog
	Register Register // nil: nobody is on it
	Stream   Stream   // where redials go; needed if a lane has some

	// Fence is asked before each claim and again before each first byte: nil
	// only while this process surely is the only one that may send.
	Fence func() error

	// Room is asked before an event gets an entry in the ledger: an error tells an
	// operator why there is no room for what becomes of it. Such events stay in
	// their stream, and with them those in it that wait; what is under way and what
	// is due goes on. Nil: there is always room.
	Room func() error

	// Clock says whether this host's time of day can be relied on. Whoever makes
	// the engine enters samples of the broker's clock; the engine enters those of
	// the providers'. Nil: it is believed.
	Clock *Clock

	// Observer hears what is done; nil: nobody does.
	Observer Observer

	// Traceparent is what an outcome of an event carries, when that is in a state that
	// the claim made; nil: the event's own. Empty: none.
	Traceparent func(s Subject, state State, claim int, conversation string) string

	ClaimAge  time.Duration // the oldest claim that may be sent; 5 s
	Margin    time.Duration // added to ClaimAge and Timeout before a foreign claim counts as dead; 30 s
	Heartbeat time.Duration // between two signs of life to the broker; 15 s, a quarter of its AckWait
	PullWait  time.Duration // how long one open pull lasts before it is opened anew; 30 s
	Patience  time.Duration // how long the steps after an answer are retried; 10 min
	Keep      time.Duration // how long the ledger remembers an event; 90 days
	Long      time.Duration // a longer wait is no business of the queue's: the event is postponed; 5 min
}

// AccountConfig is one provider workspace with the lanes that share it.
type AccountConfig struct {
	Name     string
	Kind     string // the provider's name, for display
	Provider Provider
	Limiter  ratelimiter.Config // of all conversations, unless Channels is set
	Breaker  ratelimiter.BreakerConfig
	Headers  ratelimiter.Names
	Timeout  time.Duration // of one create request, as the provider client has it; 15 s
	MaxCall  time.Duration // longer than any call can last; 1 h
	MeanCall time.Duration // how long a call lasts on average; 75 s

	// Channels are the limits of a provider that counts its channels apart, by
	// Request.Channel. A conversation on any other channel holds no slot.
	Channels map[string]ratelimiter.Config

	// TakesID says that the provider takes our id for a conversation, makes one
	// at most of each, and finds it by that id, at the latest VisibleAfter (30 s)
	// after the request has ended.
	TakesID      bool
	VisibleAfter time.Duration

	Lanes []LaneConfig
}

// LaneConfig is one queue of events bound for an account.
type LaneConfig struct {
	Name       string
	Label      string
	Weight     int  // share of the account's slots when several lanes wait; 1
	Batch      int  // most items of one request; 1
	MaxEvent   int  // bytes of one event; schema's default
	DoubtLimit int  // more open doubts within 10 minutes pause the lane; 0: never
	Resend     bool // a doubt settles itself: needs AccountConfig.TakesID
	Attempts   int  // requests of one event that may end in doubt before a person is asked; 5
	// Fresh is how long after it was published, or after its notbefore, an event may
	// be sent; zero: for ever.
	Fresh     time.Duration
	JoinToken bool // the outcome carries what a browser needs to join
	Dry       bool // nothing is sent (see rehearse)
	Hooked    bool // the provider was given an address for webhooks
	Routes    *schema.Routes
	Contact   Contact // who may be contacted, and when; nil: anybody, at any time
	Redials   Redials // when a call that nobody answered is made again
	// Channels are those that the routes can ask for; nil if that cannot be told
	// before an event is read.
	Channels []string
	High     Queue // the lane's events that go before the others; nil: none do
	Events   Queue // the lane's events
	Due      Queue // replays and fired schedules
}

// Engine runs the lanes. Make one with New, run it once with Run.
type Engine struct {
	lg    zerolog.Logger
	cfg   Config
	lanes map[string]*lane // by name; fixed after New

	accounts []*account
	readers  readers                   // of batches' entries
	work     sync.WaitGroup            // what must end before Run returns
	claimed  atomic.Int64              // events whose claim's outcome is not written down yet
	ended    atomic.Pointer[time.Time] // when Run was asked to end; nil: not yet

	mu      sync.Mutex
	running context.Context //nolint:containedctx // Run's, while it takes webhooks; else nil
}

// New checks the configuration and returns an engine that is not yet running.
func New(lg zerolog.Logger, cfg Config) (*Engine, error) {
	cfg.ClaimAge = cmp.Or(cfg.ClaimAge, 5*time.Second)
	cfg.Margin = cmp.Or(cfg.Margin, 30*time.Second)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	cfg.PullWait = cmp.Or(cfg.PullWait, 30*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Minute)
	cfg.Keep = cmp.Or(cfg.Keep, 90*24*time.Hour)
	cfg.Long = cmp.Or(cfg.Long, 5*time.Minute)
	if cfg.Fence == nil {
		return nil, errors.New("consumer: no fence")
	}
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if cfg.Ledger == nil || cfg.Outbox == nil || cfg.Switch == nil || cfg.Catalog == nil {
		return nil, errors.New("consumer: ledger, outbox, switchboard and catalog are all needed")
	}
	e := &Engine{lg: lg, cfg: cfg, lanes: make(map[string]*lane), readers: make(readers, mostReaders)}
	var errs []error
	for _, ac := range cfg.Accounts {
		a, err := newAccount(e, ac)
		if err != nil {
			errs = append(errs, fmt.Errorf("account %s: %w", ac.Name, err))
			continue
		}
		for _, lc := range ac.Lanes {
			if lc.Resend && !ac.TakesID {
				errs = append(errs, fmt.Errorf("lane %s: the provider takes no id of ours, so resend could call a person twice", lc.Name))
			}
			if len(lc.Redials.After) > 0 && cfg.Stream == nil {
				errs = append(errs, fmt.Errorf("lane %s: there is no stream for its redials", lc.Name))
			}
			if e.lanes[lc.Name] != nil {
				errs = append(errs, fmt.Errorf("lane %s: named twice", lc.Name))
			}
			ln := newLane(a, lc)
			e.lanes[lc.Name] = ln
			a.lanes = append(a.lanes, ln)
		}
		e.accounts = append(e.accounts, a)
	}
	return e, errors.Join(errs...)
}

// Run counts the slots that the ledger says are taken, then works until ctx
// ends. It returns when every request that was sent has been answered or has
// timed out, recorded and acknowledged, or until it is certain enough that the
// broker will not take that: some 20 s after the last answer. Intake ends at
// once; a sent request is never cancelled.
func (e *Engine) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		now := time.Now()
		e.ended.Store(&now)
	})()
	for _, a := range e.accounts {
		if !a.count(ctx) {
			break
		}
	}
	e.open(ctx)
	var loops sync.WaitGroup
	for _, a := range e.accounts {
		for _, ln := range a.lanes {
			if ln.cfg.Dry {
				ln.lg.Warn().Msg("dry run: events are taken and nothing is sent (send: false)")
			}
			loops.Go(func() { ln.run(ctx) })
		}
	}
	for i, a := range e.accounts {
		if i > 0 {
			loops.Go(func() { a.run(ctx) })
		}
	}
	if len(e.accounts) > 0 {
		e.accounts[0].run(ctx) // as a rule there is one, and this goroutine has nothing else to do
	}
	loops.Wait()
	e.shut()
	e.work.Wait()
	for _, ln := range e.lanes { // whoever is next need not wait
		ln.recall(math.MaxInt)
	}
	return nil
}

// Claimed counts the events that have been claimed and of which the ledger does not
// know yet what became of them. Those are in doubt if the process ends now.
func (e *Engine) Claimed() int { return int(e.claimed.Load()) }

// open lets begin begin work until ctx ends, or until shut.
func (e *Engine) open(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = ctx
}

func (e *Engine) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = nil
}

// begin does work that was asked for from outside, in a goroutine that Run waits
// for. It reports false, and does nothing, while the engine does not run.
func (e *Engine) begin(work func(context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx := e.running
	if ctx == nil || ctx.Err() != nil {
		return false
	}
	e.work.Go(func() { work(ctx) })
	return true
}

// SetPause stops the lane, or with nil lets it go on, before the next first
// byte. A lane that is not this engine's is ignored.
func (e *Engine) SetPause(name string, p *Pause) {
	if ln := e.lanes[name]; ln != nil {
		ln.setPause(p)
	}
}

// SetHold is SetPause for a lane that is stopped because part of the state was
// lost. It is a switch of its own: a lane runs while it has neither.
func (e *Engine) SetHold(name string, p *Pause) {
	if ln := e.lanes[name]; ln != nil {
		ln.setHold(p)
	}
}

// SetDoubtful says of a lane that part of its state was lost, and when that was
// over: of an event that was born before then and that the ledger does not know,
// or knows as waiting since before then, nobody knows whether it was sent. It is
// not claimed but comes into doubt. A zero time: nothing was lost.
func (e *Engine) SetDoubtful(name string, before time.Time) {
	if ln := e.lanes[name]; ln != nil {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		ln.before = before
	}
}

// Pause says who stopped a lane, when and why.
type Pause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// apply stores what the step makes of the intent. Where somebody else's write
// came between, it reads the leader's entry and applies the step to that.
func (e *Engine) apply(ctx context.Context, in Intent, rev uint64, s Step) (Intent, uint64, Effect, error) {
	return e.applyFor(ctx, in, rev, s, occasion{})
}

// occasion is what an observer is told of a step besides the step.
type occasion struct {
	attempt bool          // the verdict on a request of this process
	facts   *Conversation // of an end
}

// applyFor is apply on an occasion.
func (e *Engine) applyFor(ctx context.Context, in Intent, rev uint64, s Step, why occasion) (Intent, uint64, Effect, error) {
	for {
		next, effect := Next(in, s, time.Now())
		if effect == Denied || effect == Absorbed {
			return in, rev, effect, nil
		}
		stored, err := e.cfg.Ledger.Store(ctx, next, rev)
		if err == nil {
			e.turned(in.State, next, s, effect, why)
			return next, stored, effect, nil
		}
		if !errors.Is(err, ErrConflict) {
			return in, rev, effect, err
		}
		if in, rev, err = e.cfg.Ledger.Load(ctx, in.Lane, in.Key); err != nil {
			return in, rev, effect, err
		}
	}
}

// Once the process is asked to stop, durable steps are retried for grace, which is
// longer than the election of a leader (9 s); each gets lastWord at least. All of
// it fits into the 30 s that whoever supervises a process gives it as a rule.
const (
	grace    = 15 * time.Second
	lastWord = 3 * time.Second
)

// remaining is how long a durable step may still be retried when the process is
// asked to stop.
func (e *Engine) remaining() time.Duration {
	ended := e.ended.Load()
	if ended == nil { // it was asked just now
		return grace
	}
	return max(lastWord, grace-time.Since(*ended))
}

// persist repeats a durable step until it succeeds or Patience is used up, with
// growing pauses: what the provider has done must be written down, whatever
// the broker is going through. The end of ctx leaves it a period of grace.
func (e *Engine) persist(ctx context.Context, step func(context.Context) error) error {
	parent := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Patience)
	defer cancel()
	defer context.AfterFunc(parent, func() { time.AfterFunc(e.remaining(), cancel) })()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := step(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
