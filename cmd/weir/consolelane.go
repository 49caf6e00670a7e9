package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

// Lane implements console.Lanes.
func (d *lanesDesk) Lane(ctx context.Context, name string) (console.LaneDetail, error) {
	for ac, lc := range d.desk.lanes() {
		if lc.Name == name {
			return d.detail(ctx, ac, lc)
		}
	}
	return console.LaneDetail{}, console.Absent{Text: "There is no lane of that name.", Next: "Choose one from the first page."}
}

func (d *lanesDesk) detail(ctx context.Context, ac config.Account, lc config.Lane) (console.LaneDetail, error) {
	out := console.LaneDetail{Facts: laneFacts(ac, lc)}
	for _, r := range lc.Sources {
		out.Routes = append(out.Routes, console.Route{Type: r.Type, When: r.When, Request: slices.Sorted(maps.Keys(r.Request))})
	}
	if lc.Webhook.Secret != "" {
		s, err := d.desk.status(ctx, lc.Name)
		if err == nil && s != nil {
			out.Webhooks = hookFacts(s.Webhooks)
		} else {
			out.Webhooks = []console.Fact{{Name: "webhooks of the provider", Value: "not known: nobody runs the lane"}}
		}
	}
	row, err := d.desk.delivery(ctx, lc)
	if err != nil {
		return out, forConsole(err)
	}
	if row != nil {
		out.Delivery = &console.Delivery{Waiting: row.Waiting, Retrying: row.Retrying, Undelivered: row.Undelivered, Since: row.Since, Reason: row.Reason}
	}
	out.Recent, err = d.recent(ctx, lc.Name)
	return out, forConsole(err)
}

// laneFacts are a lane's settings in force, without what it shares no word of.
func laneFacts(ac config.Account, lc config.Lane) []console.Fact {
	limits := make([]string, 0, len(ac.Limits))
	for _, channel := range slices.Sorted(maps.Keys(ac.Limits)) {
		limits = append(limits, strings.TrimPrefix(fmt.Sprintf("%s %d", channel, ac.Limits[channel]), " "))
	}
	fresh := "for ever"
	if lc.ExpireAfter > 0 {
		fresh = lc.ExpireAfter.String()
	}
	facts := []console.Fact{
		{Name: "provider", Value: ac.Provider}, {Name: "account", Value: ac.Name}, {Name: "address", Value: ac.URL},
		{Name: "limit", Value: strings.Join(limits, ", ")}, {Name: "weight", Value: fmt.Sprint(lc.Weight)}, {Name: "batch", Value: fmt.Sprint(lc.Batch)},
		{Name: "a request may take", Value: ac.Timeout.String()}, {Name: "an event is fresh", Value: fresh},
		{Name: "a doubt", Value: lc.Doubt}, {Name: "contact rules", Value: yesNo(lc.Contact != nil)},
	}
	if !lc.Send {
		facts = append(facts, console.Fact{Name: "send", Value: "false: nothing is sent"})
	}
	return facts
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// hookFacts are counts of webhooks.
func hookFacts(c consumer.HookCounts) []console.Fact {
	return []console.Fact{
		{Name: "webhooks of the provider", Value: fmt.Sprintf("%d reports, since its owner began", c.Received)},
		{Name: "ends confirmed", Value: fmt.Sprint(c.Confirmed)},
		{Name: "events settled by one", Value: fmt.Sprint(c.Settled)},
		{Name: "of unknown conversations", Value: fmt.Sprint(c.Unknown)},
		{Name: "unreadable, denied, dropped", Value: fmt.Sprintf("%d, %d, %d", c.Unreadable, c.Denied, c.Dropped)},
	}
}

// How many outcomes are shown, and how many of all lanes' are gone through for the
// first time.
const (
	mostRecent = 15
	mostTail   = 300
)

// outcomesTail is a lane's newest outcomes, and from where on to look for more.
type outcomesTail struct {
	made   time.Time // the stream's age
	from   uint64
	newest []console.Outcome // the newest last
}

// recent returns a lane's newest outcomes, the newest first.
func (d *lanesDesk) recent(ctx context.Context, lane string) ([]console.Outcome, error) {
	made, last, err := d.desk.broker.OutcomesEnd(ctx)
	if err != nil {
		return nil, unlessMissing(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tails[lane]
	if t == nil || !t.made.Equal(made) || t.from > last+1 {
		t = &outcomesTail{made: made, from: 1}
		d.tails[lane] = t
	}
	if last > mostTail {
		t.from = max(t.from, last-mostTail)
	}
	for t.from <= last {
		o, err := d.desk.broker.NextOutcome(ctx, lane, t.from)
		if err != nil {
			return nil, unlessMissing(err)
		}
		if o == nil {
			t.from = last + 1
			break
		}
		t.from = o.Sequence + 1
		t.newest = append(t.newest, outcomeForConsole(lane, o.Kind, o.Published, o.Body))
		t.newest = t.newest[max(0, len(t.newest)-mostRecent):]
	}
	newest := slices.Clone(t.newest)
	slices.Reverse(newest)
	return newest, nil
}

// outcomeForConsole reads an outcome as far as it is shown.
func outcomeForConsole(lane, kind string, at time.Time, body []byte) console.Outcome {
	var ce struct {
		Data consumer.OutcomeData `json:"data"`
	}
	out := console.Outcome{At: at, Kind: kind, Lane: lane}
	if json.Unmarshal(body, &ce) != nil {
		out.Words = "it cannot be read"
		return out
	}
	out.Event, out.Intent = schema.Mask(ce.Data.EventID), ce.Data.Intent
	out.Words = cmp.Or(ce.Data.Reason, ce.Data.Result, ce.Data.Status)
	return out
}
