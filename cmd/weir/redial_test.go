package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// The first calls of this provider are unanswered, unanswered, answered: a person is
// called until somebody answers, across a new start of weir. The commands show the
// calls, and what goes over the wire is as the document says.
func TestRedials(t *testing.T) {
	t.Parallel()
	p := newPlantOf(t, simulator.Config{Seed: 3}, "sales")
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 500ms}\n")
	p.edit(t, "    routes:", "    contact: {once: 24h, redial: {after: [10s], attempts: 4}, numbers: {invalid: send}}\n    routes:")
	leads := p.file(t, "leads.ndjson", lead("1", "+14155550101", ""))
	contains(t, p.weir(t, "explain", leads, "--lane", "sales"), "; a call that ends unanswered is made again after 10s, then 10s, then 10s, then 10s")
	stop := p.serve(t, "sales")
	url, token, err := broker.ReadEndpoint(p.store)
	if err != nil {
		t.Fatal(err)
	}
	tap := newWiretap(t, url, token.Reveal())
	p.weir(t, "publish", leads)
	await(t, patience, "the first call to end", func() bool { return p.state(t, "sales", "1").State == consumer.Ended })
	first := p.show(t, "--source", "/crm", "--id", "1")
	if len(first.Redials) != 1 || first.Redials[0].ID != "1.redial.1" || first.Redials[0].Intent != consumer.Key("sales", "/crm", "1.redial.1") {
		t.Errorf("after the first call: got redials %+v, want the one to come", first.Redials)
	}
	_, problems := tap.match(contract(t))
	for problem, m := range problems {
		t.Errorf("over the wire: %s\n\tthe message: %s", problem, m)
	}
	stop()
	stop = p.serve(t, "sales")
	defer func() { stop() }()
	last := schema.RedialID("1", 2)
	await(t, patience, "the last call to end", func() bool { return p.state(t, "sales", last).State == consumer.Ended })
	calls := p.sim.Conversations()
	if len(calls) != 3 || calls[1].Created.Sub(calls[0].Ends) < 9*time.Second || calls[2].Created.Sub(calls[1].Ends) < 9*time.Second {
		t.Errorf("calls: got %+v, want three with pauses of ten seconds", calls)
	}
	if got := p.state(t, "sales", last); got.Reason == "unanswered" || got.Next != "" || got.RedialOf != "1" || got.Redial != 2 {
		t.Errorf("the last call: got %+v", got)
	}
	shown := p.show(t, "--source", "/crm", "--id", last)
	if shown.RedialOf != "1" || shown.RedialNumber != 2 || len(shown.Redials) != 2 || shown.Redials[0].Result != "unanswered" || shown.Redials[1].State != consumer.Ended {
		t.Errorf("weir event show of the last: got %+v", shown)
	}
	contains(t, p.weir(t, "event", "show", "--source", "/crm", "--id", last), "redial", "number 2 of 1", "redial 1", "ended, unanswered, since ")
	printed, _ := p.refused(t, "1 of 1 events were not withdrawn", "event", "cancel", "--source", "/crm", "--id", "1", "--reason", "x")
	contains(t, printed, "too late: the conversation was created")

	// Another person is withdrawn between two calls.
	stop()
	p.edit(t, "after: [10s]", "after: [1h]")
	stop = p.serve(t, "sales")
	p.weir(t, "publish", p.file(t, "more.ndjson", slices.Collect(func(yield func(string) bool) {
		for i := range 6 {
			if !yield(lead(fmt.Sprint("m", i), fmt.Sprintf("+1415555020%d", i), "")) {
				return
			}
		}
	})...))
	var called string
	await(t, patience, "one more call that nobody answered", func() bool {
		for i := range 6 {
			if in := p.state(t, "sales", fmt.Sprint("m", i)); in.Next != "" {
				called = in.ID
			}
		}
		return called != ""
	})
	contains(t, p.weir(t, "event", "cancel", "--source", "/crm", "--id", called, "--reason", "signed"), "its call was placed; nobody is called again")
	if s := p.state(t, "sales", schema.RedialID(called, 1)).State; s != consumer.Cancelled {
		t.Errorf("the redial of %s: got %q, want cancelled", called, s)
	}
}

// Weir and its broker are killed again and again while people are called again: each
// call that nobody answered is made again, once.
func TestRedialsUnderKill9(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	k := newKilledWith(t, fmt.Sprintf("embedded: {dir: %q}\n", store), "",
		"    contact: {redial: {after: [10s]}, numbers: {invalid: send}}\n", simulator.Config{Limit: 5})
	const rounds = 3
	for i := range rounds {
		cmd := child(t, k.env, "serve", "-c", k.yaml)
		b := k.connect(t, store)
		k.awaitStreams(t, b)
		if i < rounds-1 {
			k.publish(t, b, 10)
			elapse(t, 4*time.Second)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = b.Close(context.Background())
			continue
		}
		var ends map[string]*consumer.Redial
		await(t, 2*patience, "every event and redial to come to its end", func() bool {
			states := k.states(t, b)
			ends = redialsTold(t, b)
			for _, key := range k.keys { // one that was with a process that was killed comes again after a while
				if _, there := states[key]; !there {
					return false
				}
			}
			for _, in := range states {
				if next := states[consumer.Key("acme", "/crm", in.Next)]; !in.Settled() || in.Next != "" && !next.Settled() {
					return false
				}
			}
			return true
		})
		states, calls := k.states(t, b), make(map[string]int)
		for _, c := range k.sim.Conversations() {
			calls[c.Intent]++
		}
		again := 0
		for key, in := range states {
			if calls[key] > 1 {
				t.Errorf("%s has %d conversations", in.ID, calls[key])
			}
			if in.State != consumer.Ended || in.Reason != "unanswered" || in.Redial > 0 {
				continue
			}
			again++
			next := states[consumer.Key("acme", "/crm", in.Next)]
			if in.Next != schema.RedialID(in.ID, 1) || next.RedialOf != in.ID || ends[key] == nil || ends[key].ID != in.Next {
				t.Errorf("%s was not answered: got %q as the next call, which is %+v; told %+v", in.ID, in.Next, next, ends[key])
			}
		}
		if again == 0 || len(states) != len(k.keys)+again {
			t.Errorf("got %d entries for %d events, of which %d were not answered", len(states), len(k.keys), again)
		}
		_ = b.Close(context.Background())
	}
}

// redialsTold are what the outcomes of ends say of the next call, by intent.
func redialsTold(t *testing.T, b *broker.Broker) map[string]*consumer.Redial {
	t.Helper()
	all := make(map[string]*consumer.Redial)
	for next := uint64(1); ; {
		o, err := b.NextOutcome(t.Context(), "acme", next)
		if err != nil {
			t.Fatal(err)
		}
		if o == nil {
			return all
		}
		next = o.Sequence + 1
		var ev struct{ Data consumer.OutcomeData }
		if err := json.Unmarshal(o.Body, &ev); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Kind, "ended") {
			all[ev.Data.Intent] = ev.Data.Redial
		}
	}
}
