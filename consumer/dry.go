package consumer

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// A lane that rehearses (LaneConfig.Dry) does everything but the POST, with real
// events and real credentials: slots, pulls, the ledger's look, schema, route, and
// looks at conversations. An event that would be sent is suppressed instead, and
// its outcome says so. The order is that of a decision (H8): the ledger, the
// outcome, the ack; a crash between two leaves a message that repeats the rest.
//
// No claim is made for what is never sent: a claim whose process has gone would
// become a doubt, and there is none. Nor does a rehearsal end what only evidence
// or a person may end: a doubt stays one, a dead letter stays one whose replay a
// person ordered, and each says why.

// ClassDryRun is the class of an event that a dry run suppressed.
const ClassDryRun = "dry_run"

// What a person reads of events in a dry run.
const (
	dryReason    = "dry run: nothing was sent (send: false)"
	dryWhy       = "dry run: nothing is sent (send: false)"
	dryDoubted   = "dry run: it was not sent again (send: false); whether an earlier request was obeyed is not known"
	dryDeclined  = "dry run: the order to send it again was not obeyed (send: false); as before: "
	dryUnsettled = "dry run: its id was not sent again (send: false); as before: "
)

// errDry forbids the first byte.
var errDry = errors.New("the lane only rehearses (send: false)")

// rehearse ends candidates in place of a request. A slot is free again as soon as
// the ledger has the decision.
func (ln *lane) rehearse(ctx context.Context, group []*candidate, g *grant) {
	var wg sync.WaitGroup
	for _, c := range group {
		wg.Go(func() {
			done, err := ln.decide(ctx, c.intent, c.rev, c.unsent())
			if err != nil {
				if ln.stumble(c.msg, c.intent.Key, err) {
					falter(ctx)
				}
			}
			g.release(1)
			if err == nil {
				ln.finish(ctx, c.msg, *done)
			}
		})
	}
	wg.Wait()
}

// unsent is the step of a candidate in a dry run. That nothing was sent is said of
// an event only where that is certain.
func (c *candidate) unsent() Step {
	switch in := c.intent; {
	case in.State == Doubt && in.Open:
		return Step{Kind: StepPark, Foreign: in.Foreign, Reason: asBefore(dryUnsettled, in.Reason)}
	case c.replay != nil:
		return Step{Kind: StepDecline, Expect: c.replay.Expect, By: c.replay.By, Reason: asBefore(dryDeclined, in.Reason)}
	case in.Doubted:
		return Step{Kind: StepQuestion, Reason: dryDoubted}
	default:
		return Step{Kind: StepSuppress, Class: ClassDryRun, Reason: dryReason}
	}
}

// asBefore is what is said now, with what was said before; of several dry runs
// once.
func asBefore(now, before string) string {
	for _, said := range []string{dryDeclined, dryUnsettled} {
		before = strings.TrimPrefix(before, said)
	}
	return now + before
}

// silent is a provider that is asked for no conversation: no mistake in the engine
// makes a dry run call anybody.
type silent struct{ Provider }

// Create implements Provider: nothing is sent.
func (silent) Create(_ context.Context, b Batch) Answer {
	now := time.Now()
	a := Answer{Began: now, Done: now}
	for range b.Items {
		a.Results = append(a.Results, Result{Verdict: VerdictUnsent, Reason: errDry.Error()})
	}
	return a
}
