package bench

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AskedText is what the goal asks for.
func (g Goal) AskedText() string {
	if g.AtLeast {
		return "≥ " + g.figure(g.Asked)
	}
	return "≤ " + g.figure(g.Asked)
}

// GotText is what was measured, with the spread of the rounds if there is one.
func (g Goal) GotText() string {
	if g.AtLeast {
		return fmt.Sprintf("%s (%s to %s)", g.figure(g.Got), g.figure(g.Least), g.figure(g.Most))
	}
	return g.figure(g.Got)
}

// Verdict says whether the goal was met, and by what it was missed.
func (g Goal) Verdict() string {
	switch {
	case g.Met && g.AtLeast && g.Least < g.Asked:
		return "met by the median, not in each round"
	case g.Met:
		return "met"
	case g.AtLeast:
		return fmt.Sprintf("missed by %.0f points", 100*(g.Asked-g.Got))
	default:
		return "missed by " + g.figure(g.Got-g.Asked)
	}
}

func (g Goal) figure(v float64) string {
	if g.AtLeast {
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return fmt.Sprintf("%.2f", v)
}

// RateRows are the rates: a header, then a row each.
func (c Cell) RateRows() [][]string {
	rows := [][]string{{"rate", "events/s, median", "least", "most", "weir's through it"}}
	for _, r := range []struct {
		name   string
		series Series
	}{
		{"weir", c.Weir}, {"the same writes alone", c.Writes}, {"bare loop of fetch, POST, ack", c.Loop},
		{"the loop, and then the writes (computed)", c.Loop.Then(c.Writes)}, {"the same requests alone", c.Requests},
	} {
		least, most := r.series.Spread()
		rows = append(rows, []string{
			r.name, fmt.Sprintf("%.0f", r.series.Median()), fmt.Sprintf("%.0f", least), fmt.Sprintf("%.0f", most),
			fmt.Sprintf("%.0f %%", 100*c.Weir.Through(r.series).Median()),
		})
	}
	return rows
}

// TimeRows are the times: a header, then a row each.
func (c Cell) TimeRows() [][]string {
	rows := [][]string{{"time", "p50", "p99", "p99.9", "most", "of"}}
	for _, r := range []struct {
		name string
		q    Quantiles
	}{
		{"publish to first byte, single events", c.Alone},
		{"one publish and one compare-and-set", c.Pair},
		{"the publish of it", c.Publish},
		{"the compare-and-set of it", c.CAS},
		{fmt.Sprintf("publish to first byte at %.0f events/s", c.LoadRate), c.Loaded},
	} {
		rows = append(rows, []string{r.name, millis(r.q.P50), rare(r.q.P99, r.q.N, enough99), rare(r.q.P999, r.q.N, enough999), millis(r.q.Max), fmt.Sprint(r.q.N)})
	}
	return rows
}

// Of fewer durations a high quantile is the longest one.
const (
	enough99  = 100
	enough999 = 1000
)

// rare shows a high quantile if it is of enough durations.
func rare(d time.Duration, n, enough int) string {
	if n < enough {
		return "too few"
	}
	return millis(d)
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// CountRows are what is counted of an event: a header, then a row each.
func (c Cell) CountRows() [][]string {
	return [][]string{
		{"count", "of an event"},
		{"durable writes to the ack", byStream(c.ToAck)},
		{"durable writes to the end of the call", byStream(c.ToEnd)},
		{"requests for its conversation", fmt.Sprintf("%.2f", c.Creates)},
		{"looks until its end is known", fmt.Sprintf("%.2f", c.Looks)},
		{"requests at once, weir and bare loop", fmt.Sprintf("%d, %d", c.AtOnce, c.LoopMost)},
	}
}

// byStream is a sum and its parts.
func byStream(by map[string]float64) string {
	parts := make([]string, 0, len(by))
	for _, stream := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %.2f", stream, by[stream]))
	}
	return fmt.Sprintf("%.2f (%s)", sum(by), strings.Join(parts, ", "))
}

// CostRows are what an event costs: a header, then a row each.
func (c Cell) CostRows() [][]string {
	cpu := func(d Duration) string {
		if !c.Cost.Known {
			return "not known on this system"
		}
		return fmt.Sprintf("%d µs", time.Duration(d).Microseconds())
	}
	rows := [][]string{
		{"cost", "of an event"},
		{"processor, weir serve", cpu(c.Cost.Weir)},
		{"processor, its broker", cpu(c.Cost.Broker)},
		{"processor, the bare loop", cpu(c.Cost.Loop)},
		{"processor, its broker", cpu(c.Cost.LoopBy)},
		{"processor, the same writes alone", cpu(c.Cost.Writes)},
		{"processor, their broker", cpu(c.Cost.WritesBy)},
		{"processor, the provider, for weir", cpu(c.Cost.Provider)},
		{"allocations in weir's own functions, fetch to first byte", fmt.Sprintf("%.0f", c.Cost.Way.Own)},
		{"allocations in libraries meanwhile", fmt.Sprintf("%.0f", c.Cost.Way.Libraries)},
		{"allocations of weir serve, all of them", fmt.Sprintf("%.0f, %.1f KiB", c.Cost.Allocs, c.Cost.Bytes/1024)},
	}
	if c.Cost.Peak > 0 {
		rows = append(rows, []string{"memory of weir serve at most", fmt.Sprintf("%.0f MiB", float64(c.Cost.Peak)/(1<<20))})
	}
	return rows
}

// WayRows are Weir's own functions that allocate most between the fetch of an event
// and its first byte: a header, then a row each.
func (c Cell) WayRows() [][]string {
	rows := [][]string{{"allocations, fetch to first byte", "of an event"}}
	for _, f := range c.Cost.Way.Top {
		rows = append(rows, []string{f.Name, fmt.Sprintf("%.1f", f.Allocations)})
	}
	return rows
}

// Page is the report as a page of Markdown.
func (r Report) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, r.Load.Events, r.Load.Rounds, r.Load.Size, time.Duration(r.Load.Latency), r.Load.Workers)
	b.WriteString("## Goals\n\n")
	goals := [][]string{{"measured with", "goal", "asked", "measured", ""}}
	for _, g := range r.Goals {
		goals = append(goals, []string{g.Cell, g.What, g.AskedText(), g.GotText(), g.Verdict()})
	}
	table(&b, goals)
	for _, c := range r.Cells {
		fmt.Fprintf(&b, "\n## %s\n", capital(c.Name()))
		for _, rows := range [][][]string{c.RateRows(), c.TimeRows(), c.CountRows(), c.CostRows(), c.WayRows()} {
			b.WriteByte('\n')
			table(&b, rows)
		}
	}
	m := r.Machine
	fmt.Fprintf(&b, "\n## The run\n\n`%s`, weir %s, on %s. It took %v.\n\nMachine: %s, %d cores, %s, kernel %s, %s; load average %s when it began.\n",
		r.Command, r.Version, r.Date, time.Duration(r.Took), m.Processor, m.Cores, m.System, m.Kernel, m.Go, m.Busy)
	if busy, err := strconv.ParseFloat(m.Busy, 64); err == nil && busy > float64(m.Cores) {
		b.WriteString("\nMore than this run wanted the machine's processors and disk. What is counted is sure; each ratio of rates or times is only as sure as its spread is narrow, and one of more than 100 % of the same writes alone is chance. `make bench-load` on a machine that does nothing else tells more.\n")
	}
	return b.String()
}

const pageHead = "# Throughput\n\n" +
	"What an event costs, and how fast events go through. Written by `make bench-load`.\n\n" +
	"`weir serve`, its broker and the provider are processes of their own on one machine. In each of the rounds weir sends %[1]d events of %[3]d bytes that lie in its lanes, through all of its durable steps, to a provider that answers after about %[4]v and whose slots never run out. In the same round, in turn, come the yardsticks, with as many requests at once (%[5]d for each lane) and the same batch:\n\n" +
	"- **the same writes alone**: for each event those that weir was seen to make, the same bytes and expectations to the same streams, on a broker of their own with the same settings and disk;\n" +
	"- **the bare loop**: fetch, POST, ack with the client library alone, which after a crash calls twice or not at all;\n" +
	"- **the loop, and then the writes**, computed from both: what a loop that makes those writes could reach where processors are the bound, and nothing else is done;\n" +
	"- **the same requests alone**.\n\n" +
	"A figure is the median of %[2]d rounds. A ratio is made round by round, and then the median is taken: it says more than the rates, which are this machine's at that hour. The first byte is noted when the provider has read the request's head. *Single events* come one by one, with a pause; under load they come at half the rate that weir had reached, and time counts from when each was due.\n\n"

// table writes rows, the first of them as the header.
func table(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
		}
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
