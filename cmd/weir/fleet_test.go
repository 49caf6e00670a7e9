package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// fleetLimit is how many conversations each account of a fleet may have at once;
// its provider would take many more.
const fleetLimit = 2

// fleet is several weir serve on one broker, with accounts that each have a
// provider and a lane of their own.
type fleet struct {
	b          *broker.Broker
	sims       []*simulator.Simulator
	env        map[string]string
	text, yaml string   // what the replicas have in common, and a file for commands
	gateways   []string // of the replicas that were given one
	lanes      []string
	published  []int // events of each lane
}

// newFleet starts a broker and the providers. Calls last scale times shorter.
func newFleet(t *testing.T, accounts int, scale float64) *fleet {
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
	f := &fleet{env: map[string]string{"KEY": "k", "HOOK": hookSecret, "BROKER_TOKEN": e.Token().Reveal()}, published: make([]int, accounts)}
	if f.b, err = broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.b.Close(context.Background()) })
	f.text = fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\nlanes:\n", e.URL())
	for i := range accounts {
		sim, err := simulator.New(zerolog.Nop(), simulator.Config{Limit: 50, Scale: scale, Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		front := newFront(t, sim, nil)
		f.sims, f.lanes = append(f.sims, sim), append(f.lanes, fmt.Sprint("lane-", i))
		f.text += fmt.Sprintf(`  - name: lane-%d
    provider: oration
    url: %s
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE_%d}}
    limit: %d
    batch: 1
    timeout: 10s
    max_call: 10m
    pacing: {mean_call: %v}
    webhook: {secret: {env: HOOK}}
    routes:
      - type: lead.created
%s`, i, front.url, i, fleetLimit, time.Duration(float64(75*time.Second)/scale), plantRoute)
		f.env[fmt.Sprint("WORKSPACE_", i)] = fmt.Sprint("w", i)
	}
	f.yaml = f.write(t, "127.0.0.1:8090")
	return f
}

// write writes a weir.yaml with a gateway.
func (f *fleet) write(t *testing.T, gateway string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "gateway: {listen: %q}\n%s", gateway, f.text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a replica, with a gateway of its own.
func (f *fleet) start(t *testing.T) *exec.Cmd {
	t.Helper()
	address := gatewayPort(t)
	f.gateways = append(f.gateways, address)
	return child(t, f.env, "serve", "-c", f.write(t, address))
}

// name is how a replica is shown to people.
func name(cmd *exec.Cmd) string { return fmt.Sprintf("process %d on ", cmd.Process.Pid) }

// rows are what weir lanes shows.
func (f *fleet) rows(t *testing.T) []laneRow {
	t.Helper()
	stdout, stderr, err := weir(t.Context(), f.env, "lanes", "-c", f.yaml, "--output", "json")
	if err != nil {
		t.Fatalf("weir lanes: %v\n%s", err, stderr)
	}
	return decoded[[]laneRow](t, stdout)
}

// owned waits until each lane runs at one of these replicas, and returns how many
// lanes each has.
func (f *fleet) owned(t *testing.T, replicas ...*exec.Cmd) map[*exec.Cmd]int {
	t.Helper()
	var lanes map[*exec.Cmd]int
	await(t, patience, fmt.Sprintf("each lane to run at one of %d replicas", len(replicas)), func() bool {
		lanes = make(map[*exec.Cmd]int)
		n := 0
		for _, r := range f.rows(t) {
			for _, cmd := range replicas {
				if strings.HasPrefix(r.Owner, name(cmd)) && r.State != notRunning && r.State != "unknown" {
					lanes[cmd]++
					n++
				}
			}
		}
		return n == len(f.lanes)
	})
	return lanes
}

// publish publishes n events on each lane.
func (f *fleet) publish(t *testing.T, n int) {
	t.Helper()
	for i, lane := range f.lanes {
		for range n {
			f.published[i]++
			id := f.published[i]
			body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"phone":"+141555%05d"}}`, id, id, id)
			header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
			if _, err := f.b.PublishEvent(t.Context(), lane, header, []byte(body), fmt.Sprint(lane, "-", id)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// called is how many conversations were made on all lanes.
func (f *fleet) called() (n int) {
	for _, sim := range f.sims {
		n += sim.Report().Conversations
	}
	return n
}

// settle waits until each event has come to its end, and compares the ledger with
// the providers: each was called once, or is in doubt, and no account was ever over
// its limit.
func (f *fleet) settle(t *testing.T) {
	t.Helper()
	lg, err := ledger.Open(t.Context(), f.b.JetStream(), ledger.Config{})
	if err != nil {
		t.Fatal(err)
	}
	doubts := 0
	for i, lane := range f.lanes {
		states := make(map[string]consumer.Intent)
		await(t, 5*time.Minute, "every event of "+lane+" to come to its end", func() bool {
			final := 0
			for entry, err := range lg.Scan(t.Context(), lane, time.Time{}) {
				if err != nil {
					return false
				}
				states[entry.Intent.Key] = entry.Intent
				if s := entry.Intent.State; s == consumer.Ended || s == consumer.Doubt {
					final++
				}
			}
			return final == f.published[i]
		})
		made := make(map[string]int)
		for _, c := range f.sims[i].Conversations() {
			made[c.Intent]++
		}
		for key, in := range states {
			if in.State == consumer.Doubt {
				doubts++
			}
			if made[key] > 1 || made[key] == 0 && in.State != consumer.Doubt {
				t.Errorf("%s, event %s is %s and was called %d times", lane, in.ID, in.State, made[key])
			}
		}
		if r := f.sims[i].Report(); r.Highest > fleetLimit {
			t.Errorf("%s: %d calls at one time, limit %d", lane, r.Highest, fleetLimit)
		}
	}
	t.Logf("%d events on %d lanes, %d in doubt", f.published[0]*len(f.lanes), len(f.lanes), doubts)
}

// Replicas that come and go share the accounts: each lane always runs at one of
// them, soon after one that was asked to stop has stopped.
func TestReplicasShareTheAccounts(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 6, 100)
	a, b := f.start(t), f.start(t)
	f.owned(t, a, b)
	f.publish(t, 5)
	c := f.start(t)
	all := []*exec.Cmd{a, b, c}
	f.owned(t, all...)
	f.publish(t, 5)
	await(t, patience, "calls", func() bool { return f.called() > 20 })
	if err := a.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, a, patience); code != 0 {
		t.Errorf("the replica that was asked to stop: got exit code %d", code)
	}
	f.owned(t, b, c)
	f.publish(t, 3)
	f.settle(t)
}

// A pause of all lanes is obeyed by every replica, and by one that takes a lane
// over while it is paused.
func TestReplicasObeyAPauseOfAll(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 100)
	a, b := f.start(t), f.start(t)
	f.owned(t, a, b)
	await(t, patience, "all owners to confirm a pause", func() bool {
		out, stderr, err := weir(t.Context(), f.env, "lane", "pause", "--all", "--by", "ana", "--reason", "drill", "-c", f.yaml)
		if err != nil {
			t.Fatalf("pause: got %v\n%s%s", err, out, stderr)
		}
		return strings.Count(out, "has seen it") == 3
	})
	f.publish(t, 2)
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	f.owned(t, b)
	await(t, patience, "each lane to be paused", func() bool { // one whose owner is slow to answer is unknown
		paused := 0
		for _, r := range f.rows(t) {
			switch r.State {
			case "paused":
				paused++
			case "running":
				t.Errorf("%s runs, want it paused", r.Lane)
			}
		}
		return paused == len(f.lanes)
	})
	if n := f.called(); n != 0 {
		t.Errorf("%d calls while all lanes are paused", n)
	}
	if out, stderr, err := weir(t.Context(), f.env, "lane", "resume", "--all", "--by", "ana", "-c", f.yaml); err != nil {
		t.Fatalf("resume: got %v\n%s%s", err, out, stderr)
	}
	f.settle(t)
}

// Replicas are killed, stand still for longer than their lease, and come back,
// while calls are placed at providers that refuse nothing.
func TestH12ReplicasUnderKill9(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 20)
	var replicas []*exec.Cmd
	for range 3 {
		replicas = append(replicas, f.start(t))
	}
	f.owned(t, replicas...)
	for round := range 4 {
		f.publish(t, 6)
		elapse(t, 2*time.Second)
		at := rand.IntN(len(replicas))
		victim := replicas[at].Process
		if round%2 == 0 {
			_ = victim.Kill()
			_ = replicas[at].Wait()
			replicas[at] = f.start(t)
			continue
		}
		if err := victim.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		f.owned(t, append(append([]*exec.Cmd{}, replicas[:at]...), replicas[at+1:]...)...)
		if err := victim.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	f.settle(t)
}

// A webhook that comes to a replica which does not own its lane is heard by the one
// that does.
func TestAWebhookIsPassedToTheOwner(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, 0.05) // calls of half an hour
	a, b := f.start(t), f.start(t)
	f.owned(t, a, b)
	f.publish(t, 1)
	await(t, patience, "a call on each lane", func() bool { return f.called() == 2 })
	for _, lane := range f.lanes {
		for i, gateway := range f.gateways {
			body := fmt.Sprintf(`{"eventType":"conversation.completed","payload":{"id":"nobody-%d"}}`, i)
			await(t, patience, "the gateway to know the webhook", func() bool {
				return postTo(t, "http://"+gateway+"/hooks/provider/"+lane+"/"+hookSecret, body) == http.StatusAccepted
			})
		}
	}
	for _, r := range f.rows(t) {
		if r.Webhooks.Received < 2 || r.Webhooks.Unknown < 2 {
			t.Errorf("%s: its owner heard %+v, want what came to both replicas", r.Lane, r.Webhooks)
		}
	}
	if got := postTo(t, "http://"+f.gateways[0]+"/hooks/provider/lane-0/"+hookSecret, `[]`); got != http.StatusBadRequest {
		t.Errorf("what is no webhook: got %d", got)
	}
}

// postTo posts a body and returns the answer's status; 0 if there is none.
func postTo(t *testing.T, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// An owner that is killed is replaced when its lease has run out, and one that is
// asked to stop at once. What it took is logged.
func TestAnOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, 100)
	replicas := map[string]*exec.Cmd{}
	for range 3 {
		cmd := f.start(t)
		replicas[name(cmd)] = cmd
	}
	f.publish(t, 150) // two minutes of calls
	await(t, patience, "calls", func() bool { return f.called() > 4 })
	for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		var cmd *exec.Cmd
		await(t, patience, "an owner that runs", func() bool {
			who, _, _ := strings.Cut(f.rows(t)[0].Owner, " on ")
			cmd = replicas[who+" on "]
			return cmd != nil && cmd.ProcessState == nil
		})
		if err := cmd.Process.Signal(how); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = cmd.Wait()
		ended, before := time.Since(began), f.called()
		await(t, patience, "calls of another owner", func() bool { return f.called() > before })
		t.Logf("%v: the process ended after %v, the next call came after %v", how, ended.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
}
