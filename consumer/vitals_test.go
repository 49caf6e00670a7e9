package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// vitals returns what the engine says of its account and of the lane l.
func vitals(t *testing.T, p *process) (consumer.AccountStatus, consumer.LaneVitals) {
	t.Helper()
	all := p.engine.Vitals()
	if len(all) != 1 || len(all[0].Lanes) != 1 || all[0].Lanes[0].Lane != "l" {
		t.Fatalf("vitals: got %+v, want one account with the lane l", all)
	}
	return all[0], all[0].Lanes[0]
}

func TestVitalsCountWhatWaitsByCause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		closed           time.Duration
		given, postponed map[string]int
	}{
		{2 * time.Minute, map[string]int{consumer.CauseWindow: 3}, map[string]int{}},
		{3 * time.Hour, map[string]int{}, map[string]int{consumer.CauseWindow: 3}},
	} {
		t.Run(tt.closed.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				began := time.Now()
				w.hours = closedFor(tt.closed)
				for _, id := range []string{"0001", "0002", "0003"} {
					w.lead(id)
				}
				p := w.start(t, &process{}, calmly)
				time.Sleep(time.Minute)
				if len(tt.postponed) > 0 { // the next one finds them in the ledger
					p.stop(t)
					p = w.start(t, &process{}, calmly)
					time.Sleep(30 * time.Second)
				}
				_, v := vitals(t, p)
				if diff := cmp.Diff(tt.given, v.GivenBack); diff != "" {
					t.Errorf("given back (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.postponed, v.Postponed); diff != "" {
					t.Errorf("postponed (-want +got):\n%s", diff)
				}
				// The sweep that counts anew, an hour after each other one, is still to come.
				time.Sleep(time.Until(began.Add(tt.closed + 30*time.Second)))
				_, v = vitals(t, p)
				if n := len(v.GivenBack) + v.Postponed[consumer.CauseWindow]; n != 0 {
					t.Errorf("after the window has opened: got %v and %v, want nothing", v.GivenBack, v.Postponed)
				}
				p.stop(t)
			})
		})
	}
}

func TestVitalsTellSlotsAndCause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		w.lead("0001")
		w.lead("0002")
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 1 })
		time.Sleep(5 * time.Second)
		a, v := vitals(t, p)
		want := consumer.PoolStatus{Used: 1, Limit: 1, Cause: consumer.CauseSlot}
		if len(a.Pools) != 1 || a.Pools[0].Used != want.Used || a.Pools[0].Limit != want.Limit || a.Pools[0].Free != 0 || a.Pools[0].Cause != want.Cause {
			t.Errorf("slots: got %+v, want %+v", a.Pools, want)
		}
		if a.Breaker != "closed" || v.Cause != consumer.CauseSlot || v.State != "waiting" {
			t.Errorf("got breaker %q, cause %q, state %q; want closed, slot, waiting", a.Breaker, v.Cause, v.State)
		}
		p.engine.SetPause("l", &consumer.Pause{By: "me", Reason: "lunch"})
		if _, v := vitals(t, p); v.Cause != consumer.CausePaused {
			t.Errorf("a paused lane: got cause %q, want paused", v.Cause)
		}
		p.engine.SetHold("l", &consumer.Pause{By: "weir", Reason: "lost"})
		if _, v := vitals(t, p); v.Cause != consumer.CauseHeld {
			t.Errorf("a held lane: got cause %q, want held", v.Cause)
		}
		p.engine.SetHold("l", nil)
		p.engine.SetPause("l", nil)
		time.Sleep(10 * time.Minute)
		if a, v := vitals(t, p); a.Pools[0].Used != 0 || v.Cause != "" {
			t.Errorf("an idle lane: got %d slots, cause %q; want none", a.Pools[0].Used, v.Cause)
		}
		p.stop(t)
		if len(w.made) != 2 {
			t.Errorf("created: got %d, want 2", len(w.made))
		}
	})
}

// Each cause is told apart, and is a word that may stand in a label.
func TestCausesAreWords(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, c := range consumer.Causes() {
		if c == "" || seen[c] {
			t.Errorf("cause %q stands twice or is empty", c)
		}
		seen[c] = true
	}
}

// The cause is that of now: a provider that refused the credentials and then went away
// is away.
func TestTheCauseIsThatOfTheNewestProbe(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = always(consumer.VerdictUnauthorized, "401", 401)
		w.lead("0001")
		trouble := consumer.ErrUnauthorized
		p := w.oddly(t, &process{}, func(context.Context, string) (_ consumer.Conversation, err error, _ bool) {
			w.do(func() { err = trouble })
			return consumer.Conversation{}, err, true
		}, nil)
		for _, step := range []struct {
			err         error
			cause, says string
		}{
			{consumer.ErrUnauthorized, consumer.CauseUnauthorized, "refuses the credentials"},
			{errors.New("connection refused"), consumer.CauseBreaker, "connection refused"},
			{consumer.ErrUnauthorized, consumer.CauseUnauthorized, "refuses the credentials"},
		} {
			w.do(func() { trouble = step.err })
			time.Sleep(time.Minute)
			if s := status(t, p); s.Cause != step.cause || !strings.Contains(s.Why, step.says) {
				t.Errorf("with %v: got cause %q, why %q; want %q, %q", step.err, s.Cause, s.Why, step.cause, step.says)
			}
		}
		p.stop(t)
	})
}
