//go:build chaos && linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

// chaosOptions is what "make chaos" was asked for, from the environment.
type chaosOptions struct {
	dir    string   // CHAOS_DIR
	events int      // CHAOS_EVENTS: in all runs in this folder together, at least
	size   int      // CHAOS_ROUND: events of a round
	seed   uint64   // CHAOS_SEED: of a new run
	short  bool     // CHAOS_SHORT: cheap faults alone
	kinds  []string // CHAOS_KINDS: of brokers, in turns
	only   []string // CHAOS_FAULTS: their names; empty: all
	skip   []string // CHAOS_ALLOW_SKIP: faults that may be left out; "all"
}

func chaosOptionsOf(getenv func(string) string) (o chaosOptions, err error) {
	list := func(name, other string) []string {
		return strings.FieldsFunc(cmp.Or(getenv(name), other), func(r rune) bool { return r == ',' || r == ' ' })
	}
	number := func(name string, other int) int {
		n, e := strconv.Atoi(cmp.Or(getenv(name), strconv.Itoa(other)))
		if e != nil || n < 1 {
			err = errors.Join(err, fmt.Errorf("%s must be a number above 0", name))
		}
		return n
	}
	o.short = getenv("CHAOS_SHORT") != ""
	o.dir = cmp.Or(getenv("CHAOS_DIR"), "chaos-run")
	o.events, o.size = number("CHAOS_EVENTS", 3000), number("CHAOS_ROUND", 300)
	o.seed = uint64(number("CHAOS_SEED", int(time.Now().UnixNano()%1e9)+1))
	o.kinds = list("CHAOS_KINDS", "one flip clock one cluster one flip3 disk one one power")
	o.only, o.skip = list("CHAOS_FAULTS", ""), list("CHAOS_ALLOW_SKIP", "")
	return o, err
}

// faults returns the part of the table that was asked for.
func (o chaosOptions) faults() []fault {
	return slices.DeleteFunc(slices.Clone(chaosFaults), func(f fault) bool {
		return o.short && !f.short || len(o.only) > 0 && !slices.Contains(o.only, f.name)
	})
}

// skipped removes from the options what this machine cannot do, and returns the
// faults that are left out, with the reason.
func (o *chaosOptions) skipped(ctx context.Context, faults []fault) map[string]string {
	why := make(map[string]string)
	cannot := make(map[string]string)
	for _, kind := range []string{kindDisk, kindPower} {
		if reason := mountable(ctx, kind); reason != "" {
			cannot[kind] = "a disk of its own: " + strings.TrimSpace(reason)
		}
	}
	cannot[kindClock] = turnable(ctx)
	for _, f := range faults {
		switch {
		case f.needs != "":
			why[f.name] = "needs " + f.needs
		case len(f.kinds) == 1 && cannot[f.kinds[0]] != "":
			why[f.name] = "needs " + cannot[f.kinds[0]]
		case len(f.kinds) > 0 && !slices.ContainsFunc(f.kinds, func(k string) bool { return slices.Contains(o.kinds, k) }):
			why[f.name] = "needs a broker of kind " + f.kinds[0] + ", which CHAOS_KINDS leaves out"
		}
	}
	o.kinds = slices.DeleteFunc(o.kinds, func(k string) bool { return cannot[k] != "" })
	return why
}

// plan is the round with this number.
func (o chaosOptions) plan(seed uint64, round int, faults []fault) plan {
	p := plan{round: round, load: loadOf(o.size), seed: seed, kind: o.kinds[round%len(o.kinds)]}
	for group, n := range p.load.deal {
		names := faultNames(faults, group, p.kind)
		// Each kind of broker deals its own faults, so that none of them misses out.
		turn := round/len(o.kinds)*countKind(o.kinds, p.kind) + countKind(o.kinds[:round%len(o.kinds)], p.kind)
		for _, name := range chaos.Picks(seed, group+p.kind, turn, min(n, len(names)), names) {
			named := func(f fault) bool { return f.name == name }
			if !slices.ContainsFunc(p.faults, named) { // the last of one turn may be the first of the next
				p.faults = append(p.faults, faults[slices.IndexFunc(faults, named)])
			}
		}
	}
	slices.SortFunc(p.faults, func(a, b fault) int { return strings.Compare(a.group+a.name, b.group+b.name) })
	return p
}

func countKind(kinds []string, kind string) (n int) {
	for _, k := range kinds {
		if k == kind {
			n++
		}
	}
	return n
}

// TestChaos runs rounds until so many events were checked. Its exit status is
// the program's: 0 all is well, 1 a finding or a failure, 3 something was left
// out, 130 interrupted.
func TestChaos(t *testing.T) {
	o, err := chaosOptionsOf(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	status, err := runChaos(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	if status != 0 {
		os.Exit(status)
	}
}

// signals returns a context that the first signal ends, and one that only a
// second one does.
func signals() (ctx, stopping context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stopping, begin := context.WithCancel(ctx)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-ch:
			fmt.Println("stopping: the round is healed and checked; once more to cut it off")
			begin()
		case <-ctx.Done():
			return
		}
		select {
		case <-ch:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, stopping, func() {
		signal.Stop(ch)
		cancel()
	}
}

// campaign is all rounds that one start of the program runs.
type campaign struct {
	chaosOptions
	table []fault
	state *chaos.State
	hist  *chaos.History
	past  *proofLog
	old   map[string][]sentEvent      // what was published, by kind of broker
	watch func(context.Context, *rig) // looks at a round while it runs; nil: nobody does
}

func (c *campaign) statePath() string { return filepath.Join(c.dir, "state.json") }

// openCampaign begins a campaign in its folder, or goes on with the one that is there.
// Its history is to be closed.
func openCampaign(o chaosOptions) (c *campaign, err error) {
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(o.dir, "log"), 0o700); err != nil {
		return nil, err
	}
	c = &campaign{chaosOptions: o, old: make(map[string][]sentEvent)}
	c.past = &proofLog{path: filepath.Join(o.dir, "proof.ndjson"), made: make(map[string]int)}
	if c.state, err = chaos.LoadState(c.statePath(), o.seed); err != nil {
		return nil, err
	}
	c.hist, err = chaos.OpenHistory(filepath.Join(o.dir, "history.ndjson"), c.state.Seed)
	return c, err
}

func runChaos(o chaosOptions) (status int, err error) {
	ctx, stopping, stop := signals()
	defer stop()
	c, err := openCampaign(o)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.hist.Close()) }()
	wanted := o.faults()
	why := c.skipped(ctx, wanted)
	c.table = slices.DeleteFunc(wanted, func(f fault) bool { return why[f.name] != "" })
	if len(c.table) == 0 || len(c.kinds) == 0 {
		return 1, fmt.Errorf("nothing is left to run: %v", why)
	}
	c.salvage()
	fmt.Printf("chaos: seed %d, folder %s, %d events so far\n", c.state.Seed, c.dir, c.state.Total.Events)
	found, err := c.rounds(ctx, stopping)
	fmt.Println()
	err = errors.Join(err, c.state.Print(os.Stdout))
	fmt.Println(c.state.Sums())
	switch {
	case ctx.Err() != nil:
		return 130, err
	case err != nil || found:
		return 1, err
	case stopping.Err() != nil:
		return 130, nil
	}
	return c.judge(why), nil
}

// judge tells what was left out, and whether that was agreed to.
func (c *campaign) judge(why map[string]string) (status int) {
	for name, reason := range why {
		c.hist.Note("skip", name, reason)
		fmt.Printf("left out: %s: %s\n", name, reason)
		if !slices.Contains(c.skip, name) && !slices.Contains(c.skip, "all") {
			status = 3
		}
	}
	if c.state.Total.Findings() > 0 {
		fmt.Println("there are findings of earlier rounds in this folder")
		return 1
	}
	return status
}

// salvage puts the store of a round that was cut off aside: the providers have
// forgotten its conversations.
func (c *campaign) salvage() {
	if c.state.Open == "" {
		return
	}
	c.hist.Note("run", "cut off", fmt.Sprintf("round %d; its store is put aside", c.state.Rounds))
	c.state.Generations[c.state.Open]++
	c.state.Open = ""
	c.state.Rounds++
}

// rounds runs rounds until there were enough events, or a finding.
func (c *campaign) rounds(ctx, stopping context.Context) (found bool, err error) {
	for c.state.Total.Events < c.events && stopping.Err() == nil {
		p := c.plan(c.state.Seed, c.state.Rounds, c.table)
		c.state.Open = p.kind
		if err := c.state.Save(c.statePath()); err != nil {
			return false, err
		}
		v, err := c.round(ctx, stopping, p)
		if err != nil {
			return false, fmt.Errorf("round %d: %w", p.round, err)
		}
		c.state.Open = ""
		c.state.Rounds++
		if err := c.state.Save(c.statePath()); err != nil {
			return false, err
		}
		if len(v.Findings) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// keptLogs is of how many rounds the processes' logs are kept. A round with a
// finding is the last one, so its log is among them.
const keptLogs = 5

// tidy removes the logs of a round.
func (c *campaign) tidy(round int) {
	old, _ := filepath.Glob(filepath.Join(c.dir, "log", fmt.Sprintf("r%d-*.log", round))) // the pattern is good
	for _, path := range old {
		_ = os.Remove(path) // nothing depends on it
	}
}

// round runs one round and adds it up.
func (c *campaign) round(ctx, stopping context.Context, p plan) (v chaos.Verdict, err error) {
	var names []string
	for _, f := range p.faults {
		names = append(names, f.name)
	}
	began := time.Now()
	c.hist.Begin(p.round)
	c.hist.Note("round", p.kind, strings.Join(names, " "))
	fmt.Printf("round %d, broker %s: %s\n", p.round, p.kind, strings.Join(names, " "))
	r := &rig{
		dir: c.dir, kind: p.kind, round: p.round, hist: c.hist, past: c.past, load: p.load, struck: make(map[string]int),
		store: filepath.Join(c.dir, fmt.Sprintf("store-%s-%d", p.kind, c.state.Generations[p.kind])),
	}
	r.published.old = c.old[p.kind]
	r.watch = c.watch
	remove, err := mount(ctx, p.kind, r.store, int64(p.load.factor))
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if p.kind == kindClock {
		if r.clocks, err = newClocks(c.dir); err != nil {
			return v, err
		}
	}
	defer r.close(ctx, false)
	v, injected, err := r.run(ctx, stopping, p)
	if err != nil {
		return v, err
	}
	if p.kind == kindOne || p.kind == kindCluster {
		c.old[p.kind] = append(c.old[p.kind], r.published.sent...)
	}
	c.state.Add(injected, v)
	causes := make(map[string]int)
	for _, cause := range v.Causes {
		c.hist.Note("doubt", cause.Event, cause.Kind+": "+cause.Text)
		causes[cause.Kind]++
	}
	for _, f := range v.Findings {
		c.hist.Note("finding", string(f.Kind), f.Text)
		fmt.Printf("  %s: %s\n", f.Kind, f.Text)
	}
	text := fmt.Sprintf("%d events: %d ended, %d dead, %d in doubt (%d hidden, %d refused, %d cut, %d damage), %d forgotten, %d findings, %v", v.Events, v.Ended, v.Dead, v.Doubts,
		causes[chaos.CauseHidden], causes[chaos.CauseRefused], causes[chaos.CauseCut], causes[chaos.CauseDamage], v.Forgotten, len(v.Findings), time.Since(began).Round(time.Second))
	c.hist.Note("check", "round", text)
	c.tidy(p.round - keptLogs)
	fmt.Printf("  %s\n  so far %s\n", text, c.state.Sums())
	return v, nil
}
