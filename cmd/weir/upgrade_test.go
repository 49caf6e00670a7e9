//go:build upgrade && linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
)

// upgradeFaults are how often a provider goes wrong: half of it hides a conversation.
var upgradeFaults = simulator.Faults{
	Refuse503: .005, HTML502: .005, ResetEarly: .005, Accepted500: .005, Cut: .005, Reset: .005, Shuffle: .3,
}

// TestUpgradeReplicas takes three replicas from the version before to this one, back,
// and forward again, one at a time, while leads arrive and people act on them through
// the commands of either version. One replica in each turn is killed. docs/upgrade.md.
func TestUpgradeReplicas(t *testing.T) {
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	u := newUpgrading(t, upgradeFaults, 7)
	u.env = append(u.env, "BROKER_TOKEN="+e.Token().Reveal())
	at := fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}, ack_wait: 5s}\n", e.URL())
	u.configure(before, at, "")
	u.yaml[present] = u.yaml[before]
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	u.connect(b)
	for place := range 3 {
		u.start(place, before)
	}
	u.whole()
	stop := u.feed(350 * time.Millisecond)
	u.later(6, 5*time.Minute+20*time.Second)
	for turn, to := range []edition{present, before, present} {
		u.people(before)
		u.people(present)
		for place := range 3 {
			u.swap(place, to, place == turn)
			u.later(2, 5*time.Minute+10*time.Second)
			_ = sleep(t.Context(), 8*time.Second)
			if all, err := u.intents(); err == nil {
				t.Logf("the ledger has %v", states(all))
			}
		}
	}
	u.people(present)
	stop()
	u.settle()
	u.check()
}

// later publishes events that wait for longer than a lane keeps them at hand: they are
// schedules.
func (u *upgrading) later(n int, wait time.Duration) {
	u.t.Helper()
	at := time.Now().Add(wait).UTC().Format(time.RFC3339)
	for i := range n {
		u.lead([]string{"acme", "calls"}[i%2], fmt.Sprintf(`,"notbefore":%q`, at), "", "")
	}
}

// people has a person withdraw an event, send a corrected dead letter again, and stop
// and start a lane, by the commands of a version, whichever version owns the lanes.
func (u *upgrading) people(v edition) {
	u.t.Helper()
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, lane := range []string{"acme", "calls"} {
		gone := u.lead(lane, fmt.Sprintf(`,"notbefore":%q`, at), "", "cancelled")
		dead := u.lead(lane, "", "nobody", "replayed")
		u.reaches(gone, consumer.Waiting)
		u.reaches(dead, consumer.Dead)
		u.must(v, "event", "cancel", "--lane", lane, "--source", "/crm", "--id", gone.id, "--reason", "a change of mind")
		file := filepath.Join(u.dir, dead.id+".json")
		if err := os.WriteFile(file, []byte(leadBody(dead.id, "", fmt.Sprintf("+1416%07d", u.count()), 1)), 0o600); err != nil {
			u.t.Fatal(err)
		}
		u.must(v, "dead", "replay", dead.key(), "--lane", lane, "--with", file, "--yes", "--reason", "the number was wrong")
	}
	u.must(v, "lane", "pause", "acme", "--reason", "a look")
	var rows []struct{ Lane, State string }
	out := u.must(v, "lanes", "--output", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil && !strings.Contains(out, `"paused"`) {
		u.t.Errorf("%s weir lanes: got %s (%v), want acme paused", v, out, err)
	}
	u.must(v, "lane", "resume", "acme")
	u.must(v, "doubt", "list")
}

// reaches waits until an event is in a state.
func (u *upgrading) reaches(l sentLead, s consumer.State) {
	u.t.Helper()
	await(u.t, patience, l.id+" to be "+string(s), func() bool {
		all, err := u.intents()
		return err == nil && all[l.key()].State == s
	})
}

// TestUpgradeEmbedded swaps the binary over an embedded broker's store: stopped, killed,
// and back.
func TestUpgradeEmbedded(t *testing.T) {
	u := newUpgrading(t, upgradeFaults, 11)
	store := filepath.Join(u.dir, "store")
	u.configure(before, fmt.Sprintf("embedded: {dir: %q}\n", store), "")
	u.yaml[present] = u.yaml[before]
	reach := &killed{}
	for i, to := range []edition{before, present, present, before, before, present} {
		heal := u.hist.Disturb("swap", string(to))
		switch {
		case i == 0:
		case i%2 == 0:
			u.replicas[0].Kill()
		default:
			u.stop(0)
		}
		u.start(0, to)
		u.connect(reach.connect(t, store))
		u.whole()
		heal()
		u.later(2, 5*time.Minute+10*time.Second)
		u.people(to)
		stop := u.feed(300 * time.Millisecond)
		_ = sleep(t.Context(), 10*time.Second)
		stop()
		t.Logf("%s the %s version has run; %d events so far", time.Now().Format(time.TimeOnly), to, u.count())
	}
	u.settle()
	u.check()
}

// TestUpgradeRedials has this version make calls again, of which the version before
// knows nothing, and goes back to that one, and forward: whoever is called again is
// called once by either, and the chain goes on where it stood.
func TestUpgradeRedials(t *testing.T) {
	u := newUpgrading(t, simulator.Faults{}, 3)
	store := filepath.Join(u.dir, "store")
	at := fmt.Sprintf("embedded: {dir: %q}\n", store)
	u.configure(before, at, "")
	u.configure(present, at, "    contact: {redial: {after: [10s], attempts: 3}, numbers: {invalid: send}}\n")
	reach := &killed{}
	for i, to := range []edition{before, present, before, present} {
		if i > 0 {
			u.stop(0)
		}
		u.start(0, to)
		u.connect(reach.connect(t, store))
		u.whole()
		for range 40 {
			u.lead("acme", "", "", "")
		}
		_ = sleep(t.Context(), 25*time.Second)
	}
	u.settle()
	all := u.check()
	redials, chains := 0, map[string]int{}
	for _, in := range all {
		if in.Next == in.ID && in.ID != "" {
			t.Errorf("%s names itself as the next call", in.ID)
		}
		if first, _, ok := strings.Cut(in.ID, ".redial."); ok {
			redials++
			chains[first]++
		}
	}
	for first, n := range chains {
		if n > 3 {
			t.Errorf("%s was called again %d times, want 3 at most", first, n)
		}
	}
	if redials == 0 {
		t.Error("nobody was called again: that is no proof")
	}
	t.Logf("%d redials of %d people", redials, len(chains))
}
