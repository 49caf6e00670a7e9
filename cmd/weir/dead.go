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
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// deadCmd is weir dead.
type deadCmd struct {
	List   deadListCmd   `cmd:"" help:"List the dead letters."`
	Show   deadShowCmd   `cmd:"" help:"Show one dead letter with its event, personal data included."`
	Replay deadReplayCmd `cmd:"" help:"Send dead letters again, in your name."`
}

// letterRow is one line of a list of letters.
type letterRow struct {
	Lane     string    `json:"lane"`
	Intent   string    `json:"intent"`
	ID       string    `json:"id,omitzero"` // of the event, as its type and source
	Type     string    `json:"type,omitzero"`
	Source   string    `json:"source,omitzero"`
	Class    string    `json:"class,omitzero"`
	Reason   string    `json:"reason,omitzero"`
	N        int       `json:"n"`
	Claims   int       `json:"claims"`
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// row is the letter's line, in the ledger's words where it has them.
func (k kept) row() letterRow {
	return letterRow{
		Lane: k.Lane, Intent: k.Intent, ID: k.ID, Type: k.Type, Source: k.Source,
		Class: k.now.Class, Reason: k.Reason, N: k.now.N,
		Claims: k.now.Claims, Attempts: k.now.Attempts, First: k.First, Last: k.Last,
	}
}

// deadListCmd is weir dead list.
type deadListCmd struct {
	Lane  string `placeholder:"NAME" help:"Of this lane only."`
	Class string `placeholder:"CLASS" help:"Of this class only, such as request or rejected."`
}

// Run lists the dead letters.
func (c *deadListCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		return d.list(a, consumer.Dead, c.Lane, "There are no dead letters.", ofClass(c.Class))
	})
}

// ofClass is a filter for pick.
func ofClass(class string) func(kept) bool {
	return func(k kept) bool { return class == "" || k.now.Class == class }
}

// list prints the letters that the filter takes, or says that there are none if
// all could be read.
func (d *desk) list(a *app, state consumer.State, lane, none string, take func(kept) bool) error {
	picked, problems := d.pick(a.ctx, state, lane, take)
	rows := make([]letterRow, len(picked))
	for i, k := range picked {
		rows[i] = k.row()
	}
	err := a.printCut(rows, func(w io.Writer) {
		if len(rows) == 0 {
			if problems == nil {
				fmt.Fprintln(w, none)
			}
			return
		}
		fmt.Fprintln(w, "LANE\tINTENT\tEVENT\tCLASS\tTRIES\tSINCE\tREASON")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
				r.Lane, short(r.Intent), or(r.ID), or(r.Class), r.Claims, when(r.Last), or(r.Reason))
		}
	})
	return errors.Join(err, problems)
}

// deadShowCmd is weir dead show.
type deadShowCmd struct {
	Intent string `arg:"" help:"The intent's key, the first characters of it, or the event's id."`
	Lane   string `placeholder:"NAME" help:"Lane to look in."`
}

// shown is one letter with its event and timeline.
type shown struct {
	letterRow
	State    consumer.State      `json:"state"` // by the ledger, now
	Timeline []moment            `json:"timeline,omitempty"`
	Header   map[string][]string `json:"header,omitempty"`
	Data     json.RawMessage     `json:"data,omitempty"`        // a JSON body
	Body     string              `json:"body,omitempty"`        // any other text
	Bytes    []byte              `json:"body_base64,omitempty"` // what is no text
}

// moment is one line of an event's timeline.
type moment struct {
	N      int            `json:"n"`
	State  consumer.State `json:"state"` // that it led to
	At     time.Time      `json:"at"`
	By     string         `json:"by,omitzero"`
	Reason string         `json:"reason,omitzero"`
}

// Run shows one dead letter.
func (c *deadShowCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		found, err := d.find(a.ctx, consumer.Dead, c.Lane, []string{c.Intent})
		if err != nil {
			return err
		}
		k := found[0]
		s := shown{letterRow: k.row(), State: k.now.State, Header: k.Header}
		for _, t := range k.now.History {
			s.Timeline = append(s.Timeline, moment{N: t.N, State: t.State, At: t.At, By: t.By, Reason: t.Reason})
		}
		switch {
		case json.Valid(k.Data):
			s.Data = k.Data
		case utf8.Valid(k.Data):
			s.Body = string(k.Data)
		default:
			s.Bytes = k.Data
		}
		return a.print(s, func(w io.Writer) { s.draw(w, k.Data) })
	})
}

// draw shows the letter to a person.
func (s shown) draw(w io.Writer, body []byte) {
	for _, field := range [][2]string{
		{"lane", s.Lane}, {"intent", s.Intent}, {"state", string(s.State)},
		{"class", s.Class}, {"reason", s.Reason},
		{"event id", s.ID}, {"event type", s.Type}, {"event source", s.Source},
		{"claims", strconv.Itoa(s.Claims)}, {"in doubt", strconv.Itoa(s.Attempts) + " times"},
		{"first seen", when(s.First)}, {"since", when(s.Last)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", field[0], or(field[1]))
	}
	for _, t := range s.Timeline {
		by := ""
		if t.By != "" {
			by = " by " + t.By
		}
		fmt.Fprintf(w, "step %d\t%s  %s%s  %s\n", t.N, when(t.At), t.State, clean(by), clean(t.Reason))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Header)) {
		fmt.Fprintf(w, "header %s\t%s\n", clean(name), clean(strings.Join(s.Header[name], ", ")))
	}
	fmt.Fprintf(w, "\n%s\n", pretty(body))
}

// pretty shows a body: JSON with its members on lines of their own, anything
// else in quotes.
func pretty(body []byte) string {
	var b bytes.Buffer
	if len(body) == 0 {
		return "(empty)"
	}
	if json.Indent(&b, body, "", "  ") != nil {
		return strconv.Quote(string(body))
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

// deadReplayCmd is weir dead replay.
type deadReplayCmd struct {
	Intents []string `arg:"" optional:"" name:"intent" help:"Intents' keys, the first characters of them, or events' ids."`
	All     bool     `help:"All dead letters, or those of a lane and class."`
	Lane    string   `placeholder:"NAME" help:"Of this lane only."`
	Class   string   `placeholder:"CLASS" help:"With --all: of this class only."`
	DryRun  bool     `help:"Only say what would be sent again."`
	decision
}

// replayed is what became of one order to send again.
type replayed struct {
	Lane   string `json:"lane"`
	Intent string `json:"intent"`
	ID     string `json:"id,omitzero"`
	Sent   bool   `json:"sent"` // the order is at the broker, or would be
	Result string `json:"result"`
}

// Run orders dead letters to be sent again.
func (c *deadReplayCmd) Run(a *app) error {
	if c.All == (len(c.Intents) > 0) {
		return usageError{errors.New("which dead letters? name some (see weir dead list), or give --all")}
	}
	if c.Class != "" && !c.All {
		return usageError{errors.New("--class goes with --all")}
	}
	by := c.decision
	if !c.DryRun {
		var err error
		if by, err = c.signed(a); err != nil {
			return err
		}
	}
	return a.atDesk(func(d *desk) error {
		chosen, unread, err := c.choose(a.ctx, d)
		if err != nil {
			return err
		}
		if unread != nil && len(chosen) == 0 {
			return unread // not "there are none"
		}
		r := consumer.Replay{By: by.By, Reason: by.Reason}
		results, err := d.replayAll(a.ctx, chosen, r, c.DryRun)
		return errors.Join(unread, err, d.printReplayed(a, results, len(chosen), c.DryRun))
	})
}

// choose returns the letters that are meant. Of all letters, those that cannot
// be read do not keep the others.
func (c *deadReplayCmd) choose(ctx context.Context, d *desk) (chosen []kept, unread, err error) {
	if c.All {
		chosen, unread = d.pick(ctx, consumer.Dead, c.Lane, ofClass(c.Class))
		return chosen, unread, nil
	}
	chosen, err = d.find(ctx, consumer.Dead, c.Lane, c.Intents)
	return chosen, nil, err
}

// replayAll orders one letter after the other, until one cannot be ordered.
func (d *desk) replayAll(ctx context.Context, chosen []kept, r consumer.Replay, dry bool) ([]replayed, error) {
	results := make([]replayed, 0, len(chosen))
	for _, k := range chosen {
		sent, result, err := d.replay(ctx, k, r, dry)
		if err != nil {
			return results, fmt.Errorf("%s %s: %w", k.Lane, k.Intent, err)
		}
		results = append(results, replayed{Lane: k.Lane, Intent: k.Intent, ID: k.ID, Sent: sent, Result: result})
	}
	return results, nil
}

// replay orders one letter's event to be sent again: one publish, which the
// lane's owner obeys only if the event is still as it was when the ledger was
// read here.
func (d *desk) replay(ctx context.Context, k kept, r consumer.Replay, dry bool) (sent bool, result string, err error) {
	in, _, err := d.ledger.Load(ctx, k.Lane, k.Intent)
	if err != nil {
		return false, "", err
	}
	if in.State != k.State {
		return false, told(in.State), nil
	}
	l, err := d.broker.Letter(ctx, k.State, k.Lane, k.Intent)
	if errors.Is(err, broker.ErrNoLetter) {
		return false, "its event is not kept yet; try again in a moment", nil
	}
	if err != nil || dry {
		return err == nil, "would be sent again", err
	}
	r.Expect = in.N
	err = d.broker.Replay(ctx, l, r)
	if errors.Is(err, broker.ErrCut) {
		return false, err.Error(), nil
	}
	return err == nil, "will be sent again", err
}

// printReplayed tells what became of the orders, and fails if one of those that
// a person asked for was not given.
func (d *desk) printReplayed(a *app, results []replayed, asked int, dry bool) error {
	sent := 0
	for _, r := range results {
		if r.Sent {
			sent++
		}
	}
	err := a.print(results, func(w io.Writer) {
		if asked == 0 {
			fmt.Fprintln(w, "There are no such dead letters.")
		}
		if len(results) == 0 {
			return
		}
		fmt.Fprintln(w, "LANE\tINTENT\tEVENT\tRESULT")
		for _, r := range results {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Lane, short(r.Intent), or(r.ID), r.Result)
		}
	})
	if !dry {
		d.tellAbsent(a, results)
	}
	if sent < asked {
		err = errors.Join(err, fmt.Errorf("%d of %d were not sent again", asked-sent, asked))
	}
	return err
}

// tellAbsent says for which lanes nobody obeys yet.
func (d *desk) tellAbsent(a *app, results []replayed) {
	lanes := make(map[string]bool)
	for _, r := range results {
		if r.Sent {
			lanes[r.Lane] = true
		}
	}
	for _, lane := range slices.Sorted(maps.Keys(lanes)) {
		if _, err := d.status(a.ctx, lane); errors.Is(err, broker.ErrNoOwner) {
			fmt.Fprintf(a.stderr, "no weir serve is running for lane %s; the order waits for it\n", lane)
		}
	}
}
