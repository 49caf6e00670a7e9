package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// poison are messages that cost whoever reads them carelessly, each with what its
// dead letter says. A broker that takes 4 MiB stores them all.
func poison() map[string]struct{ body, header, class, says string } {
	event := func(more, data string) string {
		return `{"specversion":"1.0","id":"p","source":"/crm","type":"lead.created",` + more + `"data":` + data + `}`
	}
	var attributes strings.Builder
	for i := range 90_000 {
		fmt.Fprintf(&attributes, `"a%d":"x",`, i)
	}
	wide := strings.Repeat(`"x",`, 1<<20)
	return map[string]struct{ body, header, class, says string }{
		"3 MB":              {event("", `{"note":"`+strings.Repeat("x", 3_000_000)+`"}`), "", "too_large", "at most"},
		"3 MB of nothing":   {strings.Repeat("\x00", 3_000_000), "", "too_large", "at most"},
		"deep":              {event("", strings.Repeat(`[`, 500_000)+strings.Repeat(`]`, 500_000)), "", "undecodable", "inside each other"},
		"deep objects":      {event("", strings.Repeat(`{"a":`, 150_000)+"1"+strings.Repeat(`}`, 150_000)), "", "undecodable", "inside each other"},
		"without end":       {event("", strings.Repeat(`[`, 1_000_000)), "", "undecodable", ""},
		"90,000 attributes": {event(attributes.String(), `{"id":1,"phone":"+14155550100"}`), "", "too_large", "attributes"},
		"a long list":       {event("", `{"id":1,"tags":[`+wide[:1_000_000-1]+`]}`), "", "request", "phone"},
		"one long name":     {event(`"`+strings.Repeat("a", 1_000_000)+`":"x",`, `{"id":1}`), "", "undecodable", ""},
		"a number":          {event("", `{"id":`+strings.Repeat("9", 1_000_000)+`}`), "", "undecodable", "digits"},
		"a batch":           {"[" + event("", `{"id":1}`) + "]", "application/cloudevents-batch+json", "undecodable", "batch of events"},
	}
}

// TestFault41Poison feeds a running weir with messages that would cost a careless
// reader all its memory: they are dead letters with a reason, a
// good lead behind them is called, and the process stays small.
func TestFault41Poison(t *testing.T) {
	t.Parallel()
	k, b := plainBroker(t, server.Options{JetStreamMaxStore: 8 << 30, MaxPayload: 4 << 20})
	y, err := os.ReadFile(k.yaml)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.yaml, []byte(strings.Replace(string(y), "    limit: 5\n", "    limit: 5\n    batch: 20\n    max_event: 1200KiB\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	const copies = 1
	all := poison()
	for name, p := range all {
		header := nats.Header{"Content-Type": {"application/cloudevents+json"}}
		if p.header != "" {
			header.Set("Content-Type", p.header)
		}
		for range copies {
			// The id of an event that can be read is its own.
			body := strings.Replace(p.body, `"id":"p"`, fmt.Sprintf(`"id":%q`, name+strconv.Itoa(len(k.keys))), 1)
			if _, err := b.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: "weir.events.acme", Header: header, Data: []byte(body)}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	k.publish(t, b, 4)
	cmd := child(t, k.env, "serve", "-c", k.yaml)
	await(t, 3*patience, "everything to be done", func() bool { // a minute of work for a machine that does nothing else
		pending, unacked, err := b.Backlog(t.Context(), "acme")
		return err == nil && pending+unacked == 0
	})
	t.Logf("most memory that weir had: %d MiB", peak(t, cmd.Process.Pid)>>20)
	if most := peak(t, cmd.Process.Pid); most > detector*150<<20 {
		t.Errorf("memory: got %d MiB, want %d at most", most>>20, detector*150)
	}
	k.settle(t, b)
	k.check(t, b, nil)
	got := make(map[string]int)
	for letter, err := range b.Letters(t.Context(), consumer.Dead, "acme") {
		if err != nil {
			t.Fatal(err)
		}
		if len(letter.Reason) > 1000 {
			t.Errorf("a reason of %d bytes", len(letter.Reason))
		}
		for name, p := range all {
			if letter.Class == p.class && strings.Contains(letter.Reason, p.says) {
				got[name]++
			}
		}
	}
	for name := range all {
		if got[name] == 0 {
			t.Errorf("%s: no dead letter of class %s that says %q", name, all[name].class, all[name].says)
		}
	}
}

// peak returns the most memory that a process has had, in bytes.
func peak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// TestFault41TheBrokerRefusesTheLargest publishes an event that the broker does not
// take: the publisher hears why, and the others go on.
func TestFault41TheBrokerRefusesTheLargest(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	file := p.file(t, "large.ndjson",
		lead("1", "+14155550101", ""),
		lead("2", "+14155550102", `"note":"`+strings.Repeat("x", 10)+`",`),
		strings.Replace(lead("3", "+14155550103", ""), `"phone"`, `"note":"`+strings.Repeat("x", 2<<20)+`","phone"`, 1),
		lead("4", "+14155550104", ""))
	printed, code := p.refused(t, "", "publish", "--lane", "sales", file)
	contains(t, printed, "2097", "max_payload")
	if code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	if n := len(contents(t, s, broker.StreamEvents)); n != 3 {
		t.Errorf("events stored: got %d, want the other 3", n)
	}
}
