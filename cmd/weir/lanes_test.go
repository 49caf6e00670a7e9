package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirhq/weir/consumer"
)

func TestLanesWithoutServe(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.refused(t, "is not running; start weir serve and try again", "lanes")
	s := p.broker(t)
	got := p.weir(t, "lanes")
	contains(t, got, "LANE     PROVIDER  STATE        SLOTS", "sales    oration   not running  -/8    0        0          0       0     -      -\n")

	contains(t, p.weir(t, "lane", "pause", "sales", "--reason", "a fair"),
		"lane sales is paused; no weir serve is running, it holds when weir serve starts\n")
	for _, ln := range p.lanes(t) {
		if _, err := s.broker.Lane(t.Context(), ln); err != nil {
			t.Fatal(err)
		}
	}
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", lead("1", "", ""), lead("2", "", "")))
	// A letter whose event the ledger has in another state does not count.
	for i, state := range []consumer.State{consumer.Dead, consumer.Dead, consumer.Doubt, consumer.Created} {
		in := consumer.Intent{Lane: "support", Key: consumer.Key("support", "/crm", string(rune('a'+i))), State: state, N: 1}
		if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
		kept := consumer.Letter{Lane: "support", Intent: in.Key, State: state}
		if state == consumer.Created {
			kept.State = consumer.Dead
		}
		if err := s.broker.Keep(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
	}
	rows := decoded[[]laneRow](t, p.weir(t, "lanes", "--output", "json"))
	want := []laneRow{
		{Lane: "sales", Label: "sales", Provider: "oration", Account: "acme", State: notRunning, Limit: 8, Waiting: 2, Why: "paused by ana: a fair"},
		{Lane: "support", Label: "support", Provider: "oration", Account: "acme", State: notRunning, Limit: 8, Dead: 2, Doubts: 1},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
}

// lanes returns the names of the plant's lanes.
func (p *plant) lanes(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, r := range decoded[[]laneRow](t, p.weir(t, "lanes", "--output", "json")) {
		names = append(names, r.Lane)
	}
	return names
}

func TestLanePauseAndResume(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	defer p.serve(t, "sales", "support")()
	contains(t, p.weir(t, "lane", "pause", "sales", "--reason", "a fair", "--by", "bo"), "lane sales is paused; weir serve has seen it\n")
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", lead("1", "+14155550101", "")))
	p.weir(t, "publish", "--lane", "support", p.file(t, "b.ndjson", lead("2", "+14155550102", "")))
	await(t, patience, "the lane that runs to call", func() bool { return len(p.sim.Conversations()) > 0 })
	contains(t, p.weir(t, "lanes"), "paused", "by bo: a fair")

	got := decoded[[]switched](t, p.weir(t, "lane", "resume", "--all", "--output", "json"))
	want := []switched{
		{Lane: "sales", State: "resumed", Running: true, Seen: true},
		{Lane: "support", State: "resumed", Running: true, Seen: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resume (-want +got):\n%s", diff)
	}
	await(t, patience, "the resumed lane to call", func() bool { return len(p.sim.Conversations()) == 2 })
	var numbers []string
	for _, c := range p.sim.Conversations() {
		numbers = append(numbers, c.Number)
	}
	if diff := cmp.Diff([]string{"+14155550102", "+14155550101"}, numbers); diff != "" {
		t.Errorf("numbers called (-want +got):\n%s", diff)
	}
}

func TestLaneRefuses(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"which lanes? name some, or give --all; the lanes are: sales", []string{"pause", "--reason", "x"}},
		{"which lanes? name some, or give --all", []string{"resume", "sales", "--all"}},
		{`no lane is called "nosuch"; the lanes are: sales`, []string{"pause", "sales", "nosuch", "--reason", "x"}},
		{"why? give --reason TEXT", []string{"pause", "sales", "--reason", " "}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"lane"}, tt.args...)...); code != 2 {
			t.Errorf("weir lane %v: got exit code %d, want 2", tt.args, code)
		}
	}
	delete(p.env, "USER")
	if _, code := p.refused(t, "who decides? give --by NAME", "lane", "resume", "sales"); code != 2 {
		t.Errorf("without a name: got exit code %d, want 2", code)
	}
	if got := p.weir(t, "lanes", "--output", "json"); strings.Contains(got, "paused") {
		t.Errorf("a refused pause was written down: %s", got)
	}
}

func TestLanesWatch(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.broker(t)
	for _, output := range []string{"table", "json"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			var out syncBuffer
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				args := []string{"lanes", "--watch", "-c", p.yaml, "--output", output}
				done <- run(ctx, args, strings.NewReader(""), &out, &syncBuffer{}, func(name string) string { return p.env[name] })
			}()
			await(t, patience, "two looks", func() bool { return strings.Count(out.String(), "\n") >= 2 })
			cancel()
			if err := <-done; err != nil {
				t.Errorf("got error %v, want none", err)
			}
			first, _, _ := strings.Cut(out.String(), "\n")
			if output == "table" {
				contains(t, first, "sales  not running  slots -/8  0 waiting  0 in flight  0 doubts  0 dead  -")
				return
			}
			want := []laneRow{{Lane: "sales", Provider: "oration", Account: "acme", State: notRunning, Limit: 8}}
			if diff := cmp.Diff(want, decoded[[]laneRow](t, first), cmpopts.IgnoreFields(laneRow{}, "Label")); diff != "" {
				t.Errorf("lanes (-want +got):\n%s", diff)
			}
		})
	}
}
