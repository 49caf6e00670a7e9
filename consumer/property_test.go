//go:build !wasip1

// The storms of tools/storm do without rapid, which takes long to get ready.

package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/consumer"
)

// TestTransitionProperties drives an intent with random steps and checks what
// must hold whatever happens.
func TestTransitionProperties(t *testing.T) {
	t.Parallel()
	kinds := consumer.StepKinds()
	rapid.Check(t, func(t *rapid.T) {
		in := consumer.Intent{Lane: "l", Key: "k", Digest: "d"}
		now := noon
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Second)
			s := consumer.Step{
				Kind:         rapid.SampledFrom(kinds).Draw(t, "kind"),
				Attempt:      in.Claims - rapid.IntRange(0, 1).Draw(t, "late"),
				Expect:       in.N - rapid.IntRange(0, 1).Draw(t, "stale"),
				Nonce:        fmt.Sprint("n", i),
				Conversation: rapid.SampledFrom([]string{"c1", "c2"}).Draw(t, "conversation"),
				Open:         rapid.Bool().Draw(t, "open"),
			}
			before := in
			out, effect := consumer.Next(in, s, now)
			check(t, before, out, effect, s)
			in = out
		}
	})
}

// byItself are the steps by which an open doubt may cease to be one.
var byItself = []consumer.StepKind{
	consumer.StepDoubt, consumer.StepStale, // which say themselves whether it is open
	consumer.StepEvidence, consumer.StepPark, consumer.StepReplay, consumer.StepSettle, consumer.StepDrop,
}

func check(t *rapid.T, before, out consumer.Intent, effect consumer.Effect, s consumer.Step) {
	changed := effect == consumer.Applied || effect == consumer.Alarm
	switch {
	case changed && out.N != before.N+1, !changed && out.N != before.N:
		t.Fatalf("N went from %d to %d with effect %d", before.N, out.N, effect)
	case out.Claims != before.Claims && (out.State != consumer.Started || out.Nonce != s.Nonce):
		t.Fatalf("a claim without its nonce: %+v", out)
	case before.State == consumer.Started && out.State == consumer.Started && out.Claims != before.Claims:
		t.Fatal("a claim was taken over by a claim")
	case (before.State == consumer.Created || before.State == consumer.Ended) && out.State != before.State && out.State != consumer.Ended:
		t.Fatalf("%s became %s", before.State, out.State)
	case before.Conversation != "" && out.Conversation != before.Conversation:
		t.Fatalf("the conversation changed from %s to %s", before.Conversation, out.Conversation)
	case (out.State == consumer.Created || out.State == consumer.Ended) && out.Conversation == "":
		t.Fatalf("%s without a conversation", out.State)
	case before.Open && !out.Open && s.By == "" && !slices.Contains(byItself, s.Kind):
		t.Fatalf("step %d closed an open doubt", s.Kind)
	case out.Open && out.State != consumer.Doubt && out.State != consumer.Started:
		t.Fatalf("%s is open", out.State)
	case len(out.History) > consumer.HistoryLimit:
		t.Fatalf("%d transitions remembered", len(out.History))
	case changed && out.History[len(out.History)-1].N != out.N:
		t.Fatal("the newest transition is not in the history")
	}
}
