package ratelimiter_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/ratelimiter"
)

// report begins one request and ends it with r.
func report(t *testing.T, b *ratelimiter.Breaker, r ratelimiter.Result) {
	t.Helper()
	done, err := b.Begin(b.Due())
	if err != nil {
		t.Fatalf("Begin: got %v, want no error", err)
	}
	done(r)
}

// wantBreaker checks the state and the step that is due.
func wantBreaker(t *testing.T, b *ratelimiter.Breaker, state string, due ratelimiter.Step) {
	t.Helper()
	if gs, gd := b.State(), b.Due(); gs != state || gd != due {
		t.Errorf("got %s, %v due, want %s, %v", gs, gd, state, due)
	}
}

// opened returns a breaker that just opened.
func opened(t *testing.T, cfg ratelimiter.BreakerConfig) *ratelimiter.Breaker {
	t.Helper()
	b := ratelimiter.NewBreaker(cfg)
	report(t, b, ratelimiter.Fatal)
	wantBreaker(t, b, "open", ratelimiter.None)
	return b
}

func TestBreakerOpens(t *testing.T) {
	t.Parallel()
	const (
		ok      = ratelimiter.Success
		fail    = ratelimiter.Failure
		fatal   = ratelimiter.Fatal
		neutral = ratelimiter.Neutral
		unused  = ratelimiter.Unused
	)
	tests := []struct {
		name    string
		results []ratelimiter.Result
		want    string
	}{
		{"two failures", []ratelimiter.Result{fail, fail}, "closed"},
		{"three failures", []ratelimiter.Result{fail, fail, fail}, "open"},
		{"a success between", []ratelimiter.Result{fail, fail, ok, fail, fail}, "closed"},
		{"a neutral between is not seen", []ratelimiter.Result{fail, fail, neutral, unused, fail}, "open"},
		{"neutral for ever", []ratelimiter.Result{neutral, neutral, neutral, neutral, neutral}, "closed"},
		{"unauthorized", []ratelimiter.Result{ok, fatal}, "open"},
		{"a result that is none", []ratelimiter.Result{fail, fail, 0}, "open"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := ratelimiter.NewBreaker(ratelimiter.BreakerConfig{Failures: 3})
			for _, r := range tt.results {
				report(t, b, r)
			}
			wantBreaker(t, b, tt.want, ratelimiter.None)
			if _, err := b.Begin(ratelimiter.Trial); (tt.want == "open") != errors.Is(err, ratelimiter.ErrOpen) {
				t.Errorf("Begin while %s: got %v", tt.want, err)
			}
		})
	}
}

// H3, H23: half-open tries a request that changes nothing, then one event.
func TestBreakerHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		b := opened(t, ratelimiter.BreakerConfig{OnChange: func(from, to string) {
			changes = append(changes, from+" to "+to)
		}})
		time.Sleep(12*time.Second - 1)
		wantBreaker(t, b, "open", ratelimiter.None)
		time.Sleep(time.Nanosecond)
		if got := len(changes); got != 1 {
			t.Errorf("changes before anybody asked: got %d, want 1", got)
		}
		wantBreaker(t, b, "half-open", ratelimiter.Probe)

		probe, err := b.Begin(ratelimiter.Probe)
		if err != nil {
			t.Fatalf("probe: got %v, want no error", err)
		}
		wantBreaker(t, b, "half-open", ratelimiter.None)
		if _, err := b.Begin(ratelimiter.Trial); !errors.Is(err, ratelimiter.ErrOpen) {
			t.Errorf("a second request beside the probe: got %v, want ErrOpen", err)
		}
		probe(ratelimiter.Success)
		probe(ratelimiter.Success) // once is enough
		wantBreaker(t, b, "half-open", ratelimiter.Trial)
		report(t, b, ratelimiter.Unused) // there was no event
		wantBreaker(t, b, "half-open", ratelimiter.Trial)
		report(t, b, ratelimiter.Success)
		wantBreaker(t, b, "closed", ratelimiter.None)
		report(t, b, ratelimiter.Failure) // counted from the beginning
		wantBreaker(t, b, "closed", ratelimiter.None)

		want := []string{"closed to open", "open to half-open", "half-open to closed"}
		if diff := cmp.Diff(want, changes); diff != "" {
			t.Errorf("changes: (-want +got)\n%s", diff)
		}
	})
}

// A provider that answers "full" or "rejected" is well.
func TestBreakerNeutralClosesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, ratelimiter.BreakerConfig{Open: time.Second})
		time.Sleep(time.Second)
		report(t, b, ratelimiter.Neutral)
		wantBreaker(t, b, "half-open", ratelimiter.Trial)
		report(t, b, ratelimiter.Neutral)
		wantBreaker(t, b, "closed", ratelimiter.None)
	})
}

// Permissions that are given back cannot use up the half-open state.
func TestBreakerUnusedDoesNotWedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, ratelimiter.BreakerConfig{Open: time.Second})
		time.Sleep(time.Second)
		for range 10 {
			report(t, b, ratelimiter.Unused)
			wantBreaker(t, b, "half-open", ratelimiter.Probe)
		}
		report(t, b, ratelimiter.Success)
		for range 10 {
			report(t, b, ratelimiter.Unused)
			wantBreaker(t, b, "half-open", ratelimiter.Trial)
		}
	})
}

func TestBreakerFailureInHalfOpen(t *testing.T) {
	for _, r := range []ratelimiter.Result{ratelimiter.Failure, ratelimiter.Fatal} {
		for successes := range 2 {
			synctest.Test(t, func(t *testing.T) {
				b := opened(t, ratelimiter.BreakerConfig{Open: time.Second})
				time.Sleep(time.Second)
				for range successes {
					report(t, b, ratelimiter.Success)
				}
				report(t, b, r)
				wantBreaker(t, b, "open", ratelimiter.None)
				time.Sleep(time.Second)
				wantBreaker(t, b, "half-open", ratelimiter.Probe) // from the first step
			})
		}
	}
}

// A result that comes after the state changed says nothing about the new state.
func TestBreakerOlderGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := ratelimiter.NewBreaker(ratelimiter.BreakerConfig{Open: time.Second})
		var late []func(ratelimiter.Result)
		for range 3 {
			done, err := b.Begin(ratelimiter.Trial)
			if err != nil {
				t.Fatalf("Begin: got %v, want no error", err)
			}
			late = append(late, done)
		}
		report(t, b, ratelimiter.Fatal)
		late[0](ratelimiter.Success)
		wantBreaker(t, b, "open", ratelimiter.None)
		time.Sleep(time.Second)
		late[1](ratelimiter.Success)
		wantBreaker(t, b, "half-open", ratelimiter.Probe)
		late[2](ratelimiter.Fatal)
		wantBreaker(t, b, "half-open", ratelimiter.Probe)
	})
}

func TestBreakerConcurrent(t *testing.T) {
	t.Parallel()
	b := ratelimiter.NewBreaker(ratelimiter.BreakerConfig{Failures: 3, Open: time.Nanosecond})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 2000 {
				if done, err := b.Begin(b.Due()); err == nil {
					done(ratelimiter.Result(1 + (i+n)%5))
				}
				b.Due()
			}
		})
	}
	wg.Wait()
	// Whatever happened, it can be closed again.
	for range 10 {
		if b.State() == "closed" {
			return
		}
		report(t, b, ratelimiter.Success)
	}
	t.Errorf("state after ten successes: got %s, want closed", b.State())
}

func TestStepString(t *testing.T) {
	t.Parallel()
	for s, want := range map[ratelimiter.Step]string{
		ratelimiter.None: "none", ratelimiter.Probe: "probe", ratelimiter.Trial: "trial",
	} {
		if got := s.String(); got != want {
			t.Errorf("Step(%d): got %q, want %q", s, got, want)
		}
	}
}

func TestNewBreakerPanics(t *testing.T) {
	t.Parallel()
	for _, cfg := range []ratelimiter.BreakerConfig{{Failures: -1}, {Open: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NewBreaker(%+v): got no panic, want one", cfg)
				}
			}()
			ratelimiter.NewBreaker(cfg)
		}()
	}
}

// A request of many, or one that was granted earlier, is no step of a half-open
// breaker.
func TestH3BreakerHalfOpenTakesOnlyItsStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, ratelimiter.BreakerConfig{Open: time.Second})
		time.Sleep(time.Second)
		for _, wrong := range []ratelimiter.Step{ratelimiter.None, ratelimiter.Trial} {
			if _, err := b.Begin(wrong); !errors.Is(err, ratelimiter.ErrOpen) {
				t.Errorf("%s instead of the probe: got %v, want ErrOpen", wrong, err)
			}
		}
		report(t, b, ratelimiter.Success)
		for _, wrong := range []ratelimiter.Step{ratelimiter.None, ratelimiter.Probe} {
			if _, err := b.Begin(wrong); !errors.Is(err, ratelimiter.ErrOpen) {
				t.Errorf("%s instead of the trial: got %v, want ErrOpen", wrong, err)
			}
		}
	})
}
