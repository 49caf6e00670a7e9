package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// withdrawal is the command that withdraws the lead with this id.
func withdrawal(id string) consumer.Command {
	return consumer.Command{
		Verb: consumer.VerbCancel, Intent: consumer.Key("l", "/crm", id), Source: "/crm", ID: id, By: "ana", Reason: "they have signed",
	}
}

// fullFor answers 429 with a Retry-After to each request.
func fullFor(wait string) func(*world, consumer.Batch) consumer.Answer {
	return func(_ *world, b consumer.Batch) consumer.Answer {
		a := all(b, consumer.VerdictFull, "full")
		a.Status, a.Full, a.Header = 429, true, map[string][]string{"Retry-After": {wait}}
		return a
	}
}

// TestAnEventIsWithdrawnBeforeItIsSent withdraws an event wherever it waits, twice.
func TestAnEventIsWithdrawnBeforeItIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		bring func(w *world) // until the event waits where it shall
		state consumer.State
	}{
		{"queued", func(w *world) { w.limit, w.length = 1, 5*time.Minute; w.lead("before"); w.lead("0001") }, consumer.Absent},
		{"waiting", func(w *world) { w.lead("0001"); w.answer = fullFor("60") }, consumer.Waiting},
		{"postponed", func(w *world) { w.lead("0001"); w.answer = fullFor("3600") }, consumer.Waiting},
		{"not published", func(*world) {}, consumer.Absent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				tt.bring(w)
				p := w.start(t, &process{}, nil)
				time.Sleep(30 * time.Second)
				cmd := withdrawal("0001")
				if got := w.state(cmd.Intent); got != tt.state {
					t.Fatalf("before: got %q, want %q", got, tt.state)
				}
				before := w.posted()
				for range 2 {
					if r := command(t, p, cmd); r.Error != "" || r.State != consumer.Cancelled {
						t.Errorf("got %+v, want cancelled", r)
					}
				}
				if got := heardOf(w, "0001"); got != "cancelled" {
					t.Errorf("when it was answered: told %q, want cancelled", got)
				}
				w.do(func() { w.answer = nil })
				if tt.name == "not published" {
					w.lead("0001")
				}
				w.leadWith("0001", map[string]any{"id": "other", "phone": "+14155559999"}) // whatever comes under its id
				time.Sleep(3 * time.Hour)
				p.stop(t)
				want := map[string]int{"cancelled": 1}
				switch tt.name {
				case "queued":
					want["created"], want["ended"] = 1, 1
				case "waiting", "postponed": // its content is known: another one is a conflict
					want["rejected"] = 1
				}
				if diff := cmp.Diff(want, w.kinds()); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if n := w.posted(); n != before || w.unacked() != 0 || w.state(cmd.Intent) != consumer.Cancelled {
					t.Errorf("got %d requests, %d messages left, %s; want %d, none, cancelled", n, w.unacked(), w.state(cmd.Intent), before)
				}
				for _, ev := range w.outcomes {
					if ev.Type() == consumer.OutcomePrefix+"cancelled" && (ev.Subject() != "0001" || ev.Extensions()["causationsource"] != "/crm") {
						t.Errorf("the outcome does not name its event: %v", ev)
					}
				}
			})
		})
	}
}

// TestWhatWasSentCannotBeWithdrawn tries it in each other state.
func TestWhatWasSentCannotBeWithdrawn(t *testing.T) {
	t.Parallel()
	cut := func(_ *world, b consumer.Batch) consumer.Answer {
		a := all(b, consumer.VerdictDoubt, "cut")
		a.Status = -1 // after 15 s
		return a
	}
	for _, tt := range []struct {
		state  consumer.State
		answer func(*world, consumer.Batch) consumer.Answer
		after  time.Duration
		says   string
	}{
		{consumer.Started, cut, 5 * time.Second, "the event is being sent; it cannot be withdrawn any more"},
		{consumer.Created, nil, 10 * time.Second, "too late: the conversation was created"},
		{consumer.Ended, nil, 5 * time.Minute, "too late: the conversation was created"},
		{consumer.Doubt, always(consumer.VerdictDoubt, "cut", 200), 10 * time.Second, "the event is in doubt: its call may have been placed; settle it with weir doubt resolve"},
		{consumer.Dead, always(consumer.VerdictRejected, "no", 422), 10 * time.Second, "the event is a dead letter and will not be sent; give it up with weir dead drop"},
	} {
		t.Run(string(tt.state), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				w.answer = tt.answer
				p := w.start(t, &process{}, nil)
				time.Sleep(tt.after)
				r := command(t, p, withdrawal("0001"))
				if r.Error != tt.says || r.State != tt.state || w.state(key) != tt.state {
					t.Errorf("got %+v, then %s; want %s: %s", r, w.state(key), tt.state, tt.says)
				}
				p.stop(t)
				if n := w.kinds()["cancelled"]; n != 0 {
					t.Errorf("got %d outcomes that say cancelled, want none", n)
				}
			})
		})
	}
}

// TestACancelWaitsForTheAnswer withdraws an event while its request is under way.
// It was full: the event is still there to be withdrawn.
func TestACancelWaitsForTheAnswer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.answer = fullFor("60")
		p := w.start(t, &process{}, nil)
		for w.state(key) != consumer.Started {
			time.Sleep(10 * time.Millisecond)
		}
		if r := command(t, p, withdrawal("0001")); r.Error != "" || r.State != consumer.Cancelled {
			t.Errorf("got %+v, want cancelled", r)
		}
		p.stop(t)
	})
}

// A letter can be seen before its outcome was told: who settles or drops its event
// then is not sent away.
func TestADecisionWaitsForTheOutcomeBeforeIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer consumer.Verdict
		cmd    consumer.Command
		want   consumer.State
	}{
		"drop a dead letter": {consumer.VerdictRejected, consumer.Command{Verb: consumer.VerbDrop}, consumer.Cancelled},
		"drop a doubt":       {consumer.VerdictDoubt, consumer.Command{Verb: consumer.VerbDrop}, consumer.Cancelled},
		"settle a doubt":     {consumer.VerdictDoubt, consumer.Command{Verb: consumer.VerbSettle, Conversation: "c-0"}, consumer.Created},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				w.answer = always(tt.answer, "no", 422)
				p := w.start(t, &process{}, func(c *consumer.Config) {
					c.Outbox = badOutbox{Outbox: c.Outbox, publish: func(kind string) error {
						if kind == "rejected" || kind == "doubt" {
							time.Sleep(2 * time.Second)
						}
						return nil
					}}
				})
				for w.count(func() int { return len(w.letters) }) == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				cmd := tt.cmd
				cmd.Intent, cmd.Expect, cmd.By, cmd.Reason = key, w.intent(key).N, "ana", "seen"
				if r := command(t, p, cmd); r.Error != "" || r.State != tt.want {
					t.Errorf("got %+v, want %s", r, tt.want)
				}
				p.stop(t)
			})
		})
	}
}

func TestACancelIsRefused(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, nil)
		time.Sleep(time.Second)
		for _, tt := range []struct {
			change func(*consumer.Command)
			says   string
		}{
			{func(c *consumer.Command) { c.By = "" }, "a name and a reason are needed"},
			{func(c *consumer.Command) { c.Reason = "" }, "a name and a reason are needed"},
			{func(c *consumer.Command) { c.ID = "0002" }, "the intent is not the one of this source and id"},
			{func(c *consumer.Command) { c.Source, c.ID = "", "" }, "the ledger does not know the event; name it by its source and id"},
		} {
			cmd := withdrawal("0001")
			tt.change(&cmd)
			if r := command(t, p, cmd); r.Error != tt.says {
				t.Errorf("got %q, want %q", r.Error, tt.says)
			}
		}
		p.stop(t)
		if len(w.entries) != 0 {
			t.Errorf("got %d entries, want none", len(w.entries))
		}
	})
}

// An event that may have been sent in the time that was lost is no event that was
// not sent.
func TestWhatMayHaveBeenSentBeforeALossIsNotWithdrawn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.answer = fullFor("3600")
		p := w.start(t, &process{}, nil)
		time.Sleep(30 * time.Second)
		p.engine.SetDoubtful("l", time.Now())
		r := command(t, p, withdrawal("0001"))
		if !strings.Contains(r.Error, "may have been sent") || w.state(key) != consumer.Waiting {
			t.Errorf("got %+v, then %s; want it refused", r, w.state(key))
		}
		p.stop(t)
	})
}

// meddler does something before the ledger takes an entry in a state, once.
type meddler struct {
	consumer.Ledger
	state consumer.State
	first func()
}

func (m *meddler) Store(ctx context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	if first := m.first; first != nil && in.State == m.state {
		m.first = nil
		first()
	}
	return m.Ledger.Store(ctx, in, revision)
}

// idle is a process that fetches nothing.
func idle() *process {
	p := &process{}
	p.early = func() { p.engine.SetPause("l", &consumer.Pause{By: "ana", Reason: "wait"}) }
	return p
}

// TestTheCompareAndSetDecidesBetweenClaimAndCancel lets each of the two be the
// first, while the other one is about to be written.
func TestTheCompareAndSetDecidesBetweenClaimAndCancel(t *testing.T) {
	t.Parallel()
	t.Run("cancel first", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			other := w.start(t, idle(), nil)
			key := w.lead("0001")
			sender := w.start(t, &process{}, func(c *consumer.Config) {
				c.Ledger = &meddler{c.Ledger, consumer.Started, func() {
					if r := command(t, other, withdrawal("0001")); r.Error != "" {
						t.Errorf("got %+v, want cancelled", r)
					}
				}}
			})
			time.Sleep(5 * time.Minute)
			sender.stop(t)
			other.stop(t)
			if w.posted() != 0 || w.state(key) != consumer.Cancelled || w.kinds()["cancelled"] != 1 || w.unacked() != 0 {
				t.Errorf("got %d requests, %s, outcomes %v, %d messages left; want none, cancelled, told, none", w.posted(), w.state(key), w.kinds(), w.unacked())
			}
		})
	})
	t.Run("claim first", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			other := w.start(t, idle(), func(c *consumer.Config) {
				c.Ledger = &meddler{c.Ledger, consumer.Cancelled, func() {
					sender := w.start(t, &process{}, nil)
					w.lead("0001")
					time.Sleep(10 * time.Second)
					sender.stop(t)
				}}
			})
			r := command(t, other, withdrawal("0001"))
			if r.State != consumer.Created || r.Error == "" || w.posted() != 1 || w.kinds()["cancelled"] != 0 {
				t.Errorf("got %+v, %d requests, outcomes %v; want created, one, and not cancelled", r, w.posted(), w.kinds())
			}
			other.stop(t)
		})
	})
}

// TestCrashAtEveryStepOfACancel kills the process before and after each act, while
// events are withdrawn that are queued, waiting, and not published yet. Whatever was
// answered "cancelled" is never sent; a command that failed may be given again; and
// the outcome is told though nobody gives it again.
func TestCrashAtEveryStepOfACancel(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 14; at++ {
		for _, late := range []bool{false, true} {
			for _, again := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/late=%v/again=%v", at, late, again), func(t *testing.T) {
					t.Parallel()
					bubble(t, func(t *testing.T, w *world) { crashInCancel(t, w, at, late, again) })
				})
			}
		}
	}
}

func crashInCancel(t *testing.T, w *world, at int, late, again bool) {
	w.limit, w.length = 1, 2*time.Minute
	ids := []string{"waits", "queued", "soon"}
	w.lead(ids[0])
	w.answer = fullFor("60")
	first := w.start(t, &process{dieAt: at, dieLate: late}, nil)
	time.Sleep(10 * time.Second)
	w.lead(ids[1])
	answered := make(map[string]bool)
	for _, id := range ids {
		r := command(t, first, withdrawal(id))
		answered[id] = r.Error == ""
	}
	decided := make(map[string]bool) // whether anybody heard of it or not
	for _, id := range ids {
		decided[id] = w.state(consumer.Key("l", "/crm", id)) == consumer.Cancelled
		if answered[id] && !decided[id] {
			t.Errorf("%s: answered, and not written down", id)
		}
	}
	time.Sleep(time.Minute)
	w.do(func() { w.answer = nil })
	second := w.start(t, &process{}, nil)
	if again {
		time.Sleep(time.Second)
		for _, id := range ids {
			if r := command(t, second, withdrawal(id)); r.Error == "" {
				decided[id] = true
			}
		}
	} else {
		time.Sleep(time.Minute)
		for _, id := range ids {
			if decided[id] != (heardOf(w, id) == "cancelled") {
				t.Errorf("%s: decided %v, told %q", id, decided[id], heardOf(w, id))
			}
		}
	}
	w.lead(ids[2])
	time.Sleep(30 * time.Minute)
	second.stop(t)
	first.cancel()
	<-first.done
	for _, id := range ids {
		key := consumer.Key("l", "/crm", id)
		switch state := w.state(key); {
		case decided[id] && (len(w.made[key]) > 0 || state != consumer.Cancelled || heardOf(w, id) != "cancelled"):
			t.Errorf("%s: withdrawn, and %s, conversations %v, told %q", id, state, w.made[key], heardOf(w, id))
		case !decided[id] && state != consumer.Ended && state != consumer.Doubt:
			t.Errorf("%s: got %q, want it sent", id, state)
		}
	}
	if n := w.unacked(); n != 0 {
		t.Errorf("messages left: %d", n)
	}
}

// heardOf is the kind of an outcome of an event, cancelled before others.
func heardOf(w *world, id string) (kind string) {
	w.do(func() {
		for _, ev := range w.outcomes {
			if ev.Subject() == id && kind != "cancelled" {
				kind = ev.Type()[len(consumer.OutcomePrefix):]
			}
		}
	})
	return kind
}
