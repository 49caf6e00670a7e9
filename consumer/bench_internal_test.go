package consumer

import (
	"testing"
	"time"
)

// BenchmarkTransition makes the two transitions of an event that is sent at once.
func BenchmarkTransition(b *testing.B) {
	now := time.Now()
	in := Intent{Lane: "acme-sales", Key: Key("acme-sales", "/crm", "1"), Source: "/crm", ID: "1", Type: "lead.created"}
	b.ReportAllocs()
	for b.Loop() {
		started, _ := Next(in, Step{Kind: StepClaim, Nonce: "n", Reason: "sending"}, now)
		if created, _ := Next(started, Step{Kind: StepEvidence, Attempt: 1, Conversation: "c"}, now); created.State != Created {
			b.Fatalf("got %q, want created", created.State)
		}
	}
}

// BenchmarkOutcome makes the outcome of a conversation that was created.
func BenchmarkOutcome(b *testing.B) {
	now := time.Now()
	in := Intent{
		Lane: "acme-sales", Key: Key("acme-sales", "/crm", "1"), Source: "/crm", ID: "1", Type: "lead.created",
		State: Created, N: 2, Claims: 1, Conversation: "c", History: []Transition{{N: 1, State: Started, At: now}, {N: 2, State: Created, At: now}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if kind, _ := outcome(in, Created, nil); kind != "created" {
			b.Fatalf("got %q, want created", kind)
		}
	}
}
