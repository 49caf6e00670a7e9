package main

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

// TestH14EndsSeenInHeadersUnderKill9 kills weir again and again while headers show
// that calls are over before anything else does, and answers are hidden. The
// provider would take four times the limit. Nobody is called twice, and the limit
// holds.
func TestH14EndsSeenInHeadersUnderKill9(t *testing.T) {
	t.Parallel()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	k := newKilledWith(t,
		fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\n", e.URL()),
		e.Token().Reveal(), "",
		simulator.Config{
			Limit: 20, Headers: simulator.HeadersIETF,
			Faults: simulator.Faults{Shuffle: .3, Cut: .1},
		})
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	open := make(map[string]bool)
	for i := range 3 {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		if i == 0 {
			k.awaitStreams(t, b)
			k.publish(t, b, 60)
		}
		elapse(t, 5*time.Second)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		k.open(t, b, open)
	}
	child(t, k.env, "serve", "-c", k.yaml)
	k.settle(t, b)
	k.check(t, b, open)
}
