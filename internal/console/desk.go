package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Invalid is an error of a desk: something that was typed is wrong. Field is the
// name of the form's field, Text a whole sentence. It repeats nothing of a person.
type Invalid struct{ Field, Text string }

// Error implements error.
func (i Invalid) Error() string { return i.Text }

// Result is what became of an act, in a whole sentence.
type Result struct {
	Done bool
	Text string
}

// word is what is said of it on the next page.
func (r Result) word() word { return word{Text: r.Text, Bad: !r.Done} }

// Act is what a person orders: who, and why.
type Act struct{ By, Reason string }

// act reads who orders what a form says, and why. A reason that is missing is the
// form's to tell.
func (v *visit) act() (Act, error) {
	a := Act{By: v.Name, Reason: plain(v.PostForm.Get("reason"), mostReason)}
	if a.Reason == "" {
		return a, Invalid{"reason", "Say why."}
	}
	return a, nil
}

// mostReason bounds a reason, in characters.
const mostReason = 200

// reasonField asks why. The id tells it from that of another form on the page.
func reasonField(id string) field {
	return field{Name: "reason", ID: id + "-reason", Label: "Why?", Help: "It is kept with your name.", Required: true, Max: mostReason}
}

// mark puts what is wrong at its field, and what was typed back into the others,
// unless it is about a person. It reports whether the form has the field.
func (f *form) mark(wrong Invalid, typed map[string][]string) bool {
	found := false
	for i := range f.Fields {
		at := &f.Fields[i]
		if at.Name == wrong.Field {
			at.Error, found = wrong.Text, true
		}
		if at.Name != personField && len(typed[at.Name]) > 0 {
			at.Value = typed[at.Name][0]
			for j := range at.Options {
				at.Options[j].Chosen = at.Options[j].Value == at.Value
			}
		}
	}
	if !found {
		f.Error = wrong.Text
	}
	return found
}

// personField is the field that holds a number or an address. It is never sent back.
const personField = "person"

// wrongForm returns what is wrong with a form, if it is the visitor's to mend.
func wrongForm(err error) (Invalid, bool) { return errors.AsType[Invalid](err) }

var (
	laneName  = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	intentKey = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// named returns the lane and the intent that an address names.
func (v *visit) named() (lane, intent string, err error) {
	lane, intent = v.PathValue("lane"), v.PathValue("intent")
	if !laneName.MatchString(lane) || !intentKey.MatchString(intent) {
		return "", "", refuse(http.StatusNotFound, "There is no such event.", "Look for it on the page of events.")
	}
	return lane, intent, nil
}

// laneField is a choice of a lane, or of all.
func (c *Console) laneField(id, chosen string) field {
	f := field{Name: "lane", ID: id + "-lane", Label: "Lane", Kind: "select", Options: []option{{"", "all lanes", chosen == ""}}}
	known := chosen == ""
	for _, name := range c.desks.LaneNames {
		known = known || name == chosen
		f.Options = append(f.Options, option{name, name, name == chosen})
	}
	if !known { // one that was removed may have something left
		f.Options = append(f.Options, option{chosen, chosen, true})
	}
	return f
}

// laneOf is the lane that a text names; nothing if it cannot be one.
func laneOf(text string) string {
	if laneName.MatchString(text) {
		return text
	}
	return ""
}

// clip shortens a text for a table, to so many characters.
func clip(s string, most int) string {
	s = plain(s, 1<<20)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// clock is a time in a table.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// dash is a text, or what stands for none.
func dash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "–"
	}
	return s
}

// problem is an error as programs read it (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// wantsJSON reports whether the visitor is a program.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "json") && !strings.Contains(accept, "text/html")
}

// tellProblem answers a program with an error.
func tellProblem(w http.ResponseWriter, status int, t trouble, retry time.Duration) {
	retryAfter(w.Header(), retry)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{"about:blank", t.Text, status, strings.TrimSpace(t.Detail + " " + t.Next)}) // who does not listen any more needs no answer
}

// fact is one line of what is known.
type fact struct {
	Name, Text string
	Class      string
}

// facts are those that say something.
func facts(all ...fact) []fact {
	some := all[:0]
	for _, f := range all {
		if f.Text = clip(f.Text, mostFact); f.Text != "" && f.Text != "–" {
			some = append(some, f)
		}
	}
	return some
}

// Moment is one line of an event's timeline.
type Moment struct {
	At     time.Time
	What   string // a state, or in words what happened
	Tone   string // good, wait, bad, calm; empty: none
	By     string
	Reason string
}

// mostFact bounds what one line of a page says, in characters.
const mostFact = 600

// clean returns the timeline as it may be shown.
func clean(all []Moment) []Moment {
	for i, m := range all {
		all[i].What, all[i].By, all[i].Reason = clip(m.What, 200), clip(m.By, 200), clip(m.Reason, mostFact)
	}
	return all
}

// heard returns what webhooks said as it may be shown.
func heard(all []Hearsay) []Hearsay {
	for i, h := range all {
		all[i].Conversation, all[i].Why = clip(h.Conversation, mostConversation), clip(h.Why, mostFact)
	}
	return all
}

// Content is an event without personal data.
type Content struct {
	Header [][2]string // name, value
	Body   string
	Note   string // what the body does not show; empty: nothing
}

// shown is the content as it may be shown: with nothing that changes the direction of
// what stands around it.
func (c Content) shown() Content {
	for i, h := range c.Header {
		c.Header[i] = [2]string{clip(h[0], 200), clip(h[1], mostFact)}
	}
	lines := strings.Split(c.Body, "\n")
	for i, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		lines[i] = indent + plain(line, len(line))
	}
	c.Body, c.Note = strings.Join(lines, "\n"), clip(c.Note, mostFact)
	return c
}

// Hearsay is a conversation that a webhook named as an event's, and that could not
// be taken for it.
type Hearsay struct {
	Conversation, Why string
	At                time.Time
}
