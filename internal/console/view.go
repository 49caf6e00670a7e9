package console

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// view is what a page shows.
type view struct {
	Template string // a file of templates/, without .html
	Title    string
	Data     any
	Crumbs   []crumb // the pages above this one, the nearest last
	Status   int     // 0: 200
	// Live says that the page is kept fresh: its template "fresh" by the script, and
	// without a script all of it by a reload every half minute. Every is how often,
	// at most; 0: each second.
	Live  bool
	Every time.Duration
	// Onward is a path of the console that the browser opens at once; empty: none.
	Onward string

	retry time.Duration // Retry-After; 0: none
}

// crumb is a link to a page above.
type crumb struct{ Title, Href string }

// done is what follows an act.
type done struct {
	to   string // a path of the console
	word word   // what is said there, once
	show *view  // instead of both: what is shown at once

	cookies []*http.Cookie
}

// again shows a view in place of a redirect: a form with what was wrong with it,
// or what an act has come to where that is more than a word.
func again(v view) done { return done{show: &v} }

// word is what an act leaves to say: at most a few sentences.
type word struct {
	Text string `json:"t"`
	Bad  bool   `json:"b,omitzero"` // it was not done, or not all of it
}

// refusal is an error that is the visitor's to mend.
type refusal struct {
	Status int
	Text   string        // what is wrong
	Next   string        // what to do next
	Retry  time.Duration // Retry-After; 0: none
}

// Error implements error.
func (r refusal) Error() string { return r.Text + " " + r.Next }

func refuse(status int, text, next string) refusal {
	return refusal{Status: status, Text: text, Next: next}
}

// Absent is an error of a desk: what was asked for is not there. Text says what,
// Next what to do; both are whole sentences.
type Absent struct{ Text, Next string }

// Error implements error.
func (a Absent) Error() string { return a.Text + " " + a.Next }

// Denied is an error of a desk: what was asked for is not done. Text says why, Next
// what to do; both are whole sentences.
type Denied struct{ Text, Next string }

// Error implements error.
func (d Denied) Error() string { return d.Text + " " + d.Next }

// Away is an error of a desk: the broker does not answer, or not as it should.
type Away struct{ Err error }

// Error implements error.
func (a Away) Error() string { return a.Err.Error() }

// Unwrap returns what is wrong.
func (a Away) Unwrap() error { return a.Err }

// trouble is what the page of an error shows.
type trouble struct {
	Text   string // what is wrong, in a sentence
	Detail string // the error's own words; empty: none
	Next   string // what to do next
}

// fail shows an error within the layout.
func (c *Console) fail(w http.ResponseWriter, v *visit, err error) {
	status, t, retry := explain(err)
	if status >= http.StatusInternalServerError {
		c.lg.Warn().Str("error", schema.Mask(err.Error())).Str("page", v.Pattern).Msg("console: a page could not be shown, or an act was not done")
	}
	if wantsJSON(v.Request) {
		tellProblem(w, status, t, retry)
		return
	}
	c.render(w, v, view{Template: "trouble", Title: "Not shown", Status: status, Data: t, retry: retry})
}

// explain says an error to a person.
func explain(err error) (status int, t trouble, retry time.Duration) {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.Status, trouble{Text: r.Text, Next: r.Next}, r.Retry
	}
	if a, ok := errors.AsType[Absent](err); ok {
		return http.StatusNotFound, trouble{Text: a.Text, Next: a.Next}, 0
	}
	if i, ok := errors.AsType[Invalid](err); ok {
		return http.StatusUnprocessableEntity, trouble{Text: i.Text, Next: "Go back and mend it."}, 0
	}
	if d, ok := errors.AsType[Denied](err); ok {
		return http.StatusConflict, trouble{Text: d.Text, Next: d.Next}, 0
	}
	if _, ok := errors.AsType[Away](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable, trouble{
			"The broker does not answer as it should.", shorten(schema.Mask(err.Error())),
			"See that the NATS server runs, that it is reached from this machine, and that its streams have a leader; weir check tells more. Then load this page anew.",
		}, 5 * time.Second
	}
	return http.StatusInternalServerError, trouble{
		"This could not be done.", shorten(schema.Mask(err.Error())),
		"Load the page anew. If it happens again, weir check may tell more, and so does the log of weir serve.",
	}, 0
}

// all is the trouble in one paragraph.
func (t trouble) all() string {
	if t.Detail == "" {
		return t.Text + " " + t.Next
	}
	return t.Text + " (" + t.Detail + ") " + t.Next
}

// mostWords is how much of a text is shown where one line is meant, in characters.
const mostWords = 400

// shorten cuts a text that somebody else wrote to what a line may hold.
func shorten(s string) string { return clip(s, mostWords) }

// page is what the layout draws.
type page struct {
	view

	Nav     []link
	Name    string
	Word    word
	Version string
	Now     time.Time
	Path    string
}

type link struct {
	Text, Href string
	Here       bool
}

// render draws a view, whole or not at all.
func (c *Console) render(w http.ResponseWriter, v *visit, shown view) {
	p := page{view: shown, Name: v.Name, Word: v.word, Version: c.cfg.Version, Now: time.Now(), Path: v.URL.RequestURI()}
	if v.Name != "" {
		p.Nav = c.navigation(v.URL.Path)
	}
	var b bytes.Buffer
	if err := c.looks.draw(&b, p); err != nil {
		c.lg.Error().Err(err).Str("template", shown.Template).Msg("console: a template failed")
		http.Error(w, "This page could not be drawn; the log of weir serve says why.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	retryAfter(h, shown.retry)
	w.WriteHeader(max(shown.Status, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // who does not listen any more needs no answer
}

// retryAfter says when to come again; 0: nothing is said.
func retryAfter(h http.Header, in time.Duration) {
	if in > 0 {
		h.Set("Retry-After", strconv.FormatFloat(math.Ceil(in.Seconds()), 'f', 0, 64))
	}
}

// navigation is the list of pages, with the one that this is, or is below.
func (c *Console) navigation(path string) []link {
	var all []link
	for _, e := range c.pages {
		if e.nav == "" {
			continue
		}
		href := strings.TrimSuffix(e.path, "{$}")
		below := cmp.Or(e.below, href+"/")
		all = append(all, link{Text: e.nav, Href: href, Here: path == href || strings.HasPrefix(path, below)})
	}
	return all
}

// tell leaves a word for the next page that this visitor opens.
func (c *Console) tell(w http.ResponseWriter, said word) {
	tokens, err := c.cfg.Tokens()
	if said.Text == "" || err != nil || len(tokens) == 0 {
		return
	}
	said.Text = plain(said.Text, 600)
	http.SetCookie(w, c.cookie(wordCookie, seal(tokens[0], "word", said), time.Minute))
}

// told takes up what tell left.
func (c *Console) told(w http.ResponseWriter, r *http.Request) (said word) {
	cookie, err := r.Cookie(c.cookieName(wordCookie))
	if err != nil || r.Header.Get("Accept") == eventStream {
		return word{}
	}
	http.SetCookie(w, c.cookie(wordCookie, "", -1))
	if _, ok := c.sealer.unseal("word", cookie.Value, &said); !ok {
		return word{}
	}
	return said
}

// since says how long ago something was, in a person's measure.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < -time.Second {
		return "in " + long(-d)
	}
	if d < time.Second {
		return "just now"
	}
	return long(d) + " ago"
}

// long is a duration in its largest unit or two.
func long(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
