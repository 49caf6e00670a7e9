package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/examples/receiver"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

const (
	oldSecret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	newSecret = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
)

// hearer is an endpoint for outcomes.
type hearer struct {
	url string

	mu      sync.Mutex
	secret  string
	status  int // of the answer
	got     map[string]receiver.Outcome
	order   map[string][]int // n of each event's outcomes that were new, as they came
	asked   int              // requests
	strange []string
}

func newHearer(t *testing.T) *hearer {
	t.Helper()
	p := &hearer{secret: oldSecret, status: 204, got: make(map[string]receiver.Outcome), order: make(map[string][]int)}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.url = s.URL + "/weir?a=b"
	return p
}

// ServeHTTP implements http.Handler.
func (p *hearer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if err == nil {
		err = receiver.Verify(p.secret, r.Header, body, time.Now())
	}
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if p.status == 204 {
		p.take(r, body)
	}
	w.WriteHeader(p.status)
}

func (p *hearer) take(r *http.Request, body []byte) {
	var o receiver.Outcome
	id := r.Header.Get("webhook-id")
	source, _ := url.PathUnescape(r.Header.Get("ce-causationsource"))
	switch err := json.Unmarshal(body, &o); {
	case err != nil, r.Method != "POST", r.URL.RequestURI() != "/weir?a=b", r.Header.Get("Content-Type") != "application/json",
		r.Header.Get("ce-specversion") != "1.0", r.Header.Get("ce-id") != id, r.Header.Get("ce-datacontenttype") != "",
		r.Header.Get("ce-type") != consumer.OutcomePrefix+o.Kind, r.Header.Get("ce-source") != "/weir/"+o.Lane, source != o.EventSource:
		p.strange = append(p.strange, fmt.Sprintf("%v %s %s %v %s", err, r.Method, r.URL, r.Header, body))
	}
	if _, known := p.got[id]; !known {
		p.got[id] = o
		p.order[o.EventID] = append(p.order[o.EventID], o.N)
	}
}

func (p *hearer) set(status int, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.secret = status, secret
}

func (p *hearer) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// has waits until each outcome of the lane in the stream has come, and checks that
// those of one event came in their order.
func (p *hearer) has(t *testing.T, b *broker.Broker, lane string) (kinds map[string]int) {
	t.Helper()
	await(t, patience, "the outcomes to be delivered", func() bool {
		kinds = make(map[string]int)
		for next := uint64(1); ; {
			o, err := b.NextOutcome(t.Context(), lane, next)
			if err != nil {
				return false
			}
			if o == nil {
				return true
			}
			var ev struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(o.Body, &ev); err != nil {
				t.Fatal(err)
			}
			p.mu.Lock()
			_, there := p.got[ev.ID]
			p.mu.Unlock()
			if !there {
				return false
			}
			kinds[o.Kind]++
			next = o.Sequence + 1
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, ns := range p.order {
		for i := 1; i < len(ns); i++ {
			if ns[i] < ns[i-1] {
				t.Errorf("the outcomes of %s came in the order %v", id, ns)
			}
		}
	}
	for _, s := range p.strange {
		t.Errorf("a strange request: %s", s)
	}
	return kinds
}

// block is the lane's block of configuration.
func (p *hearer) block(more string) string {
	return fmt.Sprintf("outcomes: {url: %q, secret: {env: SIGNING}%s}", p.url, more)
}

// desk connects to a plant's broker.
func (p *plant) connect(t *testing.T) *broker.Broker {
	t.Helper()
	address, token, err := broker.ReadEndpoint(p.store)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// An endpoint is away, weir is started again meanwhile, and it is back: each outcome
// comes, signed, in order. Then the secret is changed, while weir runs.
func TestOutcomesByHTTP(t *testing.T) {
	t.Parallel()
	p, pub := newPlant(t, "sales"), newHearer(t)
	file := p.file(t, "signing", oldSecret)
	p.edit(t, "    account: acme\n", "    account: acme\n    "+strings.Replace(pub.block(""), "{env: SIGNING}", fmt.Sprintf("{file: %q}", file), 1)+"\n")
	pub.set(503, oldSecret)
	contains(t, p.weir(t, "check"), "outcomes of sales", "can be reached; nothing was sent there")
	stop := p.serve(t, "sales")
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson",
		lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "+14155550103", ""), lead("4", "", "")))
	row := func() laneRow { return decoded[[]laneRow](t, p.weir(t, "lanes", "--output", "json"))[0] }
	await(t, patience, "the calls to end, with an endpoint that is away", func() bool {
		r := row()
		return len(p.sim.Conversations()) == 3 && r.Used == 0 && r.Outcomes.Waiting == 7 && r.Outcomes.Reason == "status 503 Service Unavailable" && !r.Outcomes.Since.IsZero()
	})
	contains(t, p.weir(t, "lanes"), "outcomes are not delivered since", "7 wait: status 503")
	stop()
	pub.set(204, oldSecret)
	stop = p.serve(t, "sales")
	defer func() { stop() }()
	b := p.connect(t)
	if kinds := pub.has(t, b, "sales"); kinds["created"] != 3 || kinds["ended"] != 3 || kinds["rejected"] != 1 {
		t.Errorf("got %v, want 3 created, 3 ended, 1 rejected", kinds)
	}
	await(t, patience, "the lane to be well", func() bool { r := row(); return r.Outcomes.Waiting == 0 && r.Outcomes.Since.IsZero() })

	for _, step := range []struct{ file, receiver string }{
		{oldSecret + "\n" + newSecret, oldSecret}, {oldSecret + "\n" + newSecret, newSecret}, {newSecret, newSecret},
	} {
		if err := os.WriteFile(file, []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		pub.set(204, step.receiver)
		id := fmt.Sprint("r", len(p.sim.Conversations()))
		p.weir(t, "publish", "--lane", "sales", p.file(t, "b.ndjson", lead(id, "+14155550199", "")))
		await(t, patience, "the call to end", func() bool { return outcomesOf(t, b, "ended")[consumer.Key("sales", "/crm", id)] == 1 })
		pub.has(t, b, "sales")
	}
}

// What an endpoint does costs its own outcomes alone: not the lane's calls, not the
// outcomes of others, and not the end of weir.
func TestOutcomesToHostileEndpoints(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/hang":
			<-release
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/slow":
			w.Header().Set("Content-Length", "1000000")
			_ = http.NewResponseController(w).Flush()
			<-release
		case "/redirect":
			http.Redirect(w, r, "/redirect", http.StatusTemporaryRedirect)
		case "/flood":
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusProcessing)
			}
		case "/headers":
			for i := range 1000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1000))
			}
		case "/reset":
			panic(http.ErrAbortHandler)
		}
	}))
	modes := []string{"hang", "slow", "endless", "redirect", "flood", "headers", "reset"}
	p, pub := newPlant(t, append([]string{"good"}, modes...)...), newHearer(t)
	p.env["SIGNING"] = oldSecret
	for _, mode := range modes {
		p.edit(t, "  - name: "+mode+"\n", fmt.Sprintf("  - name: %s\n    outcomes: {url: %q, secret: {env: SIGNING}, timeout: 1m}\n", mode, hostile.URL+"/"+mode))
	}
	p.edit(t, "  - name: good\n", "  - name: good\n    "+pub.block("")+"\n")
	stop := p.serve(t, append([]string{"good"}, modes...)...)
	for _, lane := range append(modes, "good") {
		p.weir(t, "publish", "--lane", lane, p.file(t, lane, lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "+14155550103", "")))
	}
	b := p.connect(t)
	await(t, patience, "the calls of every lane to end", func() bool { return len(outcomesOf(t, b, "ended")) == 3*(len(modes)+1) })
	pub.has(t, b, "good")
	reasons := map[string]string{"redirect": "redirects are not followed", "flood": "exceeded", "headers": "exceeded", "reset": "EOF"}
	await(t, patience, "weir lanes to say what is wrong", func() bool {
		for _, r := range decoded[[]laneRow](t, p.weir(t, "lanes", "--output", "json")) {
			if want, ok := reasons[r.Lane]; ok && !strings.Contains(r.Outcomes.Reason, want) {
				return false
			}
			if r.Lane == "endless" && r.Outcomes.Waiting > 0 { // its status says it all
				return false
			}
		}
		return true
	})
	began := time.Now()
	stop()
	if took := time.Since(began); took > 45*time.Second { // a try there has a minute
		t.Errorf("the end took %v", took)
	}
	close(release)
	hostile.CloseClientConnections()
	hostile.Close()
}

// Killed again and again, one replica of two at a time, while its endpoint fails now
// and then: each outcome comes, in order.
func TestOutcomesUnderKill9(t *testing.T) {
	t.Parallel()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: t.TempDir() + "/store"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	pub := newHearer(t)
	k := newKilledWith(t, fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\n", e.URL()),
		e.Token().Reveal(), "    "+pub.block("")+"\n", simulator.Config{Limit: 5, Faults: simulator.Faults{Shuffle: .3}})
	k.env["SIGNING"] = oldSecret
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	older := child(t, k.env, "serve", "-c", k.yaml)
	k.awaitStreams(t, b)
	k.publish(t, b, 60)
	for i := range 4 {
		newer := child(t, k.env, "serve", "-c", k.yaml)
		pub.set([]int{204, 500, 204, 429}[i], oldSecret)
		elapse(t, 9*time.Second)
		_ = older.Process.Kill()
		_ = older.Wait()
		older = newer
	}
	pub.set(204, oldSecret)
	k.settle(t, b)
	if kinds := pub.has(t, b, "acme"); kinds["created"] == 0 || kinds["ended"] == 0 {
		t.Errorf("got %v", kinds)
	}
}

// What the endpoint never takes is kept for a person, who has it sent again or drops
// it.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	p, pub := newPlant(t, "sales"), newHearer(t)
	p.env["SIGNING"] = oldSecret
	p.edit(t, "    account: acme\n", "    account: acme\n    "+pub.block(", kinds: [rejected]")+"\n")
	pub.set(410, oldSecret)
	stop := p.serve(t, "sales")
	defer func() { stop() }()
	contains(t, p.weir(t, "undelivered", "list"), "Every outcome was delivered, or is still tried.")
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a", lead("one", "", ""), lead("two", "", ""), lead("three", "", ""), lead("4", "+14155550103", "")))
	list := func() []undeliveredRow {
		return decoded[[]undeliveredRow](t, p.weir(t, "undelivered", "list", "--output", "json"))
	}
	await(t, patience, "three to be given up", func() bool { return len(list()) == 3 })
	contains(t, p.weir(t, "undelivered", "list"), "LANE   OUTCOME", "rejected", "status 410 Gone", "three")
	contains(t, p.weir(t, "lanes"), "3 outcomes were given up: see weir undelivered list")
	contains(t, p.weir(t, "undelivered", "show", "two"), "event id       two", `"kind": "rejected"`)
	if _, code := p.refused(t, "which outcomes?", "undelivered", "send"); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if _, code := p.refused(t, "give --yes to do it with 3 outcomes", "undelivered", "drop", "--all"); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	p.refused(t, `no undelivered outcome is called "four"`, "undelivered", "drop", "four")

	asked := pub.requests()
	contains(t, p.weir(t, "undelivered", "send", "one"), "will be sent again")
	await(t, patience, "a try that fails", func() bool {
		rows := list() // one that is written anew while they are read may be missing
		return pub.requests() == asked+1 && len(rows) == 3 && rows[2].By == "" && rows[2].EventID == "one"
	})
	pub.set(204, oldSecret)
	contains(t, p.weir(t, "undelivered", "drop", "two"), "removed")
	stop()
	stop = func() {}
	restart := p.serve(t, "sales")
	defer restart()
	p.weir(t, "undelivered", "send", "--all", "--yes", "--lane", "sales")
	await(t, patience, "the others to be delivered", func() bool { return len(list()) == 0 })
	pub.mu.Lock()
	defer pub.mu.Unlock()
	if len(pub.got) != 2 || len(pub.order["two"]) != 0 {
		t.Errorf("the publisher has %v, want those of one and three", pub.got)
	}
}

// A lane that has no address any more is named.
func TestCheckNamesLanesThatAreNotDelivered(t *testing.T) {
	t.Parallel()
	p, pub := newPlant(t, "sales"), newHearer(t)
	p.env["SIGNING"] = oldSecret
	line := "    " + pub.block("") + "\n"
	p.edit(t, "    account: acme\n", "    account: acme\n"+line)
	p.serve(t, "sales")()
	p.edit(t, line, "")
	defer p.serve(t, "sales")()
	contains(t, p.weir(t, "check"), "they went to an address once and do no more")
	await(t, patience, "nothing to be said of them", func() bool { return !strings.Contains(p.weir(t, "lanes", "--output", "json"), "undelivered") })
}
