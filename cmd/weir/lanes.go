package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/owner"
)

// lanesCmd is weir lanes.
type lanesCmd struct {
	Watch bool `help:"Show it again each second, until interrupted."`
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
	DryRun   bool   `json:"dry_run,omitzero"` // by its owner's file, or by this one if nobody runs it

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
		return a.printCut(rows, func(w io.Writer) { drawLanes(w, rows) })
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
		row.owned(owners[accountPrefix+ac.Name])
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
	}
	return r, nil
}

// owned notes whose the lane is. One that does not answer has gone, as a rule:
// somebody takes over when its lease has run out.
func (r *laneRow) owned(s owner.Standing) {
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
func drawLanes(w io.Writer, rows []laneRow) {
	fmt.Fprintln(w, "LANE\tPROVIDER\tSTATE\tSLOTS\tWAITING\tIN FLIGHT\tDOUBTS\tDEAD\tOWNER\tWHY")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\n",
			r.Lane, r.Provider, r.state(), r.slots(), r.Waiting, r.InFlight, r.doubts(), r.Dead, or(r.Owner), or(r.why()))
	}
}

// why draws what is to be said of the lane and of its outcomes.
func (r laneRow) why() string {
	words := r.Outcomes.words()
	if r.Why != "" && words != "" {
		words = r.Why + "; " + words
	}
	return cmp.Or(words, r.Why)
}

// watch shows the lanes each second. A broker that is away for a while is shown
// too, rather than ending the watch.
func (v *laneView) watch(a *app) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		rows, err := v.rows(a.ctx)
		if a.ctx.Err() != nil {
			return nil
		}
		if err := showLanes(a, rows, err); err != nil {
			return err
		}
		select {
		case <-a.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// showLanes draws one moment of a watch: a page on a terminal, a line a lane
// elsewhere.
func showLanes(a *app, rows []laneRow, trouble error) error {
	switch {
	case a.flags.Output == "json":
		if trouble != nil {
			fmt.Fprintf(a.stderr, "weir: %v\n", trouble)
			return nil
		}
		return json.NewEncoder(a.stdout).Encode(rows)
	case trouble != nil:
		_, err := fmt.Fprintf(a.stdout, "%s  %v\n", time.Now().Format(time.TimeOnly), trouble)
		return err
	case isTerminal(a.stdout):
		fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
		return a.printCut(rows, func(w io.Writer) { drawLanes(w, rows) })
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\tslots %s\t%d waiting\t%d in flight\t%s doubts\t%d dead\t%s\n",
			time.Now().Format(time.TimeOnly), r.Lane, r.state(), r.slots(), r.Waiting, r.InFlight, r.doubts(), r.Dead, or(r.why()))
	}
	return tw.Flush()
}
