package main

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// trouble is something that keeps a lane's leads from being called, or will.
type trouble struct {
	lane     string // empty: all of them
	settings string // of the lane, besides
	leads    int
	more     func()       // sends one more lead; nil: they do not matter
	counted  bool         // by the lane's owner, who begins anew with each taking: more leads come until it is read
	zone     string       // of the leads' people
	provider http.Handler // nil: nobody listens
	// What is to be read: on the console's first page, in the lane's part of it, and
	// in the lines that weir check --live has of the lane or of anything.
	page, check []string
}

// playing is a provider of its own kind.
func playing(t *testing.T, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	cfg.Seed, cfg.Latency = 1, time.Millisecond
	sim, err := simulator.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

// occupied is a provider whose slots somebody else has taken.
func occupied(t *testing.T, cfg simulator.Config) http.Handler {
	t.Helper()
	cfg.Scale = .01 // calls of an hour
	h := playing(t, cfg).Handler()
	for i := range cfg.Limit {
		body := fmt.Sprintf(`{"conversations":[{"agentId":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7","conversationType":"telephony","toPhoneNumber":"+1212555%04d"}]}`, i)
		r := httptest.NewRequest(http.MethodPost, "/api/v2/conversations", strings.NewReader(body))
		r.Header.Set("x-api-key", "k")
		r.Header.Set("x-workspace-id", "w")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("somebody else's call: got %d %s", w.Code, w.Body)
		}
	}
	return h
}

// yearOff is a provider whose clock is.
func yearOff(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().AddDate(-1, 0, 0).UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}

// rejecting is a provider to which no request of the route is good.
func rejecting(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"not found"}`))
		return
	}
	w.WriteHeader(http.StatusUnprocessableEntity)
	_, _ = w.Write([]byte(`{"message":"the agent is not active"}`))
}

// troubles are those that a lane of one weir serve can have beside the others.
func troubles(t *testing.T) []trouble {
	t.Helper()
	return []trouble{
		{
			lane: "flapping", provider: playing(t, simulator.Config{}).Handler(),
			page:  []string{"was taken over", "times in the last 10 min"}, // a machine that stood still lost it once more
			check: []string{"was taken over", "times in the last 10 min"},
		},
		{
			lane: "down", leads: 3, settings: "breaker: {failures: 2}",
			page:  []string{"the provider does not answer well", "connection refused"},
			check: []string{"the provider does not answer well", "cannot be reached"},
		},
		{
			lane: "revoked", leads: 1, provider: playing(t, simulator.Config{Auth: simulator.Auth{APIKey: "another"}}).Handler(),
			page:  []string{"the provider refuses the credentials"},
			check: []string{"the provider refuses the credentials"},
		},
		{
			lane: "taken", leads: 1, provider: occupied(t, simulator.Config{Limit: 4}),
			page:  []string{"the provider says that it is full, and only", "somebody else may be using the account"},
			check: []string{"the provider says that it is full, and only", "see who else uses the account"},
		},
		{
			lane: "taken-unsaid", leads: 1, provider: occupied(t, simulator.Config{Limit: 4, Headers: simulator.HeadersNone}),
			page:  []string{"somebody else may be using the account"},
			check: []string{"somebody else may be using the account", "see who else uses the account"},
		},
		{
			lane: "clock", leads: 1, provider: yearOff(playing(t, simulator.Config{Scale: 200}).Handler()),
			page:  []string{"this machine's clock is", "ahead of account clock's"},
			check: []string{"this machine's clock is", "ahead of account clock's", "NTP"},
		},
		{
			lane: "silent", leads: 12, counted: true, settings: "webhook: {secret: {env: HOOK}}", provider: playing(t, simulator.Config{Scale: 200}).Handler(),
			page:  []string{"no webhook told of the last"},
			check: []string{"no webhook told of the last"},
		},
		{
			lane: "poisoned", leads: 12, counted: true, provider: http.HandlerFunc(rejecting),
			page:  []string{"rejected for the same reason", "the agent is not active"},
			check: []string{"rejected for the same reason", "the agent is not active", "weir lane resume poisoned"},
		},
		{
			lane: "asleep", leads: 3, settings: `contact: {region: US, windows: [{hours: "08:00-20:00"}]}`, zone: zoneAt(1),
			provider: playing(t, simulator.Config{}).Handler(),
			page:     []string{"3 events wait for the calling hours of their people"},
			check:    []string{"3 events wait for the calling hours of their people"},
		},
	}
}

// TestTroubles causes what can go wrong, at a running weir serve, and requires that
// the console's first page and weir check --live both name the cause.
func TestTroubles(t *testing.T) {
	t.Parallel()
	k, b := plainBroker(t, server.Options{JetStreamMaxStore: 16 << 30})
	all := troubles(t)
	mux := http.NewServeMux()
	for _, tr := range all {
		if tr.provider != nil {
			mux.Handle("/"+tr.lane+"/", http.StripPrefix("/"+tr.lane, tr.provider))
		}
	}
	providers := httptest.NewServer(mux)
	t.Cleanup(func() { providers.CloseClientConnections(); providers.Close() })
	p := &plant{yaml: filepath.Join(k.dir, "all.yaml"), env: map[string]string{"KEY": "k", "HOOK": hookSecret, "CONSOLE": "a-token-of-the-console"}}
	top := fmt.Sprintf("broker: {url: %q}\n", b.JetStream().Conn().ConnectedUrl())
	flapping := *p
	flapping.yaml = filepath.Join(k.dir, "flapping.yaml")
	flapping.write(t, top, providers.URL, all[:1])
	for range 3 { // a weir serve that starts again and again
		flapping.serve(t, "flapping")()
	}
	console := gatewayPort(t)
	top += fmt.Sprintf("gateway: {listen: %q}\nconsole: {listen: %q, token: {env: CONSOLE}}\nadmin: {listen: %q}\n", gatewayPort(t), console, gatewayPort(t))
	p.write(t, top, providers.URL, all)
	send := func(tr trouble, i int) {
		line := leadIn(fmt.Sprint("lead-", i), fmt.Sprintf("+1415555%04d", i), cmp.Or(tr.zone, "Etc/UTC"))
		header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
		if _, err := b.PublishEvent(t.Context(), tr.lane, header, []byte(line), tr.lane+fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tr := range all {
		for i := range tr.leads {
			send(tr, i)
		}
	}
	t.Cleanup(background(t, func(ctx context.Context) error {
		_, stderr, err := weir(ctx, p.env, "serve", "-c", p.yaml, "--log-level", "error")
		if err != nil {
			t.Log(stderr)
		}
		return err
	}))
	o := &onlooker{t: t, plant: p, url: "http://" + console}
	o.signIn()
	for _, tr := range all {
		if tr.counted {
			tr.more = func() { send(tr, tr.leads); tr.leads++ }
		}
		t.Run(tr.lane, func(t *testing.T) { o.names(t, tr) })
	}
	t.Run("disk filling", func(t *testing.T) {
		resize(t, b, ledger.Stream, 512<<10)
		stuff(t, b, ledger.Stream, "$KV.WEIR_LEDGER.other.", 16<<10, 92)
		o.names(t, trouble{
			page:  []string{"no new event is begun, because KV_WEIR_LEDGER has used"},
			check: []string{"no new event is begun, because KV_WEIR_LEDGER has used", "it is filling up", "raise the stream's max_bytes"},
		})
	})
}

// TestTroubleWithoutALeader stops two servers of three under a running weir serve.
func TestTroubleWithoutALeader(t *testing.T) {
	t.Parallel()
	c := newTrio(t)
	for i := range 3 {
		c.start(t, i)
	}
	tr := trouble{lane: "sales", provider: playing(t, simulator.Config{}).Handler()}
	providers := httptest.NewServer(http.StripPrefix("/sales", tr.provider))
	t.Cleanup(func() { providers.CloseClientConnections(); providers.Close() })
	console := gatewayPort(t)
	p := &plant{yaml: filepath.Join(t.TempDir(), "weir.yaml"), env: map[string]string{"KEY": "k", "TOKEN": c.token.Reveal(), "CONSOLE": "a-token-of-the-console"}}
	p.write(t, fmt.Sprintf("broker: {urls: [%s], token: {env: TOKEN}, replicas: 3}\nconsole: {listen: %q, token: {env: CONSOLE}}\nadmin: {listen: %q}\n",
		strings.ReplaceAll(c.url, ",", ", "), console, gatewayPort(t)), providers.URL, []trouble{tr})
	t.Cleanup(p.serve(t, "sales"))
	o := &onlooker{t: t, plant: p, url: "http://" + console}
	o.signIn()
	o.names(t, trouble{lane: "sales", page: []string{"sales"}, check: []string{"running; slots 0/4"}})
	at := c.leader(t, broker.StreamEvents)
	t.Cleanup(func() { c.start(t, at) }) // so that weir serve can end
	c.stop(at)
	c.stop((at + 1) % 3)
	o.names(t, trouble{
		page:  []string{"The broker does not answer.", "the broker's servers have no leader"},
		check: []string{"no leader", "nats server report jetstream"}, // of the servers, or of a stream
	})
}

// write writes a weir.yaml with a lane for each trouble, each with an account of
// its own.
func (p *plant) write(t *testing.T, top, providers string, all []trouble) {
	t.Helper()
	var y strings.Builder
	y.WriteString(top + "lanes:\n")
	for i, tr := range all {
		at := providers + "/" + tr.lane
		if tr.provider == nil {
			at = "http://" + gatewayPort(t)
		}
		p.env["WORKSPACE_"+strconv.Itoa(i)] = "w-" + tr.lane
		fmt.Fprintf(&y, `  - name: %s
    provider: oration
    url: %s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE_%d}}
    limit: 4
    pacing: {mean_call: 1s}
    %s
    routes:
      - type: lead.created
%s`, tr.lane, at, i, tr.settings, plantRoute)
	}
	if err := os.WriteFile(p.yaml, []byte(y.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// onlooker looks at the console and asks weir check --live.
type onlooker struct {
	t      *testing.T
	plant  *plant
	url    string // of the console
	client *http.Client
	check  string // what the command said last
}

// signIn waits for the console and signs in.
func (o *onlooker) signIn() {
	o.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		o.t.Fatal(err)
	}
	o.client = &http.Client{Jar: jar, Timeout: time.Minute}
	o.t.Cleanup(o.client.CloseIdleConnections)
	await(o.t, patience, "the console to let an operator in", func() bool {
		resp, err := o.client.PostForm(o.url+"/login", url.Values{"name": {"ana"}, "token": {o.plant.env["CONSOLE"]}})
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode == http.StatusOK && resp.Request.URL.Path == "/"
	})
}

// tags are what a browser does not show.
var tags = regexp.MustCompile(`(?s)<[^>]*>`)

// shown is what the first page shows, of a lane if there is one.
func (o *onlooker) shown(t *testing.T, lane string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.url+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := o.client.Do(r)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	text := string(body)
	if lane != "" {
		_, text, _ = strings.Cut(text, `id="lane-`+lane+`"`)
		text, _, _ = strings.Cut(text, "</article>")
	}
	return html.UnescapeString(tags.ReplaceAllString(text, " "))
}

// said is what weir check --live says now.
func (o *onlooker) said(t *testing.T) string {
	t.Helper()
	o.check, _, _ = weir(t.Context(), o.plant.env, "check", "--live", "-c", o.plant.yaml)
	return o.check
}

// about are the lines of a check that name a lane or its account, or all of them.
func about(check, lane string) string {
	var lines []string
	for line := range strings.Lines(check) {
		if lane == "" || strings.Contains(line, "  lane "+lane+" ") || strings.Contains(line, "  account "+lane+" ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// names waits until both name the cause.
func (o *onlooker) names(t *testing.T, tr trouble) {
	t.Helper()
	page := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page:\n%s\nweir check --live:\n%s", page, o.check)
		}
	})
	await(t, patience, fmt.Sprintf("the first page to say %q", tr.page), func() bool {
		if tr.more != nil {
			tr.more()
		}
		page = strings.Join(strings.Fields(o.shown(t, tr.lane)), " ")
		return holdsAll(page, tr.page)
	})
	if !holdsAll(about(o.check, tr.lane), tr.check) {
		await(t, patience, fmt.Sprintf("weir check --live to say %q", tr.check), func() bool {
			if tr.more != nil {
				tr.more()
			}
			return holdsAll(about(o.said(t), tr.lane), tr.check)
		})
	}
}

// holdsAll reports whether all the words are there.
func holdsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
