package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/broker"
)

// doorUnderKill9 kills weir and its embedded broker so many times while load sends
// events to the address until its context ends. load returns the intents that were
// answered 202: each must be in the stream, and nobody may have been called twice.
func doorUnderKill9(t *testing.T, kills int, most time.Duration, load func(ctx context.Context, address string) (accepted []string)) {
	t.Helper()
	p := newPlant(t, "sales")
	address := gatewayPort(t)
	p.env["DOOR"] = doorToken
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}}\nembedded:", address))
	start := func() *exec.Cmd {
		cmd := child(t, p.env, "serve", "-c", p.yaml)
		await(t, patience, "the gateway", func() bool {
			return knockDoor(t, "GET", "http://"+address+"/events", doorToken, "", "").status != 0
		})
		return cmd
	}
	cmd := start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := make(chan []string, 1)
	go func() { said <- load(ctx, "http://"+address+"/events/sales") }()
	for range kills {
		elapse(t, most)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cmd = start()
	}
	elapse(t, most)
	var last string
	await(t, patience, "an event to be taken", func() bool {
		last = accept(ctx, "http://"+address+"/events/sales", "last")
		return last != ""
	})
	cancel()
	accepted := append(<-said, last)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	stored := make(map[string]bool)
	for _, m := range contents(t, p.broker(t), broker.StreamEvents) {
		intent, _, _ := strings.Cut(m.Header.Get("Nats-Msg-Id"), ".")
		stored[intent] = true
	}
	lost := 0
	for _, intent := range accepted {
		if !stored[intent] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d events were answered 202, %d of them are not in the stream", len(accepted), lost)
	}
	called := make(map[string]int)
	for _, c := range p.sim.Conversations() {
		if called[c.Intent]++; called[c.Intent] > 1 {
			t.Errorf("%s was called %d times", c.Intent, called[c.Intent])
		}
	}
	t.Logf("%d kills; %d events answered 202, %d stored, %d called", kills, len(accepted), len(stored), len(called))
}

// TestDoorUnderKill9 sends events from eight publishers at once.
func TestDoorUnderKill9(t *testing.T) {
	t.Parallel()
	doorUnderKill9(t, 4, 5*time.Second, func(ctx context.Context, address string) (accepted []string) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if intent := accept(ctx, address, fmt.Sprintf("%d-%d", worker, i)); intent != "" {
						mu.Lock()
						accepted = append(accepted, intent)
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		return accepted
	})
}

// accept sends one lead, and returns its intent if the answer, all of it, was 202.
func accept(ctx context.Context, address, id string) (intent string) {
	req, err := http.NewRequestWithContext(ctx, "POST", address, strings.NewReader(lead(id, "+14155550100", "")))
	if err != nil {
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+doorToken)
	req.Header.Set("Content-Type", oneEvent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var a struct{ Intent string }
	if resp.StatusCode != http.StatusAccepted || json.NewDecoder(resp.Body).Decode(&a) != nil {
		return ""
	}
	return a.Intent
}
