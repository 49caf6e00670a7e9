//go:build upgrade && linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// intents reads the ledger.
func (u *upgrading) intents() (map[string]consumer.Intent, error) {
	lg, err := ledger.Open(u.t.Context(), u.broker().JetStream(), ledger.Config{})
	if err != nil {
		return nil, err
	}
	all := make(map[string]consumer.Intent)
	for _, lane := range []string{"acme", "calls"} {
		for entry, err := range lg.Scan(u.t.Context(), lane, time.Time{}) {
			if err != nil {
				return nil, err
			}
			all[entry.Intent.Key] = entry.Intent
		}
	}
	return all, nil
}

// settle waits until nothing is left to do.
func (u *upgrading) settle() {
	u.t.Helper()
	left := ""
	for end := time.Now().Add(15 * time.Minute); time.Now().Before(end); _ = sleep(u.t.Context(), time.Second) {
		if left = u.left(); left == "" {
			return
		}
	}
	u.t.Errorf("not every event came to its end within 15 minutes: %s", left)
}

func (u *upgrading) left() string {
	for _, lane := range []string{"acme", "calls"} {
		pending, unacked, err := u.broker().Backlog(u.t.Context(), lane)
		if err != nil || pending+unacked > 0 {
			return fmt.Sprintf("lane %s: %d messages were never delivered, %d are not acknowledged (%v)", lane, pending, unacked, err)
		}
	}
	all, err := u.intents()
	if err != nil {
		return err.Error()
	}
	for _, l := range u.leads(all) {
		if in := all[l.key()]; !in.Settled() {
			return fmt.Sprintf("%s of %s is %s: %s", l.id, l.lane, in.State, in.Reason)
		}
	}
	return ""
}

// leads are the events that were published, by us and as redials.
func (u *upgrading) leads(all map[string]consumer.Intent) []sentLead {
	u.mu.Lock()
	leads := slices.Clone(u.sent)
	u.mu.Unlock()
	for _, in := range all {
		if strings.Contains(in.ID, ".redial.") {
			leads = append(leads, sentLead{lane: in.Lane, id: in.ID, apart: "redial"})
		}
		if in.Next != "" { // it must have been put into the stream
			leads = append(leads, sentLead{lane: in.Lane, id: in.Next, apart: "redial"})
		}
	}
	slices.SortFunc(leads, func(a, b sentLead) int { return strings.Compare(a.lane+a.id, b.lane+b.id) })
	return slices.CompactFunc(leads, func(a, b sentLead) bool { return a.lane == b.lane && a.id == b.id })
}

// proof reads the providers' log.
func (u *upgrading) proof() (lines []chaos.Line) {
	u.t.Helper()
	f, err := os.Open(u.proofFile())
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for text := bufio.NewScanner(f); text.Scan(); {
		var line chaos.Line
		if err := json.Unmarshal(text.Bytes(), &line); err != nil {
			u.t.Fatalf("the providers' log: %v in %s", err, text.Text())
		}
		lines = append(lines, line)
	}
	return lines
}

// check holds the providers' log, the ledger and the streams against what the broker
// has confirmed, and returns the ledger.
func (u *upgrading) check() map[string]consumer.Intent {
	u.t.Helper()
	f := chaos.Facts{Made: make(map[string]int), Proof: u.proof(), Spans: u.hist.Spans(), Limits: []chaos.Limit{
		{Provider: simulator.ProviderOration, Channel: "telephony", Most: upgradeOration},
		{Provider: simulator.ProviderAnyreach, Channel: "telephone", Most: upgradeCalls},
	}}
	var err error
	if f.Intents, err = u.intents(); err != nil {
		u.t.Fatal(err)
	}
	for _, line := range f.Proof {
		if line.Event == "made" {
			f.Made[line.Intent]++
		}
	}
	events, err := u.broker().JetStream().Stream(u.t.Context(), broker.StreamEvents)
	if err != nil {
		u.t.Fatal(err)
	}
	apart := make(map[string]string)
	acts := make(map[string]int)
	for _, l := range u.leads(f.Intents) {
		stored := l.apart == "redial" // by weir
		if !stored {
			m, err := events.GetMsg(u.t.Context(), l.seq)
			stored = err == nil && strings.Contains(string(m.Data), `"`+l.id+`"`)
		}
		if l.apart != "" {
			apart[l.key()] = l.apart
			acts[l.apart]++
		}
		if l.apart == "cancelled" {
			if in := f.Intents[l.key()]; in.State != consumer.Cancelled || f.Made[l.key()] > 0 || !stored {
				u.t.Errorf("%s was withdrawn: got it %s, %d calls, stored %v", l.id, in.State, f.Made[l.key()], stored)
			}
			continue
		}
		f.Events = append(f.Events, chaos.Event{Lane: l.lane, ID: l.id, Key: l.key(), Stored: stored, TakesID: l.lane != "acme"})
	}
	f.Outcomes = u.outcomes(apart)
	v := chaos.Check(f)
	for _, finding := range v.Findings {
		u.t.Errorf("%s: %s", finding.Kind, finding.Text)
	}
	for _, ed := range []edition{before, present} {
		lines, _, err := chaos.Crashes(u.logFile(ed), 0)
		if err != nil || len(lines) > 0 {
			u.t.Errorf("the log of the %s version: %v %s", ed, err, strings.Join(lines, "\n"))
		}
	}
	u.t.Logf("%d events: %d ended, %d dead, %d in doubt %v; %d conversations; %v; %d findings",
		v.Events, v.Ended, v.Dead, v.Doubts, causes(v.Causes), len(f.Made), acts, len(v.Findings))
	return f.Intents
}

func causes(all []chaos.Cause) map[string]int {
	n := make(map[string]int)
	for _, c := range all {
		n[c.Kind]++
	}
	return n
}

// outcomes reads what was published, without what a person's act explains.
func (u *upgrading) outcomes(apart map[string]string) (all []chaos.Outcome) {
	u.t.Helper()
	s, err := u.broker().JetStream().Stream(u.t.Context(), broker.StreamOutcomes)
	if err != nil {
		u.t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(u.t.Context(), seq)
		if err != nil {
			u.t.Fatalf("outcome %d: %v", seq, err)
		}
		var data consumer.OutcomeData
		if err := json.Unmarshal(outcomeData(m), &data); err != nil {
			u.t.Fatalf("outcome %d: %v", seq, err)
		}
		kind := m.Subject[strings.LastIndex(m.Subject, ".")+1:]
		if apart[data.Intent] == "cancelled" || apart[data.Intent] == "replayed" && kind == "rejected" {
			continue
		}
		all = append(all, chaos.Outcome{Intent: data.Intent, Kind: kind, Conversation: data.Conversation})
	}
	return all
}

// states counts the entries of the ledger by state.
func states(all map[string]consumer.Intent) map[consumer.State]int {
	n := make(map[consumer.State]int)
	for in := range maps.Values(all) {
		n[in.State]++
	}
	return n
}
