package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// dry makes the lane rehearse.
func dry(c *consumer.Config) { c.Accounts[0].Lanes[0].Dry = true }

// told returns the data of the only outcome of a kind.
func (w *world) told(t *testing.T, kind string) (data consumer.OutcomeData) {
	t.Helper()
	found := 0
	for _, ev := range w.outcomes {
		if ev.Type() == consumer.OutcomePrefix+kind {
			found++
			if err := ev.DataAs(&data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found != 1 {
		t.Fatalf("outcomes of kind %s: got %d, want 1", kind, found)
	}
	return data
}

func TestDryRunSendsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		p := w.start(t, &process{}, dry)
		time.Sleep(time.Minute)
		s := status(t, p)
		p.stop(t)
		want := []string{"store suppressed", "publish suppressed", "ack"}
		if diff := cmp.Diff(want, w.order); diff != "" {
			t.Errorf("durable steps (-want +got):\n%s", diff)
		}
		in := w.entries["l."+key].intent
		if in.State != consumer.Suppressed || in.Claims != 0 || in.Class != consumer.ClassDryRun {
			t.Errorf("entry: got %s, %d claims, class %q; want suppressed, none, %q", in.State, in.Claims, in.Class, consumer.ClassDryRun)
		}
		if len(w.posts) != 0 || len(w.made) != 0 {
			t.Errorf("requests: got %d, want none", len(w.posts))
		}
		data := w.told(t, "suppressed")
		if !data.DryRun || data.Class != consumer.ClassDryRun || data.Reason != "dry run: nothing was sent (send: false)" {
			t.Errorf("outcome: got %+v", data)
		}
		if s.Used != 0 || !s.DryRun || s.State != "running" || !strings.Contains(s.Why, "dry run") {
			t.Errorf("status: got %+v, want a dry run with no slot in use", s)
		}
	})
}

// A backlog far above the limit goes through: each slot is free again at once.
// What cannot be sent is refused as ever.
func TestDryRunRefusesAsEver(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1
		for i := range 50 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		w.leadWith("bad", map[string]any{"id": "bad"})
		p := w.start(t, &process{}, dry)
		time.Sleep(time.Minute)
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"suppressed": 50, "rejected": 1}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if len(w.posts) != 0 || w.unacked() != 0 {
			t.Errorf("got %d requests, %d messages left; want none", len(w.posts), w.unacked())
		}
	})
}

// TestDryRunCrashAtEveryStep kills the rehearsal before and after each durable
// step. The next process sends: what was suppressed stays so, and the rest is
// called once.
func TestDryRunCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 7; at++ {
		for _, late := range []bool{false, true} {
			for _, then := range []string{"dry", "live"} {
				t.Run(fmt.Sprintf("%d/late=%v/%s", at, late, then), func(t *testing.T) {
					t.Parallel()
					bubble(t, func(t *testing.T, w *world) { dryCrash(t, w, at, late, then == "live") })
				})
			}
		}
	}
}

func dryCrash(t *testing.T, w *world, at int, late, live bool) {
	keys := []string{w.lead("0001"), w.lead("0002")}
	first := w.start(t, &process{dieAt: at, dieLate: late}, dry)
	time.Sleep(time.Minute)
	decided := make(map[string]bool)
	w.do(func() {
		for _, key := range keys {
			decided[key] = w.entries["l."+key].intent.State == consumer.Suppressed
		}
	})
	edit := dry
	if live {
		edit = nil
	}
	second := w.start(t, &process{}, edit)
	time.Sleep(15 * time.Minute)
	second.stop(t)
	first.cancel()
	<-first.done
	suppressed := 0
	for _, key := range keys {
		want := consumer.Suppressed
		if live && !decided[key] {
			want = consumer.Ended
		}
		if want == consumer.Suppressed {
			suppressed++
		}
		if got := w.state(key); got != want || len(w.made[key]) > 0 != (want == consumer.Ended) {
			t.Errorf("got %s with conversations %v, want %s", got, w.made[key], want)
		}
	}
	if got := w.kinds()["suppressed"]; got != suppressed {
		t.Errorf("outcomes: got %v, want %d suppressed", w.kinds(), suppressed)
	}
	if w.unacked() != 0 || len(w.doubled()) > 0 || w.kinds()["doubt"] > 0 {
		t.Errorf("got %d messages left, doubled %v, outcomes %v; want none in doubt", w.unacked(), w.doubled(), w.kinds())
	}
}

// TestDryRunObeysNoOrderToSendAgain: a doubt stays a doubt, a dead letter stays
// one, and each says why, however often it is ordered. Sent for real, the order
// counts again.
func TestDryRunObeysNoOrderToSendAgain(t *testing.T) {
	t.Parallel()
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				key := w.lead("0001")
				event := w.events.msgs[0]
				w.events.msgs = nil
				w.entries["l."+key] = stored{consumer.Intent{
					Lane: "l", Key: key, State: state, N: 2, Claims: 1, Claimed: time.Now(), Source: "/crm", ID: "0001", Type: "lead.created",
					Digest: "d", Class: "rejected", Reason: "no such number",
				}, 5}
				w.revision = 5
				order := func(n int) {
					w.do(func() {
						w.addDue(&record{header: event.header, data: event.data, intent: key, ready: time.Now(), replay: &consumer.Replay{Expect: n, By: "ana", Reason: "asked"}})
					})
				}
				p := w.start(t, &process{}, dry)
				order(2)
				time.Sleep(time.Minute)
				order(3)
				time.Sleep(time.Minute)
				p.stop(t)
				in := w.entries["l."+key].intent
				want := "dry run: the order to send it again was not obeyed (send: false); as before: no such number"
				if in.State != state || in.N != 4 || in.Claims != 1 || in.Class != "rejected" || in.Digest != "d" || in.Reason != want {
					t.Errorf("entry: got %+v, want %s, n 4, one claim, reason %q", in, state, want)
				}
				if n := len(in.History); n == 0 || in.History[n-1].By != "ana" {
					t.Errorf("history: got %+v, want a line by ana", in.History)
				}
				if len(w.posts) != 0 || w.unacked() != 0 || w.letters[key].Reason != want {
					t.Errorf("got %d requests, %d messages left, letter %q", len(w.posts), w.unacked(), w.letters[key].Reason)
				}
				order(4)
				p = w.start(t, &process{}, nil)
				time.Sleep(time.Minute)
				p.stop(t)
				if len(w.posts) != 1 {
					t.Errorf("requests when it is sent: got %d, want 1", len(w.posts))
				}
			})
		})
	}
}

// What a person had sent again out of a doubt, and what waits for a slot then,
// is no event of which it is certain that nothing was sent.
func TestDryRunSaysNothingFalseOfADoubt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		key := w.lead("0001")
		w.entries["l."+key] = stored{consumer.Intent{
			Lane: "l", Key: key, State: consumer.Waiting, N: 4, Claims: 2, Attempts: 1, Doubted: true, Claimed: time.Now(),
			Source: "/crm", ID: "0001", Type: "lead.created", Digest: w.digest(t, 0),
		}, 5}
		w.revision = 5
		p := w.start(t, &process{}, dry)
		time.Sleep(time.Minute)
		p.stop(t)
		in := w.entries["l."+key].intent
		if in.State != consumer.Doubt || in.Open || in.Claims != 2 || !strings.HasPrefix(in.Reason, "dry run: it was not sent again") {
			t.Errorf("got %s (open %v), %d claims: %s; want a doubt for a person", in.State, in.Open, in.Claims, in.Reason)
		}
		if len(w.letters) != 1 || w.kinds()["doubt"] != 1 || len(w.posts) != 0 || w.unacked() != 0 {
			t.Errorf("got %d letters, outcomes %v, %d requests, %d messages left", len(w.letters), w.kinds(), len(w.posts), w.unacked())
		}
	})
}

// A doubt that would settle itself by sending its id again is looked for, and then
// a person's. Where the look finds it, it is created, in a dry run as well.
func TestDryRunLooksForADoubtAndSendsNothing(t *testing.T) {
	t.Parallel()
	for name, exists := range map[string]bool{"it exists": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				edit := ids(w)
				w.answer = first(1, lost)
				if exists {
					w.answer = first(1, hides)
					w.hidden = func(consumer.Item) time.Duration { return 25 * time.Second }
				}
				key := w.lead("0001")
				p := w.start(t, &process{}, edit)
				time.Sleep(5 * time.Second)
				p.stop(t)
				if in := w.entries["l."+key].intent; in.State != consumer.Doubt || !in.Open {
					t.Fatalf("before the dry run: got %s, want an open doubt", in.State)
				}
				p = w.start(t, &process{}, func(c *consumer.Config) { edit(c); dry(c) })
				time.Sleep(5 * time.Minute)
				p.stop(t)
				in := w.entries["l."+key].intent
				if exists && in.State != consumer.Ended {
					t.Errorf("got %s, want ended", in.State)
				}
				if !exists && (in.State != consumer.Doubt || in.Open || in.Reason != "dry run: its id was not sent again (send: false); as before: reset") {
					t.Errorf("got %s (open %v): %s; want a doubt for a person, with the reason", in.State, in.Open, in.Reason)
				}
				if len(w.posts) != 1 || w.unacked() != 0 || in.Claims != 1 {
					t.Errorf("got %d requests, %d claims, %d messages left; want those of before the dry run", len(w.posts), in.Claims, w.unacked())
				}
			})
		})
	}
}

// A conversation that was made before the lane's file was changed is followed to
// its end, and holds its slot until then.
func TestDryRunFollowsWhatIsLive(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.length = 2 * time.Minute
		key := w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(10 * time.Second)
		p.stop(t)
		p = w.start(t, &process{}, dry)
		time.Sleep(30 * time.Second)
		if s := status(t, p); s.Used != 1 {
			t.Errorf("slots in use: got %d, want 1", s.Used)
		}
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if got := w.state(key); got != consumer.Ended {
			t.Errorf("got %s, want ended", got)
		}
	})
}

// The engine's own guards, each alone: were a request made all the same, its first
// byte is forbidden, and the client is not asked.
func TestDryRunCannotPost(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, dry)
		defer p.stop(t)
		if err := p.engine.MayPost("l"); err == nil {
			t.Error("the first byte is not forbidden")
		}
		a := p.engine.Ask(t.Context(), "l", consumer.Batch{Items: []consumer.Item{{}, {}}, Permit: func() error { return nil }})
		if len(a.Results) != 2 || a.Results[0].Verdict != consumer.VerdictUnsent || w.posted() != 0 {
			t.Errorf("got %+v, %d requests; want two items unsent, none", a.Results, w.posted())
		}
		live := w.start(t, &process{}, nil)
		defer live.stop(t)
		if err := live.engine.MayPost("l"); err != nil {
			t.Errorf("a lane that sends: %v", err)
		}
	})
}

// Two lanes of one account: one rehearses, the other sends.
func TestDryRunOfOneLaneOfTwo(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for i := range 6 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			dry := c.Accounts[0].Lanes[0]
			dry.Name, dry.Dry = "d", true
			other := newStream(w, "OTHER")
			other.msgs = append(other.msgs, w.events.msgs[:3]...)
			w.events.msgs = w.events.msgs[3:]
			q := queue{c.Accounts[0].Provider.(*process), other}
			dry.High, dry.Events, dry.Due = nil, q, queue{q.p, newStream(w, "NONE")}
			c.Accounts[0].Lanes = append(c.Accounts[0].Lanes, dry)
		})
		time.Sleep(10 * time.Minute)
		p.stop(t)
		if diff := cmp.Diff(map[string]int{"suppressed": 3, "created": 3, "ended": 3}, w.kinds()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}
