package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// states are those of a timeline, in its order.
func (e eventShown) states() (all []consumer.State) {
	for _, t := range e.Timeline {
		all = append(all, t.State)
	}
	return all
}

// kinds are those of the outcomes, in their order.
func (e eventShown) kinds() (all []string) {
	for _, t := range e.Outcomes {
		all = append(all, t.Kind)
	}
	return all
}

// show is weir event show of one event.
func (p *plant) show(t *testing.T, args ...string) eventShown {
	t.Helper()
	all := decoded[[]eventShown](t, p.weir(t, append([]string{"event", "show", "--output", "json"}, args...)...))
	if len(all) != 1 {
		t.Fatalf("weir event show %v: got %d events, want 1", args, len(all))
	}
	return all[0]
}

// TestEventsAreShownAndWithdrawn follows events through a lane that is paused, and
// withdraws some of them: none of those is called.
func TestEventsAreShownAndWithdrawn(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	key := func(id string) string { return consumer.Key("sales", "/crm", id) }
	cancel := func(more ...string) []string {
		return append([]string{"event", "cancel", "--reason", "they have signed"}, more...)
	}
	stop := p.serve(t, "sales", "support")
	defer func() { stop() }()
	await(t, patience, "the pause", func() bool {
		return strings.Contains(p.weir(t, "lane", "pause", "sales", "--reason", "test"), "has seen it")
	})
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "", ""), lead("4", "+14155550104", "")))

	queued := p.show(t, key("2"))
	if queued.State != stateQueued || queued.Settled || queued.ID != "2" || queued.Source != "/crm" || queued.Type != "lead.created" || !queued.Masked || strings.Contains(string(queued.Data), "5550102") {
		t.Errorf("queued: got %+v", queued)
	}
	if got := p.show(t, "--source", "/crm", "--id", "2", "--reveal"); got.Intent != key("2") || !strings.Contains(string(got.Data), "+14155550102") {
		t.Errorf("by its source and id: got %+v", got)
	}
	contains(t, p.weir(t, "event", "show", key("2")), "queued since ", "weir event cancel "+key("2")+" --reason TEXT", "Personal data is masked")

	for range 2 { // the same again has the same answer
		got := decoded[[]withdrawal](t, p.weir(t, cancel("--output", "json", key("2"))...))
		want := []withdrawal{{Lane: "sales", Intent: key("2"), ID: "2", State: consumer.Cancelled, Withdrawn: true, Result: "withdrawn; nobody is called"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("withdrawn (-want +got):\n%s", diff)
		}
	}
	contains(t, p.weir(t, cancel("--source", "/crm", "--id", "4")...), "withdrawn; nobody is called")
	shown := p.show(t, key("2"))
	if !slices.Equal(shown.states(), []consumer.State{"cancelled"}) || shown.Timeline[0].By != "ana" || !slices.Equal(shown.kinds(), []string{"cancelled"}) || !shown.Settled {
		t.Errorf("withdrawn: got %+v", shown)
	}

	// What nobody knows is withdrawn only by somebody who means it.
	printed, code := p.refused(t, "1 of 1 events were not withdrawn", cancel("--source", "/crm", "--id", "9", "--lane", "sales")...)
	contains(t, printed, "no such event is known or queued", "give --ahead")
	if code != 1 {
		t.Errorf("exit code of an unknown event: got %d, want 1", code)
	}
	contains(t, p.weir(t, cancel("--source", "/crm", "--id", "9", "--lane", "sales", "--ahead")...), "withdrawn; nobody is called")
	p.weir(t, "publish", "--lane", "sales", p.file(t, "b.ndjson", lead("9", "+14155550109", "")))

	p.weir(t, "lane", "resume", "sales")
	await(t, patience, "the one call", func() bool { return p.show(t, key("1")).State == consumer.Ended })
	p.settled(t, "dead", 1)
	dead := p.show(t, "3")
	if dead.State != consumer.Dead || dead.Intent != key("3") || len(dead.Next) != 2 || !strings.HasPrefix(dead.Next[0], "weir dead replay "+key("3")) || dead.Gone {
		t.Errorf("dead: got %+v", dead)
	}
	done := p.show(t, key("1"))
	if !slices.Equal(done.states(), []consumer.State{"started", "created", "ended"}) || !slices.Equal(done.kinds(), []string{"created", "ended"}) || done.Conversation == "" || done.Gone {
		t.Errorf("done: got %+v", done)
	}
	for id, says := range map[string]string{
		key("1"): "too late: the conversation was created",
		key("3"): "the event is a dead letter and will not be sent; give it up with weir dead drop",
	} {
		printed, code := p.refused(t, "1 of 1 events were not withdrawn", cancel(id)...)
		contains(t, printed, says)
		if code != 1 {
			t.Errorf("exit code of what cannot be withdrawn: got %d, want 1", code)
		}
	}
	if made := p.sim.Conversations(); len(made) != 1 || made[0].Intent != key("1") {
		t.Errorf("conversations: got %+v, want that of lead 1", made)
	}

	stop()
	stop = func() {}
	p.broker(t)
	printed, _ = p.refused(t, "1 of 1 events were not withdrawn", cancel("--source", "/crm", "--id", "10", "--lane", "sales", "--ahead")...)
	contains(t, printed, "no weir serve is running for lane sales, so nothing was withdrawn")
	if got := p.show(t, key("2")); got.State != consumer.Cancelled {
		t.Errorf("without weir serve: got %+v", got)
	}
}

func TestEventNamesAreChecked(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.broker(t)
	const unknown = "00000000-0000-4000-8000-000000000000"
	for _, tt := range []struct {
		want string
		code int
		args []string
	}{
		{"which event? name it by its intent, or by --source and --id", 2, []string{"show"}},
		{"which event? name it by its intent, or by --source and --id", 2, []string{"show", unknown, "--id", "1"}},
		{"an event is known by its source and id together: give both --source and --id", 2, []string{"show", "--id", "1"}},
		{"an event is known by its source and id together: give both --source and --id", 2, []string{"cancel", "--source", "/crm", "--reason", "x"}},
		{"an event that is not published yet is named by --source and --id", 2, []string{"cancel", unknown, "--ahead", "--reason", "x"}},
		{"why? give --reason TEXT", 2, []string{"cancel", unknown}},
		{`no lane is called "nosuch"`, 2, []string{"show", unknown, "--lane", "nosuch"}},
		{"no lane knows an event with the intent " + unknown, 1, []string{"show", unknown}},
		{"no lane knows an event 1 of /crm", 1, []string{"cancel", "--source", "/crm", "--id", "1", "--reason", "x", "--ahead"}},
		{"lane sales knows no event 1 of /crm", 1, []string{"show", "--source", "/crm", "--id", "1", "--lane", "sales"}},
		{`no dead letter or doubt is called "abc"`, 1, []string{"show", "abc"}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"event"}, tt.args...)...); code != tt.code {
			t.Errorf("weir event %v: got exit code %d, want %d", tt.args, code, tt.code)
		}
	}
}
