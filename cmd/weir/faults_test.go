package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// The tests of this file are named after the rows of docs/faults.md. Each has a
// real weir serve, a real broker and a simulated provider whose log is the proof.

// front is a provider that a test has in its hand: it notes each create request
// before the simulator sees it.
type front struct {
	url string

	mu    sync.Mutex
	posts []post
	hook  func(w http.ResponseWriter, p post) (answered bool) // nil: none
}

// post is a create request.
type post struct {
	at      time.Time
	intents []string
	claims  map[string]string // weir_attempt of each intent
	n       int               // counted from 1
}

func newFront(t *testing.T, sim *simulator.Simulator, hook func(w http.ResponseWriter, p post) bool) *front {
	t.Helper()
	f := &front{hook: hook}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && f.note(w, r) {
			return
		}
		sim.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	f.url = srv.URL + "/api/v2"
	return f
}

// note reports whether the request was answered.
func (f *front) note(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var asked struct {
		Conversations []struct {
			DynamicVariables map[string]string `json:"dynamicVariables"`
		} `json:"conversations"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return false
	}
	p := post{at: time.Now(), claims: make(map[string]string)}
	for _, c := range asked.Conversations {
		intent := c.DynamicVariables["weir_intent"]
		p.intents = append(p.intents, intent)
		p.claims[intent] = c.DynamicVariables["weir_attempt"]
	}
	f.mu.Lock()
	p.n = len(f.posts) + 1
	f.posts = append(f.posts, p)
	f.mu.Unlock()
	return f.hook != nil && f.hook(w, p)
}

// all returns the create requests so far.
func (f *front) all() []post {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]post(nil), f.posts...)
}

// sent counts the create requests that a claim of an intent has made.
func (f *front) sent(intent, claim string) (n int) {
	for _, p := range f.all() {
		if p.claims[intent] == claim {
			n++
		}
	}
	return n
}

// at writes a weir.yaml whose provider is the front, and returns its path.
func (k *killed) at(t *testing.T, f *front, name string) string {
	t.Helper()
	old, err := os.ReadFile(k.yaml)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(old)) {
		if strings.HasPrefix(strings.TrimSpace(line), "url: http://") {
			line = "    url: " + f.url + "\n"
		}
		lines = append(lines, line)
	}
	path := filepath.Join(k.dir, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ownBroker is a broker in this process, for children that are killed alone, and
// a world for them.
func ownBroker(t *testing.T) (*killed, *broker.Broker) {
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
	k := newKilled(t, fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\n", e.URL()), e.Token().Reveal(), simulator.Faults{})
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return k, b
}

// overhear calls said for each message on a subject, as soon as the broker has
// it.
func overhear(t *testing.T, b *broker.Broker, subject string, said func(data string)) {
	t.Helper()
	await(t, patience, "a connection", b.JetStream().Conn().IsConnected)
	sub, err := b.JetStream().Conn().Subscribe(subject, func(m *nats.Msg) { said(string(m.Data)) })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.JetStream().Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
}

// first is closed by the first call of its function.
func first() (done chan struct{}, call func()) {
	done = make(chan struct{})
	return done, sync.OnceFunc(func() { close(done) })
}

// within waits for what must come.
func within(t *testing.T, limit time.Duration, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Fatalf("waited %v for %s", limit, what)
	}
}

// brokerDir in the environment makes TestFaultBroker be a broker of that
// directory, at an address, so that tests can kill it.
const (
	brokerDir     = "WEIR_TEST_BROKER_DIR"
	brokerAddress = "WEIR_TEST_BROKER_ADDRESS"
)

// TestFaultBroker is the broker of the tests that kill one, in a process of its
// own; as a test it has nothing to say.
func TestFaultBroker(t *testing.T) {
	dir := os.Getenv(brokerDir)
	if dir == "" {
		return
	}
	if _, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir, Listen: os.Getenv(brokerAddress)}); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done()
}

// mortal is a broker in a process of its own, on a directory that outlives it.
type mortal struct {
	dir     string
	address string // kept from start to start
	url     string
	cmd     *exec.Cmd
}

func newMortal(t *testing.T) (*mortal, *killed) {
	t.Helper()
	m := &mortal{dir: filepath.Join(t.TempDir(), "store"), address: gatewayPort(t)}
	m.start(t)
	var token schema.Secret
	await(t, patience, "the broker", func() (up bool) {
		var err error
		m.url, token, err = broker.ReadEndpoint(m.dir)
		return err == nil
	})
	return m, newKilled(t, fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\n", m.url), token.Reveal(), simulator.Faults{})
}

// start starts the broker, at the address that it had before.
func (m *mortal) start(t *testing.T) {
	t.Helper()
	m.cmd = exec.Command(os.Args[0], "-test.run=^TestFaultBroker$", "-test.timeout=10m")
	m.cmd.Env = append(os.Environ(), brokerDir+"="+m.dir, brokerAddress+"="+m.address)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd := m.cmd
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// again starts the killed broker once more.
func (m *mortal) again(t *testing.T) {
	t.Helper()
	_ = m.cmd.Wait()
	m.start(t)
	await(t, patience, "the broker to come back", func() bool {
		url, _, err := broker.ReadEndpoint(m.dir)
		if err != nil || url != m.url {
			return false
		}
		c, err := net.Dial("tcp", strings.TrimPrefix(m.url, "nats://"))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// TestFault05TheBrokerDiesRightAfterTheAck kills the broker with -9 as soon as an
// event's acknowledgement was sent, again and again: it may forget it, and
// delivers the event once more. Nobody is called twice, nothing comes into doubt.
func TestFault05TheBrokerDiesRightAfterTheAck(t *testing.T) {
	t.Parallel()
	m, k := newMortal(t)
	b := k.connect(t, m.dir)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	child(t, k.env, "serve", "-c", k.yaml)
	k.awaitStreams(t, b)
	forgotten := 0
	acks := make(chan struct{}, 1)
	overhear(t, b, "$JS.ACK.WEIR_EVENTS.weir-acme.>", func(data string) {
		if !strings.HasPrefix(data, "+ACK") {
			return
		}
		select {
		case acks <- struct{}{}:
		default:
		}
	})
	for range 5 {
		k.publish(t, b, 1)
		within(t, patience, "an acknowledgement", acks)
		_ = m.cmd.Process.Kill()
		m.again(t)
		await(t, patience, "the broker to answer", func() bool {
			c, err := b.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-acme")
			if err == nil && c.CachedInfo().NumAckPending+int(c.CachedInfo().NumPending) > 0 {
				forgotten++
			}
			return err == nil
		})
		await(t, patience, "the event to be done", func() bool {
			pending, busy, err := b.Backlog(t.Context(), "acme")
			return err == nil && pending+busy == 0
		})
		select { // of the second delivery
		case <-acks:
		default:
		}
	}
	k.settle(t, b)
	k.check(t, b, nil)
	t.Logf("acknowledgements that the broker forgot: %d of 5", forgotten)
}

// TestFault06TheBrokerDiesRightAfterTheNak kills the broker, and weir, as soon as
// an event was given back with a delay: the broker forgets the delay, the ledger
// does not.
func TestFault06TheBrokerDiesRightAfterTheNak(t *testing.T) {
	t.Parallel()
	const wait = 15 * time.Second // longer than weir's start after a kill
	m, k := newMortal(t)
	f := newFront(t, k.sim, func(w http.ResponseWriter, p post) bool {
		if p.n > 1 {
			return false
		}
		w.Header().Set("Retry-After", fmt.Sprint(wait.Seconds()))
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"message":"full"}`)
		return true
	})
	yaml := k.at(t, f, "front.yaml")
	cmd := child(t, k.env, "serve", "-c", yaml)
	b := k.connect(t, m.dir)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	k.awaitStreams(t, b)
	given, kill := first()
	overhear(t, b, "$JS.ACK.WEIR_EVENTS.weir-acme.>", func(data string) {
		if strings.HasPrefix(data, "-NAK {") {
			kill()
		}
	})
	k.publish(t, b, 1)
	within(t, patience, "the event to be given back with a delay", given)
	_ = m.cmd.Process.Kill()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	m.again(t)
	var delivered atomic.Bool
	overhear(t, b, "$JS.ACK.WEIR_EVENTS.weir-acme.>", func(string) { delivered.Store(true) })
	child(t, k.env, "serve", "-c", yaml)
	k.settle(t, b)
	k.check(t, b, nil)
	posts := f.all()
	if len(posts) != 2 || !delivered.Load() {
		t.Fatalf("got %d requests, delivered again %v; want 2, true", len(posts), delivered.Load())
	}
	if gap := posts[1].at.Sub(posts[0].at); gap < wait {
		t.Errorf("the second request came %v after the first, want %v or more", gap, wait)
	}
}

// TestFault14AProcessThatStandsStillAfterItsClaim stops weir when it has sent its claim
// to the broker, until the claim is too old: what it had not sent by then it never
// sends.
func TestFault14AProcessThatStandsStillAfterItsClaim(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	f := newFront(t, k.sim, nil)
	yaml := k.at(t, f, "front.yaml")
	text, err := os.ReadFile(yaml)
	if err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	started := make(chan struct{})
	claimed, claim := first()
	broker := b.JetStream().Conn().ConnectedUrl()
	v := newTap(t, broker, func(subject, body string) bool {
		if strings.HasPrefix(subject, "$KV.WEIR_LEDGER.acme.") && strings.Contains(body, `"state":"started"`) {
			select {
			case <-claimed: // a later one
			default:
				<-started
				freeze(t, cmd)
				claim()
			}
		}
		return true
	})
	if err := os.WriteFile(yaml, bytes.Replace(text, []byte(broker), []byte(v.address), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = child(t, k.env, "serve", "-c", yaml)
	close(started)
	k.awaitStreams(t, b)
	k.publish(t, b, 1)
	within(t, patience, "a claim", claimed)
	await(t, patience, "the claim to be stored", func() bool { return k.states(t, b)[k.keys[0]].State == consumer.Started })
	stand(t, 6*time.Second)
	if n := len(f.all()); n != 0 {
		t.Fatalf("weir had sent %d requests before it stood still", n)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	k.settle(t, b)
	k.check(t, b, map[string]bool{k.keys[0]: true}) // without its lease it may leave the claim as a doubt
	if n := f.sent(k.keys[0], "1"); n != 0 {
		t.Errorf("requests of a claim of 6 s ago: got %d, want none", n)
	}
}

// freeze stops a process, and returns when it stands still.
func freeze(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
		return
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Error(err)
	}
}

// stand lets time pass that a real process needs.
func stand(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// TestFault15AProcessThatStandsStillDuringItsRequest stops weir while a request of
// it runs, until another one has taken its lane over (H12): when it goes on it
// may write its answer down, and sends nothing.
func TestFault15AProcessThatStandsStillDuringItsRequest(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	asked, ask := first()
	gate, release := first()
	slow := newFront(t, k.sim, func(_ http.ResponseWriter, p post) bool {
		if p.n == 2 {
			ask()
			<-gate
		}
		return false
	})
	t.Cleanup(release)
	other := newFront(t, k.sim, nil)
	stopped := child(t, k.env, "serve", "-c", k.at(t, slow, "slow.yaml"))
	k.awaitStreams(t, b)
	k.publish(t, b, 30)
	within(t, patience, "the second request", asked)
	if err := stopped.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	open := make(map[string]bool) // an answer that has come may not be written down yet
	k.open(t, b, open)
	child(t, k.env, "serve", "-c", k.at(t, other, "other.yaml"))
	await(t, patience, "the other to take over", func() bool { return len(other.all()) > 0 })
	stood := slow.all()[1:]
	if err := stopped.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the request to be given up", func() bool {
		return k.states(t, b)[stood[0].intents[0]].State != consumer.Started
	})
	release()
	k.settle(t, b)
	k.check(t, b, open)
}

// TestFault49TheConsumerIsRemovedUnderARunningWeir has an operator remove a
// lane's consumer: every event comes again, and nobody is called.
func TestFault49TheConsumerIsRemovedUnderARunningWeir(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	child(t, k.env, "serve", "-c", k.yaml)
	k.awaitStreams(t, b)
	k.publish(t, b, 12)
	k.settle(t, b)
	if err := b.JetStream().DeleteConsumer(t.Context(), broker.StreamEvents, "weir-acme"); err != nil {
		t.Fatal(err)
	}
	requests := k.sim.Report().Requests["create"]
	await(t, patience, "every event to be done again", func() bool {
		c, err := b.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-acme")
		if err != nil {
			return false
		}
		info := c.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0 && info.AckFloor.Stream >= uint64(len(k.keys))
	})
	if now := k.sim.Report().Requests["create"]; now != requests {
		t.Errorf("create requests after the second delivery: got %d more, want none", now-requests)
	}
	k.check(t, b, nil)
}

// TestFault52SIGTERM asks weir to stop while a request runs: it ends by itself with
// code 0, its answers are written down, and what it had not begun the next one
// does.
func TestFault52SIGTERM(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	asked, ask := first()
	f := newFront(t, k.sim, func(http.ResponseWriter, post) bool {
		ask()
		<-time.After(400 * time.Millisecond)
		return false
	})
	yaml := k.at(t, f, "front.yaml")
	cmd := child(t, k.env, "serve", "-c", yaml)
	k.awaitStreams(t, b)
	k.publish(t, b, 20)
	within(t, patience, "a request", asked)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, cmd, patience); code != 0 {
		t.Errorf("after SIGTERM: got code %d, want 0", code)
	}
	created := 0
	for _, in := range k.states(t, b) {
		if in.State == consumer.Started || in.State == consumer.Doubt {
			t.Errorf("%s: got %s after an orderly end", in.ID, in.State)
		}
		if in.State == consumer.Created || in.State == consumer.Ended {
			created++
		}
	}
	if made := len(k.sim.Conversations()); made == 0 || created != made {
		t.Errorf("conversations in the ledger: got %d, want the %d that were made, and at least one", created, made)
	}
	child(t, k.env, "serve", "-c", yaml)
	k.settle(t, b)
	k.check(t, b, nil)
}

// TestFault55NoFileDescriptorsLeft takes from weir what it needs to open a
// connection: no event comes into doubt, and none uses up an attempt.
func TestFault55NoFileDescriptorsLeft(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	cmd := child(t, k.env, "serve", "-c", k.yaml)
	k.awaitStreams(t, b)
	await(t, patience, "weir to run its lane", func() bool {
		_, err := b.Control(t.Context(), "acme", []byte(`{"verb":"status"}`))
		return err == nil
	})
	var was unix.Rlimit
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 3, Max: was.Max}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	k.publish(t, b, 6)
	await(t, patience, "an event that could not be sent", func() bool {
		for _, in := range k.states(t, b) {
			if in.Waits["unsent"] > 0 && strings.Contains(in.Reason, "too many open files") {
				return true
			}
		}
		return false
	})
	if made := len(k.sim.Conversations()); made != 0 {
		t.Errorf("conversations without a connection: got %d", made)
	}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &was, nil); err != nil {
		t.Fatal(err)
	}
	k.settle(t, b)
	k.check(t, b, nil)
	for _, in := range k.states(t, b) {
		if in.Attempts != 0 {
			t.Errorf("%s: got %d attempts used, want none", in.ID, in.Attempts)
		}
	}
}

// TestH7MessageIDsHoldTheLane publishes what a broker would take for copies, were
// their ids too short: one lead for two lanes, of two sources, with two contents.
func TestH7MessageIDsHoldTheLane(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	s := p.broker(t)
	event := lead("1", "+14155550101", "")
	file := p.file(t, "a.json", event)
	others := p.file(t, "b.ndjson",
		strings.Replace(event, `"/crm"`, `"/other"`, 1),
		strings.Replace(event, "+14155550101", "+14155550102", 1))
	for _, args := range [][]string{{"sales", file}, {"support", file}, {"sales", others}, {"sales", file}} {
		p.weir(t, "publish", "--lane", args[0], args[1])
	}
	got := make(map[string]int)
	for _, m := range contents(t, s, broker.StreamEvents) {
		got[m.Subject]++
	}
	if diff := cmp.Diff(map[string]int{"weir.events.sales": 3, "weir.events.support": 1}, got); diff != "" {
		t.Errorf("events stored by subject (-want +got):\n%s", diff)
	}
}

// TestFaultsPage holds docs/faults.md against the source: each fault and each
// hazard has its row, in order, no cell is empty, and every test that is named is
// there.
func TestFaultsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for n := range 55 {
		want = append(want, fmt.Sprint(n+1))
	}
	for n := range 26 {
		want = append(want, fmt.Sprint("H", n+1))
	}
	var got []string
	src := make(map[string]*tests)
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		row := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| # ")
		if row {
			got = append(got, strings.TrimSpace(cells[0]))
			checkRow(t, cells)
		}
		for _, name := range testName.FindAllStringSubmatch(line, -1) {
			if src[name[1]] == nil {
				src[name[1]] = readTests(t, name[1])
			}
			src[name[1]].check(t, name[2], strings.TrimPrefix(name[3], "/"), line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// testName is a test as the page writes it: folder, name, subtest.
var testName = regexp.MustCompile("`([a-z][a-z0-9/]*)\\.(Test[A-Za-z0-9_]*)(/[^`]*)?`")

// checkRow wants four cells that say something, the last a test or why there is
// none.
func checkRow(t *testing.T, cells []string) {
	t.Helper()
	if len(cells) != 4 {
		t.Errorf("row %s: got %d cells, want 4", cells[0], len(cells))
		return
	}
	for i, cell := range cells {
		if strings.TrimSpace(cell) == "" {
			t.Errorf("row %s: cell %d is empty", cells[0], i+1)
		}
	}
	proof, says := cells[3], strings.ToLower(cells[2])
	if !testName.MatchString(proof) && (strings.TrimSpace(proof) != "*not yet*" || !strings.Contains(says, "*not yet*")) {
		t.Errorf("row %s: got the proof %q, want a test, or *not yet* and what is missing", cells[0], proof)
	}
}

// tests are those of a folder: the file and the build tag of each.
type tests struct {
	folder string
	tags   map[string]string
	source string // of all its test files, and of the suite that clients share
}

func readTests(t *testing.T, folder string) *tests {
	t.Helper()
	s := &tests{folder: folder, tags: make(map[string]string)}
	root := filepath.Join("..", "..")
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s: got no test files, %v", folder, err)
	}
	suite, err := filepath.Glob(filepath.Join(root, "consumer", "providertest", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range append(files, suite...) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.source += string(b)
		if i >= len(files) {
			continue
		}
		tag := ""
		if m := buildTag.FindSubmatch(b); m != nil {
			tag = string(m[1])
		}
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			s.tags[string(m[1])] = tag
		}
	}
	return s
}

var (
	buildTag = regexp.MustCompile(`(?m)^//go:build (\w+)$`)
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
)

// check wants a test, its subtest by name, and its build tag said in the line.
func (s *tests) check(t *testing.T, name, sub, line string) {
	t.Helper()
	tag, ok := s.tags[name]
	switch {
	case !ok:
		t.Errorf("%s.%s: no such test", s.folder, name)
	case sub != "" && !strings.Contains(s.source, `"`+sub+`"`):
		t.Errorf("%s.%s: no subtest %q", s.folder, name, sub)
	case tag != "" && !strings.Contains(line, "tag "+tag):
		t.Errorf("%s.%s: needs the tag %s, which the page must say", s.folder, name, tag)
	}
}
