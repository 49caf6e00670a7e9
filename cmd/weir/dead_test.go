package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirhq/weir/consumer"
)

// settled waits until this many letters are listed.
func (p *plant) settled(t *testing.T, command string, n int) []letterRow {
	t.Helper()
	var rows []letterRow
	await(t, patience, fmt.Sprint(n, " letters in ", command), func() bool {
		rows = decoded[[]letterRow](t, p.weir(t, command, "list", "--output", "json"))
		return len(rows) == n
	})
	return rows
}

// TestDeadLetters goes the whole way: published, dead for a fault of the route,
// listed, shown, sent again in vain, and sent again with a better route.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.configure(t, strings.Replace(plantRoute, "data.phone", "data.mobile", 1), "sales")
	stop := p.serve(t, "sales")
	contains(t, p.weir(t, "dead", "list"), "There are no dead letters.\n")
	if got := p.weir(t, "dead", "list", "--output", "json"); got != "[]\n" {
		t.Errorf("no dead letters as JSON: got %q, want []", got)
	}
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), "no\x1b[2J event"))
	rows := p.settled(t, "dead", 3)
	stop() // so that nothing moves

	byID := make(map[string]letterRow)
	for _, r := range rows {
		byID[r.ID] = r
	}
	one := byID["1"]
	want := letterRow{
		Lane: "sales", Intent: consumer.Key("sales", "/crm", "1"), ID: "1", Type: "lead.created", Source: "/crm",
		Class: "request", N: 1, Reason: one.Reason,
	}
	if diff := cmp.Diff(want, one, cmpopts.IgnoreTypes(time.Time{})); diff != "" {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
	contains(t, one.Reason, "data.mobile")
	raw := byID[""].Intent

	stop = p.serve(t, "sales")
	contains(t, p.weir(t, "dead", "list", "--class", "request"), "LANE   INTENT    EVENT  CLASS    TRIES", "sales  "+one.Intent[:8]+"  1      request  0")
	if got := p.weir(t, "dead", "list", "--class", "undecodable", "--lane", "sales"); strings.Count(got, "\n") != 2 {
		t.Errorf("list of one class: got:\n%swant one letter", got)
	}
	contains(t, p.weir(t, "dead", "show", one.Intent[:6]),
		"event source         /crm\n", "class                request\n", "  dead  ", `    "phone": "…01"`, "--reveal shows the event as it came")
	contains(t, p.weir(t, "dead", "show", one.Intent[:6], "--reveal"), `    "phone": "+14155550101"`)
	contains(t, p.weir(t, "dead", "show", raw, "--lane", "sales"), `"no\x1b[2J event"`)
	full := decoded[shown](t, p.weir(t, "dead", "show", "1", "--reveal", "--output", "json"))
	var event map[string]any
	if err := json.Unmarshal(full.Data, &event); err != nil || event["id"] != "1" || full.State != consumer.Dead || len(full.Timeline) != 1 {
		t.Errorf("shown: got %+v (%v), want the event and its timeline", full, err)
	}

	p.replayRefuses(t, one.Intent)
	got := p.weir(t, "dead", "replay", "1", "2", "--dry-run")
	contains(t, got, "sales  "+one.Intent[:8]+"  1      would be sent again\n")
	contains(t, p.weir(t, "dead", "replay", one.Intent, "--reason", "once more"), "will be sent again")
	await(t, patience, "the letter to be dead again", func() bool {
		s := decoded[shown](t, p.weir(t, "dead", "show", "1", "--output", "json"))
		return s.N == one.N+1 && len(s.Timeline) == 2 && s.Timeline[1].By == "ana"
	})
	stop()

	p.configure(t, plantRoute, "sales")
	stop = p.serve(t, "sales")
	defer stop()
	p.weir(t, "dead", "replay", "--all", "--class", "request", "--reason", "the route is right now", "--by", "bo", "--yes")
	await(t, patience, "both leads to be called", func() bool { return len(p.sim.Conversations()) == 2 })
	if left := p.settled(t, "dead", 1); left[0].Intent != raw {
		t.Errorf("left: got %+v, want the event that cannot be read", left)
	}
	await(t, patience, "the answer to be written down", func() bool {
		state := p.state(t, "sales", "1").State
		return state == consumer.Created || state == consumer.Ended
	})
	printed, code := p.refused(t, "1 of 1 were not sent again", "dead", "replay", one.Intent, "--reason", "again")
	contains(t, printed, "already created")
	if code != 1 {
		t.Errorf("exit code of a replay of what was created: got %d, want 1", code)
	}
	if r := p.sim.Report(); r.Conversations != 2 || len(r.Doubled) != 0 {
		t.Errorf("provider's report: got %+v, want 2 conversations, none doubled", r)
	}
}

// replayRefuses tries orders that mean nothing, or too much.
func (p *plant) replayRefuses(t *testing.T, intent string) {
	t.Helper()
	for _, tt := range []struct {
		want string
		code int
		args []string
	}{
		{"which dead letters? name some", 2, []string{"--reason", "x"}},
		{"which dead letters? either name some, or give --all", 2, []string{intent, "--all", "--reason", "x"}},
		{`"` + intent + `" (sales ` + intent + ") is not what the other filters ask for", 1, []string{intent, "--class", "rejected", "--reason", "x"}},
		{"nothing was sent again; give --yes to do it with 3 dead letters", 2, []string{"--all", "--reason", "x"}},
		{"--with goes with one intent", 2, []string{intent, "1", "--with", "x", "--reason", "x"}},
		{"--with goes with one intent", 2, []string{"--all", "--with", "x", "--reason", "x"}},
		{"why? give --reason TEXT", 2, []string{intent}},
		{`no event in state dead is called "nosuch"; look with weir dead list`, 1, []string{intent, "nosuch", "--reason", "x"}},
		{`no event in state dead is called ""`, 1, []string{"", "--reason", "x"}},
		{`no event in state dead is called "` + intent[:3] + `"`, 1, []string{intent[:3], "--reason", "x"}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"dead", "replay"}, tt.args...)...); code != tt.code {
			t.Errorf("weir dead replay %v: got exit code %d, want %d", tt.args, code, tt.code)
		}
	}
}

func TestDeadLettersOfTwoLanes(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	s := p.broker(t)
	// One event in two lanes, and a letter that was left behind when its event
	// was created.
	for _, tt := range []struct {
		lane, id string
		state    consumer.State
	}{{"sales", "1", consumer.Dead}, {"support", "1", consumer.Dead}, {"support", "2", consumer.Created}} {
		in := consumer.Intent{Lane: tt.lane, Key: consumer.Key(tt.lane, "/crm", tt.id), State: tt.state, N: 3, ID: tt.id, Class: "rejected", Conversation: "c"}
		if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
		err := s.broker.Keep(t.Context(), consumer.Letter{Lane: tt.lane, Intent: in.Key, State: consumer.Dead, N: 3, ID: tt.id, Data: []byte{0xff, 1}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if rows := p.settled(t, "dead", 2); rows[0].ID != "1" || rows[1].ID != "1" {
		t.Errorf("letters: got %+v, want those of event 1 alone", rows)
	}
	p.refused(t, `"1" means 2 events; name one by its key, or give --lane: sales `+consumer.Key("sales", "/crm", "1")+", support ", "dead", "show", "1")
	contains(t, p.weir(t, "dead", "show", "1", "--lane", "sales"), "(2 bytes that are no text)")
	contains(t, p.weir(t, "dead", "show", "1", "--lane", "sales", "--reveal"), `"\xff\x01"`)
	got := decoded[shown](t, p.weir(t, "dead", "show", "1", "--lane", "sales", "--output", "json"))
	if got.Bytes != nil || got.Hidden != 2 || !got.Masked {
		t.Errorf("masked: got %+v, want no bytes", got)
	}
	got = decoded[shown](t, p.weir(t, "dead", "show", "1", "--lane", "sales", "--reveal", "--output", "json"))
	if diff := cmp.Diff([]byte{0xff, 1}, got.Bytes); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
	printed, _ := p.refused(t, "1 of 2 were not sent again", "dead", "replay", "1", "2", "--lane", "support", "--reason", "x", "--yes", "--output", "json")
	contains(t, printed, `"result": "will be sent again"`, `"result": "already created"`, "no weir serve is running for lane support; the order waits for it")
	due := contents(t, s, "WEIR_LATER")
	if len(due) != 1 || due[0].Subject != "weir.due.support."+consumer.Key("support", "/crm", "1") || due[0].Header.Get("Weir-Replay") != "3" {
		t.Errorf("orders: got %+v, want one for the lead in support at step 3", due)
	}
}
