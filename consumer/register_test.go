package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// claimAge is the engine's default.
const claimAge = 5 * time.Second

// list is the model of a register: it knows the world's blocks, and whatever else a
// test makes it say.
type list struct {
	w    *world
	says func(a consumer.Approach) (consumer.Ruling, error) // nil, or no verdict: nothing else
	last []consumer.Approach
}

func (l *list) Admit(_ context.Context, approaches []consumer.Approach) ([]consumer.Ruling, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.last = approaches
	rulings := make([]consumer.Ruling, len(approaches))
	for i, a := range approaches {
		rulings[i].Verdict = consumer.ContactNow
		if l.says != nil {
			r, err := l.says(a)
			if err != nil {
				return nil, err
			}
			if r.Verdict != 0 {
				rulings[i] = r
			}
		}
		if l.w.blocked(a.Intent) {
			rulings[i] = consumer.Ruling{Verdict: consumer.ContactNever, Reason: "blocked by ana"}
		}
	}
	return rulings, nil
}

// block blocks an intent's person from now on.
func (w *world) block(key string) {
	now := time.Now()
	w.do(func() {
		w.listed = func(intent string) (at time.Time) {
			if intent == key {
				at = now
			}
			return at
		}
	})
}

// blockedFor is since when an intent's person must not be contacted; negative if
// somebody may. The caller holds mu.
func (w *world) blockedFor(key string) time.Duration {
	if w.listed == nil || w.listed(key).IsZero() {
		return -1
	}
	return time.Since(w.listed(key))
}

func (w *world) blocked(key string) bool { return w.blockedFor(key) >= 0 }

// asking has an engine ask a list.
func (l *list) asking(c *consumer.Config) { c.Register = l }

// A block that lands while the event waits, for whatever, stops it.
func TestABlockStopsWhatWaits(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world){
		"in the queue":     func(w *world) { w.limit, w.length = 1, 5*time.Minute },
		"for its window":   func(w *world) { w.hours = closedFor(3 * time.Minute) },
		"in WEIR_LATER":    func(w *world) { w.hours = closedFor(3 * time.Hour) },
		"for the provider": func(w *world) { w.answer = always(consumer.VerdictUnsent, "refused", 0) },
		"for a free slot":  func(w *world) { w.answer = always(consumer.VerdictFull, "full", 429) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				prepare(w)
				if w.length > time.Minute {
					w.lead("0001")
				}
				key := w.lead("0002")
				p := w.start(t, &process{}, (&list{w: w}).asking)
				time.Sleep(time.Minute)
				w.block(key)
				time.Sleep(claimAge + time.Second) // what is under way goes on
				posted := w.posted()
				w.do(func() { w.answer = nil })
				time.Sleep(12 * time.Hour)
				p.stop(t)
				if s := w.state(key); s != consumer.Suppressed || w.unacked() != 0 || len(w.made[key]) > 0 {
					t.Errorf("got %s, %d messages left, conversations %v; want suppressed, none", s, w.unacked(), w.made[key])
				}
				if n := w.posted(); n != posted {
					t.Errorf("requests: got %d, want %d as before the block", n, posted)
				}
				if data := w.told(t, "suppressed"); data.Class != string(schema.ClassContact) || data.Reason != "blocked by ana" {
					t.Errorf("got %+v, want the block as its reason", data)
				}
			})
		})
	}
}

// What a person orders to be sent again is not sent to whom nobody may contact.
func TestABlockStopsAReplay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first consumer.Verdict
		want  consumer.State
		says  string
	}{
		{consumer.VerdictRejected, consumer.Suppressed, "blocked by ana"},
		{consumer.VerdictDoubt, consumer.Doubt, "the order to send it again was not obeyed: blocked by ana"},
	} {
		t.Run(tt.first.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = always(tt.first, "no", 400)
				key := w.lead("0001")
				p := w.start(t, &process{}, (&list{w: w}).asking)
				time.Sleep(time.Minute)
				w.block(key)
				w.replay(key, w.intent(key).N, 0)
				time.Sleep(time.Minute)
				p.stop(t)
				if in := w.intent(key); in.State != tt.want || in.Reason != tt.says || w.posted() != 1 || w.unacked() != 0 {
					t.Errorf("got %s, %q, %d requests; want %s, %q, 1", in.State, in.Reason, w.posted(), tt.want, tt.says)
				}
			})
		})
	}
}

// The id of an open doubt is not sent again to whom nobody may contact: a person has
// to look.
func TestABlockParksAnOpenDoubt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit, l := ids(w), &list{w: w}
		w.answer = first(1, lost)
		key := w.lead("0001")
		p := w.start(t, &process{}, func(c *consumer.Config) { edit(c); l.asking(c) })
		time.Sleep(10 * time.Second)
		w.block(key)
		time.Sleep(time.Hour)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Doubt || in.Open || !strings.Contains(in.Reason, "not sent again: blocked by ana") || w.posted() != 1 {
			t.Errorf("got %+v after %d requests, want a doubt for a person after 1", in, w.posted())
		}
	})
}

// While nobody can tell whether people may be contacted, nobody is; it costs no
// attempt, and the slots are free.
func TestAnUnreadableListClosesTheLane(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		away := true
		l := &list{w: w, says: func(consumer.Approach) (consumer.Ruling, error) {
			if away {
				return consumer.Ruling{}, errors.New("the list cannot be read")
			}
			return consumer.Ruling{}, nil
		}}
		key := w.lead("0001")
		p := w.start(t, &process{}, l.asking)
		time.Sleep(time.Minute)
		if s := status(t, p); w.posted() != 0 || w.state(key) != consumer.Absent || !strings.Contains(s.Why, "the list cannot be read") {
			t.Errorf("got %d requests, state %q, why %q; want none and why", w.posted(), w.state(key), s.Why)
		}
		w.do(func() { away = false })
		time.Sleep(time.Minute)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Ended || in.Claims != 1 || in.Attempts != 0 {
			t.Errorf("got %+v, want it ended after one claim", in)
		}
	})
}

// One event that has to wait keeps nobody else waiting, not even those of its batch.
func TestOneThatMustWaitWaitsAlone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		until := time.Now().Add(time.Minute)
		waits := consumer.Key("l", "/crm", "0001")
		l := &list{w: w, says: func(a consumer.Approach) (consumer.Ruling, error) {
			if a.Intent == waits && time.Now().Before(until) {
				return consumer.Ruling{Verdict: consumer.ContactLater, Until: time.Now().Add(2 * time.Second), Reason: "not yet"}, nil
			}
			return consumer.Ruling{}, nil
		}}
		for i := range 3 {
			w.lead(fmt.Sprintf("%04d", i+1))
		}
		p := w.start(t, &process{}, l.asking)
		time.Sleep(30 * time.Second)
		if n := w.stands(consumer.Ended); n != 2 {
			t.Errorf("ended while one waits: got %d, want 2", n)
		}
		time.Sleep(2 * time.Minute)
		p.stop(t)
		if in := w.intent(waits); in.State != consumer.Ended || in.Claims != 1 {
			t.Errorf("got %+v, want it ended after one claim", in)
		}
	})
}

// The register hears whom a request contacts, and what the event asks for.
func TestWhatTheRegisterHears(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		l := &list{w: w}
		key := w.lead("0001")
		w.do(func() {
			m := w.last()
			m.data = []byte(strings.Replace(string(m.data), `"source"`, `"redial":true,"source"`, 1))
		})
		p := w.start(t, &process{}, l.asking)
		time.Sleep(time.Minute)
		p.stop(t)
		want := []consumer.Approach{{Lane: "l", Intent: key, To: consumer.Recipient{Number: "+14155550001", Field: "to"}, Redial: true}}
		if diff := cmp.Diff(want, l.last); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

// Whichever step the process dies at, a blocked event is told of and nobody is
// called.
func TestACrashWhileABlockedEventEnds(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 4; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					key := w.lead("0001")
					w.block(key)
					one := w.start(t, &process{dieAt: at, dieLate: late}, (&list{w: w}).asking)
					time.Sleep(5 * time.Minute)
					one.cancel()
					w.do(func() { one.dead = true })
					two := w.start(t, &process{}, (&list{w: w}).asking)
					time.Sleep(time.Hour)
					two.stop(t)
					<-one.done
					if s := w.state(key); s != consumer.Suppressed || w.unacked() != 0 || w.posted() != 0 || w.kinds()["suppressed"] != 1 {
						t.Errorf("got %s, %d messages left, %d requests, told %v; want suppressed, 0, 0, once", s, w.unacked(), w.posted(), w.kinds())
					}
				})
			})
		}
	}
}

// TestStormOfBlocks is TestStorm where people are blocked at any time, and the list
// cannot always be read: no byte goes out for somebody who was blocked longer ago
// than the age of a claim.
func TestStormOfBlocks(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		r := rand.New(rand.NewPCG(s.seed, 3))
		began := time.Now()
		s.w.listed = func(intent string) (at time.Time) {
			h := fnv.New64a()
			fmt.Fprint(h, s.seed, intent)
			if n := h.Sum64(); n%3 == 0 {
				at = began.Add(time.Duration(n % uint64(15*time.Minute)))
			}
			return at
		}
		l := &list{w: s.w, says: func(consumer.Approach) (consumer.Ruling, error) {
			switch {
			case s.w.chance.calm:
			case r.IntN(20) == 0:
				return consumer.Ruling{}, errors.New("the list cannot be read")
			case r.IntN(20) == 0:
				return consumer.Ruling{Verdict: consumer.ContactLater, Until: time.Now().Add(time.Second)}, nil
			}
			return consumer.Ruling{}, nil
		}}
		s.play(func(c *consumer.Config) { s.batches(c); l.asking(c) })
	})
}
