package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// TestH23OneWrongRouteOverABacklog holds 100,000 real events against a provider that
// rejects each, against one that is at another address, and against a route that
// fits none of them: each time the lane stops, and all but nine events are
// untouched.
func TestH23OneWrongRouteOverABacklog(t *testing.T) {
	t.Parallel()
	const backlog = 100_000
	k, b := plainBroker(t, server.Options{JetStreamMaxStore: 8 << 30})
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	pile(t, b, backlog)
	dead := 0
	for _, tc := range []struct {
		name  string
		says  string // the pause
		spoil func(w http.ResponseWriter)
		dead  int
		posts int // at most: those under way at the pause are answered too
	}{
		{"the provider rejects each", "rejected for the same reason", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = w.Write([]byte(`{"message":"the agent is not active"}`))
		}, 9, 20},
		{"nothing is there", "404", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte("<h1>Not found</h1>"))
		}, 0, 10},
		{"the route fits no event", "100 events were refused for the same reason", nil, 99, 0},
	} {
		f := newFront(t, k.sim, func(w http.ResponseWriter, _ post) bool {
			tc.spoil(w)
			return true
		})
		yaml := k.at(t, f, "wrong.yaml")
		if tc.spoil == nil {
			yaml = misspelt(t, yaml)
		}
		if err := b.Resume(t.Context(), "acme", "ana"); err != nil {
			t.Fatal(err)
		}
		s, stop := k.serving(t, yaml, startService)
		await(t, patience, tc.name+": the lane to pause", func() bool { return s.status(t.Context(), "acme").Pause != nil })
		contains(t, s.status(t.Context(), "acme").Why, tc.says)
		stop()
		dead += tc.dead
		got := make(map[consumer.State]int)
		for _, in := range k.states(t, b) {
			got[in.State]++
		}
		if waiting := got[consumer.Waiting]; got[consumer.Dead] != dead || len(got) > 2 || waiting > 30 {
			t.Errorf("%s: got entries %v; want %d dead, and no other but few that wait", tc.name, got, dead)
		}
		if n := len(f.all()); n > tc.posts {
			t.Errorf("%s: got %d requests, want %d at most", tc.name, n, tc.posts)
		}
	}
	await(t, patience, fmt.Sprintf("the broker to have taken the acknowledgements of %d events", dead), func() bool {
		pending, unacked, err := b.Backlog(t.Context(), "acme")
		return err == nil && pending+unacked == uint64(backlog-dead)
	})
	if n := len(k.sim.Conversations()); n != 0 {
		t.Errorf("conversations: got %d, want none", n)
	}
}

// misspelt writes a weir.yaml whose route names a member that no event has.
func misspelt(t *testing.T, yaml string) string {
	t.Helper()
	y, err := os.ReadFile(yaml)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(yaml), "misspelt.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(string(y), "data.phone", "data.telephone", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pile publishes n good leads without waiting for each.
func pile(t *testing.T, b *broker.Broker, n int) {
	t.Helper()
	js, err := jetstream.New(b.JetStream().Conn(), jetstream.WithPublishAsyncMaxPending(2000))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"b-%d","source":"/crm","type":"lead.created","data":{"id":%d,"phone":"+1415%07d"}}`, i, i, i)
		if _, err := js.PublishAsync("weir.events.acme", []byte(body), jetstream.WithStallWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	within(t, patience, "the backlog to be stored", js.PublishAsyncComplete())
	info, err := js.Stream(t.Context(), broker.StreamEvents)
	if err != nil || info.CachedInfo().State.Msgs != uint64(n) {
		t.Fatalf("events stored: got %v, want %d", err, n)
	}
}
