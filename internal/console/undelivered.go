package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Undelivered is what the pages of undelivered outcomes read and do.
type Undelivered interface {
	// Undelivered lists those of a lane, or of all.
	Undelivered(ctx context.Context, lane string, from, most int) (UndeliveredList, error)
	// Outcome is all that is known of one.
	Outcome(ctx context.Context, lane, id string) (UndeliveredOutcome, error)
	// Settle has one sent again, or removes it, if it is still as it was.
	Settle(ctx context.Context, verb Verb, lane, id string, sequence uint64, a Act) (Result, error)
}

// UndeliveredList is a part of the outcomes that were given up.
type UndeliveredList struct {
	Outcomes []UndeliveredOutcome
	Total    int
	Rest     string // a sentence: what could not be read; empty: all was
}

// UndeliveredOutcome is an outcome that its address did not take. Nothing of it is
// personal.
type UndeliveredOutcome struct {
	Lane, ID, Kind  string
	Intent          string
	EventID, Source string
	Sequence        uint64
	Published       time.Time
	First, Last     time.Time // since when it failed, and when it was given up
	Tries           int
	Reason, Order   string // Order: by whom it is to be sent again
	Body            string
}

// undeliveredPages are the pages of undelivered outcomes.
func (c *Console) undeliveredPages() []entry {
	return []entry{
		{path: "/undelivered", nav: "Undelivered", ofLane: true, show: c.showUndelivered},
		{path: "/undelivered/{lane}/{intent}", show: c.showOutcome, act: c.settleOutcome},
	}
}

func outcomeHref(lane, id string) string {
	return "/undelivered/" + url.PathEscape(lane) + "/" + url.PathEscape(id)
}

func (c *Console) showUndelivered(ctx context.Context, v *visit) (view, error) {
	lane := laneOf(v.URL.Query().Get("lane"))
	from, _ := strconv.Atoi(v.URL.Query().Get("from"))
	from = min(max(from, 0), 1<<30)
	list, err := c.desks.Undelivered.Undelivered(ctx, lane, from, pageOf)
	if err != nil {
		return view{}, err
	}
	t := &table{Caption: "The oldest first", Head: []string{"Event", "Outcome", "Failed since", "Given up", "Reason"}, Empty: "Every outcome was delivered, or is still tried."}
	for _, u := range list.Outcomes {
		reason := u.Reason
		if u.Order != "" {
			reason = u.Order
		}
		t.Rows = append(t.Rows, []cell{
			{Text: dash(clip(u.EventID, 60)), Sub: u.Lane, Href: outcomeHref(u.Lane, u.ID)}, {Text: dash(u.Kind)},
			{Text: clock(u.First), Class: "nowrap"}, {Text: clock(u.Last), Class: "nowrap"}, {Text: dash(clip(reason, 160)), Class: "wide"},
		})
	}
	if next := from + len(list.Outcomes); next < list.Total && len(list.Outcomes) > 0 {
		q := url.Values{"from": {strconv.Itoa(next)}}
		if lane != "" {
			q.Set("lane", lane)
		}
		t.More = "/undelivered?" + q.Encode()
	}
	return view{Template: "undelivered", Title: "Undelivered outcomes", Data: doubtsView{
		Filter: form{Action: "/undelivered", Method: "get", Button: "Filter", Inline: true, Fields: []field{c.laneField("filter", lane)}},
		Total:  list.Total, Rest: list.Rest, Table: t,
	}}, nil
}

// outcomeView is the page of one outcome.
type outcomeView struct {
	UndeliveredOutcome

	Facts []fact
	Forms []choice
}

func (c *Console) showOutcome(ctx context.Context, v *visit) (view, error) {
	return c.outcomePage(ctx, v, nil)
}

func (c *Console) outcomePage(ctx context.Context, v *visit, wrong *Invalid) (view, error) {
	lane, id, err := v.named()
	if err != nil {
		return view{}, err
	}
	u, err := c.desks.Undelivered.Outcome(ctx, lane, id)
	if err != nil {
		return view{}, err
	}
	ask := func(what Verb, button string) form {
		return form{
			Action: outcomeHref(lane, id), Button: button, Danger: what == Drop,
			Hidden: map[string]string{"how": string(what), "sequence": strconv.FormatUint(u.Sequence, 10)},
			Fields: []field{{Name: "reason", ID: string(what) + "-reason", Label: "Why?", Help: "It is written to the log with your name.", Required: true, Max: mostReason}},
		}
	}
	u.Body = Content{Body: u.Body}.shown().Body
	shown := outcomeView{UndeliveredOutcome: u, Forms: []choice{
		{"Send it again", "Its address is tried once more.", ask(Send, "Send again")},
		{"Remove it", "Its publisher is not told what became of the event. It cannot be taken back.", ask(Drop, "Remove")},
	}, Facts: facts(
		fact{Name: "Reason", Text: u.Reason}, fact{Name: "Ordered", Text: u.Order}, fact{Name: "Lane", Text: u.Lane},
		fact{Name: "Outcome", Text: u.Kind}, fact{Name: "Its id", Text: u.ID, Class: "mono"},
		fact{Name: "Event id", Text: u.EventID, Class: "mono"}, fact{Name: "Source", Text: u.Source, Class: "mono"},
		fact{Name: "Intent", Text: u.Intent, Class: "mono"}, fact{Name: "Tries", Text: strconv.Itoa(u.Tries)},
		fact{Name: "Published", Text: clock(u.Published)}, fact{Name: "Failed since", Text: clock(u.First)}, fact{Name: "Given up", Text: clock(u.Last)},
	)}
	page := view{Template: "outcome", Title: "Undelivered outcome", Crumbs: []crumb{{"Undelivered outcomes", "/undelivered"}}, Data: shown}
	markChoice(shown.Forms, v, wrong, &page)
	return page, nil
}

func (c *Console) settleOutcome(ctx context.Context, v *visit) (done, error) {
	lane, id, err := v.named()
	if err != nil {
		return done{}, err
	}
	what, err := verb(v.PostForm.Get("how"))
	if err != nil {
		return done{}, err
	}
	sequence, err := strconv.ParseUint(v.PostForm.Get("sequence"), 10, 64)
	if err != nil {
		return done{}, refuse(http.StatusUnprocessableEntity, "It is not said which outcome you saw.", "Load its page anew and decide there.")
	}
	a, err := v.act()
	if wrong, ok := wrongForm(err); ok {
		shown, err := c.outcomePage(ctx, v, &wrong)
		return again(shown), err
	}
	r, err := c.desks.Undelivered.Settle(ctx, what, lane, id, sequence, a)
	if err != nil {
		return done{}, err
	}
	return done{to: "/undelivered", word: r.word()}, nil
}
