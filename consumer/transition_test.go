package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// sample is an intent in the given state, in its second claim, with N 7.
func sample(s consumer.State) consumer.Intent {
	in := consumer.Intent{
		Lane: "l", Key: "k", State: s, N: 7, Claims: 2, Nonce: "old", Claimed: noon, Digest: "d", First: noon,
	}
	switch s {
	case consumer.Absent:
		in = consumer.Intent{Lane: "l", Key: "k", Digest: "d"}
	case consumer.Created, consumer.Ended:
		in.Conversation = "c1"
	}
	return in
}

// step is a step of the given kind that fits sample: the newest claim, the N
// that is there, the conversation that is known.
func step(k consumer.StepKind) consumer.Step {
	return consumer.Step{
		Kind: k, Attempt: 2, Expect: 7, Nonce: "new", Conversation: "c1",
		Class: "x", Reason: "because", By: "ana", NotBefore: noon.Add(time.Minute),
	}
}

// TestEveryStateMeetsEveryStep is the whole table. A state's name is where the
// step leads; "-" is denied, "=" absorbed.
func TestEveryStateMeetsEveryStep(t *testing.T) {
	t.Parallel()
	columns := []consumer.StepKind{
		consumer.StepRelease, consumer.StepReject, consumer.StepDoubt, consumer.StepStale,
		consumer.StepEvidence, consumer.StepEnd,
		consumer.StepClaim, consumer.StepDefer, consumer.StepResend, consumer.StepPark, consumer.StepReplay, consumer.StepRefuse, consumer.StepSuppress,
		consumer.StepExpire, consumer.StepCancel, consumer.StepQuestion, consumer.StepSettle, consumer.StepDrop,
		consumer.StepDecline, consumer.StepForget,
	}
	if diff := cmp.Diff(consumer.StepKinds(), columns); diff != "" {
		t.Fatalf("the table does not have every kind of step (-want +got):\n%s", diff)
	}
	type row struct {
		state consumer.State
		open  bool
	}
	table := map[row][]string{
		//                    release    reject  doubt    stale    evidence   end      claim      defer   resend  park  replay     refuse  suppress      expire     cancel       question  settle     drop     decline  forget
		{consumer.Absent, false}:     {"-", "-", "-", "-", "-", "-", "started", "waiting", "-", "-", "-", "dead", "suppressed", "expired", "cancelled", "doubt", "-", "-", "-", "-"},
		{consumer.Waiting, false}:    {"-", "-", "-", "-", "created", "-", "started", "waiting", "-", "-", "-", "dead", "suppressed", "expired", "cancelled", "doubt", "-", "-", "-", "-"},
		{consumer.Started, false}:    {"waiting", "dead", "doubt", "doubt", "created", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"},
		{consumer.Started, true}:     {"doubt", "doubt", "doubt", "doubt", "created", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"},
		{consumer.Created, false}:    {"-", "-", "-", "-", "=", "ended", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "=", "-", "-", "-"},
		{consumer.Ended, false}:      {"-", "-", "-", "-", "=", "=", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "=", "-", "-", "ended"},
		{consumer.Doubt, false}:      {"-", "-", "-", "-", "created", "-", "-", "-", "-", "-", "started", "-", "-", "-", "-", "-", "created", "cancelled", "doubt", "-"},
		{consumer.Doubt, true}:       {"-", "-", "-", "-", "created", "-", "-", "-", "started", "doubt", "started", "-", "-", "-", "-", "-", "created", "cancelled", "doubt", "-"},
		{consumer.Dead, false}:       {"-", "-", "-", "-", "created", "-", "-", "-", "-", "-", "started", "dead", "suppressed", "-", "-", "-", "-", "cancelled", "dead", "-"},
		{consumer.Cancelled, false}:  {"-", "-", "-", "-", "created", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "cancelled"},
		{consumer.Expired, false}:    {"-", "-", "-", "-", "created", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "expired"},
		{consumer.Suppressed, false}: {"-", "-", "-", "-", "created", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "suppressed"},
	}
	for _, s := range consumer.States() {
		if table[row{s, false}] == nil {
			t.Errorf("state %q has no row", s)
		}
	}
	for s, want := range table {
		if len(want) != len(columns) {
			t.Fatalf("state %v: row has %d columns, want %d", s, len(want), len(columns))
		}
		for i, k := range columns {
			t.Run(fmt.Sprintf("%s/open=%v/%d", s.state, s.open, k), func(t *testing.T) {
				t.Parallel()
				in := sample(s.state)
				in.Open = s.open
				out, effect := consumer.Next(in, step(k), noon.Add(time.Hour))
				got := string(out.State)
				switch effect {
				case consumer.Denied:
					got = "-"
				case consumer.Absorbed:
					got = "="
				}
				if got != want[i] {
					t.Errorf("got %s (effect %d), want %s", got, effect, want[i])
				}
				if effect == consumer.Denied || effect == consumer.Absorbed {
					if diff := cmp.Diff(in, out); diff != "" {
						t.Errorf("a step without effect changed the intent (-before +after):\n%s", diff)
					}
				} else if out.N != in.N+1 {
					t.Errorf("N: got %d, want %d", out.N, in.N+1)
				}
			})
		}
	}
}

// A named decision counts only while the entry is as the person saw it.
func TestNamedStepsAreGuardedByN(t *testing.T) {
	t.Parallel()
	for _, k := range []consumer.StepKind{consumer.StepReplay, consumer.StepDrop, consumer.StepSettle, consumer.StepRefuse, consumer.StepSuppress, consumer.StepDecline} {
		for _, s := range []consumer.State{consumer.Doubt, consumer.Dead} {
			st := step(k)
			st.Expect = 6
			if _, effect := consumer.Next(sample(s), st, noon); effect != consumer.Denied {
				t.Errorf("step %d on %s with an old N: got effect %d, want denied", k, s, effect)
			}
		}
	}
}

// A verdict of an older claim changes nothing.
func TestVerdictsOfOlderClaimsAreDenied(t *testing.T) {
	t.Parallel()
	for _, k := range []consumer.StepKind{consumer.StepRelease, consumer.StepReject, consumer.StepDoubt, consumer.StepStale} {
		st := step(k)
		st.Attempt = 1
		if _, effect := consumer.Next(sample(consumer.Started), st, noon); effect != consumer.Denied {
			t.Errorf("step %d of claim 1 in claim 2: got effect %d, want denied", k, effect)
		}
	}
}

func TestH10EvidenceOfAnOlderAttemptIsASecondConversation(t *testing.T) {
	t.Parallel()
	for _, s := range []consumer.State{consumer.Started, consumer.Created, consumer.Ended} {
		st := step(consumer.StepEvidence)
		st.Attempt, st.Conversation = 1, "c2"
		out, effect := consumer.Next(sample(s), st, noon)
		if effect != consumer.Alarm || out.State != s || !cmp.Equal(out.Others, []string{"c2"}) {
			t.Errorf("%s: got effect %d, state %s, others %v; want an alarm, the same state, c2", s, effect, out.State, out.Others)
		}
		if again, effect := consumer.Next(out, st, noon); effect != consumer.Absorbed {
			t.Errorf("%s: the same evidence again: got effect %d and %v, want absorbed", s, effect, again.Others)
		}
	}
}

func TestH16ADoubtIsLeftOnlyByEvidenceOrByName(t *testing.T) {
	t.Parallel()
	named := map[consumer.StepKind]bool{
		consumer.StepEvidence: true, consumer.StepReplay: true, consumer.StepSettle: true, consumer.StepDrop: true,
	}
	for _, k := range consumer.StepKinds() {
		out, _ := consumer.Next(sample(consumer.Doubt), step(k), noon)
		if left := out.State != consumer.Doubt; left != named[k] {
			t.Errorf("step %d: left the doubt: got %v, want %v", k, left, named[k])
		}
	}
}

// What an answer says of the second request says nothing of the first: whatever
// comes of a resent doubt, it is a doubt, until a conversation shows or a person
// decides. Only requests that may have made something count as attempts.
func TestH16AResentDoubtStaysOne(t *testing.T) {
	t.Parallel()
	for k, attempts := range map[consumer.StepKind]int{
		consumer.StepRelease: 1, consumer.StepReject: 2, consumer.StepDoubt: 2, consumer.StepStale: 2,
	} {
		in := sample(consumer.Started)
		in.Claims = 1
		doubt := step(consumer.StepDoubt)
		doubt.Attempt, doubt.Open = 1, true
		in, _ = consumer.Next(in, doubt, noon)
		in, effect := consumer.Next(in, step(consumer.StepResend), noon)
		if effect != consumer.Applied || in.Claims != 2 || in.Nonce != "new" || !in.Open {
			t.Fatalf("resend: got %+v (effect %d), want claim 2 with a nonce of its own, still open", in, effect)
		}
		out, _ := consumer.Next(in, step(k), noon)
		if out.State != consumer.Doubt || out.Attempts != attempts || out.Class != "" {
			t.Errorf("step %d: got %s with %d attempts and class %q, want a doubt with %d", k, out.State, out.Attempts, out.Class, attempts)
		}
		if named, _ := consumer.Next(out, consumer.Step{Kind: consumer.StepReplay, Expect: out.N, By: "ana"}, noon); named.Open {
			t.Errorf("step %d: what a person sends again is not settled by itself any more", k)
		}
	}
}

func TestWhatCameWithAConversationIsKeptUntilItsEnd(t *testing.T) {
	t.Parallel()
	st := step(consumer.StepEvidence)
	st.Session = consumer.Session{Greeting: "Hi", Join: "secret"}
	in, _ := consumer.Next(sample(consumer.Started), st, noon)
	if in.Session != st.Session {
		t.Errorf("created: got %+v, want the session", in.Session)
	}
	if in, _ = consumer.Next(in, step(consumer.StepEnd), noon); in.Session != (consumer.Session{}) {
		t.Errorf("ended: got %+v, want nothing kept", in.Session)
	}
}

func TestClaimsHaveFreshNonces(t *testing.T) {
	t.Parallel()
	in := sample(consumer.Waiting)
	in.NotBefore = noon
	got, effect := consumer.Next(in, step(consumer.StepClaim), noon.Add(time.Second))
	if effect != consumer.Applied || got.Claims != 3 || got.Nonce != "new" || !got.Claimed.Equal(noon.Add(time.Second)) || !got.NotBefore.IsZero() {
		t.Errorf("got %+v (effect %d), want claim 3 with the new nonce and no not_before", got, effect)
	}
}

func TestWaitsAreCountedByCause(t *testing.T) {
	t.Parallel()
	got, _ := consumer.Next(sample(consumer.Started), step(consumer.StepRelease), noon)
	if got.Waits["x"] != 1 || !got.NotBefore.Equal(noon.Add(time.Minute)) || got.Attempts != 0 {
		t.Errorf("got %+v, want one wait, not_before set and no attempt", got)
	}
}

// What is put off has not been sent: no claim and no attempt is counted, and where
// its event is to be found is kept.
func TestWhatIsPutOff(t *testing.T) {
	t.Parallel()
	st := step(consumer.StepDefer)
	st.Later, st.Sequence = true, 9
	for _, s := range []consumer.State{consumer.Absent, consumer.Waiting} {
		in := sample(s)
		got, effect := consumer.Next(in, st, noon)
		if effect != consumer.Applied || got.Waits["x"] != 1 || !got.NotBefore.Equal(noon.Add(time.Minute)) || !got.Later || got.Sequence != 9 ||
			got.Claims != in.Claims || got.Attempts != 0 || got.Nonce != in.Nonce || got.Reason != "because" {
			t.Errorf("%q: got %+v (effect %d), want one wait and nothing sent", s, got, effect)
		}
	}
}

// When its event was published is written once, and anew by a person's order.
func TestWhenAnEventWasBorn(t *testing.T) {
	t.Parallel()
	later := noon.Add(time.Hour)
	for _, tt := range []struct {
		state     consumer.State
		kind      consumer.StepKind
		was, told time.Time
		want      time.Time
	}{
		{consumer.Absent, consumer.StepDefer, time.Time{}, noon, noon},
		{consumer.Absent, consumer.StepClaim, time.Time{}, noon, noon},
		{consumer.Waiting, consumer.StepClaim, noon, later, noon},
		{consumer.Waiting, consumer.StepDefer, noon, later, noon},
		{consumer.Started, consumer.StepRelease, noon, time.Time{}, noon},
		{consumer.Dead, consumer.StepReplay, noon, later, later},
		{consumer.Dead, consumer.StepReplay, noon, time.Time{}, noon},
	} {
		in, st := sample(tt.state), step(tt.kind)
		in.Born, st.Born = tt.was, tt.told
		got, effect := consumer.Next(in, st, noon)
		if effect != consumer.Applied || !got.Born.Equal(tt.want) {
			t.Errorf("%q, %d: got %v (effect %d), want %v", tt.state, tt.kind, got.Born, effect, tt.want)
		}
	}
}

func TestKeyIsStable(t *testing.T) {
	t.Parallel()
	// In every ledger: a change here would call everybody again.
	if got, want := consumer.Key("acme-sales", "/crm", "lead-1"), "9c26876a-b9f3-5d5a-9c6a-0e36deb41b6e"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if consumer.Key("a", "s", "1") == consumer.Key("b", "s", "1") || consumer.Key("a", "s", "1") == consumer.Key("a", "t", "1") {
		t.Error("lane and source are not part of the key")
	}
}
