package console_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

// Who guesses at the token keeps out whom nobody knows yet, not a browser that has been
// here; and that one has no more tries than others.
func TestGuessesKeepNobodyOutWhoHasBeenHere(t *testing.T) {
	t.Parallel()
	bubble(t, nil, testGuessesKeepNobodyOutWhoHasBeenHere)
}

func testGuessesKeepNobodyOutWhoHasBeenHere(t *testing.T, ada *visitor) {
	ada.signIn()
	ada.post("/logout", nil)
	eve := &visitor{t: t, url: ada.url, client: &http.Client{Transport: ada.client.Transport}} // behind the same address
	for range 5 {
		eve.post("/login", url.Values{"name": {"Eve"}, "token": {"guess"}}).want(t, http.StatusUnauthorized)
	}
	eve.post("/login", url.Values{"name": {"Eve"}, "token": {"guess"}}).want(t, http.StatusTooManyRequests)
	ada.post("/login", url.Values{"name": {"Ada"}, "token": {token}}).want(t, http.StatusSeeOther)
	for i := range 5 {
		if i == 4 { // signing in brings no new tries
			ada.post("/login", url.Values{"name": {"Ada"}, "token": {token}}).want(t, http.StatusSeeOther)
		}
		ada.post("/login", url.Values{"name": {"Ada"}, "token": {"guess"}}).want(t, http.StatusUnauthorized)
	}
	ada.post("/login", url.Values{"name": {"Ada"}, "token": {token}}).want(t, http.StatusTooManyRequests)
}

// The mark of a browser that was here is no pass, and a forged one is nothing.
func TestAKnownBrowserIsNotSignedIn(t *testing.T) {
	t.Parallel()
	bubble(t, nil, testAKnownBrowserIsNotSignedIn)
}

func testAKnownBrowserIsNotSignedIn(t *testing.T, v *visitor) {
	known := ""
	for _, c := range v.post("/login", url.Values{"name": {"Ada"}, "token": {token}}).Cookies() {
		if c.Name == "weir_known" {
			known = c.Value
		}
	}
	if known == "" {
		t.Fatal("got no mark of a known browser")
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, v.url+"/", nil)
	r.RequestURI = ""
	r.AddCookie(&http.Cookie{Name: "weir_console", Value: known})
	stranger := &visitor{t: t, url: v.url, client: &http.Client{Transport: v.client.Transport, CheckRedirect: v.client.CheckRedirect}}
	stranger.do(r).want(t, http.StatusSeeOther)
	for i := range 6 {
		form := strings.NewReader(url.Values{"name": {"Eve"}, "token": {"guess"}}.Encode())
		r := stranger.request(http.MethodPost, "/login", form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "weir_known", Value: strings.Repeat("x", i) + known}) // i == 0: copied
		status := stranger.do(r).StatusCode
		if status != http.StatusUnauthorized {
			t.Errorf("guess %d: got %d, want 401", i, status)
		}
	}
	r = stranger.request(http.MethodPost, "/login", strings.NewReader(url.Values{"name": {"Eve"}, "token": {"guess"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: "weir_known", Value: "forged." + known})
	stranger.do(r).want(t, http.StatusTooManyRequests)
	for end, want := range map[time.Duration]int{-time.Second: http.StatusTooManyRequests, time.Hour: http.StatusUnauthorized} {
		r = stranger.request(http.MethodPost, "/login", strings.NewReader(url.Values{"name": {"Eve"}, "token": {"guess"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: "weir_known", Value: console.KnownUntil(token, time.Now().Add(end))})
		stranger.do(r).want(t, want)
	}
}

// A link on another site brings no strict cookie: the sign-in page opens the page once
// more by itself, and only then, and never another site's.
func TestALinkOnAnotherSite(t *testing.T) {
	t.Parallel()
	v := open(t, console.Desks{Lanes: oneLane()}, nil)
	for _, tt := range []struct{ path, site, want string }{
		{"/login?next=%2Flanes%2Facme%3Fa%3D%22b%22", "cross-site", `http-equiv="refresh" content="0; url=/lanes/acme?a=&#34;b&#34;"`},
		{"/login?next=%2Flanes%2Facme", "same-origin", ""},
		{"/login?next=%2Flanes%2Facme", "", ""},
		{"/login", "cross-site", ""},
		{"/login?next=%2F%2Fevil.example", "cross-site", `content="0; url=/"`},
		{"/login?next=javascript%3Aalert(1)", "cross-site", `content="0; url=/"`},
	} {
		r := v.request(http.MethodGet, tt.path, nil)
		r.Header.Set("Sec-Fetch-Site", tt.site)
		a := v.do(r)
		a.want(t, http.StatusOK, tt.want)
		if tt.want == "" && strings.Contains(a.text, "http-equiv") {
			t.Errorf("%s, %q: it goes on by itself", tt.path, tt.site)
		}
	}
}

// A program that is not signed in is told so, and not sent to a form.
func TestAProgramIsToldToSignIn(t *testing.T) {
	t.Parallel()
	v := open(t, console.Desks{Lanes: oneLane()}, nil)
	r := v.request(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "application/json")
	a := v.do(r)
	a.want(t, http.StatusUnauthorized, `"status":401`)
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type: got %q", got)
	}
}

func TestAddressBehindAProxy(t *testing.T) {
	t.Parallel()
	for forwarded, want := range map[string]string{
		"198.51.100.7": "198.51.100.7", "203.0.113.9, 198.51.100.7": "198.51.100.7", "198.51.100.7:4711": "198.51.100.7",
		"2001:db8::1": "2001:db8::/64", "[2001:db8::1]:4711": "2001:db8::/64", "::ffff:198.51.100.7": "198.51.100.7",
		"somebody": "unknown", "": "unknown",
	} {
		if got := console.Address(forwarded); got != want {
			t.Errorf("%q: got %s, want %s", forwarded, got, want)
		}
	}
}

// What the broker says may name somebody; the log does not.
func TestTheLogNamesNobody(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	desk := &lanes{err: errors.New("no answer for +14155550123 or jo@example.com")}
	h := console.New(zerolog.New(&log), console.Desks{Lanes: desk}, console.Config{
		Tokens: func() ([]schema.Secret, error) { return []schema.Secret{token}, nil },
	}).Handler()
	form := strings.NewReader(url.Values{"name": {"Ada"}, "token": {token}}.Encode())
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", form)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	r = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	if got := log.String(); !strings.Contains(got, "no answer for") || strings.Contains(got, "4155550123") || strings.Contains(got, "jo@example") {
		t.Errorf("log: got %s", got)
	}
}

// A visitor who closes the page while the lanes are looked at has found nothing out:
// nobody else is told that the broker does not answer.
func TestAVisitorWhoLeavesRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{}, 1)
		b := console.NewBoard(func(ctx context.Context) (console.Overview, error) {
			<-answer
			return console.Overview{At: time.Now()}, nil
		})
		left, leave := context.WithCancel(t.Context())
		leave()
		if _, err := b.Overview(left); !errors.Is(err, context.Canceled) {
			t.Errorf("who left before the first look: got %v, want that", err)
		}
		answer <- struct{}{}
		synctest.Wait()
		time.Sleep(time.Second) // the look is old
		if o, err := b.Overview(left); o.Stale || err != nil {
			t.Errorf("who left: got stale %v, %v", o.Stale, err)
		}
		if o, err := b.Known(); o.Stale || err != nil {
			t.Errorf("who stayed: got stale %v, %v", o.Stale, err)
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if o, err := b.Overview(late); !o.Stale || err != nil {
			t.Errorf("who waited in vain: got stale %v, %v, want the old look, and that it is old", o.Stale, err)
		}
		answer <- struct{}{}
		synctest.Wait()
	})
}

// timed is an answer that knows until when it may be written.
type timed struct {
	*httptest.ResponseRecorder

	leave context.CancelFunc
	sent  int
	until []time.Time
}

func (w *timed) SetReadDeadline(time.Time) error { return nil }

func (w *timed) SetWriteDeadline(t time.Time) error {
	w.until = append(w.until, t)
	if w.sent > 0 && t.IsZero() {
		w.leave()
	}
	return nil
}

func (w *timed) FlushError() error {
	w.sent++
	if len(w.until) > 2 { // the time was not lifted
		w.leave()
	}
	return nil
}

// A stream may not be ended by the time that a part has to be sent in when there is
// nothing to send: by HTTP/2 it would be, though nothing is written.
func TestAStreamThatIsQuietGoesOn(t *testing.T) {
	t.Parallel()
	c := console.New(zerolog.Nop(), console.Desks{Lanes: &changing{}}, console.Config{
		Tokens: func() ([]schema.Secret, error) { return []schema.Secret{token}, nil },
	})
	form := strings.NewReader(url.Values{"name": {"Ada"}, "token": {token}}.Encode())
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", form)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	in := httptest.NewRecorder()
	c.Handler().ServeHTTP(in, r)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r = httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/event-stream")
	for _, cookie := range in.Result().Cookies() {
		r.AddCookie(cookie)
	}
	w := &timed{ResponseRecorder: httptest.NewRecorder(), leave: leave}
	c.Handler().ServeHTTP(w, r)
	if n := len(w.until); w.sent == 0 || n < 2 || !w.until[n-1].IsZero() {
		t.Errorf("after %d parts: the times to write until were %v, want none at the end", w.sent, w.until)
	}
}

// A page of something of which little is known, and one of which too much is said.
func TestPagesOfLittleAndOfMuch(t *testing.T) {
	t.Parallel()
	d := fullDesk()
	d.event = console.Event{EventLine: console.EventLine{Lane: "acme", Intent: key, State: console.Queued}}
	d.letter = console.Letter{LetterLine: console.LetterLine{Lane: "acme", Intent: key}, State: "dead"}
	d.told.Outcomes = []console.UndeliveredOutcome{{Lane: "acme", ID: key}}
	d.list.Rest = strings.Repeat("word ", 2000)
	v := open(t, d.desks(), nil).signIn()
	v.get("/events/acme/"+key).want(t, http.StatusOK, "<h1>Event "+key, "It is empty.")
	v.get("/dead/acme/"+key).want(t, http.StatusOK, "<h1>Dead letter "+key, "It is empty.")
	v.get("/doubts/acme/"+key).want(t, http.StatusOK, "<h1>Doubt "+key)
	v.get("/undelivered/acme/"+key).want(t, http.StatusOK, "It is empty.")
	a := v.get("/dead")
	a.want(t, http.StatusOK, "would become of all 120.")
	if len(a.text) > 200_000 || strings.Count(a.text, "word") > 500 {
		t.Errorf("a notice of 10,000 characters: got a page with %d of its words", strings.Count(a.text, "word"))
	}
	d.list.Total = 1
	v.get("/dead").want(t, http.StatusOK, "would become of it.")
}
