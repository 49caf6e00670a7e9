package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// channels makes an account that counts telephone calls alone, and a lane whose
// events go to any channel.
func channels(t *testing.T, w *world) func(*consumer.Config) {
	t.Helper()
	routes, err := schema.CompileRoutes([]schema.RouteSource{{Type: "lead.created", Request: map[string]any{
		"to": "${ data.phone }", "channel": "${ data.channel }",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *consumer.Config) {
		c.Accounts[0].Channels = map[string]ratelimiter.Config{
			"telephone": {Limit: w.limit, Rand: func() float64 { return .5 }},
		}
		c.Accounts[0].Lanes[0].Routes = routes
		c.Accounts[0].Lanes[0].Batch = 1
	}
}

// by publishes an event for a channel.
func (w *world) by(channel string, n int) string {
	id := fmt.Sprintf("%s-%04d", channel, n)
	return w.leadWith(id, map[string]any{"id": id, "phone": fmt.Sprintf("+1415555%04d", n), "channel": channel})
}

// madeOf counts the conversations on a channel.
func (w *world) madeOf(channel string) (n int) {
	w.do(func() {
		for _, b := range w.posts {
			for _, it := range b.Items {
				if it.Request.Channel == channel && len(w.made[it.Intent]) > 0 {
					n++
				}
			}
		}
	})
	return n
}

func TestMailNeverWaitsBehindCalls(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 5 * time.Minute
		for i := range 40 {
			w.by("telephone", i)
		}
		for i := range 20 {
			w.by("email", 100+i)
		}
		p := w.start(t, &process{}, channels(t, w))
		time.Sleep(time.Minute)
		if got := w.madeOf("email"); got != 20 {
			t.Errorf("mails after a minute: got %d, want all 20", got)
		}
		if got := w.madeOf("telephone"); got != w.limit {
			t.Errorf("calls after a minute: got %d, want %d", got, w.limit)
		}
		if s := status(t, p); s.Used != w.limit || s.Limit != w.limit {
			t.Errorf("slots: got %d of %d, want %d of %d", s.Used, s.Limit, w.limit, w.limit)
		}
		time.Sleep(3 * time.Hour)
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"created": 60, "ended": 60}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if d := w.doubled(); len(d) > 0 || w.highest > w.limit || w.unacked() != 0 {
			t.Errorf("doubled %v, highest %d of %d, messages left %d", d, w.highest, w.limit, w.unacked())
		}
	})
}

// Calls leave their room in the order in which they came.
func TestARoomKeepsTheOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		var want []string
		for i := range 12 {
			want = append(want, w.by("telephone", i))
		}
		p := w.start(t, &process{}, channels(t, w))
		time.Sleep(30 * time.Minute)
		p.stop(t)
		var got []string
		for _, b := range w.posts {
			got = append(got, b.Items[0].Intent)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order of calls (-want +got):\n%s", diff)
		}
	})
}

// What waits in a room is the broker's: it is not delivered twice while it
// waits, and is there for the next process at once.
func TestWhatWaitsInARoomIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, pause := range []bool{false, true} {
		t.Run(fmt.Sprintf("pause=%v", pause), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.length = 20 * time.Minute
				for i := range 10 {
					w.by("telephone", i)
				}
				p := w.start(t, &process{}, channels(t, w))
				time.Sleep(5 * time.Minute)
				w.do(func() {
					for _, r := range w.events.msgs {
						if r.delivered > 1 {
							t.Errorf("message %d was delivered %d times while it waited", r.seq, r.delivered)
						}
					}
				})
				if pause {
					p.engine.SetPause("l", &consumer.Pause{By: "ana", Reason: "lunch"})
					time.Sleep(time.Second)
				} else {
					p.stop(t)
				}
				ready := 0
				w.do(func() {
					for _, r := range w.events.msgs {
						if !r.acked && !r.ready.After(time.Now()) {
							ready++
						}
					}
				})
				if ready != 10-w.limit {
					t.Errorf("messages given back: got %d, want %d", ready, 10-w.limit)
				}
				if pause {
					p.engine.SetPause("l", nil)
				} else {
					p = w.start(t, &process{}, channels(t, w))
				}
				time.Sleep(5 * time.Hour)
				p.stop(t)
				if diff := cmp.Diff(map[string]int{"created": 10, "ended": 10}, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if w.highest > w.limit {
					t.Errorf("highest slots in use: got %d, limit %d", w.highest, w.limit)
				}
			})
		})
	}
}

// A lane whose routes name one channel needs no room: it pulls what it has slots
// for, and leaves the rest in the stream.
func TestALaneOfOneChannelReadsNothingAhead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Hour
		for i := range 10 {
			w.by("telephone", i)
		}
		edit := channels(t, w)
		p := w.start(t, &process{}, func(c *consumer.Config) {
			edit(c)
			c.Accounts[0].Lanes[0].Channels = []string{"telephone"}
		})
		time.Sleep(5 * time.Minute)
		p.stop(t)
		for _, r := range w.events.msgs[w.limit+1:] {
			if r.delivered > 0 {
				t.Errorf("message %d was delivered though no slot was free", r.seq)
			}
		}
	})
}

// After a restart the calls of the ledger hold slots, the mails do not.
func TestOnlyCallsHoldSlotsAfterARestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = time.Hour
		for i := range 2 {
			w.by("telephone", i)
			w.by("email", 100+i)
		}
		p := w.start(t, &process{}, channels(t, w))
		time.Sleep(time.Minute)
		p.stop(t)
		p = w.start(t, &process{}, channels(t, w))
		time.Sleep(time.Second)
		if s := status(t, p); s.Used != 2 {
			t.Errorf("slots in use: got %d, want the 2 calls", s.Used)
		}
		p.stop(t)
	})
}

// A lane that is crowded out by 429s on one channel sends on the others.
func TestAFullChannelDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			if b.Items[0].Request.Channel == "telephone" {
				a := all(b, consumer.VerdictFull, "full")
				a.Status, a.Full = 429, true
				return a
			}
			return w.accept(b)
		}
		for i := range 5 {
			w.by("telephone", i)
			w.by("email", 100+i)
		}
		p := w.start(t, &process{}, channels(t, w))
		time.Sleep(time.Minute)
		p.stop(t)
		if got := w.madeOf("email"); got != 5 {
			t.Errorf("mails: got %d, want 5", got)
		}
	})
}

// Many live conversations cost one list, not a look each.
func TestManyEndsAreAskedForByList(t *testing.T) {
	t.Parallel()
	for _, listed := range []bool{false, true} {
		t.Run(fmt.Sprintf("list=%v", listed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				edit := ids(w)
				w.limit, w.length = 20, 3*time.Minute
				for i := range 20 {
					w.lead(fmt.Sprintf("%04d", i))
				}
				p := w.start(t, &process{}, func(c *consumer.Config) {
					edit(c)
					if listed {
						c.Accounts[0].Provider = lister{c.Accounts[0].Provider.(*process)}
					}
				})
				time.Sleep(30 * time.Minute)
				p.stop(t)
				if diff := cmp.Diff(map[string]int{"created": 20, "ended": 20}, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if listed && (w.lists == 0 || w.gets > 20+60) {
					t.Errorf("got %d lists and %d single looks, want few looks beside the lists", w.lists, w.gets)
				}
				t.Logf("%d lists, %d single looks", w.lists, w.gets)
			})
		})
	}
}
