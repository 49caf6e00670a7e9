//go:build chaos && linux

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/growthtest"
)

// soakQuantity is what a soak watches.
type soakQuantity struct {
	name, unit string
	of         func(soakSample) float64
	inSlice    float64 // growth in a minute that matters; 0: not judged in a slice
	ofSlices   float64 // growth from slice to slice that matters; 0: not judged
	perEvent   float64 // what each event may leave behind
}

// soakQuantities are those that are judged. What the work explains: an event leaves
// its message, its entry, and one to three outcomes, 3.5 KiB in all, until they are
// trimmed; on the disk twice as much, since the broker rewrites its files now and then.
// A weir remembers what it is working on, and for ten minutes what it saw.
var soakQuantities = []soakQuantity{
	{"weir's memory", "MiB", func(s soakSample) float64 { return s.RSS }, 0.5, 4, 0},
	{"weir's heap", "MiB", func(s soakSample) float64 { return s.Heap }, 0.5, 2, 0},
	{"goroutines", "", func(s soakSample) float64 { return s.Goroutines }, 1, 5, 0},
	{"open files", "", func(s soakSample) float64 { return s.Files }, 1, 5, 0},
	{"the broker's memory", "MiB", func(s soakSample) float64 { return s.BrokerRSS }, 0, 10, 0.003},
	{"the broker's open files", "", func(s soakSample) float64 { return s.BrokerFiles }, 1, 5, 0},
	{"streams", "", func(s soakSample) float64 { return s.Streams }, 0.1, 0.5, 0},
	{"consumers", "", func(s soakSample) float64 { return s.Consumers }, 0.5, 0.5, 0},
	{"messages", "", func(s soakSample) float64 { return s.Messages }, 0, 500, 6},
	{"kept in streams", "MiB", func(s soakSample) float64 { return s.Kept }, 0, 2, 0.006},
	{"store on the disk", "MiB", func(s soakSample) float64 { return s.Store }, 0, 10, 0.012},
}

// soakWarm is how many minutes of a slice are left out: weir and its broker come up.
const soakWarm = 2

// soakVerdict judges all samples: each quantity over the newest slice, by the minute,
// and over the slices, at the end of each, by the event.
func soakVerdict(samples []soakSample) (text string, grows bool) {
	bySlice := make(map[int][]soakSample)
	var order []int
	for _, s := range samples {
		if bySlice[s.Slice] == nil {
			order = append(order, s.Slice)
		}
		bySlice[s.Slice] = append(bySlice[s.Slice], s)
	}
	if len(order) == 0 {
		return "no samples\n", false
	}
	var y strings.Builder
	var minutes float64
	for _, n := range order {
		minutes += bySlice[n][len(bySlice[n])-1].Minute
	}
	newest := bySlice[order[len(order)-1]]
	fmt.Fprintf(&y, "%d slices, %.0f minutes in all, %d samples, %d events.\n\n", len(order), minutes, len(samples), samples[len(samples)-1].Events)
	y.WriteString("| | first | at the end | a minute, in the newest slice | | a slice, beyond what its events leave | |\n|---|---|---|---|---|---|---|\n")
	for _, q := range soakQuantities {
		v, in := judgeSlice(q, newest)
		w, over := judgeSlices(q, order, bySlice)
		grows = grows || v == growthtest.Grows || w == growthtest.Grows
		inText, overText := in.String(), over.String()
		if q.inSlice == 0 {
			inText, v = "", "follows the work"
		}
		fmt.Fprintf(&y, "| %s | %s | %s | %s | %s | %s | %s |\n", q.name, amount(q, settledPart(bySlice[order[0]])), amount(q, settledPart(newest)), inText, v, overText, w)
	}
	verdict := "nothing grows beyond what the work explains, as far as these slices can tell"
	if grows {
		verdict = "something grows beyond what the work explains"
	}
	fmt.Fprintf(&y, "\nVerdict: %s.\n", verdict)
	return y.String(), grows
}

// judgeSlice judges one slice by the minute, while events are published.
func judgeSlice(q soakQuantity, samples []soakSample) (growthtest.Verdict, growthtest.Line) {
	var x, y []float64
	for _, s := range samples {
		if s.Minute >= soakWarm && !s.Calm {
			x, y = append(x, s.Minute), append(y, q.of(s))
		}
	}
	if q.inSlice == 0 {
		return growthtest.Steady, growthtest.Fit(x, y)
	}
	return growthtest.Judge(x, y, 0, q.inSlice)
}

// judgeSlices judges the ends of the slices, less what their events explain.
func judgeSlices(q soakQuantity, order []int, bySlice map[int][]soakSample) (growthtest.Verdict, growthtest.Line) {
	var x, y []float64
	for i, n := range order {
		part := settledPart(bySlice[n])
		x = append(x, float64(i))
		y = append(y, amountOf(q, part)-q.perEvent*float64(part[len(part)-1].Events))
	}
	return growthtest.Judge(x, y, 0, q.ofSlices)
}

// settledPart is the last quarter of a slice.
func settledPart(samples []soakSample) []soakSample { return samples[len(samples)*3/4:] }

// amountOf is the median.
func amountOf(q soakQuantity, samples []soakSample) float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, q.of(s))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func amount(q soakQuantity, samples []soakSample) string {
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", amountOf(q, samples), q.unit))
}
