package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// work is a plant on the cluster of deploy/nats: weir serve is the user weir there,
// and each command the operator.
type work struct {
	*plant
	c       *secured
	weirs   string // weir.yaml of weir serve
	gateway string
	told    *hearer
}

// newWork starts the cluster, and writes both files.
func newWork(t *testing.T) *work {
	t.Helper()
	w := &work{c: newSecured(t, nil), gateway: gatewayPort(t), told: newHearer(t)}
	w.plant = newPlantOf(t, simulator.Config{
		Webhooks: simulator.Webhooks{URL: "http://" + w.gateway + "/hooks/provider/acme-sales/" + hookSecret},
	}, "acme-sales", "globex-support")
	w.env["HOOK"], w.env["SIGNING"], w.env["BROKER_TOKEN"], w.env["GATEWAY"] = hookSecret, oldSecret, natsPassword, "sesame-of-the-gateway"
	w.edit(t, fmt.Sprintf("embedded: {dir: %q}\n", w.store), w.c.yaml("operator", "_INBOX_operator")+w.door(w.gateway))
	w.edit(t, "    timeout: 10s\n", "    timeout: 10s\n    pacing: {mean_call: 1s}\n")
	w.edit(t, "    account: acme\n", fmt.Sprintf("    account: acme\n    webhook: {secret: {env: HOOK}}\n    %s\n    contact: {region: US, windows: [{hours: \"08:00-20:00\"}]}\n", w.told.block(", kinds: [rejected]")))
	w.weirs = w.served(t, "weir.serve.yaml", w.gateway)
	return w
}

// served writes the file of a replica of weir serve.
func (w *work) served(t *testing.T, name, gateway string) string {
	t.Helper()
	text, err := os.ReadFile(w.yaml)
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(text), w.c.yaml("operator", "_INBOX_operator"), w.c.yaml("weir", "_INBOX"), 1)
	own = strings.Replace(own, w.door(w.gateway), w.door(gateway), 1)
	path := filepath.Join(filepath.Dir(w.yaml), name)
	if err := os.WriteFile(path, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// door is the block of the gateway.
func (w *work) door(listen string) string {
	return fmt.Sprintf("gateway: {listen: %q, token: {env: GATEWAY}}\n", listen)
}

// replica runs weir serve until the returned function ends it.
func (w *work) replica(t *testing.T, yaml string) (stop func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error {
		_, stderr, err := weir(ctx, w.env, "serve", "-c", yaml, "--log-level", "error")
		if err != nil {
			t.Log(stderr)
		}
		return err
	})
}

// lanesRun waits until each lane has an owner that runs it.
func (w *work) lanesRun(t *testing.T) {
	t.Helper()
	await(t, patience, "the lanes to run", func() bool {
		stdout, _, err := weir(t.Context(), w.env, "lanes", "-c", w.yaml, "--output", "json")
		return err == nil && strings.Count(stdout, `"state"`) == 2 && !strings.Contains(stdout, notRunning)
	})
}

// becomes waits for an event's state.
func (w *work) becomes(t *testing.T, lane, id string, want consumer.State) {
	t.Helper()
	await(t, patience, fmt.Sprint(id, " to be ", want), func() bool { return w.state(t, lane, id).State == want })
}

// TestWeirNeedsNoMoreRights runs what weir does on a cluster that is started from the
// files in deploy/nats: no server refuses anything to weir, to the operator or to the
// monitor.
func TestWeirNeedsNoMoreRights(t *testing.T) {
	t.Parallel()
	w := newWork(t)
	stop := w.replica(t, w.weirs)
	defer func() { stop() }()
	w.lanesRun(t)
	publish := func(lane string, leads ...string) {
		t.Helper()
		w.weir(t, "publish", "--lane", lane, w.file(t, "leads.ndjson", leads...))
	}
	publish("acme-sales", leadIn("called", "+14155550101", zoneAt(13)), leadIn("asleep", "+14155550102", zoneAt(1)),
		leadIn("dead", "+14155550103", "Mars/Olympus"), leadIn("given-up", "+14155550104", "Mars/Olympus"))
	w.becomes(t, "acme-sales", "called", consumer.Ended) // as its webhook says
	w.becomes(t, "acme-sales", "asleep", consumer.Waiting)
	w.settled(t, "dead", 2)
	for _, args := range [][]string{
		{"dead", "show", "dead"}, {"dead", "replay", "dead", "--reason", "again"}, {"dead", "drop", "given-up", "--reason", "over", "--yes"},
		{"lanes"}, {"event", "show", "--source", "/crm", "--id", "called", "--lane", "acme-sales"}, {"contact", "block", "+14155550109", "--reason", "asked"},
		{"contact", "list"}, {"contact", "show", "+14155550109"}, {"contact", "allow", "+14155550108", "--reason", "asked"},
		{"lane", "pause", "globex-support", "--reason", "test"},
	} {
		w.weir(t, args...)
	}
	w.settled(t, "dead", 1)
	publish("acme-sales", leadIn("blocked", "+14155550109", zoneAt(13)))
	w.becomes(t, "acme-sales", "blocked", consumer.Suppressed)
	publish("globex-support", lead("withdrawn", "+14155550105", ""), lead("doubt", "+14155550106", ""))
	w.weir(t, "event", "cancel", "--source", "/crm", "--id", "withdrawn", "--reason", "asked")
	if err := w.sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.weir(t, "lane", "resume", "globex-support")
	w.settled(t, "doubt", 1)
	w.sim.ClearOutage()
	w.weir(t, "doubt", "resolve", "doubt", "--retry", "--reason", "nobody was called")
	w.becomes(t, "globex-support", "doubt", consumer.Ended)
	w.weir(t, forgets("--person", "+14155550102")...)
	w.refusesOutcomes(t)
	w.gives(t)

	other := w.replica(t, w.served(t, "other.yaml", gatewayPort(t)))
	defer other()
	stop()
	stop = func() {}
	w.lanesRun(t)
	publish("acme-sales", leadIn("later", "+14155550108", zoneAt(13)))
	w.becomes(t, "acme-sales", "later", consumer.Ended)
	w.everything(t)
	for _, line := range w.c.refusals() {
		t.Errorf("a server refused something: %s", line)
	}
}

// refusesOutcomes lets the publisher's address refuse what it is told.
func (w *work) refusesOutcomes(t *testing.T) {
	t.Helper()
	w.told.set(410, oldSecret)
	w.weir(t, "publish", "--lane", "acme-sales", w.file(t, "c.ndjson", leadIn("untold", "+14155550107", "Mars/Olympus"), leadIn("untold-2", "+14155550117", "Mars/Olympus")))
	await(t, patience, "them to be given up", func() bool {
		return strings.Count(w.weir(t, "undelivered", "list", "--output", "json"), `"untold`) == 2
	})
	w.told.set(204, oldSecret)
	w.weir(t, "undelivered", "drop", "untold-2", "--yes")
	w.weir(t, "undelivered", "send", "untold")
	await(t, patience, "it to be told", func() bool {
		return !strings.Contains(w.weir(t, "undelivered", "list", "--output", "json"), `"untold`)
	})
}

// gives gives an event to the gateway.
func (w *work) gives(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.gateway+"/events/globex-support", strings.NewReader(lead("given", "+14155550110", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("Authorization", "Bearer "+w.env["GATEWAY"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST /events: got %s", resp.Status)
	}
	w.becomes(t, "globex-support", "given", consumer.Ended)
}

// everything reads all and removes what is old, as weir serve does each day, and
// checks with both users.
func (w *work) everything(t *testing.T) {
	t.Helper()
	cfg, err := config.Load(w.weirs, func(name string) string { return w.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s, err := startBroker(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	all, err := s.guarded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.Open(t.Context(), zerolog.Nop(), s.broker, all)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := g.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("scrub: got %v and %v", found, err)
	}
	any := func(_ context.Context, _ int, remove func() error) error { return remove() }
	if n, err := s.ledger.Prune(t.Context(), "acme-sales", time.Now().Add(time.Hour), any); err != nil || n == 0 {
		t.Errorf("pruned: got %d entries and %v", n, err)
	}
	for yaml, rights := range map[string]string{
		w.yaml:  "user operator may run every command but weir serve, backup and restore",
		w.weirs: "user weir may do what weir serve does, and no more",
	} {
		var stdout, stderr string
		var err error
		await(t, patience, "each server to answer weir check", func() bool { // it gives them two seconds
			stdout, stderr, err = weir(t.Context(), w.env, "check", "-c", yaml)
			return !strings.Contains(stdout, "servers were asked") && !strings.Contains(stdout, "no server answers")
		})
		if err != nil || strings.Contains(stdout, "problem") {
			t.Errorf("weir check: %v\n%s%s", err, stdout, stderr)
		}
		contains(t, stdout, rights, "TLS 1.3, and the certificate of 127.0.0.1 holds until", "all 3 servers write each message to the disk", "the streams' room is reserved")
		if n := strings.Count(stdout, "warning"); yaml == w.weirs && n > 0 {
			t.Errorf("weir check: got %d warnings, want none:\n%s", n, stdout)
		}
	}
}

// TestAPublisherHasItsLaneAlone lets a publisher try what it must not do: it is told
// no, or nobody answers, and nothing changes. What it may do works.
func TestAPublisherHasItsLaneAlone(t *testing.T) {
	t.Parallel()
	c := newSecured(t, nil)
	b := c.weir(t)
	if _, err := ledger.Open(t.Context(), b.JetStream(), ledger.Config{Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	heard := make(chan error, 100)
	nc := c.as(t, "acme_crm", nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard <- err }))
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"weir.events.acme-sales", "weir.events.acme-sales.high"} {
		for _, duplicate := range []bool{false, true} {
			ack, err := js.Publish(t.Context(), subject, []byte("{}"), jetstream.WithMsgID(subject))
			if err != nil || ack.Stream != broker.StreamEvents || ack.Duplicate != duplicate {
				t.Errorf("%s: got %+v and %v, want it confirmed", subject, ack, err)
			}
		}
	}
	before := depths(t, b)
	const key = "acme-sales.0f9e2f8a-df49-5c24-83a2-b9fd8d1f44a7"
	for _, subject := range []string{
		"weir.events.globex-support", "weir.events.globex-support.high", "weir.due.acme-sales.x", "weir.ctl.acme-sales", "weir.hook.acme-sales",
		"weir.later.acme-sales.x", "weir.dead.acme-sales.x", "weir.doubt.acme-sales.x", "weir.outcomes.acme-sales.ended", "weir.undelivered.acme-sales.x",
		"$KV.WEIR_LEDGER." + key, "$KV.WEIR_LANES.gate.acme-sales", "$KV.WEIR_CONTACT.meta",
		"$JS.API.INFO", "$JS.API.STREAM.DELETE.WEIR_EVENTS", "$JS.API.STREAM.PURGE.KV_WEIR_LEDGER", "$JS.API.STREAM.CREATE.OWN",
		"$JS.API.STREAM.MSG.GET.WEIR_EVENTS", "$JS.API.CONSUMER.CREATE.WEIR_OUTCOMES.x", "$JS.ACK.WEIR_EVENTS.weir-acme-sales.1.1.1.1.1", "$SYS.REQ.SERVER.PING",
	} {
		refusesTo(t, heard, "publish to "+subject, func() error { return nc.Publish(subject, []byte("{}")) })
	}
	for _, subject := range []string{"_INBOX_operator.>", ">", "weir.>", "weir.outcomes.globex-support.*", "weir.ctl.acme-sales", "$JS.>", "$KV.>"} {
		refusesTo(t, heard, "subscribe to "+subject, func() error {
			_, err := nc.SubscribeSync(subject)
			return err
		})
	}
	// The broker's confirmation goes where the publisher says, and only in its account.
	for _, reply := range []string{"$KV.WEIR_LEDGER." + key, "weir.due.acme-sales.x", "weir.events.globex-support"} {
		if err := nc.PublishRequest("weir.events.acme-sales", reply, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "what was published with a strange reply", func() bool { return depths(t, b)["WEIR_EVENTS"] == before["WEIR_EVENTS"]+3 })
	if _, err := js.Publish(t.Context(), "weir.events.acme-sales", []byte("last")); err != nil {
		t.Fatal(err)
	}
	before["WEIR_EVENTS"] += 4
	if diff := cmp.Diff(before, depths(t, b)); diff != "" {
		t.Errorf("a publisher changed something (-before +after):\n%s", diff)
	}
	c.hearsOnly(t, b)
}

// hearsOnly looks who hears an outcome, and the answers to another user's questions.
func (c *secured) hearsOnly(t *testing.T, b *broker.Broker) {
	t.Helper()
	ears := make(map[string]*nats.Subscription)
	for user, subject := range map[string]string{"acme_crm": "weir.outcomes.acme-sales.*", "globex_crm": "weir.outcomes.globex-support.*"} {
		for _, s := range []string{subject, "_INBOX.>"} {
			nc := c.as(t, user)
			sub, err := nc.SubscribeSync(s)
			if err == nil {
				err = nc.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			ears[user+" "+s] = sub
		}
	}
	await(t, patience, "the outcome to be heard by its publisher", func() bool { // interest takes its time to be known on each server
		if _, err := b.JetStream().Publish(t.Context(), "weir.outcomes.acme-sales.ended", []byte("told")); err != nil {
			t.Fatal(err)
		}
		n, _, err := ears["acme_crm weir.outcomes.acme-sales.*"].Pending()
		return err == nil && n > 0
	})
	for who, sub := range ears {
		if n, _, err := sub.Pending(); err != nil || n > 0 && who != "acme_crm weir.outcomes.acme-sales.*" {
			t.Errorf("%s heard %d messages, want none (%v)", who, n, err)
		}
	}
}

// refusesTo does what must be answered with a violation.
func refusesTo(t *testing.T, heard <-chan error, what string, do func() error) {
	t.Helper()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-heard:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: got %v, want a violation", what, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s: it was not refused", what)
	}
}

// depths are the last sequences of Weir's streams.
func depths(t *testing.T, b *broker.Broker) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	for _, name := range []string{ledger.Stream, broker.StreamEvents, broker.StreamLater, broker.StreamDead, broker.StreamOutcomes, broker.StreamLanes, broker.StreamContact} {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = s.CachedInfo().State.LastSeq
	}
	return all
}
