package main

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/simulator"
)

// consoleToken lets the tests into the console.
const consoleToken = "the-console-of-the-tests"

// operator is somebody with a browser, signed in as Ada.
type operator struct {
	t      *testing.T
	client *http.Client
	url    string
	log    *syncBuffer
}

// operator opens the console of a replica that owns nothing: what it does, others
// carry out.
func (p *plant) operator(t *testing.T) *operator {
	t.Helper()
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	log := &syncBuffer{}
	s := newService(zerolog.New(log), cfg)
	s.broker = p.connect(t)
	if s.ledger, err = openLedger(t.Context(), s.broker.JetStream(), reachFor); err != nil {
		t.Fatal(err)
	}
	if err := s.openRegister(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.console().Handler())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{t: t, client: &http.Client{Jar: jar}, url: srv.URL, log: log}
	o.post("/login", http.StatusOK, "name", "Ada", "token", consoleToken)
	return o
}

func (o *operator) do(r *http.Request, status int) string {
	o.t.Helper()
	resp, err := o.client.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	if resp.StatusCode != status {
		o.t.Fatalf("%s %s: got %d, want %d:\n%s", r.Method, r.URL.Path, resp.StatusCode, status, b)
	}
	text := html.UnescapeString(string(b))
	for _, never := range []string{"415555010", "planted-secret"} {
		if at := strings.Index(strings.ReplaceAll(text, "+14155550123", ""), never); at >= 0 {
			o.t.Errorf("%s %s: got %q on the page", r.Method, r.URL.Path, never)
		}
	}
	return text
}

func (o *operator) get(path string) string {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, o.url+path, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.do(r, http.StatusOK)
}

// post sends a form, and returns the page that comes of it, the word of an act on it.
func (o *operator) post(path string, status int, form ...string) string {
	o.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r, err := http.NewRequestWithContext(o.t.Context(), http.MethodPost, o.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return o.do(r, status)
}

// field is a hidden field's value.
func field(t *testing.T, page, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no field %s in:\n%s", name, page)
	}
	return m[1]
}

// consolePlant is a plant whose lane tells a publisher of refusals by HTTP, who takes
// none, and that has a console.
func consolePlant(t *testing.T) *plant {
	t.Helper()
	p, pub := newPlant(t, "sales"), newHearer(t)
	pub.set(http.StatusGone, oldSecret)
	p.env["SIGNING"], p.env["CONSOLE"], p.env["KEY"] = oldSecret, consoleToken, "planted-secret-of-the-provider"
	p.edit(t, "    account: acme\n", "    account: acme\n    "+pub.block(", kinds: [rejected]")+"\n")
	p.edit(t, "accounts:\n", "console: {listen: '127.0.0.1:0', token: {env: CONSOLE}}\naccounts:\n")
	// Or an end that is asked for during an outage would be asked for minutes later.
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 500ms}\n")
	return p
}

// called reports whether the provider has a conversation of an intent.
func (p *plant) called(intent string) bool {
	for _, c := range p.sim.Conversations() {
		if c.Intent == intent {
			return true
		}
	}
	return false
}

// TestConsolePages does each act of the console's pages once, on a running weir serve,
// and once more what must not be done twice.
func TestConsolePages(t *testing.T) {
	t.Parallel()
	p := consolePlant(t)
	stop := p.serve(t, "sales")
	defer stop()
	o := p.operator(t)
	key := func(id string) string { return consumer.Key("sales", "/crm", id) }

	contains(t, o.post("/pause", http.StatusOK, "lane", "sales", "reason", "a bad list"), "sales: paused")
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "", ""), lead("4", "", ""), lead("5", "", ""), lead("6", "", "")))
	contains(t, o.get("/events?state=queued"), key("1"), key("6"), "lead.created")
	o.withdraws(key("2"))
	contains(t, o.post("/resume", http.StatusOK, "lane", "sales"), "sales: resumed")
	p.settled(t, "dead", 4)
	await(t, patience, "the other to be begun", func() bool { return p.state(t, "sales", "1").State != consumer.Absent })
	contains(t, o.get("/events?lane=sales"), key("1"), key("2"), key("3"))
	contains(t, o.get("/events?state=cancelled&age=all"), key("2"))
	contains(t, o.post("/events", http.StatusOK, "word", "3"), "Event 3", "Decide what becomes of it")
	contains(t, o.post("/events", http.StatusOK, "word", key("1")), "Event 1")
	contains(t, o.post("/events", http.StatusOK, "word", "1", "source", "/crm"), "Event 1")
	contains(t, o.post("/events", http.StatusOK, "word", "17"), "No event was found.")

	o.sendsAgain(p, key)
	o.corrects(p, key("3"))
	o.drops(key)
	o.settlesDoubts(p, key)
	o.blocks()
	o.clearsOutcomes(p)
	contains(t, o.get("/configuration"), p.yaml, "lane sales", "(set, not shown)", "routes[0].type", "…")
	contains(t, o.get("/"), "sales")
	await(t, patience, "the call to end", func() bool { return p.state(t, "sales", "1").State == consumer.Ended })
	contains(t, o.get("/events/sales/"+key("1")), "published", "started", "created", "ended", "the publisher was told: ended", "Conversation")
	if log := o.log.String(); strings.Contains(log, "415555010") || strings.Contains(log, "planted") {
		t.Errorf("got a number or a secret in the log:\n%s", log)
	}
	called := make(map[string]int)
	for _, c := range p.sim.Conversations() {
		called[c.Intent]++
	}
	if len(called) != 3 || called[key("1")] != 1 || called[key("3")] != 1 || called[key("9")] != 1 {
		t.Errorf("calls: got %v, want one each of 1, 3 and 9", called)
	}
}

// withdraws finds an event by its person, and withdraws it.
func (o *operator) withdraws(intent string) {
	o.t.Helper()
	page := o.post("/events", http.StatusOK, "person", "+1 (415) 555-0102")
	contains(o.t, page, "Event 2", "queued", "no weir serve has taken it up yet", intent)
	contains(o.t, o.post("/events", http.StatusUnprocessableEntity, "person", "ada"), "neither a number")
	for range 2 { // the same again is harmless
		contains(o.t, o.post("/events/sales/"+intent, http.StatusOK, "reason", "they have signed"), "The event is withdrawn", "cancelled", "by Ada", "they have signed")
	}
}

// sendsAgain sends all dead letters again; sent twice, the form does nothing.
func (o *operator) sendsAgain(p *plant, key func(string) string) {
	o.t.Helper()
	page := o.get("/dead")
	contains(o.t, page, "4 dead letters", "request: 4", key("3"))
	contains(o.t, o.post("/dead", http.StatusOK, "text", "DATA.PHONE"), "4 dead letters")
	contains(o.t, o.post("/dead", http.StatusOK, "text", "nobody says this"), "There is no such dead letter.")
	contains(o.t, o.get("/dead?class=rejected"), "0 dead letters")
	page = o.post("/dead/preview", http.StatusOK, "verb", "send", "class", "request")
	contains(o.t, page, "4 dead letters are chosen", "Would be sent again", "Nothing was done yet")
	form := []string{"verb", "send", "class", "request", "seen", field(o.t, page, "seen"), "reason", "a better route"}
	contains(o.t, o.post("/dead/act", http.StatusOK, form...), "4 dead letters of 4 ordered to be sent again")
	await(o.t, patience, "them to be dead again", func() bool {
		for _, r := range p.settled(o.t, "dead", 4) {
			if r.N != 2 {
				return false
			}
		}
		return true
	})
	contains(o.t, o.post("/dead/act", http.StatusOK, form...), "0 dead letters of 4 ordered to be sent again", "changed meanwhile")
}

// corrects sends a letter again with another event in its place.
func (o *operator) corrects(p *plant, intent string) {
	o.t.Helper()
	path := "/dead/sales/" + intent
	page := o.get(path)
	contains(o.t, page, "Send it corrected", "dead", "by Ada")
	n := field(o.t, page, "n")
	contains(o.t, o.post(path, http.StatusConflict, "how", "send", "n", "1", "reason", "of an hour ago"), "not as you saw it")
	for event, says := range map[string]string{
		"{\n  \"id\": 3,,}":           "line 2, character 11",
		lead("4", "+14155550103", ""): `but the letter's event is "3"`,
		lead("3", "", ""):             "would be refused by lane sales",
		`{"id":"3"}`:                  "cannot be sent",
	} {
		if strings.Contains(event, "5550") { // it is sent back, to be mended
			event = strings.Replace(event, "+14155550103", "+14155550123", 1)
		}
		contains(o.t, o.post(path, http.StatusUnprocessableEntity, "how", "correct", "n", n, "event", event, "reason", "typo"), says)
	}
	contains(o.t, o.post(path, http.StatusOK, "how", "correct", "n", n, "event", lead("3", "+14155550103", ""), "reason", "typo"), "Will be sent again")
	await(o.t, patience, "the corrected lead to be called", func() bool { return p.called(intent) })
	contains(o.t, o.post(path, http.StatusConflict, "how", "send", "n", n, "reason", "again"), "not as you saw it")
	await(o.t, patience, "the letter's page to know", func() bool { return strings.Contains(o.get(path), "not dead any more") })
}

// drops gives letters up, one by itself and the others together.
func (o *operator) drops(key func(string) string) {
	o.t.Helper()
	path := "/dead/sales/" + key("4")
	n := field(o.t, o.get(path), "n")
	contains(o.t, o.post(path, http.StatusOK, "how", "drop", "n", n, "reason", "a test"), "Dropped; nobody is called")
	contains(o.t, o.post(path, http.StatusConflict, "how", "drop", "n", n, "reason", "a test"), "It is cancelled now")
	page := o.post("/dead/preview", http.StatusOK, "verb", "drop")
	form := []string{"verb", "drop", "seen", field(o.t, page, "seen"), "reason", "the rest"}
	contains(o.t, o.post("/dead/act", http.StatusOK, form...), "2 dead letters of 2 dropped", "There is no such dead letter.")
	contains(o.t, o.post("/dead/act", http.StatusOK, form...), "0 dead letters of 2 dropped")
}

// settlesDoubts settles three, each in another way.
func (o *operator) settlesDoubts(p *plant, key func(string) string) {
	o.t.Helper()
	if err := p.sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		o.t.Fatal(err)
	}
	p.weir(o.t, "publish", p.file(o.t, "b.ndjson", lead("7", "+14155550107", ""), lead("8", "+14155550108", ""), lead("9", "+14155550109", "")))
	p.settled(o.t, "doubt", 3)
	p.sim.ClearOutage()
	contains(o.t, o.get("/doubts?lane=sales"), "3 doubts", key("7"), key("8"), key("9"))
	for _, tt := range []struct{ id, how, conversation, says string }{
		{"7", "created", "conv-7", "created, as conversation conv-7"},
		{"8", "drop", "", "it is over; nobody is called"},
		{"9", "retry", "", "will be sent again"},
	} {
		path := "/doubts/sales/" + key(tt.id)
		page := o.get(path)
		contains(o.t, page, "The call was placed", "called a second time", "Ask the provider")
		contains(o.t, o.post(path, http.StatusConflict, "how", "drop", "n", "0", "reason", "of an hour ago"), "Somebody decided meanwhile")
		form := []string{"how", tt.how, "n", field(o.t, page, "n"), "conversation", tt.conversation, "reason", "asked them"}
		contains(o.t, o.post(path, http.StatusOK, form...), "The doubt is settled", tt.says)
		if tt.how == "retry" {
			await(o.t, patience, "the third to be called", func() bool { return p.called(key("9")) })
		}
		contains(o.t, o.post(path, http.StatusConflict, form...), "Somebody decided meanwhile")
	}
	contains(o.t, o.get("/doubts"), "No event is in doubt.")
}

// blocks blocks somebody, looks, and allows again.
func (o *operator) blocks() {
	o.t.Helper()
	contains(o.t, o.get("/contacts"), "Nobody is blocked.")
	contains(o.t, o.post("/contacts/block", http.StatusOK, "person", "+14155550177", "lane", "sales", "source", "call", "reason", "asked on the phone"),
		"…77 is blocked in lane sales.", "asked on the phone", "1 block<")
	contains(o.t, o.post("/contacts/block", http.StatusOK, "person", "+1 415 555 0177", "lane", "sales", "reason", "again"), "…77 was blocked in lane sales already.")
	contains(o.t, o.post("/contacts", http.StatusOK, "person", "+14155550177"), "…77 is blocked", "by", "Ada")
	contains(o.t, o.post("/contacts", http.StatusOK, "person", "+14155550178"), "…78 is not blocked")
	contains(o.t, o.post("/contacts/allow", http.StatusOK, "person", "+14155550177", "lane", "sales", "reason", "a mistake"), "…77 is not blocked any more in lane sales.")
	contains(o.t, o.post("/contacts", http.StatusOK, "person", "+14155550177"), "…77 is not blocked", "by Ada: a mistake")
	contains(o.t, o.post("/contacts/block", http.StatusUnprocessableEntity, "person", "+14155550177", "lane", "other", "reason", "x"), "no lane of that name")
}

// clearsOutcomes has an undelivered outcome sent again, and removes another.
func (o *operator) clearsOutcomes(p *plant) {
	o.t.Helper()
	link := regexp.MustCompile(`/undelivered/sales/[0-9a-f-]{36}`)
	var all []string
	await(o.t, patience, "outcomes that are given up", func() bool {
		all = link.FindAllString(o.get("/undelivered"), -1)
		return len(all) >= 2
	})
	for i, tt := range []struct{ how, says string }{{"send", "will be sent again"}, {"drop", "was removed"}} {
		page := o.get(all[i])
		contains(o.t, page, "status 410 Gone", `"kind": "rejected"`)
		contains(o.t, strings.ToLower(o.post(all[i], http.StatusOK, "how", tt.how, "sequence", field(o.t, page, "sequence"), "reason", "a test")), tt.says)
	}
	o.post(all[1], http.StatusNotFound, "how", "drop", "sequence", "1", "reason", "a test")
	contains(o.t, o.log.String(), `"by":"Ada"`, `"reason":"a test"`)
}
