package main

import (
	"context"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

// outcomesDesk is what the console's pages of undelivered outcomes read and do.
type outcomesDesk struct{ *pagesDesk }

// tellsOutcomes reports whether outcomes of any lane go to an address.
func tellsOutcomes(cfg *config.Config) bool {
	for _, lc := range (&desk{cfg: cfg}).lanes() {
		if lc.Outcomes != nil {
			return true
		}
	}
	return false
}

// Undelivered implements console.Undelivered.
func (d *outcomesDesk) Undelivered(ctx context.Context, lane string, from, most int) (console.UndeliveredList, error) {
	ctx, done, err := d.looking(ctx)
	if err != nil {
		return console.UndeliveredList{}, err
	}
	defer done()
	var out console.UndeliveredList
	_, problems := d.undelivered(ctx, lane, func(u broker.Undelivered) bool {
		if out.Total++; out.Total > from && len(out.Outcomes) < most {
			out.Outcomes = append(out.Outcomes, undeliveredForConsole(u))
		}
		return false
	})
	if problems != nil && out.Total == 0 {
		return out, forConsole(problems)
	}
	if problems != nil {
		out.Rest = "Not all could be read: " + sentence(problems.Error())
	}
	return out, nil
}

// undeliveredForConsole translates one.
func undeliveredForConsole(u broker.Undelivered) console.UndeliveredOutcome {
	out := console.UndeliveredOutcome{
		Lane: u.Lane, ID: u.ID, Kind: u.Kind, Intent: u.Intent, EventID: schema.Mask(u.EventID), Source: schema.Mask(u.Source),
		Sequence: u.Sequence, Published: u.Published, First: u.First, Last: u.Last, Tries: u.Tries, Reason: schema.Mask(u.Reason),
	}
	if u.By != "" {
		out.Order = "To be sent again, by " + u.By + "."
	}
	return out
}

// oneOutcome finds an undelivered outcome.
func (d *outcomesDesk) oneOutcome(ctx context.Context, lane, id string) (broker.Undelivered, error) {
	ctx, done, err := d.looking(ctx)
	if err != nil {
		return broker.Undelivered{}, err
	}
	defer done()
	found, err := d.undelivered(ctx, lane, func(u broker.Undelivered) bool { return u.ID == id })
	switch {
	case len(found) > 0:
		return found[0], nil
	case err != nil:
		return broker.Undelivered{}, forConsole(err)
	default:
		return broker.Undelivered{}, console.Absent{Text: "There is no such undelivered outcome.", Next: "It was delivered or removed meanwhile; look at the list."}
	}
}

// Outcome implements console.Undelivered.
func (d *outcomesDesk) Outcome(ctx context.Context, lane, id string) (console.UndeliveredOutcome, error) {
	u, err := d.oneOutcome(ctx, lane, id)
	if err != nil {
		return console.UndeliveredOutcome{}, err
	}
	out := undeliveredForConsole(u)
	out.Body = pretty(string(maskedJSON(u.Body)))
	return out, nil
}

// Settle implements console.Undelivered.
func (d *outcomesDesk) Settle(ctx context.Context, verb console.Verb, lane, id string, sequence uint64, a console.Act) (console.Result, error) {
	u, err := d.oneOutcome(ctx, lane, id)
	if err != nil {
		return console.Result{}, err
	}
	if u.Sequence != sequence {
		return console.Result{}, console.Denied{Text: "Nothing was done: the outcome is not as you saw it.", Next: "Somebody decided meanwhile, or it was tried again. Look at it again."}
	}
	r := console.Result{Done: true, Text: "The outcome was removed; its publisher is not told."}
	if verb == console.Send {
		var text string
		if r.Done, text, err = d.sendUndelivered(ctx, u, a.By); err == nil {
			r.Text = "The outcome " + sentence(text)
		}
	} else {
		err = d.broker.DiscardUndelivered(ctx, u.Lane, u.ID, u.Sequence)
	}
	if err == nil {
		d.lg.Info().Str("lane", lane).Str("outcome", id).Str("verb", string(verb)).Bool("done", r.Done).
			Str("by", schema.Mask(a.By)).Str("reason", schema.Mask(a.Reason)).Msg("console: an undelivered outcome was settled")
	}
	return r, forConsole(err)
}
