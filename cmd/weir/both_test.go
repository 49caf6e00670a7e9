package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// both is one weir.yaml with an account at either provider.
type both struct {
	oration, anyreach *simulator.Simulator
	addr              net.Addr // of both
	yaml              string
	env               map[string]string
	b                 *broker.Broker
	keys              map[string][]string // of the leads, by lane
}

// newBoth starts a broker, the providers behind one address, and nothing else.
func newBoth(t *testing.T, faults simulator.Faults) *both {
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
	w := &both{keys: make(map[string][]string), env: map[string]string{
		"KEY": "k", "WORKSPACE": "w", "TOKEN": "ak_1.secret", "BROKER_TOKEN": e.Token().Reveal(),
	}}
	w.oration, err = simulator.New(zerolog.Nop(), simulator.Config{
		Limit: 4, Scale: 150, Seed: 1, Shape: simulator.Mixed, Overflow: simulator.Mixed, Latency: 100 * time.Millisecond, Faults: faults,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.anyreach, err = simulator.NewAnyreach(zerolog.Nop(), simulator.AnyreachConfig{
		Limit: 3, Scale: 150, Seed: 2, Accepted: simulator.Mixed, Detail: simulator.Mixed, Columns: simulator.ColumnsSafe,
		Latency: 100 * time.Millisecond, VisibleAfter: 800 * time.Millisecond, VisibleShare: .5, TooMany: .02, Faults: faults,
	})
	if err != nil {
		t.Fatal(err)
	}
	group, err := simulator.Join(w.oration, w.anyreach)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr()
	t.Cleanup(background(t, func(ctx context.Context) error { return group.Serve(ctx, ln) }))
	if w.b, err = broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.b.Close(context.Background()) })
	w.yaml = filepath.Join(t.TempDir(), "weir.yaml")
	w.configure(t, e.URL(), fmt.Sprintf(bothLanes, w.addr, w.anyreach.MaxCall()+time.Second))
	return w
}

func (w *both) configure(t *testing.T, url, lanes string) {
	t.Helper()
	y := fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 2s}\n%s", url, lanes)
	if err := os.WriteFile(w.yaml, []byte(y), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bothLanes are the blocks: address of the providers, max_call.
const bothLanes = `
accounts:
  - name: globex
    provider: anyreach
    url: http://%[1]s
    auth: {token: {env: TOKEN}}
    limits: {telephone: 3}
    timeout: 10s
    max_call: %[2]s
    visible_after: 2s
    pacing: {mean_call: 500ms}
    breaker: {failures: 5, open: 1s}
lanes:
  - name: acme
    provider: oration
    url: http://%[1]s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}
    limit: 4
    timeout: 10s
    max_call: %[2]s
    doubt_limit: 0
    pacing: {mean_call: 500ms}
    breaker: {failures: 5, open: 1s}
    routes:
      - type: lead.created
        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
  - name: calls
    account: globex
    routes:
      - type: lead.created
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: a, agent_number: "+14155550199"}
  - name: all
    account: globex
    join_token: true
    attempts: 100
    routes:
      - type: lead.created
        when: data.attributes.channel == 'telephone'
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: a, agent_number: "+14155550199"}
      - type: lead.created
        when: data.attributes.channel == 'email'
        request: {channel: email, user_id: "u-${ data.id }", to_address: "${ data.email }", agent_id: a}
      - type: lead.created
        request: {channel: "${ data.attributes.channel }", user_id: "u-${ data.id }", agent_id: a}
`

// publish sends n good leads to a lane, every fourth twice.
func (w *both) publish(t *testing.T, lane string, n int) {
	t.Helper()
	for range n {
		i := len(w.keys[lane])
		id := fmt.Sprint("lead-", i)
		channel := []string{"telephone", "email", "text", "webrtc", "telephone"}[i%5]
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json",`+
			`"data":{"id":%d,"phone":"+1415555%04d","email":"a%d@example.com","attributes":{"channel":%q}}}`, id, i, i, i, channel)
		w.keys[lane] = append(w.keys[lane], consumer.Key(lane, "/crm", id))
		for again := range 1 + i%4/3 {
			header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
			if _, err := w.b.PublishEvent(t.Context(), lane, header, []byte(body), fmt.Sprint(lane, id, "-", again)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// intents reads a lane's part of the ledger.
func (w *both) intents(t *testing.T, lane string) map[string]consumer.Intent {
	t.Helper()
	lg, err := ledger.Open(t.Context(), w.b.JetStream(), ledger.Config{})
	if err != nil {
		t.Fatal(err)
	}
	intents := make(map[string]consumer.Intent)
	for entry, err := range lg.Scan(t.Context(), lane, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		intents[entry.Intent.Key] = entry.Intent
	}
	return intents
}

// settled reports whether every lead of a lane has come to its end. Where doubts
// settle themselves none may be left.
func (w *both) settled(t *testing.T, lane string) bool {
	t.Helper()
	pending, unacked, err := w.b.Backlog(t.Context(), lane)
	if err != nil || pending+unacked > 0 {
		return false
	}
	intents := w.intents(t, lane)
	for _, key := range w.keys[lane] {
		in := intents[key]
		if in.State != consumer.Ended && (in.State != consumer.Doubt || lane != "acme") {
			return false
		}
	}
	told := w.outcomes(t)
	for _, key := range w.keys[lane] {
		if _, ok := told[key][string(intents[key].State)]; !ok { // it is told after it is written down
			return false
		}
	}
	return true
}

// outcomes reads what was published of each intent, by kind.
func (w *both) outcomes(t *testing.T) map[string]map[string]consumer.OutcomeData {
	t.Helper()
	s, err := w.b.JetStream().Stream(t.Context(), broker.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string]consumer.OutcomeData)
	last := s.CachedInfo().State.LastSeq
	for seq := max(s.CachedInfo().State.FirstSeq, 1); seq <= last; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		var data consumer.OutcomeData
		if err := json.Unmarshal(outcomeData(msg), &data); err != nil {
			t.Fatalf("outcome %d: %v in %s", seq, err, msg.Data)
		}
		kind := msg.Subject[strings.LastIndex(msg.Subject, ".")+1:]
		if all[data.Intent] == nil {
			all[data.Intent] = make(map[string]consumer.OutcomeData)
		}
		if _, twice := all[data.Intent][kind]; twice {
			t.Errorf("%s: two outcomes %s", data.Intent, kind)
		}
		all[data.Intent][kind] = data
	}
	return all
}

// outcomeData is the data of an outcome, whichever way it was published.
func outcomeData(msg *jetstream.RawStreamMsg) []byte {
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(msg.Data, &envelope) == nil && len(envelope.Data) > 0 {
		return envelope.Data
	}
	return msg.Data
}

// TestBothProvidersUnderFaults runs one weir.yaml with an account at either
// provider, calls and all four channels, against providers that lose answers,
// fail and hide; weir is killed with -9 again and again. Each event is one
// conversation; at the provider that takes our id none is left in doubt; each
// outcome is published.
func TestBothProvidersUnderFaults(t *testing.T) {
	t.Parallel()
	w := newBoth(t, simulator.Faults{
		Shuffle: .3, Accepted500: .03, Cut: .03, Reset: .03, DropResult: .02,
		Refuse503: .02, HTML502: .02, ResetEarly: .02, AcceptedHang: .02, HangFor: 2 * time.Second, Slow: .02, SlowFor: 300 * time.Millisecond,
	})
	leads := map[string]int{"acme": 45, "calls": 30, "all": 45}
	for i := range 4 {
		cmd := child(t, w.env, "serve", "-c", w.yaml)
		if i == 0 {
			for lane := range leads {
				await(t, patience, "the lanes", func() bool { _, _, err := w.b.Backlog(t.Context(), lane); return err == nil })
			}
			for lane, n := range leads {
				w.publish(t, lane, n)
			}
		}
		elapse(t, 7*time.Second)
		if i == 2 { // the providers fail while weir is away, and go on failing for a while
			for _, sim := range []*simulator.Simulator{w.oration, w.anyreach} {
				if err := sim.SetOutage(simulator.Outage503, time.Now().Add(3*time.Second)); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	child(t, w.env, "serve", "-c", w.yaml)
	for lane := range leads {
		await(t, 10*time.Minute, "every event of "+lane+" to come to its end", func() bool { return w.settled(t, lane) })
	}
	w.check(t, leads)
}

// check compares ledger and outcomes with the providers' own logs.
func (w *both) check(t *testing.T, leads map[string]int) {
	t.Helper()
	made := make(map[string]int)
	for _, c := range append(w.oration.Conversations(), w.anyreach.Conversations()...) {
		made[c.Intent]++
	}
	told := w.outcomes(t)
	total := 0
	for lane, n := range leads {
		total += n
		w.checkLane(t, lane, made, told)
	}
	if len(made) > total {
		t.Errorf("conversations for %d intents, but only %d leads", len(made), total)
	}
	for _, sim := range []*simulator.Simulator{w.oration, w.anyreach} {
		r := sim.Report()
		if r.Highest > r.Limit || len(r.Doubled) > 0 || r.QueuedMost > 0 {
			t.Errorf("%s: highest %d of %d, %d that waited there, doubled %v", sim.Provider(), r.Highest, r.Limit, r.QueuedMost, r.Doubled)
		}
	}
}

func (w *both) checkLane(t *testing.T, lane string, made map[string]int, told map[string]map[string]consumer.OutcomeData) {
	t.Helper()
	intents := w.intents(t, lane)
	doubts, resent, joins := 0, 0, 0
	for _, key := range w.keys[lane] {
		in := intents[key]
		if in.State == consumer.Doubt {
			doubts++
			if _, ok := told[key]["doubt"]; !ok || made[key] > 1 {
				t.Errorf("%s of %s: in doubt, called %d times, outcomes %v", in.ID, lane, made[key], told[key])
			}
			continue
		}
		if in.Claims > 1 {
			resent++
		}
		created, ok := told[key]["created"]
		ended, over := told[key]["ended"]
		if made[key] != 1 || !ok || !over || created.Conversation != in.Conversation || ended.Result == "" {
			t.Errorf("%s of %s: %s, called %d times, created %+v, ended %+v", in.ID, lane, in.State, made[key], created, ended)
		}
		if len(created.Join) > 0 {
			joins++
			if created.Channel != "webrtc" {
				t.Errorf("%s of %s: a join token on %s", in.ID, lane, created.Channel)
			}
		}
	}
	if lane == "all" && joins == 0 {
		t.Error("no webrtc conversation's outcome has what is needed to join")
	}
	t.Logf("%s: %d leads, %d in doubt, %d sent more than once", lane, len(w.keys[lane]), doubts, resent)
}

// TestSwitchingALanesProvider changes the provider in a lane's block, and
// nothing else. What was done stays done; what is new goes to the other.
func TestSwitchingALanesProvider(t *testing.T) {
	t.Parallel()
	w := newBoth(t, simulator.Faults{})
	y, err := os.ReadFile(w.yaml)
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, func(ctx context.Context) error {
		_, _, err := weir(ctx, w.env, "serve", "-c", w.yaml, "--log-level", "error")
		return err
	})
	await(t, patience, "the lanes", func() bool { _, _, err := w.b.Backlog(t.Context(), "acme"); return err == nil })
	w.publish(t, "acme", 5)
	await(t, patience, "the first leads", func() bool { return w.settled(t, "acme") })
	stop()

	before, rest, ok1 := strings.Cut(string(y), "  - name: acme\n")
	_, after, ok2 := strings.Cut(rest, "  - name: calls\n")
	if !ok1 || !ok2 {
		t.Fatal("the lane's block is not where it was")
	}
	block := `  - name: acme
    account: globex
    routes:
      - type: lead.created
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: a, agent_number: "+14155550199"}
`
	if err := os.WriteFile(w.yaml, []byte(before+block+"  - name: calls\n"+after), 0o600); err != nil {
		t.Fatal(err)
	}
	stop = background(t, func(ctx context.Context) error {
		_, _, err := weir(ctx, w.env, "serve", "-c", w.yaml, "--log-level", "error")
		return err
	})
	first := w.keys["acme"]
	w.keys["acme"] = nil
	w.publish(t, "acme", 8) // the first five of them again
	await(t, patience, "all leads", func() bool { return w.settled(t, "acme") })
	stop()
	got := map[string]int{"oration": len(w.oration.Conversations()), "anyreach": len(w.anyreach.Conversations())}
	if diff := cmp.Diff(map[string]int{"oration": len(first), "anyreach": 3}, got); diff != "" {
		t.Errorf("conversations by provider (-want +got):\n%s", diff)
	}
}

// TestCheckOfAnyreach checks an account whose base is wrong, and routes that can
// never be sent; no call is placed.
func TestCheckOfAnyreach(t *testing.T) {
	t.Parallel()
	w := newBoth(t, simulator.Faults{})
	y, err := os.ReadFile(w.yaml)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, changed, want string }{
		{"as it is", "#", "#", "ok       account globex"},
		{"a path of its own", "url: http://" + w.addr.String() + "\n", "url: http://" + w.addr.String() + "/core\n", "the url is wrong"},
		{"no number to call from", `, agent_number: "+14155550199"`, "", "lane calls: routes[0].request: agent_number"},
		{"no way to join", "    join_token: true\n", "", "set join_token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "weir.yaml")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(y), tt.old, tt.changed)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _, _ := weir(t.Context(), w.env, "check", "-c", path)
			if !strings.Contains(out, tt.want) {
				t.Errorf("got:\n%s\nwant %q in it", out, tt.want)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(w.anyreach.Conversations()) + len(w.oration.Conversations()); n != 0 {
			t.Errorf("conversations made by checks: got %d, want 0", n)
		}
	})
}
