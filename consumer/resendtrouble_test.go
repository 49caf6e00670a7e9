package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// badList is a provider whose list ends with an error after the newest
// conversations, while every single look is answered well. It is what
// anyreach.Client.Conversations does with more than 20 pages.
type badList struct {
	*process
	shows int // conversations
}

func (p badList) Conversations(context.Context, time.Time) ([]consumer.Conversation, error) {
	time.Sleep(50 * time.Millisecond)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.lists++
	newest := slices.SortedFunc(maps.Keys(p.w.live), func(a, b string) int { return p.w.live[b].Compare(p.w.live[a]) })
	var out []consumer.Conversation
	for _, id := range newest[:min(p.shows, len(newest))] {
		out = append(out, consumer.Conversation{ID: id, Ended: !p.w.live[id].After(time.Now())})
	}
	return out, errors.New("there are more than the pages hold")
}

func TestAListThatFailsDoesNotHideTheEnds(t *testing.T) {
	t.Parallel()
	for _, shows := range []int{0, 2} {
		t.Run(fmt.Sprintf("shows=%d", shows), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				edit := ids(w)
				w.limit, w.length = 8, time.Minute
				for i := range 16 {
					w.lead(fmt.Sprintf("%04d", i))
				}
				p := w.start(t, &process{}, func(c *consumer.Config) {
					edit(c)
					c.Accounts[0].Provider = badList{c.Accounts[0].Provider.(*process), shows}
				})
				time.Sleep(9 * time.Minute) // MaxCall is 10
				if diff := cmp.Diff(map[string]int{"created": 16, "ended": 16}, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				time.Sleep(48 * time.Hour)
				p.stop(t)
				if diff := cmp.Diff(map[string]int{"created": 16, "ended": 16}, w.kinds()); diff != "" {
					t.Errorf("outcomes after two days (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// retry is a person's order to send the first event again.
func (w *world) retry(key string) {
	var r *record
	w.do(func() { r = w.events.msgs[0] })
	w.sendAgain(key, w.intent(key).N, r.header, r.data)
}

// sendAgain is a person's order to send an event again, as it was or corrected.
func (w *world) sendAgain(key string, expect int, header map[string][]string, data []byte) {
	w.due.put(&record{header: header, data: data, intent: key, replay: &consumer.Replay{Expect: expect, By: "ana", Reason: "asked"}})
}

// A dead letter is sent again by a person, and that answer is lost.
func TestADoubtOfAReplaySettlesItself(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			switch len(w.posts) {
			case 1:
				a := all(b, consumer.VerdictRejected, "no such agent")
				a.Status = 422
				return a
			case 2:
				return lost(w, b)
			}
			return w.accept(b)
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(time.Minute)
		if got := w.state(key); got != consumer.Dead {
			t.Fatalf("got %s, want dead", got)
		}
		w.retry(key)
		time.Sleep(6 * time.Hour)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("got %s after %d requests, %d messages left, outcomes %v; want ended", got, len(w.posts), w.unacked(), w.kinds())
		}
		t.Logf("delivered %d times", w.due.msgs[0].delivered)
	})
}

// A person orders an open doubt to be sent again before the id is honoured.
func TestARetryOfAnOpenDoubtLooksFirst(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"created", "rejected"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				edit := ids(w)
				w.hidden = func(consumer.Item) time.Duration { return 25 * time.Second }
				w.answer = func(w *world, b consumer.Batch) consumer.Answer {
					if len(w.posts) == 1 {
						return hides(w, b)
					}
					if second == "rejected" {
						a := all(b, consumer.VerdictRejected, "id in use")
						a.Status = 422
						return a
					}
					return w.accept(b)
				}
				key := w.lead("0001")
				p := w.start(t, &process{}, edit)
				time.Sleep(5 * time.Second)
				w.retry(key)
				time.Sleep(time.Hour)
				p.stop(t)
				if d := w.doubled(); len(d) > 0 {
					t.Errorf("called twice: %v", d)
				}
				if diff := cmp.Diff(map[string]int{"created": 1, "ended": 1}, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// paired is a provider that tells whom a conversation is with.
type paired struct {
	*process
	pair string
}

func (p paired) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	c, err := p.process.Conversation(ctx, id)
	c.Pair = p.pair
	return c, err
}

func TestAForeignIDStaysAPersonsAfterARestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.length = time.Hour
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			w.live[b.Items[0].Intent] = time.Now().Add(w.length) // somebody else's
			a := all(b, consumer.VerdictDoubt, "another person's")
			a.Results[0].Foreign = true
			a.Status = 200
			return a
		}
		change := func(c *consumer.Config) {
			edit(c)
			c.Accounts[0].Provider = paired{c.Accounts[0].Provider.(*process), "email somebody-else"}
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, change)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Doubt {
			t.Errorf("before the restart: got %s, want doubt", got)
		}
		p = w.start(t, &process{}, change)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		_, kept := w.letters[key]
		if got := w.state(key); got != consumer.Doubt || w.kinds()["created"] != 0 || !kept {
			t.Errorf("after the restart: got %s, outcomes %v, letter kept %v; want a doubt for a person", got, w.kinds(), kept)
		}
	})
}

// late is a provider whose looks answer what was so when they were asked.
type late struct {
	*process
	by time.Duration
}

func (p late) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	c, err := p.process.Conversation(ctx, id)
	time.Sleep(p.by)
	return c, err
}

func TestALookThatBeganTooEarlyFreesNoSlot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.limit, w.length = 1, 5*time.Minute
		w.hidden = func(consumer.Item) time.Duration { return 29500 * time.Millisecond }
		w.answer = func(w *world, b consumer.Batch) consumer.Answer { // counts nothing itself
			if len(w.posts) == 1 {
				return hides(w, b)
			}
			a := consumer.Answer{Status: 200}
			for _, it := range b.Items {
				a.Results = append(a.Results, consumer.Result{Verdict: consumer.VerdictCreated, Conversation: w.create(it)})
			}
			return a
		}
		w.lead("0001")
		w.lead("0002")
		p := w.start(t, &process{}, func(c *consumer.Config) {
			edit(c)
			c.Accounts[0].Provider = late{c.Accounts[0].Provider.(*process), 2500 * time.Millisecond}
		})
		time.Sleep(10 * time.Second)
		w.do(func() { w.events.msgs[0].ready = time.Now().Add(time.Minute) }) // delivered late
		time.Sleep(time.Hour)
		p.stop(t)
		if w.highest > w.limit {
			t.Errorf("highest slots in use: got %d, limit %d", w.highest, w.limit)
		}
	})
}

// The route of an event in doubt is changed from a channel without a limit to
// one with a limit.
func TestADoubtThatChangesItsChannelLeaksNoSlot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.ids, w.limit = true, 1
		via := func(channel string) func(*consumer.Config) {
			routes, err := schema.CompileRoutes([]schema.RouteSource{{Type: "lead.created", Request: map[string]any{
				"to": "${ data.phone }", "channel": channel,
			}}})
			if err != nil {
				t.Fatal(err)
			}
			return func(c *consumer.Config) {
				ids(w)(c)
				c.Accounts[0].Channels = map[string]ratelimiter.Config{"telephone": {Limit: 1, Rand: func() float64 { return .5 }}}
				c.Accounts[0].Lanes[0].Routes = routes
			}
		}
		w.answer = first(1, lost)
		w.lead("0001")
		p := w.start(t, &process{}, via("email"))
		time.Sleep(5 * time.Second)
		p.stop(t)
		w.do(func() { w.events.msgs[0].ready = time.Now() }) // the broker forgot the delay
		p = w.start(t, &process{}, via("telephone"))
		time.Sleep(10 * time.Minute)
		w.lead("0002")
		time.Sleep(2 * time.Hour)
		if s := status(t, p); s.Used != 0 {
			t.Errorf("slots in use: got %d (%s: %s), want 0", s.Used, s.State, s.Why)
		}
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"created": 2, "ended": 2}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

// hanging is a provider whose looks time out.
type hanging struct{ *process }

func (p hanging) Conversation(context.Context, string) (consumer.Conversation, error) {
	time.Sleep(15 * time.Second)
	return consumer.Conversation{}, errors.New("time-out")
}

func TestLooksThatHangDoNotStopALane(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := channels(t, w)
		w.ids = true
		w.answer = first(3, lost)
		for i := range 3 {
			w.by("email", i)
		}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			edit(c)
			ids(w)(c)
			c.Accounts[0].Provider = hanging{c.Accounts[0].Provider.(*process)}
		})
		time.Sleep(time.Minute)
		for i := range 50 {
			w.by("email", 100+i)
		}
		time.Sleep(time.Minute)
		if n := w.madeOf("email"); n < 50 {
			t.Errorf("mails a minute later: got %d, want 50", n)
		}
		p.stop(t)
	})
}

// A doubt whose id cannot be looked up for a day is told to nobody.
func TestADoubtThatCannotBeLookedUpIsToldAPerson(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = lost
		w.denied = true // 401 or 403 for GETs alone: a key that may create and not read
		key := w.lead("0001")
		p := w.start(t, &process{}, func(c *consumer.Config) {
			edit(c)
			c.Accounts[0].Lanes[0].DoubtLimit = 5
		})
		time.Sleep(24 * time.Hour)
		s := status(t, p)
		p.stop(t)
		if w.kinds()["doubt"] == 0 && len(w.pauses) == 0 {
			t.Errorf("after a day: %s, outcomes %v, %d letters, lane %s %q, trouble %q, settling %d", w.state(key), w.kinds(), len(w.letters), s.State, s.Why, s.Trouble, s.Settling)
		}
	})
}

func TestTheStatusCountsADoubtWhoseSlotIsFree(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.answer = first(1, lost)
		key := w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(5 * time.Second)
		p.engine.SetPause("l", &consumer.Pause{By: "ana"})
		time.Sleep(5 * time.Minute)
		if n := status(t, p).Settling; n != 1 {
			t.Errorf("settling: got %d, want 1: the event is %s", n, w.state(key))
		}
		p.stop(t)
	})
}

// The acknowledgement of a dead letter's event was lost; before the broker
// delivers it again, a person sends a corrected event.
func TestARedeliveryAfterACorrectionIsNoConflict(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.leadWith("0001", map[string]any{"id": "0001"}) // no number
		p := w.start(t, &process{}, nil)
		time.Sleep(5 * time.Second)
		w.do(func() { w.events.msgs[0].acked = false }) // ready after AckWait
		body := []byte(`{"specversion":"1.0","id":"0001","source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":"0001","phone":"+14155550001"}}`)
		w.sendAgain(key, w.intent(key).N, w.events.msgs[0].header, body)
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"rejected": 1, "created": 1, "ended": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if len(w.letters) != 0 || len(w.entries) != 1 {
			t.Errorf("got %d letters, %d entries; want 0, 1", len(w.letters), len(w.entries))
		}
	})
}

// A corrected replay waits; the original comes again. It is not what is to be
// sent.
func TestH26AReplacedContentIsNotSent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(w.posts) == 1 {
				a := all(b, consumer.VerdictRejected, "no such person")
				a.Status = 422
				return a
			}
			if time.Since(w.began) < 10*time.Minute {
				a := all(b, consumer.VerdictFull, "full")
				a.Status, a.Full = 429, true
				return a
			}
			return w.accept(b)
		}
		w.do(func() { w.began = time.Now() })
		time.Sleep(10 * time.Second)
		body := []byte(`{"specversion":"1.0","id":"0001","source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":"0001","phone":"+14155559999"}}`)
		w.sendAgain(key, w.intent(key).N, w.events.msgs[0].header, body)
		time.Sleep(time.Minute)
		w.lead("0001") // the CRM repeats itself
		time.Sleep(time.Hour)
		p.stop(t)
		for _, b := range w.posts[1:] {
			if to := b.Items[0].Request.Pair; to != "+14155559999" {
				t.Errorf("after the correction %s was asked for", to)
			}
		}
		if w.state(key) != consumer.Ended || w.unacked() != 0 || len(w.entries) != 1 {
			t.Errorf("got %s, %d messages left, %d entries; want ended, 0, 1", w.state(key), w.unacked(), len(w.entries))
		}
	})
}

// A person has a doubt sent again, and the provider refuses the second request:
// that says nothing of the first.
func TestH16ARefusedRetryOfADoubtStaysADoubt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if len(w.posts) == 1 {
				return lost(w, b)
			}
			a := all(b, consumer.VerdictRejected, "agent is not published")
			a.Status = 422
			return a
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		w.retry(key)
		time.Sleep(5 * time.Minute)
		p.stop(t)
		l, kept := w.letters[key]
		if w.state(key) != consumer.Doubt || len(w.posts) != 2 || !kept || l.State != consumer.Doubt || w.kinds()["rejected"] != 0 {
			t.Errorf("got %s after %d requests, letter %v of %s, outcomes %v; want a doubt for a person", w.state(key), len(w.posts), kept, l.State, w.kinds())
		}
	})
}

// The provider took a conversation that it does not know later: that is said.
func TestACreatedConversationThatNobodyKnowsIsShown(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		w.hidden = func(consumer.Item) time.Duration { return 24 * time.Hour }
		w.lead("0001")
		p := w.start(t, &process{}, edit)
		time.Sleep(5 * time.Minute)
		if s := status(t, p); !strings.Contains(s.Trouble, "does not know a conversation") {
			t.Errorf("trouble: got %q, want that the conversation is not known", s.Trouble)
		}
		p.stop(t)
	})
}

// A person drops a doubt, and the process dies between the ledger and the
// outcome. Nobody repeats the command.
func TestH8ADropIsToldAfterACrash(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = lost
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Minute)
		w.do(func() {
			p.dieAt, p.dieLate = p.ops+1, true
			w.answer = nil
		})
		cmd, _ := json.Marshal(consumer.Command{Verb: consumer.VerbDrop, Intent: key, Expect: w.entries["l."+key].intent.N, By: "ana", Reason: "called by hand"})
		p.engine.Control(t.Context(), "l", cmd)
		p.cancel()
		if n := w.kinds()["cancelled"]; w.state(key) != consumer.Cancelled || n != 0 {
			t.Fatalf("at the crash: got %s and %d outcomes, want cancelled and none", w.state(key), n)
		}
		for range 2 {
			p = w.start(t, &process{}, nil)
			time.Sleep(time.Minute)
			p.stop(t)
		}
		if n := w.kinds()["cancelled"]; n != 1 || len(w.letters) != 0 {
			t.Errorf("got %d outcomes cancelled and %d letters, want 1 and 0", n, len(w.letters))
		}
	})
}
