package consumer

import (
	"context"
	"fmt"
	"time"
)

// An event is withdrawn before it was sent: it waits, or the ledger has nothing
// of it, because no lane has taken it up or because nobody has published it. The
// two cannot be told apart here, and need not be: the entry is made as Cancelled,
// without the digest of a content that is not known, and whatever comes under the
// same source and id meets it.
//
// It is a decision, so the ledger comes first, by compare-and-set against the
// claim: whoever is told "cancelled" is never called after that. Then the outcome.
// The event stays in its stream, or its schedule in WEIR_LATER: delivered, it
// meets the state, publishes the outcome again, under the same id, and is
// acknowledged. A crash between ledger and outcome leaves an entry that the next
// owner tells at its start (see repeat), so that an event that was withdrawn
// before it was published is told of as well.

// cancelPatience is how long a cancel, and each other command of a person, waits for
// the goroutine that has the event: longer than most providers take to answer, so
// that the answer is of what came of it.
const cancelPatience = 3 * time.Second

// withdraw cancels an event that was not sent, or the next call to the person of one
// that was.
func (ln *lane) withdraw(ctx context.Context, cmd Command) (State, error) {
	state, err := ln.withdrawOne(ctx, cmd)
	if err == nil || state != Created && state != Ended {
		return state, err
	}
	in, _, failed := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, cmd.Intent)
	if failed != nil {
		return state, failed
	}
	if next, found, err := ln.withdrawRedial(ctx, in, cmd); found {
		return next, err
	}
	return state, err
}

// withdrawOne cancels one event that was not sent.
func (ln *lane) withdrawOne(ctx context.Context, cmd Command) (State, error) {
	if cmd.By == "" || cmd.Reason == "" {
		return "", fmt.Errorf("a name and a reason are needed")
	}
	if cmd.ID != "" && Key(ln.cfg.Name, cmd.Source, cmd.ID) != cmd.Intent {
		return "", fmt.Errorf("the intent is not the one of this source and id")
	}
	if !ln.await(ctx, cmd.Intent) {
		in, _, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, cmd.Intent)
		if err == nil && in.State == Started {
			err = tooLate(in.State)
		} else if err == nil {
			err = fmt.Errorf("the event is being worked on; try again in a moment")
		}
		return in.State, err
	}
	defer ln.unlock(cmd.Intent)
	in, rev, err := ln.load(ctx, cmd.Intent)
	switch {
	case err != nil:
		return "", err
	case in.State == Absent && cmd.ID == "":
		return Absent, fmt.Errorf("the ledger does not know the event; name it by its source and id")
	case in.State == Absent:
		in.Lane, in.Key, in.Source, in.ID = ln.cfg.Name, cmd.Intent, cmd.Source, cmd.ID
	case in.State == Waiting && ln.doubtful(in, time.Time{}, Origin{}):
		return in.State, fmt.Errorf("part of Weir's state was lost after this event was taken up, so that it may have been sent; it will be in doubt")
	}
	if in.State == Waiting && in.Doubted {
		return ln.keepBack(ctx, in, rev, cmd)
	}
	in, err = ln.resolve(ctx, in, rev, Step{Kind: StepCancel, By: cmd.By, Reason: cmd.Reason})
	if err == nil {
		ln.forget(in.Key)
	}
	return in.State, err
}

// keepBack keeps an event from being sent again that was in doubt before: nobody
// knows whether the first request was obeyed, so "withdrawn" would be a lie. It is
// in doubt again. Its message meets that, is kept as a doubt's copy, and tells it.
func (ln *lane) keepBack(ctx context.Context, in Intent, rev uint64, cmd Command) (State, error) {
	done, err := ln.decide(ctx, in, rev, Step{Kind: StepQuestion, By: cmd.By, Reason: unsentAgain + cmd.Reason})
	if err != nil {
		return in.State, err
	}
	if done.State != Doubt {
		return done.State, tooLate(done.State)
	}
	return Doubt, fmt.Errorf("the event is not sent again, but it was in doubt before: its call may have been placed; settle it with weir doubt resolve")
}

// await takes the intent for this goroutine. It waits a moment for another one
// that has it, and reports whether it got it.
func (ln *lane) await(ctx context.Context, key string) bool {
	ctx, cancel := context.WithTimeout(ctx, cancelPatience)
	defer cancel()
	for !ln.lock(key) {
		released := ln.working(key)
		if released == nil {
			continue // meanwhile
		}
		select {
		case <-released:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// tooLate says why an event in this state cannot be withdrawn, and what can be
// done instead.
func tooLate(s State) error {
	switch s {
	case Started:
		return fmt.Errorf("the event is being sent; it cannot be withdrawn any more")
	case Created, Ended:
		return fmt.Errorf("too late: the conversation was created")
	case Doubt:
		return fmt.Errorf("the event is in doubt: its call may have been placed; settle it with weir doubt resolve")
	case Dead:
		return fmt.Errorf("the event is a dead letter and will not be sent; give it up with weir dead drop")
	default:
		return fmt.Errorf("the event is over: %s", stateName(s))
	}
}
