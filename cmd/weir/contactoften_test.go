package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// A person is contacted once, whatever lane of the purpose an event is for, unless
// it asks for a redial; and who is blocked is not, redial or not.
func TestOnceForAPurpose(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support", "other")
	const rules = "    contact: {purpose: leads, once: 24h, numbers: {invalid: send}}\n    routes:"
	for _, lane := range []string{"sales", "support"} {
		p.edit(t, "  - name: "+lane+"\n    account: acme\n    routes:", "  - name: "+lane+"\n    account: acme\n"+rules)
	}
	stop := p.serve(t, "sales", "support", "other")
	publish := func(lane, id, more string) {
		p.weir(t, "publish", p.file(t, id+".ndjson", lead(id, "+14155550101", more)), "--lane", lane)
	}
	becomes := func(lane, id string, want consumer.State) {
		t.Helper()
		await(t, patience, "event "+id+" to be "+string(want), func() bool { return p.state(t, lane, id).State == want })
	}
	publish("sales", "1", "")
	becomes("sales", "1", consumer.Ended)
	publish("sales", "2", "")
	becomes("sales", "2", consumer.Suppressed)
	publish("support", "3", "")
	becomes("support", "3", consumer.Suppressed)
	contains(t, p.state(t, "support", "3").Reason, "This person was contacted ", " ago (lane sales, intent "+consumer.Key("sales", "/crm", "1")[:8]+"); once in 24 h.")
	publish("other", "4", "")
	becomes("other", "4", consumer.Ended)
	stop()
	stop = p.serve(t, "sales", "support", "other")
	defer stop()
	publish("sales", "5", "")
	becomes("sales", "5", consumer.Suppressed)
	publish("support", "6", `"redial":true,`)
	becomes("support", "6", consumer.Ended)
	p.weir(t, "contact", "block", "+14155550101", "--reason", "asked")
	publish("support", "7", `"redial":"6",`)
	becomes("support", "7", consumer.Suppressed)
	contains(t, p.state(t, "support", "7").Reason, "must not be contacted at all")
	if n := len(p.sim.Conversations()); n != 3 {
		t.Errorf("conversations: got %d, want 3", n)
	}
}

// Who did not agree is not contacted.
func TestConsent(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.edit(t, "    account: acme\n    routes:", "    account: acme\n    contact: {consent: data.consent, numbers: {invalid: send}}\n    routes:")
	stop := p.serve(t, "sales")
	defer stop()
	event := func(id, consent string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%q,"phone":"+141555501%s"%s}}`, id, id, id, consent)
	}
	p.weir(t, "publish", p.file(t, "leads.ndjson", event("01", `,"consent":true`), event("02", `,"consent":false`), event("03", ""), event("04", `,"consent":"yes"`)))
	for id, want := range map[string]consumer.State{"01": consumer.Ended, "02": consumer.Suppressed, "03": consumer.Suppressed, "04": consumer.Suppressed} {
		await(t, patience, "event "+id+" to be "+string(want), func() bool { return p.state(t, "sales", id).State == want })
	}
	contains(t, p.state(t, "sales", "03").Reason, "does not say that this person agreed")
}

// A crowd of events for one person, while weir and its broker are killed again and
// again: the person is contacted as often as the cap allows. An event of which
// nobody knows whether it was sent counts as one that was (H21).
func TestH21Kill9WithACrowdForOnePerson(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	const most = 3
	k := newKilledWith(t, fmt.Sprintf("embedded: {dir: %q}\n", store), "",
		fmt.Sprintf("    contact: {caps: [{count: %d, per: 720h}], numbers: {invalid: send}}\n", most),
		simulator.Config{Limit: 5, Faults: simulator.Faults{Shuffle: .3}})
	const rounds = 3
	for i := range rounds + 1 {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		b := k.connect(t, store)
		k.awaitStreams(t, b)
		if i < rounds {
			k.crowd(t, b, 100)
			elapse(t, 3*time.Second)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = b.Close(context.Background())
			continue
		}
		await(t, 2*patience, "every event to come to its end", func() bool {
			states := k.states(t, b)
			for _, key := range k.keys {
				if in := states[key]; !in.Settled() {
					return false
				}
			}
			return true
		})
		counted := 0
		for _, in := range k.states(t, b) {
			if reach, _ := in.Reach(); reach != consumer.ReachNone {
				counted++
			}
		}
		if n := len(k.sim.Conversations()); counted != most || n > most { // fewer: some are in doubt
			t.Errorf("the person was contacted %d times, and %d events count; want %d", n, counted, most)
		}
		return
	}
}

// crowd publishes n leads of one person.
func (k *killed) crowd(t *testing.T, b *broker.Broker, n int) {
	t.Helper()
	for range n {
		id := fmt.Sprint("lead-", len(k.keys))
		k.keys = append(k.keys, consumer.Key("acme", "/crm", id))
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%q,"phone":"+14155550101"}}`, id, id)
		if _, err := b.PublishEvent(t.Context(), "acme", map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(body), id); err != nil {
			t.Fatal(err)
		}
	}
}

// What each request pays for the list.
func BenchmarkAdmit(b *testing.B) {
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Shutdown() }()
	bc := broker.Config{URL: e.URL(), Token: e.Token()}
	room, reserved := e.Room()
	bc.Room = room
	c, err := broker.Connect(b.Context(), zerolog.Nop(), bc)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	lg, err := ledger.Open(b.Context(), c.JetStream(), ledger.Config{MaxBytes: reserved})
	if err == nil {
		err = c.Provision(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	reg, err := register.Open(b.Context(), c, register.Config{Ledger: lg, Lanes: map[string]register.Limits{"counts": {Purpose: "p", Once: time.Hour}}})
	if err != nil {
		b.Fatal(err)
	}
	for _, lane := range []string{"plain", "counts"} {
		b.Run(lane, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				rulings, err := reg.Admit(b.Context(), []consumer.Approach{{
					Lane: lane, Intent: consumer.Key(lane, "/crm", fmt.Sprint(n)), To: consumer.Recipient{Number: fmt.Sprintf("+1415%07d", n)},
				}})
				if err != nil || rulings[0].Verdict != consumer.ContactNow {
					b.Fatal(rulings, err)
				}
			}
		})
	}
}
