package simulator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

func TestOverflow(t *testing.T) {
	t.Parallel()
	for overflow, c := range map[string]struct {
		statuses []int // of 5 items for 3 slots
		results  int
		errors   int
		none     int // errors of a request that finds no slot
	}{
		simulator.OverflowWhole:   {[]int{429}, 0, 0, 0},
		simulator.OverflowPartial: {[]int{429}, 3, 2, 1},
		simulator.OverflowMulti:   {[]int{200, 207}, 3, 2, 1},
	} {
		t.Run(overflow, func(t *testing.T) {
			t.Parallel()
			seen := map[int]bool{}
			for seed := range uint64(12) {
				sim, url := newServer(t, simulator.Config{Limit: 3, Overflow: overflow, Seed: seed})
				got := post(t, url, phones(0, 5)...)
				a := decode[created](t, got.body)
				seen[got.status] = true
				if len(a.Results) != c.results || len(a.Errors) != c.errors {
					t.Fatalf("got %d results and %d errors, want %d and %d: %s", len(a.Results), len(a.Errors), c.results, c.errors, got.body)
				}
				if r := sim.Report(); r.Conversations != c.results || r.Live != c.results {
					t.Errorf("got %d made and %d live, want %d", r.Conversations, r.Live, c.results)
				}
				post(t, url, phones(5, 3-c.results)...)
				full := post(t, url, phone(9))
				b := decode[created](t, full.body)
				if full.status != 429 || len(b.Results) != 0 || len(b.Errors) != c.none || !strings.Contains(b.Message, "limit") {
					t.Errorf("got %d %s without a free slot, want 429 with %d errors", full.status, full.body, c.none)
				}
			}
			want := map[int]bool{}
			for _, s := range c.statuses {
				want[s] = true
			}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSlotsUnderConcurrency sends many creates at once: exactly the limit is
// made, never more, and every answer tells the truth.
func TestSlotsUnderConcurrency(t *testing.T) {
	t.Parallel()
	const limit = 50
	sim, url := newServer(t, simulator.Config{Limit: limit, Overflow: simulator.OverflowPartial})
	var mu sync.Mutex
	named := map[string]int{}
	full := 0
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			got, err := send(createRequest(t, url, batch(t, phones(3*i, 3)...)))
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range decode[created](t, got.body).ids() {
				named[id]++
			}
			if got.status == 429 {
				full++
			}
		})
	}
	wg.Wait()
	r := sim.Report()
	want := simulator.Report{
		Conversations: limit, Live: limit, Highest: limit, Limit: limit, Full: full,
		Requests: map[string]int{"create": 100}, Faults: map[string]int{}, Doubled: map[string]int{},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if len(named) != limit {
		t.Errorf("got %d conversations named by answers, want %d", len(named), limit)
	}
	for _, c := range sim.Conversations() {
		if named[c.ID] != 1 {
			t.Errorf("got conversation %s named %d times, want once", c.ID, named[c.ID])
		}
	}
}

// TestLimitHoldsOverTime keeps posting into full slots while calls end, and
// recounts from the proof how many were ever live at once.
func TestLimitHoldsOverTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulator(t, simulator.Config{Limit: 7, Overflow: simulator.OverflowPartial, Seed: 2})
		h := sim.Handler()
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 600 {
					r := httptest.NewRequest("POST", "/api/v2/conversations",
						strings.NewReader(fmt.Sprintf(`{"conversations":[{"agentId":%q,"conversationType":"web"}]}`, agent)))
					r.Header.Set("Authorization", "Bearer b")
					h.ServeHTTP(httptest.NewRecorder(), r)
					time.Sleep(time.Second + time.Duration(w*i)*time.Millisecond)
				}
			})
		}
		wg.Wait()
		all := sim.Conversations()
		highest := 0
		for _, c := range all {
			live := 0
			for _, other := range all {
				if !other.Created.After(c.Created) && other.Ends.After(c.Created) {
					live++
				}
			}
			highest = max(highest, live)
		}
		if got := sim.Report().Highest; got != 7 || highest > 7 {
			t.Errorf("got highest %d, recounted %d; want 7 and at most 7", got, highest)
		}
		if len(all) < 30 {
			t.Errorf("got %d conversations, want slots to be used again and again", len(all))
		}
	})
}

// TestSlotIsFreeAtTheEnd checks the very moment at which a slot is free again.
func TestSlotIsFreeAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulator(t, simulator.Config{Limit: 1})
		h := sim.Handler()
		status := func() int {
			return serve(t, h, "POST", "/api/v2/conversations", batch(t, phone(1))).Code
		}
		if got := status(); got != http.StatusOK {
			t.Fatalf("got %d, want 200", got)
		}
		end := sim.Conversations()[0].Ends
		time.Sleep(time.Until(end) - 10) // the latency of 1 ns counts too
		if got := status(); got != http.StatusTooManyRequests {
			t.Errorf("got %d just before the end, want 429", got)
		}
		time.Sleep(time.Until(end))
		if got := status(); got != http.StatusOK {
			t.Errorf("got %d at the end, want 200", got)
		}
		if got := sim.Report(); got.Live != 1 || got.Highest != 1 || got.Full != 1 {
			t.Errorf("got %+v, want 1 live, at most 1 at once, one 429", got)
		}
	})
}

// TestSameRequestTwice shows that nothing is idempotent, and that the report
// tells.
func TestSameRequestTwice(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	post(t, url, phone(1), phone(2))
	post(t, url, phone(1))
	if diff := cmp.Diff(map[string]int{"intent-1": 2}, sim.Report().Doubled); diff != "" {
		t.Errorf("doubled intents (-want +got):\n%s", diff)
	}
	var got []string
	for _, c := range sim.Conversations() {
		got = append(got, fmt.Sprintf("%s/%d %s %t %t %q", c.Intent, c.Attempt, c.Number, c.Agent == agent, c.Hidden, c.Fault))
	}
	want := []string{
		`intent-1/1 +14155550001 true false ""`,
		`intent-2/1 +14155550002 true false ""`,
		`intent-1/1 +14155550001 true false ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conversations (-want +got):\n%s", diff)
	}
}

func TestForeignVariablesAreNoIntent(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	item := with(phone(1), map[string]any{"dynamicVariables": map[string]any{"weir_attempt": "many"}})
	post(t, url, item, with(item, map[string]any{"dynamicVariables": nil}))
	for _, c := range sim.Conversations() {
		if c.Intent != "" || c.Attempt != 0 {
			t.Errorf("got intent %q and attempt %d, want none", c.Intent, c.Attempt)
		}
	}
	if got := sim.Report().Doubled; len(got) != 0 {
		t.Errorf("got doubled %v, want none", got)
	}
}
