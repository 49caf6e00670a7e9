package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// TestDryRun rehearses with real commands and a real broker, then sends: what was
// suppressed stays so, and only a new id is called.
func TestDryRun(t *testing.T) {
	t.Parallel()
	key := func(id string) string { return consumer.Key("sales", "/crm", id) }
	p := newPlant(t, "sales")
	p.edit(t, "  - name: sales\n", "  - name: sales\n    send: false\n")
	stop := p.serve(t, "sales")
	contains(t, p.weir(t, "check"), "warning  lane sales     dry run: events are taken and nothing is sent; take send: false out of the file to place calls\n")
	await(t, patience, "weir lanes to show the dry run", func() bool {
		shown := p.weir(t, "lanes")
		return strings.Contains(shown, "running (dry run)") && strings.Contains(shown, "dry run: nothing is sent (send: false)")
	})
	leads := p.file(t, "a.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "", ""))
	p.weir(t, "publish", leads)
	b := p.desk(t)
	await(t, patience, "three outcomes", func() bool { return len(whatWasTold(t, b)) == 3 })
	p.weir(t, "publish", leads) // a duplicate, or known to the ledger
	stop()
	if n := p.sim.Report().Requests["create"]; n != 0 {
		t.Errorf("create requests in the dry run: got %d, want 0", n)
	}

	p.edit(t, "    send: false\n", "")
	defer p.serve(t, "sales")()
	p.weir(t, "publish", p.file(t, "b.ndjson", lead("1", "+14155550101", ""), lead("4", "+14155550104", "")))
	b = p.desk(t)
	await(t, patience, "the new lead to be called", func() bool { return len(whatWasTold(t, b)[key("4")]) > 0 })
	told := whatWasTold(t, b)
	for id, kind := range map[string]string{"1": "suppressed", "2": "suppressed", "3": "rejected"} {
		data, ok := told[key(id)][kind]
		if len(told[key(id)]) != 1 || !ok || data.DryRun != (kind == "suppressed") {
			t.Errorf("lead %s: got outcomes %v, want one %s", id, told[key(id)], kind)
		}
	}
	if diff := cmp.Diff("dry_run", told[key("1")]["suppressed"].Class); diff != "" {
		t.Errorf("class (-want +got):\n%s", diff)
	}
	if n := len(p.sim.Conversations()); n != 1 {
		t.Errorf("conversations: got %d, want that of the new id alone", n)
	}
}

// desk is a look at the broker of the plant's running weir serve.
func (p *plant) desk(t *testing.T) *broker.Broker {
	t.Helper()
	url, token, err := broker.ReadEndpoint(p.store)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(t.Context()) })
	return b
}

// whatWasTold returns the outcomes so far, by intent and kind.
func whatWasTold(t *testing.T, b *broker.Broker) map[string]map[string]consumer.OutcomeData {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), broker.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string]consumer.OutcomeData)
	for next := uint64(1); ; {
		m, err := s.GetMsg(t.Context(), next, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		next = m.Sequence + 1
		var data consumer.OutcomeData
		if err := json.Unmarshal(outcomeData(m), &data); err != nil {
			t.Fatal(err)
		}
		kind := m.Subject[strings.LastIndex(m.Subject, ".")+1:]
		if all[data.Intent] == nil {
			all[data.Intent] = make(map[string]consumer.OutcomeData)
		}
		all[data.Intent][kind] = data
	}
}
