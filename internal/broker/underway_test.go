package broker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// occupied returns a connection to a broker that refuses the next n writes to one
// key of WEIR_LANES, as the leader of a replicated stream does while an earlier
// write to the key waits for the quorum.
func occupied(t *testing.T, key string, n int) *broker.Broker {
	t.Helper()
	return refusing(t, "$KV.WEIR_LANES."+key, n, `{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"KV_WEIR_LANES","seq":0}`)
}

// refusing returns a connection to a broker that refuses the next n messages to a
// subject with this answer.
func refusing(t *testing.T, subject string, n int, answer string) *broker.Broker {
	t.Helper()
	s := started(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 30})
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{
		URL: s.ClientURL(), Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	nc := b.JetStream().Conn()
	_, err = nc.Subscribe("under.way", func(m *nats.Msg) {
		if n--; n == 0 {
			s.GlobalAccount().RemoveMapping(subject)
		}
		_ = m.Respond([]byte(answer))
	})
	if err = errors.Join(err, b.Provision(t.Context()), nc.Flush(), s.GlobalAccount().AddMapping(subject, "under.way")); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFault19AMarkBehindAnother stores a mark while an earlier write of it is under
// way: that is no conflict as long as nobody's is stored.
func TestFault19AMarkBehindAnother(t *testing.T) {
	t.Parallel()
	b := occupied(t, "mark", 3)
	revision, err := b.StoreMark(t.Context(), []byte("ours"), 0)
	if err != nil {
		t.Fatalf("store the mark: got %v, want nil", err)
	}
	if _, err := b.StoreMark(t.Context(), []byte("another's"), revision); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StoreMark(t.Context(), []byte("ours again"), revision); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("store the mark over another's: got %v, want ErrConflict", err)
	}
}

// TestFault19AKeyBehindAnother writes a key while an earlier write of it is under
// way: whose the key is stays open, and nobody has taken it.
func TestFault19AKeyBehindAnother(t *testing.T) {
	t.Parallel()
	b := occupied(t, "own.replica.a", 1)
	_, err := b.WriteKey(t.Context(), "own.replica.a", []byte("1"), 0, 0)
	if err == nil || errors.Is(err, consumer.ErrConflict) || !broker.Away(err) {
		t.Fatalf("write: got %v, want an error that leaves it open", err)
	}
	revision, err := b.WriteKey(t.Context(), "own.replica.a", []byte("1"), 0, 0)
	if err != nil {
		t.Fatalf("write once more: got %v, want nil", err)
	}
	if _, err := b.WriteKey(t.Context(), "own.replica.a", []byte("2"), revision-1, 0); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("write at an old revision: got %v, want ErrConflict", err)
	}
}

// TestFault19AnEventBehindItself publishes an event whose earlier copy, of which
// nobody heard in time, waits for the quorum: that is no refusal.
func TestFault19AnEventBehindItself(t *testing.T) {
	t.Parallel()
	b := refusing(t, "weir.events.acme", 3, `{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"WEIR_EVENTS","seq":0}`)
	placed, err := b.PublishEvent(t.Context(), "acme", nil, []byte("{}"), "1")
	if err != nil || placed.Sequence != 1 || placed.Duplicate {
		t.Errorf("got %v, %v; want the first place", placed, err)
	}
}

// TestAwayWhileServersAreMissing says that a cluster without enough servers for a
// stream may have them later.
func TestAwayWhileServersAreMissing(t *testing.T) {
	t.Parallel()
	for code, want := range map[jetstream.ErrorCode]bool{
		10005: true,  // no suitable peers for placement, peer offline
		10008: true,  // JetStream system temporarily unavailable
		10023: false, // insufficient resources
		10074: false, // replicas > 1 not supported in non-clustered mode
	} {
		status := 400
		if code == 10008 || code == 10023 {
			status = 503
		}
		if got := broker.Away(&jetstream.APIError{Code: status, ErrorCode: code}); got != want {
			t.Errorf("code %d: got %v, want %v", code, got, want)
		}
	}
}
