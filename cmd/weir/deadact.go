package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// deadAct is what the commands have in common that do something with letters.
type deadAct struct {
	letterFilter
	All    bool `help:"All dead letters, or all that the filters take."`
	DryRun bool `help:"Only say what would be done with each."`
	Yes    bool `short:"y" help:"Do not ask."`
	decision
}

// check refuses what does not say, or not well, which letters are meant.
func (c *deadAct) check() error {
	if c.All && len(c.Intents) > 0 {
		return usageError{errors.New("which dead letters? either name some, or give --all")}
	}
	if !c.All && c.empty() {
		return usageError{errors.New("which dead letters? name some (see weir dead list), give a filter such as --class, or give --all")}
	}
	_, err := c.takes(time.Now())
	return err
}

// act is what a command does with one letter.
type act struct {
	can   fate   // what it does, before
	did   fate   // and after
	past  string // "dropped"
	ask   string // a question about %s
	plan  func(context.Context, kept) (verdict, error)
	do    func(context.Context, kept) (verdict, error)
	after func(lanes []string) // told in which lanes something was done
}

// screenful is how many letters are shown one by one.
const screenful = 24

// run chooses the letters, says what would happen to them, asks, and does it.
func (c *deadAct) run(a *app, d *desk, do act) error {
	take, err := c.takes(time.Now())
	if err != nil {
		return err
	}
	p := &progress{w: a.stderr}
	chosen, unread, err := d.choose(a.ctx, c.letterFilter, take, func(n int) {
		if n > screenful {
			p.draw("%d letters read", n)
		}
	})
	p.clear()
	switch {
	case err != nil:
		return err
	case unread != nil && len(chosen) == 0:
		return unread // not "there are none"
	case len(chosen) == 0 && c.Lane != "":
		err = d.checkLane(c.Lane)
	}
	r := &deadReport{DryRun: c.DryRun, Matched: len(chosen)}
	err = errors.Join(unread, err, r.judge(a.ctx, chosen, do.plan, p))
	r.Would = count(r.Letters)
	if len(r.Letters) == len(chosen) && !c.DryRun {
		if err := c.confirm(a, r, do); err != nil {
			return errors.Join(unread, err)
		}
		err = errors.Join(err, r.carryOut(a.ctx, chosen, do, p))
		r.Did = count(r.Letters)
	}
	err = errors.Join(r.print(a), err, r.missed(c, do))
	if do.after != nil && !c.DryRun {
		do.after(r.lanes(do.did))
	}
	return err
}

// confirm says what would happen to more than one letter, and asks whether it
// shall.
func (c *deadAct) confirm(a *app, r *deadReport, do act) error {
	if r.Matched > 1 {
		r.drawCounts(a.stderr)
	}
	n := r.Would[do.can]
	switch {
	case c.Yes || n == 0:
		return nil
	case interactive(a.stdin) && isTerminal(a.stderr):
		return agree(a.ctx, a.stdin, a.stderr, fmt.Sprintf(do.ask, letters(n)))
	case r.Matched > 1:
		return usageError{fmt.Errorf("nothing was %s; give --yes to do it with %s, or --dry-run to look at each first", do.past, letters(n))}
	}
	return nil
}

// letters is a number of dead letters in words.
func letters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}

// interactive reports whether somebody types.
func interactive(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// agree asks a question and fails unless the answer is yes.
func agree(ctx context.Context, in io.Reader, out io.Writer, question string) error {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the input, at the latest with the process
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(out)
		return fmt.Errorf("interrupted: %w", ctx.Err())
	case word := <-answer:
		if word != "y" && word != "yes" {
			return errors.New("the answer was not yes; nothing was done")
		}
		return nil
	}
}
