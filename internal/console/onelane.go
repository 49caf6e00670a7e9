package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// laneView is the page of one lane.
type laneView struct {
	laneCard

	LaneDetail
	Overview Overview
	Since    time.Time
	Outcomes *table
	Rules    *table
	Links    []link // other pages, of this lane alone
	Wrong    string // why the detail could not be read
}

func (c *Console) showLane(ctx context.Context, v *visit) (view, error) {
	name := v.PathValue("lane")
	o, err := c.board.overview(ctx)
	if err != nil {
		return view{}, err
	}
	chosen, err := pick(o.Lanes, []string{name})
	if err != nil {
		return view{}, err
	}
	hour, since := c.board.hour(name, o.At)
	shown := laneView{Overview: o, Since: since, laneCard: laneCard{
		Lane: chosen[0], Minute: total(hour, rateMinutes), Last: total(hour, minutes),
		Charts: []chart{slotsChart(hour), madeChart(hour), waitingChart(hour)},
	}}
	if shown.LaneDetail, err = c.desks.Lanes.Lane(ctx, name); err != nil {
		_, t, _ := explain(err)
		shown.Wrong = t.all()
	}
	shown.Outcomes, shown.Rules = outcomesTable(shown.Recent, c.eventPage()), routesTable(shown.Routes)
	query := url.Values{"lane": {name}}.Encode()
	for _, e := range c.pages {
		if e.ofLane {
			shown.Links = append(shown.Links, link{Text: e.nav, Href: e.path + "?" + query})
		}
	}
	return view{Template: "lane", Title: "Lane " + name, Crumbs: []crumb{{"Lanes", "/"}}, Live: true, Data: shown}, nil
}

// eventPage begins the address of one event's page; empty: there is none.
func (c *Console) eventPage() string {
	for _, e := range c.pages {
		if strings.HasPrefix(e.path, "/events/{lane}/{intent}") {
			return "/events/"
		}
	}
	return ""
}

// outcomesTable lists outcomes.
func outcomesTable(all []Outcome, events string) *table {
	t := &table{Caption: "The newest outcomes", Head: []string{"Outcome", "When", "Event", "What was said"}, Empty: "No outcome is among the newest."}
	for _, o := range all {
		event := cell{Text: o.Event, Class: "mono"}
		if o.Intent != "" && events != "" {
			event.Href = events + url.PathEscape(o.Lane) + "/" + url.PathEscape(o.Intent)
		}
		t.Rows = append(t.Rows, []cell{
			{Text: o.Kind},
			{Text: since(o.At, time.Now()), Class: "nowrap"},
			event,
			{Text: o.Words, Class: "wide"},
		})
	}
	return t
}

// routesTable lists routes in the order in which they are tried.
func routesTable(all []Route) *table {
	t := &table{Caption: "Routes: the first that matches an event holds", Head: []string{"Type", "When", "Sets"}, Empty: "It has no route."}
	for _, r := range all {
		t.Rows = append(t.Rows, []cell{
			{Text: r.Type, Class: "mono"},
			{Text: r.When, Class: "mono"},
			{Text: strings.Join(r.Request, ", "), Class: "mono wide"},
		})
	}
	return t
}

// releaseView asks before a held lane is released.
type releaseView struct {
	Release

	Form form
}

func (c *Console) showRelease(ctx context.Context, v *visit) (view, error) {
	return c.releasePage(ctx, v.PathValue("lane"), "", nil)
}

// releasePage shows what was lost, and asks. wrong is what is wrong with a field.
func (c *Console) releasePage(ctx context.Context, name, before string, wrong map[string]string) (view, error) {
	if _, err := c.choose(ctx, []string{name}); err != nil {
		return view{}, err
	}
	plan, err := c.desks.Lanes.PlanRelease(ctx, name, time.Time{})
	if err != nil {
		return view{}, err
	}
	shown := view{Template: "release", Title: "Release lane " + name, Crumbs: []crumb{{"Lanes", "/"}, {name, "/lanes/" + name}}, Data: releaseView{
		Release: plan,
		Form: form{
			Action: "/lanes/" + name + "/release", Button: "Release", Danger: true,
			Fields: []field{
				{Name: "before", Label: "Nobody was called after", Value: before, Max: 40, Error: wrong["before"],
					Help: "You vouch for it: later events are sent. A time such as 2026-11-21T09:30:00Z. Empty: now, so that every event which the ledger does not know comes into doubt."},
				{Name: "reason", Label: "Why?", Required: true, Max: 200, Error: wrong["reason"]},
			},
		},
	}}
	if len(wrong) > 0 {
		shown.Status = http.StatusUnprocessableEntity
	}
	return shown, nil
}

func (c *Console) release(ctx context.Context, v *visit) (done, error) {
	name, reason, text := v.PathValue("lane"), v.field("reason"), v.field("before")
	wrong := map[string]string{}
	if reason == "" {
		wrong["reason"] = "Say why."
	}
	before, problem := instant(text, time.Now())
	if problem != "" {
		wrong["before"] = problem
	}
	if len(wrong) > 0 {
		shown, err := c.releasePage(ctx, name, text, wrong)
		return again(shown), err
	}
	if _, err := c.choose(ctx, []string{name}); err != nil {
		return done{}, err
	}
	r, err := c.desks.Lanes.Release(ctx, name, before, v.Name, reason)
	if err != nil {
		return done{}, err
	}
	said := word{Text: fmt.Sprintf("%s: released; events from before %s that the ledger does not know come into doubt.", name, r.Before.UTC().Format(time.RFC3339))}
	switch {
	case r.Seen:
	case r.Running:
		said = word{Text: said.Text + " But weir serve has not confirmed it yet. Look again in a moment.", Bad: true}
	default:
		said.Text += " Nobody runs the lane now; it holds when somebody does."
	}
	return done{to: "/lanes/" + name, word: said}, nil
}

// instant reads a time that somebody typed; empty is the zero time.
func instant(text string, now time.Time) (t time.Time, problem string) {
	if text == "" {
		return time.Time{}, ""
	}
	t, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return time.Time{}, "Write it as 2026-11-21T09:30:00Z, or with an offset as 2026-11-21T10:30:00+01:00."
	case t.After(now):
		return time.Time{}, "This is in the future."
	default:
		return t, ""
	}
}
