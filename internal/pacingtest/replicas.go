package pacingtest

import (
	"fmt"
	"strings"
	"time"
)

// crew is a client of which there are several replicas, and its provider. Each end
// is asked for, as the engine does.
type crew struct {
	name string
	v    variant
	o    Options
}

func crews() []crew {
	auto, post, told := all, all, all
	auto.Limiter, post.Limiter, told.Limiter = limited(frugalGet, 20), limited(frugalPost, 20), limited(frugalGet, 20)
	told.Hooks, told.Delay, told.Confirm = true, 200*time.Millisecond, true
	return []crew{{"auto, A+H", variants[0], auto}, {"post, B+N", variants[3], post}, {"auto, A+N, webhooks", variants[2], told}}
}

// fleet runs replicas of a crew. A provider that is lax refuses nothing.
func (l *Lab) fleet(c crew, f Fleet, lax bool) Stats {
	sc := c.v.of(backlog(20))
	sc.Lax = lax
	return l.run(sc, func() Client { return Replicas(f, c.o) })
}

const struck = 10 * time.Minute

// several is G9.
func (l *Lab) several() []target {
	var all []target
	for _, c := range crews() {
		one, eight, killed := l.fleet(c, Fleet{Replicas: 1}, false), l.fleet(c, Fleet{Replicas: 8}, false), l.fleet(c, Fleet{Replicas: 8, Every: struck}, false)
		all = append(
			all,
			target{"G9", "points that eight replicas lose to one, " + c.name, less(one, eight).figure(lost), 0.3, false, 2},
			target{"G9", "the same, one of them killed each ten minutes", less(one, killed).figure(lost), 1, false, 2},
			target{"G9", "requests of eight replicas through those of one, " + c.name, less(one, eight).figure(more), 1.1, false, 2},
		)
		if c.o.Limiter.Probe == frugalGet.Probe {
			lax := l.fleet(c, Fleet{Replicas: 8, Every: struck}, true)
			all = append(all, target{"G9", "calls above the limit where nobody refuses, one killed each ten minutes, " + c.name, lax.figure(over), 0, false, 0})
		}
	}
	return all
}

// less sets the runs of one against those of another with the same seeds, in place
// of the oracle's.
func less(one, other Stats) Stats { return Stats{Runs: other.Runs, Oracle: one.Runs} }

func lost(r, one Result) float64 { return 100 - ratioOf(r, one) }
func more(r, one Result) float64 { return r.PerCall() / one.PerCall() }
func over(r, _ Result) float64   { return float64(r.Over) }

// replicas are the rows of fleets.
func (l *Lab) replicas() string {
	var b strings.Builder
	b.WriteString("## Replicas\n\nAn account has one owner at a time, which alone asks for conversations; the other replicas stand by. So as long as none ends, R replicas are one, whatever R is. Here one of them, by chance, is killed each ten minutes and is back after 10 s. If it was the owner, nobody asks for anything until its lease has expired: 5 s after the last renewal, one of which came each second, and up to a second more; webhooks of that time are lost. The next owner counts the slots in use from the ledger, asks for each call at once, and knows nothing else: not what headers told, nor how long calls last. A request that was under way at the kill arrives or not; nobody asks for that lead again, and its slot is held until no call of it can live, an hour and 20 s, unless headers or a webhook show sooner that it is free. An owner that is asked to stop ends its requests first, and the next one takes over at once. A single replica has nobody to take over: its own restart is waited for.\n\nThat nobody is called twice is the ledger's doing, and is tested elsewhere; that nobody is ever above the limit is tested here too, where nothing is refused (`internal/pacingtest.TestNothingPassesTheLimitWhenTheOwnerChanges`).\n\n| replicas |")
	for _, c := range crews() {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString("\n|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		f    Fleet
	}{
		{"1", Fleet{Replicas: 1}},
		{"2", Fleet{Replicas: 2}},
		{"4", Fleet{Replicas: 4}},
		{"8", Fleet{Replicas: 8}},
		{"1, killed each ten minutes", Fleet{Replicas: 1, Every: struck}},
		{"2, one of them killed each ten minutes", Fleet{Replicas: 2, Every: struck}},
		{"4, the same", Fleet{Replicas: 4, Every: struck}},
		{"8, the same", Fleet{Replicas: 8, Every: struck}},
		{"1, asked to stop each ten minutes", Fleet{Replicas: 1, Every: struck, Gently: true}},
		{"8, one of them asked to stop each ten minutes", Fleet{Replicas: 8, Every: struck, Gently: true}},
	} {
		b.WriteString("| " + row.name + " |")
		for _, c := range crews() {
			fmt.Fprintf(&b, " %s |", efficiency(l.fleet(c, row.f, false)))
		}
		b.WriteString("\n")
	}
	return b.String()
}
