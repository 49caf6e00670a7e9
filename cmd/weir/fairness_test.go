package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

// street is a weir serve with several accounts, each at a provider of its own. The
// providers' logs say who was called, and in what order.
type street struct {
	k     *killed
	b     *broker.Broker
	yaml  strings.Builder
	lanes strings.Builder
}

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{}
	s.k, s.b = plainBroker(t, server.Options{JetStreamMaxStore: 8 << 30})
	if err := s.b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&s.yaml, "broker: {url: %q, ack_wait: 20s}\naccounts:\n", s.b.JetStream().Conn().ConnectedUrl())
	return s
}

// account adds an account at a simulated provider, with its lanes and their
// weights.
func (s *street) account(t *testing.T, name string, limit int, scale float64, lanes ...string) *simulator.Simulator {
	t.Helper()
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: limit, Scale: scale, Seed: 1, Latency: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, func(ctx context.Context) error { return sim.Serve(ctx, ln) }))
	s.at(name, ln.Addr().String(), limit, "30s", lanes...)
	return sim
}

// at adds an account at an address.
func (s *street) at(name, address string, limit int, timeout string, lanes ...string) {
	s.k.env["AT_"+name] = "workspace-" + name
	fmt.Fprintf(&s.yaml, "  - {name: %[1]s, provider: oration, url: \"http://%[2]s/api/v2\", auth: {api_key: {env: KEY}, workspace_id: {env: AT_%[1]s}}, limit: %[3]d, timeout: %[4]s, max_call: 1h, pacing: {mean_call: 100ms}}\n",
		name, address, limit, timeout)
	for _, lane := range lanes {
		lane, weight, _ := strings.Cut(lane, "*")
		if weight == "" {
			weight = "1"
		}
		fmt.Fprintf(&s.lanes, "  - name: %s\n    account: %s\n    weight: %s\n    batch: 1\n    doubt_limit: 0\n    routes:\n      - type: lead.created\n%s", lane, name, weight, plantRoute)
	}
}

// serve runs weir serve over the accounts until the test ends.
func (s *street) serve(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(s.yaml.String()+"lanes:\n"+s.lanes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.k.serving(t, path, startService)
}

// publish gives a lane n leads, those of high priority on their subject, and
// returns their intents.
func (s *street) publish(t *testing.T, lane, what string, n int, high bool) (intents []string) {
	t.Helper()
	js, err := jetstream.New(s.b.JetStream().Conn(), jetstream.WithPublishAsyncMaxPending(2000))
	if err != nil {
		t.Fatal(err)
	}
	subject := "weir.events." + lane
	if high {
		subject += ".high"
	}
	for i := range n {
		id := fmt.Sprint(what, "-", i)
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","data":{"id":%d,"phone":"+1415%07d"}}`, id, i, i)
		if _, err := js.PublishAsync(subject, []byte(body), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
		intents = append(intents, consumer.Key(lane, "/crm", id))
	}
	within(t, 2*time.Minute, "the events to be stored", js.PublishAsyncComplete())
	return intents
}

// called are the intents that a provider's log shows, in its order.
func called(sim *simulator.Simulator) (intents []string) {
	for _, c := range sim.Conversations() {
		intents = append(intents, c.Intent)
	}
	return intents
}

// awaitCalls waits until a provider has made so many calls.
func awaitCalls(t *testing.T, sim *simulator.Simulator, n int) {
	t.Helper()
	await(t, 5*time.Minute, fmt.Sprint(n, " calls"), func() bool { return len(sim.Conversations()) >= n })
}

// TestFault46ABacklogOfAnotherAccount holds 40,000 events of one account beside
// six of another: those are called in the same order, each once, as without the
// backlog, and are done when hardly any of it is.
func TestFault46ABacklogOfAnotherAccount(t *testing.T) {
	t.Parallel()
	const backlog, few = 40_000, 6
	var alone []string
	for _, waiting := range []int{0, backlog} {
		s := newStreet(t)
		hot := s.account(t, "hot", 20, 200, "hot")
		quiet := s.account(t, "quiet", 1, 200, "quiet")
		s.publish(t, "hot", "hot", waiting, false)
		s.serve(t)
		if waiting > 0 {
			awaitCalls(t, hot, 20)
		}
		want := s.publish(t, "quiet", "quiet", few, false)
		awaitCalls(t, quiet, few)
		if n := len(hot.Conversations()); n > waiting/2 {
			t.Errorf("%d of %d calls of the other account were made before", n, waiting)
		}
		got := called(quiet)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("beside %d events of another account (-want +got):\n%s", waiting, diff)
		}
		if waiting == 0 {
			alone = got
		} else if !slices.Equal(alone, got) {
			t.Errorf("calls beside the backlog: got %v, and alone %v", got, alone)
		}
	}
}

// silence is a provider that accepts connections and never answers.
type silence struct {
	ln    net.Listener
	asked chan struct{} // closed when it has a request
	done  chan struct{}

	mu    sync.Mutex
	conns []net.Conn
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silence{ln: ln, asked: make(chan struct{}), done: make(chan struct{})}
	go s.listen()
	return s
}

// listen accepts until the provider is closed.
func (s *silence) listen() {
	defer close(s.done)
	tell := sync.OnceFunc(func() { close(s.asked) })
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		if n, _ := c.Read(make([]byte, 1)); n > 0 {
			tell()
		}
	}
}

// requests counts the connections so far.
func (s *silence) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// close ends all connections.
func (s *silence) close() {
	_ = s.ln.Close()
	<-s.done
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// A provider that does not answer delays its own account alone: its first request
// is still open when all others' events have been called.
func TestAProviderThatHangsDelaysNoOtherAccount(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	silent := newSilence(t)
	s.at("silent", silent.ln.Addr().String(), 5, "2m", "silent")
	one := s.account(t, "one", 2, 200, "one", "two")
	other := s.account(t, "other", 2, 200, "three")
	s.serve(t)
	t.Cleanup(silent.close) // before weir serve ends, which waits for its answer
	s.publish(t, "silent", "silent", 20, false)
	within(t, time.Minute, "the silent provider to be asked", silent.asked)
	want := make(map[string]int)
	for _, lane := range []string{"one", "two", "three"} {
		for _, intent := range s.publish(t, lane, lane, 6, false) {
			want[intent] = 1
		}
	}
	awaitCalls(t, one, 12)
	awaitCalls(t, other, 6)
	got := make(map[string]int)
	for _, intent := range append(called(one), called(other)...) {
		got[intent]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if n := silent.requests(); n != 1 {
		t.Errorf("requests at the silent provider: got %d, want the first one alone", n)
	}
}

// Of two lanes of one account that both have a backlog, the shares follow the
// weights; and one with few events gets its slots though the other's backlog is not
// half done.
func TestABacklogStarvesNoLaneOfItsAccount(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	sim := s.account(t, "acme", 1, 1000, "heavy*3", "light*1", "late*1") // with one slot they always wait for the same one
	heavy := s.publish(t, "heavy", "heavy", 200, false)
	light := s.publish(t, "light", "light", 100, false)
	s.serve(t)
	of := func(lane []string) func(string) bool {
		return func(intent string) bool { return slices.Contains(lane, intent) }
	}
	var log []string
	await(t, 5*time.Minute, "40 calls since both lanes began", func() bool {
		all := called(sim)
		first, other := slices.IndexFunc(all, of(heavy)), slices.IndexFunc(all, of(light))
		log = all[max(first, other, 0):]
		return min(first, other) >= 0 && len(log) >= 40
	})
	n := make(map[string]int)
	for _, intent := range log[:40] {
		switch {
		case of(heavy)(intent):
			n["heavy"]++
		case of(light)(intent):
			n["light"]++
		}
	}
	if n["heavy"] < 26 || n["light"] < 6 {
		t.Errorf("of 40 calls got %v, want 3 to 1", n)
	}
	late := s.publish(t, "late", "late", 5, false)
	before := len(sim.Conversations())
	await(t, 5*time.Minute, "the late events to be called", func() bool { return slices.Contains(called(sim), late[4]) })
	log = called(sim)
	if at := slices.Index(log, late[4]); at > before+100 { // a fifth of the slots is its
		t.Errorf("the last of five late events was call number %d of 305, and there were %d before it came", at, before)
	}
}

// With one slot the provider's log has the order in which the events came, those of
// high priority first, and those that came while others waited too.
func TestTheProviderSeesTheOrderOfComing(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: 1, Scale: 1000, Seed: 1, Latency: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	late := consumer.Key("acme", "/crm", "late-0")
	var waits atomic.Bool // the late event is stored, and was not sent yet
	f := newFront(t, sim, func(_ http.ResponseWriter, p post) bool {
		if slices.Contains(p.intents, late) {
			waits.Store(false)
		} else if waits.Load() {
			time.Sleep(time.Second) // few calls, however long the event's way to the lane takes
		}
		return false
	})
	s.at("acme", strings.TrimSuffix(strings.TrimPrefix(f.url, "http://"), "/api/v2"), 1, "30s", "acme")
	normal := s.publish(t, "acme", "normal", 20, false)
	high := s.publish(t, "acme", "high", 5, true)
	s.serve(t)
	awaitCalls(t, sim, 8)
	waits.Store(true)
	s.publish(t, "acme", "late", 1, true)
	before := len(sim.Conversations())
	awaitCalls(t, sim, 26)
	got := called(sim)
	at := slices.Index(got, late)
	if at < 8 || at > before+5 { // one or two were on their way
		t.Errorf("the late event of high priority is call number %d of 26, and there were %d before it came", at+1, before)
	}
	if diff := cmp.Diff(append(high, normal...), slices.Delete(got, at, at+1)); diff != "" {
		t.Errorf("order of the other calls (-want +got):\n%s", diff)
	}
}
