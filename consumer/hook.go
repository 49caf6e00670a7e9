package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Errors of Engine.Hook. None of them is of a provider that repeats itself: what
// is known already is no error.
var (
	// ErrNoWebhook is a lane that is not this engine's, or whose provider sends
	// no webhooks.
	ErrNoWebhook = errors.New("no webhooks are heard for this lane")
	// ErrUnreadable is a body that is none of the provider's webhooks.
	ErrUnreadable = errors.New("not a webhook of this lane's provider")
	// ErrUnknown is a webhook of no conversation of ours: it needs no repeating.
	ErrUnknown = errors.New("no conversation of this lane")
	// ErrHeard is a webhook of a live call's end that is confirmed together with
	// others, within proof. It needs no repeating: the ledger has the conversation,
	// and whoever owns the account asks for its end.
	ErrHeard = errors.New("heard, and confirmed soon")
	// ErrLater is a webhook whose word is not confirmed and written down yet. It
	// is looked into all the same, as long as this process lives.
	ErrLater = errors.New("not confirmed yet")
)

const (
	// mostRumours is how many webhooks a lane looks into at once. Each takes a
	// few hundred bytes and waits mostly.
	mostRumours = 256
	// mostReports are read of one webhook.
	mostReports = 100
	// rumourLife is how long one is looked into, and rumourRest the pause after
	// a look that told nothing.
	rumourLife = 10 * time.Minute
	rumourRest = 5 * time.Second
)

// HookCounts are the webhooks of a lane, as far as this process has heard them.
type HookCounts struct {
	Received   uint64 `json:"received"`   // reports read
	Unreadable uint64 `json:"unreadable"` // bodies that were none of the provider's webhooks
	Unknown    uint64 `json:"unknown"`    // reports of no conversation of the lane
	Confirmed  uint64 `json:"confirmed"`  // ends that the provider confirmed
	Denied     uint64 `json:"denied"`     // ends of calls that the provider calls live
	Settled    uint64 `json:"settled"`    // events that were in doubt, dead or waiting, and are created
	Named      uint64 `json:"named"`      // conversations that are shown to a person, for nothing confirms them
	Dropped    uint64 `json:"dropped"`    // reports refused, for too many were being looked into
}

// rumour is one thing that webhooks say, while it is looked into. Another webhook
// that says the same waits for the same answer.
type rumour struct {
	Report
	began time.Time
	done  chan struct{} // closed when err is set
	err   error
	conv  *Conversation // the provider's own word on the conversation named; looked's alone
}

// ears are what a lane keeps of webhooks.
type ears struct {
	// Under lane.mu:
	rumours  map[Report]*rumour       // what is being looked into; without the attempt
	released map[string]chan struct{} // closed when the intent is unlocked; only where somebody waits
	hooks    HookCounts

	// Under account.mu:
	budget  budget  // of the GETs that webhooks cause
	heard   float64 // share of the newest ends of which a webhook told before a poll did
	trusted bool    // no webhook has told of an end since one was wrong
	silent  int     // ends in a row of which none told before a poll did
}

func newEars() ears {
	return ears{rumours: make(map[Report]*rumour), released: make(map[string]chan struct{}), trusted: true}
}

// Hook hears one webhook of a lane's provider: a reason to look, and nothing else
// (H13). It returns nil when what it tells is confirmed by the provider and
// durable, the outcome as well as the ledger; ctx bounds how long it waits for
// that.
func (e *Engine) Hook(ctx context.Context, name string, body []byte, header map[string][]string) error {
	ln := e.lanes[name]
	if ln == nil {
		return ErrNoWebhook
	}
	reports, err := ReadHook(ln.lg, ln.a.cfg.Provider, body, header)
	if errors.Is(err, ErrUnreadable) {
		ln.count(func(c *HookCounts) { c.Unreadable++ })
	}
	if err != nil {
		return err
	}
	return e.Hear(ctx, name, reports)
}

// worse is the error that decides about a webhook of several reports: one that
// has to come again, before one that is of nothing.
func worse(a, b error) error {
	if a == nil || errors.Is(b, ErrLater) {
		return b
	}
	return a
}

// await waits for the answer to a rumour; nil is one that could not be looked
// into.
func (u *rumour) await(ctx context.Context) error {
	if u == nil {
		return ErrLater
	}
	select {
	case <-u.done:
		return u.err
	case <-ctx.Done():
		return ErrLater
	}
}

// hear begins to look into a report, or joins those who do. It returns nil if
// too many are looked into, or the engine does not run.
func (ln *lane) hear(r Report) *rumour {
	if id, err := uuid.Parse(r.Intent); err != nil || id.String() != r.Intent {
		r.Intent = "" // none of our keys
	}
	said := r
	said.Attempt = 0
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if u := ln.rumours[said]; u != nil {
		return u
	}
	if len(ln.rumours) >= mostRumours {
		ln.hooks.Dropped++
		return nil
	}
	u := &rumour{Report: r, began: time.Now(), done: make(chan struct{})}
	if !ln.e.begin(func(ctx context.Context) {
		u.err = ln.lookInto(ctx, u)
		ln.mu.Lock()
		delete(ln.rumours, said)
		ln.mu.Unlock()
		close(u.done)
	}) {
		return nil
	}
	ln.rumours[said] = u
	return u
}

// rumoured reports whether a webhook about the intent is being looked into: what
// it shows may forbid to send the event again (H10). It may have come to the
// address of another lane of the account.
func (ln *lane) rumoured(key string) bool {
	return slices.ContainsFunc(ln.a.lanes, func(other *lane) bool { return other.heardOf(key) })
}

func (ln *lane) heardOf(key string) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for said := range ln.rumours {
		if said.Intent == key {
			return true
		}
	}
	return false
}

// errRumoured is a retry that waits for what a webhook may show.
var errRumoured = errors.New("a webhook about this event is being looked into")

// unheard is asked between claim and POST: it looks once more for evidence about
// the events that are sent again (H10).
func (ln *lane) unheard(group []*candidate) error {
	for _, c := range group {
		if c.intent.Claims > 1 && ln.rumoured(c.intent.Key) {
			return errRumoured
		}
	}
	return nil
}

// lookInto finds out what is behind a rumour, and has it written down.
func (ln *lane) lookInto(ctx context.Context, u *rumour) error {
	for ctx.Err() == nil && time.Since(u.began) < rumourLife {
		if told := ln.a.ring(ln, u.Report, time.Now()); told != nil {
			return confirmed(ctx, told)
		}
		again, err := ln.trace(ctx, u)
		if !again {
			return err
		}
	}
	return ErrLater
}

// trace is one look into the ledger, and what follows of it; again says that it
// is to be looked into once more.
func (ln *lane) trace(ctx context.Context, u *rumour) (again bool, err error) {
	owner, in, rev, err := ln.seek(ctx, u.Intent)
	switch {
	case err != nil:
		ln.lg.Warn().Err(err).Msg("look into a webhook")
		return rest(ctx, rumourRest), ErrLater
	case owner == nil:
		ln.count(func(c *HookCounts) { c.Unknown++ })
		return false, ErrUnknown
	}
	if released := owner.working(in.Key); released != nil { // its own answer comes first
		select {
		case <-released:
			return true, nil
		case <-ctx.Done():
			return false, ErrLater
		}
	}
	switch {
	case in.State == Started:
		if left := owner.unsettledFor(in, rev); left > 0 { // the same, in another process
			return rest(ctx, min(left, rumourRest)), ErrLater
		}
	case in.State == Ended && !in.other(u.Report), in.State == Created && in.second(u.Conversation):
		return false, nil
	case in.State == Created && !in.other(u.Report):
		owner.a.follow(owner, in, false)
		told := owner.a.ring(owner, Report{Conversation: in.Conversation, Ended: u.Ended}, time.Now())
		if told == nil { // it has just been seen to end
			return rest(ctx, time.Second), ErrLater
		}
		return false, confirmed(ctx, told)
	}
	return owner.weigh(ctx, u, in)
}

// other reports whether a report may be of a further conversation of an intent
// that has one: of another attempt, or under an id of the same kind. An id of
// another kind is another spelling of the one that is known.
func (in Intent) other(r Report) bool {
	if r.Conversation == "" || sameID(r.Conversation, in.Conversation) || in.second(r.Conversation) {
		return false
	}
	return r.Attempt > 0 && r.Attempt != in.made() || len(r.Conversation) == len(in.Conversation)
}

// confirmed waits for what the provider says of a call.
func confirmed(ctx context.Context, told <-chan error) error {
	t := time.NewTimer(time.Minute) // from then on the slot's own polls go on asking
	defer t.Stop()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
	case <-t.C:
	}
	return ErrLater
}

// rest waits, and reports whether ctx still holds.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// seek finds the intent in this lane, or in another one of its account: a
// provider sends the webhooks of one workspace to one address. No lane: it is not
// ours.
func (ln *lane) seek(ctx context.Context, key string) (*lane, Intent, uint64, error) {
	if key == "" {
		return nil, Intent{}, 0, nil
	}
	in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, key)
	if err != nil || in.State != Absent {
		return ln, in, rev, err
	}
	for _, other := range ln.a.lanes {
		if other == ln {
			continue
		}
		in, rev, err := ln.e.cfg.Ledger.Load(ctx, other.cfg.Name, key)
		if err != nil || in.State != Absent {
			return other, in, rev, err
		}
	}
	return nil, Intent{}, 0, nil
}

// working returns what is closed when the goroutine that has the intent is done
// with it; nil if none has it.
func (ln *lane) working(key string) <-chan struct{} {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if !ln.busy[key] {
		return nil
	}
	if ln.released[key] == nil {
		ln.released[key] = make(chan struct{})
	}
	return ln.released[key]
}

// unsettledFor is how long the answer to a claim that is not worked on here may
// still come (see takeOver).
func (ln *lane) unsettledFor(in Intent, rev uint64) time.Duration {
	now := time.Now()
	return ln.e.cfg.ClaimAge + ln.a.cfg.Timeout + ln.e.cfg.Margin - now.Sub(ln.sight(in.Key, rev, now))
}

// count changes the lane's counts of webhooks.
func (ln *lane) count(f func(*HookCounts)) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	f(&ln.hooks)
}
