package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// hours are contact rules that know the time alone, and some intents that are never
// to be contacted.
type hours struct {
	opens func(intent string, now time.Time) time.Time // now itself: it is open
	never func(intent string) bool                     // nil: none
	wrong func() error                                 // why an event is refused; nil: never
}

func (h *hours) Number(_, text string) (string, error) { return text, nil }

func (h *hours) Rule(*schema.Reading, consumer.Recipient) (consumer.Rule, error) {
	if h.wrong != nil {
		return h, h.wrong()
	}
	return h, nil
}

func (h *hours) forbids(intent string) bool { return h.never != nil && h.never(intent) }

func (h *hours) Judge(intent string, now time.Time) consumer.Ruling {
	if h.forbids(intent) {
		return consumer.Ruling{Verdict: consumer.ContactNever, Reason: "a rule forbids it"}
	}
	if until := h.opens(intent, now); until.After(now) {
		return consumer.Ruling{Verdict: consumer.ContactLater, Until: until, Reason: "it is night"}
	}
	return consumer.Ruling{Verdict: consumer.ContactNow}
}

// closedFor are hours that begin after a while.
func closedFor(d time.Duration) *hours {
	morning := time.Now().Add(d)
	return &hours{opens: func(_ string, now time.Time) time.Time { return later(morning, now) }}
}

// calmly lets an idle engine ask seldom: nights are long.
func calmly(c *consumer.Config) { c.PullWait = 5 * time.Minute }

// noteRequests notes when each request comes.
func (w *world) noteRequests() *[]time.Duration {
	began, answer := time.Now(), w.answer
	at := new([]time.Duration)
	w.answer = func(w *world, b consumer.Batch) consumer.Answer {
		*at = append(*at, time.Since(began))
		if answer != nil {
			return answer(w, b)
		}
		return w.accept(b)
	}
	return at
}

func TestH4AnEventWaitsForItsWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		closed time.Duration
		want   []string
	}{
		{3 * time.Hour, []string{"store waiting", "postpone", "ack", "store started", "store created", "publish created", "ack", "publish ended", "store ended"}},
		{2 * time.Minute, []string{"store waiting", "store started", "store created", "publish created", "ack", "publish ended", "store ended"}},
		// No wait is longer than a postponed event can be found again.
		{100 * time.Hour, []string{"store waiting", "postpone", "ack", "store waiting", "postpone", "ack", "store started", "store created", "publish created", "ack", "publish ended", "store ended"}},
	} {
		t.Run(tt.closed.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.hours = closedFor(tt.closed)
				posts := w.noteRequests()
				key := w.lead("0001")
				p := w.start(t, &process{}, calmly)
				time.Sleep(time.Minute)
				w.do(func() {
					in := w.entries["l."+key].intent
					if in.State != consumer.Waiting || in.Waits["window"] != 1 || in.Claims != 0 || in.Reason != "it is night" || in.Sequence != 1 || in.NotBefore.IsZero() {
						t.Errorf("got %+v, want it to wait and to say why", in)
					}
				})
				if used := status(t, p).Used; used != 0 {
					t.Errorf("slots in use: got %d, want 0", used)
				}
				time.Sleep(tt.closed + time.Hour)
				p.stop(t)
				if diff := cmp.Diff(tt.want, w.order); diff != "" {
					t.Errorf("durable steps (-want +got):\n%s", diff)
				}
				if len(*posts) != 1 || (*posts)[0] < tt.closed || (*posts)[0] > tt.closed+10*time.Second {
					t.Errorf("posted after %v, want once, at %v", *posts, tt.closed)
				}
				if in := w.entries["l."+key].intent; in.Attempts != 0 || in.Claims != 1 {
					t.Errorf("got %d attempts, %d claims; want 0, 1", in.Attempts, in.Claims)
				}
			})
		})
	}
}

// An event that may not be sent now keeps none of the others waiting.
func TestAWaitForAWindowTakesNoSlot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		free := consumer.Key("l", "/crm", "0099")
		night := closedFor(3 * time.Hour)
		w.hours = &hours{opens: func(intent string, now time.Time) time.Time {
			if intent == free {
				return now
			}
			return night.opens(intent, now)
		}}
		posts := w.noteRequests()
		for i := range 20 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.lead("0099")
		p := w.start(t, &process{}, calmly)
		time.Sleep(time.Minute)
		w.do(func() {
			if len(*posts) != 1 {
				t.Errorf("posted after %v, want the free one at once", *posts)
			}
		})
		time.Sleep(5 * time.Hour)
		p.stop(t)
		if n := w.stands(consumer.Ended); n != 21 || w.unacked() != 0 {
			t.Errorf("got %d ended, %d messages left, want 21, 0", n, w.unacked())
		}
	})
}

// Whichever step the process dies at, the event is called once, and not at night.
func TestH4ACrashWhileItWaitsForAWindow(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 7; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					w.hours = closedFor(3 * time.Hour)
					posts := w.noteRequests()
					key := w.lead("0001")
					one := w.start(t, &process{dieAt: at, dieLate: late}, calmly)
					time.Sleep(5 * time.Minute)
					one.cancel()
					w.do(func() { one.dead = true })
					two := w.start(t, &process{}, calmly)
					time.Sleep(5 * time.Hour)
					two.stop(t)
					<-one.done
					if s := w.state(key); s != consumer.Ended || w.unacked() != 0 {
						t.Errorf("got %s, %d messages left; want ended, 0", s, w.unacked())
					}
					if len(*posts) != 1 || (*posts)[0] < 3*time.Hour {
						t.Errorf("posted after %v, want once, not before 3 h", *posts)
					}
				})
			})
		}
	}
}

// A window that closes between the look at it and the first byte stops the request:
// before the claim if that is still possible.
func TestAWindowThatCloses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		leads, claims int
		slow          time.Duration
	}{
		"before the claim": {leads: 2, slow: 3 * time.Second, claims: 1},
		"after the claim":  {leads: 1, slow: 3 * time.Second, claims: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				evening, morning := time.Now().Add(2*time.Second), time.Now().Add(12*time.Hour)
				first := consumer.Key("l", "/crm", "0001")
				w.hours = &hours{opens: func(intent string, now time.Time) time.Time {
					if intent == first && now.Before(evening) || now.After(morning) {
						return now
					}
					return morning
				}}
				w.slowStore = tt.slow
				posts := w.noteRequests()
				for i := range tt.leads { // the second one's wait is written before the first one is claimed
					w.lead(fmt.Sprintf("%04d", i+1))
				}
				p := w.start(t, &process{}, calmly)
				time.Sleep(14 * time.Hour)
				p.stop(t)
				in := w.entries["l."+first].intent
				if in.State != consumer.Ended || in.Claims != tt.claims || in.Attempts != 0 {
					t.Errorf("got %s after %d claims and %d attempts, want ended after %d and none", in.State, in.Claims, in.Attempts, tt.claims)
				}
				for _, at := range *posts {
					if at < 12*time.Hour {
						t.Errorf("posted after %v, want none before the morning", at)
					}
				}
			})
		})
	}
}

// What a person orders to be sent again waits for the morning too, whichever step
// the process dies at: the dead letter or doubt stays one until then, and is sent
// once.
func TestH9AReplayAtNight(t *testing.T) {
	t.Parallel()
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		for _, night := range []time.Duration{3 * time.Hour, 3 * time.Minute} {
			for at := range 6 {
				t.Run(fmt.Sprintf("%s/%v/%d", state, night, at), func(t *testing.T) {
					t.Parallel()
					bubble(t, func(t *testing.T, w *world) {
						first := consumer.VerdictRejected
						if state == consumer.Doubt {
							first = consumer.VerdictDoubt
						}
						w.answer = func(w *world, b consumer.Batch) consumer.Answer {
							if len(w.posts) == 1 {
								return always(first, "no", 400)(w, b)
							}
							return w.accept(b)
						}
						key := w.lead("0001")
						zero := w.start(t, &process{}, calmly)
						time.Sleep(time.Minute)
						zero.stop(t)
						n := w.entries["l."+key].intent.N
						if s := w.state(key); s != state {
							t.Fatalf("got %s, want %s", s, state)
						}
						w.hours = closedFor(night)
						posts := w.noteRequests()
						w.replay(key, n, 0)
						one := w.start(t, &process{dieAt: at, dieLate: true}, calmly)
						time.Sleep(time.Minute)
						if s := w.state(key); s != state || w.entries["l."+key].intent.N != n {
							t.Errorf("at night: got %s, want %s as it was", s, state)
						}
						w.do(func() {
							if n := w.due.msgs[len(w.due.msgs)-1].delivered; n > 2 {
								t.Errorf("the order was delivered %d times within a minute, want it to wait", n)
							}
						})
						if at > 0 {
							time.Sleep(time.Minute)
							one.cancel()
							w.do(func() { one.dead = true })
							one = w.start(t, &process{}, calmly)
						}
						time.Sleep(night + 2*time.Hour)
						one.stop(t)
						if s := w.state(key); s != consumer.Ended || w.unacked() != 0 || len(w.doubled()) > 0 {
							t.Errorf("got %s, %d messages left, doubled %v; want ended, none", s, w.unacked(), w.doubled())
						}
						if len(*posts) != 1 || (*posts)[0] < night {
							t.Errorf("posted after %v, want once, not before %v", *posts, night)
						}
					})
				})
			}
		}
	}
}

// An open doubt is not sent again at night. If nobody may contact the person any
// more, somebody has to look.
func TestH16AnOpenDoubtWaitsForItsWindow(t *testing.T) {
	t.Parallel()
	for name, forbidden := range map[string]bool{"night": false, "never": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				taken := ids(w)
				edit := func(c *consumer.Config) { taken(c); calmly(c) }
				w.answer = first(1, lost)
				evening, morning := time.Now().Add(10*time.Second), time.Now().Add(8*time.Hour)
				w.hours = &hours{opens: func(_ string, now time.Time) time.Time {
					if now.Before(evening) || now.After(morning) {
						return now
					}
					return morning
				}}
				w.hours.never = func(string) bool { return forbidden && time.Now().After(evening) }
				posts := w.noteRequests()
				key := w.lead("0001")
				p := w.start(t, &process{}, edit)
				time.Sleep(10 * time.Hour)
				p.stop(t)
				if forbidden {
					if in := w.entries["l."+key].intent; in.State != consumer.Doubt || in.Open || !strings.Contains(in.Reason, "a rule forbids it") || len(*posts) != 1 {
						t.Errorf("got %+v after posts at %v, want a doubt for a person", in, *posts)
					}
					return
				}
				if w.gets > 500 {
					t.Errorf("got %d looks in a night, want some an hour", w.gets)
				}
				if s := w.state(key); s != consumer.Ended || len(*posts) != 2 || (*posts)[1] < 8*time.Hour {
					t.Errorf("got %s, posts after %v; want ended, the second one in the morning", s, *posts)
				}
			})
		})
	}
}

// A clock that cannot be trusted closes every window, and is no matter where there
// are none.
func TestH25AWrongClockClosesEveryWindow(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]bool{"windows": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				if rules {
					w.hours = closedFor(0)
				}
				key := w.lead("0001")
				p := &process{}
				clock := w.clocked(t, p, 9*time.Hour, nil)
				time.Sleep(5*time.Minute + 137*time.Millisecond)
				if rules {
					if s := w.state(key); s != consumer.Absent || w.posted() != 0 {
						t.Errorf("while the clocks differ: got %q, %d requests; want nothing", s, w.posted())
					}
					if s := status(t, p); !strings.Contains(s.Why, "may be contacted now; set the clocks right") {
						t.Errorf("the lane says %q, want why it waits", s.Why)
					}
				}
				clock.Observe(consumer.BrokerClock, ahead(0))
				time.Sleep(10 * time.Minute)
				p.stop(t)
				if s := w.state(key); s != consumer.Ended {
					t.Errorf("got %q, want ended", s)
				}
			})
		})
	}
}

// Where the two clocks differ by less than that, a window is open when it is by
// both.
func TestH25AWindowIsOpenByBothClocks(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ahead": 20 * time.Second, "behind": -20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				opening, closing := time.Now().Add(time.Minute), time.Now().Add(10*time.Minute)
				w.hours = &hours{opens: func(_ string, now time.Time) time.Time {
					if now.After(closing) {
						return now.Add(24 * time.Hour)
					}
					return later(opening, now)
				}}
				posts := w.noteRequests()
				w.lead("0001")
				p := &process{}
				w.clocked(t, p, by, nil)
				time.Sleep(10*time.Minute - 10*time.Second)
				late := w.lead("0002")
				time.Sleep(time.Minute)
				p.stop(t)
				earliest := time.Minute + max(by, 0)
				if len(*posts) == 0 || (*posts)[0] < earliest {
					t.Errorf("posted after %v, want not before %v", *posts, earliest)
				}
				if s := w.state(late); (s == consumer.Waiting) != (by < 0) {
					t.Errorf("10 s before it closes here: got %s", s)
				}
			})
		})
	}
}

// Who is never to be contacted is suppressed, and the outcome says by what. What may
// have been sent before is not said to be: it stays in doubt.
func TestARuleThatForbids(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.hours = closedFor(0)
		w.hours.never = func(string) bool { return true }
		key := w.lead("0001")
		p := w.start(t, &process{}, calmly)
		time.Sleep(time.Minute)
		p.stop(t)
		if diff := cmp.Diff([]string{"store suppressed", "publish suppressed", "ack"}, w.order); diff != "" {
			t.Errorf("durable steps (-want +got):\n%s", diff)
		}
		data := w.told(t, "suppressed")
		if data.Class != string(schema.ClassContact) || data.Reason != "a rule forbids it" || data.DryRun || w.state(key) != consumer.Suppressed {
			t.Errorf("got %+v, want it suppressed by a rule of contacts", data)
		}
	})
}

func TestARuleThatForbidsAReplay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first consumer.Verdict
		want  consumer.State
		says  string
	}{
		{consumer.VerdictRejected, consumer.Suppressed, "a rule forbids it"},
		{consumer.VerdictDoubt, consumer.Doubt, "the order to send it again was not obeyed: a rule forbids it"},
	} {
		t.Run(tt.first.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = always(tt.first, "no", 400)
				forbidden := false
				w.hours = closedFor(0)
				w.hours.never = func(string) bool { return forbidden }
				key := w.lead("0001")
				p := w.start(t, &process{}, calmly)
				time.Sleep(time.Minute)
				w.do(func() { forbidden = true })
				w.replay(key, w.intent(key).N, 0)
				time.Sleep(time.Minute)
				p.stop(t)
				if in := w.intent(key); in.State != tt.want || in.Reason != tt.says || w.posted() != 1 || w.unacked() != 0 {
					t.Errorf("got %s because %q, %d requests, %d messages left; want %s because %q, 1, 0", in.State, in.Reason, w.posted(), w.unacked(), tt.want, tt.says)
				}
			})
		})
	}
}

// A doubt that a person had sent again, and that found no slot, is no event that was
// never sent: whatever keeps it from being sent now, it is a doubt.
func TestH16WhatWasInDoubtStaysSo(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{"forbidden": "a rule forbids it", "refused": "no such field", "withdrawn": "they have signed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					if len(w.posts) == 1 {
						return always(consumer.VerdictDoubt, "lost", 0)(w, b)
					}
					return always(consumer.VerdictUnsent, "no connection", 0)(w, b)
				}
				now := false
				w.hours = closedFor(0)
				w.hours.never = func(string) bool { return now && name == "forbidden" }
				w.hours.wrong = func() error {
					if now && name == "refused" {
						return &schema.Refusal{Class: schema.ClassRequest, Reason: "no such field"}
					}
					return nil
				}
				key := w.lead("0001")
				p := w.start(t, &process{}, calmly)
				time.Sleep(time.Minute)
				w.replay(key, w.intent(key).N, 0)
				time.Sleep(10 * time.Second)
				if in := w.intent(key); in.State != consumer.Waiting {
					t.Fatalf("got %s, want it to wait", in.State)
				}
				w.do(func() { now = true })
				if name == "withdrawn" {
					r := command(t, p, withdrawal("0001"))
					if r.State != consumer.Doubt || !strings.Contains(r.Error, "its call may have been placed") {
						t.Errorf("got %+v, want that it is in doubt", r)
					}
				}
				posts := w.posted()
				time.Sleep(10 * time.Minute)
				p.stop(t)
				if in := w.intent(key); in.State != consumer.Doubt || !strings.HasSuffix(in.Reason, says) || w.unacked() != 0 || len(w.letters) != 1 {
					t.Errorf("got %s because %q, %d messages left, %d letters; want a doubt with its letter", in.State, in.Reason, w.unacked(), len(w.letters))
				}
				if w.posted() != posts || heardOf(w, "0001") != "doubt" {
					t.Errorf("%d more requests, told %q; want none, doubt", w.posted()-posts, heardOf(w, "0001"))
				}
			})
		})
	}
}

// An order that waits for the morning where the clocks differ by a little waits, and
// does not come again and again.
func TestH25AnOrderWaitsByBothClocks(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]bool{"an order": false, "an open doubt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = first(1, lost)
				edit := func(*consumer.Config) {}
				if open {
					edit = ids(w)
				} else {
					w.answer = first(1, func(w *world, b consumer.Batch) consumer.Answer {
						return always(consumer.VerdictRejected, "no", 400)(w, b)
					})
				}
				evening, morning, judged := time.Now().Add(10*time.Second), time.Now().Add(8*time.Minute), 0
				w.hours = &hours{opens: func(_ string, now time.Time) time.Time {
					if now.Before(evening) || !now.Before(morning) {
						return now
					}
					if judged++; judged > 1000 {
						return now
					}
					return morning
				}}
				posts := w.noteRequests()
				key := w.lead("0001")
				p := &process{}
				w.clocked(t, p, 20*time.Second, edit)
				time.Sleep(time.Minute)
				if !open {
					w.replay(key, w.intent(key).N, 0)
				}
				time.Sleep(20 * time.Minute)
				p.stop(t)
				if s := w.state(key); s != consumer.Created && s != consumer.Ended || len(*posts) != 2 || (*posts)[1] < 8*time.Minute+20*time.Second || judged > 200 {
					t.Errorf("got %s, posts after %v, judged %d times; want ended, the second post in the morning by both clocks", s, *posts, judged)
				}
			})
		})
	}
}

// TestStormOfHours is TestStorm for a lane that may send now and then only, and never
// to some.
func TestStormOfHours(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		began := time.Now()
		var changes []time.Duration // it opens and closes by turns, first of all it closes
		for at := time.Duration(0); at < 24*time.Hour; {
			at += time.Duration(s.r.Int64N(int64([]time.Duration{10 * time.Second, 2 * time.Minute, 15 * time.Minute}[s.r.IntN(3)])))
			changes = append(changes, at)
		}
		s.w.hours = &hours{
			opens: func(_ string, now time.Time) time.Time {
				for i, at := range changes {
					if since := now.Sub(began); since < at {
						if i%2 == 0 {
							return now
						}
						return began.Add(at)
					}
				}
				return now
			},
			never: func(intent string) bool { return intent[0] == '7' },
		}
		s.play(s.batches)
	})
}
