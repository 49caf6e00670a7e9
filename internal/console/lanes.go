package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lanes is what the pages of lanes read and do. By is who decides.
type Lanes interface {
	// Overview looks at all lanes. It is asked for often.
	Overview(ctx context.Context) (Overview, error)
	// Pause stops lanes before their next call; Resume lets them go on.
	Pause(ctx context.Context, lanes []string, by, reason string) ([]Switched, error)
	Resume(ctx context.Context, lanes []string, by string) ([]Switched, error)
	// Lane tells of one lane what Overview does not.
	Lane(ctx context.Context, lane string) (LaneDetail, error)
	// PlanRelease tells what a release of a held lane would do when events born until
	// before are not sent; a zero time is now. Release does it.
	PlanRelease(ctx context.Context, lane string, before time.Time) (Release, error)
	Release(ctx context.Context, lane string, before time.Time, by, reason string) (Release, error)
}

// Switched is what became of a lane's pause or resumption.
type Switched struct {
	Lane    string
	Running bool // somebody runs the lane
	Seen    bool // and obeys
}

// lanesPages are the pages of lanes.
func (c *Console) lanesPages() []entry {
	return []entry{
		{path: "/{$}", nav: "Lanes", below: "/lanes/", show: c.showLanes},
		{path: "/lanes/{lane}", show: c.showLane},
		{path: "/lanes/{lane}/release", show: c.showRelease, act: c.release},
		{path: "/pause", show: c.showPause, act: c.pause},
		{path: "/resume", act: c.resume},
	}
}

// mostShown is how many lanes the first page shows: those in trouble first, if there
// are more.
const mostShown = 100

// mostCharts is how many of them have their charts there.
const mostCharts = 40

// mostStuck is how many lanes that do not call are named at the top.
const mostStuck = 5

// lanesView is the first page.
type lanesView struct {
	Overview

	Headline string
	Tone     string
	Stuck    []Lane // the first of those that do not call
	Totals   []Fact
	Cards    []laneCard
	Search   string
	More     int  // lanes that are not shown
	Pauses   bool // a lane is paused
	Goes     bool // a lane is not
	Since    time.Time
}

// laneCard is a lane on the first page.
type laneCard struct {
	Lane

	Minute minute  // the sum of the last full minutes, as a rate
	Last   minute  // the sum of the hour
	Charts []chart // nil: none
}

// Rate is how many calls were begun a minute, of late.
func (c laneCard) Rate() string {
	rate := float64(c.Minute.Made) / rateMinutes
	if rate > 0 && rate < 10 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return strconv.FormatFloat(rate, 'f', 0, 64)
}

// rateMinutes is what a rate is the mean of, with the minute that runs.
const rateMinutes = 3

func (c *Console) showLanes(ctx context.Context, v *visit) (view, error) {
	o, err := c.board.overview(ctx)
	if err != nil {
		return view{}, err
	}
	return view{Template: "lanes", Title: "Lanes", Live: true, Data: c.lanesView(o, plain(v.URL.Query().Get("q"), 80))}, nil
}

func (c *Console) lanesView(o Overview, search string) lanesView {
	shown := lanesView{Overview: o, Search: search}
	shown.Headline, shown.Tone = headline(o)
	var sum Lane
	var lanes []Lane
	for _, l := range o.Lanes {
		sum.Used, sum.Limit = sum.Used+l.Used, sum.Limit+l.Limit
		sum.Waiting, sum.InFlight = sum.Waiting+l.Waiting, sum.InFlight+l.InFlight
		sum.Doubts, sum.Dead = sum.Doubts+l.Doubts, sum.Dead+l.Dead
		shown.Pauses = shown.Pauses || l.State == Paused
		shown.Goes = shown.Goes || l.State != Paused
		if search == "" || strings.Contains(strings.ToLower(l.Name+" "+l.Label+" "+l.Account), strings.ToLower(search)) {
			lanes = append(lanes, l)
		}
	}
	if len(lanes) > mostShown {
		slices.SortStableFunc(lanes, func(a, b Lane) int { return cmp.Compare(rank(a), rank(b)) })
		shown.More = len(lanes) - mostShown
		lanes = lanes[:mostShown]
	}
	for _, l := range o.Lanes {
		if !l.Calls() && len(shown.Stuck) < mostStuck {
			shown.Stuck = append(shown.Stuck, l)
		}
	}
	now := o.At
	for i, l := range lanes {
		card := laneCard{Lane: l}
		hour, since := c.board.hour(l.Name, now)
		card.Minute, card.Last, shown.Since = total(hour, rateMinutes), total(hour, minutes), since
		if i < mostCharts {
			card.Charts = []chart{slotsChart(hour), madeChart(hour), waitingChart(hour)}
		}
		shown.Cards = append(shown.Cards, card)
	}
	shown.Totals = []Fact{
		{"slots in use", countOf(sum.Used, sum.Limit)},
		{"events waiting", fmt.Sprint(sum.Waiting)},
		{"in flight", fmt.Sprint(sum.InFlight)},
		{"doubts", fmt.Sprint(sum.Doubts)},
		{"dead letters", fmt.Sprint(sum.Dead)},
	}
	return shown
}

// rank puts those in trouble first.
func rank(l Lane) int {
	return slices.Index([]string{"bad", "wait", "calm", "good"}, l.Tone())
}

// headline says in a sentence whether leads are called.
func headline(o Overview) (words, tone string) {
	still, noted, busy := 0, 0, false
	for _, l := range o.Lanes {
		if !l.Calls() {
			still++
		}
		busy = busy || l.Busy()
		if len(l.Notes) > 0 {
			noted++
		}
	}
	n := len(o.Lanes)
	switch {
	case o.Stale:
		return "The broker does not answer. This is how it was " + since(o.At, time.Now()) + ".", "bad"
	case n == 0:
		return "There is no lane.", "calm"
	case still == n && n == 1:
		return "The lane does not call.", "bad"
	case still == n:
		return "No lane calls.", "bad"
	case still > 0:
		return fmt.Sprintf("%d of %d lanes %s not call.", still, n, doOrDoes(still)), "bad"
	case noted > 0:
		return fmt.Sprintf("%s, but look at %s.", callWords(n, busy), count(noted, "lane", "lanes")), "wait"
	default:
		return callWords(n, busy) + ".", "good"
	}
}

// callWords says of lanes that call that they do.
func callWords(n int, busy bool) string {
	switch {
	case !busy:
		return "Nothing waits to be called"
	case n == 1:
		return "The lane calls"
	default:
		return fmt.Sprintf("All %d lanes call", n)
	}
}

func doOrDoes(n int) string {
	if n == 1 {
		return "does"
	}
	return "do"
}

// countOf is a number of a whole.
func countOf(used, limit int) string { return fmt.Sprintf("%d of %d", used, limit) }

// choose returns the lanes that a form or an address names; none means all.
func (c *Console) choose(ctx context.Context, named []string) ([]Lane, error) {
	o, err := c.board.overview(ctx)
	if err != nil {
		return nil, err
	}
	return pick(o.Lanes, named)
}

// pick returns the named lanes; none means all.
func pick(all []Lane, named []string) ([]Lane, error) {
	if len(named) == 0 {
		return all, nil
	}
	var chosen []Lane
	for _, name := range named {
		i := slices.IndexFunc(all, func(l Lane) bool { return l.Name == name })
		if i < 0 {
			return nil, refuse(http.StatusNotFound, "There is no lane of that name.", "Choose one from the first page.")
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// laneNames are the names of lanes.
func laneNames(lanes []Lane) []string {
	all := make([]string, len(lanes))
	for i, l := range lanes {
		all[i] = l.Name
	}
	return all
}

func (c *Console) showPause(ctx context.Context, v *visit) (view, error) {
	return c.pausePage(ctx, v.URL.Query()["lane"], "")
}

// pausePage asks why. named are the lanes; none means all.
func (c *Console) pausePage(ctx context.Context, named []string, wrong string) (view, error) {
	lanes, err := c.choose(ctx, named)
	if err != nil {
		return view{}, err
	}
	title, hidden := "Pause all lanes", map[string]string{}
	if len(named) == 1 {
		title, hidden["lane"] = "Pause lane "+named[0], named[0]
	}
	shown := view{Template: "ask", Title: title, Crumbs: []crumb{{"Lanes", "/"}}, Data: askView{
		Text: "No new call is begun from the next moment on. Calls that run go on to their end, and events wait. It holds until the lanes are resumed, also when weir serve starts anew.",
		List: lanesTable(lanes),
		Form: form{
			Action: "/pause", Button: "Pause", Hidden: hidden,
			Fields: []field{{Name: "reason", Label: "Why?", Help: "Everybody who looks at the lane sees it, with your name.", Required: true, Max: 200, Error: wrong}},
		},
	}}
	if wrong != "" {
		shown.Status = http.StatusUnprocessableEntity
	}
	return shown, nil
}

// askView is a page that asks before something is done.
type askView struct {
	Text string
	List *table
	Form form
}

// lanesTable lists what lanes do.
func lanesTable(lanes []Lane) *table {
	t := &table{Caption: "The lanes", Head: []string{"Lane", "State", "Waiting"}, Empty: "There is no lane."}
	for _, l := range lanes {
		t.Rows = append(t.Rows, []cell{
			{Text: l.Name, Sub: l.Label},
			{Text: l.State, Sub: l.Why, Class: "tone " + l.Tone()},
			{Text: fmt.Sprint(l.Waiting), Class: "num"},
		})
	}
	return t
}

func (c *Console) pause(ctx context.Context, v *visit) (done, error) {
	named := v.PostForm["lane"]
	reason := v.field("reason")
	if reason == "" {
		shown, err := c.pausePage(ctx, named, "Say why.")
		return again(shown), err
	}
	lanes, err := c.choose(ctx, named)
	if err != nil {
		return done{}, err
	}
	results, err := c.desks.Lanes.Pause(ctx, laneNames(lanes), v.Name, reason)
	if err != nil {
		return done{}, err
	}
	return done{to: "/", word: switchedWord("paused", results)}, nil
}

func (c *Console) resume(ctx context.Context, v *visit) (done, error) {
	lanes, err := c.choose(ctx, v.PostForm["lane"])
	if err != nil {
		return done{}, err
	}
	results, err := c.desks.Lanes.Resume(ctx, laneNames(lanes), v.Name)
	if err != nil {
		return done{}, err
	}
	return done{to: "/", word: switchedWord("resumed", results)}, nil
}

// switchedWord tells what became of a pause or a resumption.
func switchedWord(what string, results []Switched) word {
	var seen, unseen, idle []string
	for _, r := range results {
		switch {
		case r.Seen:
			seen = append(seen, r.Lane)
		case r.Running:
			unseen = append(unseen, r.Lane)
		default:
			idle = append(idle, r.Lane)
		}
	}
	var said []string
	if len(seen) > 0 {
		said = append(said, fmt.Sprintf("%s: %s, and weir serve has seen it.", names(seen), what))
	}
	if len(idle) > 0 {
		said = append(said, fmt.Sprintf("%s: %s; nobody runs it now, it holds when somebody does.", names(idle), what))
	}
	if len(unseen) > 0 {
		said = append(said, fmt.Sprintf("%s: %s, but weir serve has not confirmed it yet. Look at the first page again in a moment.", names(unseen), what))
	}
	return word{Text: strings.Join(said, " "), Bad: len(unseen) > 0}
}

// names lists lanes, not too many.
func names(lanes []string) string {
	if len(lanes) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(lanes[:5], ", "), len(lanes)-5)
	}
	return strings.Join(lanes, ", ")
}
