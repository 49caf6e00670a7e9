package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// verify shows that a seed plays the same world each time: alone or beside
// others, first or last, its history printed or not. It also shows that the comparison can fail: in another
// order of goroutines at least one world has another history.
func verify(ctx context.Context, g *guest, o options, kinds []string, stdout io.Writer) error {
	var jobs []job
	for seed := o.from; seed < o.from+o.verify; seed++ {
		for _, kind := range kinds {
			jobs = append(jobs, job{kind, seed})
		}
	}
	backwards := slices.Clone(jobs)
	slices.Reverse(backwards)
	first := make(map[job][]byte)
	for _, j := range jobs { // alone
		out, err := g.world(ctx, j.kind, j.seed, o.salt, true)
		if err != nil {
			return fmt.Errorf("%s, seed %d: %w\n%s", j.kind, j.seed, err, out)
		}
		first[j] = out
	}
	var errs []error
	size, differs := 0, false
	for _, salt := range []uint64{o.salt, o.salt + 1} {
		each(ctx, backwards, o.jobs, func(j job) result {
			out, err := g.world(ctx, j.kind, j.seed, salt, true)
			return result{j, out, err}
		}, func(r result) {
			same := bytes.Equal(first[r.job], r.out)
			switch {
			case salt != o.salt:
				differs = differs || !same
			case !same:
				errs = append(errs, fmt.Errorf("%s, seed %d: two runs differ: %s", r.kind, r.seed, difference(first[r.job], r.out)))
			default:
				size += len(r.out)
			}
		})
	}
	if !differs {
		errs = append(errs, errors.New("another order of goroutines changes no history, so equal histories prove nothing"))
	}
	for _, j := range jobs {
		if out, err := g.world(ctx, j.kind, j.seed, o.salt, false); err != nil || !bytes.Equal(tallyLine(out), tallyLine(first[j])) {
			errs = append(errs, fmt.Errorf("%s, seed %d: it is another world when its history is not printed: %v", j.kind, j.seed, err))
		}
	}
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d worlds played twice: the same %d bytes of history\n", len(jobs), size)
	return nil
}

// difference shows the first line in which two histories part.
func difference(a, b []byte) string {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("line %d:\n\t%s\n\t%s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}
