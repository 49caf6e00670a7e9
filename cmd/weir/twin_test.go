package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/simulator"
)

// TestH12AProcessThatWakesUpSendsNothing stops a weir that has an event in hand and
// a slot for it, just before its claim, until another one has taken over and filled
// all slots, at a provider that refuses nothing. When the first goes on, its claim
// would be fresh and of an event that nobody else has: its lease alone holds the
// limit. Its way to the broker is slow, so that it is at its claim before it can
// hear that its lease is gone.
func TestH12AProcessThatWakesUpSendsNothing(t *testing.T) {
	t.Parallel()
	for range 5 {
		if wakesUp(t) {
			return
		}
	}
	t.Error("no process was stopped before its claim")
}

// wakesUp reports whether the process was stopped before its claim.
func wakesUp(t *testing.T) bool {
	t.Helper()
	const limit = 3
	k, b := ownBroker(t)
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: 50, Scale: .01, Seed: 1}) // calls of an hour
	if err != nil {
		t.Fatal(err)
	}
	broker := b.JetStream().Conn().ConnectedUrl()
	proxy, err := chaos.NewProxy(strings.TrimPrefix(broker, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, proxy.Run))
	wakes, takes := newFront(t, sim, nil), newFront(t, sim, nil)
	sleeper := child(t, k.env, "serve", "-c", k.narrow(t, "nats://"+proxy.Addr(), wakes, limit, "sleeper.yaml"))
	k.awaitStreams(t, b)
	await(t, patience, "the lane to run", func() bool {
		return strings.Contains(sleeper.Stdout.(*syncBuffer).String(), "serving")
	})
	proxy.Set(chaos.Mode{Kind: chaos.KindDelay, Delay: 250 * time.Millisecond})
	asked, ask := first()
	stop := sync.OnceFunc(func() {
		_ = sleeper.Process.Signal(syscall.SIGSTOP)
		ask()
	})
	overhear(t, b, "$JS.API.STREAM.MSG.GET.KV_WEIR_LEDGER", func(request string) {
		if strings.Contains(request, consumer.Key("acme", "/crm", "lead-0")) {
			stop()
		}
	})
	k.publish(t, b, 1)
	within(t, patience, "the event's entry to be asked for", asked)
	child(t, k.env, "serve", "-c", k.narrow(t, broker, takes, limit, "taker.yaml"))
	k.publish(t, b, 6)
	var in consumer.Intent
	claimed := func() bool { // its claim was on its way already: then it may hold a slot itself
		in = k.states(t, b)[k.keys[0]]
		return in.Claims > 0 || len(wakes.all()) > 0
	}
	await(t, patience, "the other to take over and fill the slots", func() bool { return sim.Report().Live == limit || claimed() })
	if claimed() {
		t.Logf("the event in hand: got %s, want that nobody has claimed it", in.State)
		return false
	}
	if err := sleeper.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the one that woke up to take part again", func() bool {
		return strings.Contains(sleeper.Stdout.(*syncBuffer).String(), "it is taken anew")
	})
	stand(t, 3*time.Second)
	if err := sleeper.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, sleeper, patience); code != 0 {
		t.Errorf("exit code of the one that lost its lease, and was asked to stop: got %d, want 0", code)
	}
	if r := sim.Report(); r.Highest > limit || len(wakes.all()) > 0 {
		t.Errorf("got %d calls at one time and %d requests of the one that woke up; want %d, none", r.Highest, len(wakes.all()), limit)
	}
	pending, unacked, err := b.Backlog(t.Context(), "acme")
	if waiting := len(k.keys) - limit; err != nil || pending+unacked < uint64(waiting) {
		t.Errorf("events that wait: got %d, %v; want %d", pending+unacked, err, waiting)
	}
	return true
}

// narrow writes a weir.yaml with few slots, in which an event that nobody answers
// for stays away for a minute.
func (k *killed) narrow(t *testing.T, url string, f *front, limit int, name string) string {
	t.Helper()
	path := filepath.Join(k.dir, name)
	yaml := fmt.Sprintf(`broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 60s}
lanes:
  - name: acme
    provider: oration
    url: %s
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
    limit: %d
    batch: 1
    timeout: 10s
    routes:
      - type: lead.created
        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
`, url, f.url, limit)
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
