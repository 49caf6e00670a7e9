// Command storm plays worlds: tests whose faults and whose order of goroutines
// both come from a seed, so that a seed plays the same world each time.
//
//	storm [-run REGEXP] [-from N] [-seeds N] [-verify N] [PACKAGE]
//
// It builds the package's tests for wasip1, compiles them once, and runs each
// seed in an instance of its own: one thread, a clock that only counts how often
// it is asked, and random numbers that are made of the seed. So the runtime's
// scheduler, its maps and its selects decide the same way whenever the seed is
// run, alone or among thousands, and another way with another seed. An instance
// sees no file and no network.
//
// A test that is a storm has the flags -from, -seeds and -history, and prints
// one tally of each world (see tally). What a world prints when it fails is
// shown with the command that plays it again. A fault that no world of a large
// run met is a failure, too: it proves nothing.
//
// With -verify, the first seeds are run twice, and once more under another order
// of goroutines: the first two must print the same history, byte by byte, and
// the third must not, or the comparison is worth nothing.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	pkg     string
	pattern string
	from    uint64
	seeds   uint64
	verify  uint64
	salt    uint64
	history bool
	jobs    int
	dir     string        // for the binary and what it compiles to
	patient time.Duration // for one world, by a real clock
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("storm", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.pattern, "run", "^TestStorm", "the tests that are storms, as for go test")
	f.Uint64Var(&o.from, "from", 0, "the first seed")
	f.Uint64Var(&o.seeds, "seeds", 100, "worlds of each storm")
	f.Uint64Var(&o.verify, "verify", 0, "of so many seeds of each storm, compare the histories of two runs")
	f.Uint64Var(&o.salt, "salt", 0, "the same stories in another order of goroutines")
	f.BoolVar(&o.history, "history", false, "print the whole history of each world")
	f.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "worlds at once")
	f.StringVar(&o.dir, "dir", "bin/storm", "where the binary is kept, compiled")
	f.DurationVar(&o.patient, "patient", 2*time.Minute, "a world that takes longer hangs")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 1 || o.jobs < 1 {
		return o, errors.New("usage: storm [-run REGEXP] [-from N] [-seeds N] [-verify N] [PACKAGE]")
	}
	o.pkg = cmp.Or(f.Arg(0), "./consumer")
	dir, err := filepath.Abs(o.dir)
	o.dir = dir
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	g, err := build(ctx, o)
	if err != nil {
		return err
	}
	defer g.close()
	kinds, err := g.list(ctx, o.pattern)
	if err != nil {
		return err
	}
	if o.verify > 0 {
		if err := verify(ctx, g, o, kinds, stdout); err != nil {
			return err
		}
	}
	return play(ctx, g, o, kinds, stdout, progress(stderr))
}

// progress writes a line that is overwritten, where somebody looks.
func progress(w io.Writer) func(format string, args ...any) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(f, "\r\x1b[K"+format, args...) }
}
