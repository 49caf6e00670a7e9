package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// tell is a webhook that says that a conversation of an intent is over.
func (p *process) tell(t *testing.T, conversation, intent string, attempt int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return p.engine.Hear(ctx, "l", []consumer.Report{{Conversation: conversation, Intent: intent, Attempt: attempt, Ended: true}})
}

// first is the first conversation of an intent.
func (w *world) first(intent string) (id string) {
	w.do(func() {
		if ids := w.made[intent]; len(ids) > 0 {
			id = ids[0]
		}
	})
	return id
}

// finish ends a conversation now.
func (w *world) finish(id string) {
	w.do(func() { w.live[id] = time.Now() })
}

// kept counts the letters.
func (w *world) kept() (n int) {
	w.do(func() { n = len(w.letters) })
	return n
}

func (w *world) intent(key string) (in consumer.Intent) {
	w.do(func() { in = w.entries["l."+key].intent })
	return in
}

func hooks(t *testing.T, p *process) consumer.HookCounts {
	t.Helper()
	return status(t, p).Webhooks
}

// A webhook that names id and intent of a live call frees its slot before the
// provider is asked: the next event is sent in the same moment.
func TestH13AWebhookFreesTheSlotAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, time.Hour
		first, _ := w.lead("0001"), w.lead("0002")
		p := w.start(t, &process{}, nil)
		time.Sleep(15 * time.Second)
		w.finish(w.first(first))
		told := time.Now()
		if err := p.tell(t, w.first(first), first, 1); err != nil {
			t.Errorf("the webhook: got %v, want its end confirmed", err)
		}
		if got := w.state(first); got != consumer.Ended {
			t.Errorf("after the webhook's answer: got %s, want ended", got)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		p.stop(t)
		if len(w.postedAt) != 2 || w.postedAt[1].Sub(told) != 100*time.Millisecond { // which the request itself takes
			t.Errorf("requests: got %d, the last one %v after the webhook; want 2 and no wait", len(w.posts), w.postedAt[len(w.posts)-1].Sub(told))
		}
	})
}

// A webhook under another spelling of the id, or without the intent, frees
// nothing by itself: the provider is asked about our own conversation, at once.
func TestH13AnotherSpellingIsAReasonToLook(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, time.Hour
		first, second := w.lead("0001"), w.lead("0002")
		p := w.start(t, &process{}, nil)
		time.Sleep(15 * time.Second)
		w.finish(w.first(first))
		told := time.Now()
		if err := p.tell(t, "conv_1", first, 1); err != nil {
			t.Errorf("the webhook: got %v", err)
		}
		time.Sleep(15 * time.Second)
		var took time.Duration
		w.do(func() { took = w.postedAt[1].Sub(told) })
		if took > 1200*time.Millisecond { // the account's looks are up to a second apart
			t.Errorf("the next request came %v after the webhook, want a look's time", took)
		}
		w.finish(w.first(second))
		if err := p.tell(t, w.first(second), "", 0); err != nil {
			t.Errorf("the webhook without an intent: got %v", err)
		}
		if got := w.state(second); got != consumer.Ended {
			t.Errorf("got %s, want ended", got)
		}
		p.stop(t)
	})
}

// The order of a webhook's durable steps is that of a poll's, and each comes once.
func TestH13AnEndIsToldOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Hour
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Second)
		w.finish(w.first(key))
		errs := make(chan error, 6)
		for range cap(errs) {
			go func() { errs <- p.tell(t, w.first(key), key, 1) }()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Errorf("a duplicate: got %v", err)
			}
		}
		if err := p.tell(t, w.first(key), key, 1); err != nil { // the analysis, much later
			t.Errorf("after the end: got %v", err)
		}
		gets := 0
		w.do(func() { gets = w.gets })
		p.stop(t)
		want := []string{"store started", "store created", "publish created", "ack", "publish ended", "store ended"}
		if diff := cmp.Diff(want, w.order); diff != "" {
			t.Errorf("durable steps (-want +got):\n%s", diff)
		}
		if gets > 4 {
			t.Errorf("lookups: got %d, want one for seven webhooks, beside the polls of ten seconds", gets)
		}
	})
}

// A webhook that says of a live call that it is over gets the next event sent, for
// once; the provider's answer takes the slot again, and from then on it is asked
// first.
func TestH13AWebhookThatIsWrongIsNotBelievedTwice(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, time.Hour
		first := w.lead("0001")
		for i := range 5 {
			w.lead(fmt.Sprintf("1%03d", i))
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(15 * time.Second)
		for range 3 {
			if err := p.tell(t, w.first(first), first, 1); !errors.Is(err, consumer.ErrLater) {
				t.Errorf("a webhook that is wrong: got %v, want %v", err, consumer.ErrLater)
			}
			time.Sleep(5 * time.Second)
		}
		if n := w.posted(); n != 2 { // the first event, and the one that was answered 429
			t.Errorf("requests: got %d, want 2", n)
		}
		if s := status(t, p); s.Used != 1 || s.Webhooks.Denied != 3 {
			t.Errorf("got %d slots in use and %+v, want 1 and 3 denied", s.Used, s.Webhooks)
		}
		if got := w.state(first); got != consumer.Created {
			t.Errorf("got %s, want created", got)
		}
		w.finish(w.first(first))
		if err := p.tell(t, w.first(first), first, 1); err != nil {
			t.Errorf("a webhook that is right: got %v", err)
		}
		time.Sleep(10 * time.Second)
		p.stop(t)
		if w.highest > 1 || len(w.made) != 2 {
			t.Errorf("got %d conversations, highest %d; want 2, 1", len(w.made), w.highest)
		}
	})
}

// doubtful starts a process whose first request makes a conversation and is not
// answered, so that the lead is in doubt.
func doubtful(t *testing.T, w *world) (p *process, key string) {
	t.Helper()
	key = w.lead("0001")
	w.answer = func(w *world, b consumer.Batch) consumer.Answer {
		if len(w.posts) > 1 {
			return w.accept(b)
		}
		w.create(b.Items[0])
		a := all(b, consumer.VerdictDoubt, "cut")
		a.Status = 200
		return a
	}
	p = w.start(t, &process{}, nil)
	time.Sleep(time.Second)
	if got := w.state(key); got != consumer.Doubt {
		t.Fatalf("got %s, want doubt", got)
	}
	return p, key
}

// What the provider's own record confirms makes created out of any state, and
// nobody is called again.
func TestH10AWebhookLeadsToTheConversation(t *testing.T) {
	t.Parallel()
	for _, s := range []consumer.State{
		consumer.Doubt, consumer.Dead, consumer.Waiting, consumer.Cancelled, consumer.Expired, consumer.Suppressed, consumer.Started,
	} {
		for _, over := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/over=%v", s, over), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					w.length = 5 * time.Minute
					p, key := doubtful(t, w)
					w.do(func() {
						e := w.entries["l."+key]
						e.intent.State = s
						w.entries["l."+key] = e
					})
					if over {
						w.finish(w.first(key))
					}
					w.do(func() { w.order = nil })
					err := p.tell(t, w.first(key), key, 1)
					if s == consumer.Started { // a claim whose answer may still come
						if !errors.Is(err, consumer.ErrLater) || w.state(key) != consumer.Started {
							t.Errorf("a live claim: got %v and %s, want %v and started", err, w.state(key), consumer.ErrLater)
						}
						time.Sleep(time.Minute)
					}
					want := map[bool]consumer.State{true: consumer.Ended, false: consumer.Created}[over]
					if got := w.state(key); got != want {
						t.Errorf("got %s (%v), want %s", got, err, want)
					}
					steps := "publish created, store created"
					if over {
						steps += ", publish ended, store ended"
					}
					var got string
					w.do(func() { got = strings.Join(w.order, ", ") })
					if got != steps {
						t.Errorf("durable steps: got %s, want %s", got, steps)
					}
					if w.kept() != 0 {
						t.Errorf("the letter is still there")
					}
					if used := status(t, p).Used; used != map[bool]int{true: 0, false: 1}[over] {
						t.Errorf("slots in use: got %d", used)
					}
					time.Sleep(30 * time.Minute)
					p.stop(t)
					if w.state(key) != consumer.Ended || len(w.posts) != 1 || len(w.letters) != 0 || w.unacked() != 0 {
						t.Errorf("got %s after %d requests, %d letters, %d messages left; want ended, 1, 0, 0", w.state(key), len(w.posts), len(w.letters), w.unacked())
					}
				})
			})
		}
	}
}

// Nothing that a webhook says moves a doubt: what the provider's own record does
// not confirm is shown to a person.
func TestH13AForgedWebhookMovesNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		forge func(w *world, key, id string) (conversation string)
		why   string
	}{
		"of another event": {func(w *world, _, _ string) string {
			w.create(consumer.Item{Intent: "another", Attempt: 1, Request: consumer.Request{Pair: "+14155550001"}})
			return w.made["another"][0]
		}, "does not name this event"},
		"of nobody":       {func(*world, string, string) string { return "conv_1" }, "does not know it"},
		"without an echo": {func(w *world, _, id string) string { w.hush[id] = true; return id }, "does not name this event"},
		"of another number": {func(w *world, _, id string) string {
			w.edit(id, func(it *consumer.Item) { it.Request.Pair = "+1" })
			return id
		}, "number or agent"},
		"of no attempt": {func(w *world, _, id string) string { w.edit(id, func(it *consumer.Item) { it.Attempt = 0 }); return id }, "attempt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				p, key := doubtful(t, w)
				id := w.first(key)
				w.do(func() { id = tc.forge(w, key, id) })
				before := w.intent(key)
				for range 3 {
					if err := p.tell(t, id, key, 1); err != nil {
						t.Errorf("got %v, want the webhook taken", err)
					}
				}
				in := w.intent(key)
				if in.State != consumer.Doubt || in.N != before.N || w.kept() != 1 || w.kinds()["created"] != 0 {
					t.Errorf("got %s (n %d) and %v, want the doubt as it was", in.State, in.N, w.kinds())
				}
				if len(in.Named) != 1 || in.Named[0].Conversation != id || !strings.Contains(in.Named[0].Why, tc.why) {
					t.Errorf("shown to a person: got %+v, want %s because %s", in.Named, id, tc.why)
				}
				p.stop(t)
			})
		})
	}
}

// edit changes what a conversation says it was made for. The caller holds w.mu.
func (w *world) edit(id string, f func(*consumer.Item)) {
	it := w.asked[id]
	f(&it)
	w.asked[id] = it
}

// A live call's id and another one's intent: neither moves.
func TestH13AWebhookOfTwoCallsMovesNeither(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length, w.limit = time.Hour, 2
		one, two := w.lead("0001"), w.lead("0002")
		w.lead("0003")
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Second)
		for _, r := range [][2]string{{w.first(one), two}, {w.first(two), one}} {
			_ = p.tell(t, r[0], r[1], 1)
		}
		for _, intent := range []string{"", "none", consumer.Key("l", "/crm", "unknown"), "../" + one, strings.ToUpper(one)} {
			if err := p.tell(t, "conv_1", intent, 1); !errors.Is(err, consumer.ErrUnknown) {
				t.Errorf("intent %q: got %v, want %v", intent, err, consumer.ErrUnknown)
			}
		}
		if w.state(one) != consumer.Created || w.state(two) != consumer.Created || w.posted() != 1 {
			t.Errorf("got %s, %s and %d requests; want both created and none freed", w.state(one), w.state(two), w.posted())
		}
		if others := append(w.intent(one).Others, w.intent(two).Others...); len(others) != 0 {
			t.Errorf("second conversations: got %v, want none", others)
		}
		if s := status(t, p); s.Used != 2 || s.Webhooks.Unknown != 5 {
			t.Errorf("got %d slots in use and %+v, want 2 and 5 unknown", s.Used, s.Webhooks)
		}
		p.stop(t)
	})
}

// A webhook that overtakes the answer to its own request waits for it.
func TestH13AWebhookBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"answered": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.length = time.Second
				key := w.lead("0001")
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					a := w.accept(b)
					if lost {
						a = all(b, consumer.VerdictDoubt, "cut")
					}
					a.Status = -1 // takes 15 s
					return a
				}
				p := w.start(t, &process{}, nil)
				time.Sleep(3 * time.Second)
				if err := p.tell(t, w.first(key), key, 1); !errors.Is(err, consumer.ErrLater) {
					t.Errorf("before the answer: got %v, want %v", err, consumer.ErrLater)
				}
				if got := w.state(key); got != consumer.Started {
					t.Errorf("before the answer: got %s, want started", got)
				}
				time.Sleep(4 * time.Second) // the answer came at 15 s, and what had waited for it followed
				if got := w.state(key); got != consumer.Ended {
					t.Errorf("after the answer: got %s, want ended", got)
				}
				p.stop(t)
				kinds := w.kinds()
				delete(kinds, "doubt")
				if diff := cmp.Diff(map[string]int{"created": 1, "ended": 1}, kinds); diff != "" || len(w.posts) != 1 || len(w.letters) != 0 {
					t.Errorf("got %d requests, %d letters, outcomes (-want +got):\n%s", len(w.posts), len(w.letters), diff)
				}
			})
		})
	}
}

// A person had a doubt sent again, and then the first call turns up: a second
// conversation, alarmed, with a slot of its own while it lives.
func TestH10AnOlderAttemptsWebhookIsAnAlarm(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 5 * time.Minute
		p, key := doubtful(t, w)
		n := w.intent(key).N
		var letter consumer.Letter
		w.do(func() { letter = w.letters[key] })
		w.sendAgain(key, n, letter.Header, letter.Data)
		time.Sleep(10 * time.Second)
		if got := w.intent(key); got.State != consumer.Created || got.Claims != 2 {
			t.Fatalf("after the replay: got %s, claim %d", got.State, got.Claims)
		}
		first := w.first(key)
		for i, want := range []error{nil, consumer.ErrLater} { // it is known then, and lives
			if err := p.tell(t, first, key, 1); !errors.Is(err, want) {
				t.Errorf("webhook %d: got %v, want %v", i, err, want)
			}
		}
		in := w.intent(key)
		if !cmp.Equal(in.Others, []string{first}) || in.Conversation == first {
			t.Errorf("got conversation %s, others %v; want %s among the others, once", in.Conversation, in.Others, first)
		}
		if used := status(t, p).Used; used != 2 {
			t.Errorf("slots in use: got %d, want 2", used)
		}
		time.Sleep(10 * time.Minute)
		if used := status(t, p).Used; used != 0 || w.state(key) != consumer.Ended {
			t.Errorf("in the end: got %d slots in use and %s, want none and ended", used, w.state(key))
		}
		p.stop(t)
	})
}

// Between the claim and the POST of what is sent again, evidence is looked for
// once more: a webhook that is being looked into holds the second call up.
func TestH10AWebhookStopsTheSecondCall(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Minute
		p, key := doubtful(t, w)
		w.do(func() { w.gone = true })
		if err := p.tell(t, w.first(key), key, 1); !errors.Is(err, consumer.ErrLater) {
			t.Errorf("while the provider does not answer: got %v, want %v", err, consumer.ErrLater)
		}
		var letter consumer.Letter
		w.do(func() { letter = w.letters[key] })
		w.sendAgain(key, w.intent(key).N, letter.Header, letter.Data)
		time.Sleep(20 * time.Second)
		if n := w.posted(); n != 1 {
			t.Errorf("requests while the webhook is looked into: got %d, want 1", n)
		}
		w.do(func() { w.gone = false })
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if w.state(key) != consumer.Ended || len(w.made[key]) != 1 {
			t.Errorf("got %s and %v, want ended and one conversation", w.state(key), w.made[key])
		}
	})
}

// A flood of forged webhooks costs few lookups and little memory, and what is true
// among them is found.
func TestH13AFloodIsBounded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Hour
		p, key := doubtful(t, w)
		before := 0
		w.do(func() { before = w.gets })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for i := range 5000 {
			_ = p.engine.Hear(ctx, "l", []consumer.Report{{Conversation: fmt.Sprint("conv_", i), Intent: key, Ended: true}})
		}
		began := time.Now()
		time.Sleep(4 * time.Minute)
		gets := 0
		w.do(func() { gets = w.gets - before })
		if most := 10 + int(time.Since(began).Seconds()); gets > most || gets < 20 {
			t.Errorf("lookups: got %d in four minutes, want at most %d and what the budget allows", gets, most)
		}
		if h := hooks(t, p); h.Dropped < 4000 || h.Named > 4 {
			t.Errorf("got %+v, want most of them dropped and four shown", h)
		}
		in := w.intent(key)
		if len(in.Named) != 4 || in.State != consumer.Doubt {
			t.Errorf("got %s with %d named, want a doubt with 4", in.State, len(in.Named))
		}
		time.Sleep(20 * time.Minute)
		if err := p.tell(t, w.first(key), key, 1); err != nil && !errors.Is(err, consumer.ErrLater) {
			t.Errorf("the true one: got %v", err)
		}
		if got := w.state(key); got != consumer.Created {
			t.Errorf("after the true one: got %s, want created", got)
		}
		p.stop(t)
	})
}

// With webhooks, looks are few; when they stop coming, slots are freed by looks as
// before, and without those by max_call.
func TestH13ALostWebhookFreesItsSlotAllTheSame(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		for i := range 60 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, nil)
		stop := w.webhooks(t, p, func(string) []time.Duration { return []time.Duration{10 * time.Millisecond} })
		time.Sleep(10 * time.Minute)
		stop()
		gets, posts := 0, 0
		w.do(func() { gets, posts = w.gets, len(w.posts) })
		if posts < 28 || gets > 4*posts { // a call takes 20.1 s, and seven looks without
			t.Errorf("with webhooks: got %d calls in ten minutes and %d lookups, want 29 and at most four a call", posts, gets)
		}
		time.Sleep(10 * time.Minute)
		silent := w.posted() - posts
		if silent < 22 {
			t.Errorf("after they stopped: got %d calls in ten minutes, want nearly as many", silent)
		}
		w.do(func() { w.gone = true })
		time.Sleep(time.Minute)
		w.do(func() { posts = len(w.posts) })
		time.Sleep(11 * time.Minute)
		if n := w.posted(); n <= posts {
			t.Errorf("without lookups: got no further call, want one after max_call")
		}
		p.stop(t)
		if w.highest > 1 {
			t.Errorf("highest: got %d, want 1", w.highest)
		}
	})
}

// webhooks sends the webhooks of each conversation so long after its end, until
// stop is called. Those that are not taken come again a few times.
func (w *world) webhooks(t *testing.T, p *process, plan func(id string) []time.Duration) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(map[string]bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			w.do(func() {
				for id, until := range w.live {
					it := w.asked[id]
					if sent[id] || it.Intent == "" || time.Until(until) > 3*time.Second/2 {
						continue
					}
					sent[id] = true
					for _, late := range plan(id) {
						wg.Go(func() { w.deliver(ctx, p, id, it, time.Until(until)+late) })
					}
				}
			})
			time.Sleep(time.Second)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// deliver sends one webhook after a while, and again where it was not taken.
func (w *world) deliver(ctx context.Context, p *process, id string, it consumer.Item, late time.Duration) {
	for range 4 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(late):
		}
		dead := false
		w.do(func() { dead = p.dead })
		if dead {
			return
		}
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := p.engine.Hear(wait, "l", []consumer.Report{{Conversation: id, Intent: it.Intent, Attempt: it.Attempt, Ended: true}})
		cancel()
		if !errors.Is(err, consumer.ErrLater) {
			return
		}
		late = 5 * time.Second
	}
}

// The id alone is no word for a slot: without the intent the provider is asked
// first, whatever the webhook says.
func TestH13AnIDAloneFreesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 1, time.Hour
		first := w.lead("0001")
		w.lead("0002")
		p := w.start(t, &process{}, nil)
		time.Sleep(15 * time.Second)
		if err := p.tell(t, w.first(first), "", 0); !errors.Is(err, consumer.ErrLater) {
			t.Errorf("a webhook that is wrong: got %v, want %v", err, consumer.ErrLater)
		}
		time.Sleep(5 * time.Second)
		if n := w.posted(); n != 1 {
			t.Errorf("requests: got %d, want 1", n)
		}
		p.stop(t)
	})
}

// The webhook comes between the claim of a replay and its first byte: nothing is
// sent before it was looked into.
func TestH10EvidenceIsLookedForBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Minute
		p, key := doubtful(t, w)
		first, told := w.first(key), false
		w.do(func() {
			w.storeErr = func(in consumer.Intent) (bool, error) {
				if in.State == consumer.Started && in.Claims == 2 && !told {
					told = true
					go func() { _ = p.tell(t, first, key, 1) }()
				}
				return true, nil
			}
			w.slowStore = time.Second // the claim is stored, and its answer on its way
			letter := w.letters[key]
			w.due.msgs = append(w.due.msgs, &record{
				seq: 1, header: letter.Header, data: letter.Data, intent: key, ready: time.Now(),
				replay: &consumer.Replay{Expect: w.entries["l."+key].intent.N, By: "ana", Reason: "not placed"},
			})
			w.due.stir()
		})
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if !told || w.state(key) != consumer.Ended || len(w.made[key]) != 1 || len(w.posts) != 1 {
			t.Errorf("told %v, got %s, %v, %d requests; want ended and one conversation", told, w.state(key), w.made[key], len(w.posts))
		}
	})
}

// A provider that made two conversations of one request: the second one is an
// alarm, and has a slot beside the first one's.
func TestH10ASecondConversationOfOneAttemptHasASlot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length, w.limit = 5*time.Minute, 5
		key := w.lead("0001")
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			a := w.accept(b)
			w.create(b.Items[0])
			return a
		}
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Second)
		second := ""
		w.do(func() { second = w.made[key][1] })
		if err := p.tell(t, second, key, 1); err != nil {
			t.Errorf("got %v, want it recorded", err)
		}
		if in, used := w.intent(key), status(t, p).Used; !cmp.Equal(in.Others, []string{second}) || used != 2 {
			t.Errorf("got others %v, %d slots in use; want %s, 2", in.Others, used, second)
		}
		time.Sleep(10 * time.Minute)
		if used := status(t, p).Used; used != 0 || w.state(key) != consumer.Ended {
			t.Errorf("in the end: got %d slots in use and %s, want none and ended", used, w.state(key))
		}
		p.stop(t)
	})
}

// A lookup that was answered before the call ended is no word against the webhook
// that came meanwhile.
func TestH13AnAnswerOlderThanTheWebhook(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length, w.slowAnswer = time.Hour, true
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		gets := 0
		for gets == 0 { // until the first lookup is under way
			time.Sleep(7 * time.Millisecond) // never in the moment in which it begins
			w.do(func() { gets = w.gets })
		}
		w.finish(w.first(key))
		if err := p.tell(t, w.first(key), key, 1); err != nil || w.state(key) != consumer.Ended {
			t.Errorf("got %v and %s, want the end confirmed", err, w.state(key))
		}
		if h := hooks(t, p); h.Denied != 0 || h.Confirmed != 1 {
			t.Errorf("got %+v, want one confirmed", h)
		}
		p.stop(t)
	})
}

// A webhook is taken only when outcome and ledger are durable, the outcome first:
// no message stands behind either (H8).
func TestH8AWebhookIsTakenWhenItsWordIsDurable(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]bool{"of a doubt": true, "of a live call": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.length = time.Hour
				var p *process
				var key string
				if doubt {
					p, key = doubtful(t, w)
				} else {
					key = w.lead("0001")
					p = w.start(t, &process{}, nil)
					time.Sleep(10 * time.Second)
				}
				before := w.state(key)
				w.finish(w.first(key))
				w.do(func() { w.mute = true })
				if err := p.tell(t, w.first(key), key, 1); !errors.Is(err, consumer.ErrLater) || w.state(key) != before {
					t.Errorf("while no outcome can be published: got %v and %s, want %v and %s", err, w.state(key), consumer.ErrLater, before)
				}
				w.do(func() { w.mute = false })
				if err := p.tell(t, w.first(key), key, 1); err != nil || w.state(key) != consumer.Ended {
					t.Errorf("then: got %v and %s, want it taken, and ended", err, w.state(key))
				}
				p.stop(t)
			})
		})
	}
}
