package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

// lettersDesk is what the console's pages of dead letters read and do.
type lettersDesk struct{ *pagesDesk }

// takesForConsole returns a filter as a function.
func takesForConsole(f console.LetterFilter, now time.Time) (func(kept) bool, error) {
	own := letterFilter{Lane: f.Lane, Type: f.Type, Since: f.Since, Until: f.Until, Text: f.Text}
	for class := range strings.SplitSeq(f.Class, ",") {
		if class = strings.TrimSpace(class); class != "" {
			own.Class = append(own.Class, class)
		}
	}
	for field, text := range map[string]string{"since": f.Since, "until": f.Until} {
		if _, err := pointInTime(field, text, now); err != nil {
			return nil, console.Invalid{Field: field, Text: "Give an age such as 2h or 7d, or a time such as " + now.UTC().Format(time.RFC3339) + "."}
		}
	}
	take, err := own.takes(now)
	if err != nil && strings.Contains(f.Type, "*") && !strings.HasSuffix(strings.Replace(f.Type, "*", "", 1), "*") && strings.IndexByte(f.Type, '*') < len(f.Type)-1 {
		return nil, console.Invalid{Field: "type", Text: "The * must be the last character."}
	}
	if err != nil {
		return nil, console.Invalid{Field: "until", Text: "This is before the other time, so that no letter can match."}
	}
	return take, nil
}

// lines lists letters in a state.
func (d *pagesDesk) lines(ctx context.Context, state consumer.State, lane string, take func(kept) bool, from, most int) (console.LetterList, error) {
	ctx, done, err := d.looking(ctx)
	if err != nil {
		return console.LetterList{}, err
	}
	defer done()
	var out console.LetterList
	classes := make(map[string]int)
	read, damaged, cut := 0, 0, false
	for k, err := range d.letters(ctx, state, lane) {
		switch {
		case err != nil && (k.Intent == "" || ctx.Err() != nil):
			if read == 0 {
				return out, forConsole(err)
			}
			cut = true
		case err != nil:
			damaged++
		case k.stays() && take(k):
			classes[k.class()]++
			if out.Total++; out.Total > from && len(out.Letters) < most {
				out.Letters = append(out.Letters, k.forConsole())
			}
		}
		read++
		if cut {
			break
		}
	}
	for class, n := range classes {
		out.Classes = append(out.Classes, console.Count{What: class, N: n})
	}
	slices.SortFunc(out.Classes, func(a, b console.Count) int { return cmp.Or(b.N-a.N, strings.Compare(a.What, b.What)) })
	out.Rest = unread(read, damaged, cut, "Choose a lane, or use the command line.")
	return out, nil
}

// forConsole translates a letter's line.
func (k kept) forConsole() console.LetterLine {
	r := k.row()
	return console.LetterLine{
		Lane: r.Lane, Intent: r.Intent, ID: schema.Mask(r.ID), Source: schema.Mask(r.Source), Type: schema.Mask(r.Type),
		Class: r.Class, Reason: schema.Mask(r.Reason), Claims: r.Claims, Since: r.Last,
	}
}

// Letters implements console.Letters.
func (d *lettersDesk) Letters(ctx context.Context, f console.LetterFilter, from, most int) (console.LetterList, error) {
	take, err := takesForConsole(f, time.Now())
	if err != nil {
		return console.LetterList{}, err
	}
	return d.lines(ctx, consumer.Dead, f.Lane, take, from, most)
}

// letter is one, with what the ledger says of its event.
func (d *pagesDesk) letter(ctx context.Context, state consumer.State, lane, intent string) (k kept, err error) {
	if k.Letter, err = d.broker.Letter(ctx, state, lane, intent); err != nil && !errors.Is(err, broker.ErrNoLetter) {
		return k, forConsole(err)
	}
	gone := err != nil
	if k.now, _, err = d.ledger.Load(ctx, lane, intent); err != nil {
		return k, forConsole(err)
	}
	if gone && k.now.State == consumer.Absent {
		return k, noSuchEvent
	}
	if gone { // its event has left the state, or the letter is not kept yet
		k.Letter = consumer.Letter{Lane: lane, Intent: intent, State: state, ID: k.now.ID, Source: k.now.Source, Type: k.now.Type}
	}
	return k, nil
}

// whole is all that is known of a letter.
func (d *pagesDesk) whole(ctx context.Context, k kept) (console.Letter, error) {
	s, err := d.shown(ctx, k, false)
	if err != nil {
		return console.Letter{}, forConsole(err)
	}
	out := console.Letter{
		LetterLine: k.forConsole(), State: string(k.now.State), N: k.now.N, Doubts: k.now.Attempts, First: s.First,
		Order: sentence(s.Order), Timeline: timelineForConsole(sought{now: k.now}, nil), Named: hearsayForConsole(k.now.Named),
		Content: contentForConsole(s.content), TakesID: takesID(d.cfg, k.Lane), Open: k.now.Open,
	}
	if len(k.Data) == 0 && len(k.Header) == 0 {
		out.Content = console.Content{Note: "The event itself is not kept here any more."}
	}
	return out, nil
}

// Letter implements console.Letters.
func (d *lettersDesk) Letter(ctx context.Context, lane, intent string) (console.Letter, error) {
	k, err := d.letter(ctx, consumer.Dead, lane, intent)
	if err != nil {
		return console.Letter{}, err
	}
	return d.whole(ctx, k)
}

// does is what a verb does.
func (d *lettersDesk) does(verb console.Verb, a console.Act, with *correction) act {
	if verb == console.Drop {
		return d.dropping(decided(a))
	}
	return d.replaying(decided(a), with)
}

// Preview implements console.Letters.
func (d *lettersDesk) Preview(ctx context.Context, verb console.Verb, f console.LetterFilter) (console.Fates, error) {
	take, err := takesForConsole(f, time.Now())
	if err != nil {
		return console.Fates{}, err
	}
	within, done, err := d.looking(ctx)
	if err != nil {
		return console.Fates{}, err
	}
	defer done()
	chosen, problems := d.pick(within, consumer.Dead, f.Lane, take)
	if problems != nil && len(chosen) == 0 {
		return console.Fates{}, forConsole(problems)
	}
	total := len(chosen)
	chosen = chosen[:min(total, console.MostSteps)]
	r := &deadReport{DryRun: true, Matched: len(chosen)}
	do := d.does(verb, console.Act{}, nil)
	if err := r.judge(ctx, chosen, do.plan, quietly()); err != nil {
		return console.Fates{}, forConsole(err)
	}
	out := fatesForConsole(r, do.can)
	for i, h := range r.Letters {
		if h.Fate == do.can {
			out.Steps = append(out.Steps, console.Step{Lane: h.Lane, Intent: h.Intent, N: chosen[i].now.N})
		}
	}
	var rest []string
	if total > len(chosen) {
		rest = append(rest, fmt.Sprintf("%d dead letters match. Only the oldest %d are taken at a time; do the rest after them.", total, len(chosen)))
	}
	if problems != nil {
		rest = append(rest, "Not all letters could be read: "+sentence(problems.Error()))
	}
	out.Rest = strings.Join(rest, " ")
	return out, nil
}

// quietly is a progress that nobody sees.
func quietly() *progress { return &progress{w: io.Discard} }

// fatesForConsole translates a report. can is the fate that counts as done.
func fatesForConsole(r *deadReport, can fate) console.Fates {
	out := console.Fates{Total: r.Matched}
	counts := make(map[string]int)
	for _, h := range r.Letters {
		counts[sentence(h.Result)]++
		if h.Fate == can {
			out.Can++
		}
		if len(out.Lines) < screenful {
			out.Lines = append(out.Lines, console.Fate{Lane: h.Lane, Intent: h.Intent, ID: schema.Mask(h.ID), Fate: sentence(h.Result)})
		}
	}
	for text, n := range counts {
		out.Counts = append(out.Counts, console.Count{What: strings.TrimSuffix(text, "."), N: n})
	}
	slices.SortFunc(out.Counts, func(a, b console.Count) int { return cmp.Or(b.N-a.N, strings.Compare(a.What, b.What)) })
	return out
}

// asSeen is an act that is done only with events that still stand where a person saw
// them.
func asSeen(do act, seen map[string]int) act {
	plan := do.plan
	do.plan = func(ctx context.Context, k kept) (verdict, error) {
		if k.stays() && k.now.N != seen[k.Lane+k.Intent] {
			return changedVerdict, nil
		}
		return plan(ctx, k)
	}
	return do
}

// Do implements console.Letters.
func (d *lettersDesk) Do(ctx context.Context, verb console.Verb, seen []console.Step, a console.Act) (console.Fates, error) {
	at := make(map[string]int)
	var chosen []kept
	for _, s := range seen {
		k, err := d.letter(ctx, consumer.Dead, s.Lane, s.Intent)
		if _, gone := errors.AsType[console.Absent](err); gone {
			continue
		}
		if err != nil {
			return console.Fates{}, err
		}
		k.Header, k.Data, k.now.History = nil, nil, nil
		at[s.Lane+s.Intent] = s.N
		chosen = append(chosen, k)
	}
	do := asSeen(d.does(verb, a, nil), at)
	r := &deadReport{Matched: len(chosen)}
	if err := r.judge(ctx, chosen, do.plan, quietly()); err != nil {
		return console.Fates{}, forConsole(err)
	}
	err := r.carryOut(ctx, chosen, do, quietly())
	out := fatesForConsole(r, do.did)
	out.Total = len(seen)
	if err != nil {
		out.Rest = "It was broken off, and what is left was not touched: " + sentence(err.Error())
	} else if verb == console.Send {
		out.Rest = d.absent(ctx, r.lanes(do.did))
	}
	return out, nil
}

// absent says for which lanes nobody obeys yet.
func (d *pagesDesk) absent(ctx context.Context, lanes []string) string {
	var idle []string
	for _, lane := range lanes {
		if _, err := d.status(ctx, lane); errors.Is(err, broker.ErrNoOwner) {
			idle = append(idle, lane)
		}
	}
	if len(idle) == 0 {
		return ""
	}
	return "Nobody runs " + strings.Join(idle, ", ") + " now; the orders wait."
}

// DoOne implements console.Letters.
func (d *lettersDesk) DoOne(ctx context.Context, verb console.Verb, at console.Step, event string, a console.Act) (console.Result, error) {
	k, err := d.letter(ctx, consumer.Dead, at.Lane, at.Intent)
	if err != nil {
		return console.Result{}, err
	}
	if k.now.N != at.N || !k.stays() {
		return console.Result{}, overtaken(stateWords(k.now.State))
	}
	var with *correction
	if event != "" {
		if with, err = d.corrected(ctx, k, event); err != nil {
			return console.Result{}, err
		}
	}
	do := d.does(verb, a, with)
	r := &deadReport{Matched: 1}
	if err := r.judge(ctx, []kept{k}, do.plan, quietly()); err != nil {
		return console.Result{}, forConsole(err)
	}
	if err := r.carryOut(ctx, []kept{k}, do, quietly()); err != nil {
		return console.Result{}, forConsole(err)
	}
	out := console.Result{Done: r.Letters[0].Fate == do.did || r.Letters[0].Fate == fateAsked, Text: "The dead letter: " + sentence(r.Letters[0].Result)}
	if verb == console.Send && out.Done {
		out.Text = strings.TrimSpace(out.Text + " " + d.absent(ctx, []string{at.Lane}))
	}
	return out, nil
}

// corrected reads a corrected event; what is wrong with it is told with its place.
func (d *lettersDesk) corrected(ctx context.Context, k kept, event string) (*correction, error) {
	var value json.RawMessage
	if err := json.Unmarshal([]byte(event), &value); err != nil {
		text := "This is not JSON: " + sentence(err.Error())
		if s, ok := errors.AsType[*json.SyntaxError](err); ok {
			line, column := place(event, int(s.Offset))
			text = fmt.Sprintf("This is not JSON: line %d, character %d: %s", line, column, sentence(s.Error()))
		}
		return nil, console.Invalid{Field: "event", Text: text}
	}
	with, err := d.correct(ctx, d.lg, k, "the event", []byte(event))
	if broker.Away(err) {
		return nil, forConsole(err)
	}
	if err != nil {
		return nil, console.Invalid{Field: "event", Text: sentence(err.Error())}
	}
	return with, nil
}

// place is where a byte of a text stands, counted from 1.
func place(text string, offset int) (line, column int) {
	before := text[:min(max(offset-1, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// stateWords is a state in a sentence.
func stateWords(s consumer.State) string {
	if s == consumer.Absent {
		return "not in the ledger"
	}
	return string(s)
}
