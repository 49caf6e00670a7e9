package consumer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

func TestEachEventIsOneConversation(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for i := range 20 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.lead("0003") // the same event again
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if len(w.made) != 20 || len(w.doubled()) > 0 {
			t.Errorf("conversations: got %d events, doubled %v; want 20, none", len(w.made), w.doubled())
		}
		if diff := cmp.Diff(map[string]int{"created": 20, "ended": 20}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if w.highest > w.limit {
			t.Errorf("highest slots in use: got %d, limit %d", w.highest, w.limit)
		}
		if n := w.unacked(); n != 0 {
			t.Errorf("messages left: %d", n)
		}
	})
}

// TestCrashAtEveryStep kills the process before and after each act that has an
// effect outside of it, and lets another one take over.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	const events = 3
	for at := 1; at <= 5*events+1; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) { crash(t, w, events, at, late) })
			})
		}
	}
}

func crash(t *testing.T, w *world, events, at int, late bool) {
	w.lead("good")
	w.lead("also")
	w.leadWith("bad", map[string]any{"id": "bad"})
	first := w.start(t, &process{dieAt: at, dieLate: late}, nil)
	time.Sleep(time.Minute)
	claimed := 0 // open claims at the crash: the most that may come into doubt
	w.mu.Lock()
	for _, s := range w.entries {
		if s.intent.State == consumer.Started {
			claimed++
		}
	}
	w.mu.Unlock()
	second := w.start(t, &process{}, nil)
	time.Sleep(15 * time.Minute)
	second.stop(t)
	first.cancel()
	<-first.done
	if d := w.doubled(); len(d) > 0 {
		t.Errorf("doubled: %v", d)
	}
	if n := w.unacked(); n != 0 {
		t.Errorf("messages left: %d", n)
	}
	kinds := w.kinds()
	if kinds["rejected"] != 1 {
		t.Errorf("outcomes of the bad lead: got %v, want one rejected", kinds)
	}
	if got := kinds["created"] + kinds["doubt"]; got != events-1 {
		t.Errorf("outcomes of the good leads: got %v, want %d", kinds, events-1)
	}
	if kinds["doubt"] > claimed {
		t.Errorf("doubts: got %d, want at most the %d claims open at the crash", kinds["doubt"], claimed)
	}
	if len(w.letters) != 1+kinds["doubt"] {
		t.Errorf("letters: got %d, want the bad lead and %d doubts", len(w.letters), kinds["doubt"])
	}
}

func TestStepsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.lead("1234")
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		p.stop(t)
		want := []string{"store started", "store created", "publish created", "ack", "publish ended", "store ended"}
		if diff := cmp.Diff(want, w.order); diff != "" {
			t.Errorf("durable steps (-want +got):\n%s", diff)
		}
	})
}

func TestH2AnItemErrorWaitsBehindTheNextEvent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		bad := w.lead("0001")
		for i := range 5 {
			w.lead(fmt.Sprintf("1%03d", i))
		}
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(b.Items) == 1 && b.Items[0].Intent == bad {
				a := all(b, consumer.VerdictFull, "line busy")
				a.Results[0].ItemError, a.Full, a.Status = true, true, 200
				return a
			}
			return w.accept(b)
		}
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 1 })
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if got := w.state(bad); got != consumer.Dead {
			t.Errorf("the event with an error of its own: got %s, want dead after the second", got)
		}
		if len(w.made) != 5 {
			t.Errorf("created: got %d, want 5", len(w.made))
		}
	})
}

func TestH3AnOutageParksFewAndEndsByItself(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 12
		for i := range 12 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		end := time.Now().Add(5 * time.Minute)
		w.gone = true
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if time.Now().Before(end) {
				a := all(b, consumer.VerdictDoubt, "503")
				a.Status = 503
				return a
			}
			return w.accept(b)
		}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Breaker = ratelimiter.BreakerConfig{Failures: 3, Open: 5 * time.Second}
			c.Accounts[0].Lanes[0].Batch = 3
		})
		time.Sleep(5 * time.Minute)
		during := w.posted()
		w.do(func() { w.gone = false })
		time.Sleep(20 * time.Minute)
		p.stop(t)
		kinds := w.kinds()
		if during > 3 {
			t.Errorf("requests during the outage: got %d, want at most 3 (then only GETs)", during)
		}
		if kinds["doubt"]+kinds["created"] != 12 || kinds["doubt"] > 5 {
			t.Errorf("got %v, want 12 in all, at most 5 in doubt", kinds)
		}
		if sizes := batchSizes(w); slices.Max(sizes[1:during]) > 1 {
			t.Errorf("sizes of requests: %v; after a doubt each must have one item", sizes)
		}
	})
}

func batchSizes(w *world) []int {
	var sizes []int
	for _, b := range w.posts {
		sizes = append(sizes, len(b.Items))
	}
	return sizes
}

func TestH3TooManyDoubtsPauseTheLane(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 20
		for i := range 12 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.answer = always(consumer.VerdictDoubt, "cut", 200)
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Breaker.Failures = 1000
			c.Accounts[0].Lanes[0].Batch, c.Accounts[0].Lanes[0].DoubtLimit = 1, 3
		})
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.kinds()["doubt"]; got != 4 {
			t.Errorf("doubts: got %d, want 4 (one more than the limit)", got)
		}
		if !strings.Contains(w.pauses["l"], "4 events came into doubt") {
			t.Errorf("pause: got %q", w.pauses["l"])
		}
	})
}

func TestH3ADoubtHoldsItsSlotUntilMaxCall(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		w.lead("0001")
		w.lead("0002")
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(w.posts) == 1 {
				w.create(b.Items[0])
				a := all(b, consumer.VerdictDoubt, "cut")
				a.Status = 200
				return a
			}
			return w.accept(b)
		}
		w.length = 9 * time.Minute
		p := w.start(t, &process{}, nil)
		time.Sleep(10*time.Minute - time.Second)
		if n := w.posted(); n != 1 {
			t.Errorf("requests before max_call: got %d, want 1", n)
		}
		time.Sleep(time.Minute)
		p.stop(t)
		if len(w.made) != 2 || w.highest > 1 {
			t.Errorf("got %d conversations, highest %d; want 2, 1", len(w.made), w.highest)
		}
	})
}

// TestH8RedeliveriesRepeatTheStepsOfTheirState takes away the ack of each final
// state, and the outcomes, and lets the message come again.
func TestH8RedeliveriesRepeatTheStepsOfTheirState(t *testing.T) {
	t.Parallel()
	for _, s := range []consumer.State{
		consumer.Created, consumer.Ended, consumer.Dead, consumer.Doubt,
		consumer.Cancelled, consumer.Expired, consumer.Suppressed,
	} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				w.entries["l."+key] = stored{consumer.Intent{
					Lane: "l", Key: key, State: s, N: 2, Claims: 1, Claimed: time.Now().Add(-time.Hour),
					Source: "/crm", ID: "0001", Type: "lead.created", Digest: w.digest(t, 0), Conversation: "c1",
				}, 5}
				w.revision = 5
				p := w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				p.stop(t)
				want := map[string]int{consumer.OutcomeKind(s): 1}
				if s == consumer.Ended {
					want["created"] = 1
				}
				if diff := cmp.Diff(want, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				kept := s == consumer.Dead || s == consumer.Doubt
				if (len(w.letters) == 1) != kept {
					t.Errorf("letters: got %d, want kept %v", len(w.letters), kept)
				}
				if w.unacked() != 0 || len(w.posts) != 0 {
					t.Errorf("got %d messages left, %d requests; want none", w.unacked(), len(w.posts))
				}
			})
		})
	}
}

func TestH9AReplayCountsOnlyForTheStateThatThePersonSaw(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		state  consumer.State
		expect int
		posts  int
	}{
		"dead":          {consumer.Dead, 2, 1},
		"dead, moved":   {consumer.Dead, 1, 0},
		"doubt":         {consumer.Doubt, 2, 1},
		"doubt, moved":  {consumer.Doubt, 1, 0},
		"created since": {consumer.Created, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				event := w.events.msgs[0]
				w.events.msgs = nil
				w.entries["l."+key] = stored{consumer.Intent{
					Lane: "l", Key: key, State: tc.state, N: 2, Claims: 1, Source: "/crm", ID: "0001", Type: "lead.created",
					Conversation: map[bool]string{true: "c0"}[tc.state == consumer.Created],
				}, 5}
				w.revision = 5
				w.due.publish(event.header, event.data)
				w.due.msgs[0].intent = key
				w.due.msgs[0].replay = &consumer.Replay{Expect: tc.expect, By: "ana", Reason: "asked"}
				p := w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				p.stop(t)
				if len(w.posts) != tc.posts {
					t.Errorf("requests: got %d, want %d", len(w.posts), tc.posts)
				}
				if tc.posts == 1 && w.posts[0].Items[0].Attempt != 2 {
					t.Errorf("attempt: got %d, want 2", w.posts[0].Items[0].Attempt)
				}
				if w.unacked() != 0 {
					t.Error("the replay was not acknowledged")
				}
			})
		})
	}
}

// A person sends a corrected event in a dead one's place: its content counts from
// then on, and the old one is another event's.
func TestH26AReplayMayCorrectTheEvent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.leadWith("0001", map[string]any{"id": "0001"})
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Second)
		if got := w.state(key); got != consumer.Dead {
			t.Fatalf("without a number: got %s, want dead", got)
		}
		other := newWorld()
		other.lead("0001")
		corrected := other.events.msgs[0]
		w.sendAgain(key, w.intent(key).N, corrected.header, corrected.data)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		in := w.entries["l."+key].intent
		ev, err := schema.Decode(corrected.header, corrected.data, 0)
		if err != nil {
			t.Fatal(err)
		}
		if in.State != consumer.Ended || in.Digest != schema.Digest(ev) || len(w.posts) != 1 || w.posts[0].Items[0].Request.Pair != "+14155550001" {
			t.Errorf("got %s with digest %q after %d requests, want ended by a call to the corrected number", in.State, in.Digest, len(w.posts))
		}
		told := false
		for _, line := range in.History {
			told = told || line.By == "ana" && strings.Contains(line.Reason, "corrected")
		}
		if !told {
			t.Errorf("timeline: got %+v, want the correction in it", in.History)
		}
	})
}

func TestH11AForeignClaimIsLiveAndThenADoubt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.entries["l."+key] = stored{consumer.Intent{
			Lane: "l", Key: key, State: consumer.Started, N: 1, Claims: 1, Nonce: "other", Claimed: time.Now(),
			Source: "/crm", ID: "0001", Type: "lead.created", Digest: w.digest(t, 0),
		}, 5}
		w.revision = 5
		p := w.start(t, &process{}, nil)
		time.Sleep(49 * time.Second)
		if got := w.state(key); got != consumer.Started {
			t.Errorf("after 49 s: got %s, want started (5 s + 15 s + 30 s are not over)", got)
		}
		time.Sleep(2 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Doubt {
			t.Errorf("later: got %s, want doubt", got)
		}
		if len(w.posts) != 0 || len(w.letters) != 1 || w.unacked() != 0 {
			t.Errorf("got %d requests, %d letters, %d messages left; want 0, 1, 0", len(w.posts), len(w.letters), w.unacked())
		}
	})
}

func TestH12NothingIsSentBehindTheFence(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		p := &process{fence: errors.New("the lease may be another's")}
		w.start(t, p, nil)
		time.Sleep(time.Minute)
		if n := w.posted(); n != 0 || w.state(key) == consumer.Started {
			t.Errorf("got %d requests, state %s; want none, unclaimed", n, w.state(key))
		}
		w.do(func() { p.fence = nil })
		time.Sleep(time.Minute)
		p.stop(t)
		if len(w.posts) != 1 {
			t.Errorf("after the fence opened: got %d requests, want 1", len(w.posts))
		}
	})
}

// TestAClaimThatGetsOldIsNotSent stores the claim so slowly that no time is
// left.
func TestAClaimThatGetsOldIsNotSent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		slow := 0
		w.storeErr = func(in consumer.Intent) (bool, error) {
			if in.State == consumer.Started && slow == 0 {
				slow++
				return true, errors.New("stored, but the answer is lost")
			}
			return true, nil
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended || len(w.doubled()) != 0 {
			t.Errorf("got %s, doubled %v; want the unused claim released and one conversation", got, w.doubled())
		}
	})
}

func TestH15LanesShareTheirAccountByWeight(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 4
		other := newStream(w, "OTHER")
		for i := range 200 {
			w.lead(fmt.Sprintf("%04d", i))
			r := w.events.msgs[len(w.events.msgs)-1]
			other.publish(r.header, r.data)
		}
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			second := c.Accounts[0].Lanes[0]
			second.Name, second.Weight = "m", 3
			second.Events = queue{p, other}
			second.Due = queue{p, newStream(w, "OTHERDUE")}
			c.Accounts[0].Lanes = append(c.Accounts[0].Lanes, second)
			for i := range c.Accounts[0].Lanes {
				c.Accounts[0].Lanes[i].Batch = 1
			}
		})
		time.Sleep(8 * time.Minute)
		p.stop(t)
		light, heavy := 0, 0
		for intent := range w.made {
			if intent == consumer.Key("l", "/crm", w.idOf(intent, "l")) {
				light++
			} else {
				heavy++
			}
		}
		if w.highest > 4 {
			t.Errorf("highest: got %d, want at most 4", w.highest)
		}
		if ratio := float64(heavy) / float64(light); ratio < 2.5 || ratio > 3.5 {
			t.Errorf("shares: got %d and %d, want 1 to 3", light, heavy)
		}
	})
}

// idOf finds the event id behind an intent of a lane, or "".
func (w *world) idOf(intent, lane string) string {
	s, ok := w.entries[lane+"."+intent]
	if !ok {
		return ""
	}
	return s.intent.ID
}

func TestH23EqualRejectionsPauseTheLane(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 20
		for i := range 30 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.answer = always(consumer.VerdictRejected, "unknown agent", 422)
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 1; c.Accounts[0].Limiter.Limit = 1 })
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.kinds()["rejected"]; got != 9 {
			t.Errorf("dead letters: got %d, want 9 (the tenth is not judged)", got)
		}
		if !strings.Contains(w.pauses["l"], "unknown agent") {
			t.Errorf("pause: got %q, want the reason", w.pauses["l"])
		}
	})
}

func TestH23AWrongURLPausesAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.answer = func(_ *world, b consumer.Batch) consumer.Answer {
			a := all(b, consumer.VerdictUnsent, "404")
			a.Status, a.Stop = 404, "the URL is wrong"
			return a
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		var why string
		w.do(func() { why, w.answer = w.pauses["l"], nil })
		if why != "the URL is wrong" || w.state(key) != consumer.Waiting || w.posted() != 1 {
			t.Errorf("got pause %q, state %s, %d requests", why, w.state(key), w.posted())
		}
		p.engine.SetPause("l", nil)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("after the lane went on: got %s, want ended", got)
		}
	})
}

func TestH23OneForbiddenEventDoesNotStopTheLane(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		bad := w.lead("0001")
		for i := range 4 {
			w.lead(fmt.Sprintf("1%03d", i))
		}
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if slices.ContainsFunc(b.Items, func(it consumer.Item) bool { return it.Intent == bad }) {
				a := all(b, consumer.VerdictUnauthorized, "agent not permitted")
				a.Status = 403
				return a
			}
			return w.accept(b)
		}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Breaker = ratelimiter.BreakerConfig{Failures: 5, Open: 5 * time.Second}
		})
		time.Sleep(20 * time.Minute)
		p.stop(t)
		if w.state(bad) != consumer.Dead || len(w.made) != 4 {
			t.Errorf("got %s and %d created, want dead and 4", w.state(bad), len(w.made))
		}
	})
}

func TestRefusedCredentialsStopTheLaneUntilTheyWork(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.denied = true
		w.answer = always(consumer.VerdictUnauthorized, "401", 401)
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Minute)
		gets := 0
		w.do(func() { gets = w.gets })
		if n := w.posted(); n != 1 || gets == 0 {
			t.Errorf("got %d requests, %d GETs; want one request, then only GETs", n, gets)
		}
		if s := status(t, p); s.State != "stopped" || !strings.Contains(s.Why, "credentials") {
			t.Errorf("status: got %s %q", s.State, s.Why)
		}
		w.do(func() { w.denied, w.answer = false, nil })
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("got %s, want ended", got)
		}
	})
}

func TestH26OneIdWithTwoContentsIsADeadLetter(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.lead("0001")
		w.leadWith("0001", map[string]any{"id": "0001", "phone": "+14155559999"})
		p := w.start(t, &process{}, nil)
		time.Sleep(2 * time.Minute)
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"created": 1, "ended": 1, "rejected": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		for _, l := range w.letters {
			if l.Class != "conflict" {
				t.Errorf("class: got %s, want conflict", l.Class)
			}
		}
	})
}

func TestAFullAccountCostsNoAttempt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		for i := range 6 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 4 })
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if len(w.made) != 6 || len(w.doubled()) > 0 || w.highest > 1 {
			t.Errorf("got %d created, doubled %v, highest %d", len(w.made), w.doubled(), w.highest)
		}
		for _, s := range w.entries {
			if s.intent.Attempts != 0 {
				t.Errorf("attempts: got %d, want 0", s.intent.Attempts)
			}
		}
	})
}

func TestAPauseHoldsBeforeTheNextFirstByte(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Second)
		p.engine.SetPause("l", &consumer.Pause{By: "ana", Reason: "lunch"})
		key := w.lead("0001")
		time.Sleep(10 * time.Minute)
		if n := w.posted(); n != 0 {
			t.Errorf("requests while paused: %d", n)
		}
		if s := status(t, p); s.State != "paused" || s.Why != "by ana: lunch" {
			t.Errorf("status: got %s %q", s.State, s.Why)
		}
		p.engine.SetPause("l", nil)
		time.Sleep(2 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("got %s, want ended", got)
		}
	})
}

// TestARestartCountsTheSlotsInUse lets a second process take over while calls
// run.
func TestARestartCountsTheSlotsInUse(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 5 * time.Minute
		for i := range 9 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		first := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 2 })
		time.Sleep(10 * time.Second)
		first.stop(t)
		second := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Limiter.Limit = 2 })
		time.Sleep(40 * time.Minute)
		second.stop(t)
		if w.highest > 2 || len(w.made) != 9 || w.kinds()["ended"] != 9 {
			t.Errorf("got highest %d, %d created, outcomes %v; want 2, 9, 9 ended", w.highest, len(w.made), w.kinds())
		}
	})
}

func TestShutdownDoesNotCutARequest(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		synctest.Wait()
		time.Sleep(50 * time.Millisecond) // the request takes 100 ms
		p.stop(t)
		if got := w.state(key); got != consumer.Created || w.unacked() != 0 {
			t.Errorf("got %s, %d messages left; want created, acknowledged", got, w.unacked())
		}
	})
}

// TestADoubtIsSettledByAPerson settles one doubt as created and drops another.
func TestADoubtIsSettledByAPerson(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		made, dropped := w.lead("0001"), w.lead("0002")
		w.answer = always(consumer.VerdictDoubt, "cut", 200)
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		var n int
		w.do(func() { n = w.entries["l."+made].intent.N })
		for _, tc := range []struct {
			cmd  consumer.Command
			want consumer.State
			fail bool
		}{
			{consumer.Command{Verb: consumer.VerbSettle, Intent: made, Expect: n, Conversation: "c9"}, "", true}, // no name
			{consumer.Command{Verb: consumer.VerbSettle, Intent: made, Expect: n, By: "ana", Reason: "r"}, "", true},
			{consumer.Command{Verb: consumer.VerbSettle, Intent: made, Expect: n - 1, Conversation: "c9", By: "ana", Reason: "r"}, consumer.Doubt, true},
			{consumer.Command{Verb: consumer.VerbSettle, Intent: made, Expect: n, Conversation: "c9", By: "ana", Reason: "r"}, consumer.Created, false},
			{consumer.Command{Verb: consumer.VerbSettle, Intent: made, Expect: n, Conversation: "c9", By: "ana", Reason: "r"}, consumer.Created, false},
			{consumer.Command{Verb: consumer.VerbDrop, Intent: dropped, Expect: n, By: "ana", Reason: "r"}, consumer.Cancelled, false},
			{consumer.Command{Verb: consumer.VerbDrop, Intent: "none", Expect: n, By: "ana", Reason: "r"}, "", true},
		} {
			got := command(t, p, tc.cmd)
			if got.State != tc.want || (got.Error != "") != tc.fail {
				t.Errorf("%+v: got state %q error %q; want %q, error %v", tc.cmd, got.State, got.Error, tc.want, tc.fail)
			}
		}
		p.stop(t)
		kinds := w.kinds()
		if kinds["created"] != 1 || kinds["cancelled"] != 1 || len(w.letters) != 0 {
			t.Errorf("got outcomes %v, %d letters; want one created, one cancelled, no letter", kinds, len(w.letters))
		}
	})
}

func command(t *testing.T, p *process, c consumer.Command) consumer.Reply {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var r consumer.Reply
	if err := json.Unmarshal(p.engine.Control(t.Context(), "l", b), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// status is a lane's, once all has come about that takes no time: a lane may hold slots
// while it looks whether there is an event for them.
func status(t *testing.T, p *process) consumer.LaneStatus {
	t.Helper()
	synctest.Wait()
	r := command(t, p, consumer.Command{Verb: consumer.VerbStatus})
	if r.Status == nil {
		t.Fatalf("no status: %s", r.Error)
	}
	return *r.Status
}

// TestH12TheFenceIsAskedAgainBeforeTheFirstByte lets the lease, or the lane's
// permission, end between the claim and the request.
func TestH12TheFenceIsAskedAgainBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"fence", "pause"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				p := &process{}
				w.storeErr = func(in consumer.Intent) (bool, error) {
					if in.State == consumer.Started && how == "fence" {
						p.fence = errors.New("the lease may be another's")
					}
					if in.State == consumer.Started && how == "pause" {
						p.engine.SetPause("l", &consumer.Pause{By: "ana", Reason: "stop"})
					}
					return true, nil
				}
				w.start(t, p, nil)
				time.Sleep(time.Minute)
				if n := w.posted(); n != 0 || w.state(key) != consumer.Waiting {
					t.Errorf("got %d requests, state %s; want none, waiting again", n, w.state(key))
				}
				w.do(func() { p.fence, w.storeErr = nil, nil })
				p.engine.SetPause("l", nil)
				time.Sleep(2 * time.Minute)
				p.stop(t)
				if w.state(key) != consumer.Ended || len(w.made[key]) != 1 {
					t.Errorf("got %s, conversations %v; want one, ended", w.state(key), w.made[key])
				}
			})
		})
	}
}

func TestH17ADoubtsEventIsKeptBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.lead("0001")
		w.answer = always(consumer.VerdictDoubt, "cut", 200)
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		p.stop(t)
		want := []string{"store started", "store doubt", "keep doubt", "publish doubt", "ack"}
		if diff := cmp.Diff(want, w.order); diff != "" {
			t.Errorf("durable steps (-want +got):\n%s", diff)
		}
	})
}

// TestARestartCountsTheSlotsOfDoubts lets a process take over whose predecessor
// left a doubt: its call may be live.
func TestARestartCountsTheSlotsOfDoubts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, 9*time.Minute
		w.lead("0001")
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			w.create(b.Items[0])
			a := all(b, consumer.VerdictDoubt, "cut")
			a.Status = 200
			return a
		}
		first := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Second)
		first.stop(t)
		w.answer = nil
		w.lead("0002")
		second := w.start(t, &process{}, nil)
		time.Sleep(30 * time.Minute)
		second.stop(t)
		if w.highest > 1 || len(w.made) != 2 || len(w.posts) != 2 {
			t.Errorf("got highest %d, %d created, %d requests; want 1, 2, 2", w.highest, len(w.made), len(w.posts))
		}
	})
}
