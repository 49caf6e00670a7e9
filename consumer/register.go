package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/schema"
)

// Register knows who must not be contacted, and who was.
type Register interface {
	// Admit rules on each of the approaches, which are about to be claimed. What was
	// blocked before the call counts. ContactNow is a permission to claim within
	// ClaimAge and may have been entered durably: whoever does not use it may leave
	// it. An error means that nobody knows, of none of them.
	Admit(ctx context.Context, approaches []Approach) ([]Ruling, error)
}

// Approach is an event that is about to be claimed, and whom it contacts.
type Approach struct {
	Lane   string
	Intent string
	N      int // of the intent: a claim will be made only while it has this one
	To     Recipient
	Redial bool // the event says that the person is contacted once more on purpose
	// Since, of a redial that a lane makes by itself, is when the first call was placed:
	// whoever was spoken with after that is not called again. Else zero.
	Since time.Time
}

// admitted returns the candidates that the register lets be contacted now. It is
// asked last before the claim, so whatever a candidate waited for, it is judged by
// what holds now. An event that must not be sent is suppressed, and one of which
// nobody knows waits.
func (ln *lane) admitted(ctx context.Context, group []*candidate, g *grant) []*candidate {
	if ln.e.cfg.Register == nil || len(group) == 0 {
		return group
	}
	rulings, err := ln.consult(ctx, group)
	if err != nil {
		ln.lg.Warn().Err(err).Msg("whether people may be contacted is not known")
		ln.hitched(err)
		falter(ctx)
		ln.letGo(g, group, 5*time.Second)
		return nil
	}
	return keep(group, func(i int, c *candidate) bool {
		switch ruling := rulings[i]; ruling.Verdict {
		case ContactNow:
			return true
		case ContactNever:
			g.release(1)
			ln.withhold(ctx, c, ruling)
		default:
			ln.waits.put(c.msg, CausePerson)
			ln.tellWait(c.intent, CausePerson, ruling.Rule, ruling.Reason, ruling.Until)
			ln.letGo(g, []*candidate{c}, max(time.Until(ruling.Until), time.Second))
		}
		return false
	})
}

// consult asks the register of a group.
func (ln *lane) consult(ctx context.Context, group []*candidate) ([]Ruling, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ln.e.cfg.ClaimAge)
	defer cancel()
	approaches := make([]Approach, len(group))
	for i, c := range group {
		since, err := ln.since(ctx, c)
		if err != nil {
			return nil, err
		}
		approaches[i] = Approach{Lane: ln.cfg.Name, Intent: c.intent.Key, N: c.intent.N, To: c.request.To, Redial: c.redial, Since: since}
	}
	rulings, err := ln.e.cfg.Register.Admit(ctx, approaches)
	if err == nil && len(rulings) != len(group) {
		err = errors.New("the register did not rule on each event")
	}
	return rulings, err
}

// withhold ends a candidate that must not be sent.
func (ln *lane) withhold(ctx context.Context, c *candidate, ruling Ruling) {
	var done *Intent
	var err error
	if c.intent.State == Doubt && c.intent.Open {
		done, err = ln.give(ctx, c.intent, c.rev, Step{Kind: StepPark, Foreign: c.intent.Foreign, Reason: fmt.Sprintf("it was not sent again: %s; as before: %s", ruling.Reason, c.intent.Reason)})
	} else {
		done, err = ln.suppress(ctx, c, &schema.Skip{Class: schema.ClassContact, Rule: ruling.Rule, Reason: ruling.Reason})
	}
	if err != nil {
		if ln.stumble(c.msg, c.intent.Key, err) {
			falter(ctx)
		}
		return
	}
	ln.finish(ctx, c.msg, *done)
}

// Reach is what an intent has been to the person whom it is about.
type Reach int

// What an intent has been.
const (
	ReachNone       Reach = iota // nobody was contacted
	ReachOpen                    // a request may be on its way
	ReachUnknown                 // somebody may have been contacted
	ReachLive                    // a conversation is under way
	ReachUnanswered              // there was one, and nobody took part
	ReachAnswered                // there was one
)

// Reach returns what the intent has been to its person, and of a conversation that
// is over when that was written down. What is not known to be unanswered was
// answered.
func (in Intent) Reach() (Reach, time.Time) {
	switch in.State {
	case Started:
		return ReachOpen, time.Time{}
	case Created:
		return ReachLive, time.Time{}
	case Ended:
		return in.ended()
	}
	if in.State == Doubt || in.Attempts > 0 || in.Doubted { // whatever a person made of it
		return ReachUnknown, time.Time{}
	}
	return ReachNone, time.Time{}
}

// ended is Reach of an intent whose conversation is over.
func (in Intent) ended() (Reach, time.Time) {
	i := slices.IndexFunc(in.History, func(t Transition) bool { return t.State == Ended })
	if i < 0 {
		return ReachAnswered, in.Claimed
	}
	switch end := in.History[i]; end.Reason {
	case "unanswered", "failed", "cancelled": // Conversation.Result
		return ReachUnanswered, end.At
	default:
		return ReachAnswered, end.At
	}
}
