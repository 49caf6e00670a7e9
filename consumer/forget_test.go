package consumer_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// talkative is an intent in the given state with a text of the person's in each
// field that can have one.
func talkative(s consumer.State) consumer.Intent {
	in := sample(s)
	in.Source, in.ID, in.Type, in.Digest, in.Former, in.Print = "ada", "ada", "ada", "ada", "ada", "ada"
	in.Class, in.Reason, in.Sequence = "ada", "ada", 9
	in.Session = consumer.Session{Greeting: "ada", Join: "ada"}
	in.Named = []consumer.Named{{Conversation: "c9", Why: "ada"}}
	in.Attempts, in.Doubted = 1, true
	for n, state := range []consumer.State{consumer.Waiting, consumer.Started, consumer.Doubt, consumer.Started, consumer.Created, consumer.Ended} {
		in.History = append(in.History, consumer.Transition{N: n + 1, State: state, Claim: n / 2, At: noon, By: "ada", Reason: "ada"})
	}
	return in
}

// speaks fails if the intent has a text of the person's.
func speaks(t *testing.T, what string, in consumer.Intent) {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "ada") || in.Session != (consumer.Session{}) {
		t.Errorf("%s: got %s, want nothing of the person's", what, text)
	}
}

// What is forgotten keeps what nobody is called twice for, and no text; whatever step
// comes afterwards.
func TestForgottenIsForgotten(t *testing.T) {
	t.Parallel()
	for _, s := range []consumer.State{consumer.Ended, consumer.Cancelled, consumer.Expired, consumer.Suppressed} {
		in := talkative(s)
		out, effect := consumer.Next(in, consumer.Step{Kind: consumer.StepForget, Expect: 7, By: "ana", Reason: "they asked"}, noon)
		if effect != consumer.Applied || !out.Forgotten.Equal(noon) || out.Sequence != 0 {
			t.Fatalf("%s: got effect %d and %+v, want it forgotten at noon", s, effect, out)
		}
		speaks(t, string(s), out)
		if last := out.History[len(out.History)-1]; last.By != "ana" || last.Reason != "they asked" || last.N != 8 {
			t.Errorf("%s: got %+v, want who ordered that and why", s, last)
		}
		kept := func(in consumer.Intent) []any {
			return []any{in.State, in.Claims, in.Attempts, in.Doubted, in.Claimed, in.Conversation, in.Made, in.First, in.Nonce}
		}
		if diff := cmp.Diff(kept(in), kept(out)); diff != "" {
			t.Errorf("%s: what counts (-before +after):\n%s", s, diff)
		}
		before, _ := in.Reach()
		if after, _ := out.Reach(); after != before {
			t.Errorf("%s: the contact counts as %v, want %v", s, after, before)
		}
		again, effect := consumer.Next(out, consumer.Step{Kind: consumer.StepForget, Expect: 7, By: "bob", Reason: "again"}, noon)
		if effect != consumer.Absorbed {
			t.Errorf("%s: once more: got effect %d and %+v, want it absorbed", s, effect, again)
		}
		for _, k := range consumer.StepKinds() {
			st := step(k)
			st.Expect, st.Reason, st.By, st.Class, st.Conversation = 8, "ada", "ada", "ada", "c2"
			st.Session = consumer.Session{Greeting: "ada", Join: "ada"}
			after, effect := consumer.Next(out, st, noon)
			speaks(t, "after a step", after)
			if after.Forgotten.IsZero() {
				t.Errorf("%s, step %d (effect %d): it is not forgotten any more", s, k, effect)
			}
		}
	}
}

// Contacts are counted by how a conversation ended, in Weir's own words. They stay.
func TestForgottenCountsAsBefore(t *testing.T) {
	t.Parallel()
	for _, result := range []string{"unanswered", "failed", "cancelled", "answered", "anything else"} {
		in := sample(consumer.Ended)
		in.History = []consumer.Transition{{N: 7, State: consumer.Ended, Claim: 2, At: noon, Reason: result}}
		want, since := in.Reach()
		out, _ := consumer.Next(in, consumer.Step{Kind: consumer.StepForget, Expect: 7, By: "ana", Reason: "x"}, noon.Add(time.Hour))
		if got, at := out.Reach(); got != want || !at.Equal(since) {
			t.Errorf("%s: got %v since %v, want %v since %v", result, got, at, want, since)
		}
	}
}

// An event that has changed since the person looked is not forgotten.
func TestForgettingIsGuardedByN(t *testing.T) {
	t.Parallel()
	for _, s := range consumer.States() {
		st := step(consumer.StepForget)
		st.Expect = 6
		if _, effect := consumer.Next(sample(s), st, noon); effect != consumer.Denied {
			t.Errorf("%q with an old N: got effect %d, want denied", s, effect)
		}
	}
}

// oblivion is the command that forgets the lead with this id, as it is now.
func oblivion(w *world, id string) consumer.Command {
	key := consumer.Key("l", "/crm", id)
	return consumer.Command{Verb: consumer.VerbForget, Intent: key, Expect: w.intent(key).N, By: "ana", Reason: "they asked"}
}

// TestAForgottenEventIsNotSentOrToldAgain forgets one that was called and one that
// was withdrawn. They come again, as they were and with other contents, to the same
// process and to the next one.
func TestAForgottenEventIsNotSentOrToldAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.lead("0001")
		p := w.start(t, &process{}, nil)
		time.Sleep(5 * time.Minute)
		if r := command(t, p, withdrawal("0002")); r.Error != "" {
			t.Fatal(r.Error)
		}
		for _, id := range []string{"0001", "0002"} {
			for range 2 {
				if r := command(t, p, oblivion(w, id)); r.Error != "" {
					t.Fatalf("%s: got %+v, want it forgotten", id, r)
				}
			}
			if in := w.intent(consumer.Key("l", "/crm", id)); in.Forgotten.IsZero() || in.ID != "" || in.Source != "" {
				t.Errorf("%s: got %+v, want it forgotten", id, in)
			}
		}
		w.do(func() { clear(w.outcomes) }) // as the command does, for good
		sent := w.posted()
		for range 2 {
			for _, id := range []string{"0001", "0002"} {
				w.lead(id)
				w.leadWith(id, map[string]any{"id": "other", "phone": "+14155559999"})
			}
			time.Sleep(3 * time.Hour)
			p.stop(t)
			p = w.start(t, &process{}, nil) // which tells what a former owner may not have told
			time.Sleep(time.Minute)
		}
		p.stop(t)
		if len(w.outcomes) != 0 || w.posted() != sent || w.unacked() != 0 {
			t.Errorf("got %d outcomes, %d requests, %d messages left; want none, %d, none", len(w.outcomes), w.posted(), w.unacked(), sent)
		}
	})
}

// TestWhatIsUnderWayIsNotForgotten tries it in each state that is not over.
func TestWhatIsUnderWayIsNotForgotten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state  consumer.State
		answer func(*world, consumer.Batch) consumer.Answer
		says   string
	}{
		{consumer.Waiting, fullFor("3600"), "withdraw it first with weir event cancel"},
		{consumer.Created, nil, "its conversation is under way"},
		{consumer.Doubt, always(consumer.VerdictDoubt, "cut", 200), "settle it with weir doubt resolve"},
		{consumer.Dead, always(consumer.VerdictRejected, "no", 422), "give it up first with weir dead drop"},
	} {
		bubble(t, func(t *testing.T, w *world) {
			key := w.lead("0001")
			w.answer = tt.answer
			p := w.start(t, &process{}, nil)
			time.Sleep(10 * time.Second)
			r := command(t, p, oblivion(w, "0001"))
			if !strings.Contains(r.Error, tt.says) || w.state(key) != tt.state || !w.intent(key).Forgotten.IsZero() {
				t.Errorf("%s: got %+v and %+v, want %q", tt.state, r, w.intent(key), tt.says)
			}
			w.do(func() { w.answer = nil })
			p.stop(t)
		})
	}
}

// TestForgettingNeedsAName holds who and why against the command.
func TestForgettingNeedsAName(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start(t, &process{}, nil)
		if r := command(t, p, consumer.Command{Verb: consumer.VerbForget, Intent: consumer.Key("l", "/crm", "1"), By: "ana"}); r.Error != "a name and a reason are needed" {
			t.Errorf("got %+v, want a refusal", r)
		}
		if r := command(t, p, oblivion(w, "0009")); r.Error != "the ledger does not know the event" {
			t.Errorf("got %+v, want a refusal", r)
		}
		p.stop(t)
	})
}

// Whoever gives an intent a new field has to say whether it may stay of a person who
// is forgotten: a text goes, unless it is named here.
func TestEachTextOfAnIntentIsForgotten(t *testing.T) {
	t.Parallel()
	kept := map[string]bool{ // keys, states and channels
		"Lane": true, "Key": true, "State": true, "Nonce": true, "Channel": true, "Conversation": true, "Others": true, "Waits": true,
	}
	in := sample(consumer.Ended)
	fill(reflect.ValueOf(&in).Elem())
	in.State, in.Forgotten = consumer.Ended, time.Time{}
	out, effect := consumer.Next(in, consumer.Step{Kind: consumer.StepForget, Expect: in.N, By: "ana", Reason: "asked"}, noon)
	if effect != consumer.Applied {
		t.Fatalf("got effect %d, want it forgotten", effect)
	}
	out.History, out.Reason = nil, "" // whose lines TestForgottenIsForgotten holds
	for f, v := range reflect.ValueOf(out).Fields() {
		if text := fmt.Sprint(v.Interface()); !kept[f.Name] && strings.Contains(text, "word") {
			t.Errorf("%s stays: %s", f.Name, text)
		}
	}
}

// fill writes a word into each text of a value, however deep.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("word")
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String || v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("word").Convert(v.Type().Key()), reflect.New(v.Type().Elem()).Elem())
	case reflect.Int:
		v.SetInt(7)
	}
}
