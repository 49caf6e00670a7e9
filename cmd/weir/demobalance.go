package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// tally is a lane's balance, the ledger's word beside the provider's own log.
type tally struct {
	Lane      string `json:"lane"`
	Published int    `json:"published"` // distinct events
	Repeated  int    `json:"repeated"`
	Created   int    `json:"created"`
	Dead      int    `json:"dead"`
	Doubt     int    `json:"in_doubt"`
	Waiting   int    `json:"waiting"`
	Doubled   int    `json:"doubled"`
	Lost      int    `json:"lost"`
	Highest   int    `json:"highest_slots"`
	Limit     int    `json:"limit"`

	live int
}

// count compares the ledger with the provider's log.
func (d *demo) count(ctx context.Context, ln *demoLane) (tally, error) {
	t := tally{Lane: ln.name, Published: len(ln.sent), Repeated: ln.dups}
	report := ln.provider.Report()
	t.Highest, t.Limit = report.Highest, report.Limit
	made := make(map[string]int)
	for _, conv := range ln.provider.Conversations() {
		made[conv.Intent]++
	}
	for key, n := range made {
		if _, known := ln.sent[key]; !known || n > 1 {
			t.Doubled++ // a call that no event stands for is one too many as well
		}
	}
	if report.LogError != "" {
		return t, fmt.Errorf("the log of the simulated provider of %s has a gap: %s", ln.name, report.LogError)
	}
	states := make(map[string]consumer.State)
	unreadable := 0
	for entry, err := range d.svc.ledger.Scan(ctx, ln.name, time.Time{}) {
		if err != nil {
			return t, err
		}
		states[entry.Intent.Key] = entry.Intent.State
		if entry.Intent.Class == string(schema.ClassVersion) {
			unreadable++
		}
	}
	for key := range ln.sent {
		state := states[key]
		if strings.HasPrefix(key, "unreadable ") && unreadable > 0 {
			state, unreadable = consumer.Dead, unreadable-1
		}
		t.add(state, made[key])
	}
	return t, nil
}

// add enters one event. A state that the provider's log contradicts counts as
// lost: nobody was called although the books say so, or the other way round.
func (t *tally) add(state consumer.State, made int) {
	switch {
	case state == consumer.Created && made > 0:
		t.Created++
		t.live++
	case state == consumer.Ended && made > 0:
		t.Created++
	case state == consumer.Dead && made == 0:
		t.Dead++
	case state == consumer.Doubt:
		t.Doubt++
	case state == consumer.Waiting || state == consumer.Started || state == consumer.Absent && made == 0:
		t.Waiting++
	default:
		t.Lost++
	}
}

// balance draws the table, and is an error if a promise was broken.
func (d *demo) balance(ctx context.Context) error {
	var tallies []tally
	var broken error
	for _, ln := range d.lanes {
		t, err := d.count(ctx, ln)
		if err != nil {
			return err
		}
		pending, unacked, err := d.svc.broker.Backlog(ctx, ln.name)
		if err != nil {
			return err
		}
		if there := int(pending + unacked); t.Waiting > there { //nolint:gosec // a backlog of this demo
			t.Lost += t.Waiting - there
			t.Waiting = there
		}
		if t.Lost > 0 || t.Doubled > 0 || t.Highest > t.Limit {
			broken = errors.New("a promise was broken: see the table")
		}
		tallies = append(tallies, t)
	}
	fmt.Fprintln(d.app.stderr)
	err := d.app.print(tallies, func(w io.Writer) {
		fmt.Fprintln(w, "LANE\tPUBLISHED\tREPEATED\tCREATED\tDEAD\tIN DOUBT\tWAITING\tDOUBLED\tLOST\tHIGHEST SLOTS\tLIMIT")
		for _, t := range tallies {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", t.Lane, t.Published, t.Repeated, t.Created,
				t.Dead, t.Doubt, t.Waiting, t.Doubled, t.Lost, t.Highest, t.Limit)
		}
	})
	return errors.Join(err, broken)
}
