package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/internal/ledger"
)

const (
	doorToken = "0123456789abcdef-door"
	crmToken  = "0123456789abcdef-crm"
)

// doorAnswer is what the door said.
type doorAnswer struct {
	status int
	retry  string
	body   string

	Location, Intent, State, Detail string
	Duplicate                       bool
	Settled                         bool
	Conversation                    string
	Events                          []struct{ Status int }
	Timeline                        []struct{ State string }
}

// knockDoor sends a request to a door; status 0 means that nobody answered.
func knockDoor(t *testing.T, method, address, token, kind, body string) doorAnswer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", kind)
	if kind == "application/json" {
		for name, value := range map[string]string{"specversion": "1.0", "id": "binary", "source": "/crm", "type": "lead.created"} {
			req.Header.Set("ce-"+name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return doorAnswer{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return doorAnswer{}
	}
	a := doorAnswer{status: resp.StatusCode, retry: resp.Header.Get("Retry-After"), body: string(b)}
	if len(b) > 0 && json.Unmarshal(b, &a) != nil {
		t.Fatalf("got %d %s, want JSON", a.status, b)
	}
	return a
}

const (
	oneEvent  = "application/cloudevents+json"
	manyEvent = "application/cloudevents-batch+json"
)

// From a POST to the call and back to its state, in each mode, for a publisher of
// one lane and for one of all; and never twice.
func TestDoorFromPostToCall(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	address := gatewayPort(t)
	file := p.file(t, "crm.token", crmToken)
	p.env["DOOR"] = doorToken
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}, publishers: [{name: crm, token: {file: %q}, lanes: [sales]}]}\nembedded:", address, file))
	contains(t, p.weir(t, "check"), "events are taken at "+address+"/events from gateway.token (sales, support); crm (sales)\n", address+" can be listened on\n")
	stop := p.serve(t, "sales", "support")
	defer func() { stop() }()
	base := "http://" + address
	send := func(path, token, kind, body string) doorAnswer {
		t.Helper()
		return knockDoor(t, "POST", base+path, token, kind, body)
	}
	taken := func(path, token, kind, body string) (a doorAnswer) {
		t.Helper()
		await(t, patience, "202", func() bool {
			a = send(path, token, kind, body)
			return a.status == 202
		})
		return a
	}
	const data = `{"id":"3","phone":"+14155550103"}`
	batch := "[" + lead("4", "+14155550104", "") + "," + lead("5", "+14155550105", `"weirlane":"support",`) + "]"
	for range 2 {
		structured := taken("/events/sales", crmToken, oneEvent, lead("1", "+14155550101", ""))
		byLane := taken("/events", doorToken, oneEvent, lead("2", "+14155550102", `"weirlane":"support",`))
		binary := taken("/events/sales", crmToken, "application/json", data)
		batch := taken("/events/support", doorToken, manyEvent, batch)
		if len(batch.Events) != 2 || structured.Intent != consumer.Key("sales", "/crm", "1") {
			t.Errorf("got %s and %s", batch.body, structured.body)
		}
		await(t, patience, "the calls to end", func() bool {
			for _, place := range []string{structured.Location, byLane.Location, binary.Location} {
				a := knockDoor(t, "GET", base+place, doorToken, "", "")
				if strings.Contains(a.body, "415555010") {
					t.Fatalf("it tells too much: %s", a.body)
				}
				if a.State != "ended" || !a.Settled || a.Conversation == "" || len(a.Timeline) < 3 {
					return false
				}
			}
			return len(p.sim.Conversations()) == 5
		})
	}
	if got := len(p.sim.Conversations()); got != 5 {
		t.Errorf("conversations: got %d, want 5", got)
	}
	for path, want := range map[string]int{
		"/events?source=/crm&id=1": 200, "/events?source=/crm&id=5&lane=support": 404, "/events?source=/crm&id=5": 404,
		"/events/" + consumer.Key("support", "/crm", "5"): 404,
	} {
		if a := knockDoor(t, "GET", base+path, crmToken, "", ""); a.status != want {
			t.Errorf("%s: got %d %s, want %d", path, a.status, a.body, want)
		}
	}
	if a := send("/events/support", crmToken, oneEvent, lead("9", "+14155550109", "")); a.status != 404 {
		t.Errorf("another's lane: got %d", a.status)
	}

	// What the lane would make a dead letter is refused, and makes none.
	for _, body := range []string{lead("6", "", `"subject":"",`), `{"specversion":"0.3"}`, strings.Replace(lead("7", "+14155550107", ""), "lead.created", "lead.lost", 1), strings.Replace(lead("8", "", ""), `{"id":"8"}`, "{}", 1)} {
		if a := send("/events/sales", crmToken, oneEvent, body); a.status/100 != 4 || a.Detail == "" {
			t.Errorf("%s: got %d %s, want a refusal", body, a.status, a.body)
		}
	}
	if got := p.weir(t, "dead", "list", "--output", "json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("dead letters: got %s, want none", got)
	}

	// While a lane is paused its events are taken, and queued.
	await(t, patience, "the pause", func() bool {
		return strings.Contains(p.weir(t, "lane", "pause", "sales", "--reason", "test"), "has seen it")
	})
	queued := taken("/events/sales", crmToken, oneEvent, lead("10", "+14155550110", ""))
	await(t, patience, "the event to be queued", func() bool {
		return knockDoor(t, "GET", base+queued.Location, crmToken, "", "").State == "queued"
	})
	withdrawn := taken("/events/sales", crmToken, oneEvent, lead("11", "+14155550111", ""))
	for _, path := range []string{withdrawn.Location, "/events?source=/crm&id=11", "/events/" + withdrawn.Intent} {
		if a := knockDoor(t, "DELETE", base+path, crmToken, "", ""); a.status != 200 || a.State != "cancelled" || !a.Settled || a.Intent != withdrawn.Intent {
			t.Errorf("DELETE %s: got %d %s, want it withdrawn", path, a.status, a.body)
		}
	}
	p.weir(t, "lane", "resume", "sales")
	await(t, patience, "the queued event", func() bool { return len(p.sim.Conversations()) == 6 })
	if a := knockDoor(t, "DELETE", base+queued.Location, crmToken, "", ""); a.status != 409 || a.Detail == "" {
		t.Errorf("DELETE of what was sent: got %d %s, want 409", a.status, a.body)
	}

	// A token is changed while weir runs.
	if err := os.WriteFile(file, []byte(crmToken+"-new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the new token", func() bool {
		return send("/events/sales", crmToken+"-new", oneEvent, lead("1", "+14155550101", "")).status == 202
	})
	if a := send("/events/sales", crmToken, oneEvent, lead("1", "+14155550101", "")); a.status != 401 {
		t.Errorf("the old token: got %d, want 401", a.status)
	}
	stop()
	stop = func() {}
	if a := knockDoor(t, "GET", base+"/events", doorToken, "", ""); a.status != 0 {
		t.Errorf("after the end: got %d", a.status)
	}
	if got := len(p.sim.Conversations()); got != 6 {
		t.Errorf("conversations: got %d, want 6", got)
	}
}

// brokerThrough is a broker that is reached through a proxy.
func brokerThrough(t *testing.T, s *service) (*chaos.Proxy, *broker.Broker) {
	t.Helper()
	u, err := url.Parse(s.embedded.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := chaos.NewProxy(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, proxy.Run))
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: "nats://" + proxy.Addr(), Token: s.embedded.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return proxy, b
}

// doorThrough is a door whose broker is reached through a proxy.
func doorThrough(t *testing.T, p *plant, s *service) (proxy *chaos.Proxy, base string) {
	t.Helper()
	proxy, b := brokerThrough(t, s)
	l, err := openLedger(t.Context(), b.JetStream(), ledger.DefaultBudget)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	door := (&service{cfg: cfg, broker: b, ledger: l}).door()
	door.Patience = 2 * time.Second
	srv := httptest.NewServer(gateway.New(zerolog.Nop(), nil, gateway.Config{Door: door}).Handler())
	t.Cleanup(srv.Close)
	return proxy, srv.URL
}

// The broker's word is lost after it has stored the event: no yes, and the retry
// is the same event. The broker is away: no yes either.
func TestDoorWhereTheBrokersWordIsLost(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.env["DOOR"] = doorToken
	p.edit(t, "embedded:", "gateway: {listen: '127.0.0.1:0', token: {env: DOOR}}\nembedded:")
	s := p.broker(t)
	proxy, base := doorThrough(t, p, s)
	one, batch := lead("1", "+14155550101", ""), "["+lead("2", "", "")+","+lead("1", "+14155550101", "")+"]"
	send := func(kind, body string) doorAnswer {
		return knockDoor(t, "POST", base+"/events", doorToken, kind, body)
	}
	noYes := func(kind, body string) {
		t.Helper()
		if a := send(kind, body); a.status != 503 || a.retry == "" || a.Location != "" {
			t.Errorf("got %d, Retry-After %q, %s; want 503", a.status, a.retry, a.body)
		}
	}
	proxy.Set(chaos.Mode{Kind: chaos.KindHalfOpen})
	await(t, patience, "the event that was stored without a yes", func() bool { // unless the time was over before it was sent
		noYes(oneEvent, one)
		return len(contents(t, s, broker.StreamEvents)) == 1
	})
	proxy.Set(chaos.Mode{Kind: chaos.KindBlackhole})
	noYes(oneEvent, one)
	noYes(manyEvent, batch)
	intent := consumer.Key("sales", "/crm", "1")
	if a := knockDoor(t, "GET", base+"/events/"+intent+"?at=1", doorToken, "", ""); a.status != 503 || a.retry == "" {
		t.Errorf("its state, of a broker that is away: got %d %s, want 503", a.status, a.body)
	}
	proxy.Set(chaos.Mode{})
	proxy.Reset()
	var yes doorAnswer
	await(t, patience, "the broker", func() bool {
		yes = send(oneEvent, one)
		return yes.status == 202
	})
	if !yes.Duplicate || yes.Location != "/events/"+intent+"?at=1&lane=sales" {
		t.Errorf("the retry: got %s, want the first one's place", yes.body)
	}
	await(t, patience, "the batch", func() bool { return send(manyEvent, batch).status == 202 })
	var got []string
	for _, m := range contents(t, s, broker.StreamEvents) {
		got = append(got, m.Subject+" "+m.Header.Get("Nats-Msg-Id")[:len(intent)])
	}
	want := []string{"weir.events.sales " + intent, "weir.events.sales " + consumer.Key("sales", "/crm", "2")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events stored (-want +got):\n%s", diff)
	}
	await(t, patience, "its state", func() bool {
		return knockDoor(t, "GET", base+yes.Location, doorToken, "", "").State == "queued"
	})
}

// What is too large for the broker, and what the lane has no room for, is told
// apart.
func TestDoorRefusedByTheBroker(t *testing.T) {
	t.Parallel()
	s := newPlant(t, "sales").broker(t)
	js := s.broker.JetStream()
	stream, err := js.Stream(t.Context(), broker.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgsPerSubject = 1
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		size int
		want error
	}{{2 << 20, gateway.ErrTooLarge}, {1 << 10, nil}, {1 << 10, gateway.ErrFull}} {
		e := event.New()
		e.SetID(fmt.Sprint(i))
		e.SetSource("/crm")
		if _, _, err := (doorQueue{s.broker}).Publish(t.Context(), "sales", e, nil, make([]byte, tc.size)); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("event %d: got %v, want %v", i, err, tc.want)
		}
	}
}

// An event of high priority goes before the others, and is found there; another
// word is refused.
func TestDoorPriority(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.env["DOOR"] = doorToken
	p.edit(t, "embedded:", "gateway: {listen: '127.0.0.1:0', token: {env: DOOR}}\nembedded:")
	s := p.broker(t)
	_, base := doorThrough(t, p, s)
	var high doorAnswer
	await(t, patience, "202", func() bool {
		high = knockDoor(t, "POST", base+"/events", doorToken, oneEvent, lead("1", "+14155550101", `"priority":"high",`))
		return high.status == 202
	})
	await(t, patience, "its state", func() bool {
		return knockDoor(t, "GET", base+high.Location, doorToken, "", "").State == "queued"
	})
	a := knockDoor(t, "POST", base+"/events", doorToken, oneEvent, lead("2", "+14155550102", `"priority":"urgent",`))
	if a.status != 400 || !strings.Contains(a.body, `"pointer":"/priority"`) || !strings.Contains(a.Detail, "only be high") {
		t.Errorf("another word: got %d %s, want 400", a.status, a.body)
	}
	var got []string
	for _, m := range contents(t, s, broker.StreamEvents) {
		got = append(got, m.Subject)
	}
	if diff := cmp.Diff([]string{"weir.events.sales.high"}, got); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}

func TestCheckOfTheGateway(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.edit(t, "embedded:", "gateway: {listen: '127.0.0.1:0'}\nembedded:")
	contains(t, p.weir(t, "check"), "no events are taken over HTTP: there are no publishers and no token\n")
	for _, name := range []string{"cert.pem", "key.pem"} {
		p.file(t, name, "no certificate")
	}
	p.env["DOOR"] = doorToken
	p.edit(t, "listen: '127.0.0.1:0'", "listen: '192.0.2.1:8090', token: {env: DOOR}, tls: {cert: cert.pem, key: key.pem}")
	printed, code := p.refused(t, "2 of", "check")
	contains(t, printed, "192.0.2.1:8090 cannot be listened on", "give an address of this machine's own", "the certificate cannot be used")
	if code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
}

// curl is a command line of curl as an HTTP request: the flags that the README
// uses, and no others.
func curl(t *testing.T, dir, line string, env map[string]string) *http.Request {
	t.Helper()
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 { // in quotes
			words = append(words, os.Expand(part, func(name string) string { return env[name] }))
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", words[2], http.NoBody)
	if err != nil || words[0] != "curl" || words[1] != "-i" {
		t.Fatalf("%q: %v", words, err)
	}
	for i := 3; i+1 < len(words); i += 2 {
		switch words[i] {
		case "-H":
			name, value, _ := strings.Cut(words[i+1], ": ")
			req.Header.Set(name, value)
		case "-d":
			b, err := os.ReadFile(filepath.Join(dir, strings.TrimPrefix(words[i+1], "@")))
			if err != nil {
				t.Fatal(err)
			}
			req.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(b), "\n", ""))) // as -d does
		default:
			t.Fatalf("curl %s is not known here", words[i])
		}
	}
	return req
}

// TestReadmeCurl sends what the README says over HTTP, and asks what became of it.
func TestReadmeCurl(t *testing.T) {
	t.Parallel()
	s := newStranger(t)
	s.serve(t, "examples/weir.yaml", "weir-data")
	line := ""
	for l := range strings.Lines(s.text) {
		if strings.HasPrefix(l, "curl ") {
			line = strings.ReplaceAll(strings.TrimSpace(l), readmeGateway, s.gateway)
		}
	}
	var a doorAnswer
	await(t, patience, "202", func() bool {
		resp, err := http.DefaultClient.Do(curl(t, s.dir, line, s.env))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return false // the broker was too slow: the same event may come again
		}
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != 202 || resp.Header.Get("Location") != a.Location {
			t.Fatalf("got %d, %+v, %v; want 202", resp.StatusCode, a, err)
		}
		return true
	})
	await(t, patience, "the call", func() bool {
		a := knockDoor(t, "GET", "http://"+s.gateway+a.Location, s.env["WEIR_GATEWAY_TOKEN"], "", "")
		return a.State == "created" || a.State == "ended"
	})
	if got := made(t, s.dir); len(got) != 1 || got[consumer.Key("acme-sales", "/crm/acme", "lead-4711")] != 1 {
		t.Errorf("conversations: got %v, want the README's event", got)
	}
}
