//go:build upgrade && linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/simulator"
)

// oldBinary in the environment is the weir of the version before.
const oldBinary = "WEIR_OLD"

// edition is one of two versions of weir.
type edition string

// The versions: that of the binary of before, and this one.
const (
	before  edition = "old"
	present edition = "new"
)

// binary is a command line of a version, and what its environment needs besides.
func (v edition) binary(t *testing.T) (path string, env []string) {
	t.Helper()
	if v == present {
		return os.Args[0], []string{asWeir + "=1"}
	}
	path = os.Getenv(oldBinary)
	if path == "" {
		t.Fatalf("%s names no binary: run make upgrade-test", oldBinary)
	}
	return path, nil
}

// upgrading is a fleet that is taken from one version to the other and back while
// events arrive, between a broker and two providers that outlast it.
type upgrading struct {
	t    *testing.T
	dir  string
	yaml map[edition]string // the configuration of each
	env  []string
	hist *chaos.History
	sims []*simulator.Simulator // Oration and Anyreach
	at   string                 // both, behind one address

	replicas []*chaos.Process
	runs     []edition

	mu   sync.Mutex
	b    *broker.Broker // nil while an embedded broker is away
	sent []sentLead
	next int
}

// sentLead is an event that the broker has confirmed.
type sentLead struct {
	lane, id string
	seq      uint64
	apart    string // what a person did with it, and is checked apart from the rest
}

func (l sentLead) key() string { return consumer.Key(l.lane, "/crm", l.id) }

// Limits of the lanes.
const (
	upgradeOration = 6
	upgradeCalls   = 4
)

// newUpgrading starts the providers.
func newUpgrading(t *testing.T, faulty simulator.Faults, seed uint64) *upgrading {
	t.Helper()
	u := &upgrading{t: t, dir: t.TempDir(), yaml: make(map[edition]string), env: []string{"KEY=k", "WORKSPACE=w", "TOKEN=ak_1.secret", "USER=ana"}}
	var err error
	if u.hist, err = chaos.OpenHistory(filepath.Join(u.dir, "history.ndjson"), seed); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(u.proofFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	oration, err := simulator.New(zerolog.Nop(), simulator.Config{
		Limit: upgradeOration + 2, Scale: 40, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed, Latency: 100 * time.Millisecond, Faults: faulty, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	anyreach, err := simulator.NewAnyreach(zerolog.Nop(), simulator.AnyreachConfig{
		Limit: upgradeCalls + 2, Scale: 40, Seed: seed, Accepted: simulator.Mixed, Detail: simulator.Mixed, Latency: 100 * time.Millisecond, Faults: faulty, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	group, err := simulator.Join(oration, anyreach)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, func(ctx context.Context) error { return group.Serve(ctx, ln) }))
	t.Cleanup(u.end)
	u.sims, u.at = []*simulator.Simulator{oration, anyreach}, ln.Addr().String()
	return u
}

func (u *upgrading) proofFile() string { return filepath.Join(u.dir, "calls.ndjson") }

// configure writes the configuration of a version: more stands in the lane acme.
func (u *upgrading) configure(v edition, broker, more string) {
	u.t.Helper()
	u.yaml[v] = filepath.Join(u.dir, "weir-"+string(v)+".yaml")
	text := broker + fmt.Sprintf(`
accounts:
  - {name: globex, provider: anyreach, url: "http://%[1]s", auth: {token: {env: TOKEN}}, limit: %[2]d, timeout: 2s, max_call: 30s, visible_after: 3s, pacing: {mean_call: 2s}}
lanes:
  - name: acme
    provider: oration
    url: http://%[1]s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
    limit: %[3]d
    batch: 3
    timeout: 2s
    max_call: 30s
    doubt_limit: 0
    pacing: {mean_call: 2s}
%[4]s    routes:
      - type: lead.created
        request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.phone }"}
  - name: calls
    account: globex
    attempts: 100
    routes:
      - type: lead.created
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: a, agent_number: "+14155550199"}
`, u.at, upgradeCalls, upgradeOration, more)
	if err := os.WriteFile(u.yaml[v], []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// start starts a replica in a place.
func (u *upgrading) start(place int, v edition) {
	u.t.Helper()
	path, env := v.binary(u.t)
	p, err := chaos.Start(chaos.Command{
		Name: fmt.Sprintf("weir-%d", place), Path: path, Args: []string{"serve", "-c", u.yaml[v]}, Env: append(env, u.env...), Log: u.logFile(v),
	})
	if err != nil {
		u.t.Fatal(err)
	}
	for len(u.replicas) <= place {
		u.replicas, u.runs = append(u.replicas, nil), append(u.runs, v)
	}
	u.replicas[place], u.runs[place] = p, v
}

func (u *upgrading) logFile(v edition) string {
	return filepath.Join(u.dir, "weir-"+string(v)+".log")
}

// stop asks a replica to end, which it must do by itself.
func (u *upgrading) stop(place int) {
	u.t.Helper()
	p := u.replicas[place]
	p.Terminate()
	if !p.Await(u.t.Context(), patience) {
		u.t.Errorf("%s (%s) did not stop within %v of SIGTERM", p.Name, u.runs[place], patience)
	} else if text, clean := p.End(); !clean {
		u.t.Errorf("%s (%s) stopped by SIGTERM ended with %s", p.Name, u.runs[place], text)
	}
	p.Kill()
}

// swap takes a place from the version that it has to another one, in order or not.
func (u *upgrading) swap(place int, v edition, kill bool) {
	u.t.Helper()
	heal := u.hist.Disturb("swap", fmt.Sprintf("weir-%d from %s to %s, killed: %v", place, u.runs[place], v, kill))
	if kill {
		u.replicas[place].Kill()
	} else {
		u.stop(place)
	}
	u.start(place, v)
	u.whole()
	heal()
	u.t.Logf("%s weir-%d runs the %s version (killed: %v); %d events so far", time.Now().Format(time.TimeOnly), place, v, kill, u.count())
}

func (u *upgrading) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sent)
}

// connect sets the connection past weir.
func (u *upgrading) connect(b *broker.Broker) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.b != nil {
		_ = u.b.Close(context.Background())
	}
	u.b = b
}

func (u *upgrading) broker() *broker.Broker {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.b
}

// whole waits until both lanes have an owner that answers, twice in a row a second
// apart.
func (u *upgrading) whole() {
	u.t.Helper()
	request, err := json.Marshal(consumer.Command{Verb: consumer.VerbStatus})
	if err != nil {
		u.t.Fatal(err)
	}
	good := 0
	await(u.t, patience, "every lane to have an owner", func() bool {
		for _, lane := range []string{"acme", "calls"} {
			ctx, cancel := context.WithTimeout(u.t.Context(), 5*time.Second)
			reply, err := u.broker().Control(ctx, lane, request)
			cancel()
			var r consumer.Reply
			if err != nil || json.Unmarshal(reply, &r) != nil || r.Status == nil {
				good = 0
				return false
			}
		}
		good++
		return good > 20
	})
}

// weir runs a command of a version, and returns what it printed and how it ended.
func (u *upgrading) weir(v edition, args ...string) (string, error) {
	u.t.Helper()
	path, env := v.binary(u.t)
	ctx, cancel := context.WithTimeout(u.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(os.Environ(), append(env, u.env...)...), "WEIR_CONFIG="+u.yaml[v])
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is weir for what has to work.
func (u *upgrading) must(v edition, args ...string) string {
	u.t.Helper()
	out, err := u.weir(v, args...)
	if err != nil {
		u.t.Errorf("%s weir %s: %v: %s", v, strings.Join(args, " "), err, out)
	}
	return out
}

// lead publishes one event, until the broker has it, with more attributes, and notes
// it.
func (u *upgrading) lead(lane, attributes, phone, apart string) sentLead {
	u.t.Helper()
	u.mu.Lock()
	u.next++
	n := u.next
	u.mu.Unlock()
	l := sentLead{lane: lane, id: fmt.Sprintf("lead-%05d", n), apart: apart}
	if phone == "" {
		phone = fmt.Sprintf("+1415%07d", 2000000+n)
	}
	body := leadBody(l.id, attributes, phone, n)
	header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(u.t.Context(), 5*time.Second)
		placed, err := u.broker().PublishEvent(ctx, lane, header, []byte(body), l.id)
		cancel()
		if err == nil {
			l.seq = placed.Sequence
			break
		}
		if time.Now().After(end) || u.t.Context().Err() != nil {
			u.t.Errorf("publish %s: %v", l.id, err)
			return l
		}
		_ = sleep(u.t.Context(), 200*time.Millisecond)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent = append(u.sent, l)
	return l
}

func leadBody(id, attributes, phone string, n int) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","time":%q,"datacontenttype":"application/json"%s,"data":{"id":%d,"phone":%q}}`,
		id, time.Now().UTC().Format(time.RFC3339Nano), attributes, n, phone)
}

// feed publishes leads until the returned function ends it.
func (u *upgrading) feed(each time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(u.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; sleep(ctx, each) == nil; i++ {
			u.lead([]string{"acme", "acme", "calls"}[i%3], "", "", "")
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// end kills what is left.
func (u *upgrading) end() {
	for _, p := range u.replicas {
		p.Kill()
	}
	u.connect(nil)
	_ = u.hist.Close()
	if !u.t.Failed() {
		return
	}
	for _, v := range []edition{before, present} {
		text, _ := os.ReadFile(u.logFile(v))
		u.t.Logf("the log of the %s version ends with:\n%s", v, tail(string(text), 6000))
	}
}
