package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema/openapitest"
)

// TestH1VerdictsAreTrue asks the simulators at their worst for thousands of
// conversations and holds each verdict against their logs: what was made is
// created or in doubt, never "not created"; what is created was made, once.
// Every request and every whole answer has to be one of the provider's API.
func TestH1VerdictsAreTrue(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		for _, judged := range []func(*testing.T, uint64) *judged{judgedOration, judgedAnyreach} {
			j := judged(t, seed)
			t.Run(fmt.Sprintf("%s/%d", j.sim.Provider(), seed), func(t *testing.T) {
				t.Parallel()
				verdictsAreTrue(t, j)
			})
		}
	}
}

// judged is a provider and the client that judges its answers.
type judged struct {
	seed   uint64
	sim    *simulator.Simulator
	client consumer.Provider
	most   int // items of a request
	// request is the n-th of a worker, the i-th of its batch.
	request func(r *rand.Rand, worker, n, i int) map[string]any
}

func judgedOration(t *testing.T, seed uint64) *judged {
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{
		Limit: 10, Scale: 2000, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
		Faults: faults("worst"), Latency: time.Millisecond, DNDSuffix: "7",
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := oration.New(zerolog.Nop(), oration.Config{
		URL: held(t, "oration", sim) + "/api/v2", APIKey: "k", WorkspaceID: "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a8", Timeout: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &judged{seed: seed, sim: sim, client: client, most: 6, request: func(r *rand.Rand, worker, n, i int) map[string]any {
		return map[string]any{
			"agentId": "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7", "conversationType": "telephony",
			"toPhoneNumber": fmt.Sprintf("+1415%d%04d%d%d", worker+2, n, i, r.IntN(10)),
		}
	}}
}

func judgedAnyreach(t *testing.T, seed uint64) *judged {
	sim, err := simulator.NewAnyreach(zerolog.Nop(), simulator.AnyreachConfig{
		Limit: 10, Scale: 2000, Seed: seed, Accepted: simulator.Mixed, Detail: simulator.Mixed, TextLimit: 20,
		Faults: faults("worst"), Latency: time.Millisecond, TooMany: .05, Tick: 100 * time.Millisecond, VisibleAfter: 50 * time.Millisecond, VisibleShare: .5,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := anyreach.New(zerolog.Nop(), anyreach.Config{URL: held(t, "anyreach", sim), Token: "ak_1.secret", Timeout: 300 * time.Millisecond, AnyNumber: true})
	if err != nil {
		t.Fatal(err)
	}
	return &judged{seed: seed, sim: sim, client: client, most: 1, request: func(r *rand.Rand, worker, n, i int) map[string]any {
		user := fmt.Sprintf("+1415%d%04d%d%d", worker+2, n, i, r.IntN(10))
		request := map[string]any{
			"channel": []string{"telephone", "email", "text", "webrtc"}[r.IntN(4)], "user_id": user, "agent_id": "agent",
			"initial_context": "VIP", "custom_metadata": map[string]any{"list": n, "deep": map[string]any{"x": []any{1, "2"}}},
		}
		if request["channel"] == "email" {
			request["to_address"], request["subject"] = "ana@example.com", "Hello"
		}
		if r.IntN(10) == 0 {
			request["agent_id"] = "unpublished-1"
		}
		return request
	}}
}

// held serves the simulator behind a guard that knows its API, and returns the
// address.
func held(t *testing.T, name string, sim *simulator.Simulator) string {
	t.Helper()
	api := openapitest.Load(t, "../../schema/"+name+".openapi.yaml")
	if name == "oration" {
		api = api.At("/api/v2")
	}
	srv := httptest.NewServer(api.Handler(t, sim.Handler()))
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

func verdictsAreTrue(t *testing.T, j *judged) {
	var mu sync.Mutex
	verdicts := make(map[string]consumer.Result)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(j.seed, uint64(worker)))
			for n := range 200 {
				items := j.items(t, r, worker, n)
				answer := j.client.Create(t.Context(), consumer.Batch{
					Items: items, Free: r.IntN(7), Permit: func() error { return nil },
				})
				mu.Lock()
				for i, result := range answer.Results {
					verdicts[items[i].Intent] = result
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	made := make(map[string]simulator.Conversation)
	for _, conv := range j.sim.Conversations() {
		if _, twice := made[conv.Intent]; twice {
			t.Errorf("%s was made twice by one request", conv.Intent)
		}
		made[conv.Intent] = conv
	}
	for intent, result := range verdicts {
		conv, ok := made[intent]
		switch {
		case result.Verdict == consumer.VerdictCreated && (!ok || conv.ID != result.Conversation):
			t.Errorf("%s: created as %q, made as %q", intent, result.Conversation, conv.ID)
		case ok && result.Verdict != consumer.VerdictCreated && result.Verdict != consumer.VerdictDoubt:
			t.Errorf("%s was made (fault %q) but is %v: %s", intent, conv.Fault, result.Verdict, result.Reason)
		}
	}
	if lister, ok := j.client.(consumer.Lister); ok {
		j.list(t, lister, made)
	}
}

// list holds what the list shows against the log: it may leave out, but what it
// shows was made and has ended as it says.
func (j *judged) list(t *testing.T, lister consumer.Lister, made map[string]simulator.Conversation) {
	t.Helper()
	shown := 0
	await(t, patience, "a list of half of them at least", func() bool { // the faults strike lists, too
		list, _ := lister.Conversations(t.Context(), time.Now().Add(-time.Hour))
		shown = max(shown, len(list))
		for _, conv := range list {
			if was, ok := made[conv.ID]; !ok || conv.Ended && was.Ends.After(time.Now()) {
				t.Errorf("%s is listed (ended: %v), made: %+v", conv.ID, conv.Ended, was)
			}
		}
		return shown >= len(made)/2
	})
}

// items are leads with numbers of their own.
func (j *judged) items(t *testing.T, r *rand.Rand, worker, n int) []consumer.Item {
	t.Helper()
	items := make([]consumer.Item, 1+r.IntN(j.most))
	for i := range items {
		request, err := j.client.Prepare(j.request(r, worker, n, i))
		if err != nil {
			t.Error(err)
		}
		intent := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%d-%d-%d", worker, n, i)).String()
		items[i] = consumer.Item{Intent: intent, Attempt: 1, Request: request}
	}
	return items
}
