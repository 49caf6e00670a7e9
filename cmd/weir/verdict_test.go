package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/internal/simulator"
)

// TestH1VerdictsAreTrue asks the simulator at its worst for thousands of
// conversations and holds each verdict against its log: what was made is
// created or in doubt, never "not created"; what is created was made, once.
func TestH1VerdictsAreTrue(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			verdictsAreTrue(t, seed)
		})
	}
}

func verdictsAreTrue(t *testing.T, seed uint64) {
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{
		Limit: 10, Scale: 2000, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
		Faults: faults("worst"), Latency: time.Millisecond, DNDSuffix: "7",
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, func(ctx context.Context) error { return sim.Serve(ctx, ln) }))
	client, err := oration.New(zerolog.Nop(), oration.Config{
		URL: "http://" + ln.Addr().String() + "/api/v2", APIKey: "k", WorkspaceID: "w", Timeout: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	verdicts := make(map[string]consumer.Result)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			for n := range 200 {
				items := someItems(t, client, r, worker, n)
				answer := client.Create(t.Context(), consumer.Batch{
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
	for _, conv := range sim.Conversations() {
		if _, twice := made[conv.Intent]; twice {
			t.Errorf("%s was made twice by one request", conv.Intent)
		}
		made[conv.Intent] = conv
	}
	for intent, result := range verdicts {
		conv, ok := made[intent]
		switch {
		case result.Verdict == consumer.VerdictCreated && conv.ID != result.Conversation:
			t.Errorf("%s: created as %q, made as %q", intent, result.Conversation, conv.ID)
		case ok && result.Verdict != consumer.VerdictCreated && result.Verdict != consumer.VerdictDoubt:
			t.Errorf("%s was made (fault %q) but is %v: %s", intent, conv.Fault, result.Verdict, result.Reason)
		}
	}
}

// someItems are one to six leads with numbers of their own.
func someItems(t *testing.T, client *oration.Client, r *rand.Rand, worker, n int) []consumer.Item {
	t.Helper()
	items := make([]consumer.Item, 1+r.IntN(6))
	for i := range items {
		request, err := client.Prepare(map[string]any{
			"agentId": "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7", "conversationType": "telephony",
			"toPhoneNumber": fmt.Sprintf("+1415%d%04d%d%d", worker+2, n, i, r.IntN(10)),
		})
		if err != nil {
			t.Error(err)
		}
		items[i] = consumer.Item{Intent: fmt.Sprintf("%d-%d-%d", worker, n, i), Attempt: 1, Request: request}
	}
	return items
}
