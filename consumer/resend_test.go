package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// ids makes a provider that takes our id of w, and a lane that resends.
func ids(w *world) func(*consumer.Config) {
	w.ids = true
	return func(c *consumer.Config) {
		c.Accounts[0].TakesID = true
		c.Accounts[0].Lanes[0].Resend = true
		c.Accounts[0].Lanes[0].Batch = 1
	}
}

// first answers the first n requests so, and all others well.
func first(n int, answer func(*world, consumer.Batch) consumer.Answer) func(*world, consumer.Batch) consumer.Answer {
	return func(w *world, b consumer.Batch) consumer.Answer {
		if len(w.posts) <= n {
			return answer(w, b)
		}
		return w.accept(b)
	}
}

// hides creates the conversation and loses the answer.
func hides(w *world, b consumer.Batch) consumer.Answer {
	for _, it := range b.Items {
		w.create(it)
	}
	return lost(w, b)
}

// lost is an answer that is lost, with nothing created.
func lost(_ *world, b consumer.Batch) consumer.Answer {
	a := all(b, consumer.VerdictDoubt, "reset")
	a.Status = 500
	return a
}

func TestADoubtThatExistsIsFound(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = first(1, hides)
		key := w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(15 * time.Second)
		if got := w.state(key); got != consumer.Created {
			t.Errorf("after 15 s: got %s, want created: the id was there at once", got)
		}
		time.Sleep(5 * time.Minute)
		if s := status(t, p); s.Used != 0 || s.Settling != 0 {
			t.Errorf("slots in use: got %d (%d settling), want 0", s.Used, s.Settling)
		}
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"created": 1, "ended": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if len(w.posts) != 1 || w.unacked() != 0 || len(w.letters) != 0 {
			t.Errorf("got %d requests, %d messages left, %d letters; want 1, 0, 0", len(w.posts), w.unacked(), len(w.letters))
		}
	})
}

func TestADoubtThatDoesNotExistIsSentAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = first(2, lost)
		key := w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(25 * time.Second)
		if n := w.posted(); n != 1 {
			t.Errorf("requests after 25 s: got %d, want 1: a new conversation may take 30 s to be seen", n)
		}
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if w.state(key) != consumer.Ended || len(w.posts) != 3 || w.posts[2].Items[0].Attempt != 3 || w.posts[2].Items[0].Intent != key {
			t.Errorf("got %s after %d requests; want ended after 3 with the same id", w.state(key), len(w.posts))
		}
		if diff := cmp.Diff(map[string]int{"created": 1, "ended": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

// The provider honours and shows an id only after a while. Were it sent again
// before that, a person would be called twice.
func TestH16AnIDThatIsNotYetVisibleIsNotSentAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.hidden = func(consumer.Item) time.Duration { return 25 * time.Second }
		w.answer = first(3, hides)
		for i := range 3 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, edit)
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if d := w.doubled(); len(d) > 0 || len(w.posts) != 3 {
			t.Errorf("doubled: %v, %d requests; want none and 3", d, len(w.posts))
		}
		if diff := cmp.Diff(map[string]int{"created": 3, "ended": 3}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

// The broker forgets the delay of a message that was given back.
func TestH16AnEarlyDeliveryWaitsOn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.hidden = func(consumer.Item) time.Duration { return 25 * time.Second }
		w.answer = first(1, hides)
		w.lead("0001")
		p := w.start(t, &process{}, edit)
		for range 10 {
			time.Sleep(2 * time.Second)
			w.do(func() { w.events.msgs[0].ready = time.Now(); w.events.stir() })
		}
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if d := w.doubled(); len(d) > 0 || len(w.posts) != 1 {
			t.Errorf("doubled: %v, %d requests; want none and 1", d, len(w.posts))
		}
	})
}

// The claim of a process that is gone has waited long enough once it is stale.
func TestAStaleClaimIsSettledAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		key := w.lead("0001")
		one := w.start(t, &process{dieAt: 1, dieLate: true}, edit)
		time.Sleep(time.Second)
		one.cancel()
		two := w.start(t, &process{}, edit)
		time.Sleep(65 * time.Second) // AckWait 60 s; then 5 s + 15 s + 30 s since it was first seen are over
		if got := w.state(key); got != consumer.Created {
			t.Errorf("got %s, want created", got)
		}
		two.stop(t)
		<-one.done
	})
}

// Whichever attempt made the conversation, there was one, and it is over.
func TestAnEndedDoubtHoldsNoSlotAfterARestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = first(1, lost)
		w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		w.do(func() { w.gone = true })
		p = w.start(t, &process{}, edit)
		time.Sleep(time.Second)
		if s := status(t, p); s.Used != 0 {
			t.Errorf("slots in use: got %d, want 0", s.Used)
		}
		p.stop(t)
	})
}

// H16's own sequence: lost, not yet visible, refused. The refusal is not the
// event's end, and the call of the first request is found.
func TestH16ARefusalAfterADoubtIsNoRejection(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]consumer.Verdict{
		"rejected": consumer.VerdictRejected, "full": consumer.VerdictFull,
		"unsent": consumer.VerdictUnsent, "unauthorized": consumer.VerdictUnauthorized,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				edit := ids(w)
				w.hidden = func(consumer.Item) time.Duration { return 2 * time.Minute } // beyond what was promised
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					if len(w.posts) == 1 {
						return hides(w, b)
					}
					a := all(b, second, "no")
					a.Full = second == consumer.VerdictFull
					a.Status = 422
					return a
				}
				key := w.lead("0001")
				p := w.start(t, &process{}, edit)
				time.Sleep(40 * time.Minute)
				p.stop(t)
				if got := w.state(key); got != consumer.Ended {
					t.Errorf("got %s, want ended", got)
				}
				if n := w.kinds()["rejected"]; n != 0 || len(w.letters) != 0 || len(w.doubled()) != 0 {
					t.Errorf("got %v, %d letters, doubled %v; want no rejection", w.kinds(), len(w.letters), w.doubled())
				}
			})
		})
	}
}

// A doubt that no request can settle ends with a person, with its event.
func TestAHopelessDoubtIsParked(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = lost
		key := w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(2 * time.Hour)
		p.stop(t)
		w.mu.Lock()
		in := w.entries["l."+key].intent
		w.mu.Unlock()
		if in.State != consumer.Doubt || in.Open || in.Attempts != 5 || len(w.posts) != 5 {
			t.Errorf("got %s, open %v, %d attempts, %d requests; want a parked doubt after 5", in.State, in.Open, in.Attempts, len(w.posts))
		}
		if diff := cmp.Diff(map[string]int{"doubt": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if _, kept := w.letters[key]; !kept || w.unacked() != 0 {
			t.Errorf("its event is kept: %v, %d messages left; want kept, 0", kept, w.unacked())
		}
	})
}

func TestAForeignIDIsParkedAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = func(_ *world, b consumer.Batch) consumer.Answer {
			a := all(b, consumer.VerdictDoubt, "another person's")
			a.Results[0].Foreign = true
			a.Status = 200
			return a
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(time.Minute)
		p.stop(t)
		if _, kept := w.letters[key]; !kept || w.kinds()["doubt"] != 1 || len(w.posts) != 1 {
			t.Errorf("kept %v, outcomes %v, %d requests; want a parked doubt after one", kept, w.kinds(), len(w.posts))
		}
	})
}

// All slots are held by doubts: nothing could be pulled to settle them, if
// "not found" did not free them.
func TestDoubtsDoNotLockOutTheirOwnSettlement(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				edit := ids(w)
				w.answer = first(6, lost)
				for i := range 8 {
					w.lead(fmt.Sprintf("%04d", i))
				}
				p := w.start(t, &process{}, func(c *consumer.Config) {
					edit(c)
					c.Accounts[0].MaxCall = 10 * time.Hour
				})
				time.Sleep(20 * time.Second)
				if restart {
					p.stop(t)
					p = w.start(t, &process{}, func(c *consumer.Config) {
						edit(c)
						c.Accounts[0].MaxCall = 10 * time.Hour
					})
				}
				time.Sleep(time.Hour)
				p.stop(t)
				if diff := cmp.Diff(map[string]int{"created": 8, "ended": 8}, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if w.highest > w.limit {
					t.Errorf("highest slots in use: got %d, limit %d", w.highest, w.limit)
				}
			})
		})
	}
}

func TestALookUpThatFailsSettlesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = first(1, lost)
		key := w.lead("0001")
		w.do(func() { w.gone = true })
		p := w.start(t, &process{}, edit)
		time.Sleep(20 * time.Minute)
		if w.posted() != 1 || w.state(key) != consumer.Doubt {
			t.Errorf("while nothing can be looked up: got %d requests, %s; want 1, doubt", w.posted(), w.state(key))
		}
		w.do(func() { w.gone = false })
		time.Sleep(20 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("after that: got %s, want ended", got)
		}
	})
}

func TestH18ResendNeedsAProviderThatTakesOurID(t *testing.T) {
	t.Parallel()
	p := &process{w: newWorld()}
	_, err := consumer.New(zerolog.Nop(), consumer.Config{
		Ledger: p, Outbox: p, Switch: p, Catalog: schema.NewCatalog(), Fence: func() error { return nil },
		Accounts: []consumer.AccountConfig{{
			Name: "a", Provider: p, Limiter: ratelimiter.Config{Limit: 1},
			Lanes: []consumer.LaneConfig{{Name: "l", Resend: true}},
		}},
	})
	if err == nil || !strings.Contains(err.Error(), "takes no id of ours") {
		t.Errorf("got %v, want it refused", err)
	}
}

// TestCrashAtEveryStepWithIDs kills the process before and after each act, with
// lost answers among them: in the end nothing is in doubt and nobody was called
// twice.
func TestCrashAtEveryStepWithIDs(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 24; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					edit := ids(w)
					w.hidden = func(it consumer.Item) time.Duration { return time.Duration(it.Intent[0]%3) * 12 * time.Second }
					w.answer = func(w *world, b consumer.Batch) consumer.Answer {
						switch len(w.posts) {
						case 1:
							return hides(w, b)
						case 2:
							return lost(w, b)
						}
						return w.accept(b)
					}
					for i := range 3 {
						w.lead(fmt.Sprintf("%04d", i))
					}
					one := w.start(t, &process{dieAt: at, dieLate: late}, edit)
					time.Sleep(3 * time.Minute)
					one.cancel()
					w.do(func() { one.dead = true })
					two := w.start(t, &process{}, edit)
					time.Sleep(time.Hour)
					two.stop(t)
					<-one.done
					if diff := cmp.Diff(map[string]int{"created": 3, "ended": 3}, w.kinds()); diff != "" {
						t.Errorf("outcomes (-want +got):\n%s", diff)
					}
					if d := w.doubled(); len(d) > 0 || w.unacked() != 0 || w.highest > w.limit {
						t.Errorf("doubled %v, messages left %d, highest %d of %d", d, w.unacked(), w.highest, w.limit)
					}
				})
			})
		}
	}
}
