package console_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/schema"
)

const token = "a-token-of-the-console"

// lanes is a desk in memory.
type lanes struct {
	overview console.Overview
	err      error
	acts     []string

	detail    console.LaneDetail
	detailErr error
}

func (l *lanes) Overview(context.Context) (console.Overview, error) { return l.overview, l.err }

func (l *lanes) Pause(_ context.Context, names []string, by, reason string) ([]console.Switched, error) {
	l.acts = append(l.acts, "pause "+strings.Join(names, ",")+" by "+by+": "+reason)
	return []console.Switched{{Lane: names[0], Running: true, Seen: true}}, l.err
}

func (l *lanes) Resume(_ context.Context, names []string, by string) ([]console.Switched, error) {
	l.acts = append(l.acts, "resume "+strings.Join(names, ",")+" by "+by)
	return []console.Switched{{Lane: names[0]}}, l.err
}

func (l *lanes) Lane(context.Context, string) (console.LaneDetail, error) {
	return l.detail, l.detailErr
}

func (l *lanes) PlanRelease(_ context.Context, lane string, _ time.Time) (console.Release, error) {
	return console.Release{Lane: lane, Held: true, Why: "WEIR_LEDGER has lost <all>"}, l.err
}

func (l *lanes) Release(_ context.Context, lane string, before time.Time, by, reason string) (console.Release, error) {
	l.acts = append(l.acts, "release "+lane+" "+before.Format(time.RFC3339)+" by "+by+": "+reason)
	return console.Release{Lane: lane, Before: before, Running: true, Seen: true}, l.err
}

func oneLane() *lanes {
	return &lanes{overview: console.Overview{Lanes: []console.Lane{
		{Name: "acme", Label: "<script>alert(1)</script>", State: console.Running, Used: 3, Limit: 20, Waiting: 7},
		{Name: "globex", State: console.Stopped, Why: "the provider refuses the credentials", Limit: 5},
	}}}
}

// visitor is a browser.
type visitor struct {
	t      *testing.T
	client *http.Client
	url    string
}

// open starts a console with the desks.
func open(t *testing.T, desks console.Desks, change func(*console.Config)) *visitor {
	t.Helper()
	cfg := console.Config{Tokens: func() ([]schema.Secret, error) { return []schema.Secret{token}, nil }, Version: "test"}
	if change != nil {
		change(&cfg)
	}
	srv := httptest.NewServer(console.New(zerolog.Nop(), desks, cfg).Handler())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, url: srv.URL, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// reading is how long a request to a console that serve runs may take to come in: less
// than by default, for a stream has to outlive it, and more than a machine stands still.
const reading = 6 * time.Second

// inside is a way to a console without a socket, for use in a bubble.
type inside struct{ console http.Handler }

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	came := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), r.Body)
	came.Header = r.Header.Clone()
	w := httptest.NewRecorder()
	i.console.ServeHTTP(w, came)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// bubble is open in a bubble, where no time passes: a token may be tried again after
// some seconds, and a busy machine takes as long for a few requests.
func bubble(t *testing.T, change func(*console.Config), test func(t *testing.T, v *visitor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := console.Config{Tokens: func() ([]schema.Secret, error) { return []schema.Secret{token}, nil }, Version: "test"}
		if change != nil {
			change(&cfg)
		}
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		test(t, &visitor{t: t, url: "http://console.example", client: &http.Client{
			Jar: jar, Transport: inside{console.New(zerolog.Nop(), console.Desks{Lanes: oneLane()}, cfg).Handler()},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}})
	})
}

// serve runs a console on a listener of its own; stop ends it.
func serve(t *testing.T, desks console.Desks) (v *visitor, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := console.New(zerolog.Nop(), desks, console.Config{
		Reading: reading, Tokens: func() ([]schema.Secret, error) { return []schema.Secret{token}, nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Serve(ctx, ln) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, url: "http://" + ln.Addr().String(), client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}, stop
}

// answer is what came back.
type answer struct {
	*http.Response

	text string
}

func (v *visitor) do(r *http.Request) answer {
	v.t.Helper()
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp, string(b)}
}

func (v *visitor) request(method, path string, body io.Reader) *http.Request {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

func (v *visitor) get(path string) answer {
	v.t.Helper()
	return v.do(v.request(http.MethodGet, path, nil))
}

func (v *visitor) post(path string, form url.Values) answer {
	v.t.Helper()
	r := v.request(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.do(r)
}

// signIn signs in as Ada.
func (v *visitor) signIn() *visitor {
	v.t.Helper()
	a := v.post("/login", url.Values{"name": {"Ada"}, "token": {token}})
	if a.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("sign in: got %d, want 303:\n%s", a.StatusCode, a.text)
	}
	return v
}

// want checks an answer's status, and what stands in it.
func (a answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s %s: got %d, want %d", a.Request.Method, a.Request.URL.Path, a.StatusCode, status)
	}
	for _, text := range texts {
		if !strings.Contains(a.text, text) {
			t.Errorf("%s: got no %q in:\n%s", a.Request.URL.Path, text, a.text)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	v := open(t, console.Desks{Lanes: oneLane()}, nil)
	a := v.get("/pause?lane=acme")
	a.want(t, http.StatusSeeOther)
	if got, want := a.Header.Get("Location"), "/login?next=%2Fpause%3Flane%3Dacme"; got != want {
		t.Errorf("location: got %s, want %s", got, want)
	}
	v.get(a.Header.Get("Location")).want(t, http.StatusOK, `name="next" value="/pause?lane=acme"`)
	v.post("/login", url.Values{"name": {"Ada"}, "token": {"wrong"}}).want(t, http.StatusUnauthorized, "not the console&#39;s token")
	v.post("/login", url.Values{"name": {" \u202e\x07 "}, "token": {token}}).want(t, http.StatusUnprocessableEntity, "Say who you are")
	a = v.post("/login", url.Values{"name": {"Ada"}, "token": {token}, "next": {"//evil.example/"}})
	a.want(t, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != "/" {
		t.Errorf("location: got %s, want /: no other site", got)
	}
	c := a.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" {
		t.Errorf("cookie: got %+v", c)
	}
	v.get("/").want(t, http.StatusOK, "Ada", "acme")
	v.post("/logout", nil).want(t, http.StatusSeeOther)
	v.get("/").want(t, http.StatusSeeOther)
	r := v.request(http.MethodGet, "/", nil)
	r.AddCookie(c) // kept by a thief
	v.do(r).want(t, http.StatusSeeOther)
}

func TestLanesPage(t *testing.T) {
	t.Parallel()
	v := open(t, console.Desks{Lanes: oneLane()}, nil).signIn()
	a := v.get("/")
	a.want(t, http.StatusOK, "1 of 2 lanes does not call", "3 of 20", "the provider refuses the credentials", "&lt;script&gt;alert(1)&lt;/script&gt;")
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := a.Header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, never := range []string{"<script>", " style=", "<style", "javascript:", " onclick="} {
		if strings.Contains(a.text, never) {
			t.Errorf("got %q in the page", never)
		}
	}
	v = open(t, console.Desks{Lanes: &lanes{}}, nil).signIn()
	v.get("/").want(t, http.StatusOK, "There is no lane")
	v = open(t, console.Desks{Lanes: &lanes{err: console.Away{Err: errors.New("nats: no responders <b>")}}}, nil).signIn()
	v.get("/").want(t, http.StatusServiceUnavailable, "does not answer as it should.", "no responders &lt;b&gt;", "weir check")
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	desk := oneLane()
	v := open(t, console.Desks{Lanes: desk}, nil).signIn()
	v.get("/pause?lane=acme").want(t, http.StatusOK, "Pause lane acme", `name="lane" value="acme"`)
	v.get("/pause?lane=nowhere").want(t, http.StatusNotFound, "no lane of that name")
	v.post("/pause", url.Values{"lane": {"acme"}, "reason": {" "}}).want(t, http.StatusUnprocessableEntity, "Say why")
	v.post("/pause", url.Values{"lane": {"acme"}, "reason": {"a bad list"}}).want(t, http.StatusSeeOther)
	v.get("/").want(t, http.StatusOK, "acme: paused, and weir serve has seen it.")
	if again := v.get("/"); strings.Contains(again.text, "has seen it") {
		t.Errorf("the word is said twice")
	}
	v.post("/resume", nil).want(t, http.StatusSeeOther)
	v.get("/resume").want(t, http.StatusMethodNotAllowed)
	want := "pause acme by Ada: a bad list|resume acme,globex by Ada"
	if got := strings.Join(desk.acts, "|"); got != want {
		t.Errorf("acts: got %s, want %s", got, want)
	}
}

func TestActsAreGuarded(t *testing.T) {
	t.Parallel()
	desk := oneLane()
	v := open(t, console.Desks{Lanes: desk}, nil)
	act := url.Values{"lane": {"acme"}, "reason": {"why not"}}
	v.post("/pause", act).want(t, http.StatusUnauthorized, "not signed in")
	v.signIn()
	for name, change := range map[string]func(*http.Request){
		"another site":                   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a sister site":                  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"an old browser at another site": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		r := v.request(http.MethodPost, "/pause", strings.NewReader(act.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(r)
		if a := v.do(r); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", name, a.StatusCode)
		}
	}
	r := v.request(http.MethodPost, "/pause", strings.NewReader(`{"lane":"acme"}`))
	r.Header.Set("Content-Type", "application/json")
	v.do(r).want(t, http.StatusUnsupportedMediaType)
	act.Set("more", strings.Repeat("x", 64<<10))
	v.post("/pause", act).want(t, http.StatusRequestEntityTooLarge, "too long")
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
		a := v.do(v.request(method, "/pause", nil))
		a.want(t, http.StatusMethodNotAllowed)
		if got := a.Header.Get("Allow"); got != "GET, HEAD, POST" {
			t.Errorf("allow: got %q", got)
		}
	}
	v.get("/nowhere").want(t, http.StatusNotFound, "There is no such page")
	if len(desk.acts) > 0 {
		t.Errorf("got %q, want nothing done", desk.acts)
	}
}

func TestWrongTokensAreSlowedDown(t *testing.T) {
	t.Parallel()
	bubble(t, nil, testWrongTokensAreSlowedDown)
}

func testWrongTokensAreSlowedDown(t *testing.T, v *visitor) {
	for range 20 { // right ones cost nothing
		v.signIn()
	}
	for range 5 {
		v.post("/login", url.Values{"name": {"Eve"}, "token": {"guess"}}).want(t, http.StatusUnauthorized)
	}
	a := v.post("/login", url.Values{"name": {"Ada"}, "token": {token}})
	a.want(t, http.StatusTooManyRequests, "too many wrong tokens")
	if a.Header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
	v.get("/").want(t, http.StatusOK) // who is in stays in
}

func TestSignedInEnds(t *testing.T) {
	t.Parallel()
	v := open(t, console.Desks{Lanes: oneLane()}, func(c *console.Config) { c.SignedIn = time.Nanosecond })
	for _, c := range v.post("/login", url.Values{"name": {"Ada"}, "token": {token}}).Cookies() {
		r := v.request(http.MethodGet, "/", nil)
		r.AddCookie(c) // a browser would have forgotten it
		v.do(r).want(t, http.StatusSeeOther)
	}
}

// Who has no proxy before him says for himself whom he speaks for, and is not believed.
// A token that was not found lets nobody in.
func TestNobodyIsLetInByMistake(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *console.Config) {
		c.Tokens = func() ([]schema.Secret, error) { return []schema.Secret{""}, nil }
	}, testNobodyIsLetInByMistake)
}

func testNobodyIsLetInByMistake(t *testing.T, v *visitor) {
	status := 0
	for i := range 6 {
		r := v.request(http.MethodPost, "/login", strings.NewReader(url.Values{"name": {"Eve"}, "token": {""}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", "198.51.100."+string(rune('1'+i)))
		if status = v.do(r).StatusCode; status == http.StatusSeeOther {
			t.Fatal("an empty token: got in")
		}
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the sixth try: got %d, want 429", status)
	}
}

func TestBehindTLS(t *testing.T) {
	t.Parallel()
	tokens := []schema.Secret{token}
	v := open(t, console.Desks{Lanes: oneLane()}, func(c *console.Config) {
		c.BehindProxy, c.Tokens = true, func() ([]schema.Secret, error) { return tokens, nil }
	})
	for i := range 8 { // the proxy tells them apart, by what it says last
		r := v.request(http.MethodPost, "/login", strings.NewReader(url.Values{"name": {"Eve"}, "token": {"guess"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", "203.0.113.1, 198.51.100."+string(rune('1'+i)))
		v.do(r).want(t, http.StatusUnauthorized)
	}
	c := v.post("/login", url.Values{"name": {"Ada"}, "token": {token}}).Cookies()[0]
	if !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("cookie: got %v, want one that only TLS carries", c)
	}
	enter := func(c *http.Cookie) int {
		r := v.request(http.MethodGet, "/", nil)
		r.AddCookie(c)
		return v.do(r).StatusCode
	}
	forged := *c
	forged.Value = strings.Replace(c.Value, c.Value[:8], "eyJuIjoi", 1) + "x"
	if got := enter(&forged); got != http.StatusSeeOther {
		t.Errorf("a forged cookie: got %d, want 303", got)
	}
	if got := enter(c); got != http.StatusOK {
		t.Errorf("a good cookie: got %d, want 200", got)
	}
	tokens = []schema.Secret{"another-token-by-now"}
	if got := enter(c); got != http.StatusSeeOther {
		t.Errorf("the token was changed: got %d, want 303", got)
	}
}
