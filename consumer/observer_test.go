package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// listener keeps what an observer hears. Each record asks the engine for its status,
// which needs its locks: none may be held.
type listener struct {
	w         *world
	p         *process
	panics    bool
	answered  []consumer.Answered
	attempted []consumer.Attempted
	turned    []consumer.Turned
}

func (l *listener) hear(note func()) {
	request, _ := json.Marshal(consumer.Command{Verb: consumer.VerbStatus})
	l.p.engine.Control(context.Background(), "l", request)
	l.w.do(note)
	if l.panics {
		panic("the observer has a fault")
	}
}

func (l *listener) Answered(a consumer.Answered) {
	l.hear(func() { l.answered = append(l.answered, a) })
}

func (l *listener) Attempted(a consumer.Attempted) {
	l.hear(func() { l.attempted = append(l.attempted, a) })
}

func (l *listener) Turned(t consumer.Turned) {
	l.hear(func() { l.turned = append(l.turned, t) })
}

// listen starts an engine that tells a listener.
func (w *world) listen(t *testing.T, edit func(*consumer.Config)) (*process, *listener) {
	t.Helper()
	l := &listener{w: w, p: &process{}}
	w.start(t, l.p, func(c *consumer.Config) {
		c.Observer = l
		if edit != nil {
			edit(c)
		}
	})
	return l.p, l
}

// born says of all messages so far that they were published now.
func (w *world) born() {
	w.do(func() {
		for _, r := range w.events.msgs {
			r.published = time.Now().Round(0)
		}
	})
}

// steps are the changes that were told of one event, as "claim absent started".
func (l *listener) steps(key string) (steps []string) {
	for _, t := range l.turned {
		if t.Intent == key {
			steps = append(steps, strings.Join(strings.Fields(fmt.Sprint(t.Kind, " ", t.From, " ", t.To)), " "))
		}
	}
	return steps
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTheObserverHearsOfAnEventAllItsWay(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.do(func() { w.events.msgs[0].header["Traceparent"] = []string{traceparent} })
		w.born()
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(w.posts) == 1 {
				a := all(b, consumer.VerdictFull, "no slot")
				a.Status, a.Full = 429, true
				return a
			}
			return w.accept(b)
		}
		time.Sleep(3 * time.Second) // nobody takes it up
		p, l := w.listen(t, nil)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if diff := cmp.Diff([]string{"claim started", "release started waiting", "claim waiting started", "evidence started created", "end created ended"}, l.steps(key)); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if len(l.answered) != 2 || len(l.attempted) != 2 {
			t.Fatalf("got %d answers and %d attempts, want 2 and 2", len(l.answered), len(l.attempted))
		}
		for i, a := range l.answered {
			if a.Sent.Before(a.Began) || a.Done.Sub(a.Sent) != 100*time.Millisecond || len(a.Items) != 1 || a.Items[0].Intent != key || a.Items[0].Claim != i+1 {
				t.Errorf("answer %d: got %+v", i, a)
			}
		}
		if r := l.answered[0].Refused; r != ratelimiter.Unexplained || l.answered[1].Refused != ratelimiter.NotRefused {
			t.Errorf("refused: got %v, then %v; want unexplained, then none", r, l.answered[1].Refused)
		}
		first, last := l.attempted[0], l.attempted[1]
		want := consumer.Subject{
			Lane: "l", Account: "a", Intent: key, EventSource: "/crm", EventID: "0001", EventType: "lead.created",
			Born: w.events.msgs[0].published, Trace: traceparent,
		}
		if diff := cmp.Diff(want, last.Subject); diff != "" {
			t.Errorf("subject (-want +got):\n%s", diff)
		}
		if first.State != consumer.Waiting || first.Cause != "full" || first.Verdict != consumer.VerdictFull || first.Reason != "no slot" || first.Queued != 3*time.Second {
			t.Errorf("first attempt: got %+v", first)
		}
		if diff := cmp.Diff([]consumer.Waited{{Cause: consumer.CauseQueue, For: 3 * time.Second}}, first.Waits, cmpopts.IgnoreFields(consumer.Waited{}, "Began")); diff != "" {
			t.Errorf("waits of the first attempt (-want +got):\n%s", diff)
		}
		if len(last.Waits) != 1 || last.Waits[0].Cause != "full" || last.Waits[0].Began.Sub(want.Born) != 3100*time.Millisecond || last.Queued != 3100*time.Millisecond+last.Waits[0].For {
			t.Errorf("waits of the last attempt: got %+v, queued %v", last.Waits, last.Queued)
		}
		if last.State != consumer.Created || last.Conversation != "c-"+key+"-1" || last.Claim != 2 || last.Answered.Done != l.answered[1].Done || last.Claimed.Before(last.Fetched) {
			t.Errorf("last attempt: got %+v", last)
		}
		end := l.turned[len(l.turned)-1]
		if end.Result != "completed" || end.Talked != w.length || end.Conversation != last.Conversation || end.Trace != traceparent {
			t.Errorf("end: got %+v", end)
		}
		if got := w.entries["l."+key].intent.Trace; got != traceparent {
			t.Errorf("trace in the ledger: got %q", got)
		}
	})
}

func TestTheObserverHearsOfEachEnd(t *testing.T) {
	t.Parallel()
	verdicts := func(v consumer.Verdict) func(w *world) {
		return func(w *world) { w.answer = always(v, "the provider's words", 200) }
	}
	for name, tc := range map[string]struct {
		world  func(w *world)
		config func(w *world, c *consumer.Config)
		act    func(t *testing.T, p *process, key string)
		data   map[string]any
		steps  []string
		want   consumer.Turned // of the last: the fields that are set
	}{
		"rejected":     {world: verdicts(consumer.VerdictRejected), steps: []string{"claim started", "reject started dead"}, want: consumer.Turned{Cause: string(schema.ClassRejected), Reason: "the provider's words"}},
		"doubt":        {world: verdicts(consumer.VerdictDoubt), steps: []string{"claim started", "doubt started doubt"}, want: consumer.Turned{Attempts: 1, Parked: true}},
		"not sendable": {data: map[string]any{"id": "1", "phone": ""}, steps: []string{"refuse dead"}, want: consumer.Turned{Cause: string(schema.ClassRequest)}},
		"a rule": {
			world: func(w *world) {
				w.hours = closedFor(time.Hour)
				w.hours.never = func(string) bool { return true }
			},
			steps: []string{"suppress suppressed"}, want: consumer.Turned{Cause: string(schema.ClassContact), Reason: "a rule forbids it"},
		},
		"the register": {
			config: func(w *world, c *consumer.Config) {
				c.Register = &list{w: w, says: func(consumer.Approach) (consumer.Ruling, error) {
					return consumer.Ruling{Verdict: consumer.ContactNever, Rule: consumer.RuleOnce, Reason: "once in 24 h"}, nil
				}}
			},
			steps: []string{"suppress suppressed"}, want: consumer.Turned{Cause: string(schema.ClassContact), Rule: consumer.RuleOnce},
		},
		"expired": {config: func(_ *world, c *consumer.Config) { c.Accounts[0].Lanes[0].Fresh = time.Millisecond }, steps: []string{"expire expired"}},
		"withdrawn": {
			world: func(w *world) { w.hours = closedFor(time.Hour) },
			act: func(t *testing.T, p *process, key string) {
				request, _ := json.Marshal(consumer.Command{Verb: consumer.VerbCancel, Intent: key, By: "ana", Reason: "asked"})
				if reply := string(p.engine.Control(t.Context(), "l", request)); !strings.Contains(reply, "cancelled") {
					t.Errorf("cancel: got %s", reply)
				}
			},
			steps: []string{"defer waiting", "cancel waiting cancelled"}, want: consumer.Turned{By: "ana", Reason: "asked"},
		},
		"dry run": {config: func(_ *world, c *consumer.Config) { c.Accounts[0].Lanes[0].Dry = true }, steps: []string{"suppress suppressed"}, want: consumer.Turned{Cause: consumer.ClassDryRun}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				if tc.data == nil {
					tc.data = map[string]any{"id": "1", "phone": "+14155550001"}
				}
				key := w.leadWith("0001", tc.data)
				w.born()
				time.Sleep(time.Second)
				if tc.world != nil {
					tc.world(w)
				}
				p, l := w.listen(t, func(c *consumer.Config) {
					if tc.config != nil {
						tc.config(w, c)
					}
				})
				time.Sleep(30 * time.Second)
				if tc.act != nil {
					tc.act(t, p, key)
				}
				p.stop(t)
				if diff := cmp.Diff(tc.steps, l.steps(key)); diff != "" {
					t.Fatalf("changes (-want +got):\n%s", diff)
				}
				got := l.turned[len(l.turned)-1]
				kept := consumer.Turned{Cause: got.Cause, Rule: got.Rule, Reason: tc.want.Reason, By: got.By, Attempts: got.Attempts, Parked: got.Parked}
				if diff := cmp.Diff(tc.want, kept); diff != "" || tc.want.Reason != "" && got.Reason != tc.want.Reason {
					t.Errorf("last change: got %+v (-want +got):\n%s", got, diff)
				}
				if wants := slices.Contains(tc.steps, "claim started"); (len(l.attempted) == 1) != wants || len(l.answered) != len(l.attempted) {
					t.Errorf("got %d answers and %d attempts; requests were made: %v", len(l.answered), len(l.attempted), wants)
				}
			})
		})
	}
}

func TestTheObserverHearsWhatAnEventWaitedFor(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.hours = closedFor(3 * time.Hour)
		opening := time.Now().Add(3 * time.Hour)
		key := w.lead("0001")
		w.born()
		p, l := w.listen(t, calmly)
		time.Sleep(4 * time.Hour)
		p.stop(t)
		if diff := cmp.Diff([]string{"defer waiting", "claim waiting started", "evidence started created", "end created ended"}, l.steps(key)); diff != "" {
			t.Fatalf("changes (-want +got):\n%s", diff)
		}
		if d := l.turned[0]; d.Cause != "window" || !d.Until.Equal(opening) || !d.Later || d.Reason != "it is night" {
			t.Errorf("put off: got %+v", d)
		}
		a := l.attempted[0]
		if len(a.Waits) == 0 || a.Waits[0].Cause != "window" || a.Waits[0].For != 3*time.Hour {
			t.Errorf("waits: got %+v, want 3 h for the window first", a.Waits)
		}
		for _, wait := range a.Waits[1:] {
			if wait.Cause != consumer.CauseQueue || wait.Began.Before(opening.Round(0)) {
				t.Errorf("waits: got %+v, want nothing but the queue after the window", a.Waits)
			}
		}
		if a.Queued < 3*time.Hour || !a.Born.Equal(w.events.msgs[0].published) {
			t.Errorf("got %v in all since %v, want 3 h since it was published", a.Queued, a.Born)
		}
	})
}

// What a replay waits for begins with the person's order.
func TestTheObserverHearsWhoOrderedAReplay(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.born()
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(w.posts) == 1 {
				return all(b, consumer.VerdictRejected, "no")
			}
			return w.accept(b)
		}
		p, l := w.listen(t, nil)
		time.Sleep(time.Hour)
		msg := w.events.msgs[0]
		w.due.put(&record{
			header: msg.header, data: msg.data, published: time.Now().Add(-2 * time.Second).Round(0),
			intent: key, replay: &consumer.Replay{Expect: w.intent(key).N, By: "ana", Reason: "asked"},
		})
		time.Sleep(time.Minute)
		p.stop(t)
		if len(l.attempted) != 2 {
			t.Fatalf("got %d attempts, want 2", len(l.attempted))
		}
		a := l.attempted[1]
		if a.By != "ana" || len(a.Waits) != 1 || a.Waits[0].Cause != consumer.CauseQueue || a.Waits[0].For < 2*time.Second || a.Waits[0].For > time.Minute {
			t.Errorf("got %q, waits %+v; want ana, and the queue since her order", a.By, a.Waits)
		}
	})
}

// The items of a batch share one answer.
func TestTheObserverHearsOfABatch(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for i := range 3 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p, l := w.listen(t, nil)
		synctest.Wait()
		time.Sleep(time.Minute)
		p.stop(t)
		batch := slices.MaxFunc(l.answered, func(a, b consumer.Answered) int { return len(a.Items) - len(b.Items) })
		if len(batch.Items) < 2 || len(l.attempted) != 3 {
			t.Fatalf("got %d items at most, %d attempts; want a batch, and 3", len(batch.Items), len(l.attempted))
		}
		for _, a := range l.attempted {
			if got := a.Answered.Items[a.Index]; got.Intent != a.Intent || got.Claim != a.Claim || got.Verdict != a.Verdict {
				t.Errorf("attempt of %s: its place in the answer is %+v", a.Intent, got)
			}
		}
	})
}

func TestAnObserverThatPanicsHarmsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		l := &listener{w: w, p: &process{}, panics: true}
		w.start(t, l.p, func(c *consumer.Config) { c.Observer = l })
		time.Sleep(5 * time.Minute)
		l.p.stop(t)
		if got := w.state(key); got != consumer.Ended || w.unacked() != 0 || len(l.turned) != 3 {
			t.Errorf("got %s, %d messages left, %d changes told; want ended, none, 3", got, w.unacked(), len(l.turned))
		}
	})
}

// What the person may not be contacted for yet, and nothing is written of, is told.
func TestTheObserverHearsOfAWaitForThePerson(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		began := time.Now()
		p, l := w.listen(t, func(c *consumer.Config) {
			c.Register = &list{w: w, says: func(consumer.Approach) (consumer.Ruling, error) {
				if time.Since(began) < 10*time.Second {
					return consumer.Ruling{Verdict: consumer.ContactLater, Rule: consumer.RuleCaps, Until: time.Now().Add(20 * time.Second), Reason: "not yet"}, nil
				}
				return consumer.Ruling{}, nil
			}}
		})
		time.Sleep(2 * time.Minute)
		p.stop(t)
		first := l.turned[0]
		if first.Kind != consumer.StepDefer || first.From != first.To || first.Cause != consumer.CausePerson || first.Rule != consumer.RuleCaps || first.Intent != key {
			t.Errorf("first: got %+v, want a wait for the person", first)
		}
		if w.state(key) != consumer.Ended {
			t.Errorf("got %s, want ended", w.state(key))
		}
	})
}
