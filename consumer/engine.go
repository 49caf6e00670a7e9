package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
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

	// Fence is asked before each claim and again before each first byte: nil
	// only while this process surely is the only one that may send.
	Fence func() error

	ClaimAge  time.Duration // the oldest claim that may be sent; 5 s
	Margin    time.Duration // added to ClaimAge and Timeout before a foreign claim counts as dead; 30 s
	Heartbeat time.Duration // between two signs of life to the broker; 15 s, a quarter of its AckWait
	PullWait  time.Duration // how long one open pull lasts, and so how long shutdown may wait for it; 2 s
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
	JoinToken  bool // the outcome carries what a browser needs to join
	Routes     *schema.Routes
	// Channels are those that the routes can ask for; nil if that cannot be told
	// before an event is read.
	Channels []string
	Events   Queue // the lane's events
	Due      Queue // replays and fired schedules
}

// Engine runs the lanes. Make one with New, run it once with Run.
type Engine struct {
	lg    zerolog.Logger
	cfg   Config
	lanes map[string]*lane // by name; fixed after New

	accounts []*account
	work     sync.WaitGroup // what must end before Run returns
}

// New checks the configuration and returns an engine that is not yet running.
func New(lg zerolog.Logger, cfg Config) (*Engine, error) {
	cfg.ClaimAge = cmp.Or(cfg.ClaimAge, 5*time.Second)
	cfg.Margin = cmp.Or(cfg.Margin, 30*time.Second)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	cfg.PullWait = cmp.Or(cfg.PullWait, 2*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Minute)
	cfg.Keep = cmp.Or(cfg.Keep, 90*24*time.Hour)
	cfg.Long = cmp.Or(cfg.Long, 5*time.Minute)
	if cfg.Fence == nil {
		return nil, errors.New("consumer: no fence")
	}
	if cfg.Ledger == nil || cfg.Outbox == nil || cfg.Switch == nil || cfg.Catalog == nil {
		return nil, errors.New("consumer: ledger, outbox, switchboard and catalog are all needed")
	}
	e := &Engine{lg: lg, cfg: cfg, lanes: make(map[string]*lane)}
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
// timed out, recorded and acknowledged. Intake ends at once; a sent request is
// never cancelled.
func (e *Engine) Run(ctx context.Context) error {
	for _, a := range e.accounts {
		if err := a.recover(ctx); err != nil {
			return fmt.Errorf("account %s: count the slots in use: %w", a.cfg.Name, err)
		}
	}
	var loops sync.WaitGroup
	for _, a := range e.accounts {
		loops.Go(func() { a.run(ctx) })
		loops.Go(func() { a.sweep(ctx) })
		for _, ln := range a.lanes {
			loops.Go(func() { ln.run(ctx) })
		}
	}
	loops.Wait()
	e.work.Wait()
	return nil
}

// SetPause stops the lane, or with nil lets it go on, before the next first
// byte. A lane that is not this engine's is ignored.
func (e *Engine) SetPause(name string, p *Pause) {
	if ln := e.lanes[name]; ln != nil {
		ln.setPause(p)
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
	for {
		next, effect := Next(in, s, time.Now())
		if effect == Denied || effect == Absorbed {
			return in, rev, effect, nil
		}
		stored, err := e.cfg.Ledger.Store(ctx, next, rev)
		if err == nil {
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

// grace is how long durable steps are still retried once the process is asked
// to stop.
const grace = 30 * time.Second

// persist repeats a durable step until it succeeds or Patience is used up, with
// growing pauses: what the provider has done must be written down, whatever
// the broker is going through. The end of ctx leaves it a period of grace.
func (e *Engine) persist(ctx context.Context, step func(context.Context) error) error {
	parent := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Patience)
	defer cancel()
	defer context.AfterFunc(parent, func() { time.AfterFunc(grace, cancel) })()
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
