package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// badOutbox refuses what its functions refuse.
type badOutbox struct {
	consumer.Outbox
	publish func(kind string) error
	keep    func(consumer.Letter) error
}

func (o badOutbox) Publish(ctx context.Context, lane, kind string, ev event.Event) error {
	if o.publish != nil {
		if err := o.publish(kind); err != nil {
			return err
		}
	}
	return o.Outbox.Publish(ctx, lane, kind, ev)
}

func (o badOutbox) Keep(ctx context.Context, l consumer.Letter) error {
	if o.keep != nil {
		if err := o.keep(l); err != nil {
			return err
		}
	}
	return o.Outbox.Keep(ctx, l)
}

// badLedger is slow before a write, or loses its answer after it.
type badLedger struct {
	consumer.Ledger
	before func(consumer.Intent)
	after  func(consumer.Intent) error
	away   func() bool
}

func (l badLedger) Store(ctx context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	if l.before != nil {
		l.before(in)
	}
	stored, err := l.Ledger.Store(ctx, in, revision)
	if l.after != nil && err == nil {
		err = l.after(in)
	}
	return stored, err
}

func (l badLedger) Load(ctx context.Context, lane, key string) (consumer.Intent, uint64, error) {
	if l.away != nil && l.away() {
		return consumer.Intent{}, 0, errors.New("the broker does not answer")
	}
	return l.Ledger.Load(ctx, lane, key)
}

// firstInDoubt creates everything, and hides the first request's answer.
func firstInDoubt(w *world, b consumer.Batch) consumer.Answer {
	first := len(w.posts) == 1
	a := consumer.Answer{Status: 200}
	for _, it := range b.Items {
		r := consumer.Result{Verdict: consumer.VerdictCreated, Conversation: w.create(it)}
		if first {
			r = consumer.Result{Verdict: consumer.VerdictDoubt, Reason: "cut"}
		}
		a.Results = append(a.Results, r)
	}
	return a
}

func TestH23AWrongRouteDoesNotKillTheRestOfItsBatch(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 20
		for i := range 100 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.answer = always(consumer.VerdictRejected, "unknown agent", 422)
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 20 })
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.kinds()["rejected"]; got != 9 {
			t.Errorf("dead letters: got %d, want 9", got)
		}
	})
}

func TestAnEndIsToldAfterALongOutageOfTheBroker(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		well := time.Now().Add(12 * time.Minute) // longer than Patience
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Outbox = badOutbox{Outbox: p, publish: func(kind string) error {
				if kind == "ended" && time.Now().Before(well) {
					return errors.New("the broker does not answer")
				}
				return nil
			}}
		})
		time.Sleep(time.Hour)
		p.stop(t)
		if w.kinds()["ended"] != 1 || w.state(key) != consumer.Ended {
			t.Errorf("got outcomes %v, state %s; want the end", w.kinds(), w.state(key))
		}
	})
}

// TestH3MaxCallBeginsWithTheFirstByte lets a claim be stored slowly, and its
// call last almost as long as MaxCall.
func TestH3MaxCallBeginsWithTheFirstByte(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length, w.answer = 1, 10*time.Minute-time.Second, firstInDoubt
		w.lead("0001")
		w.lead("0002")
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Ledger = badLedger{Ledger: p, before: func(in consumer.Intent) {
				if in.State == consumer.Started && in.ID == "0001" {
					time.Sleep(3 * time.Second)
				}
			}}
		})
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if w.highest > 1 || len(w.made) != 2 {
			t.Errorf("got highest %d, %d created; want 1, 2", w.highest, len(w.made))
		}
	})
}

// TestARestartCountsTheSlotsOfEarlierAttempts replays or drops a doubt whose
// call is live, and restarts.
func TestARestartCountsTheSlotsOfEarlierAttempts(t *testing.T) {
	t.Parallel()
	for _, act := range []string{"replay", "drop"} {
		t.Run(act, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit, w.length, w.answer = 2, 9*time.Minute, firstInDoubt
				key := w.lead("0001")
				ev := w.events.msgs[0]
				p := w.start(t, &process{}, nil)
				time.Sleep(10 * time.Second)
				var n int
				w.do(func() { n = w.entries["l."+key].intent.N })
				if act == "replay" {
					w.sendAgain(key, n, ev.header, ev.data)
				} else {
					command(t, p, consumer.Command{Verb: consumer.VerbDrop, Intent: key, Expect: n, By: "ana", Reason: "x"})
				}
				time.Sleep(10 * time.Second)
				w.lead("0002")
				w.lead("0003")
				p.stop(t)
				p = w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				p.stop(t)
				if w.highest > 2 {
					t.Errorf("highest slots in use: got %d, limit 2", w.highest)
				}
			})
		})
	}
}

// TestALaneWhoseDeadLettersFailDoesNotStopTheOthers refuses the letters of one
// lane of an account.
func TestALaneWhoseDeadLettersFailDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 10
		other := newStream(w, "OTHER")
		for i := range 50 {
			w.leadWith(fmt.Sprintf("bad%d", i), map[string]any{"id": "bad"})
		}
		for i := range 60 {
			w.lead(fmt.Sprintf("g%03d", i))
		}
		other.msgs, w.events.msgs = w.events.msgs[50:], w.events.msgs[:50]
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Outbox = badOutbox{Outbox: p, keep: func(l consumer.Letter) error {
				if l.Lane == "l" {
					return errors.New("maximum bytes exceeded")
				}
				return nil
			}}
			second := c.Accounts[0].Lanes[0]
			second.Name, second.Events, second.Due = "m", queue{p, other}, queue{p, newStream(w, "OTHERDUE")}
			c.Accounts[0].Lanes = append(c.Accounts[0].Lanes, second)
		})
		time.Sleep(5 * time.Minute) // 60 calls of 20 s in 10 slots take 2
		called := 0
		w.do(func() { called = len(w.made) })
		if called != 60 {
			t.Errorf("calls of the healthy lane: got %d, want 60", called)
		}
		p.cancel()
		<-p.done
	})
}

// TestACreatedIntentThatARedeliveryMeetsIsFollowed loses the answer of the
// write that says created, and then the ledger, for longer than Patience.
func TestACreatedIntentThatARedeliveryMeetsIsFollowed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.lead("0001")
		p, began := &process{}, time.Now()
		w.start(t, p, func(c *consumer.Config) {
			c.Patience = 2 * time.Minute
			c.Ledger = badLedger{
				Ledger: p,
				after: func(in consumer.Intent) error {
					if in.State == consumer.Created {
						return errors.New("stored, but the answer is lost")
					}
					return nil
				},
				away: func() bool {
					d := time.Since(began)
					return d > 50*time.Millisecond && d < 3*time.Minute
				},
			}
		})
		time.Sleep(2 * time.Hour)
		p.stop(t)
		if w.kinds()["ended"] != 1 {
			t.Errorf("outcomes: got %v, want the end", w.kinds())
		}
	})
}

// TestCommandsMayComeWhileTheSlotsAreCounted is for the race detector.
func TestCommandsMayComeWhileTheSlotsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld()
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = w.lead(fmt.Sprintf("%04d", i))
		w.entries["l."+keys[i]] = stored{consumer.Intent{
			Lane: "l", Key: keys[i], State: consumer.Doubt, N: 2, Claims: 1, Claimed: time.Now(),
			Source: "/crm", ID: fmt.Sprintf("%04d", i), Type: "lead.created", Digest: w.digest(t, i),
		}, 5}
	}
	w.revision = 5
	p := w.start(t, &process{}, nil)
	for i, key := range keys {
		settle := consumer.Command{Verb: consumer.VerbSettle, Intent: key, Expect: 2, Conversation: fmt.Sprint("c", i), By: "a", Reason: "r"}
		command(t, p, settle)
		command(t, p, settle)
		command(t, p, consumer.Command{Verb: consumer.VerbStatus})
	}
	p.cancel()
	<-p.done
}

// TestH3DoubtsBesideACreatedItemMakeTheLaneCareful creates one item of each
// request and loses the others.
func TestH3DoubtsBesideACreatedItemMakeTheLaneCareful(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 25
		for i := range 25 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			a := all(b, consumer.VerdictDoubt, "cut")
			a.Status = 200
			a.Results[0] = consumer.Result{Verdict: consumer.VerdictCreated, Conversation: w.create(b.Items[0])}
			return a
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if sizes := batchSizes(w); len(sizes) < 3 || sizes[1] != 1 {
			t.Errorf("sizes of requests: got %v, want one item after the doubts", sizes)
		}
	})
}

// TestH3ABatchIsNoTrial grants a batch, lets the breaker open and half-open
// while the ledger is slow, and looks what goes out.
func TestH3ABatchIsNoTrial(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 12
		down := false
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if down {
				a := all(b, consumer.VerdictDoubt, "503")
				a.Status = 503
				return a
			}
			return w.accept(b)
		}
		slow := map[string]bool{}
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Ledger = slowLoad{p, w, slow}
			c.Accounts[0].Breaker = ratelimiter.BreakerConfig{Failures: 1, Open: 5 * time.Second}
		})
		w.lead("0000") // opens the window to two requests
		time.Sleep(5 * time.Second)
		w.do(func() { down, slow[consumer.Key("l", "/crm", "0001")] = true, true })
		for i := range 4 {
			w.lead(fmt.Sprintf("%04d", i+1))
		}
		time.Sleep(500 * time.Millisecond)
		w.lead("9999") // another request: fails, the breaker opens
		time.Sleep(30 * time.Second)
		p.stop(t)
		if sizes := batchSizes(w); slices.Max(sizes) > 1 {
			t.Errorf("sizes of requests: got %v, want single ones", sizes)
		}
	})
}

// slowLoad takes 6 s for the first look at some intents.
type slowLoad struct {
	consumer.Ledger
	w    *world
	slow map[string]bool
}

func (l slowLoad) Load(ctx context.Context, lane, key string) (consumer.Intent, uint64, error) {
	nap := false
	l.w.do(func() { nap = l.slow[key]; delete(l.slow, key) })
	if nap {
		time.Sleep(6 * time.Second)
	}
	return l.Ledger.Load(ctx, lane, key)
}

// TestAReplayThatIsRefusedAgainIsTold replays a lead that cannot be sent.
func TestAReplayThatIsRefusedAgainIsTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.leadWith("bad", map[string]any{"id": "bad"})
		p := w.start(t, &process{}, nil)
		time.Sleep(5 * time.Second)
		ev := w.events.msgs[0]
		w.sendAgain(key, w.intent(key).N, ev.header, ev.data)
		time.Sleep(time.Minute)
		p.stop(t)
		if got := w.kinds()["rejected"]; got != 2 {
			t.Errorf("outcomes: got %d, want one for each refusal", got)
		}
	})
}

// TestASlotIsFreedWhenItsCallEndsThoughItsOutcomeCannotBeTold keeps the outcomes
// away for longer than Patience.
func TestASlotIsFreedWhenItsCallEndsThoughItsOutcomeCannotBeTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		first := w.lead("0001")
		second := w.lead("0002")
		well := time.Now().Add(11 * time.Minute)
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Accounts[0].MaxCall = 5 * time.Hour
			c.Outbox = badOutbox{Outbox: p, publish: func(string) error {
				if time.Now().Before(well) {
					return errors.New("the broker does not answer")
				}
				return nil
			}}
		})
		time.Sleep(time.Hour)
		p.stop(t)
		if w.state(first) != consumer.Ended || w.state(second) != consumer.Ended {
			t.Errorf("got %s and %s, want both ended long before MaxCall", w.state(first), w.state(second))
		}
	})
}

// TestADoubtIsRememberedThroughManyWaits replays a doubt into a full account
// until its timeline is longer than is kept, and restarts.
func TestADoubtIsRememberedThroughManyWaits(t *testing.T) {
	t.Parallel()
	in := consumer.Intent{Lane: "l", Key: "k"}
	apply := func(s consumer.Step) {
		next, effect := consumer.Next(in, s, noon)
		if effect != consumer.Applied {
			t.Fatalf("step %d: got effect %d, want applied", s.Kind, effect)
		}
		in = next
	}
	apply(consumer.Step{Kind: consumer.StepClaim, Nonce: "1"})
	apply(consumer.Step{Kind: consumer.StepDoubt, Attempt: 1})
	apply(consumer.Step{Kind: consumer.StepReplay, Expect: in.N, Nonce: "2"})
	for range 40 {
		apply(consumer.Step{Kind: consumer.StepRelease, Attempt: in.Claims, Class: "full"})
		apply(consumer.Step{Kind: consumer.StepClaim, Nonce: "n"})
	}
	var kept []consumer.State
	for _, line := range in.History {
		if line.Claim == 1 {
			kept = append(kept, line.State)
		}
	}
	if len(in.History) != consumer.HistoryLimit || !slices.Equal(kept, []consumer.State{consumer.Started, consumer.Doubt}) {
		t.Errorf("got %d lines, of claim 1: %v; want %d and started, doubt", len(in.History), kept, consumer.HistoryLimit)
	}
}

// A person drops a doubt while the broker takes no outcomes, or takes the
// decision and its answer is lost: the person reads an error and tries no more.
func TestADropIsToldEvenIfThePersonGivesUp(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"outcome", "ledger"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.answer = lost
				key := w.lead("0001")
				p := w.start(t, &process{}, func(c *consumer.Config) {
					until := time.Now().Add(10 * time.Minute)
					c.Outbox = badOutbox{Outbox: c.Outbox, publish: func(kind string) error {
						if kind == "cancelled" && time.Now().Before(until) {
							return errSilent
						}
						return nil
					}}
				})
				time.Sleep(time.Minute)
				if what == "ledger" {
					w.do(func() { w.storeErr = func(consumer.Intent) (bool, error) { return true, errSilent } })
				}
				r := command(t, p, consumer.Command{Verb: consumer.VerbDrop, Intent: key, Expect: 2, By: "ana", Reason: "no"})
				if r.Error == "" || w.state(key) != consumer.Cancelled {
					t.Fatalf("got %+v, %s; want an error, and the decision written down", r, w.state(key))
				}
				w.do(func() { w.storeErr = nil })
				time.Sleep(2 * time.Hour)
				p.stop(t)
				if diff := cmp.Diff(map[string]int{"doubt": 1, "cancelled": 1}, w.kinds()); diff != "" || len(w.letters) != 0 {
					t.Errorf("%d letters, outcomes (-want +got):\n%s", len(w.letters), diff)
				}
			})
		})
	}
}
