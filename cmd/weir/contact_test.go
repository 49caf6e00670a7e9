package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// zoneAt is a time zone in which it is this hour now: whenever the test runs, it
// stays on the same side of eight and twenty o'clock for six hours.
func zoneAt(hour int) string {
	ahead := (hour - time.Now().UTC().Hour() + 24) % 24
	if ahead > 12 {
		ahead -= 24
	}
	return fmt.Sprintf("Etc/GMT%+d", -ahead) // whose sign is the other way round
}

// leadIn is a lead in a time zone.
func leadIn(id, phone, zone string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%q,"phone":%q,"time_zone":%q}}`, id, id, phone, zone)
}

// TestContactRules runs the whole of weir with calling hours: who is awake is
// called, in international form; who is asleep waits with the broker, across a
// restart; who must never be called is not.
func TestContactRules(t *testing.T) {
	t.Parallel()
	key := func(id string) string { return consumer.Key("sales", "/crm", id) }
	p := newPlant(t, "sales")
	p.edit(t, "  - name: sales\n", `  - name: sales
    contact:
      region: US
      windows: [{channels: [telephony], hours: "08:00-20:00"}]
      numbers: {deny: [DE]}
`)
	stop := p.serve(t, "sales")
	night := zoneAt(1) // asked for again, it may be the next one
	leads := p.file(t, "a.ndjson",
		leadIn("awake", "(415) 555-0101", zoneAt(13)), leadIn("asleep", "+14155550102", night),
		leadIn("premium", "+19005550100", zoneAt(13)), leadIn("denied", "+4930123456", zoneAt(13)),
		leadIn("broken", "415", zoneAt(13)), leadIn("nowhere", "+14155550103", "Mars/Olympus"))
	p.weir(t, "publish", leads)
	b := p.desk(t)
	want := map[string]string{"awake": "created", "premium": "suppressed", "denied": "suppressed", "broken": "rejected", "nowhere": "rejected"}
	await(t, patience, "all outcomes but that of who is asleep", func() bool {
		told := whatWasTold(t, b)
		for id, kind := range want {
			if _, ok := told[key(id)][kind]; !ok {
				return false
			}
		}
		return true
	})
	for id, class := range map[string]string{"premium": "contact", "denied": "contact", "broken": "request", "nowhere": "request"} {
		if data := whatWasTold(t, b)[key(id)][want[id]]; data.Class != class || data.Reason == "" {
			t.Errorf("%s: got class %q because %q, want %q with a reason", id, data.Class, data.Reason, class)
		}
	}
	waits := func() bool {
		s, err := b.JetStream().Stream(t.Context(), broker.StreamLater)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetLastMsgForSubject(t.Context(), "weir.later.sales."+key("asleep"))
		return err == nil && m.Header.Get(jetstream.MsgIDHeader) != ""
	}
	await(t, patience, "the broker to keep who is asleep", waits)
	contains(t, p.weir(t, "event", "show", key("asleep")), "outside the calling hours of "+night, "08:00")
	explained := p.weir(t, "explain", p.file(t, "asleep.json", leadIn("asleep", "+14155550102", night)))
	contains(t, explained, "contact  ok       would wait: outside the calling hours")
	stop()

	stop = p.serve(t, "sales") // and the one that waits survives it
	p.weir(t, "publish", p.file(t, "b.ndjson", leadIn("late", "+14155550104", zoneAt(13))))
	b = p.desk(t)
	await(t, patience, "another one to be called", func() bool { return len(whatWasTold(t, b)[key("late")]) > 0 })
	if !waits() {
		t.Error("after a restart the broker has nothing of who is asleep")
	}
	stop()
	if n := len(p.sim.Conversations()); n != 2 {
		t.Errorf("conversations: got %d, want those of who is awake", n)
	}
	if told := fmt.Sprintf("%+v", p.sim.Conversations()); !strings.Contains(told, "+14155550101") || strings.Contains(told, "+14155550102") {
		t.Errorf("got %s, want the first number in its international form, and not the second", told)
	}
}

// TestLifetimes runs the whole of weir with events that name their time.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	key := func(id string) string { return consumer.Key("sales", "/crm", id) }
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	with := func(id, name, value string) string {
		return strings.Replace(leadIn(id, "+14155550101", "Etc/UTC"), `"type"`, fmt.Sprintf(`%q:%q,"type"`, name, value), 1)
	}
	p := newPlant(t, "sales")
	stop := p.serve(t, "sales")
	p.weir(t, "publish", p.file(t, "a.ndjson",
		with("over", "expirytime", at(-time.Hour)), with("soon", "notbefore", at(24*time.Hour)),
		with("now", "expirytime", at(24*time.Hour)), with("due", "notbefore", at(-24*time.Hour))))
	b := p.desk(t)
	await(t, patience, "all outcomes but that of what is to wait", func() bool {
		told := whatWasTold(t, b)
		_, over := told[key("over")]["expired"]
		_, now := told[key("now")]["created"]
		_, due := told[key("due")]["created"]
		return over && now && due
	})
	if data := whatWasTold(t, b)[key("over")]["expired"]; !strings.Contains(data.Reason, "its expirytime") {
		t.Errorf("got %q, want why it expired", data.Reason)
	}
	await(t, patience, "the broker to keep what is to wait", func() bool {
		s, err := b.JetStream().Stream(t.Context(), broker.StreamLater)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.GetLastMsgForSubject(t.Context(), "weir.later.sales."+key("soon"))
		return err == nil
	})
	contains(t, p.weir(t, "event", "show", key("soon")), "not before", "as the event says")
	printed, _ := p.refused(t, "1 of 1 events", "publish", p.file(t, "b.ndjson", with("odd", "notbefore", "tomorrow")))
	contains(t, printed, "notbefore")
	stop()
	if n := len(p.sim.Conversations()); n != 2 {
		t.Errorf("conversations: got %d, want 2", n)
	}
}
