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

	"github.com/weirhq/weir/consumer"
)

// odd publishes a lead with further attributes.
func (w *world) odd(id string, attributes map[string]any) string {
	key := w.lead(id)
	w.do(func() {
		m := w.events.msgs[len(w.events.msgs)-1]
		all := make(map[string]any)
		if err := json.Unmarshal(m.data, &all); err != nil {
			panic(err)
		}
		maps.Copy(all, attributes)
		m.data, _ = json.Marshal(all) // as it came
	})
	return key
}

// A publisher who writes the attributes of Weir's own redials gets one event called.
func TestARedialWithANumberOfItsPublishers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		id := "0001.redial.9223372036854775807"
		key := w.odd(id, map[string]any{"redial": "0001", "redialnumber": "9223372036854775807"})
		p := w.start(t, &process{}, redialling(time.Hour))
		time.Sleep(6 * time.Hour)
		p.stop(t)
		if in := w.intent(key); in.State != consumer.Ended || in.Redial != 0 || len(w.posts) != 2 {
			t.Errorf("got %+v after %d requests, want it ended, and called again as any event", in, len(w.posts))
		}
	})
}

// What an event has of attributes may be more than headers can hold.
func TestARedialWithManyAttributes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		room   int // of the largest event, besides this one
		reason string
	}{
		"it fits":         {4 << 10, ""},
		"it does not fit": {10, "the event is too large with what a redial adds to it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.unanswered(1)
				many := make(map[string]any)
				for i := range 20 {
					many[fmt.Sprintf("x%d", i)] = strings.Repeat("x", 3990)
				}
				key := w.odd("0001", many)
				most := len(w.events.msgs[0].data) + tt.room
				p := &process{}
				w.start(t, p, func(c *consumer.Config) {
					redialling(time.Hour)(c)
					c.Accounts[0].Lanes[0].MaxEvent = most
					c.Stream = narrow{p}
				})
				time.Sleep(6 * time.Hour)
				p.stop(t)
				told := w.ends(t)["0001"].Redial
				if w.state(key) != consumer.Ended || told == nil || told.Reason != tt.reason {
					t.Fatalf("got %s, told %+v; want it ended, and %q", w.state(key), told, tt.reason)
				}
				if s := w.state(redialOf("0001", 1)); tt.reason == "" && s != consumer.Ended {
					t.Errorf("the redial: got %q, want ended", s)
				}
			})
		})
	}
}

// narrow is a stream that refuses headers as the broker does.
type narrow struct{ *process }

func (n narrow) Append(ctx context.Context, lane, id string, header map[string][]string, data []byte) error {
	size := 0
	for name, values := range header {
		size += len(name) + len(values[0]) + 4
	}
	if size > 64<<10 {
		return errors.New("header size exceeds maximum allowed of 64k")
	}
	return n.process.Append(ctx, lane, id, header, data)
}

// A call of the lost time that a person finds later has redials that may have been made
// in that time as well.
func TestH19ARedialOfACallThatWasLost(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		w.lead("0001")
		one := w.start(t, &process{}, redialling(time.Hour, time.Hour))
		time.Sleep(10 * time.Minute)
		one.stop(t)
		backup, events := maps.Clone(w.entries), len(w.events.msgs)
		one = w.start(t, &process{}, redialling(time.Hour, time.Hour))
		time.Sleep(3 * time.Hour)
		one.stop(t)
		second := redialOf("0001", 1)
		if len(w.posts) != 3 || backup["l."+second].intent.State != consumer.Waiting {
			t.Fatalf("got %d requests, and of before %+v", len(w.posts), backup["l."+second].intent)
		}
		w.do(func() { // what was between the first two calls is put back
			w.entries, w.events.msgs = backup, w.events.msgs[:events]
			for _, m := range w.due.msgs {
				m.acked = m.intent != second
			}
		})
		two := w.start(t, &process{}, redialling(time.Hour, time.Hour))
		two.engine.SetDoubtful("l", time.Now().Add(time.Second))
		time.Sleep(10 * time.Minute)
		settled := consumer.Command{Verb: consumer.VerbSettle, Intent: second, Expect: w.intent(second).N, Conversation: w.first(second), By: "ana", Reason: "seen"}
		if r := command(t, two, settled); r.State != consumer.Created {
			t.Fatalf("got %+v of %+v, want the doubt settled", r, w.intent(second))
		}
		time.Sleep(6 * time.Hour)
		two.stop(t)
		if in := w.intent(redialOf("0001", 2)); w.state(second) != consumer.Ended || in.State != consumer.Doubt || len(w.posts) != 3 {
			t.Errorf("got %s, its redial %+v after %d requests; want ended, in doubt, three", w.state(second), in, len(w.posts))
		}
	})
}

// A redial that waits is not sent when its lane does not call again any more, unless a
// person orders it.
func TestARedialOfOtherSettings(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		w.lead("0001")
		one := w.start(t, &process{}, redialling(time.Hour))
		time.Sleep(10 * time.Minute)
		one.stop(t)
		two := w.start(t, &process{}, nil)
		time.Sleep(6 * time.Hour)
		two.stop(t)
		if in := w.intent(redialOf("0001", 1)); in.State != consumer.Suppressed || in.Reason != consumer.NoMoreRedials || len(w.posts) != 1 {
			t.Errorf("got %+v after %d requests, want it suppressed and one", in, len(w.posts))
		}
	})
}

// Where the first call is not remembered any more, nobody must have been spoken with
// since the one before.
func TestARedialWhoseFirstCallIsForgotten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		var since time.Time
		l := &list{w: w, says: func(a consumer.Approach) (consumer.Ruling, error) {
			since = a.Since
			return consumer.Ruling{}, nil
		}}
		key := w.lead("0001")
		p := w.start(t, &process{}, func(c *consumer.Config) { redialling(time.Hour)(c); l.asking(c) })
		time.Sleep(10 * time.Minute)
		placed := w.intent(key).Claimed
		w.do(func() { delete(w.entries, "l."+key) })
		time.Sleep(6 * time.Hour)
		p.stop(t)
		if !since.Equal(placed) || len(w.posts) != 2 {
			t.Errorf("got since %v after %d requests, want since %v", since, len(w.posts), placed)
		}
	})
}

// Who is to be forgotten while nobody knows yet whether the call was placed is not
// called again when that shows.
func TestForgettingInDoubtEndsRedials(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		w.answer = func(w *world, b consumer.Batch) consumer.Answer {
			w.create(b.Items[0])
			return always(consumer.VerdictDoubt, "no answer", 0)(w, b)
		}
		key := w.lead("0001")
		p := w.start(t, &process{}, redialling(time.Hour))
		time.Sleep(time.Minute)
		if r := command(t, p, oblivion(w, "0001")); r.State != consumer.Doubt || r.Error == "" {
			t.Fatalf("got %+v, want it refused: in doubt", r)
		}
		command(t, p, consumer.Command{Verb: consumer.VerbSettle, Intent: key, Expect: w.intent(key).N, Conversation: w.first(key), By: "ana", Reason: "seen"})
		time.Sleep(6 * time.Hour)
		p.stop(t)
		if in := w.intent(redialOf("0001", 1)); w.state(key) != consumer.Ended || in.State != consumer.Cancelled || len(w.posts) != 1 {
			t.Errorf("got %s, its redial %+v after %d requests; want ended, withdrawn, one", w.state(key), in, len(w.posts))
		}
	})
}

// unaware is a ledger in which an older version, which knows of no redials, makes the
// entries in some states.
type unaware struct {
	*process
	in []consumer.State
}

func (u unaware) Store(ctx context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	if slices.Contains(u.in, in.State) {
		in.RedialOf, in.Redial = "", 0
	}
	return u.process.Store(ctx, in, revision)
}

// TestRedialsThatAnOlderVersionCalled has redials whose entries do not say that they
// are: what follows them is told by their events.
func TestRedialsThatAnOlderVersionCalled(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(9)
		w.lead("0001")
		p := &process{}
		policy := redialling(time.Hour, time.Hour)
		w.start(t, p, func(c *consumer.Config) {
			policy(c)
			c.Ledger = unaware{p, []consumer.State{consumer.Waiting, consumer.Started, consumer.Created}}
		})
		time.Sleep(24 * time.Hour)
		p.stop(t)
		if len(w.posts) != 3 || len(w.entries) != 3 {
			t.Fatalf("got %d requests and %d entries, want 3: the call and two redials", len(w.posts), len(w.entries))
		}
		for n, id := range []string{"0001", "0001.redial.1", "0001.redial.2"} {
			in, told := w.intent(consumer.Key("l", "/crm", id)), w.ends(t)[id]
			if in.Redial != n || told.RedialNumber != n || n > 0 && (in.RedialOf != "0001" || told.RedialOf != "0001") {
				t.Errorf("call %d: the ledger has %d of %q, its outcome %d of %q", n, in.Redial, in.RedialOf, told.RedialNumber, told.RedialOf)
			}
			want := []string{"0001.redial.1", "0001.redial.2", ""}[n]
			if in.Next != want || told.Redial == nil || told.Redial.ID != want || told.Redial.Attempt != n+1 {
				t.Errorf("after call %d: the ledger names %q, its outcome %+v; want %q", n, in.Next, told.Redial, want)
			}
		}
	})
}

// TestARedialThatAnOlderVersionPutOff has a redial wait in an older version's entry: the
// one that calls says which redial it is, also if somebody answers.
func TestARedialThatAnOlderVersionPutOff(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.unanswered(1)
		w.lead("0001")
		p := &process{}
		policy := redialling(time.Hour)
		w.start(t, p, func(c *consumer.Config) { policy(c); c.Ledger = unaware{p, []consumer.State{consumer.Waiting}} })
		time.Sleep(6 * time.Hour)
		p.stop(t)
		told := w.ends(t)["0001.redial.1"]
		if in := w.intent(redialOf("0001", 1)); in.State != consumer.Ended || in.Redial != 1 || in.RedialOf != "0001" || told.RedialNumber != 1 || len(w.posts) != 2 {
			t.Errorf("got %+v after %d requests, told %+v; want it ended, as the first redial of 0001", in, len(w.posts), told)
		}
	})
}
