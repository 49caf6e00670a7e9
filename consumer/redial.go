package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// A call that nobody answered is made again, where its lane says so. A redial is an
// event of its own: the first one's content under another id, not to be sent before
// its time. Whatever holds for an event holds for it; besides, it passes the limits
// that the attribute redial passes, and it is suppressed if its person was spoken
// with since the first call (see Approach.Since).
//
// It is made at the end of the call, in this order: the redial into the lane's
// stream, the outcome of the end, which names it, the ledger. No message stands
// behind an end (see end): a crash before the ledger knows it leaves a conversation
// that the next process asks for, and all three are done again. The redial has the
// same id each time, so that the ledger makes one of however many there are.

// Redials says when people are called again. The zero Redials: never.
type Redials struct {
	After []time.Duration // from the end of a call to the next one; one for each redial
	On    []string        // the Conversation.Result of a call that is made again
}

// NoMoreRedials is why a redial is not sent that was made by other settings.
const NoMoreRedials = "The lane does not call again this often by now."

// Stream is where the lanes' events lie.
type Stream interface {
	// Event returns an event of a lane as it came with this sequence. ErrGone: it is
	// not there any more.
	Event(ctx context.Context, lane string, sequence uint64) (header map[string][]string, data []byte, err error)
	// Append puts an event into a lane's stream, durably. With the same id it may be
	// repeated; then it may be there twice.
	Append(ctx context.Context, lane, id string, header map[string][]string, data []byte) error
}

// Redial is what an outcome says of the call after one that has ended.
type Redial struct {
	ID      string    `json:"id,omitempty"` // of the event that calls again; empty: nobody is called again
	Intent  string    `json:"intent,omitempty"`
	At      time.Time `json:"at,omitzero"`      // not before
	Attempt int       `json:"attempt"`          // which redial that is, from 1 on
	Of      int       `json:"of,omitzero"`      // how many there may be
	Reason  string    `json:"reason,omitempty"` // why nobody is called again
}

// again is the redial that the ledger knows of, nil if there is none.
func (in Intent) again() *Redial {
	if in.Next == "" {
		return nil
	}
	return &Redial{ID: in.Next, Intent: Key(in.Lane, in.Source, in.Next), At: in.NextAt.UTC(), Attempt: in.Redial + 1}
}

// redial puts the event that calls a person again into the lane's stream, and
// returns what is to be said of it: nil if the lane makes no call again that ended
// so. The error is the broker's. An older Weir, which knew of no redials, may have made
// the entry of one: then in learns of its event which it is.
func (ln *lane) redial(ctx context.Context, in *Intent, conv Conversation) (*Redial, error) {
	policy := ln.cfg.Redials
	if !slices.Contains(policy.On, conv.Result) {
		return nil, nil //nolint:nilnil // nothing is to be said
	}
	r := &Redial{Attempt: in.Redial + 1, Of: len(policy.After)}
	last := because(fmt.Sprintf("it was the last of %d redials", r.Of))
	switch {
	case ln.cfg.Dry:
		return r.not(because(dryWhy))
	case in.Redial >= r.Of:
		return r.not(last)
	case len(in.Others) > 0:
		return r.not(because("a second conversation exists for this event"))
	}
	ev, err := ln.original(ctx, *in)
	if err != nil {
		return r.not(err)
	}
	in.recall(ev)
	if r.Attempt = in.Redial + 1; in.Redial >= r.Of {
		return r.not(last)
	}
	request, _, err := ln.translate(schema.NewReading(ev))
	switch {
	case err != nil:
		return r.not(because("it cannot be sent again: " + err.Error()))
	case request.To.Number == "":
		return nil, nil //nolint:nilnil // it was no call
	}
	r.At = in.over(conv, time.Now()).Add(policy.After[in.Redial])
	first, _ := schema.Redialled(ev)
	next := schema.Again(ev, cmp.Or(first, ev.ID()), r.Attempt, ln.placed(*in), r.At)
	life, err := schema.LifetimeOf(next)
	switch r.At = life.NotBefore; {
	case err != nil:
		return r.not(because(err.Error()))
	case !life.Expires.IsZero() && !r.At.Before(life.Expires):
		return r.not(because("the event expires at " + instant(life.Expires) + ", before its next call"))
	}
	header, data, err := ln.layOut(next)
	if err != nil {
		return r.not(because(err.Error()))
	}
	r.ID, r.Intent = next.ID(), Key(in.Lane, next.Source(), next.ID())
	switch known, _, err := ln.e.cfg.Ledger.Load(ctx, in.Lane, r.Intent); {
	case err != nil:
		return nil, err
	case known.State == Cancelled:
		return r.not(because("it was withdrawn"))
	case known.State != Absent: // this end was told before
		return r, nil
	}
	return r, ln.e.cfg.Stream.Append(ctx, in.Lane, r.Intent+"."+schema.Digest(next)[:8], header, data)
}

// recall takes from an event that is one of Weir's redials which one it is, if the
// entry does not say it: an older Weir made that.
func (in *Intent) recall(ev event.Event) {
	if first, number := schema.Redialled(ev); in.Redial == 0 && number > 0 {
		in.RedialOf, in.Redial = first, number
	}
}

// mostHeader is how large the headers of a redial may be, in bytes. The broker takes
// 64 KiB, and Weir adds some of its own when it keeps the event.
const mostHeader = 12 << 10

// layOut is the message of a redial: in binary mode, whose body is no larger than the
// event's own, or, where the attributes are too large for headers, structured.
func (ln *lane) layOut(next event.Event) (header map[string][]string, data []byte, err error) {
	header, data, err = schema.Encode(next, schema.Binary)
	if err != nil {
		return nil, nil, err
	}
	size := 0
	for name, values := range header {
		size += len(name) + len(values[0]) + len(": \r\n")
	}
	if size <= mostHeader {
		return header, data, nil
	}
	header, data, err = schema.Encode(next, schema.Structured)
	if err != nil {
		return nil, nil, err
	}
	if _, err := schema.Decode(header, data, ln.cfg.MaxEvent); err != nil {
		return nil, nil, because("the event is too large with what a redial adds to it")
	}
	return header, data, nil
}

// because is why nobody is called again.
type because string

func (b because) Error() string { return string(b) }

// not is a redial that is not made, for a reason; any other error is the broker's.
func (r *Redial) not(err error) (*Redial, error) {
	why, ok := errors.AsType[because](err)
	if !ok {
		return nil, err
	}
	return &Redial{Attempt: r.Attempt, Of: r.Of, Reason: string(why)}, nil
}

// Why the event of a call cannot be had again.
const (
	notKept      because = "the event is not kept any more"
	wasCorrected because = "the event was corrected by a person, and only the one before is kept"
)

// original is the event that an intent's conversation was made of.
func (ln *lane) original(ctx context.Context, in Intent) (event.Event, error) {
	if in.Sequence == 0 {
		return event.Event{}, notKept
	}
	header, data, err := ln.e.cfg.Stream.Event(ctx, in.Lane, in.Sequence)
	switch {
	case errors.Is(err, ErrGone):
		return event.Event{}, notKept
	case err != nil:
		return event.Event{}, err
	}
	ev, err := schema.Decode(header, data, max(len(data), 1))
	switch {
	case err != nil, Key(in.Lane, ev.Source(), ev.ID()) != in.Key: // another stream, made anew
		return event.Event{}, notKept
	case schema.Digest(ev) != in.Digest:
		return event.Event{}, wasCorrected
	}
	return ev, nil
}

// over is when a conversation ended: as its provider says, where that can be.
func (in Intent) over(conv Conversation, now time.Time) time.Time {
	if end := conv.EndedAt; end.After(in.claimedAt(in.made())) && end.Before(now) {
		return end
	}
	return now
}

// placed is when an intent's call was placed, at the latest. One whose claim
// the ledger does not know is of a time that was lost: then so may its redials be (H19).
func (ln *lane) placed(in Intent) time.Time {
	at := in.claimedAt(in.made())
	claimed := slices.ContainsFunc(in.History, func(t Transition) bool { return t.State == Started && t.Claim == in.made() })
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if !claimed && !ln.before.IsZero() {
		at = earlier(at, ln.before.Add(-time.Second))
	}
	return at
}

// since is when the call was placed that a redial follows up, the first one of all, or
// where that is not known the one before it; zero if the event is none of Weir's
// redials.
func (ln *lane) since(ctx context.Context, c *candidate) (time.Time, error) {
	if c.first == "" {
		return time.Time{}, nil
	}
	first, _, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, Key(ln.cfg.Name, c.ev.Source(), c.first))
	if err != nil {
		return time.Time{}, fmt.Errorf("the call that is made again: %w", err)
	}
	if first.Claimed.IsZero() { // it is not remembered any more
		return c.ev.Time(), nil
	}
	return first.Claimed, nil
}

// MayEnd reports whether the end of a conversation of the intent may yet be told.
func (in Intent) MayEnd() bool {
	return in.State == Created || in.State == Started || in.State == Doubt
}

// following names the call that follows one that was placed, as a command that
// withdraws it, and how its event stands; false if none can follow.
func (ln *lane) following(ctx context.Context, in Intent, cmd Command) (next Command, then Intent, found bool, err error) {
	first := in.ID
	if in.Redial > 0 {
		first = in.RedialOf
	}
	if in.ID == "" || Key(in.Lane, in.Source, in.ID) != in.Key || in.Redial > 0 && in.ID != schema.RedialID(first, in.Redial) {
		return next, then, false, nil // its names were cut, or forgotten
	}
	source := in.Source
	for n := in.Redial + 1; in.State == Ended && in.Next != "" || in.MayEnd() && n <= len(ln.cfg.Redials.After); n++ {
		id := schema.RedialID(first, n)
		next = Command{Verb: VerbCancel, Intent: Key(in.Lane, source, id), Source: source, ID: id, By: cmd.By, Reason: cmd.Reason}
		if in, _, err = ln.e.cfg.Ledger.Load(ctx, in.Lane, next.Intent); err != nil {
			return next, in, false, err
		}
		if in.State != Created && in.State != Ended {
			return next, in, true, nil
		}
	}
	return next, then, false, nil
}

// withdrawRedial withdraws the call that follows one that was placed: whoever
// withdraws an event wants nobody to be called. It reports false if none can follow.
func (ln *lane) withdrawRedial(ctx context.Context, in Intent, cmd Command) (state State, found bool, err error) {
	next, _, found, err := ln.following(ctx, in, cmd)
	if found {
		state, err = ln.withdrawOne(ctx, next)
	}
	return state, found || err != nil, err
}

// forgetRedial sees to it that nobody is called again of whom an event is to be
// forgotten: the next call is withdrawn, and forgotten as well.
func (ln *lane) forgetRedial(ctx context.Context, in Intent, cmd Command) error {
	next, then, found, err := ln.following(ctx, in, cmd)
	if err != nil || !found || then.Settled() && then.State != Cancelled {
		return err // what waits for a person is found by its own name
	}
	if _, err := ln.withdrawOne(ctx, next); err != nil {
		return fmt.Errorf("the call that follows it could not be withdrawn: %w", err)
	}
	if then, _, err = ln.e.cfg.Ledger.Load(ctx, in.Lane, next.Intent); err == nil {
		_, err = ln.erase(ctx, Command{Verb: VerbForget, Intent: next.Intent, Expect: then.N, By: cmd.By, Reason: cmd.Reason})
	}
	return err
}
