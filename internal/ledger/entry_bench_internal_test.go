package ledger

import (
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// BenchmarkEntry writes and reads the entry of an event whose call is over.
func BenchmarkEntry(b *testing.B) {
	now := time.Now()
	in := consumer.Intent{
		Lane: "acme", Key: "9c1c9f6e-5f3a-5d0b-9c53-1d8a2f8e7b11", State: consumer.Ended, N: 3, Claims: 1, Nonce: "0c1c9f6e-5f3a-5d0b-9c53-1d8a2f8e7b11",
		Claimed: now, Sequence: 123456, Born: now, Source: "/crm/acme", ID: "lead-000123", Type: "lead.created", Digest: "sha256:4b227777d4dd1fc61c6f884f48641d02",
		Print: "ab12", Conversation: "2c1c9f6e-5f3a-5d0b-9c53-1d8a2f8e7b11", Made: 1, Reason: "completed", First: now,
		History: []consumer.Transition{
			{N: 1, State: consumer.Started, Claim: 1, At: now}, {N: 2, State: consumer.Created, Claim: 1, At: now, Reason: "queued"},
			{N: 3, State: consumer.Ended, Claim: 1, At: now, Reason: "completed"},
		},
	}
	data, err := encode(in, "w", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encode(in, "w", nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := decode(in.Lane, in.Key, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
