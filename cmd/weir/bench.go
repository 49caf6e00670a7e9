package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/bench"
)

// benchCmd is weir bench.
type benchCmd struct {
	Events  int           `default:"1000" help:"Events of a round, of all lanes together (${default})."`
	Size    int           `default:"512" placeholder:"BYTES" help:"Size of an event (${default})."`
	Lanes   []int         `default:"4" placeholder:"N,…" help:"How many lanes, each with an account of its own (${default}). Of several numbers each is measured."`
	Batch   []int         `default:"1" placeholder:"N,…" help:"Events in a request (${default})."`
	Sync    string        `enum:"always,background,both" default:"both" help:"When the broker writes to its disk: ${enum} (${default})."`
	Latency time.Duration `default:"5ms" help:"Of the provider, whose slots never run out (${default})."`
	Rounds  int           `default:"5" help:"How often each figure is measured, in turn with the others (${default})."`
	Probes  int           `default:"500" help:"Events that are sent one by one, for the time to the first byte (${default})."`
	Page    string        `type:"path" placeholder:"FILE" help:"Write the page of the benchmark there."`
	Date    string        `placeholder:"YYYY-MM-DD" help:"Of the page; default: today."`
}

// benchWorkers is how many requests of a lane the yardsticks have under way, which is
// as many as the engine has.
const benchWorkers = 8

// Bounds of a run. The largest limit that a lane can have bounds its events: no call
// ends before the run does.
const (
	benchWarm      = 20 // events of each lane before anything is measured
	benchMostLane  = 10_000
	benchMostSize  = 200 << 10
	benchMostLanes = 100
	benchMostBatch = 100
	benchMostRound = 100
)

// check joins what is wrong with the flags.
func (c *benchCmd) check() error {
	var errs []error
	refuse := func(bad bool, format string, v ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, v...))
		}
	}
	refuse(c.Events < 1, "--events: %d; at least 1", c.Events)
	refuse(c.Size < bench.LeastSize || c.Size > benchMostSize, "--size: %d; from %d to %d bytes", c.Size, bench.LeastSize, benchMostSize)
	refuse(c.Rounds < 1 || c.Rounds > benchMostRound, "--rounds: %d; from 1 to %d", c.Rounds, benchMostRound)
	refuse(c.Probes < 1, "--probes: %d; at least 1", c.Probes)
	refuse(c.Latency < 0 || c.Latency > 10*time.Second, "--latency: %v; from 0s to 10s", c.Latency)
	for _, n := range c.Lanes {
		refuse(n < 1 || n > benchMostLanes, "--lanes: %d; from 1 to %d", n, benchMostLanes)
		if each := c.each(n); n > 0 && each > benchMostLane {
			refuse(true, "--events: %d in %d rounds are %d for each of %d lanes, and a lane takes %d at once: fewer events or rounds, or more lanes", c.Events, c.Rounds, each, n, benchMostLane)
		}
	}
	for _, n := range c.Batch {
		refuse(n < 1 || n > benchMostBatch, "--batch: %d; from 1 to %d", n, benchMostBatch)
	}
	if c.Date != "" {
		_, err := time.Parse(time.DateOnly, c.Date)
		refuse(err != nil, "--date: %q; want YYYY-MM-DD", c.Date)
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// each is how many events a lane gets in a whole run.
func (c *benchCmd) each(lanes int) int {
	return benchWarm + c.Probes + benchProfiled + (c.Rounds+1)*(c.Events/max(1, lanes)+1)
}

// Run measures one cell after the other and prints the report.
func (c *benchCmd) Run(a *app) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	began := time.Now()
	r := bench.Report{
		Date: c.Date, Version: version, Command: c.command(), Machine: bench.ThisMachine(),
		Load: bench.Load{
			Events: c.Events, Size: c.Size, Latency: bench.Duration(c.Latency),
			Rounds: c.Rounds, Probes: c.Probes, Workers: benchWorkers,
		},
	}
	if r.Date == "" {
		r.Date = began.Format(time.DateOnly)
	}
	syncs := []string{c.Sync}
	if c.Sync == "both" {
		syncs = []string{bench.SyncAlways, bench.SyncBackground}
	}
	for _, sync := range syncs {
		for _, lanes := range c.Lanes {
			for _, batch := range c.Batch {
				cell, err := c.measure(a, bench.Cell{Lanes: lanes, Batch: batch, Sync: sync})
				if err != nil {
					return fmt.Errorf("%s: %w", cell.Name(), err)
				}
				r.Cells = append(r.Cells, cell)
				r.Goals = append(r.Goals, cell.Goals()...)
			}
		}
	}
	r.Took = bench.Duration(time.Since(began).Round(time.Second))
	if c.Page != "" {
		if err := os.WriteFile(c.Page, []byte(r.Page()), 0o644); err != nil { //nolint:gosec // a page to be read
			return err
		}
	}
	return a.print(r, func(w io.Writer) { drawBench(w, r) })
}

// command is the command line that makes the same measurements.
func (c *benchCmd) command() string {
	join := func(all []int) string {
		words := make([]string, len(all))
		for i, n := range all {
			words[i] = strconv.Itoa(n)
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprintf("weir bench --events %d --size %d --lanes %s --batch %s --sync %s --latency %v --rounds %d --probes %d",
		c.Events, c.Size, join(c.Lanes), join(c.Batch), c.Sync, c.Latency, c.Rounds, c.Probes)
}

// drawBench draws the goals and the figures behind them.
func drawBench(w io.Writer, r bench.Report) {
	fmt.Fprintln(w, "CELL\tGOAL\tASKED\tMEASURED\t")
	for _, g := range r.Goals {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", g.Cell, g.What, g.AskedText(), g.GotText(), g.Verdict())
	}
	for _, cell := range r.Cells {
		fmt.Fprintf(w, "\n%s\n", strings.ToUpper(cell.Name()))
		for _, row := range slices.Concat(cell.RateRows(), cell.TimeRows(), cell.CountRows(), cell.CostRows(), cell.WayRows()) {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	}
}
