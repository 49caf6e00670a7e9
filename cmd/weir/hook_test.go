package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

const hookSecret = "0123456789abcdef.hook"

var (
	firstPort = rand.Uint32N(10_000)
	ports     atomic.Uint32 // that gatewayPort has tried
)

// gatewayPort returns a loopback address that nobody uses, that the system gives
// to nobody else by itself, and no other test of this process is given.
func gatewayPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+(firstPort+ports.Add(1))%10_000)
		if ln, err := net.Listen("tcp", address); err == nil {
			_ = ln.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// TestH13WebhooksUnderKill9 kills weir again and again while webhooks come late,
// twice, out of order, under another id and never, and answers are hidden. The
// provider would take four times the limit. Nobody is called twice, the limit
// holds, each end is told once, and webhooks settle doubts.
func TestH13WebhooksUnderKill9(t *testing.T) {
	t.Parallel()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	address := gatewayPort(t)
	k := newKilledWith(t,
		fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\ngateway: {listen: %q}\n", e.URL(), address),
		e.Token().Reveal(), "    webhook: {secret: {env: HOOK}}\n",
		simulator.Config{
			Limit:  20,
			Faults: simulator.Faults{Shuffle: .3, Accepted500: .1, Cut: .1, Reset: .1},
			Webhooks: simulator.Webhooks{
				URL:   "http://" + address + "/hooks/provider/acme/" + hookSecret,
				Never: .2, Late: .2, LateBy: 2 * time.Second, Twice: .4, Disorder: .4, Prefixed: .2,
			},
		})
	k.env["HOOK"] = hookSecret
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	open := make(map[string]bool)
	for i := range 3 {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		if i == 0 {
			k.awaitStreams(t, b)
			k.publish(t, b, 100)
		}
		elapse(t, 9*time.Second)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		k.open(t, b, open)
	}
	child(t, k.env, "serve", "-c", k.yaml)
	k.settle(t, b)
	k.check(t, b, open)
	k.checkEnds(t, b)
}

// checkEnds compares the outcomes with the ledger, and requires that a webhook
// settled a doubt: with a tenth of the answers hidden in three ways, and most
// webhooks coming, one of many.
func (k *killed) checkEnds(t *testing.T, b *broker.Broker) {
	t.Helper()
	var told map[string]int
	states := k.states(t, b)
	await(t, patience, "late webhooks to change nothing any more", func() bool {
		before := states
		told = outcomesOf(t, b, "ended")
		states = k.states(t, b)
		for key, in := range states {
			if in.State == consumer.Ended && told[key] == 0 { // it is told after it is written down
				return false
			}
		}
		return cmp.Equal(before, states)
	})
	settled := 0
	for key, in := range states {
		if want := map[bool]int{true: 1}[in.State == consumer.Ended]; told[key] != want {
			t.Errorf("%s is %s, and its end was told %d times", in.ID, in.State, told[key])
		}
		doubted := false
		for _, line := range in.History {
			doubted = doubted || line.State == consumer.Doubt
		}
		if doubted && in.State == consumer.Ended {
			settled++
		}
	}
	if settled == 0 {
		t.Error("no webhook settled a doubt")
	}
	hooks := k.sim.Report().Webhooks
	if hooks["taken"] == 0 || hooks["never"] == 0 || hooks["twice"] == 0 || hooks["late"] == 0 {
		t.Errorf("webhooks: got %v, want some of each kind", hooks)
	}
	t.Logf("webhooks settled %d doubts; %v", settled, hooks)
}

// outcomesOf counts the outcomes of a kind by intent.
func outcomesOf(t *testing.T, b *broker.Broker, kind string) map[string]int {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), broker.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]int)
	info := s.CachedInfo().State
	for seq := max(info.FirstSeq, 1); seq <= info.LastSeq; seq++ { // both are 0 before the first
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		var data consumer.OutcomeData
		if err := json.Unmarshal(outcomeData(m), &data); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(m.Subject, "."+kind) {
			told[data.Intent]++
		}
	}
	return told
}

// hooked is a plant whose lane hears webhooks, with its weir serve.
type hooked struct {
	*plant
	address string
	log     *syncBuffer
	stop    func()
}

func newHooked(t *testing.T, faults simulator.Faults) *hooked {
	t.Helper()
	h := &hooked{address: gatewayPort(t), log: &syncBuffer{}}
	h.plant = newPlantOf(t, simulator.Config{
		Faults: faults, Webhooks: simulator.Webhooks{URL: h.hook(hookSecret), Tries: 60}, // weir may stand still
	}, "sales")
	h.env["HOOK"] = hookSecret
	h.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q}\nembedded:", h.address))
	h.edit(t, "    account: acme\n", "    account: acme\n    webhook: {secret: {env: HOOK}}\n")
	contains(t, h.weir(t, "check"), "webhooks are heard at "+h.address+"/hooks/provider/sales/<its secret>\n")
	h.stop = background(t, func(ctx context.Context) error {
		return run(ctx, []string{"serve", "-c", h.yaml, "--log-level", "debug"}, strings.NewReader(""), io.Discard, h.log, func(name string) string { return h.env[name] })
	})
	await(t, patience, "the gateway", func() bool {
		return h.send(t, "GET", "x", "") == http.StatusMethodNotAllowed
	})
	return h
}

func (h *hooked) hook(secret string) string {
	return "http://" + h.address + "/hooks/provider/sales/" + secret
}

// send sends a request to the lane's address with a secret, and returns the
// answer's status; 0 if there is none.
func (h *hooked) send(t *testing.T, method, secret, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.hook(secret), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// show is what weir doubt show says of the lead's event.
func (h *hooked) show(t *testing.T, id string) shown {
	t.Helper()
	stdout, _, err := weir(t.Context(), h.env, "doubt", "show", consumer.Key("sales", "/crm", id), "--output", "json", "-c", h.yaml)
	if err != nil {
		return shown{}
	}
	return decoded[shown](t, stdout)
}

// A call whose answer was lost is found by its webhook, and nobody is asked.
func TestH10AWebhookSettlesADoubtOverHTTP(t *testing.T) {
	t.Parallel()
	h := newHooked(t, simulator.Faults{Accepted500: 1})
	h.weir(t, "publish", h.file(t, "a.ndjson", lead("1", "+14155550101", "")))
	await(t, patience, "the webhook to settle the doubt", func() bool { return h.show(t, "1").State == consumer.Ended })
	h.stop()
	if made := h.sim.Conversations(); len(made) != 1 {
		t.Errorf("conversations: got %d, want 1", len(made))
	}
	timeline := h.log.String()
	contains(t, timeline, "conversation found", "conversation ended")
	for _, secret := range []string{hookSecret, "+14155550101", "5550101"} {
		if strings.Contains(timeline, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// A forged webhook leaves the doubt, and is shown to the person who settles it.
func TestH13AForgedWebhookIsShownBesideTheDoubt(t *testing.T) {
	t.Parallel()
	h := newHooked(t, simulator.Faults{})
	if err := h.sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		t.Fatal(err)
	}
	h.weir(t, "publish", h.file(t, "a.ndjson", lead("1", "+14155550101", "")))
	await(t, patience, "the doubt", func() bool { return h.show(t, "1").State == consumer.Doubt })
	h.sim.ClearOutage()
	order := fmt.Sprintf(`{"conversation":"conv_9","intent":%q,"attempt":1}`, consumer.Key("sales", "/crm", "1"))
	resp, err := http.Post(strings.TrimSuffix(h.url, "/api/v2")+"/simulator/webhook", "application/json", strings.NewReader(order))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	await(t, patience, "what the webhook named", func() bool { return len(h.show(t, "1").Named) == 1 })
	contains(t, h.weir(t, "doubt", "show", "1"), "named conversation conv_9: the provider does not know it under this id", "doubt")

	for body, want := range map[string]int{
		`{"eventType":"conversation.completed","payload":{"id":"c"}}`:                                           202,
		`{"eventType":"conversation.completed","payload":{"id":"c","dynamicVariables":{"weir_intent":">"}}}`:    202,
		`{"eventType":"conversation.completed","payload":{"id":"c","dynamicVariables":{"weir_intent":"a.b*"}}}`: 202,
		`{"eventType":"x"}`: 200,
		`[]`:                400,
	} {
		if got := h.send(t, "POST", hookSecret, body); got != want {
			t.Errorf("%s: got %d, want %d", body, got, want)
		}
		if got := h.send(t, "POST", hookSecret+"x", body); got != 404 {
			t.Errorf("with a wrong secret: got %d, want 404", got)
		}
	}
	h.stop()
	if strings.Contains(h.log.String(), hookSecret) {
		t.Error("the log holds the secret")
	}
}

// What an owner says of a webhook reaches whoever passed it on.
func TestAWebhookThatIsPassedOnIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	for _, want := range []error{nil, consumer.ErrHeard, consumer.ErrUnknown, consumer.ErrNoWebhook, consumer.ErrLater} {
		if got := answered(want).err(); !errors.Is(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if got := answered(errors.New("the broker is away")).err(); !errors.Is(got, consumer.ErrLater) {
		t.Errorf("got %v, want %v", got, consumer.ErrLater)
	}
}
