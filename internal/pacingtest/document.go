package pacingtest

import (
	"fmt"
	"strings"
	"time"
)

// Document writes the page of the benchmark, but for what is measured over HTTP.
func (l *Lab) Document() string {
	var b strings.Builder
	for _, part := range []func() string{
		l.goals, l.atTwenty, l.scale, l.poisson, l.changes, l.neighbours, l.outage, l.lag, l.retryAfter, l.webhooks, l.replicas,
	} {
		b.WriteString(part() + "\n")
	}
	return b.String()
}

// Efficiency is the ratio to the oracle in %, the requests for each call and the
// refusals for 100 calls of a client in a scenario.
func (l *Lab) Efficiency(sc Scenario, o Options) (ratio, requests, refusals Figure) {
	s := l.run(sc, func() Client { return Weir(o) })
	return s.figure(ratioOf), s.figure(perCall), s.figure(refused)
}

func (l *Lab) atTwenty() string {
	head, scenarios := columns(backlog(20))
	rows := append(append(others(), pacers()...), askers()...)
	return "## 2,000 leads at once, 20 slots\n\nRatio to the oracle in %, requests for each call (POST and GET), refusals (429) for 100 calls.\n\n" +
		l.table(head, scenarios, rows, efficiency)
}

func (l *Lab) scale() string {
	var text strings.Builder
	text.WriteString("## 2,000 leads at once, other limits\n\n")
	for _, limit := range []int{5, 50, 200} {
		head, scenarios := columns(backlog(limit))
		rows := append([]entrant{others()[4], others()[5]}, pacers()...)
		rows = append(rows, askers()[0], askers()[3])
		fmt.Fprintf(&text, "### %d slots\n\n%s\n", limit, l.table(head, scenarios, rows, efficiency))
	}
	return text.String()
}

func (l *Lab) poisson() string {
	var text strings.Builder
	text.WriteString("## Leads that arrive by chance, 20 slots\n\nFour hours, the first 15 minutes of which do not count. Seconds that a lead waits: mean / half of them / 99 of 100; then requests for each call and refusals for 100; with load 1.2 the share of the slots that was busy instead of the waits.\n\n")
	wait := func(s Stats) string {
		return fmt.Sprintf("%s / %s / %s; %s, %s", s.figure(meanWait).format(2), s.figure(halfWait).format(2),
			s.figure(longWait).format(1), s.figure(perCall).format(2), s.figure(refused).format(1))
	}
	full := func(s Stats) string {
		return fmt.Sprintf("%s %%; %s, %s", s.figure(busy).format(1), s.figure(perCall).format(2), s.figure(refused).format(1))
	}
	for _, load := range []float64{0.5, 0.9, 1.2} {
		show := wait
		if load > 1 {
			show = full
		}
		head, scenarios := columns(arriving(load), variants[0], variants[3])
		o := others()
		rows := append([]entrant{o[0], o[3], o[4], o[5], o[8], o[10]}, pacers()...)
		fmt.Fprintf(&text, "### Load %.1f\n\n%s\n", load, l.table(head, scenarios, append(rows, askers()[:4]...), show))
	}
	return text.String()
}

// arriving is four hours of leads.
func arriving(load float64) Scenario {
	return Scenario{Limit: 20, Load: load, For: 4 * time.Hour, Drop: 15 * time.Minute}
}

// changing is a limit that rises and falls.
func changing() Scenario {
	return Scenario{Limit: 20, Backlog: 2600, Changes: []Change{{30 * time.Minute, 50}, {60 * time.Minute, 20}}}
}

func (l *Lab) changes() string {
	show := func(s Stats) string {
		return fmt.Sprintf("%s / %s / %s", s.figure(ratioOf).format(2), s.figure(filled).format(1), s.figure(afterCut).format(0))
	}
	text := "## The limit rises from 20 to 50 at 30 minutes, and falls back at 60\n\nRatio to the oracle in %, seconds until 95 % of 50 slots are busy, refusals in the 3 minutes after the fall. With headers `limit` is 20 and `limit_max` 50; without them `limit` is 50, since nothing would tell.\n\n"
	head, with := columns(changing(), variants[:2]...)
	o := others()
	known := []entrant{o[4], o[5], o[8], ours("**weir** auto", raised(frugalGet, 50), some), ours("**weir** auto, tight", raised(tightGet, 50), some),
		ours("**weir** post", raised(frugalPost, 50), some), ours("**weir** post, tight", raised(tightPost, 50), some)}
	text += l.table(head, with, known, show) + "\n"
	head, without := columns(changing(), variants[2:]...)
	blind := []entrant{o[4], o[5], o[8], ours("**weir** post", limited(frugalPost, 50), some), ours("**weir** post, tight", limited(tightPost, 50), some)}
	return text + l.table(head, without, blind, show)
}

func (l *Lab) neighbours() string {
	var text strings.Builder
	text.WriteString("## Others use the account\n\nFrom 15 minutes on, others try to place so many calls that they alone would fill the given part of the slots, and give up where there is no room. The oracle has the same neighbours.\n\n")
	for _, offered := range []float64{0.5, 1.5} {
		sc := crowded(offered)
		head, scenarios := columns(sc)
		o := others()
		rows := append([]entrant{o[4], o[5], o[10]}, pacers()...)
		fmt.Fprintf(&text, "### %.1f of the limit\n\n%s\n", offered, l.table(head, scenarios, append(rows, askers()[0], askers()[3]), efficiency))
	}
	return text.String()
}

func crowded(offered float64) Scenario {
	sc := backlog(20)
	sc.Neighbour, sc.NeighbourFrom = offered, 15*time.Minute
	return sc
}

// failing is an outage of five minutes.
func failing() Scenario {
	sc := Scenario{Limit: 20, Backlog: 1000}
	sc.OutageFrom, sc.OutageTo = 30*time.Minute, 35*time.Minute
	return sc
}

func (l *Lab) outage() string {
	show := func(s Stats) string {
		return fmt.Sprintf("%s / %s / %s", s.figure(inOutage).format(1), s.figure(atOutage).format(1), s.figure(filled).format(1))
	}
	head, scenarios := columns(failing())
	o := others()
	rows := append([]entrant{o[3], o[4], o[5], o[8]}, pacers()...)
	return "## Five minutes of 503\n\nRequests during it, those in its first 10 seconds, and the seconds after it until 95 % of the slots are busy. The operator vouches for 503 (`refused_statuses`).\n\n" +
		l.table(head, scenarios, append(rows, askers()[0]), show)
}

func lagging(lag time.Duration) Scenario {
	sc := backlog(20)
	sc.Lag = lag
	return sc
}

func (l *Lab) lag() string {
	var text strings.Builder
	text.WriteString("## Headers that lag behind\n\nThey show the slots of so long ago.\n\n")
	for _, lag := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second} {
		head, scenarios := columns(lagging(lag), variants[:2]...)
		fmt.Fprintf(&text, "### %v\n\n%s\n", lag, l.table(head, scenarios, append(pacers(), askers()[0]), efficiency))
	}
	return text.String()
}

func (l *Lab) retryAfter() string {
	var text strings.Builder
	text.WriteString("## A Retry-After on each 429\n\nIt is honoured, always.\n\n")
	for _, after := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second} {
		sc := backlog(20)
		sc.RetryAfter = after
		head, scenarios := columns(sc)
		fmt.Fprintf(&text, "### %v\n\n%s\n", after, l.table(head, scenarios, append(pacers(), askers()[0]), efficiency))
	}
	return text.String()
}

func (l *Lab) webhooks() string {
	rows := []entrant{}
	for _, o := range []struct {
		name          string
		delay         time.Duration
		lost          float64
		confirm, list bool
	}{
		{"after 200 ms, were they believed", 200 * time.Millisecond, 0, false, false},
		{"after 200 ms, each confirmed by a GET", 200 * time.Millisecond, 0, true, false},
		{"after 1 s, each confirmed", time.Second, 0, true, false},
		{"after 5 s, each confirmed", 5 * time.Second, 0, true, false},
		{"after 200 ms, each confirmed, one in ten lost", 200 * time.Millisecond, 0.1, true, false},
		{"after 200 ms, confirmed by a list", 200 * time.Millisecond, 0, true, true},
		{"after 200 ms, confirmed by a list, one in ten lost", 200 * time.Millisecond, 0.1, true, true},
	} {
		rows = append(rows, ours("**weir** auto, webhooks "+o.name, frugalGet, Options{
			Hooks: true, Delay: o.delay, Lost: o.lost, Confirm: o.confirm, List: o.list, Polls: PollAll,
		}))
	}
	rows = append(rows, ours("**weir** post, webhooks after 200 ms, were they believed", frugalPost, Options{Hooks: true, Delay: 200 * time.Millisecond, Polls: PollAll}))
	head, scenarios := columns(backlog(20))
	return "## Webhooks\n\nA webhook frees its slot at once; the engine then asks the provider, whose word alone ends a conversation: for each call, or where the provider has a list for many at a time, within 90 s. A page of a list shows 100 calls and is one request; lists go back a minute further than they must, for the provider's clock may be behind. Calls whose webhook is lost are found by asking.\n\n" +
		l.table(head, scenarios, rows, efficiency)
}
