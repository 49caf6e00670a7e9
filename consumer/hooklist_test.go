package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// telling is a lister whose rows tell all of an end.
type telling struct{ *process }

func (p telling) Conversations(ctx context.Context, since time.Time) ([]consumer.Conversation, error) {
	rows, err := lister(p).Conversations(ctx, since)
	for i := range rows {
		rows[i].Result, rows[i].Summary = "completed", "They agreed."
	}
	return rows, err
}

// gathering starts a process with a list, and with a live call for each of its n
// slots, whose intents it returns; nothing waits.
func gathering(t *testing.T, w *world, n int) (p *process, keys []string) {
	t.Helper()
	w.limit, w.length = n, time.Hour
	for i := range n {
		keys = append(keys, w.lead(fmt.Sprintf("%04d", i)))
	}
	p = w.start(t, &process{}, func(c *consumer.Config) {
		c.Accounts[0].Provider = telling{c.Accounts[0].Provider.(*process)}
		c.Accounts[0].MaxCall = 2 * time.Hour
	})
	time.Sleep(10 * time.Second)
	if got := w.posted(); got == 0 || status(t, p).Used != n {
		t.Fatalf("got %d requests and %d slots in use, want %d in use", got, status(t, p).Used, n)
	}
	return p, keys
}

// hang ends calls, and has their webhooks heard.
func (w *world) hang(t *testing.T, p *process, keys ...string) {
	t.Helper()
	for _, key := range keys {
		w.finish(w.first(key))
		if err := p.tell(t, w.first(key), key, 1); !errors.Is(err, consumer.ErrHeard) {
			t.Errorf("the webhook: got %v, want %v", err, consumer.ErrHeard)
		}
	}
}

func (w *world) looked() (lists, gets int) {
	w.do(func() { lists, gets = w.lists, w.gets })
	return lists, gets
}

// A row of a list that tells all of an end is the end: no call is asked for besides.
func TestAListTellsTheEnds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 20, 3*time.Minute
		for i := range 20 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Provider = telling{c.Accounts[0].Provider.(*process)}
		})
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if got := w.kinds()["ended"]; got != 20 || w.gets > 10 {
			t.Errorf("got %d ends with %d single looks, want 20 and hardly any", got, w.gets)
		}
		for _, ev := range w.outcomes {
			var data map[string]any
			if ev.Type() == consumer.OutcomePrefix+"ended" && (ev.DataAs(&data) != nil || data["result"] != "completed" || data["summary"] == nil) {
				t.Errorf("an outcome: got %v, want what the row told", data)
			}
		}
	})
}

// Ends that freed their slots at once are confirmed by one list, a minute and a half
// after the first, and in the books until then.
func TestEndsAreConfirmedTogether(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p, keys := gathering(t, w, 10) // the three that go on are asked for one by one
		lists, gets := w.looked()
		w.hang(t, p, keys[:7]...)
		if used := status(t, p).Used; used != 3 {
			t.Errorf("slots in use: got %d, want 3: each is free at once", used)
		}
		time.Sleep(89 * time.Second)
		if got := w.kinds()["ended"]; got != 0 {
			t.Errorf("after 89 s: got %d ends told, want none yet", got)
		}
		more, looks := w.looked()
		time.Sleep(3 * time.Second)
		if got := w.kinds()["ended"]; got != 7 {
			t.Errorf("after 92 s: got %d ends told, want 7", got)
		}
		after, besides := w.looked()
		if h := hooks(t, p); h.Confirmed != 7 || more != lists || after != lists+1 || besides-looks > 3 {
			t.Errorf("got %+v, %d lists and %d looks at once, %d looks before; want 7 confirmed, by one list", h, after-lists, besides-looks, looks-gets)
		}
		p.stop(t)
	})
}

// Never are more slots free on the word of webhooks alone than the account has.
func TestAsManyEndsAsSlotsAreConfirmedAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p, keys := gathering(t, w, 6)
		w.hang(t, p, keys...)
		time.Sleep(3 * time.Second)
		if got := w.kinds()["ended"]; got != 6 {
			t.Errorf("got %d ends told, want 6", got)
		}
		p.stop(t)
	})
}

// A lie among the webhooks is found when its time is up, its slot is taken again,
// and the lane's webhooks free no slot before the provider was asked.
func TestH13ALieAmongManyIsFound(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p, keys := gathering(t, w, 4)
		if err := p.tell(t, w.first(keys[3]), keys[3], 1); !errors.Is(err, consumer.ErrHeard) {
			t.Errorf("a lie: got %v, want %v", err, consumer.ErrHeard)
		}
		time.Sleep(time.Minute)
		w.hang(t, p, keys[:2]...)
		time.Sleep(45 * time.Second) // those two have as much left
		if s := status(t, p); s.Used != 2 || s.Webhooks.Denied != 1 || s.Webhooks.Confirmed != 2 {
			t.Errorf("got %d slots in use and %+v; want 2, one denied, and the others confirmed at once", s.Used, s.Webhooks)
		}
		if got := w.state(keys[3]); got != consumer.Created {
			t.Errorf("got %s, want created", got)
		}
		p.stop(t)
	})
}

// A lie is found at once where it shows: the request that takes its slot is refused.
func TestH13ALieThatARefusalShows(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p, keys := gathering(t, w, 3)
		w.lead("1000")
		time.Sleep(time.Second)
		if err := p.tell(t, w.first(keys[0]), keys[0], 1); !errors.Is(err, consumer.ErrHeard) {
			t.Errorf("a lie: got %v, want %v", err, consumer.ErrHeard)
		}
		time.Sleep(10 * time.Second)
		if s := status(t, p); s.Used != 3 || s.Webhooks.Denied != 1 {
			t.Errorf("after ten seconds: got %d slots in use and %+v, want 3 and one denied", s.Used, s.Webhooks)
		}
		p.stop(t)
		if w.highest > 3 {
			t.Errorf("got %d calls at once of 3", w.highest)
		}
	})
}

// A list of other calls shows that one lives of which a webhook said otherwise: it
// is asked for at once, for lists may be late.
func TestH13ALieThatAListShows(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p, keys := gathering(t, w, 10)
		if err := p.tell(t, w.first(keys[0]), keys[0], 1); !errors.Is(err, consumer.ErrHeard) {
			t.Errorf("a lie: got %v, want %v", err, consumer.ErrHeard)
		}
		time.Sleep(45 * time.Second) // calls are asked for each quarter of a minute at least
		if s := status(t, p); s.Used != 10 || s.Webhooks.Denied != 1 {
			t.Errorf("got %d slots in use and %+v, want 10 and one denied", s.Used, s.Webhooks)
		}
		p.stop(t)
	})
}

// A webhook that was heard needs no repeating: whoever owns the account next finds
// the end by asking.
func TestH8AHeardEndOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p, keys := gathering(t, w, 10)
		w.hang(t, p, keys[:5]...)
		w.do(func() { p.dead = true })
		p.stop(t)
		if got := w.kinds()["ended"]; got != 0 {
			t.Fatalf("got %d ends told, want none before the process died", got)
		}
		next := w.start(t, &process{}, nil)
		time.Sleep(20 * time.Second)
		if got, used := w.kinds()["ended"], status(t, next).Used; got != 5 || used != 5 {
			t.Errorf("got %d ends told and %d slots in use, want 5 and 5", got, used)
		}
		next.stop(t)
	})
}

// Where the list fails, each end is asked for by itself.
func TestEndsAreConfirmedWithoutTheList(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit, w.length = 10, time.Hour
		var keys []string
		for i := range 10 {
			keys = append(keys, w.lead(fmt.Sprintf("%04d", i)))
		}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			c.Accounts[0].Provider = badList{c.Accounts[0].Provider.(*process), 0}
			c.Accounts[0].MaxCall = 2 * time.Hour
		})
		time.Sleep(10 * time.Second)
		for _, key := range keys[:6] {
			w.finish(w.first(key))
			_ = p.tell(t, w.first(key), key, 1)
		}
		time.Sleep(2 * time.Minute)
		if got := w.kinds()["ended"]; got != 6 {
			t.Errorf("after two minutes: got %d ends told, want 6", got)
		}
		p.stop(t)
	})
}
