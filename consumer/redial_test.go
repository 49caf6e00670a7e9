package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// redialling is a lane that makes unanswered calls again.
func redialling(after ...time.Duration) func(*consumer.Config) {
	return func(c *consumer.Config) {
		c.PullWait = time.Minute // these stories are long
		c.Accounts[0].Lanes[0].Redials = consumer.Redials{After: after, On: []string{"unanswered"}}
	}
}

// unanswered has nobody take part in the first n calls to each person.
func (w *world) unanswered(n int) {
	calls := make(map[string]int)
	ends := make(map[string]string)
	w.result = func(id string) string {
		if ends[id] == "" {
			to := w.asked[id].Request.Pair
			if calls[to]++; calls[to] <= n {
				ends[id] = "unanswered"
			} else {
				ends[id] = "completed"
			}
		}
		return ends[id]
	}
}

// redialOf is the intent of a redial.
func redialOf(id string, n int) string { return consumer.Key("l", "/crm", schema.RedialID(id, n)) }

// ends are what the outcomes of ends say, by event.
func (w *world) ends(t *testing.T) map[string]consumer.OutcomeData {
	t.Helper()
	all := make(map[string]consumer.OutcomeData)
	w.do(func() {
		for _, ev := range w.outcomes {
			var data consumer.OutcomeData
			if err := ev.DataAs(&data); err != nil {
				t.Fatal(err)
			}
			if data.Kind == "ended" {
				all[data.EventID] = data
			}
		}
	})
	return all
}

// A call that nobody answers is made again after its wait, as an event of its own
// that names the first, until somebody answers or the redials are used up.
func TestACallThatNobodyAnsweredIsMadeAgain(t *testing.T) {
	t.Parallel()
	for unanswered := range 5 {
		t.Run(fmt.Sprint(unanswered), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.unanswered(unanswered)
				began := time.Now()
				w.lead("0001")
				p := w.start(t, &process{}, redialling(30*time.Minute, 4*time.Hour, 4*time.Hour))
				time.Sleep(48 * time.Hour)
				p.stop(t)
				calls := min(unanswered, 3) + 1
				if len(w.posts) != calls || len(w.entries) != calls || len(w.doubled()) > 0 || w.unacked() != 0 {
					t.Fatalf("got %d requests, %d entries, %d messages left; want %d, %d, none", len(w.posts), len(w.entries), w.unacked(), calls, calls)
				}
				ends, id, at := w.ends(t), "0001", began
				for n := range calls {
					in := w.intent(consumer.Key("l", "/crm", id))
					if in.State != consumer.Ended || in.Redial != n || n > 0 && in.RedialOf != "0001" || ends[id].RedialNumber != n || ends[id].RedialOf != in.RedialOf {
						t.Errorf("call %d: got %+v, told %+v", n, in, ends[id])
					}
					if d := w.postedAt[n].Sub(at); d < 0 || d > 2*time.Minute {
						t.Errorf("call %d: got it %v after its time", n, d)
					}
					next := ends[id].Redial
					switch {
					case n == 3 && unanswered > 3:
						if next == nil || next.ID != "" || next.Reason != "it was the last of 3 redials" || in.Next != "" {
							t.Errorf("the last one: got %+v", next)
						}
					case n == unanswered:
						if next != nil || in.Next != "" {
							t.Errorf("the answered one: got %+v, want nothing of a redial", next)
						}
					default:
						want := &consumer.Redial{ID: schema.RedialID("0001", n+1), Intent: redialOf("0001", n+1), At: in.NextAt.UTC(), Attempt: n + 1, Of: 3}
						if diff := cmp.Diff(want, next); diff != "" || in.Next != next.ID {
							t.Errorf("call %d: told of the next (-want +got):\n%s", n, diff)
						}
						id, at = next.ID, next.At
					}
				}
			})
		})
	}
}

// The steps at the end of a call: the redial first, which the outcome names, and the
// ledger last.
func TestStepsOfARedial(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		w.lead("0001")
		p := w.start(t, &process{}, redialling(time.Hour))
		time.Sleep(10 * time.Minute)
		p.stop(t)
		var got []string // without those of the redial, which is read meanwhile
		for _, act := range w.order {
			if act != "store waiting" && act != "postpone" && act != "ack" {
				got = append(got, act)
			}
		}
		want := []string{"store started", "store created", "publish created", "append", "publish ended", "store ended"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("durable steps (-want +got):\n%s", diff)
		}
	})
}

// TestCrashAtEveryStepOfARedial kills the process before and after each act of three
// calls, of which the last is answered. Another one takes over: nobody is called
// twice for one call, and each call that nobody answered is made again.
func TestCrashAtEveryStepOfARedial(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 26; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) { crashRedialling(t, w, at, late) })
			})
		}
	}
}

func crashRedialling(t *testing.T, w *world, at int, late bool) {
	w.unanswered(2)
	w.lead("0001")
	edit := redialling(10*time.Minute, 20*time.Minute)
	first := w.start(t, &process{dieAt: at, dieLate: late}, edit)
	for dead := false; !dead && w.stands(consumer.Ended) < 3; {
		time.Sleep(time.Minute)
		w.do(func() { dead = first.dead })
	}
	time.Sleep(time.Minute)
	first.cancel()
	<-first.done
	started := w.stands(consumer.Started)
	second := w.start(t, &process{}, edit)
	time.Sleep(6 * time.Hour)
	second.stop(t)
	if d := w.doubled(); len(d) > 0 || w.unacked() != 0 {
		t.Errorf("doubled: %v; %d messages left", d, w.unacked())
	}
	ends, id, calls := w.ends(t), "0001", 0
	for ; calls < 3; calls++ {
		in := w.intent(consumer.Key("l", "/crm", id))
		if in.State == consumer.Doubt && started == 1 { // who claimed it is dead: a person has to look
			break
		}
		if in.State != consumer.Ended || in.Redial != calls {
			t.Fatalf("call %d: got %+v, want it ended", calls, in)
		}
		if next := ends[id].Redial; calls < 2 && (next == nil || next.ID != schema.RedialID("0001", calls+1) || next.ID != in.Next) {
			t.Errorf("call %d: its end tells of %+v, and the ledger of %q", calls, next, in.Next)
		}
		id = schema.RedialID("0001", calls+1)
	}
	if len(w.entries) != min(calls+1, 3) || started == 0 && calls != 3 {
		t.Errorf("got %d entries after %d calls", len(w.entries), calls)
	}
}

// A redial is made of the event that was called, and where that cannot be had, the
// outcome says why there is none.
func TestWhyNobodyIsCalledAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit   func(c *consumer.Config)
		live   func(t *testing.T, w *world, p *process, key string) // while the call is under way
		reason string
	}{
		"the event is gone": {live: func(_ *testing.T, w *world, _ *process, _ string) {
			w.do(func() { w.events.msgs[0].seq = 77 })
		}, reason: "the event is not kept any more"},
		"the stream is another one": {live: func(_ *testing.T, w *world, _ *process, _ string) {
			w.do(func() {
				w.events.msgs[0].data = []byte(strings.ReplaceAll(string(w.events.msgs[0].data), "0001", "0002"))
			})
		}, reason: "the event is not kept any more"},
		"the content is another one": {live: func(_ *testing.T, w *world, _ *process, _ string) {
			w.do(func() {
				w.events.msgs[0].data = []byte(strings.Replace(string(w.events.msgs[0].data), "+14155550001", "+14155550009", 1))
			})
		}, reason: "the event was corrected by a person, and only the one before is kept"},
		"a second conversation": {live: func(t *testing.T, w *world, p *process, key string) {
			w.do(func() {
				it := w.asked[w.made[key][0]]
				it.Attempt = 7
				w.asked["second"], w.live["second"], w.lasts["second"] = it, time.Now().Add(time.Hour), time.Hour
			})
			_ = p.tell(t, "second", key, 7)
		}, reason: "a second conversation exists for this event"},
		"no route any more": {edit: func(c *consumer.Config) {
			c.Accounts[0].Lanes[0].Contact = &hours{wrong: func() error {
				return &schema.Refusal{Class: schema.ClassRequest, Reason: "no such country"}
			}}
		}, reason: "it cannot be sent again: no such country"},
		"no call":        {edit: func(c *consumer.Config) { c.Accounts[0].Provider = mailing{c.Accounts[0].Provider.(*process)} }},
		"another result": {edit: func(c *consumer.Config) { c.Accounts[0].Lanes[0].Redials.On = []string{"failed"} }},
		"a dry run":      {edit: dry, reason: "dry run: nothing is sent (send: false)"},
		"no policy":      {edit: func(c *consumer.Config) { c.Accounts[0].Lanes[0].Redials = consumer.Redials{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.unanswered(1)
				w.length = 3 * time.Minute
				key := w.lead("0001")
				policy := redialling(time.Hour)
				one := w.start(t, &process{}, policy)
				time.Sleep(time.Minute)
				one.stop(t)
				two := w.start(t, &process{}, func(c *consumer.Config) {
					if policy(c); tt.edit != nil {
						tt.edit(c)
					}
				})
				time.Sleep(10 * time.Second)
				if tt.live != nil {
					tt.live(t, w, two, key)
				}
				time.Sleep(6 * time.Hour)
				two.stop(t)
				in, told := w.intent(key), w.ends(t)["0001"].Redial
				if len(w.posts) != 1 || in.State != consumer.Ended || in.Next != "" || w.order[len(w.order)-1] == "append" {
					t.Errorf("got %+v after %d requests, want it ended after one", in, len(w.posts))
				}
				want := &consumer.Redial{Attempt: 1, Of: 1, Reason: tt.reason}
				if tt.reason == "" {
					want = nil
				}
				if diff := cmp.Diff(want, told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// mailing is a provider that calls nobody.
type mailing struct{ *process }

func (m mailing) Prepare(request map[string]any) (consumer.Request, error) {
	r, err := m.process.Prepare(request)
	r.To = consumer.Recipient{Channel: "email", Address: "ada@example.com"}
	return r, err
}

// An event that expires before its next call is not called again; one whose redial
// has to wait for longer than events stay fresh expires as any does.
func TestARedialHasItsLifetime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		now := time.Now()
		w.living("0001", now, time.Time{}, now.Add(time.Hour))
		w.living("0002", now, time.Time{}, now.Add(3*time.Hour))
		w.living("0003", now, time.Time{}, time.Time{})
		shut := now.Add(90 * time.Minute)
		w.hours = &hours{opens: func(intent string, at time.Time) time.Time {
			if intent == redialOf("0003", 1) && at.After(shut) {
				return now.Add(50 * time.Hour)
			}
			return at
		}}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			redialling(2*time.Hour, 2*time.Hour)(c)
			fresh(24 * time.Hour)(c)
		})
		time.Sleep(100 * time.Hour)
		p.stop(t)
		for id, want := range map[string]string{"0001": "the event expires at ", "0002.redial.1": "the event expires at ", "0002": "", "0003": ""} {
			if told := w.ends(t)[id].Redial; told == nil || !strings.HasPrefix(told.Reason, want) || (want == "") != (told.ID != "") {
				t.Errorf("%s: got %+v, want %q", id, told, want)
			}
		}
		if in := w.intent(redialOf("0003", 1)); in.State != consumer.Expired || len(w.made[in.Key]) > 0 {
			t.Errorf("a redial that waits too long: got %+v, want it expired", in)
		}
		if len(w.posts) > 4 || len(w.entries) != 5 {
			t.Errorf("got %d requests for %d entries", len(w.posts), len(w.entries))
		}
	})
}

// What a person had sent again is called again as well: unchanged, for its event is
// kept where it came from.
func TestARedialOfAReplay(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		wrong := true
		w.hours = &hours{opens: func(_ string, at time.Time) time.Time { return at }, wrong: func() (err error) {
			w.do(func() {
				if wrong {
					err = &schema.Refusal{Class: schema.ClassRequest, Reason: "a wrong route"}
				}
			})
			return err
		}}
		key := w.lead("0001")
		p := w.start(t, &process{}, redialling(time.Hour))
		time.Sleep(time.Minute)
		if w.state(key) != consumer.Dead {
			t.Fatalf("got %s, want dead", w.state(key))
		}
		w.do(func() { wrong = false })
		w.replay(key, w.intent(key).N, 0)
		time.Sleep(6 * time.Hour)
		p.stop(t)
		if in := w.intent(redialOf("0001", 1)); in.State != consumer.Ended || len(w.posts) != 2 {
			t.Errorf("got %+v after %d requests, want the redial ended after 2", in, len(w.posts))
		}
	})
}

// An end that a webhook and polls tell at once makes one redial.
func TestAnEndThatIsToldTwiceIsOneRedial(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		w.length = time.Hour
		key := w.lead("0001")
		one := w.start(t, &process{}, redialling(time.Minute))
		two := w.start(t, &process{}, redialling(time.Minute)) // which does not know yet that it is not the owner
		time.Sleep(time.Minute)
		w.finish(w.first(key))
		for _, p := range []*process{one, two, one} {
			_ = p.tell(t, w.first(key), key, 1)
		}
		time.Sleep(3 * time.Hour)
		one.stop(t)
		two.stop(t)
		if len(w.posts) != 2 || len(w.entries) != 2 || w.unacked() != 0 || len(w.doubled()) > 0 {
			t.Errorf("got %d requests, %d entries, %d messages left, doubled %v; want 2, 2, none", len(w.posts), len(w.entries), w.unacked(), w.doubled())
		}
	})
}

// appending is a stream that takes no events for a while.
type appending struct {
	*process
	fails func() error
}

func (a appending) Append(ctx context.Context, lane, id string, header map[string][]string, data []byte) error {
	if err := a.fails(); err != nil {
		return err
	}
	return a.process.Append(ctx, lane, id, header, data)
}

// While the stream takes no redial, the end is neither told nor written down, and its
// slot is free.
func TestARedialThatFindsNoRoom(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		w.limit = 1
		full := errors.New("the stream is full")
		key := w.lead("0001")
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			redialling(time.Minute)(c)
			c.Stream = appending{p, func() (err error) { w.do(func() { err = full }); return err }}
		})
		time.Sleep(40 * time.Minute)
		if w.state(key) != consumer.Created || len(w.ends(t)) != 0 {
			t.Errorf("got %s, told %v; want an end that is not written down, nor told", w.state(key), w.ends(t))
		}
		second := w.lead("0002")
		time.Sleep(time.Minute)
		if got := w.state(second); got == consumer.Absent || got == consumer.Waiting {
			t.Errorf("the next event is %q: its slot is not free", got)
		}
		w.do(func() { full = nil })
		time.Sleep(2 * time.Hour)
		p.stop(t)
		if s := w.state(redialOf("0001", 1)); s != consumer.Ended || w.state(key) != consumer.Ended {
			t.Errorf("got %s, its redial %q; want both ended", w.state(key), s)
		}
	})
}

// The register hears of a redial since when nobody must have spoken with the person,
// and its word stops the redials.
func TestARedialStopsWhenItsPersonWasSpokenWith(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		var heard []consumer.Approach
		l := &list{w: w, says: func(a consumer.Approach) (consumer.Ruling, error) {
			heard = append(heard, a)
			if a.Intent == redialOf("0001", 2) {
				return consumer.Ruling{Verdict: consumer.ContactNever, Reason: "spoken with"}, nil
			}
			return consumer.Ruling{}, nil
		}}
		key := w.lead("0001")
		p := w.start(t, &process{}, func(c *consumer.Config) { redialling(time.Hour, time.Hour, time.Hour)(c); l.asking(c) })
		time.Sleep(24 * time.Hour)
		p.stop(t)
		first := w.intent(key).Claimed
		if len(heard) != 3 || !heard[0].Since.IsZero() || heard[0].Redial {
			t.Fatalf("asked: got %+v, want three calls and nothing of a redial first", heard)
		}
		for _, a := range heard[1:] {
			if !a.Since.Equal(first) || !a.Redial {
				t.Errorf("asked of a redial: got %+v, want since %v", a, first)
			}
		}
		if in := w.intent(redialOf("0001", 2)); in.State != consumer.Suppressed || in.Reason != "spoken with" || len(w.entries) != 3 || len(w.posts) != 2 {
			t.Errorf("got %+v after %d requests, want it suppressed and no more", in, len(w.posts))
		}
	})
}

// Whoever withdraws an event that was called wants nobody to be called again.
func TestRedialsAreWithdrawn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at        time.Duration // after the first event was published
		of        int           // the redial that is named; 0: the event itself
		cancelled int           // the redial that is withdrawn; 0: it is too late
		state     consumer.State
	}{
		"during the first call":      {10 * time.Second, 0, 1, consumer.Cancelled},
		"before the first redial":    {10 * time.Minute, 0, 1, consumer.Cancelled},
		"by the redial's own name":   {10 * time.Minute, 1, 1, consumer.Cancelled},
		"during the redial":          {time.Hour + 40*time.Second, 0, 2, consumer.Cancelled},
		"before the second":          {90 * time.Minute, 0, 2, consumer.Cancelled},
		"before the second, by one":  {90 * time.Minute, 1, 2, consumer.Cancelled},
		"when all of them were made": {5 * time.Hour, 0, 0, consumer.Ended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.unanswered(9)
				key := w.lead("0001")
				if tt.of > 0 {
					key = redialOf("0001", tt.of)
				}
				p := w.start(t, &process{}, redialling(time.Hour, time.Hour))
				time.Sleep(tt.at)
				for range 2 { // and again, as a crash may need it
					r := command(t, p, consumer.Command{Verb: consumer.VerbCancel, Intent: key, By: "ana", Reason: "sold"})
					if r.State != tt.state || (r.Error == "") != (tt.cancelled > 0) {
						t.Errorf("got %+v, want %s", r, tt.state)
					}
				}
				time.Sleep(24 * time.Hour)
				p.stop(t)
				calls := 3
				if tt.cancelled > 0 {
					calls = tt.cancelled
					if s := w.state(redialOf("0001", tt.cancelled)); s != consumer.Cancelled || w.kinds()["cancelled"] != 1 {
						t.Errorf("redial %d: got %q, told %v; want it cancelled and told once", tt.cancelled, s, w.kinds())
					}
				}
				if told := w.ends(t)["0001"].Redial; tt.at < time.Minute && (told.ID != "" || told.Reason != "it was withdrawn" || slices.Contains(w.order, "append")) {
					t.Errorf("the end of the first call: got %+v, and %v; want no redial", told, w.order)
				}
				if len(w.posts) != calls || w.unacked() != 0 {
					t.Errorf("got %d requests, %d messages left; want %d, none", len(w.posts), w.unacked(), calls)
				}
			})
		})
	}
}

// A redial's time counts from the end that the provider tells, where that can be, and
// it is born with the call before it, so that what a loss of state forgot of it is
// in doubt (H19).
func TestH19ARedialIsAsOldAsTheCallBeforeIt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		w.length = 10 * time.Minute
		key := w.lead("0001")
		one := w.start(t, &process{}, redialling(time.Hour))
		time.Sleep(time.Minute)
		one.stop(t)
		time.Sleep(30 * time.Minute)
		released := time.Now()
		two := w.start(t, &process{}, redialling(time.Hour))
		two.engine.SetDoubtful("l", released)
		time.Sleep(6 * time.Hour)
		two.stop(t)
		if in := w.intent(redialOf("0001", 1)); w.state(key) != consumer.Ended || in.State != consumer.Doubt || len(w.posts) != 1 {
			t.Errorf("got %s, its redial %+v after %d requests; want ended, in doubt, one", w.state(key), in, len(w.posts))
		}
	})
}

// Nobody is called again of whom an event is forgotten, or is to be.
func TestForgettingEndsRedials(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Duration{"during the call": 10 * time.Second, "before the redial": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.unanswered(9)
				key := w.lead("0001")
				p := w.start(t, &process{}, redialling(time.Hour))
				time.Sleep(at)
				command(t, p, oblivion(w, "0001"))
				time.Sleep(30 * time.Minute) // the call is over
				if r := command(t, p, oblivion(w, "0001")); r.Error != "" {
					t.Errorf("got %+v, want it forgotten", r)
				}
				time.Sleep(6 * time.Hour)
				p.stop(t)
				for _, key := range []string{key, redialOf("0001", 1)} {
					if in := w.intent(key); in.Forgotten.IsZero() || in.ID+in.RedialOf+in.Next != "" {
						t.Errorf("got %+v, want it forgotten", in)
					}
				}
				if len(w.posts) != 1 || w.unacked() != 0 {
					t.Errorf("got %d requests, %d messages left; want 1, none", len(w.posts), w.unacked())
				}
			})
		})
	}
}
