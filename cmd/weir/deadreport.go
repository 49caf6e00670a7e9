package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
)

// fate is what would become, or became, of one letter.
type fate string

// The fates. The first two are what can be done.
const (
	fateSend fate = "send" // it would be sent again
	fateDrop fate = "drop" // it would be dropped

	fateAsked     fate = "asked"      // somebody ordered it already, and the order waits
	fateDone      fate = "done"       // the conversation was created, and may be over
	fateUnderWay  fate = "under_way"  // being sent, or waiting to be
	fateDoubt     fate = "doubt"      // in doubt
	fateCancelled fate = "cancelled"  // as the ledger says
	fateExpired   fate = "expired"    // the same
	fateOut       fate = "suppressed" // the same
	fateStale     fate = "stale"      // it is dead for another reason than its letter says
	fateCut       fate = "cut"        // its event was too large to be kept whole
	fateUnknown   fate = "unknown"    // the ledger does not know it

	fateSent    fate = "sent"    // it is ordered to be sent again
	fateDropped fate = "dropped" // it is dropped
	fateFailed  fate = "failed"  // it could not be done
)

// fateOf is the fate of an event that is not dead any more.
func fateOf(s consumer.State) fate {
	switch s {
	case consumer.Created, consumer.Ended:
		return fateDone
	case consumer.Started, consumer.Waiting:
		return fateUnderWay
	case consumer.Absent:
		return fateUnknown
	default:
		return fate(s)
	}
}

// verdict is a fate with its words.
type verdict struct {
	fate  fate
	words string
}

// The verdicts that have more than one place.
var (
	unkeptVerdict  = verdict{fateStale, "its newest letter is not kept yet; look again in a moment"}
	changedVerdict = verdict{fateStale, "it changed meanwhile; look again"}
)

// handled is what would become, or became, of one letter.
type handled struct {
	Lane   string `json:"lane"`
	Intent string `json:"intent"`
	ID     string `json:"id,omitzero"`
	N      int    `json:"n"` // the step that was seen
	Fate   fate   `json:"fate"`
	Result string `json:"result"` // the fate in words
}

func (k kept) handled(v verdict) handled {
	return handled{Lane: k.Lane, Intent: k.Intent, ID: k.ID, N: k.now.N, Fate: v.fate, Result: v.words}
}

// deadReport is the result of a command. Letters that it did not come to have
// the fate that they would have.
type deadReport struct {
	DryRun  bool         `json:"dry_run"`
	Matched int          `json:"matched"`
	Would   map[fate]int `json:"would"`         // before anything was done
	Did     map[fate]int `json:"did,omitempty"` // after it
	Letters []handled    `json:"letters"`
}

// judge fills in what would become of each letter.
func (r *deadReport) judge(ctx context.Context, chosen []kept, plan func(context.Context, kept) (verdict, error), p *progress) error {
	defer p.clear()
	r.Letters = make([]handled, 0, len(chosen))
	for i, k := range chosen {
		v, err := plan(ctx, k)
		if err != nil {
			return fmt.Errorf("%s %s: %w", k.Lane, k.Intent, err)
		}
		r.Letters = append(r.Letters, k.handled(v))
		if len(chosen) > screenful {
			p.draw("%d of %d looked at", i+1, len(chosen))
		}
	}
	return nil
}

// carryOut does it, one letter after the other, until the broker fails or the
// command is interrupted. Then the same command again does the rest: what was
// done is known by the ledger and by the orders that wait.
func (r *deadReport) carryOut(ctx context.Context, chosen []kept, do act, p *progress) error {
	defer p.clear()
	for i, k := range chosen {
		if r.Letters[i].Fate != do.can {
			continue
		}
		err := ctx.Err()
		var v verdict
		if err == nil {
			v, err = do.do(ctx, k)
		}
		if err != nil {
			r.leave(do)
			return fmt.Errorf("%s %s: %w; the same command again does the rest", k.Lane, k.Intent, err)
		}
		r.Letters[i] = k.handled(v)
		if len(chosen) > screenful {
			p.draw("%d of %d %s", i+1, len(chosen), do.past)
		}
	}
	return nil
}

// leave says of the letters that the command did not come to that nothing was
// done.
func (r *deadReport) leave(do act) {
	for i := range r.Letters {
		if r.Letters[i].Fate == do.can {
			r.Letters[i].Result = "not " + do.past
		}
	}
}

// count counts letters by their fates.
func count(letters []handled) map[fate]int {
	n := make(map[fate]int)
	for _, h := range letters {
		n[h.Fate]++
	}
	return n
}

// lanes returns the lanes of the letters with this fate.
func (r *deadReport) lanes(f fate) []string {
	lanes := make(map[string]bool)
	for _, h := range r.Letters {
		if h.Fate == f {
			lanes[h.Lane] = true
		}
	}
	return slices.Sorted(maps.Keys(lanes))
}

// missed fails if something could not be done, or was not done with a letter
// that was named.
func (r *deadReport) missed(c *deadAct, do act) error {
	if len(r.Letters) < r.Matched {
		return nil // and why is known
	}
	n := count(r.Letters)
	missed := n[fateFailed]
	if len(c.Intents) > 0 {
		missed = r.Matched - n[do.can] - n[do.did] - n[fateAsked]
	}
	if missed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d were not %s", missed, r.Matched, do.past)
}

// print shows each letter; of more than a screenful how many had which fate, and
// those that failed.
func (r *deadReport) print(a *app) error {
	return a.print(r, func(w io.Writer) {
		if r.Matched == 0 {
			fmt.Fprintln(w, "There are no such dead letters.")
			return
		}
		shown := r.Letters
		if r.Matched > screenful {
			failed := func(h handled) bool { return h.Fate == fateFailed }
			shown = slices.DeleteFunc(slices.Clone(shown), func(h handled) bool { return !failed(h) })
			shown = shown[:min(len(shown), screenful)]
		}
		if r.Matched > screenful || r.DryRun && r.Matched > 1 {
			r.drawCounts(w)
			if len(shown) > 0 {
				fmt.Fprintln(w)
			}
		}
		if len(shown) == 0 {
			return
		}
		fmt.Fprintln(w, "LANE\tINTENT\tEVENT\tRESULT")
		for _, h := range shown {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", h.Lane, short(h.Intent), or(h.ID), clean(h.Result))
		}
	})
}

// drawCounts says how many letters have which fate, the most first.
func (r *deadReport) drawCounts(w io.Writer) {
	n := make(map[string]int)
	for _, h := range r.Letters {
		n[h.Result]++
	}
	fmt.Fprintf(w, "%s:\n", letters(r.Matched))
	for _, words := range slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		return cmp.Or(n[b]-n[a], strings.Compare(a, b))
	}) {
		fmt.Fprintf(w, "%6d  %s\n", n[words], clean(words))
	}
}

// progress is a line on a terminal that says where a command is.
type progress struct {
	w     io.Writer
	drawn time.Time
}

// draw draws it, ten times a second.
func (p *progress) draw(format string, args ...any) {
	if !isTerminal(p.w) || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.w, "\r"+format+" ", args...)
}

// clear takes it away.
func (p *progress) clear() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = time.Time{}
	}
}
