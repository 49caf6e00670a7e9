package consumer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// living is lead for an event that tells when it may be sent, published at a time.
// A time of zero is not told.
func (w *world) living(id string, published, notBefore, expires time.Time) string {
	ev := map[string]any{
		"specversion": "1.0", "id": id, "source": "/crm", "type": "lead.created", "data": map[string]any{"id": id, "phone": "+1415555" + id},
	}
	for name, at := range map[string]time.Time{"notbefore": notBefore, "expirytime": expires} {
		if !at.IsZero() {
			ev[name] = at.UTC().Format(time.RFC3339Nano)
		}
	}
	body, _ := json.Marshal(ev)
	w.events.put(&record{header: map[string][]string{"Content-Type": {"application/cloudevents+json"}}, data: body, published: published})
	return consumer.Key("l", "/crm", id)
}

// fresh is a lane that sends nothing older.
func fresh(d time.Duration) func(*consumer.Config) {
	return func(c *consumer.Config) { c.Accounts[0].Lanes[0].Fresh = d }
}

// An event is sent neither before nor after its time, however it waits.
func TestAnEventIsSentInItsLifetime(t *testing.T) {
	t.Parallel()
	const never = 1000 * time.Hour
	ended := []string{"store started", "store created", "publish created", "ack", "publish ended", "store ended"}
	expired := []string{"store expired", "publish expired", "ack"}
	kept := []string{"store waiting", "postpone", "ack"}
	with := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for name, tt := range map[string]struct {
		age, notBefore, expires time.Duration // from now; zero: not told
		fresh                   time.Duration
		closed                  time.Duration // nobody may be contacted for so long
		busy                    time.Duration // the provider asks for so long a wait
		sent                    time.Duration // never: it expires
		order                   []string
		cause, says             string
	}{
		"no word":                        {order: ended},
		"a time to come":                 {expires: time.Minute, order: ended},
		"over":                           {expires: -time.Second, sent: never, order: expired, says: "its expirytime"},
		"not yet, for a short time":      {notBefore: 2 * time.Minute, sent: 2 * time.Minute, order: with([]string{"store waiting"}, ended), cause: "notbefore"},
		"not yet, for long":              {notBefore: 3 * time.Hour, sent: 3 * time.Hour, order: with(kept, ended), cause: "notbefore"},
		"not yet, for days":              {notBefore: 100 * time.Hour, sent: 100 * time.Hour, order: with(kept, kept, ended), cause: "notbefore"},
		"long since":                     {notBefore: -time.Hour, order: ended},
		"it expires before it begins":    {notBefore: 2 * time.Hour, expires: time.Hour, sent: never, order: expired, says: "must not be sent before"},
		"it expires when it begins":      {notBefore: time.Hour, expires: time.Hour, sent: never, order: expired, says: "must not be sent before"},
		"fresh":                          {age: 71 * time.Hour, fresh: 72 * time.Hour, order: ended},
		"stale":                          {age: 73 * time.Hour, fresh: 72 * time.Hour, sent: never, order: expired, says: "longer than 72h0m0s"},
		"stale before its own end":       {age: 73 * time.Hour, fresh: 72 * time.Hour, expires: time.Hour, sent: never, order: expired, says: "longer than 72h0m0s"},
		"over before it is stale":        {age: time.Hour, fresh: 72 * time.Hour, expires: -time.Minute, sent: never, order: expired, says: "its expirytime"},
		"old, and its time is to come":   {age: 60 * time.Hour, fresh: 24 * time.Hour, notBefore: time.Hour, sent: time.Hour, order: with(kept, ended), cause: "notbefore"},
		"old, and its time was lately":   {age: 60 * time.Hour, fresh: 24 * time.Hour, notBefore: -time.Hour, order: ended},
		"old, and its time is long past": {age: 60 * time.Hour, fresh: 24 * time.Hour, notBefore: -30 * time.Hour, sent: never, order: expired, says: "longer than 24h0m0s"},
		"hours that open in time":        {expires: 4 * time.Hour, closed: 3 * time.Hour, sent: 3 * time.Hour, order: with(kept, ended), cause: "window"},
		"hours that open too late":       {expires: 2 * time.Hour, closed: 3 * time.Hour, sent: never, order: expired, says: "its expirytime"},
		"fresh, and hours too late":      {age: time.Hour, fresh: 3 * time.Hour, closed: 3 * time.Hour, sent: never, order: expired, says: "(it is night)"},
		"it begins, then hours":          {notBefore: time.Hour, closed: 3 * time.Hour, sent: 3 * time.Hour, order: with(kept, kept, ended), cause: "window"},
		"a busy provider":                {expires: 2 * time.Hour, busy: time.Hour, sent: time.Hour, order: with([]string{"store started"}, kept, ended), cause: "full"},
		"a provider that is busy till it is over": {expires: time.Hour, busy: 3 * time.Hour, sent: never,
			order: with([]string{"store started"}, kept, expired), cause: "full", says: "its expirytime"},
		"a provider that is busy till it is stale": {age: time.Hour, fresh: 2 * time.Hour, busy: 3 * time.Hour, sent: never,
			order: with([]string{"store started"}, kept, expired), cause: "full", says: "longer than 2h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				began := time.Now()
				at := func(d time.Duration) (t time.Time) {
					if d != 0 {
						t = began.Add(d)
					}
					return t
				}
				if tt.closed > 0 {
					w.hours = closedFor(tt.closed)
				}
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					if tt.busy == 0 || time.Since(began) > tt.busy {
						return w.accept(b)
					}
					a := all(b, consumer.VerdictFull, "come again")
					a.Status, a.Full, a.Header = 429, true, map[string][]string{"Retry-After": {fmt.Sprint(tt.busy.Seconds())}}
					return a
				}
				posts := w.noteRequests()
				key := w.living("0001", began.Add(-tt.age), at(tt.notBefore), at(tt.expires))
				p := w.start(t, &process{}, fresh(tt.fresh))
				time.Sleep(max(tt.sent%never, tt.busy, 0) + time.Hour)
				p.stop(t)
				if diff := cmp.Diff(tt.order, w.order); diff != "" {
					t.Errorf("durable steps (-want +got):\n%s", diff)
				}
				if w.unacked() != 0 {
					t.Errorf("messages left: %d", w.unacked())
				}
				in := w.intent(key)
				if tt.cause != "" && in.Waits[tt.cause] == 0 || tt.cause == "" && len(in.Waits) > 0 || in.Attempts != 0 {
					t.Errorf("waits %v, %d attempts; want %q", in.Waits, in.Attempts, tt.cause)
				}
				if tt.sent == never {
					if in.State != consumer.Expired || !strings.Contains(w.told(t, "expired").Reason, tt.says) || len(w.made) != 0 {
						t.Errorf("got %s because %q, want expired because %q", in.State, in.Reason, tt.says)
					}
					return
				}
				if last := (*posts)[len(*posts)-1]; last < tt.sent || last > tt.sent+10*time.Second {
					t.Errorf("posted after %v, want at %v", *posts, tt.sent)
				}
			})
		})
	}
}

// An event that is kept until later is told of when it expires, as soon as its lane
// reads: the next owner knows nothing of the provider's wish.
func TestAPostponedEventExpiresAtItsTime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = patience
		key := w.living("0001", time.Now(), time.Time{}, time.Now().Add(time.Hour))
		p := w.start(t, &process{}, nil)
		time.Sleep(59 * time.Minute)
		if s := w.state(key); s != consumer.Waiting {
			t.Errorf("before: got %s, want waiting", s)
		}
		p.stop(t)
		p = w.start(t, &process{}, nil)
		time.Sleep(2 * time.Minute)
		p.stop(t)
		if s := w.state(key); s != consumer.Expired || w.unacked() != 0 {
			t.Errorf("got %s, %d messages left; want expired, 0", s, w.unacked())
		}
	})
}

// What no clock can be asked for is refused, by its name.
func TestALifetimeThatIsNone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.do(func() {
			w.last().data = []byte(strings.Replace(string(w.last().data), `"source"`, `"notbefore":"tomorrow","source"`, 1))
		})
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Dead || in.Class != "undecodable" || !strings.Contains(in.Reason, `notbefore "tomorrow" is not a time`) || w.posted() != 0 {
			t.Errorf("got %s, %s: %s; want a dead letter that names the attribute", in.State, in.Class, in.Reason)
		}
	})
}

// What comes back from a wait is a younger message: the ledger knows when its event
// was published, or at least when it was first seen.
func TestAWaitDoesNotMakeAnEventFresh(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		told bool
		age  time.Duration // when it is first seen
	}{"told": {true, 0}, "told, and old": {true, 150 * time.Minute}, "by an older version": {false, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.hours = closedFor(3*time.Hour - tc.age)
				published := time.Now().Add(-tc.age)
				key := w.living("0001", published, time.Time{}, time.Time{})
				p := w.start(t, &process{}, fresh(4*time.Hour))
				time.Sleep(20 * time.Minute)
				w.do(func() {
					if e := w.entries["l."+key]; !tc.told {
						e.intent.Born = time.Time{}
						w.entries["l."+key] = e
					}
					w.hours.opens = func(_ string, now time.Time) time.Time { return now.Add(90 * time.Minute) }
				})
				time.Sleep(24 * time.Hour)
				p.stop(t)
				if in := w.intent(key); in.State != consumer.Expired || in.History[len(in.History)-1].At.Sub(published) > 4*time.Hour {
					t.Errorf("got %s after %v, want expired within 4 h of %v", in.State, in.History, published)
				}
			})
		})
	}
}

// It is asked last when the first byte is about to go out.
func TestAnEventThatExpiresWhileItIsClaimed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.slowStore = 3 * time.Second
		key := w.living("0001", time.Now(), time.Time{}, time.Now().Add(2*time.Second))
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Expired || in.Claims != 1 || len(w.made) != 0 || w.unacked() != 0 {
			t.Errorf("got %s after %d claims, made %v; want expired after one", in.State, in.Claims, w.made)
		}
	})
}

// Whichever step the process dies at, an event that is over is told of, and nobody
// is called.
func TestACrashWhileAnEventExpires(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 10; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					w.hours = closedFor(20 * time.Hour)
					over := w.living("0001", time.Now(), time.Time{}, time.Now().Add(-time.Minute))
					waits := w.living("0002", time.Now(), time.Now().Add(time.Hour), time.Now().Add(3*time.Hour))
					one := w.start(t, &process{dieAt: at, dieLate: late}, nil)
					time.Sleep(5 * time.Minute)
					one.cancel()
					w.do(func() { one.dead = true })
					two := w.start(t, &process{}, nil)
					time.Sleep(12 * time.Hour)
					two.stop(t)
					<-one.done
					for _, key := range []string{over, waits} {
						if s := w.state(key); s != consumer.Expired {
							t.Errorf("got %s, want expired", s)
						}
					}
					if w.unacked() != 0 || w.posted() != 0 || w.kinds()["expired"] != 2 {
						t.Errorf("got %d messages left, %d requests, told %v; want none, none, both", w.unacked(), w.posted(), w.kinds())
					}
				})
			})
		}
	}
}

// A person who has a letter sent again has seen how old it is, but not beyond what
// its publisher said. What is refused stays what it was.
func TestAReplayOfWhatIsOver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first   consumer.Verdict
		expires time.Duration
		want    consumer.State
	}{
		"stale":             {consumer.VerdictRejected, 0, consumer.Ended},
		"over":              {consumer.VerdictRejected, time.Hour, consumer.Dead},
		"over, and a doubt": {consumer.VerdictDoubt, time.Hour, consumer.Doubt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = first(1, always(tt.first, "no", 400))
				var expires time.Time
				if tt.expires > 0 {
					expires = time.Now().Add(tt.expires)
				}
				key := w.living("0001", time.Now(), time.Time{}, expires)
				p := w.start(t, &process{}, fresh(24*time.Hour))
				time.Sleep(48 * time.Hour)
				w.do(func() {
					l := w.letters[key]
					order := &consumer.Replay{Expect: w.entries["l."+key].intent.N, By: "ana", Reason: "please"}
					w.addDue(&record{header: l.Header, data: l.Data, intent: key, replay: order, ready: time.Now()})
				})
				time.Sleep(time.Hour)
				p.stop(t)
				in := w.intent(key)
				if in.State != tt.want || w.unacked() != 0 {
					t.Errorf("got %s because %q, %d messages left; want %s", in.State, in.Reason, w.unacked(), tt.want)
				}
				if tt.expires > 0 && (!strings.Contains(in.Reason, "was not obeyed: The event expired") || w.posted() != 1 || w.letters[key].Intent == "") {
					t.Errorf("got %q after %d requests, letter %+v; want a letter that says why", in.Reason, w.posted(), w.letters[key])
				}
			})
		})
	}
}

// The id of an open doubt is not sent again when its event is over.
func TestAnOpenDoubtThatIsOver(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = first(1, lost)
		key := w.living("0001", time.Now(), time.Time{}, time.Now().Add(20*time.Second))
		p := w.start(t, &process{}, edit)
		time.Sleep(time.Hour)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Doubt || in.Open || !strings.Contains(in.Reason, "its expirytime") || w.posted() != 1 {
			t.Errorf("got %+v after %d requests, want a doubt for a person after one", in, w.posted())
		}
	})
}

// A doubt that a person had sent again, and that waits, is none that was never sent.
func TestWhatWasInDoubtDoesNotExpire(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = first(1, always(consumer.VerdictDoubt, "lost", 0))
		key := w.living("0001", time.Now(), time.Time{}, time.Now().Add(2*time.Minute))
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		w.do(func() { w.answer = always(consumer.VerdictUnsent, "no connection", 0) })
		w.replay(key, w.intent(key).N, 0)
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Doubt || !strings.Contains(in.Reason, "its expirytime") || w.unacked() != 0 {
			t.Errorf("got %s because %q, %d messages left; want a doubt", in.State, in.Reason, w.unacked())
		}
	})
}

// While the clocks differ nothing is over for good, and nothing that names a time is
// sent; the others go on.
func TestH25ALifetimeWaitsForTheClocks(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{9 * time.Hour, -9 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 10
				now, none := time.Now(), time.Time{}
				wants := map[string]consumer.State{
					w.living("0001", now, now.Add(4*time.Hour), none):    consumer.Waiting, // early by one clock
					w.living("0002", now, none, now.Add(4*time.Hour)):    consumer.Ended,   // over by one clock
					w.living("0003", now, none, now.Add(-4*time.Hour)):   consumer.Expired,
					w.living("0004", now, now.Add(-4*time.Hour), none):   consumer.Ended,
					w.living("0005", now.Add(-20*time.Hour), none, none): consumer.Ended, // perhaps stale
					w.living("0006", now.Add(-40*time.Hour), none, none): consumer.Expired,
				}
				young := w.living("0099", now.Add(-10*time.Hour), none, none)
				p := &process{}
				clock := w.clocked(t, p, by, fresh(24*time.Hour))
				time.Sleep(5*time.Minute + 137*time.Millisecond)
				for key := range wants {
					if s := w.state(key); s == consumer.Expired || s != consumer.Absent && key != consumer.Key("l", "/crm", "0005") {
						t.Errorf("while the clocks differ: got %q for %s, want nothing", s, key)
					}
				}
				if s := w.state(young); s != consumer.Ended {
					t.Errorf("fresh by both, without a time of its own: got %q, want it sent", s)
				}
				if s := status(t, p); !strings.Contains(s.Why, "may be sent yet, or still; set the clocks right") {
					t.Errorf("the lane says %q, want why it waits", s.Why)
				}
				clock.Observe(consumer.BrokerClock, ahead(0))
				time.Sleep(10 * time.Minute)
				p.stop(t)
				for key, want := range wants {
					if s := w.state(key); s != want {
						t.Errorf("when they agree again: got %q for %s, want %q", s, key, want)
					}
				}
			})
		})
	}
}

// Within what clocks may differ, an event is sent when it may be by both.
func TestH25ALifetimeIsMetByBothClocks(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{20 * time.Second, -20 * time.Second} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				posts := w.noteRequests()
				now := time.Now()
				w.living("0001", now, now.Add(time.Minute), time.Time{})
				over := w.living("0002", now, time.Time{}, now.Add(10*time.Second))
				p := &process{}
				w.clocked(t, p, by, nil)
				time.Sleep(15 * time.Second)
				w.living("0003", time.Now(), now.Add(10*time.Second), time.Time{}) // first seen while one clock is past it
				time.Sleep(10 * time.Minute)
				p.stop(t)
				if n, earliest := len(*posts), time.Minute+max(by, 0); n == 0 || (*posts)[n-1] < earliest {
					t.Errorf("posted after %v, want the last not before %v", *posts, earliest)
				}
				if n := len(*posts); n < 2 || (*posts)[n-2] < 10*time.Second+max(by, 0) {
					t.Errorf("posted after %v, want the last but one not before %v", *posts, 10*time.Second+max(by, 0))
				}
				if s := w.state(over); (s == consumer.Expired) != (by < 0) {
					t.Errorf("10 s before it is over here: got %s", s)
				}
			})
		})
	}
}

// span is when an event of the world may be sent. A time of zero is no bound.
type span struct{ from, until time.Time }

func (s span) includes(t time.Time) bool {
	return !t.Before(s.from) && (s.until.IsZero() || t.Before(s.until))
}

// over reports whether the event can be sent no more.
func (s span) over(t time.Time) bool {
	return !s.until.IsZero() && (!t.Before(s.until) || !s.from.Before(s.until))
}

// limitLife has the event that is published next be sent in a while, or for a while
// only: by the attributes that it returns.
func (s *storm) limitLife(key string) map[string]any {
	now, life, attributes := time.Now(), span{}, make(map[string]any)
	at := func(name string) (t time.Time) {
		if s.r.IntN(2) == 0 {
			t = now.Add(time.Duration(s.r.Int64N(int64(20 * time.Minute)))).Round(0)
			attributes[name] = t.UTC().Format(time.RFC3339Nano)
		}
		return t
	}
	life.from, life.until = at("notbefore"), at("expirytime")
	s.w.do(func() { s.w.lives[key] = life })
	return attributes
}

// TestStormOfLifetimes is TestStorm for events that may be sent for a while only: no
// byte goes out before or after that, and each one that was not sent is told of.
func TestStormOfLifetimes(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(s *storm) {
		s.w.lives = make(map[string]span)
		s.brief = true
		s.play(s.batches)
	})
}
