package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/simulator"
)

// TestDoubts makes three doubts by a provider that does not answer, and settles
// each in another way.
func TestDoubts(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	stop := p.serve(t, "sales")
	contains(t, p.weir(t, "doubt", "list"), "No event is in doubt.\n")
	if err := p.sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		t.Fatal(err)
	}
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "+14155550103", "")))
	rows := p.settled(t, "doubt", 3)
	p.sim.ClearOutage()
	contains(t, p.weir(t, "doubt", "list", "--lane", "sales"), "LANE   INTENT    EVENT  CLASS  TRIES", "sales  "+rows[0].Intent[:8])
	key := func(id string) string { return consumer.Key("sales", "/crm", id) }

	for _, tt := range []struct {
		want string
		code int
		args []string
	}{
		{"--created", 2, []string{"1", "--reason", "x"}},
		{"--retry", 2, []string{"1", "--retry", "--drop", "--reason", "x"}},
		{"which conversation? give its id with --created", 2, []string{"1", "--created", "", "--reason", "x"}},
		{"why? give --reason TEXT", 2, []string{"1", "--drop"}},
		{`no event in state doubt is called "9"; look with weir doubt list`, 1, []string{"9", "--drop", "--reason", "x"}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"doubt", "resolve"}, tt.args...)...); code != tt.code {
			t.Errorf("weir doubt resolve %v: got exit code %d, want %d", tt.args, code, tt.code)
		}
	}

	contains(t, p.weir(t, "doubt", "resolve", "1", "--created", "conv-1", "--reason", "seen in the dashboard"),
		"sales "+key("1")+": created, as conversation conv-1\n")
	got := decoded[resolved](t, p.weir(t, "doubt", "resolve", "2", "--drop", "--reason", "called by hand", "--output", "json"))
	want := resolved{Lane: "sales", Intent: key("2"), ID: "2", State: consumer.Cancelled, Result: "it is over; nobody is called"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	contains(t, p.weir(t, "doubt", "resolve", key("3")[:8], "--retry", "--reason", "nobody was called", "--by", "bo"),
		"will be sent again; if the first call was placed after all, the person is called a second time")
	await(t, patience, "the third lead to be called", func() bool { return len(p.sim.Conversations()) == 1 })
	p.settled(t, "doubt", 0)
	if c := p.sim.Conversations()[0]; c.Intent != key("3") || c.Attempt != 2 {
		t.Errorf("conversation: got %+v, want the second attempt of lead 3", c)
	}

	// What is settled already: the same again is fine, another way is not.
	p.weir(t, "doubt", "resolve", key("1"), "--created", "conv-1", "--reason", "again")
	p.refused(t, "already created", "doubt", "resolve", key("1"), "--drop", "--reason", "x")
	p.refused(t, "already cancelled", "doubt", "resolve", key("2"), "--retry", "--reason", "x")
	stop()
}

func TestDoubtWithoutServe(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	in := consumer.Intent{Lane: "sales", Key: consumer.Key("sales", "/crm", "1"), State: consumer.Doubt, N: 2, ID: "1"}
	if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.broker.Keep(t.Context(), consumer.Letter{Lane: "sales", Intent: in.Key, State: consumer.Doubt, ID: "1"}); err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]string{{"--drop"}, {"--created", "conv-1"}} {
		args := append([]string{"doubt", "resolve", "1", "--reason", "x"}, how...)
		if _, code := p.refused(t, "no weir serve is running for lane sales; start it and try again", args...); code != 1 {
			t.Errorf("%v: got exit code %d, want 1", how, code)
		}
	}
	if got, _, err := s.ledger.Load(t.Context(), "sales", in.Key); err != nil || got.State != consumer.Doubt {
		t.Errorf("ledger: got %s (%v), want doubt", got.State, err)
	}
}
