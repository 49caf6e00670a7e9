package consumer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// The verbs of a Command.
const (
	VerbStatus = "status" // what the lane is doing
	VerbSettle = "settle" // a doubt's conversation exists: Conversation
	VerbDrop   = "drop"   // a doubt or dead letter is over, nobody is called
	VerbCancel = "cancel" // an event that was not sent is withdrawn
	VerbForget = "forget" // of an event that is over nothing is kept but what counts
)

// Command is a request to the owner of a lane. Settle, drop and forget are named and
// guarded: they count only while the intent still has the N that the person
// saw. Cancel counts in the states in which nothing was sent, which guard it
// themselves; an event that the ledger does not know is named by Source and ID.
type Command struct {
	Verb         string `json:"verb"`
	Intent       string `json:"intent,omitempty"`
	Source       string `json:"source,omitempty"`
	ID           string `json:"id,omitempty"`
	Expect       int    `json:"expect,omitempty"`
	Conversation string `json:"conversation,omitempty"`
	By           string `json:"by,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

// Reply answers a Command after its durable writes.
type Reply struct {
	Error  string      `json:"error,omitempty"`
	State  State       `json:"state,omitempty"` // of the intent, after the command
	Status *LaneStatus `json:"status,omitempty"`
}

// LaneStatus is what a lane is doing. Counts of slots are the account's.
type LaneStatus struct {
	Lane     string     `json:"lane"`
	Label    string     `json:"label,omitempty"`
	Account  string     `json:"account"`
	Provider string     `json:"provider"`
	State    string     `json:"state"` // running, waiting, paused, held, stopped
	Why      string     `json:"why,omitempty"`
	Cause    string     `json:"cause,omitempty"`   // of Why, one of Causes; empty while events may be sent
	DryRun   bool       `json:"dry_run,omitempty"` // it takes events and sends nothing
	Used     int        `json:"slots_used"`
	Limit    int        `json:"slots_limit"`
	Created  uint64     `json:"created"` // by this process
	Doubts   int        `json:"doubts_recent"`
	Settling int        `json:"settling"` // doubts that settle themselves
	Pause    *Pause     `json:"pause,omitempty"`
	Clock    string     `json:"clock,omitempty"` // why the time of day cannot be relied on
	Hold     *Pause     `json:"hold,omitempty"`
	Before   time.Time  `json:"before,omitzero"`   // see Engine.SetDoubtful
	Trouble  string     `json:"trouble,omitempty"` // the newest failure
	Webhooks HookCounts `json:"webhooks"`
	Recent
}

// Control carries out a JSON Command for a lane and returns a JSON Reply.
func (e *Engine) Control(ctx context.Context, name string, request []byte) []byte {
	reply := e.control(ctx, name, request)
	b, err := json.Marshal(reply)
	if err != nil {
		panic("consumer: a reply does not encode: " + err.Error())
	}
	return b
}

func (e *Engine) control(ctx context.Context, name string, request []byte) Reply {
	ln := e.lanes[name]
	if ln == nil {
		return Reply{Error: "no such lane here"}
	}
	var cmd Command
	if err := json.Unmarshal(request, &cmd); err != nil {
		return Reply{Error: "the command is not readable: " + err.Error()}
	}
	switch cmd.Verb {
	case VerbStatus:
		s := ln.status()
		return Reply{Status: &s}
	case VerbSettle, VerbDrop, VerbCancel, VerbForget:
		act := ln.command
		switch cmd.Verb {
		case VerbCancel:
			act = ln.withdraw
		case VerbForget:
			act = ln.erase
		}
		state, err := act(ctx, cmd)
		if err != nil {
			return Reply{Error: err.Error(), State: state}
		}
		return Reply{State: state}
	default:
		return Reply{Error: fmt.Sprintf("unknown command %q: the weir that owns the lane does not know it and may be an older one; see its version, and upgrade it", cmd.Verb)}
	}
}

// command settles or drops one intent.
func (ln *lane) command(ctx context.Context, cmd Command) (State, error) {
	if cmd.By == "" || cmd.Reason == "" {
		return "", fmt.Errorf("a name and a reason are needed")
	}
	if cmd.Verb == VerbSettle && cmd.Conversation == "" {
		return "", fmt.Errorf("the id of the conversation is needed")
	}
	if !ln.await(ctx, cmd.Intent) { // whoever saw a doubt or dead letter may be faster than its outcome
		return "", fmt.Errorf("the event is being worked on; try again in a moment")
	}
	defer ln.unlock(cmd.Intent)
	in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, cmd.Intent)
	if err != nil {
		return "", err
	}
	step := Step{Kind: StepDrop, Expect: cmd.Expect, By: cmd.By, Reason: cmd.Reason}
	if cmd.Verb == VerbSettle {
		step.Kind, step.Conversation = StepSettle, cmd.Conversation
	}
	in, err = ln.resolve(ctx, in, rev, step)
	if err == nil {
		ln.mu.Lock()
		delete(ln.doubts, in.Key)
		ln.mu.Unlock()
	}
	return in.State, err
}

// resolve carries out a named step. That a conversation exists is a fact: its
// outcome comes first. That an event is dropped or withdrawn is a decision: the
// ledger comes first. A command that is repeated repeats what may have been left
// undone.
func (ln *lane) resolve(ctx context.Context, in Intent, rev uint64, step Step) (Intent, error) {
	decision := step.Kind != StepSettle
	next, effect := Next(in, step, time.Now())
	repeated := effect == Absorbed || decision && in.State == Cancelled
	if effect == Denied && !repeated {
		return in, step.refusal(in)
	}
	if repeated {
		next = in
	}
	if step.Kind == StepSettle {
		if err := ln.publish(ctx, next, Created, nil); err != nil {
			return in, err
		}
	}
	if !repeated {
		var err error
		if next, _, effect, err = ln.e.apply(ctx, in, rev, step); err != nil {
			ln.setUntold(in.Key, decision) // it may be stored all the same
			return in, err
		}
		if effect == Denied && (!decision || next.State != Cancelled) {
			return next, step.refusal(next)
		}
	}
	if step.Kind == StepSettle {
		ln.a.follow(ln, next, true)
		return next, ln.e.cfg.Outbox.Discard(ctx, next.Lane, next.Key)
	}
	err := ln.tellDrop(ctx, next)
	ln.setUntold(next.Key, err != nil)
	return next, err
}

// refusal says why a named step does not apply to an intent.
func (s Step) refusal(in Intent) error {
	switch {
	case s.Kind == StepCancel:
		return tooLate(in.State)
	case s.Kind == StepForget && !erasable(in.State):
		return unforgettable(in.State)
	}
	return fmt.Errorf("the event is %s by now (step %d, not %d); look again", stateName(in.State), in.N, s.Expect)
}

// tellDrop does what follows a person's decision to drop an event, or to withdraw
// it.
func (ln *lane) tellDrop(ctx context.Context, in Intent) error {
	if err := ln.publish(ctx, in, Cancelled, nil); err != nil {
		return err
	}
	return ln.e.cfg.Outbox.Discard(ctx, in.Lane, in.Key)
}

// setUntold notes whether a decision that is written down is still to be told: the
// person, who got an error, may not try again. The sweep does.
func (ln *lane) setUntold(key string, untold bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	delete(ln.untold, key)
	if untold {
		ln.untold[key] = true
	}
}

func (ln *lane) isUntold(key string) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.untold[key]
}

// dedupe is how long the broker knows an outcome that it has.
const dedupe = 23 * time.Hour

// droppedAfter reports whether a person dropped the event, or withdrew it, after t.
func (in Intent) droppedAfter(t time.Time) bool {
	if in.State != Cancelled || len(in.History) == 0 || !in.Forgotten.IsZero() {
		return false
	}
	last := in.History[len(in.History)-1]
	return last.By != "" && last.At.After(t)
}

// repeat does again what follows a person's decision to drop an event: no message
// stands behind it, and the process that took it may have died before (H8).
func (ln *lane) repeat(ctx context.Context, dropped []Intent) {
	for _, in := range dropped {
		err := ln.e.persist(ctx, func(ctx context.Context) error { return ln.tellDrop(ctx, in) })
		if ln.setUntold(in.Key, err != nil); err != nil {
			ln.lg.Error().Err(err).Str("intent", in.Key).Msg("the outcome of a dropped event could not be published")
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func stateName(s State) string {
	if s == Absent {
		return "unknown"
	}
	return string(s)
}

// status tells what the lane is doing and why it does not do more.
func (ln *lane) status() LaneStatus {
	now := time.Now()
	a := ln.a
	a.mu.Lock()
	limits := ln.limits()
	breaker, refused := a.breaker.State(), a.refused
	lately := ln.lately(now, breaker)
	a.mu.Unlock()
	lately.Waits = ln.waits.sums()
	lately.Refusals, lately.Refusal = ln.suspicion.most()
	fence, room := a.e.cfg.Fence(), a.e.cfg.Room()
	clock := ln.distrust()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	s := LaneStatus{
		Lane: ln.cfg.Name, Label: ln.cfg.Label, Account: a.cfg.Name, Provider: a.cfg.Kind,
		State: "running", DryRun: ln.cfg.Dry, Used: limits.Held - limits.Gone, Limit: limits.Limit,
		Created: ln.created, Settling: len(ln.open), Doubts: len(ln.doubts), Pause: ln.pause, Hold: ln.held, Before: ln.before, Trouble: cmp.Or(ln.hitch, ln.trouble), Webhooks: ln.hooks,
		Recent: lately,
	}
	switch {
	case ln.held != nil:
		s.State, s.Cause, s.Why = "held", CauseHeld, ln.held.Reason
	case ln.pause != nil:
		s.State, s.Cause, s.Why = "paused", CausePaused, fmt.Sprintf("by %s: %s", ln.pause.By, ln.pause.Reason)
	case fence != nil:
		s.State, s.Cause, s.Why = "stopped", CauseOwner, fence.Error()
	case room != nil:
		s.State, s.Cause, s.Why = "waiting", CauseRoom, room.Error()
	case breaker != "closed" && refused:
		s.State, s.Cause, s.Why = "stopped", CauseUnauthorized, "the provider refuses the credentials"
	case breaker != "closed":
		s.State, s.Cause, s.Why = "stopped", CauseBreaker, "the provider does not answer well: "+ln.trouble
	case limits.BlockedUntil.After(now):
		s.State, s.Cause, s.Why = "waiting", obstacle(limits.Why), fmt.Sprintf("%s, for another %v", why(limits), limits.BlockedUntil.Sub(now).Round(time.Second))
	case limits.Free == 0 && limits.Limit > 0:
		s.State, s.Cause, s.Why = "waiting", obstacle(limits.Why), why(limits)
	case s.DryRun:
		s.Why = cmp.Or(ln.hitch, dryWhy)
	default:
		s.Why = ln.hitch
	}
	if s.Cause == "" && ln.hitch != "" {
		s.Cause = CauseBroker
	}
	if clock != nil {
		s.Clock = clock.Error()
		if !strings.Contains(s.Why, s.Clock) {
			s.Why = strings.TrimPrefix(s.Why+"; "+s.Clock, "; ")
		}
	}
	return s
}

// why says the limiter's obstacle in an operator's words. Full although our own calls
// leave slots is full of somebody else's.
func why(s ratelimiter.State) string {
	switch used := s.Held - s.Gone; s.Why {
	case "slots":
		return "all slots are in use"
	case "full":
		if used < s.Limit {
			return fmt.Sprintf("the provider says that it is full, and only %d of %d slots are taken by Weir's own calls; somebody else may be using the account", used, s.Limit)
		}
		return "the provider says that it is full"
	case "unexplained 429":
		return "the provider answers 429 although slots should be free; somebody else may be using the account"
	case "retry-after":
		return "the provider asked to wait"
	case "rate":
		return "the provider's rate limit is used up"
	default:
		return s.Why
	}
}

// limits are those of the lane's own channel, or of all of them together where
// its events go to several. Without any, the limit is 0. The caller holds
// account.mu.
func (ln *lane) limits() ratelimiter.State {
	if ln.entry.counted {
		return ln.entry.limiter.State()
	}
	sum := ln.entry.limiter.State()
	sum.Limit, sum.Held, sum.Gone, sum.Free = 0, 0, 0, 0
	if len(ln.cfg.Channels) == 1 {
		return sum
	}
	for _, p := range ln.a.pools {
		if s := p.limiter.State(); p.counted {
			sum.Limit, sum.Free = sum.Limit+s.Limit, sum.Free+s.Free
			sum.Held, sum.Gone = sum.Held+s.Held, sum.Gone+s.Gone
		}
	}
	return sum
}
