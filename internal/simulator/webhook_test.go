package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/simulator"
)

// hook is a webhook as it arrived.
type hook struct {
	EventID, EventType string
	Payload            struct{ ID, ConversationStatus, DynamicVariables, ToPhoneNumber string }
}

// hearer collects webhooks, and answers them with the status of the moment.
type hearer struct {
	mu     sync.Mutex
	heard  []hook
	status int
}

func (h *hearer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var got hook
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Method != "POST" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.heard = append(h.heard, got)
	w.WriteHeader(h.status)
}

func (h *hearer) all() []hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]hook(nil), h.heard...)
}

// serveHooks serves a simulator on a listener of its own, with a hearer.
func serveHooks(t *testing.T, status int, hooks simulator.Webhooks) (*simulator.Simulator, *hearer, string) {
	t.Helper()
	h := &hearer{status: status}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	hooks.URL = srv.URL + "/hooks"
	sim := newSimulator(t, simulator.Config{Scale: 10_000, Webhooks: hooks})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sim.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return sim, h, "http://" + ln.Addr().String()
}

// call makes n conversations.
func call(t *testing.T, base string, n int) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"conversations": phones(0, n)})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/api/v2/conversations", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer any")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("create: got %d", resp.StatusCode)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		tick := time.NewTimer(5 * time.Millisecond)
		<-tick.C
	}
}

func TestWebhooksTellOfEachEnd(t *testing.T) {
	t.Parallel()
	sim, h, base := serveHooks(t, 200, simulator.Webhooks{Delay: time.Millisecond})
	call(t, base, 3)
	until(t, "two webhooks a call", func() bool { return sim.Report().Webhooks["taken"] == 6 })
	byID := map[string][]string{}
	for _, got := range h.all() {
		byID[got.Payload.ID] = append(byID[got.Payload.ID], got.EventType)
		if got.Payload.ConversationStatus != "completed" || !strings.Contains(got.Payload.DynamicVariables, `"weir_intent":"intent-`) || got.EventID == "" {
			t.Errorf("got %+v, want a completed conversation that echoes its intent", got)
		}
	}
	for _, c := range sim.Conversations() {
		if fmt.Sprint(byID[c.ID]) != "[conversation.completed conversation.analysisCompleted]" {
			t.Errorf("%s: got %v, want both events in their order", c.ID, byID[c.ID])
		}
	}
}

func TestWebhooksAreAsUnreliableAsAsked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hooks simulator.Webhooks
		count string
		want  func([]hook) bool
	}{
		"never":    {simulator.Webhooks{Never: 1, Early: 1}, "early", func(all []hook) bool { return len(all) == 1 }},
		"twice":    {simulator.Webhooks{Twice: 1}, "twice", func(all []hook) bool { return len(all) == 4 }},
		"disorder": {simulator.Webhooks{Disorder: 1}, "disorder", func(all []hook) bool { return len(all) == 2 && all[0].EventType == "conversation.analysisCompleted" }},
		"late":     {simulator.Webhooks{Late: 1, LateBy: time.Millisecond}, "late", func(all []hook) bool { return len(all) == 2 }},
		"prefixed": {simulator.Webhooks{Prefixed: 1}, "taken", func(all []hook) bool {
			return len(all) == 2 && strings.HasPrefix(all[0].Payload.ID, "conv_")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.hooks.Delay = time.Millisecond
			sim, h, base := serveHooks(t, 200, tc.hooks)
			call(t, base, 1)
			// One is counted when its answer is back.
			until(t, "the webhooks, and "+tc.count+" counted", func() bool { return tc.want(h.all()) && sim.Report().Webhooks[tc.count] > 0 })
		})
	}
}

func TestAWebhookThatIsNotTakenComesAgain(t *testing.T) {
	t.Parallel()
	sim, h, base := serveHooks(t, 503, simulator.Webhooks{Delay: time.Millisecond, Tries: 2})
	call(t, base, 1)
	until(t, "both to be given up", func() bool { return sim.Report().Webhooks["given_up"] == 2 })
	if n := len(h.all()); n != 4 {
		t.Errorf("deliveries: got %d, want two events twice", n)
	}
}

func TestAForgedWebhookOnDemand(t *testing.T) {
	t.Parallel()
	_, h, base := serveHooks(t, 200, simulator.Webhooks{})
	resp, err := http.Post(base+"/simulator/webhook", "application/json", strings.NewReader(`{"conversation":"c-1","intent":"i-1","attempt":2}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	until(t, "the forged one", func() bool { return len(h.all()) == 1 })
	got := h.all()[0]
	if resp.StatusCode != 204 || got.Payload.ID != "c-1" || got.Payload.DynamicVariables != `{"weir_attempt":"2","weir_intent":"i-1"}` {
		t.Errorf("got %d and %+v", resp.StatusCode, got)
	}
}

func TestWebhooksStayOnThisMachine(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://example.com/", "ftp://127.0.0.1/", "127.0.0.1:80", "http://10.0.0.1/"} {
		if _, err := simulator.New(zerolog.Nop(), simulator.Config{Webhooks: simulator.Webhooks{URL: url}}); err == nil {
			t.Errorf("%s: got no error", url)
		}
	}
	if _, err := simulator.New(zerolog.Nop(), simulator.Config{Webhooks: simulator.Webhooks{Never: 2, Early: -1}}); err == nil {
		t.Error("shares beyond 1: got no error")
	}
}
