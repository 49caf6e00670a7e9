package consumer

import (
	"context"
	"errors"

	"github.com/weirhq/weir/schema"
)

// What is said of an event that was to be sent again, and that was not: unsentAgain
// where it waits with a doubt behind it, unobeyed where a person ordered it.
const (
	unsentAgain = "it was not sent again, and whether an earlier request was obeyed is not known: "
	unobeyed    = "the order to send it again was not obeyed: "
)

// suppress records that a rule of the lane forbids to send the event.
func (ln *lane) suppress(ctx context.Context, c *candidate, skip *schema.Skip) (*Intent, error) {
	return ln.decide(ctx, c.intent, c.rev, c.withheld(Step{Kind: StepSuppress, Class: string(skip.Class), Rule: skip.Rule, Reason: skip.Reason}))
}

// refuseEvent makes a dead letter of an event that was not sent.
func (ln *lane) refuseEvent(ctx context.Context, c *candidate, refusal error) (*Intent, error) {
	step := Step{Kind: StepRefuse, Class: classInternal, Reason: refusal.Error()}
	if r, ok := errors.AsType[*schema.Refusal](refusal); ok {
		step.Class = string(r.Class)
	}
	if c.msg != nil && c.msg.Origin().Intent == "" {
		step.Sequence = c.msg.Origin().Sequence
	}
	return ln.decide(ctx, c.intent, c.rev, c.withheld(step))
}

// expire records that an event is over.
func (ln *lane) expire(ctx context.Context, c *candidate, reason string) (*Intent, error) {
	return ln.decide(ctx, c.intent, c.rev, c.withheld(Step{Kind: StepExpire, Reason: reason}))
}

// withheld is the decision not to send the event, as it is made of one that may have
// been sent before, or that a person ordered to be sent. What was once in doubt may
// have been sent, and stays in doubt (H16). An order of a person is answered in the
// person's name: a doubt stays one, and a letter that is over stays a letter, for it
// can be corrected.
func (c *candidate) withheld(s Step) Step {
	in := c.intent
	if in.State == Waiting && in.Doubted {
		s.Kind, s.Reason = StepQuestion, unsentAgain+s.Reason
	}
	if c.replay == nil {
		return s
	}
	if s.Kind == StepExpire || s.Kind == StepSuppress && in.State == Doubt {
		s.Kind, s.Reason = StepDecline, unobeyed+s.Reason
	}
	s.Expect, s.By = c.replay.Expect, c.replay.By
	return s
}
