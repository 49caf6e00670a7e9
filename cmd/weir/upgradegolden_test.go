//go:build upgrade && linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

// goldenFile in the environment is where TestUpgradeGolden writes what the version
// before stores: testdata/formats.json, which TestFormats reads.
const goldenFile = "WEIR_GOLDEN"

// tapped keeps the first message of each kind that goes over the wire.
type tapped struct {
	mu  sync.Mutex
	all map[string]specimen
}

func (p *tapped) take(m *nats.Msg) {
	kind := specimenKind(m.Subject, m.Data)
	if kind == "" || len(m.Data) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.all[kind]
	text := string(m.Data)
	newest := kind == "mark" || kind == "lease" && strings.Contains(text, `"duties":["`) || kind == "duty" && strings.Contains(text, `"ready":true`) // they say most
	if !ok || newest {
		p.all[kind] = specimen{Kind: kind, Subject: m.Subject, Header: stable(m.Header), Data: string(m.Data)}
	}
}

// stable is a header without what belongs to one publish alone.
func stable(h nats.Header) map[string][]string {
	kept := make(map[string][]string)
	for name, values := range h {
		if !strings.HasPrefix(name, "Nats-") || strings.HasPrefix(name, "Nats-Schedule") {
			kept[name] = values
		}
	}
	return kept
}

func (p *tapped) has(kinds ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(kinds, func(kind string) bool { _, ok := p.all[kind]; return !ok })
}

// TestUpgradeGolden has the version before store a record in each of its formats, and
// writes them down.
func TestUpgradeGolden(t *testing.T) {
	path := os.Getenv(goldenFile)
	if path == "" {
		t.Skip(goldenFile + " is not set")
	}
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown() })
	u := newUpgrading(t, simulator.Faults{Accepted500: .2}, 5)
	u.env = append(u.env, "BROKER_TOKEN="+e.Token().Reveal(), "OUT=whsec_"+strings.Repeat("A", 43)+"=")
	u.configure(before, fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 5s}\n", e.URL()),
		"    contact: {once: 24h}\n    outcomes: {url: \"http://127.0.0.1:9/x\", secret: {env: OUT}, give_up: 1m}\n")
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	u.connect(b)
	tap := &tapped{all: make(map[string]specimen)}
	for _, subject := range []string{"$KV.>", "weir.>"} {
		if _, err := b.JetStream().Conn().Subscribe(subject, tap.take); err != nil {
			t.Fatal(err)
		}
	}
	u.start(0, before)
	u.whole()
	u.must(before, "contact", "block", "+14155550100", "--reason", "asked")
	u.must(before, "lane", "pause", "acme", "--reason", "a look")
	u.must(before, "lane", "resume", "acme")
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	gone := u.lead("acme", fmt.Sprintf(`,"notbefore":%q`, at), "+14155550102", "")
	u.reaches(gone, consumer.Waiting)
	u.must(before, "event", "cancel", "--lane", "acme", "--source", "/crm", "--id", gone.id, "--reason", "a change of mind")
	u.lead("acme", "", "+14155550100", "")
	u.lead("acme", fmt.Sprintf(`,"expirytime":%q`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)), "+14155550103", "")
	dead := u.lead("acme", "", "nobody", "")
	u.reaches(dead, consumer.Dead)
	for i := range 40 {
		u.lead("acme", "", fmt.Sprintf("+1415555%04d", 1000+i), "")
	}
	await(t, patience, "a record in each state", func() bool {
		return tap.has("entry waiting", "entry started", "entry created", "entry ended", "entry doubt", "entry dead", "entry cancelled", "entry expired", "entry suppressed",
			"letter dead", "letter doubt", "schedule", "undelivered", "place", "block", "contacts", "register", "lease", "duty", "mark", "pause",
			"outcome created", "outcome ended", "outcome doubt", "outcome rejected", "outcome cancelled", "outcome expired", "outcome suppressed")
	})
	u.stop(0)
	u.must(before, "dead", "replay", dead.key(), "--lane", "acme", "--yes", "--reason", "the number is right")
	if err := b.Release(t.Context(), "acme", time.Now(), "ana", "checked"); err != nil { // no command does it of a lane that is not held
		t.Fatal(err)
	}
	await(t, patience, "the order and the gate", func() bool { return tap.has("order", "gate") })
	records := endpointRecord(u)
	for _, r := range tap.all {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b specimen) int { return strings.Compare(a.Kind, b.Kind) })
	text, err := json.MarshalIndent(records, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// endpointRecord is endpoint.json as the version before writes it.
func endpointRecord(u *upgrading) []specimen {
	store := filepath.Join(u.dir, "embedded")
	u.configure(before, fmt.Sprintf("embedded: {dir: %q}\n", store), "")
	u.start(1, before)
	var text []byte
	await(u.t, patience, "endpoint.json", func() (ok bool) {
		var err error
		text, err = os.ReadFile(filepath.Join(store, "endpoint.json"))
		return err == nil
	})
	u.connect((&killed{}).connect(u.t, store))
	u.whole()
	u.stop(1)
	_, token, err := broker.ReadEndpoint(store)
	if err != nil {
		u.t.Fatal(err)
	}
	return []specimen{{Kind: "endpoint.json", Data: strings.ReplaceAll(string(text), token.Reveal(), "a-token")}}
}
