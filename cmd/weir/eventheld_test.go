package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// TestEventShowSaysWhichRuleHolds asks of events that wait, and of those that were
// stopped, which contact rule it was and until when.
func TestEventShowSaysWhichRuleHolds(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 1s}\n")
	p.edit(t, "  - name: sales\n", `  - name: sales
    contact: {region: US, windows: [{hours: "08:00-20:00"}], once: 24h, consent: '(data.consent ?? "yes") == "yes"', numbers: {deny: [DE]}}
`)
	p.env["LIST_KEY"] = "0123456789abcdef0123456789abcdef"
	p.edit(t, "embedded:", "do_not_contact: {key: {env: LIST_KEY}}\nembedded:")
	stop := p.serve(t, "sales", "support")
	defer stop()
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	with := func(line, name, value string) string {
		return strings.Replace(line, `"source":`, fmt.Sprintf(`%q:%q,"source":`, name, value), 1)
	}
	awake := func(id, number string) string { return leadIn(id, number, zoneAt(13)) }
	night := zoneAt(1) // asked for again, it may be the next one
	show := func(id string) eventShown { return p.show(t, consumer.Key("sales", "/crm", id)) }

	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson",
		awake("first", "+14155550101"), leadIn("asleep", "+14155550102", night), with(awake("early", "+14155550103"), "notbefore", at(time.Hour)),
		strings.Replace(awake("unwilling", "+14155550104"), `"phone"`, `"consent":"no","phone"`, 1), awake("abroad", "+4930123456"),
		with(awake("over", "+14155550105"), "expirytime", at(-time.Hour)), leadIn("letter", "+14155550106", "Mars/Olympus")))
	for id, want := range map[string]consumer.State{
		"first": consumer.Ended, "asleep": consumer.Waiting, "early": consumer.Waiting, "unwilling": consumer.Suppressed,
		"abroad": consumer.Suppressed, "over": consumer.Expired, "letter": consumer.Dead,
	} {
		await(t, patience, id, func() bool { return p.state(t, "sales", id).State == want })
	}
	p.settled(t, "dead", 1) // the letter is kept after its entry
	p.weir(t, "publish", "--lane", "sales", p.file(t, "b.ndjson", awake("second", "+14155550101")))
	await(t, patience, "the second one", func() bool { return p.state(t, "sales", "second").State == consumer.Suppressed })
	p.weir(t, "dead", "replay", "letter", "--reason", "zone corrected", "--with", p.file(t, "letter.json", leadIn("letter", "+14155550106", night)))
	await(t, patience, "the order to wait", func() bool { return strings.Contains(show("letter").Place, "the order waits until") })
	p.weir(t, "contact", "block", "+14155550107", "--reason", "asked on the phone")

	// What was stopped says why.
	for id, want := range map[string]string{
		"unwilling": "consent", "abroad": "DE", "over": "its expirytime", "second": "once in 24 h",
	} {
		if e := show(id); !strings.Contains(e.Reason, want) || len(e.Held) != 0 {
			t.Errorf("%s: got %q, held by %+v; want %q and nothing that holds it", id, e.Reason, e.Held, want)
		}
	}

	// What waits says what for, and until when; also before its lane has seen it.
	await(t, patience, "the pause", func() bool {
		return strings.Contains(p.weir(t, "lane", "pause", "sales", "--reason", "test"), "has seen it")
	})
	p.weir(t, "publish", "--lane", "sales", p.file(t, "c.ndjson",
		awake("blocked", "+14155550107"), awake("third", "+14155550101"), with(awake("late", "+14155550108"), "expirytime", at(-time.Hour)),
		strings.Replace(awake("unasked", "+14155550109"), `"phone"`, `"consent":"no","phone"`, 1), awake("free", "+14155550110"),
		with(leadIn("both", "+14155550107", night), "notbefore", at(time.Hour))))
	for _, tt := range []struct {
		id    string
		rules string
		why   string
		until bool
	}{
		{"asleep", heldWindow, "outside the calling hours of " + night, true},
		{"early", heldNotBefore, "not before 20", true},
		{"letter", heldWindow, "outside the calling hours", true},
		{"blocked", heldBlock, "blocked on 20", false},
		{"third", heldOften, "once in 24 h", false},
		{"late", heldExpiry, "its expirytime was 20", false},
		{"unasked", heldContact, "consent", false},
		{"both", heldNotBefore + " " + heldWindow + " " + heldBlock, "not before 20", true},
		{"free", "", "", false},
	} {
		e := show(tt.id)
		var rules []string
		for _, h := range e.Held {
			rules = append(rules, h.Rule)
		}
		if strings.Join(rules, " ") != tt.rules {
			t.Errorf("%s: held by %+v, want %s", tt.id, e.Held, tt.rules)
			continue
		}
		if len(rules) == 0 {
			continue
		}
		if h := e.Held[0]; !strings.Contains(h.Why, tt.why) || h.Until.After(time.Now()) != tt.until {
			t.Errorf("%s: got %+v, want %q, with an end: %v", tt.id, h, tt.why, tt.until)
		}
	}
	contains(t, p.weir(t, "event", "show", consumer.Key("sales", "/crm", "asleep")), "held by              calling hours until 20")

	// Who has not the key of the list is told that nobody can tell.
	env := maps.Clone(p.env)
	delete(env, "LIST_KEY")
	stdout, _, err := weir(t.Context(), env, "event", "show", consumer.Key("sales", "/crm", "blocked"), "-c", p.yaml, "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	if e := decoded[[]eventShown](t, stdout)[0]; len(e.Held) != 1 || e.Held[0].Rule != heldUnknown || !strings.Contains(e.Held[0].Why, "LIST_KEY") {
		t.Errorf("without the key: got %+v, want that it is not known", e.Held)
	}
}
