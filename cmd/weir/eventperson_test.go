package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// results are the events of a command's JSON by lane and id, each with whether it
// was withdrawn.
func results(t *testing.T, printed string) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for _, w := range decoded[[]withdrawal](t, printed) {
		all[w.Lane+" "+w.ID] = w.Withdrawn
	}
	return all
}

// TestEventsOfAPersonAreWithdrawn withdraws what waits for one person: queued in two
// lanes, of high priority, and postponed. Nobody else loses an event.
func TestEventsOfAPersonAreWithdrawn(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.edit(t, "  - name: sales\n", `  - name: sales
    contact: {region: US, windows: [{hours: "08:00-20:00"}]}
`)
	stop := p.serve(t, "sales", "support")
	defer func() { stop() }()
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", leadIn("asleep", "(415) 555-0102", zoneAt(1)), leadIn("broken", "", zoneAt(13))))
	p.settled(t, "dead", 1)
	await(t, patience, "the event to be postponed", func() bool {
		return strings.HasPrefix(p.show(t, "--lane", "sales", "--source", "/crm", "--id", "asleep").Place, "postponed until")
	})
	for _, lane := range []string{"sales", "support"} {
		await(t, patience, "the pause", func() bool {
			return strings.Contains(p.weir(t, "lane", "pause", lane, "--reason", "test"), "has seen it")
		})
	}
	p.weir(t, "publish", "--lane", "sales", p.file(t, "b.ndjson", leadIn("queued", "+14155550102", zoneAt(13)), leadIn("other", "+14155550103", zoneAt(13)), "none"))
	p.weir(t, "publish", "--lane", "sales", "--priority", "high", p.file(t, "c.ndjson", leadIn("high", "+1 415-555-0102", zoneAt(13))))
	p.weir(t, "publish", "--lane", "support", p.file(t, "d.ndjson", lead("+14155550199", "tel:+14155550102", "")))

	cancel := func(more ...string) []string {
		return append([]string{"event", "cancel", "--reason", "they asked", "--output", "json"}, more...)
	}
	person := []string{"--person", "+1 (415) 555 0102"}
	contains(t, p.weir(t, append([]string{"event", "cancel", "--dry-run"}, person...)...), "would be withdrawn", "…99")
	want := map[string]bool{"sales asleep": false, "sales queued": false, "sales high": false, "support …99": false}
	if diff := cmp.Diff(want, results(t, p.weir(t, cancel(append(person, "--dry-run")...)...))); diff != "" {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	if _, code := p.refused(t, "nothing was withdrawn; give --yes to do it with 4 events", cancel(person...)...); code != 2 {
		t.Errorf("exit code without --yes: got %d, want 2", code)
	}
	if diff := cmp.Diff(map[string]bool{"support …99": true}, results(t, p.weir(t, cancel("--lane", "support", "--person", "+14155550102")...))); diff != "" {
		t.Errorf("in one lane (-want +got):\n%s", diff)
	}
	want = map[string]bool{"sales asleep": true, "sales queued": true, "sales high": true}
	if diff := cmp.Diff(want, results(t, p.weir(t, cancel(append(person, "--yes")...)...))); diff != "" {
		t.Errorf("withdrawn (-want +got):\n%s", diff)
	}
	contains(t, p.weir(t, append([]string{"event", "cancel", "--reason", "again", "--yes"}, person...)...), "Nothing waits to be sent for this person.\n")

	// A dead letter is not sent, unless somebody ordered it.
	if got := p.weir(t, cancel("--lead", "broken")...); got != "[]\n" {
		t.Errorf("a dead letter: got %s, want nothing", got)
	}
	p.weir(t, "dead", "replay", "broken", "--reason", "again")
	printed, code := p.refused(t, "1 of 1 events were not withdrawn", cancel("--lead", "broken", "--source", "/crm")...)
	contains(t, printed, "give it up with weir dead drop")
	if code != 1 {
		t.Errorf("exit code of what was not withdrawn: got %d, want 1", code)
	}
	if got := p.weir(t, cancel("--lead", "broken", "--source", "/elsewhere")...); got != "[]\n" {
		t.Errorf("of another source: got %s, want nothing", got)
	}

	p.weir(t, "lane", "resume", "sales")
	p.weir(t, "lane", "resume", "support")
	await(t, patience, "the one call", func() bool {
		return p.show(t, consumer.Key("sales", "/crm", "other")).State == consumer.Ended
	})
	for _, id := range []string{"asleep", "queued", "high"} {
		if got := p.show(t, consumer.Key("sales", "/crm", id)); got.State != consumer.Cancelled || !cmp.Equal(got.kinds(), []string{"cancelled"}) {
			t.Errorf("%s: got %+v, want it withdrawn", id, got)
		}
	}
	stop()
	stop = func() {}
	if made := p.sim.Conversations(); len(made) != 1 || made[0].Intent != consumer.Key("sales", "/crm", "other") {
		t.Errorf("conversations: got %+v, want that of the other person", made)
	}

	p.broker(t)
	p.weir(t, "publish", "--lane", "sales", p.file(t, "e.ndjson", lead("8", "+14155550102", ""), lead("9", "+14155550102", "")))
	printed, code = p.refused(t, "2 of 2 events were not withdrawn", cancel(append(person, "--yes")...)...)
	if strings.Count(printed, "no weir serve is running for lane sales, so nothing was withdrawn") != 2 || code != 1 {
		t.Errorf("without weir serve: got exit code %d and\n%s", code, printed)
	}
}

// TestWhatMayBeSent says which of a person's events are still to be withdrawn.
func TestWhatMayBeSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state         consumer.State
		ordered, want bool
	}{
		{consumer.Absent, false, true}, {consumer.Waiting, false, true}, {consumer.Started, false, true},
		{consumer.Dead, false, false}, {consumer.Dead, true, true}, {consumer.Doubt, false, false}, {consumer.Doubt, true, true},
		{consumer.Created, false, false}, {consumer.Ended, true, false}, {consumer.Cancelled, true, false},
		{consumer.Expired, false, false}, {consumer.Suppressed, false, false},
	} {
		s := sought{now: consumer.Intent{State: tt.state}, ordered: tt.ordered}
		if got := s.unsent(); got != tt.want {
			t.Errorf("%q, ordered %v: got %v, want %v", tt.state, tt.ordered, got, tt.want)
		}
	}
}

func TestPersonNamesAreChecked(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.broker(t)
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"whose events? name them by --person or by --lead", []string{"--person", "+14155550102", "--lead", "1"}},
		{"either name some, or give --person or --lead", []string{"--person", "+14155550102", "--ahead"}},
		{"either name some, or give --person or --lead", []string{"--lead", "1", "--id", "1", "--source", "/crm"}},
		{"either name some, or give --person or --lead", []string{"--lead", "1", "00000000-0000-4000-8000-000000000000"}},
		{"--dry-run and --yes go with --person or --lead", []string{"00000000-0000-4000-8000-000000000000", "--dry-run"}},
		{"--person: the number …02 names no country", []string{"--person", "0415 5550102"}},
		{"--person: this is neither a number", []string{"--person", "Ada"}},
		{`no lane is called "nosuch"`, []string{"--lead", "1", "--lane", "nosuch"}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"event", "cancel", "--reason", "x"}, tt.args...)...); code != 2 {
			t.Errorf("weir event cancel %v: got exit code %d, want 2", tt.args, code)
		}
	}
	if _, code := p.refused(t, "why? give --reason TEXT", "event", "cancel", "--lead", "1"); code != 2 {
		t.Errorf("without a reason: got exit code %d, want 2", code)
	}
}
