package consumer_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// TestH5NothingNewIsBegunWithoutRoom takes the room away between two leads: the
// second stays in its stream, not even its refusal is written down, while a dead
// letter is sent again. It goes on by itself when there is room.
func TestH5NothingNewIsBegunWithoutRoom(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		var full atomic.Bool
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Room = func() error {
				if full.Load() {
					return errors.New("no room: buy some")
				}
				return nil
			}
		})
		w.answer = always(consumer.VerdictRejected, "no such number", 422)
		dead := w.lead("0001")
		time.Sleep(time.Minute)
		if got := w.state(dead); got != consumer.Dead {
			t.Fatalf("got %s, want dead", got)
		}
		w.do(func() { w.answer = nil })
		full.Store(true)
		time.Sleep(5 * time.Second)
		news := w.lead("0002")
		bad := w.leadWith("0003", map[string]any{"id": "0003"})
		w.replay(dead, 2, 0)
		time.Sleep(10 * time.Minute)
		if got := w.state(dead); got != consumer.Ended {
			t.Errorf("a dead letter that is sent again: got %s, want ended", got)
		}
		w.do(func() {
			if len(w.entries) != 1 {
				t.Errorf("entries: got %d, want the one that was there", len(w.entries))
			}
			delivered := 0
			for _, r := range w.events.msgs[1:] {
				delivered += r.delivered
			}
			if delivered > 1 { // for the pull that was open
				t.Errorf("deliveries without room: got %d, want one at most", delivered)
			}
		})
		if s := status(t, p); s.State != "waiting" || s.Why != "no room: buy some" {
			t.Errorf("status: got %s %q", s.State, s.Why)
		}
		full.Store(false)
		time.Sleep(5 * time.Minute)
		if got, refused := w.state(news), w.state(bad); got != consumer.Ended || refused != consumer.Dead {
			t.Errorf("with room again: got %s and %s, want ended and dead", got, refused)
		}
		p.stop(t)
		if n := w.unacked(); n != 0 || len(w.doubled()) > 0 {
			t.Errorf("messages left: got %d, doubled %v", n, w.doubled())
		}
	})
}

// TestH5AnEventInHandIsGivenBackWithoutRoom takes the room away when events have
// been fetched: nothing is written of them.
func TestH5AnEventInHandIsGivenBackWithoutRoom(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for i := range 10 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		began := time.Now()
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Room = func() (err error) {
				w.do(func() {
					if w.events.msgs[0].delivered > 0 && time.Since(began) < time.Hour {
						err = errors.New("no room")
					}
				})
				return err
			}
		})
		time.Sleep(50 * time.Minute)
		w.do(func() {
			if len(w.entries) > 0 || len(w.posts) > 0 || w.events.msgs[0].delivered == 0 {
				t.Errorf("without room: got %d entries, %d requests, %d deliveries; want none, none, some", len(w.entries), len(w.posts), w.events.msgs[0].delivered)
			}
		})
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if n := w.unacked(); n != 0 || len(w.made) != 10 || len(w.doubled()) > 0 {
			t.Errorf("got %d messages left, %d created, doubled %v; want 0, 10, none", n, len(w.made), w.doubled())
		}
	})
}

// replay orders a letter to be sent again.
func (w *world) replay(key string, expect, n int) {
	w.do(func() {
		w.dueSeq++
		r := w.events.msgs[n]
		w.due.msgs = append(w.due.msgs, &record{
			seq: w.dueSeq, header: r.header, data: r.data, intent: key, ready: time.Now(),
			replay: &consumer.Replay{Expect: expect, By: "ana", Reason: "asked"},
		})
		w.due.stir()
	})
}

// junk publishes what is no event.
func (w *world) junk(n int) {
	for i := range n {
		w.events.publish(nil, fmt.Appendf(nil, "no event %d", i))
	}
}

// nameless publishes leads without what the route needs.
func (w *world) nameless(from, n int) {
	for i := from; i < from+n; i++ {
		id := fmt.Sprintf("%04d", i)
		w.leadWith(id, map[string]any{"id": id, "note": strings.Repeat("x", i)})
	}
}

// stands counts the entries in a state.
func (w *world) stands(s consumer.State) (n int) {
	w.do(func() {
		for _, e := range w.entries {
			if e.intent.State == s {
				n++
			}
		}
	})
	return n
}

// TestH23EqualRefusalsPauseTheLane has a route that can make no request of any
// event of a backlog: 99 are dead letters, the next one and all behind it wait for
// a person.
func TestH23EqualRefusalsPauseTheLane(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.nameless(0, 1500)
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Hour)
		s := status(t, p)
		if s.State != "paused" || !strings.HasPrefix(s.Why, "by weir: 100 events were refused for the same reason") || !strings.Contains(s.Why, "phone") {
			t.Errorf("status: got %s %q", s.State, s.Why)
		}
		if dead := w.stands(consumer.Dead); dead != 99 || len(w.entries) != 99 || len(w.posts) != 0 {
			t.Errorf("got %d dead letters of %d entries, %d requests; want 99, 99, none", dead, len(w.entries), len(w.posts))
		}
		p.engine.SetPause("l", nil) // by mistake
		time.Sleep(time.Hour)
		if dead := w.stands(consumer.Dead); dead != 99+999 || status(t, p).State != "paused" {
			t.Errorf("after it was let go on: got %d dead letters, want 999 more, and a pause", dead)
		}
		p.stop(t)
		if n := w.unacked(); n != 1500-99-999 {
			t.Errorf("events that wait: got %d, want %d", n, 1500-99-999)
		}
	})
}

// TestH23BadEventsDoNotStopALane has publishers that send much nonsense: a lane is
// stopped neither by what cannot be read, nor by what is refused among good
// leads, and a person's word lets a run of bad ones pass.
func TestH23BadEventsDoNotStopALane(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		publish func(w *world)
		resumes int
		dead    int
		ended   int
	}{
		{"what cannot be read", func(w *world) { w.junk(300); w.lead("0001") }, 0, 300, 1},
		{"bad ones among good ones", func(w *world) {
			for i := range 10 {
				w.nameless(1000+100*i, 40)
				w.lead(fmt.Sprintf("%04d", i))
			}
		}, 0, 400, 10},
		{"kinds that take turns", func(w *world) {
			for i := range 80 {
				w.nameless(1000+i, 1)
				w.junk(3)
			}
			w.lead("0001")
		}, 0, 80 + 240, 1},
		{"a run of bad ones", func(w *world) { w.nameless(1000, 600); w.lead("0001") }, 1, 600, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				tc.publish(w)
				p := w.start(t, &process{}, nil)
				for n := range tc.resumes + 1 {
					time.Sleep(time.Hour)
					if got := status(t, p).State; (got == "paused") != (n < tc.resumes) {
						t.Errorf("after %d resumes: got %s", n, got)
					}
					p.engine.SetPause("l", nil)
				}
				p.stop(t)
				if dead, ended := w.stands(consumer.Dead), w.stands(consumer.Ended); dead != tc.dead || ended != tc.ended || w.unacked() != 0 {
					t.Errorf("got %d dead, %d ended, %d left; want %d, %d, 0", dead, ended, w.unacked(), tc.dead, tc.ended)
				}
			})
		})
	}
}

// TestH23RejectionsThatNameTheEvent has a provider that rejects everything, each
// with the event's own number in its words.
func TestH23RejectionsThatNameTheEvent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for i := range 100 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.answer = func(_ *world, b consumer.Batch) consumer.Answer {
			a := all(b, consumer.VerdictRejected, "the agent may not call the number +…"+b.Items[0].Request.Pair[10:])
			a.Status = 422
			return a
		}
		p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 1 })
		time.Sleep(time.Hour)
		if s := status(t, p); s.State != "paused" {
			t.Errorf("status: got %s %q, want paused", s.State, s.Why)
		}
		p.stop(t)
		if dead := w.stands(consumer.Dead); dead != 9 {
			t.Errorf("dead letters: got %d, want 9", dead)
		}
	})
}
