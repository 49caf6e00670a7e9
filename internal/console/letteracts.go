package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// previewView says what would become of letters.
type previewView struct {
	Means  string
	Fates  Fates
	Counts *table
	Lines  *table
	Form   *form // nil: nothing can be done
}

// previewLetters says what an act would do. It changes nothing, and is a POST because
// the filter may hold what must not stand in an address.
func (c *Console) previewLetters(ctx context.Context, v *visit) (done, error) {
	return c.askLetters(ctx, v, nil)
}

func (c *Console) askLetters(ctx context.Context, v *visit, wrong *Invalid) (done, error) {
	what, err := verb(v.PostForm.Get("verb"))
	if err != nil {
		return done{}, err
	}
	f := letterFilter(v.PostForm)
	fates, err := c.desks.Letters.Preview(ctx, what, f)
	if err != nil {
		return done{}, err
	}
	words := what.words()
	shown := previewView{Means: words.means, Fates: fates, Counts: countsTable(fates), Lines: fatesTable(fates)}
	if fates.Can > 0 {
		hidden := f.values()
		hidden["verb"], hidden["seen"] = string(what), writeSteps(fates.Steps)
		shown.Form = &form{
			Action: "/dead/act", Button: words.button + ": " + count(fates.Can, "dead letter", "dead letters"), Danger: what == Drop,
			Hidden: hidden, Fields: []field{reasonField("act")},
		}
		if wrong != nil {
			shown.Form.mark(*wrong, v.PostForm)
		}
	}
	page := view{Template: "preview", Title: words.title, Crumbs: []crumb{{"Dead letters", "/dead"}}, Data: shown}
	if wrong != nil {
		page.Status = http.StatusUnprocessableEntity
	}
	return again(page), nil
}

// countsTable says how many letters have which fate.
func countsTable(fates Fates) *table {
	t := &table{Caption: "What would become of them", Head: []string{"What", "Letters"}, Empty: "There is no such dead letter."}
	for _, n := range fates.Counts {
		t.Rows = append(t.Rows, []cell{{Text: n.What}, {Text: strconv.Itoa(n.N), Class: "num"}})
	}
	return t
}

// fatesTable lists some letters with their fates.
func fatesTable(fates Fates) *table {
	if len(fates.Lines) == 0 {
		return nil
	}
	t := &table{Caption: "The first of them", Head: []string{"Event", "What"}}
	for _, l := range fates.Lines {
		t.Rows = append(t.Rows, []cell{
			{Text: dash(clip(l.ID, 60)), Sub: l.Lane, Href: letterHref(l.Lane, l.Intent)}, {Text: clip(l.Fate, 200)},
		})
	}
	return t
}

// actOnLetters does what the preview showed.
func (c *Console) actOnLetters(ctx context.Context, v *visit) (done, error) {
	what, err := verb(v.PostForm.Get("verb"))
	if err != nil {
		return done{}, err
	}
	a, err := v.act()
	if wrong, ok := wrongForm(err); ok {
		return c.askLetters(ctx, v, &wrong)
	}
	seen, ok := readSteps(v.PostForm.Get("seen"))
	if !ok {
		return done{}, refuse(http.StatusUnprocessableEntity, "Nothing was done: it is not said which letters were looked at.", "Go back to the dead letters and begin with the preview.")
	}
	fates, err := c.desks.Letters.Do(ctx, what, seen, a)
	if err != nil {
		return done{}, err
	}
	return done{to: letterFilter(v.PostForm).href(0), word: fatesWord(what, fates)}, nil
}

// maxSteps bounds the form with the letters that were looked at: 80 bytes each, and
// what else it holds.
const maxSteps = MostSteps*80 + maxForm

// writeSteps is how a form carries the letters that were looked at.
func writeSteps(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s_%s_%d ", s.Lane, s.Intent, s.N)
	}
	return strings.TrimSpace(b.String())
}

// readSteps reads what writeSteps wrote.
func readSteps(text string) (steps []Step, ok bool) {
	for word := range strings.FieldsSeq(text) {
		part := strings.Split(word, "_")
		if len(part) != 3 || !laneName.MatchString(part[0]) || !intentKey.MatchString(part[1]) || len(steps) == MostSteps {
			return nil, false
		}
		n, err := strconv.Atoi(part[2])
		if err != nil {
			return nil, false
		}
		steps = append(steps, Step{Lane: part[0], Intent: part[1], N: n})
	}
	return steps, len(steps) > 0
}

// fatesWord tells what became of letters.
func fatesWord(what Verb, fates Fates) word {
	said := []string{fmt.Sprintf("%s of %d %s.", count(fates.Can, "dead letter", "dead letters"), fates.Total, what.words().past)}
	for _, n := range fates.Counts[:min(len(fates.Counts), 5)] {
		said = append(said, fmt.Sprintf("%d: %s.", n.N, n.What))
	}
	if fates.Rest != "" {
		said = append(said, fates.Rest)
	}
	return word{Text: strings.Join(said, " "), Bad: fates.Can < fates.Total || fates.Rest != ""}
}

// letterView is the page of one letter or doubt.
type letterView struct {
	Letter

	Facts []fact
	Note  string // above the forms
	Forms []choice
	Event string // the address of its event's page; empty: there is none
}

// newLetterView is what the pages of letters and doubts have in common.
func (c *Console) newLetterView(l Letter) letterView {
	l.Timeline, l.Named, l.Content = clean(l.Timeline), heard(l.Named), l.Content.shown()
	return letterView{Letter: l, Facts: l.facts(), Event: c.eventPageOf(l.Lane, l.Intent)}
}

// choice is one of the things that can be done, with what it means.
type choice struct {
	Title, Means string
	Form         form
}

func (c *Console) showLetter(ctx context.Context, v *visit) (view, error) {
	return c.letterPage(ctx, v, nil)
}

// letterPage shows a letter. wrong is what was wrong with the form of its acts.
func (c *Console) letterPage(ctx context.Context, v *visit, wrong *Invalid) (view, error) {
	lane, intent, err := v.named()
	if err != nil {
		return view{}, err
	}
	l, err := c.desks.Letters.Letter(ctx, lane, intent)
	if err != nil {
		return view{}, err
	}
	shown := c.newLetterView(l)
	if l.State == "dead" {
		shown.Forms = letterChoices(l)
	} else {
		shown.Note = "Its event is not dead any more: it is " + dash(l.State) + "."
	}
	page := view{Template: "letter", Title: "Dead letter " + clip(cmp.Or(l.ID, intent), 60), Crumbs: []crumb{{"Dead letters", "/dead"}}, Data: shown}
	markChoice(shown.Forms, v, wrong, &page)
	return page, nil
}

// markChoice puts what was wrong into the form that was sent.
func markChoice(forms []choice, v *visit, wrong *Invalid, page *view) {
	if wrong == nil {
		return
	}
	page.Status = http.StatusUnprocessableEntity
	for i := range forms {
		if forms[i].Form.Hidden["how"] == v.PostForm.Get("how") {
			forms[i].Form.mark(*wrong, v.PostForm)
		}
	}
}

// eventPageOf is the address of an event's page, if there are any.
func (c *Console) eventPageOf(lane, intent string) string {
	if c.desks.Events == nil {
		return ""
	}
	return eventHref(lane, intent)
}

// facts are the lines of what is known.
func (l Letter) facts() []fact {
	return facts(
		fact{Name: "Reason", Text: l.Reason}, fact{Name: "Class", Text: l.Class}, fact{Name: "State", Text: l.State},
		fact{Name: "Ordered", Text: l.Order}, fact{Name: "Lane", Text: l.Lane},
		fact{Name: "Event id", Text: l.ID, Class: "mono"}, fact{Name: "Source", Text: l.Source, Class: "mono"},
		fact{Name: "Type", Text: l.Type, Class: "mono"}, fact{Name: "Intent", Text: l.Intent, Class: "mono"},
		fact{Name: "Permissions to send", Text: fmt.Sprintf("%d, of which %d came into doubt", l.Claims, l.Doubts)},
		fact{Name: "First seen", Text: clock(l.First)}, fact{Name: "Since", Text: clock(l.Since)},
	)
}

// The ways of an act on one letter.
const (
	correctly = "correct" // send again, another event
	mostEvent = 256 << 10 // characters of a corrected event

	// maxCorrection bounds its form in bytes: a character takes up to nine of them.
	maxCorrection = 4 * mostEvent
)

// letterChoices are what can be done with a dead letter.
func letterChoices(l Letter) []choice {
	ask := func(how, button string, danger bool, more ...field) form {
		return form{
			Action: letterHref(l.Lane, l.Intent), Button: button, Danger: danger,
			Hidden: map[string]string{"how": how, "n": strconv.Itoa(l.N)},
			Fields: append(more, reasonField(how)),
		}
	}
	return []choice{
		{"Send it again", Send.words().means, ask(string(Send), "Send again", false)},
		{
			"Send it corrected", "The event below goes in the place of the letter's own, with the same id and source. It is held against the lane's routes and rules before it is taken.",
			ask(correctly, "Send corrected", false, field{
				Name: "event", Label: "The whole event, a CloudEvent as JSON", Kind: "area", Rows: 8, Required: true, Max: mostEvent, Complete: "off",
				Help: "What this page shows is masked: take the event from where it came from.",
			}),
		},
		{"Drop it", Drop.words().means, ask(string(Drop), "Drop", true)},
	}
}

// step is the event as the visitor saw it.
func (v *visit) step() (Step, error) {
	lane, intent, err := v.named()
	if err != nil {
		return Step{}, err
	}
	n, err := strconv.Atoi(v.PostForm.Get("n"))
	if err != nil {
		return Step{}, refuse(http.StatusUnprocessableEntity, "It is not said which state of the event you saw.", "Load its page anew and decide there.")
	}
	return Step{Lane: lane, Intent: intent, N: n}, nil
}

func (c *Console) actOnLetter(ctx context.Context, v *visit) (done, error) {
	at, err := v.step()
	if err != nil {
		return done{}, err
	}
	how, event := v.PostForm.Get("how"), ""
	if how == correctly {
		how, event = string(Send), strings.TrimSpace(v.PostForm.Get("event"))
		if event == "" {
			shown, err := c.letterPage(ctx, v, &Invalid{"event", "Give the event."})
			return again(shown), err
		}
	}
	what, err := verb(how)
	if err != nil {
		return done{}, err
	}
	var r Result
	a, err := v.act()
	if err == nil {
		r, err = c.desks.Letters.DoOne(ctx, what, at, event, a)
	}
	if wrong, ok := wrongForm(err); ok {
		shown, err := c.letterPage(ctx, v, &wrong)
		return again(shown), err
	}
	if err != nil {
		return done{}, err
	}
	to := "/dead"
	if c.desks.Events != nil {
		to = eventHref(at.Lane, at.Intent)
	}
	return done{to: to, word: r.word()}, nil
}
