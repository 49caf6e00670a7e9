package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// oddProvider answers for some ids by itself.
type oddProvider struct {
	*process
	odd func(ctx context.Context, id string) (conv consumer.Conversation, err error, mine bool)
}

func (o oddProvider) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	if conv, err, mine := o.odd(ctx, id); mine {
		return conv, err
	}
	return o.process.Conversation(ctx, id)
}

// oddly runs an engine over a provider that answers so for some ids.
func (w *world) oddly(t *testing.T, p *process, odd func(ctx context.Context, id string) (consumer.Conversation, error, bool), edit func(*consumer.Config)) *process {
	t.Helper()
	return w.start(t, p, func(cfg *consumer.Config) {
		cfg.Accounts[0].Provider = oddProvider{p, odd}
		if edit != nil {
			edit(cfg)
		}
	})
}

// A webhook names an id that the provider answers with an error, neither found nor
// unknown: the ends of the account's calls are found as before.
func TestH13AWebhooksIDThatFailsStopsNoPolls(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = firstInDoubt
		w.limit, w.length = 2, 20*time.Second
		key := w.lead("0001")
		p := w.oddly(t, &process{}, func(_ context.Context, id string) (consumer.Conversation, error, bool) {
			return consumer.Conversation{}, errors.New("400: not a UUID"), strings.HasPrefix(id, "conv_")
		}, nil)
		time.Sleep(5 * time.Second)
		for i := range 60 {
			w.lead(fmt.Sprintf("1%03d", i))
		}
		for i := range 6 {
			_ = p.tell(t, fmt.Sprint("conv_", i), key, 1)
		}
		before := w.posted()
		time.Sleep(8 * time.Minute)
		if calls := w.posted() - before; calls < 18 { // of 20 s, one after the other
			t.Errorf("calls in eight minutes: got %d, want 18 at least", calls)
		}
		p.stop(t)
	})
}

// The webhooks of a workspace come to one lane's address. One that is looked into
// holds up the second call of another lane's event, too.
func TestH10AWebhookAtAnotherLanesAddressStopsTheSecondCall(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Minute
		key := w.lead("0001")
		w.answer = firstInDoubt
		p := &process{}
		w.start(t, p, func(cfg *consumer.Config) {
			other := cfg.Accounts[0].Lanes[0]
			other.Name, other.Events, other.Due = "hooked", queue{p, newStream(w, "EVENTS2")}, queue{p, newStream(w, "DUE2")}
			cfg.Accounts[0].Lanes = append(cfg.Accounts[0].Lanes, other)
		})
		time.Sleep(time.Second)
		w.do(func() { w.gone = true })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := p.engine.Hear(ctx, "hooked", []consumer.Report{{Conversation: w.first(key), Intent: key, Attempt: 1}})
		if !errors.Is(err, consumer.ErrLater) {
			t.Errorf("while the provider does not answer: got %v, want %v", err, consumer.ErrLater)
		}
		var letter consumer.Letter
		w.do(func() { letter = w.letters[key] })
		w.sendAgain(key, w.intent(key).N, letter.Header, letter.Data)
		time.Sleep(20 * time.Second)
		w.do(func() { w.gone = false })
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if w.state(key) != consumer.Ended || len(w.made[key]) != 1 {
			t.Errorf("got %s and %v, want ended and one conversation", w.state(key), w.made[key])
		}
	})
}

// One call is one conversation however a webhook spells its id: no alarm, no
// second slot, and few reads of the ledger.
func TestH13AnIDInCapitalsIsNoSecondConversation(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Hour
		key := w.lead("0001")
		p := &process{}
		w.oddly(t, p, func(ctx context.Context, id string) (consumer.Conversation, error, bool) {
			if id == strings.ToLower(id) {
				return consumer.Conversation{}, nil, false
			}
			conv, err := p.Conversation(ctx, strings.ToLower(id))
			conv.ID = id
			return conv, err, true
		}, nil)
		time.Sleep(10 * time.Second)
		_ = p.tell(t, strings.ToUpper(w.first(key)), key, 1)
		if in := w.intent(key); len(in.Others) != 0 || in.State != consumer.Created {
			t.Errorf("got %s and others %v, want created and none", in.State, in.Others)
		}
		if used := status(t, p).Used; used != 1 {
			t.Errorf("slots in use: got %d, want 1", used)
		}
		w.finish(w.first(key))
		if err := p.tell(t, strings.ToUpper(w.first(key)), key, 1); err != nil || w.state(key) != consumer.Ended {
			t.Errorf("its end: got %v and %s, want ended", err, w.state(key))
		}
		p.stop(t)
	})
}

// The provider knows the second conversation of an event under two ids. A webhook
// of each is looked into, and comes to an end.
func TestH13AnotherNameOfASecondConversation(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 5 * time.Minute
		key := w.lead("0001")
		w.answer = firstInDoubt
		p, loads := &process{}, 0
		w.oddly(t, p, func(ctx context.Context, id string) (consumer.Conversation, error, bool) {
			if id != "conv_1" {
				return consumer.Conversation{}, nil, false
			}
			conv, err := p.Conversation(ctx, w.first(key))
			return conv, err, true
		}, func(cfg *consumer.Config) {
			cfg.Ledger = badLedger{Ledger: p, away: func() bool {
				w.do(func() { loads++ })
				if loads > 1000 {
					panic("the ledger is read over and over")
				}
				return false
			}}
		})
		time.Sleep(time.Second)
		var letter consumer.Letter
		w.do(func() { letter = w.letters[key] })
		w.sendAgain(key, w.intent(key).N, letter.Header, letter.Data)
		time.Sleep(10 * time.Second)
		for range 3 {
			_ = p.tell(t, "conv_1", key, 1)
		}
		if in := w.intent(key); len(in.Others) != 1 || in.State != consumer.Created {
			t.Errorf("got %s and others %v, want created and one", in.State, in.Others)
		}
		if used := status(t, p).Used; used != 2 {
			t.Errorf("slots in use: got %d, want 2", used)
		}
		time.Sleep(10 * time.Minute)
		if used := status(t, p).Used; used != 0 {
			t.Errorf("slots in use in the end: got %d, want 0", used)
		}
		p.stop(t)
	})
}

// TestAnEndIsToldAfterALongOutageOfTheLedger lets a call end while the ledger
// cannot even be read, for longer than Patience.
func TestAnEndIsToldAfterALongOutageOfTheLedger(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		from, well := time.Now().Add(10*time.Second), time.Now().Add(15*time.Minute)
		p := &process{}
		w.start(t, p, func(c *consumer.Config) {
			c.Ledger = badLedger{Ledger: p, away: func() bool { return time.Now().After(from) && time.Now().Before(well) }}
		})
		time.Sleep(time.Hour)
		p.stop(t)
		if w.kinds()["ended"] != 1 || w.state(key) != consumer.Ended {
			t.Errorf("got outcomes %v, state %s; want the end", w.kinds(), w.state(key))
		}
	})
}

// TestACallThatCannotBeAskedForLeavesDoubtsTheirLook has a live call that the
// provider answers with an error each time: an open doubt is looked up and sent
// again all the same.
func TestACallThatCannotBeAskedForLeavesDoubtsTheirLook(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.length = time.Hour
		odd := w.lead("0001")
		p := w.oddly(t, &process{}, func(_ context.Context, id string) (consumer.Conversation, error, bool) {
			return consumer.Conversation{}, errors.New("500"), id == odd
		}, edit)
		time.Sleep(10 * time.Second)
		w.do(func() { w.answer = first(2, lost) })
		key := w.lead("0002")
		time.Sleep(3 * time.Minute)
		if got := w.state(key); got != consumer.Created {
			t.Errorf("got %s after %d requests, want created by the second one", got, w.posted())
		}
		p.stop(t)
	})
}

// A letter that the provider had rejected after all made a call; it was sent again,
// and the first call turned up. Both calls' slots outlive a restart.
func TestARestartCountsTheSlotOfASecondConversation(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 2, 9*time.Minute
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(w.posts) > 1 {
				return w.accept(b)
			}
			w.create(b.Items[0])
			a := all(b, consumer.VerdictRejected, "no")
			a.Status = 422
			return a
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(2 * time.Second)
		w.replay(key, w.intent(key).N, 0)
		time.Sleep(5 * time.Second)
		if err := p.tell(t, w.first(key), key, 1); err != nil {
			t.Errorf("the webhook: %v", err)
		}
		if used := status(t, p).Used; used != 2 {
			t.Errorf("slots in use: got %d, want 2", used)
		}
		p.stop(t)
		p = w.start(t, &process{}, nil)
		time.Sleep(2 * time.Second)
		if used := status(t, p).Used; used != 2 {
			t.Errorf("slots in use after a restart: got %d, want 2", used)
		}
		time.Sleep(10 * time.Minute)
		if used := status(t, p).Used; used != 0 {
			t.Errorf("slots in use in the end: got %d, want 0", used)
		}
		p.stop(t)
	})
}

// rescanned is a ledger whose first scan fails after its entries.
type rescanned struct {
	*process
	scans *atomic.Int32
}

func (l rescanned) Scan(ctx context.Context, lane string, since time.Time) iter.Seq2[consumer.Entry, error] {
	return func(yield func(consumer.Entry, error) bool) {
		for e, err := range l.process.Scan(ctx, lane, since) {
			if !yield(e, err) {
				return
			}
		}
		if l.scans.Add(1) == 1 {
			yield(consumer.Entry{}, errors.New("the broker does not answer"))
		}
	}
}

// A doubt was sent again, and its first call turned up: two slots after a restart,
// however often the ledger is read.
func TestARestartCountsEachConversationOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.gone = 5, true
		now := time.Now().Round(0)
		w.entries["l.x"] = stored{consumer.Intent{
			Lane: "l", Key: "x", State: consumer.Created, N: 5, Claims: 2, Claimed: now, Made: 2, Conversation: "c2", Others: []string{"c1"},
			History: []consumer.Transition{
				{N: 1, State: consumer.Started, Claim: 1, At: now}, {N: 2, State: consumer.Doubt, Claim: 1, At: now},
				{N: 3, State: consumer.Started, Claim: 2, At: now}, {N: 4, State: consumer.Created, Claim: 2, At: now},
				{N: 5, State: consumer.Created, Claim: 2, At: now},
			},
		}, 1}
		w.revision = 1
		p, scans := &process{}, &atomic.Int32{}
		w.start(t, p, func(cfg *consumer.Config) { cfg.Ledger = rescanned{p, scans} })
		time.Sleep(10 * time.Second)
		if used := status(t, p).Used; used != 2 || scans.Load() < 2 {
			t.Errorf("slots in use: got %d after %d scans, want 2", used, scans.Load())
		}
		p.stop(t)
	})
}
