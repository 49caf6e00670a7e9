package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// tally is what a world prints of itself, as one line of JSON after tallyMark.
type tally struct {
	Acts   int            // with an effect on the world
	Faults map[string]int // how often each kind of fault happened, those included that did not
}

const tallyMark = "#storm "

// enough worlds of each storm meet every fault: in a run as large as this, one
// that did not happen is a failure.
const enough = 200

// shown is how many failures of each storm are printed in full; of the rest, only
// the command.
const shown = 3

// job is one world to play.
type job struct {
	kind string
	seed uint64
}

// result is what came of it.
type result struct {
	job
	out []byte
	err error
}

// each plays the jobs, several at once, and hands each result to done, one at a
// time in the order in which they come.
func each(ctx context.Context, jobs []job, n int, play func(job) result, done func(result)) {
	todo, results := make(chan job), make(chan result)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for j := range todo {
				results <- play(j)
			}
		})
	}
	go func() {
		defer func() { close(todo); wg.Wait(); close(results) }()
		for _, j := range jobs {
			select {
			case todo <- j:
			case <-ctx.Done():
				return
			}
		}
	}()
	for r := range results {
		done(r)
	}
}

// play runs the seeds of all storms and sums up.
func play(ctx context.Context, g *guest, o options, kinds []string, stdout io.Writer, progress func(string, ...any)) error {
	var jobs []job
	for seed := o.from; seed < o.from+o.seeds; seed++ {
		for _, kind := range kinds { // side by side: a failure of any shows early
			jobs = append(jobs, job{kind, seed})
		}
	}
	began := time.Now()
	sums, worlds, failed, printed := make(map[string]tally), 0, 0, make(map[string]int)
	each(ctx, jobs, o.jobs, func(j job) result {
		out, err := g.world(ctx, j.kind, j.seed, o.salt, o.history)
		return result{j, out, err}
	}, func(r result) {
		if ctx.Err() != nil {
			return
		}
		worlds++
		t, err := tallyOf(r.out)
		if err = errors.Join(r.err, err); err != nil {
			failed++
			printed[r.kind]++
			progress("")
			r.complain(stdout, err, o, printed[r.kind] <= shown)
		} else if o.history {
			_, _ = stdout.Write(r.out)
		}
		sums[r.kind] = add(sums[r.kind], t)
		progress("%d of %d worlds, %d failed", worlds, len(jobs), failed)
	})
	progress("")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	missing := summary(stdout, kinds, sums)
	fmt.Fprintf(stdout, "%d worlds in %v\n", worlds, time.Since(began).Round(100*time.Millisecond))
	if failed > 0 {
		return fmt.Errorf("%d of %d worlds failed", failed, worlds)
	}
	if len(missing) > 0 && o.seeds >= enough {
		return fmt.Errorf("no world met: %s", strings.Join(missing, ", "))
	}
	return nil
}

// complain prints a failure and the command that plays the same world again.
func (r result) complain(w io.Writer, err error, o options, full bool) {
	fmt.Fprintf(w, "--- %s, seed %d: %v\n", r.kind, r.seed, err)
	if full {
		_, _ = w.Write(r.out)
	}
	salt := ""
	if o.salt != 0 {
		salt = fmt.Sprintf(" SALT=%d", o.salt)
	}
	fmt.Fprintf(w, "    again: make storm KIND='^%s$$' FROM=%d SEEDS=1%s\n", r.kind, r.seed, salt)
}

// tallyLine finds the tally in what a world printed; nil if it is not there.
func tallyLine(out []byte) []byte {
	for line := range bytes.Lines(out) {
		if text, ok := bytes.CutPrefix(line, []byte(tallyMark)); ok {
			return text
		}
	}
	return nil
}

func tallyOf(out []byte) (t tally, err error) {
	if line := tallyLine(out); line != nil {
		return t, json.Unmarshal(line, &t)
	}
	return t, errors.New("it left no tally")
}

func add(a, b tally) tally {
	if a.Faults == nil {
		a.Faults = make(map[string]int)
	}
	a.Acts += b.Acts
	for name, n := range b.Faults {
		a.Faults[name] += n
	}
	return a
}

// summary prints what was met and returns the faults that no storm met.
func summary(w io.Writer, kinds []string, sums map[string]tally) (missing []string) {
	total := tally{Faults: make(map[string]int)}
	for _, t := range sums {
		total = add(total, t)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, of func(tally) int) {
		for _, kind := range kinds {
			fmt.Fprintf(tw, "%d\t", of(sums[kind]))
		}
		fmt.Fprintf(tw, "  %s\n", name)
	}
	for _, kind := range kinds {
		fmt.Fprintf(tw, "%s\t", strings.TrimPrefix(kind, "Test"))
	}
	fmt.Fprintln(tw)
	row("acts", func(t tally) int { return t.Acts })
	for _, name := range slices.Sorted(maps.Keys(total.Faults)) {
		row(name, func(t tally) int { return t.Faults[name] })
		if total.Faults[name] == 0 {
			missing = append(missing, name)
		}
	}
	_ = tw.Flush()
	return missing
}
