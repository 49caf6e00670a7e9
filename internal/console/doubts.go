package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Doubts is what the pages of doubts read and do.
type Doubts interface {
	// Doubts lists those of a lane, or of all. What could not be read is told in Rest.
	Doubts(ctx context.Context, lane string, from, most int) (LetterList, error)
	// Doubt is all that is known of one.
	Doubt(ctx context.Context, lane, intent string) (Letter, error)
	// Settle writes down what a person found out, if the event is still as it was.
	Settle(ctx context.Context, at Step, s Settlement, a Act) (Result, error)
}

// Settlement is how a doubt is settled: one of the three.
type Settlement struct {
	Created string // the call was placed: the provider's id of the conversation
	Retry   bool   // it is sent again
	Drop    bool   // it is over
}

// The three ways, as forms name them.
const (
	asCreated = "created"
	asRetry   = "retry"
	asDrop    = "drop"
)

// doubtsPages are the pages of doubts.
func (c *Console) doubtsPages() []entry {
	return []entry{
		{path: "/doubts", nav: "Doubts", ofLane: true, show: c.showDoubts},
		{path: "/doubts/{lane}/{intent}", show: c.showDoubt, act: c.settle},
	}
}

func doubtHref(lane, intent string) string {
	return "/doubts/" + url.PathEscape(lane) + "/" + url.PathEscape(intent)
}

// doubtsView is the page of doubts.
type doubtsView struct {
	Filter form
	Total  int
	Rest   string
	Table  *table
}

func (c *Console) showDoubts(ctx context.Context, v *visit) (view, error) {
	lane := laneOf(v.URL.Query().Get("lane"))
	from, _ := strconv.Atoi(v.URL.Query().Get("from"))
	from = min(max(from, 0), 1<<30)
	list, err := c.desks.Doubts.Doubts(ctx, lane, from, pageOf)
	if err != nil {
		return view{}, err
	}
	t := lettersTable(list.Letters, doubtHref, "No event is in doubt.")
	if next := from + len(list.Letters); next < list.Total {
		q := url.Values{"from": {strconv.Itoa(next)}}
		if lane != "" {
			q.Set("lane", lane)
		}
		t.More = "/doubts?" + q.Encode()
	}
	return view{Template: "doubts", Title: "Doubts", Data: doubtsView{
		Filter: form{Action: "/doubts", Method: "get", Button: "Filter", Inline: true, Fields: []field{c.laneField("filter", lane)}},
		Total:  list.Total, Rest: list.Rest, Table: t,
	}}, nil
}

func (c *Console) showDoubt(ctx context.Context, v *visit) (view, error) {
	return c.doubtPage(ctx, v, nil)
}

func (c *Console) doubtPage(ctx context.Context, v *visit, wrong *Invalid) (view, error) {
	lane, intent, err := v.named()
	if err != nil {
		return view{}, err
	}
	l, err := c.desks.Doubts.Doubt(ctx, lane, intent)
	if err != nil {
		return view{}, err
	}
	shown := c.newLetterView(l)
	switch {
	case l.State != "doubt":
		shown.Note = "Its event is not in doubt any more: it is " + dash(l.State) + "."
	case l.Open:
		shown.Note = "Weir settles this one itself: it looks the conversation up by the intent's id. You may settle it all the same."
	default:
		shown.Note = "A request went out, and nobody knows whether the call was placed. Ask the provider: look for the intent, or for the number, at the time of the request. Then say what you found."
	}
	if l.State == "doubt" {
		shown.Forms = doubtChoices(l)
	}
	page := view{Template: "letter", Title: "Doubt " + clip(cmp.Or(l.ID, intent), 60), Crumbs: []crumb{{"Doubts", "/doubts"}}, Data: shown}
	markChoice(shown.Forms, v, wrong, &page)
	return page, nil
}

// doubtChoices are the three ways to settle a doubt.
func doubtChoices(l Letter) []choice {
	ask := func(how, button string, danger bool, more ...field) form {
		return form{
			Action: doubtHref(l.Lane, l.Intent), Button: button, Danger: danger,
			Hidden: map[string]string{"how": how, "n": strconv.Itoa(l.N)},
			Fields: append(more, reasonField(how)),
		}
	}
	twice := "If the first call was placed after all, the person is called a second time."
	if l.TakesID {
		twice = "It goes out with the same id, so that the provider makes no second conversation of it."
	}
	return []choice{
		{
			"The call was placed", "The event is done. The publisher is told so, and the slot stays taken until the conversation ends.",
			ask(asCreated, "It was placed", false, field{
				Name: "conversation", Label: "The provider's id of the conversation", Required: true, Max: mostConversation, Complete: "off",
			}),
		},
		{"It was not placed: send it again", "The event goes through its lane once more. " + twice, ask(asRetry, "Send again", !l.TakesID)},
		{"Give it up", "It is over: nobody is called for it any more, and the publisher is told that it was cancelled. It cannot be taken back.", ask(asDrop, "Give it up", true)},
	}
}

// mostConversation bounds a conversation's id, in characters.
const mostConversation = 200

func (c *Console) settle(ctx context.Context, v *visit) (done, error) {
	at, err := v.step()
	if err != nil {
		return done{}, err
	}
	s := Settlement{}
	switch v.PostForm.Get("how") {
	case asCreated:
		s.Created = plain(v.PostForm.Get("conversation"), mostConversation)
		if s.Created == "" {
			shown, err := c.doubtPage(ctx, v, &Invalid{"conversation", "Give the conversation's id."})
			return again(shown), err
		}
	case asRetry:
		s.Retry = true
	case asDrop:
		s.Drop = true
	default:
		return done{}, refuse(http.StatusUnprocessableEntity, "It is not said how the doubt is settled.", "Load its page anew and use one of its buttons.")
	}
	a, err := v.act()
	var r Result
	if err == nil {
		r, err = c.desks.Doubts.Settle(ctx, at, s, a)
	}
	if wrong, ok := wrongForm(err); ok {
		shown, err := c.doubtPage(ctx, v, &wrong)
		return again(shown), err
	}
	if err != nil {
		return done{}, err
	}
	to := "/doubts"
	if c.desks.Events != nil {
		to = eventHref(at.Lane, at.Intent)
	}
	return done{to: to, word: r.word()}, nil
}
