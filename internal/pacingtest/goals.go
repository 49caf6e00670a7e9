package pacingtest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// target is one figure that a goal asks for.
type target struct {
	goal   string
	what   string
	got    Figure
	want   float64
	least  bool // at least want; else at most
	digits int
}

// verdict says whether a goal is reached. What is missed by less than two standard
// errors counts as met, and is said.
func (t target) verdict() string {
	short := t.got.Mean - t.want
	if t.least {
		short = -short
	}
	switch {
	case short <= 0:
		return "met"
	case short < 2*t.got.Err:
		return "met within two standard errors"
	default:
		return "**missed**"
	}
}

func (t target) row() string {
	sign := "≤"
	if t.least {
		sign = "≥"
	}
	return fmt.Sprintf("| %s | %s | %s %v | %s | %s |\n", t.goal, t.what, sign, t.want, t.got.format(t.digits), t.verdict())
}

// goals holds the design's goals against what is measured.
func (l *Lab) goals() string {
	var b strings.Builder
	b.WriteString("## Goals\n\nRatios are in % of the oracle's pace, *requests* are those for each call (POST and GET), with one call in 30 asked for to learn the mean length. Kappa is 2 L times the share lost, times the requests; 1 is the bound for ends that come by chance.\n\n")
	b.WriteString("| goal | what | asked | measured | |\n|---|---|---|---|---|\n")
	for _, part := range []func() []target{l.efficient, l.wide, l.waits, l.robust, l.told, l.several} {
		for _, t := range part() {
			b.WriteString(t.row())
		}
	}
	b.WriteString("\nThe rows in which webhooks are confirmed count every request of the engine, also for calls that are asked for in case their webhook is lost; where they are believed nothing is asked for. Why they miss their goal: an `ended` outcome tells how the call ended, and only the provider's own record says so. A webhook is anybody's who knows its address, so none becomes an outcome or an entry of the ledger unconfirmed (H13); to believe most and check some would leave each lie that is not checked in both for good. So where there is no list, as at Oration, a call takes one POST and one GET. Where there is one, it shows a hundred calls at a time; ends wait for it until as many have gathered as there are slots, at most 90 s, and what is above 1.05 are its pages and the calls that are asked for in case a webhook is lost. To wait longer would save a few hundredths of a request, and leave a slot that a lie set free unproved for as long.\n")
	return b.String()
}

// stats runs one of our configurations in a scenario and variant.
func (l *Lab) stats(sc Scenario, v variant, cfg ratelimiter.Config, o Options) Stats {
	sc = v.of(sc)
	return l.run(sc, ours("", cfg, o).make(sc))
}

// efficient is G1, G2, G3 and G5.
func (l *Lab) efficient() []target {
	var all []target
	post := map[string]struct{ kappa, frugal, tight float64 }{
		"A+H": {1.3, 1.35, 2.75}, "B+H": {1.05, 1.1, 2.6}, "A+N": {1.05, 2.1, 3.5}, "B+N": {1.05, 1.1, 2.6},
	}
	for _, v := range variants {
		frugal, tight := l.stats(backlog(20), v, frugalPost, some), l.stats(backlog(20), v, tightPost, some)
		free := 0.0
		if v.name == "A+N" {
			free = 1
		}
		p := post[v.name]
		all = append(
			all,
			target{"G1", "kappa, post, " + v.name, frugal.figure(kappa(20, free)), p.kappa, false, 2},
			target{"G2", "ratio, post, " + v.name, frugal.figure(ratioOf), 97.4, true, 2},
			target{"G2", "requests, post, " + v.name, frugal.figure(perCall), p.frugal, false, 2},
			target{"G3", "ratio, post, tight, " + v.name, tight.figure(ratioOf), 99, true, 2},
			target{"G3", "requests, post, tight, " + v.name, tight.figure(perCall), p.tight, false, 2},
		)
	}
	for _, v := range variants[:2] {
		frugal, tight := l.stats(backlog(20), v, frugalGet, some), l.stats(backlog(20), v, tightGet, some)
		all = append(
			all,
			target{"G1", "kappa, auto, " + v.name, frugal.figure(kappa(20, 0)), 1.75, false, 2},
			target{"G5", "429s for 100 calls, auto, " + v.name, frugal.figure(refused), 0, false, 1},
			target{"G5", "ratio, auto, " + v.name, frugal.figure(ratioOf), 97.3, true, 2},
			target{"G5", "requests, auto, " + v.name, frugal.figure(perCall), 1.65, false, 2},
			target{"G5", "ratio, auto, tight, " + v.name, tight.figure(ratioOf), 98.9, true, 2},
			target{"G5", "requests, auto, tight, " + v.name, tight.figure(perCall), 3.3, false, 2},
		)
	}
	return all
}

// wide is G4.
func (l *Lab) wide() []target {
	var all []target
	for i, most := range []float64{1.35, 1.05} {
		v := variants[i]
		s := l.stats(backlog(50), v, frugalPost, some)
		all = append(
			all,
			target{"G4", "ratio, post, 50 slots, " + v.name, s.figure(ratioOf), 99, true, 2},
			target{"G4", "requests, post, 50 slots, " + v.name, s.figure(perCall), most, false, 2},
		)
	}
	return all
}

// waits is G6.
func (l *Lab) waits() []target {
	var all []target
	longer := func(r, oracle Result) float64 { return r.Wait(0.99) - oracle.Wait(0.99) }
	times := func(r, oracle Result) float64 { return r.MeanWait() / oracle.MeanWait() }
	for _, c := range []struct {
		name string
		v    variant
		cfg  ratelimiter.Config
		most float64
	}{
		{"post, A+H", variants[0], frugalPost, 1.45},
		{"post, tight, A+H", variants[0], tightPost, 1.2},
		{"auto, A+H", variants[0], frugalGet, 1.45},
		{"auto, tight, A+H", variants[0], tightGet, 1.2},
		{"post, B+N", variants[3], frugalPost, 1.45},
		{"post, tight, B+N", variants[3], tightPost, 1.2},
	} {
		half, nine := l.stats(arriving(0.5), c.v, c.cfg, some), l.stats(arriving(0.9), c.v, c.cfg, some)
		all = append(
			all,
			target{"G6", "load 0.5, half of the waits, s, " + c.name, half.figure(halfWait), 0.061, false, 3},
			target{"G6", "load 0.5, 99 of 100 waits, s beyond the oracle's, " + c.name, half.figure(longer), 1, false, 2},
			target{"G6", "load 0.9, mean wait through the oracle's, " + c.name, nine.figure(times), c.most, false, 3},
		)
	}
	return all
}

// robust is G7, G8, G10 and G11.
func (l *Lab) robust() []target {
	var all []target
	for _, c := range []struct {
		name string
		v    variant
		cfg  ratelimiter.Config
	}{
		{"auto, A+H", variants[0], raised(frugalGet, 50)},
		{"post, A+H", variants[0], raised(frugalPost, 50)},
		{"post, B+H", variants[1], raised(frugalPost, 50)},
		{"post, A+N", variants[2], limited(frugalPost, 50)},
		{"post, B+N", variants[3], limited(frugalPost, 50)},
	} {
		s := l.stats(changing(), c.v, c.cfg, some)
		all = append(all, target{"G7", "seconds until 95 % of the new slots are busy, " + c.name, s.figure(filled), 3, false, 1})
	}
	for _, c := range []struct {
		name string
		v    variant
		cfg  ratelimiter.Config
	}{
		{"auto, A+H", variants[0], frugalGet}, {"post, A+H", variants[0], frugalPost}, {"post, B+N", variants[3], frugalPost},
	} {
		s := l.stats(failing(), c.v, c.cfg, some)
		worst := 0.0
		for _, r := range s.Runs {
			worst = math.Max(worst, r.Filled.Seconds())
		}
		all = append(
			all,
			target{"G8", "requests in an outage of 5 minutes, " + c.name, s.figure(inOutage), 45, false, 1},
			target{"G8", "requests in its first 10 s, " + c.name, s.figure(atOutage), 15, false, 1},
			target{"G8", "seconds until 95 % are busy after it, longest, " + c.name, Figure{Mean: worst}, 15, false, 1},
		)
	}
	for _, v := range variants[:2] {
		for _, c := range []struct {
			name string
			cfg  ratelimiter.Config
		}{{"post", frugalPost}, {"auto", frugalGet}} {
			s := l.stats(lagging(2*time.Second), v, c.cfg, some)
			all = append(
				all,
				target{"G10", "ratio, headers 2 s behind, " + c.name + ", " + v.name, s.figure(ratioOf), 95.5, true, 2},
				target{"G10", "429s for 100 calls, the same", s.figure(refused), 50, false, 1},
			)
		}
		for _, c := range []struct {
			name string
			cfg  ratelimiter.Config
			want float64
		}{{"post, tight", tightPost, 80}, {"auto, tight", tightGet, 80}, {"post", frugalPost, 55}, {"auto", frugalGet, 55}} {
			s := l.stats(crowded(1.5), v, c.cfg, some)
			all = append(all, target{"G11", "ratio beside others who offer 1.5 of the limit, " + c.name + ", " + v.name, s.figure(ratioOf), c.want, true, 1})
		}
	}
	return all
}

// told is what webhooks are to bring.
func (l *Lab) told() []target {
	var all []target
	for _, v := range []variant{variants[0], variants[3]} {
		s, c, many := l.stats(backlog(20), v, frugalGet, hooks), l.stats(backlog(20), v, frugalGet, confirmed), l.stats(backlog(20), v, frugalGet, listed)
		all = append(
			all,
			target{"webhooks", "ratio, 200 ms late, " + v.name, s.figure(ratioOf), 99.5, true, 2},
			target{"webhooks", "429s for 100 calls, " + v.name, s.figure(refused), 1, false, 1},
			target{"webhooks", "requests, were webhooks believed, " + v.name, s.figure(perCall), 1.05, false, 2},
			target{"webhooks", "requests, each end confirmed by a GET (no list: Oration), " + v.name, c.figure(perCall), 1.05, false, 2},
			target{"webhooks", "requests, ends confirmed by a list, " + v.name, many.figure(perCall), 1.05, false, 2},
		)
	}
	return all
}
