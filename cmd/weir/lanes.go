package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/owner"
)

// lanesCmd is weir lanes.
type lanesCmd struct {
	Watch bool `help:"Show it again each second, until interrupted: on a terminal as a page, elsewhere a line a lane."`
}

// laneRow is what one lane is doing.
type laneRow struct {
	Lane     string `json:"lane"`
	Label    string `json:"label,omitzero"`
	Provider string `json:"provider"`
	Account  string `json:"account"`
	Owner    string `json:"owner,omitzero"` // the weir serve that runs the lane
	Epoch    uint64 `json:"epoch,omitzero"` // how often the account was taken over
	State    string `json:"state"`          // running, waiting, paused, held, stopped or not running
	Used     int    `json:"slots_used"`
	Limit    int    `json:"slots_limit"`
	Waiting  uint64 `json:"waiting"`   // events that were never delivered
	InFlight uint64 `json:"in_flight"` // delivered and not done
	Doubts   int    `json:"doubts"`    // that wait for a person
	Settling int    `json:"settling"`  // doubts that settle themselves
	Dead     int    `json:"dead"`
	Why      string `json:"why,omitzero"`
	// Notes is what is to be said of the lane besides, in whole clauses.
	Notes  []string `json:"notes,omitzero"`
	Cause  string   `json:"cause,omitzero"`   // of Why, one of the engine's; empty while events may be sent
	DryRun bool     `json:"dry_run,omitzero"` // by its owner's file, or by this one if nobody runs it

	Created  uint64              `json:"created"`            // by its owner, since it began
	Recent   *consumer.Recent    `json:"recent,omitempty"`   // as its owner has it
	Webhooks consumer.HookCounts `json:"webhooks,omitzero"`  // since weir serve was started
	Outcomes *deliveryRow        `json:"outcomes,omitempty"` // of a lane whose outcomes go to an address
}

// notRunning is the state of a lane whose owner is away.
const notRunning = "not running"

// Run shows the lanes once, or until it is interrupted.
func (c *lanesCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		v := &laneView{desk: d}
		if c.Watch {
			return v.watch(a)
		}
		rows, err := v.rows(a.ctx)
		if err != nil {
			return err
		}
		return a.printCut(rows, func(w io.Writer) { drawLanes(w, rows, a.brush()) })
	})
}

// laneView looks at the lanes, perhaps many times.
type laneView struct {
	desk   *desk
	mark   letterMark
	counts map[consumer.State]map[string]int // letters by state and lane, as of mark
}

// letterMark changes whenever a letter comes or goes.
type letterMark struct {
	last, first, messages uint64
	deleted               int
}

// rows looks at each lane.
func (v *laneView) rows(ctx context.Context) ([]laneRow, error) {
	pauses, err := v.desk.broker.Pauses(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	gates, err := v.desk.broker.Gates(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	owners, err := owner.Standings(ctx, v.desk.broker)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	if err := v.count(ctx); err != nil {
		return nil, err
	}
	rows := make([]laneRow, 0, len(v.desk.cfg.Accounts))
	for ac, lc := range v.desk.lanes() {
		row, err := v.row(ctx, ac, lc, pauses)
		if err != nil {
			return nil, err
		}
		if g := gates[lc.Name]; g.Held && row.State == notRunning {
			row.Why = heldWhy(g)
		}
		row.owned(owners[accountPrefix+ac.Name], time.Now())
		if row.Outcomes, err = v.desk.delivery(ctx, lc); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// row looks at one lane.
func (v *laneView) row(ctx context.Context, ac config.Account, lc config.Lane, pauses map[string]broker.PauseRecord) (laneRow, error) {
	r := laneRow{
		Lane: lc.Name, Label: lc.Label, Provider: ac.Provider, Account: ac.Name, State: notRunning, Limit: laneLimit(ac, lc),
		Doubts: v.counts[consumer.Doubt][lc.Name], Dead: v.counts[consumer.Dead][lc.Name],
	}
	var err error
	r.Waiting, r.InFlight, err = v.desk.broker.Backlog(ctx, lc.Name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return r, err
	}
	s, err := v.desk.status(ctx, lc.Name)
	switch {
	case errors.Is(err, broker.ErrNoOwner):
		r.DryRun = !lc.Send
		if p, ok := pauses[lc.Name]; ok {
			r.Why = fmt.Sprintf("paused by %s: %s", p.By, p.Reason)
		}
	case err != nil:
		r.State, r.Why = "unknown", err.Error()
	case s != nil:
		r.State, r.Why, r.Used, r.Limit = s.State, s.Why, s.Used, s.Limit
		r.Settling, r.Webhooks, r.DryRun = s.Settling, s.Webhooks, s.DryRun
		r.Cause, r.Created, r.Recent = s.Cause, s.Created, &s.Recent
		r.Notes = notes(*s)
	}
	return r, nil
}

// owned notes whose the lane is. One that does not answer has gone, as a rule:
// somebody takes over when its lease has run out.
func (r *laneRow) owned(s owner.Standing, now time.Time) {
	if words := flapping(s, now); words != "" {
		r.Notes = append(r.Notes, words)
	}
	if s.Alive || r.State != notRunning {
		r.Owner, r.Epoch = s.Holder, s.Epoch
	}
	if r.State == notRunning && r.Why == "" && s.Alive {
		r.Why = "its owner does not answer; another weir serve takes over when the lease has run out, unless the owner runs and its file has no such lane"
	}
}

// laneLimit is how many slots a lane's conversations have: of its channel, or of
// all channels together; 0 if they need none.
func laneLimit(ac config.Account, lc config.Lane) int {
	if ac.LimitChannel() != "" && len(lc.Channels) == 1 {
		return ac.Limits[lc.Channels[0]]
	}
	sum := 0
	for _, n := range ac.Limits {
		sum += n
	}
	return sum
}

// slots draws the slots in use, as far as they are known.
func (r laneRow) slots() string {
	switch {
	case r.Limit == 0:
		return "no limit"
	case r.State == notRunning || r.State == "unknown":
		return fmt.Sprintf("-/%d", r.Limit)
	default:
		return fmt.Sprintf("%d/%d", r.Used, r.Limit)
	}
}

// state draws the state, with a word on a lane that sends nothing.
func (r laneRow) state() string {
	if r.DryRun {
		return r.State + " (dry run)"
	}
	return r.State
}

// doubts draws the doubts: those of a person, and those that settle themselves.
func (r laneRow) doubts() string {
	if r.Settling == 0 {
		return strconv.Itoa(r.Doubts)
	}
	return fmt.Sprintf("%d +%d settling", r.Doubts, r.Settling)
}

// count counts the letters of each lane whose event is still in their state,
// anew only if one came or went since the last time.
func (v *laneView) count(ctx context.Context) error {
	s, err := v.desk.broker.JetStream().Stream(ctx, broker.StreamDead)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	at := s.CachedInfo().State
	mark := letterMark{last: at.LastSeq, first: at.FirstSeq, messages: at.Msgs, deleted: at.NumDeleted}
	if v.counts != nil && mark == v.mark {
		return nil
	}
	counts := map[consumer.State]map[string]int{consumer.Dead: {}, consumer.Doubt: {}}
	for state, byLane := range counts {
		for k, err := range v.desk.letters(ctx, state, "") {
			switch {
			case err != nil && k.Intent == "":
				return err
			case err != nil || k.stays(): // one that cannot be read is there all the same
				byLane[k.Lane]++
			}
		}
	}
	v.counts, v.mark = counts, mark
	return nil
}

// drawLanes draws the table.
func drawLanes(w io.Writer, rows []laneRow, b brush) {
	fmt.Fprintln(w, "LANE\tPROVIDER\tSTATE\tSLOTS\tWAITING\tIN FLIGHT\tDOUBTS\tDEAD\tOWNER\tWHY")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\n",
			r.Lane, r.Provider, b.paint(stateColour(r.State), r.state()), r.slots(), r.Waiting, r.InFlight, r.doubts(), r.Dead, or(r.Owner), or(r.why()))
	}
}

// why draws what is to be said of the lane and of its outcomes.
func (r laneRow) why() string {
	return strings.Join(slices.DeleteFunc(append([]string{r.Why}, r.besides()...), func(s string) bool { return s == "" }), "; ")
}

// besides is what is to be said that does not stop the lane.
func (r laneRow) besides() []string {
	all := slices.Clone(r.Notes)
	if words := r.Outcomes.words(); words != "" {
		all = append(all, words)
	}
	return all
}
