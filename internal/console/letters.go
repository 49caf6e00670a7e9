package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Letters is what the pages of dead letters read and do.
type Letters interface {
	// Letters lists those that the filter takes. What it could not read in the time
	// that ctx gives is told in LetterList.Rest.
	Letters(ctx context.Context, f LetterFilter, from, most int) (LetterList, error)
	// Letter is all that is known of one.
	Letter(ctx context.Context, lane, intent string) (Letter, error)
	// Preview says what would become of the letters that the filter takes, of the
	// oldest MostSteps of them.
	Preview(ctx context.Context, verb Verb, f LetterFilter) (Fates, error)
	// Do does it with letters whose events still stand where they were seen.
	Do(ctx context.Context, verb Verb, seen []Step, a Act) (Fates, error)
	// DoOne does it with one letter, if its event still stands at step n. With an
	// event, that is sent in the place of the letter's.
	DoOne(ctx context.Context, verb Verb, at Step, event string, a Act) (Result, error)
}

// Verb is what is done with dead letters.
type Verb string

// What is done with dead letters.
const (
	Send Verb = "send" // they are sent again
	Drop Verb = "drop" // they are given up
)

// Step is an event as a person saw it.
type Step struct {
	Lane, Intent string
	N            int // transitions that it had made
}

// LetterFilter chooses dead letters: those for which all that is given holds.
type LetterFilter struct {
	Lane, Class string
	Type        string // a * at the end stands for any text
	Since       string // a time, or an age such as 2h or 7d
	Until       string // the same
	Text        string // in the reason or in the event
}

// LetterList is a part of the letters that were chosen.
type LetterList struct {
	Letters []LetterLine
	Total   int     // of those that were chosen, and could be read
	Classes []Count // of them, the most frequent first
	Rest    string  // a sentence: what could not be read; empty: all was
}

// Count is how many there are of something.
type Count struct {
	What string
	N    int
}

// LetterLine is a letter in a list. Nothing of it is personal.
type LetterLine struct {
	Lane, Intent     string
	ID, Source, Type string
	Class, Reason    string
	Claims           int
	Since            time.Time
}

// Letter is what is known of a dead letter or a doubt. Nothing of it is personal.
type Letter struct {
	LetterLine

	State    string // of its event, now
	N        int    // transitions so far
	Doubts   int    // claims that came into doubt
	First    time.Time
	Order    string // to send it again, which nobody has obeyed yet; empty: there is none
	Timeline []Moment
	Named    []Hearsay
	Content  Content
	// TakesID reports whether the provider takes an id of ours: what is sent twice
	// then makes no second conversation. Open, of a doubt, that it settles itself.
	TakesID, Open bool
}

// Fates are what would become, or became, of letters.
type Fates struct {
	Total  int
	Can    int     // of those, what can be done, or was
	Counts []Count // by fate, in words
	Lines  []Fate  // a few of them
	Rest   string  // a sentence: what was left out; empty: nothing
	Steps  []Step  // of a preview: those with which it can be done
}

// MostSteps is how many letters something is done with at a time.
const MostSteps = 1000

// Fate is what would become, or became, of one letter.
type Fate struct{ Lane, Intent, ID, Fate string }

// lettersPages are the pages of dead letters.
func (c *Console) lettersPages() []entry {
	return []entry{
		{path: "/dead", nav: "Dead letters", ofLane: true, show: c.showLetters, act: c.searchLetters},
		{path: "/dead/preview", act: c.previewLetters},
		{path: "/dead/act", act: c.actOnLetters, body: maxSteps},
		{path: "/dead/{lane}/{intent}", show: c.showLetter, act: c.actOnLetter, body: maxCorrection},
	}
}

func letterHref(lane, intent string) string {
	return "/dead/" + url.PathEscape(lane) + "/" + url.PathEscape(intent)
}

// letterFilter reads a filter from an address or a form.
func letterFilter(from url.Values) LetterFilter {
	get := func(name string) string { return plain(from.Get(name), mostFilter) }
	return LetterFilter{
		Lane: laneOf(get("lane")), Class: get("class"), Type: get("type"),
		Since: get("since"), Until: get("until"), Text: get("text"),
	}
}

// mostFilter bounds a filter's text, in characters.
const mostFilter = 200

// values are the filter as letterFilter reads it.
func (f LetterFilter) values() map[string]string {
	all := make(map[string]string)
	for name, value := range map[string]string{
		"lane": f.Lane, "class": f.Class, "type": f.Type, "since": f.Since, "until": f.Until, "text": f.Text,
	} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

// href is the address of the filter's page from a letter on. The text is left out: it
// may be personal.
func (f LetterFilter) href(from int) string {
	q := make(url.Values)
	for name, value := range f.values() {
		if name != "text" {
			q.Set(name, value)
		}
	}
	if from > 0 {
		q.Set("from", strconv.Itoa(from))
	}
	if len(q) == 0 {
		return "/dead"
	}
	return "/dead?" + q.Encode()
}

// lettersView is the page of dead letters.
type lettersView struct {
	Filter, Search form
	List           LetterList
	Classes        []link
	From, To       int // the letters that are shown, from 1
	Table          *table
	More           *form // where the search's text must not stand in an address
	Acts           []form
}

// pageOf is how many letters stand on a page.
const pageOf = 50

func (c *Console) showLetters(ctx context.Context, v *visit) (view, error) {
	asked := v.URL.Query()
	asked.Del("text")
	return c.lettersPage(ctx, asked)
}

// searchLetters is showLetters with a text, which stands in no address.
func (c *Console) searchLetters(ctx context.Context, v *visit) (done, error) {
	ctx, cancel := context.WithTimeout(ctx, findFor)
	defer cancel()
	shown, err := c.lettersPage(ctx, v.PostForm)
	return again(shown), err
}

func (c *Console) lettersPage(ctx context.Context, asked url.Values) (view, error) {
	f := letterFilter(asked)
	from, _ := strconv.Atoi(asked.Get("from"))
	from = min(max(from, 0), 1<<30)
	shown := lettersView{Filter: c.filterForm(f), Search: searchForm(f), From: from + 1}
	page := view{Template: "letters", Title: "Dead letters"}
	list, err := c.desks.Letters.Letters(ctx, f, from, pageOf)
	if wrong, ok := wrongForm(err); ok {
		shown.Filter.mark(wrong, nil)
		page.Status, page.Data = http.StatusUnprocessableEntity, shown
		return page, nil
	}
	if err != nil {
		return view{}, err
	}
	shown.List, shown.To = list, from+len(list.Letters)
	for _, class := range list.Classes {
		of := f
		of.Class = class.What
		shown.Classes = append(shown.Classes, link{Text: dash(clip(class.What, 40)) + ": " + strconv.Itoa(class.N), Href: of.href(0), Here: f.Class == class.What && f.Class != ""})
	}
	shown.Table = lettersTable(list.Letters, letterHref, "There is no such dead letter.")
	if shown.To < list.Total {
		if f.Text == "" {
			shown.Table.More = f.href(shown.To)
		} else {
			hidden := f.values()
			hidden["from"] = strconv.Itoa(shown.To)
			shown.More = &form{Action: "/dead", Button: "More", Hidden: hidden}
		}
	}
	if list.Total > 0 {
		shown.Acts = previewForms(f)
	}
	page.Data = shown
	return page, nil
}

// filterForm chooses letters by what is not personal.
func (c *Console) filterForm(f LetterFilter) form {
	return form{Action: "/dead", Method: "get", Button: "Filter", Inline: true, Fields: []field{
		c.laneField("filter", f.Lane),
		{Name: "class", Label: "Class", Value: f.Class, Max: mostFilter},
		{Name: "type", Label: "Event type", Value: f.Type, Help: "* at the end: any text.", Max: mostFilter},
		{Name: "since", Label: "Dead since", Value: f.Since, Help: "An age such as 2h or 7d, or a time.", Max: mostFilter},
		{Name: "until", Label: "Dead before", Value: f.Until, Help: "The same.", Max: mostFilter},
	}}
}

// searchForm looks for a text among what the filter takes.
func searchForm(f LetterFilter) form {
	hidden := f.values()
	delete(hidden, "text")
	return form{Action: "/dead", Button: "Search", Inline: true, Hidden: hidden, Fields: []field{
		{Name: "text", Label: "Text in the reason or in the event", Value: f.Text, Complete: "off", Max: mostFilter},
	}}
}

// previewForms ask what would become of the letters.
func previewForms(f LetterFilter) []form {
	var all []form
	for _, verb := range []Verb{Send, Drop} {
		hidden := f.values()
		hidden["verb"] = string(verb)
		all = append(all, form{Action: "/dead/preview", Button: verb.words().ask, Hidden: hidden})
	}
	return all
}

// verbWords are how a verb is said.
type verbWords struct{ ask, title, button, past, means string }

func (b Verb) words() verbWords {
	if b == Drop {
		return verbWords{
			ask: "Drop these…", title: "Drop dead letters", button: "Drop", past: "dropped",
			means: "What is dropped is given up: nobody is called for it, and its publisher is told that it was cancelled. It cannot be taken back.",
		}
	}
	return verbWords{
		ask: "Send these again…", title: "Send dead letters again", button: "Send again", past: "ordered to be sent again",
		means: "Each event goes through its lane once more, with the routes and rules of now. The order holds only for events that are still as they are now.",
	}
}

// verb reads a verb.
func verb(text string) (Verb, error) {
	if v := Verb(text); slices.Contains([]Verb{Send, Drop}, v) {
		return v, nil
	}
	return "", refuse(http.StatusUnprocessableEntity, "It is not said what to do with the dead letters.", "Use the buttons of the page of dead letters.")
}

// lettersTable lists letters.
func lettersTable(letters []LetterLine, href func(lane, intent string) string, empty string) *table {
	t := &table{Caption: "The oldest first", Head: []string{"Event", "Class", "Type and source", "Sent", "Since", "Reason"}, Empty: empty}
	for _, l := range letters {
		t.Rows = append(t.Rows, []cell{
			{Text: dash(clip(l.ID, 60)), Sub: l.Lane, Href: href(l.Lane, l.Intent)},
			{Text: dash(clip(l.Class, 40))},
			{Text: dash(clip(l.Type, 60)), Sub: clip(l.Source, 60)},
			{Text: strconv.Itoa(l.Claims) + "×", Class: "num"},
			{Text: clock(l.Since), Class: "nowrap"},
			{Text: dash(clip(l.Reason, 160)), Class: "wide"},
		})
	}
	return t
}
