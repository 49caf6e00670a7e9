package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// leadAt publishes a lead with a time of its own, if it is not zero, and with the
// broker's time of its message.
func (w *world) leadAt(id string, born, published time.Time) string {
	attribute := ""
	if !born.IsZero() {
		attribute = fmt.Sprintf(`"time":%q,`, born.Format(time.RFC3339Nano))
	}
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created",%s"datacontenttype":"application/json","data":{"id":%q,"phone":"+1415555%s"}}`, id, attribute, id, id)
	w.events.put(&record{header: map[string][]string{"Content-Type": {"application/cloudevents+json"}}, data: []byte(body), published: published})
	return consumer.Key("l", "/crm", id)
}

// remembers puts an entry into the ledger, written last at a time.
func (w *world) remembers(t *testing.T, key string, at time.Time, steps ...consumer.Step) {
	t.Helper()
	in := consumer.Intent{Lane: "l", Key: key, Digest: w.digest(t, len(w.events.msgs)-1), Source: "/crm"}
	for _, s := range steps {
		in, _ = consumer.Next(in, s, at)
	}
	w.do(func() {
		w.revision++
		w.entries["l."+key] = stored{in, w.revision}
	})
}

func TestH19WhatMayHaveBeenSentComesIntoDoubt(t *testing.T) {
	t.Parallel()
	wait := []consumer.Step{{Kind: consumer.StepClaim}, {Kind: consumer.StepRelease, Attempt: 1, Class: "full"}}
	for name, tc := range map[string]struct {
		born, published time.Duration // after the boundary
		timeless        bool
		known           []consumer.Step
		at              time.Duration
		want            consumer.State
	}{
		"an event of before":                       {published: -time.Hour, timeless: true, want: consumer.Doubt},
		"of before, with its time":                 {born: -2 * time.Hour, published: -time.Hour, want: consumer.Doubt},
		"published again":                          {born: -time.Hour, published: time.Minute, want: consumer.Doubt},
		"published again without its time":         {timeless: true, published: time.Minute, want: consumer.Ended}, // cannot be known
		"a new event":                              {born: time.Second, published: time.Minute, want: consumer.Ended},
		"a new event of a clock that is ahead":     {born: time.Hour, published: -time.Minute, want: consumer.Doubt},
		"waiting since before":                     {born: time.Second, published: time.Minute, known: wait, at: -time.Minute, want: consumer.Doubt},
		"waiting since after":                      {born: -time.Hour, published: -time.Hour, known: wait, at: time.Second, want: consumer.Ended},
		"known to be created, and over":            {born: -time.Hour, published: -time.Hour, known: []consumer.Step{{Kind: consumer.StepClaim}, {Kind: consumer.StepEvidence, Attempt: 1, Conversation: "c"}, {Kind: consumer.StepEnd, Conversation: "c"}}, at: -time.Minute, want: consumer.Ended},
		"known to be withdrawn before it was sent": {born: -time.Hour, published: -time.Hour, known: []consumer.Step{{Kind: consumer.StepCancel}}, at: -time.Minute, want: consumer.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				p := w.start(t, &process{}, nil)
				p.engine.SetHold("l", &consumer.Pause{By: "weir", Reason: "lost"})
				boundary := time.Now()
				p.engine.SetDoubtful("l", boundary)
				born := time.Time{}
				if !tc.timeless {
					born = boundary.Add(tc.born)
				}
				key := w.leadAt("0001", born, boundary.Add(tc.published))
				if tc.known != nil {
					w.remembers(t, key, boundary.Add(tc.at), tc.known...)
				}
				p.engine.SetHold("l", nil)
				time.Sleep(5 * time.Minute)
				p.stop(t)
				if got := w.state(key); got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
				if w.unacked() != 0 {
					t.Errorf("%d messages left", w.unacked())
				}
				if tc.want != consumer.Doubt {
					return
				}
				want := []string{"store doubt", "keep doubt", "publish doubt", "ack"}
				if diff := cmp.Diff(want, w.order); diff != "" {
					t.Errorf("durable steps (-want +got):\n%s", diff)
				}
				if len(w.posts) != 0 {
					t.Errorf("got %d requests, want none", len(w.posts))
				}
			})
		})
	}
}

// Where the provider takes our id, nobody has to look: what was sent is found, and
// what was not is sent, once.
func TestH19WithIDsTheLostHourSettlesItself(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		edit := ids(w)
		sent := w.leadAt("0001", time.Now(), time.Now())
		first := w.start(t, &process{}, edit)
		time.Sleep(5 * time.Minute)
		first.stop(t)
		w.do(func() { clear(w.entries) }) // an empty ledger is put back
		never := w.leadAt("0002", time.Now(), time.Now())
		w.leadAt("0001", time.Now().Add(-5*time.Minute), time.Now())
		second := w.start(t, &process{}, edit)
		second.engine.SetDoubtful("l", time.Now().Add(time.Second))
		time.Sleep(10 * time.Minute)
		second.stop(t)
		if w.state(sent) != consumer.Ended || w.state(never) != consumer.Ended {
			t.Errorf("sent: %s, never sent: %s; want both ended", w.state(sent), w.state(never))
		}
		if len(w.doubled()) != 0 || len(w.made[sent]) != 1 || len(w.made[never]) != 1 {
			t.Errorf("conversations: %v; want one each", w.made)
		}
		if w.unacked() != 0 || len(w.letters) != 0 {
			t.Errorf("%d messages left, %d letters; want none", w.unacked(), len(w.letters))
		}
	})
}

func TestH19ACrashAtEveryStepOfADoubt(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 4; at++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%v", at, late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					boundary := time.Now()
					first := w.start(t, &process{dieAt: at, dieLate: late}, nil)
					first.engine.SetDoubtful("l", boundary)
					key := w.leadAt("0001", boundary.Add(-time.Hour), boundary.Add(time.Hour))
					time.Sleep(time.Minute)
					second := w.start(t, &process{}, nil)
					second.engine.SetDoubtful("l", boundary)
					time.Sleep(15 * time.Minute)
					second.stop(t)
					first.cancel()
					<-first.done
					if got := w.state(key); got != consumer.Doubt || len(w.posts) != 0 {
						t.Errorf("got %s and %d requests, want a doubt and none", got, len(w.posts))
					}
					if diff := cmp.Diff(map[string]int{"doubt": 1}, w.kinds()); diff != "" || len(w.letters) != 1 || w.unacked() != 0 {
						t.Errorf("%d letters, %d messages left; outcomes (-want +got):\n%s", len(w.letters), w.unacked(), diff)
					}
				})
			})
		}
	}
}

// An order to send again may have been obeyed in the time that was lost.
func TestH19AnOldOrderDoesNotCount(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			boundary := time.Now()
			key := w.leadAt("0001", boundary.Add(-time.Hour), boundary.Add(-time.Hour))
			w.remembers(t, key, boundary.Add(-time.Hour), consumer.Step{Kind: consumer.StepRefuse, Class: "rejected"})
			p := w.start(t, &process{}, nil)
			p.engine.SetHold("l", &consumer.Pause{By: "weir", Reason: "lost"})
			p.engine.SetDoubtful("l", boundary)
			r := &record{
				header: w.events.msgs[0].header, data: w.events.msgs[0].data, published: boundary.Add(time.Minute),
				intent: key, replay: &consumer.Replay{Expect: 1, By: "ana", Reason: "asked"},
			}
			if old {
				r.published = boundary.Add(-time.Minute)
			}
			w.due.put(r)
			p.engine.SetHold("l", nil)
			time.Sleep(5 * time.Minute)
			p.stop(t)
			want := map[bool]consumer.State{true: consumer.Dead, false: consumer.Ended}[old]
			if got := w.state(key); got != want || w.unacked() != 0 {
				t.Errorf("an order of before the release (%v): got %s with %d messages left, want %s", old, got, w.unacked(), want)
			}
		})
	}
}

// An order that was put off until people may be contacted is as old as on the day
// when it was given: what a backup brings back may have been obeyed.
func TestH19AnOldOrderThatWasPutOffDoesNotCount(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			began := time.Now()
			w.hours = closedFor(3 * time.Hour)
			key := w.leadAt("0001", began.Add(-time.Hour), began.Add(-time.Hour))
			w.remembers(t, key, began.Add(-time.Hour), consumer.Step{Kind: consumer.StepRefuse, Class: "rejected"})
			p := w.start(t, &process{}, nil)
			w.due.put(&record{
				header: w.events.msgs[0].header, data: w.events.msgs[0].data, published: time.Now(),
				intent: key, replay: &consumer.Replay{Expect: 1, By: "ana", Reason: "asked"},
			})
			time.Sleep(time.Hour)
			boundary := began.Add(2 * time.Hour)
			if !old {
				boundary = began.Add(-time.Minute)
			}
			p.engine.SetDoubtful("l", boundary)
			time.Sleep(5 * time.Hour)
			p.stop(t)
			want := map[bool]consumer.State{true: consumer.Dead, false: consumer.Ended}[old]
			if got := w.state(key); got != want || w.unacked() != 0 {
				t.Errorf("an order of before the release (%v): got %s with %d messages left, want %s", old, got, w.unacked(), want)
			}
		})
	}
}

func TestH19AHeldLaneSendsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, nil)
		p.engine.SetHold("l", &consumer.Pause{By: "weir", Reason: "the ledger is gone"})
		w.lead("0001")
		p.engine.SetPause("l", &consumer.Pause{By: "ana", Reason: "lunch"})
		time.Sleep(time.Minute)
		p.engine.SetPause("l", nil)
		time.Sleep(time.Minute)
		if s := status(t, p); s.State != "held" || s.Why != "the ledger is gone" || len(w.posts) != 0 {
			t.Errorf("after a resume: got %s (%s) and %d requests, want held and none", s.State, s.Why, len(w.posts))
		}
		p.engine.SetHold("l", nil)
		time.Sleep(time.Minute)
		p.stop(t)
		if len(w.posts) != 1 {
			t.Errorf("after the release: got %d requests, want 1", len(w.posts))
		}
	})
}
