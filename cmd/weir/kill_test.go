package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// killed is one run of the kill test: a real weir serve, killed with -9 again
// and again while leads arrive, against a simulator whose log is the proof.
type killed struct {
	sim   *simulator.Simulator
	dir   string
	yaml  string
	env   map[string]string
	keys  []string // of the leads, good ones only
	limit int
	room  int64 // of the ledger; 0: as weir has it

	honest bool // the simulator hides no answer, so that only a kill makes a doubt
}

// TestKill9WithABrokerOfItsOwn kills weir alone; the broker lives on.
func TestKill9WithABrokerOfItsOwn(t *testing.T) {
	t.Parallel()
	killAlone(t, simulator.Faults{Shuffle: .3}, 5, 100)
}

// killAlone kills weir so many times while this many leads are called, and then
// lets it finish.
func killAlone(t *testing.T, faults simulator.Faults, kills, leads int) {
	t.Helper()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	k := newKilled(t, fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\n", e.URL()), e.Token().Reveal(), faults)
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	open := make(map[string]bool)
	for i := range kills {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		if i == 0 {
			k.awaitStreams(t, b)
			k.publish(t, b, leads)
		}
		elapse(t, 9*time.Second)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		k.open(t, b, open)
	}
	child(t, k.env, "serve", "-c", k.yaml)
	k.settle(t, b)
	k.check(t, b, open)
}

// TestKill9WithTheEmbeddedBroker kills weir and its broker together.
func TestKill9WithTheEmbeddedBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	k := newKilled(t, fmt.Sprintf("embedded: {dir: %q}\n", store), "", simulator.Faults{Shuffle: .3})
	open := make(map[string]bool)
	const rounds = 3
	for i := range rounds + 1 {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		b := k.connect(t, store)
		k.awaitStreams(t, b)
		if i > 0 {
			k.open(t, b, open)
		}
		if i == rounds {
			k.settle(t, b)
			k.check(t, b, open)
			return
		}
		k.publish(t, b, 20)
		elapse(t, 7*time.Second)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = b.Close(context.Background())
	}
}

func newKilled(t *testing.T, brokerYAML, token string, faults simulator.Faults) *killed {
	t.Helper()
	return newKilledWith(t, brokerYAML, token, "", simulator.Config{Limit: 5, Faults: faults})
}

// newKilledWith is newKilled with a simulator of its own, and more lines for the
// lane.
func newKilledWith(t *testing.T, brokerYAML, token, more string, cfg simulator.Config) *killed {
	t.Helper()
	cfg.Scale, cfg.Seed, cfg.Latency = 100, 1, 300*time.Millisecond
	cfg.Shape, cfg.Overflow = simulator.Mixed, simulator.Mixed
	faults := cfg.Faults
	sim, err := simulator.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	k := &killed{sim: sim, dir: t.TempDir(), limit: 5, honest: faults == simulator.Faults{Shuffle: faults.Shuffle}, env: map[string]string{"KEY": "k", "WORKSPACE": "w", "BROKER_TOKEN": token}}
	k.yaml = filepath.Join(k.dir, "weir.yaml")
	yaml := brokerYAML + fmt.Sprintf(`
lanes:
  - name: acme
    provider: oration
    url: http://%s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
    limit: 5
    timeout: 10s
    max_call: %s
    doubt_limit: 0
    pacing: {mean_call: 700ms}
%s    routes:
      - type: lead.created
        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
`, ln.Addr(), sim.MaxCall()+time.Second, more)
	if err := os.WriteFile(k.yaml, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

// connect reaches the broker inside the child, once it is up.
func (k *killed) connect(t *testing.T, store string) *broker.Broker {
	t.Helper()
	var b *broker.Broker
	await(t, patience, "the embedded broker", func() bool {
		url, token, err := broker.ReadEndpoint(store)
		if err != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		b, err = broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: url, Token: token})
		return err == nil
	})
	return b
}

// awaitStreams waits until the child has made the streams.
func (k *killed) awaitStreams(t *testing.T, b *broker.Broker) {
	t.Helper()
	await(t, patience, "the streams", func() bool {
		_, _, err := b.Backlog(t.Context(), "acme")
		return err == nil
	})
}

// publish sends n good leads, every fifth twice.
func (k *killed) publish(t *testing.T, b *broker.Broker, n int) {
	t.Helper()
	for range n {
		i := len(k.keys)
		id := fmt.Sprint("lead-", i)
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"phone":"+1415555%04d"}}`, id, i, i)
		k.keys = append(k.keys, consumer.Key("acme", "/crm", id))
		for copies := range 1 + max(0, i%5-3) {
			header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
			if _, err := b.PublishEvent(t.Context(), "acme", header, []byte(body), fmt.Sprint(id, "-", copies)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// states reads the ledger.
func (k *killed) states(t *testing.T, b *broker.Broker) map[string]consumer.Intent {
	t.Helper()
	states, err := k.read(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return states
}

// open notes the claims that nobody has settled, right after a kill: once the
// broker has read what the process had written, for it stores that too.
func (k *killed) open(t *testing.T, b *broker.Broker, open map[string]bool) {
	t.Helper()
	var last uint64
	same, since := 0, time.Now()
	await(t, patience, "the ledger to come to rest", func() bool {
		s, err := b.JetStream().Stream(t.Context(), ledger.Stream)
		if err != nil {
			return false
		}
		if now := s.CachedInfo().State.LastSeq; now != last {
			last, same, since = now, 0, time.Now()
		}
		same++ // a second in which this process stood still tells nothing
		return same > 20 && time.Since(since) > time.Second
	})
	for _, in := range k.states(t, b) {
		if in.State == consumer.Started {
			open[in.Key] = true
		}
	}
}

// check compares the ledger with the simulator's log.
func (k *killed) check(t *testing.T, b *broker.Broker, open map[string]bool) {
	t.Helper()
	made := make(map[string]int)
	for _, c := range k.sim.Conversations() {
		made[c.Intent]++
	}
	states := k.states(t, b)
	doubts, created := 0, 0
	for _, key := range k.keys {
		switch in := states[key]; {
		case made[key] > 1:
			t.Errorf("%s was called %d times", in.ID, made[key])
		case in.State == consumer.Doubt && k.honest && !open[key]:
			t.Errorf("%s is in doubt, but no claim of it was open at a kill: %s", in.ID, in.Reason)
		case in.State == consumer.Doubt:
			doubts++
		case made[key] == 0:
			t.Errorf("%s is %s, but nobody was called", in.ID, in.State)
		default:
			created++
		}
	}
	if len(made) > len(k.keys) {
		t.Errorf("conversations for %d intents, but only %d leads", len(made), len(k.keys))
	}
	if r := k.sim.Report(); r.Highest > k.limit {
		t.Errorf("highest slots in use: %d, limit %d", r.Highest, k.limit)
	}
	t.Logf("%d leads: %d called once, %d in doubt; %d claims were open at the kills", len(k.keys), created, doubts, len(open))
}

// patience is how long a test waits for what has to come: on a slow machine, too.
const patience = 3 * time.Minute

// await polls until the condition holds.
func await(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
		tick := time.NewTimer(50 * time.Millisecond)
		select {
		case <-t.Context().Done():
			t.Fatal("the test was stopped")
		case <-tick.C:
		}
	}
}

// elapse lets a random time pass, at most most: the moment at which a process
// is killed is what the test is about.
func elapse(t *testing.T, most time.Duration) {
	t.Helper()
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-t.Context().Done():
	case <-timer.C:
	}
}
