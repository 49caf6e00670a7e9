package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/console"
)

// lanesDesk is what the console's pages of lanes read and do.
type lanesDesk struct {
	desk    *desk
	trouble func() error // of this process; nil: none

	mu    sync.Mutex // the view counts letters for one at a time
	view  *laneView
	tails map[string]*outcomesTail // by lane
}

func newLanesDesk(d *desk, trouble func() error) *lanesDesk {
	return &lanesDesk{desk: d, trouble: trouble, view: &laneView{desk: d}, tails: make(map[string]*outcomesTail)}
}

// Overview implements console.Lanes.
func (d *lanesDesk) Overview(ctx context.Context) (console.Overview, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows, err := d.view.rows(ctx)
	if err != nil {
		return console.Overview{}, forConsole(err)
	}
	o := console.Overview{At: time.Now()}
	if err := d.trouble(); err != nil {
		o.Trouble = append(o.Trouble, err.Error())
	}
	for _, r := range rows {
		o.Lanes = append(o.Lanes, r.forConsole())
	}
	return o, nil
}

// forConsole translates a row.
func (r laneRow) forConsole() console.Lane {
	l := console.Lane{
		Name: r.Lane, Label: r.Label, Provider: r.Provider, Account: r.Account, Owner: r.Owner, Epoch: r.Epoch,
		State: r.State, Why: r.Why, Notes: r.besides(), Blocked: stopsSending(r.Cause), DryRun: r.DryRun, Used: r.Used, Limit: r.Limit,
		Waiting: r.Waiting, InFlight: r.InFlight, Doubts: r.Doubts, Settling: r.Settling, Dead: r.Dead, Created: r.Created,
	}
	if s := r.Recent; s != nil {
		l.Breaker, l.Full, l.Odd = s.Breaker, s.Full, s.Unexplained
		asleep := s.Waits[consumer.CauseWindow] + s.Waits[consumer.CauseNotBefore]
		l.Blocked = l.Blocked || r.State == "running" && asleep > 0 && r.Used == 0 && r.Waiting == 0 && uint64(asleep) >= r.InFlight
	}
	return l
}

// stopsSending reports whether nothing is sent for this cause, whatever the slots say.
func stopsSending(cause string) bool {
	switch cause {
	case "", consumer.CauseSlot, consumer.CauseQueue:
		return false
	default:
		return true
	}
}

// Pause implements console.Lanes.
func (d *lanesDesk) Pause(ctx context.Context, lanes []string, by, reason string) ([]console.Switched, error) {
	return d.flip(ctx, lanes, "paused", func(lane string) error { return d.desk.broker.Pause(ctx, lane, by, reason) })
}

// Resume implements console.Lanes.
func (d *lanesDesk) Resume(ctx context.Context, lanes []string, by string) ([]console.Switched, error) {
	return d.flip(ctx, lanes, "resumed", func(lane string) error { return d.desk.broker.Resume(ctx, lane, by) })
}

func (d *lanesDesk) flip(ctx context.Context, lanes []string, state string, write func(lane string) error) ([]console.Switched, error) {
	results, err := d.desk.switchEach(ctx, lanes, state, write)
	all := make([]console.Switched, len(results))
	for i, r := range results {
		all[i] = console.Switched{Lane: r.Lane, Running: r.Running, Seen: r.Seen}
	}
	return all, forConsole(err)
}

// PlanRelease implements console.Lanes.
func (d *lanesDesk) PlanRelease(ctx context.Context, lane string, before time.Time) (console.Release, error) {
	all, err := d.plan(ctx, lane, before)
	if err != nil {
		return console.Release{}, forConsole(err)
	}
	return all[0].forConsole(), nil
}

// Release implements console.Lanes.
func (d *lanesDesk) Release(ctx context.Context, lane string, before time.Time, by, reason string) (console.Release, error) {
	all, err := d.plan(ctx, lane, before)
	if err != nil {
		return console.Release{}, forConsole(err)
	}
	if !all[0].Held {
		return console.Release{}, console.Denied{Text: "The lane is not held.", Next: "Look at the first page again."}
	}
	err = d.desk.release(ctx, all, decision{By: by, Reason: reason})
	return all[0].forConsole(), forConsole(err)
}

// plan is what a release would do; a zero time is now.
func (d *lanesDesk) plan(ctx context.Context, lane string, before time.Time) ([]released, error) {
	now := time.Now()
	vouched := !before.IsZero()
	if !vouched {
		before = now
	}
	all, err := d.desk.planRelease(ctx, []string{lane}, before, vouched)
	if err == nil && len(all) != 1 {
		err = errors.New("a plan for one lane has another number")
	}
	return all, err
}

// forConsole translates what became of a release.
func (r released) forConsole() console.Release {
	return console.Release{Lane: r.Lane, Held: r.Held, Since: r.Since, Why: r.Why, Before: r.Before, Running: r.Running, Seen: r.Seen}
}
