package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// releaseCmd is weir release.
type releaseCmd struct {
	Lane           []string `placeholder:"NAME" sep:"none" help:"Lanes; may be given more than once."`
	All            bool     `help:"All lanes of the configuration."`
	NotCalledSince string   `placeholder:"TIME" help:"You vouch that nobody was called after this time, so later events are sent: a time, or an age such as 2h. Default: now."`
	DryRun         bool     `help:"Only say what would be done with each lane."`
	Yes            bool     `short:"y" help:"Do not ask."`
	decision
}

// released is what became, or would become, of one lane.
type released struct {
	Lane    string    `json:"lane"`
	Held    bool      `json:"held"`           // before
	Since   time.Time `json:"since,omitzero"` // when it was held
	Why     string    `json:"why,omitzero"`   // what was missing
	Before  time.Time `json:"before"`         // events born earlier, and not known, come into doubt
	Done    bool      `json:"released"`
	Running bool      `json:"running"` // a weir serve owns the lane
	Seen    bool      `json:"seen"`    // and obeys
}

// Run releases lanes after a loss of state.
func (c *releaseCmd) Run(a *app) error {
	now := time.Now()
	before := now
	if c.NotCalledSince != "" {
		var err error
		if before, err = pointInTime("--not-called-since", c.NotCalledSince, now); err != nil {
			return err
		}
		if before.After(now) {
			return usageError{fmt.Errorf("--not-called-since %s is in the future", c.NotCalledSince)}
		}
	}
	by, err := c.signedUnless(c.DryRun, a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error { return c.release(a, d, by, before) })
}

// onBrokersClock moves a boundary that is by this machine's clock to the broker's,
// by which the events' births are. Only a later one is taken: an event too many in
// doubt is a person's work, one too few is a second call.
func onBrokersClock(before time.Time, look consumer.Sample) time.Time {
	return before.Add(max(0, -look.Off()))
}

func (c *releaseCmd) release(a *app, d *desk, by decision, before time.Time) error {
	names, err := laneChoice{Lanes: c.Lane, All: c.All}.names(d)
	if err != nil {
		return err
	}
	all, err := d.planRelease(a.ctx, names, before, c.NotCalledSince != "")
	if err != nil {
		return err
	}
	if c.DryRun {
		return a.print(all, func(w io.Writer) { drawReleased(w, all) })
	}
	if err := c.agreed(a, all); err != nil {
		return err
	}
	if err := d.release(a.ctx, all, by); err != nil {
		return err
	}
	if c.All && len(all) > 0 { // also those that only another file has
		latest := slices.MaxFunc(all, func(a, b released) int { return a.Before.Compare(b.Before) })
		if err := d.broker.ReleaseOthers(a.ctx, latest.Before, by.By, by.Reason); err != nil {
			return err
		}
	}
	unseen := 0
	for _, r := range all {
		if r.Running && !r.Seen {
			unseen++
		}
	}
	err = a.print(all, func(w io.Writer) { drawReleased(w, all) })
	if unseen > 0 {
		err = errors.Join(err, fmt.Errorf("%d lanes have not confirmed it; look with weir lanes", unseen))
	}
	return err
}

// planRelease tells what a release of lanes would do. before is by this machine's
// clock; vouched says that a person gave it.
func (d *desk) planRelease(ctx context.Context, names []string, before time.Time, vouched bool) ([]released, error) {
	look, err := d.broker.Time(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the broker's clock, by which events are born: %w", err)
	}
	before = onBrokersClock(before, look)
	gates, err := d.broker.Gates(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, errNeverServed
	}
	if err != nil {
		return nil, err
	}
	all := make([]released, len(names))
	for i, lane := range names {
		g := gates[lane]
		all[i] = released{Lane: lane, Held: g.Held, Before: before.UTC()}
		if g.Held {
			all[i].Since, all[i].Why = g.Since, g.Why
		}
		if !vouched && g.Since.After(before) { // this machine's clock is behind
			all[i].Before = g.Since
		}
		if g.Before.After(all[i].Before) {
			all[i].Before = g.Before
		}
	}
	return all, nil
}

// release releases lanes as it was planned, and waits until running ones obey.
func (d *desk) release(ctx context.Context, all []released, by decision) error {
	for i := range all {
		r := &all[i]
		if err := d.broker.Release(ctx, r.Lane, r.Before, by.By, by.Reason); err != nil {
			return err
		}
		r.Done = true
		r.Running, r.Seen = d.freed(ctx, r.Lane, r.Before)
	}
	return nil
}

// agreed asks, unless it was told not to.
func (c *releaseCmd) agreed(a *app, all []released) error {
	if c.Yes {
		return nil
	}
	if !interactive(a.stdin) || !isTerminal(a.stderr) {
		return usageError{errors.New("nothing was released; give --yes to do it, or --dry-run to look first")}
	}
	for _, r := range all {
		fmt.Fprintln(a.stderr, r.sentence())
	}
	return agree(a.ctx, a.stdin, a.stderr, "Release? Only events of which nobody knows whether they were called come into doubt; the others are sent.")
}

// sentence says it to a person.
func (r released) sentence() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lane %s: events from before %s that the ledger does not know come into doubt, later ones are sent", r.Lane, r.Before.Format(time.RFC3339))
	switch {
	case !r.Done && r.Held:
		fmt.Fprintf(&b, "; it has been held since %s, and nothing was sent since: %s", r.Since.Format(time.RFC3339), r.Why)
	case !r.Done:
		b.WriteString("; it is not held")
	case r.Seen:
		b.WriteString("; released, and weir serve has seen it")
	case r.Running:
		b.WriteString("; released, but weir serve has not confirmed it")
	default:
		b.WriteString("; released: it holds when weir serve starts")
	}
	return b.String()
}

func drawReleased(w io.Writer, all []released) {
	for _, r := range all {
		fmt.Fprintln(w, r.sentence())
	}
}

// freed waits until the lane's owner obeys a release.
func (d *desk) freed(ctx context.Context, lane string, before time.Time) (running, seen bool) {
	ctx, cancel := context.WithTimeout(ctx, obeyFor)
	defer cancel()
	for {
		s, err := d.status(ctx, lane)
		if errors.Is(err, broker.ErrNoOwner) {
			return false, false
		}
		if err == nil && s != nil && s.Hold == nil && !s.Before.Before(before) {
			return true, true
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return true, false
		}
	}
}
