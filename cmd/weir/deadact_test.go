package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// rest puts an event into the ledger as it is given, with a letter that was
// kept when it died at step n.
func (p *plant) rest(t *testing.T, s *service, in consumer.Intent, n int, l consumer.Letter) string {
	t.Helper()
	in.Lane, in.Source = "sales", "/crm"
	in.Key = consumer.Key(in.Lane, in.Source, in.ID)
	if in.State != consumer.Absent {
		if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
	}
	l.Lane, l.Intent, l.State, l.N, l.ID = in.Lane, in.Key, consumer.Dead, n, in.ID
	if err := s.broker.Keep(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return in.Key
}

// streams is how far each stream has come.
func streams(t *testing.T, s *service) map[string]jetstream.StreamState {
	t.Helper()
	states := make(map[string]jetstream.StreamState)
	for _, name := range []string{ledger.Stream, broker.StreamDead, broker.StreamLater, broker.StreamOutcomes, broker.StreamEvents} {
		stream, err := s.broker.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		states[name] = info.State
	}
	return states
}

// TestFates has a letter for everything that may have become of its event, and
// looks at what would be done with each, which changes nothing.
func TestFates(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	want := make(map[string]fate)
	for i, tt := range []struct {
		state consumer.State
		n     int // of the ledger; the letter's is 3
		fate  fate
	}{
		{consumer.Dead, 3, fateSend},
		{consumer.Dead, 5, fateStale},
		{consumer.Created, 5, fateDone},
		{consumer.Ended, 6, fateDone},
		{consumer.Started, 4, fateUnderWay},
		{consumer.Waiting, 5, fateUnderWay},
		{consumer.Doubt, 5, fateDoubt},
		{consumer.Cancelled, 4, fateCancelled},
		{consumer.Expired, 4, fateExpired},
		{consumer.Suppressed, 4, fateOut},
		{consumer.Absent, 0, fateUnknown},
	} {
		id := strconv.Itoa(i)
		p.rest(t, s, consumer.Intent{State: tt.state, N: tt.n, ID: id, Conversation: "c"}, 3, consumer.Letter{})
		want[id] = tt.fate
	}
	p.rest(t, s, consumer.Intent{State: consumer.Dead, N: 3, ID: "cut"}, 3, consumer.Letter{Data: make([]byte, 1<<20)})
	want["cut"] = fateCut
	p.rest(t, s, consumer.Intent{State: consumer.Dead, N: 3, ID: "asked"}, 3, consumer.Letter{})
	p.weir(t, "dead", "replay", "asked", "--reason", "x")
	want["asked"] = fateAsked
	p.rest(t, s, consumer.Intent{State: consumer.Dead, N: 3, ID: "asked before"}, 3, consumer.Letter{})
	old := consumer.Letter{Lane: "sales", Intent: consumer.Key("sales", "/crm", "asked before")}
	if err := s.broker.Replay(t.Context(), old, consumer.Replay{Expect: 1}); err != nil {
		t.Fatal(err)
	}
	want["asked before"] = fateSend // that order is void

	before := streams(t, s)
	for _, verb := range []string{"replay", "drop"} {
		if verb == "drop" {
			for id, f := range want {
				if f == fateSend || f == fateAsked || f == fateCut {
					want[id] = fateDrop
				}
			}
		}
		r := decoded[deadReport](t, p.weir(t, "dead", verb, "--all", "--dry-run", "--output", "json"))
		got, counts := make(map[string]fate), make(map[fate]int)
		for _, h := range r.Letters {
			got[h.ID] = h.Fate
			counts[h.Fate]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: fates (-want +got):\n%s", verb, diff)
		}
		if diff := cmp.Diff(counts, r.Would); diff != "" || r.Matched != len(want) || !r.DryRun || r.Did != nil {
			t.Errorf("%s: got %+v, want the counts of its letters (-want +got):\n%s", verb, r, diff)
		}
	}
	text := p.weir(t, "dead", "replay", "--all", "--dry-run")
	contains(t, text, "14 dead letters:\n", "     2  would be sent again\n", "     2  already created\n", "     1  in doubt; see weir doubt list\n", "\n\nLANE   INTENT")
	if diff := cmp.Diff(before, streams(t, s)); diff != "" {
		t.Errorf("streams after dry runs (-before +after):\n%s", diff)
	}

	// What is done is what was said.
	r := decoded[deadReport](t, p.weir(t, "dead", "replay", "--all", "--yes", "--reason", "x", "--output", "json"))
	if r.Would[fateSend] != 2 || r.Did[fateSent] != 2 || r.Did[fateAsked] != 1 || r.Did[fateDone] != 2 {
		t.Errorf("report: got %+v, want 2 sent again and 1 asked for", r)
	}
	if got := contents(t, s, broker.StreamLater); len(got) != 4 {
		t.Errorf("orders: got %d, want the two before and two new ones", len(got))
	}
}

// orders counts the orders by the intent that they are for.
func orders(t *testing.T, s *service) map[string]int {
	t.Helper()
	n := make(map[string]int)
	for _, m := range contents(t, s, broker.StreamLater) {
		n[m.Subject]++
	}
	return n
}

// once fails unless each of the letters was ordered once.
func once(t *testing.T, s *service, letters int) {
	t.Helper()
	got := orders(t, s)
	for subject, n := range got {
		if n != 1 {
			t.Errorf("%s: got %d orders, want 1", subject, n)
		}
	}
	if len(got) != letters {
		t.Errorf("got orders for %d letters, want %d", len(got), letters)
	}
}

// TestReplayInterrupted stops a replay of 200 letters on its way, and repeats
// it twice.
func TestReplayInterrupted(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	const all = 200
	p.dead(t, s, all)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ordered atomic.Int32
	way := newTap(t, s.embedded.URL(), func(subject, _ string) bool { // stopped here, it cannot be too fast for it
		if strings.HasPrefix(subject, "weir.due.") && ordered.Add(1) == 20 {
			cancel()
		}
		return ordered.Load() <= 20
	})
	y, err := os.ReadFile(p.yaml)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(y), "\n") // the first line is the embedded broker's
	p.env["BROKER_TOKEN"] = s.embedded.Token().Reveal()
	through := p.file(t, "through.yaml", fmt.Sprintf("broker: {url: %q, token: {env: BROKER_TOKEN}}", way.address), rest)
	args := []string{"dead", "replay", "--all", "--yes", "--reason", "x", "--output", "json", "-c"}
	stdout, stderr, err := weir(ctx, p.env, append(slices.Clone(args), through)...)
	var said syncBuffer
	if code := exitCode(err, &said); code != 130 || !strings.Contains(err.Error(), "the same command again does the rest") {
		t.Fatalf("interrupted: got exit code %d (%v), want 130\n%s", code, err, stderr)
	}
	contains(t, stderr, "200 dead letters:\n   200  would be sent again\n")
	first := decoded[deadReport](t, stdout)
	sent := first.Did[fateSent]
	if sent < 19 || sent > 20 || first.Did[fateSend] != all-sent {
		t.Fatalf("interrupted: got %+v, want some sent again and the others not", first.Did)
	}
	second := decoded[deadReport](t, p.weir(t, args[:len(args)-1]...))
	// The order that was under way when the command was stopped may have been taken.
	if n := second.Did[fateSent]; n != all-sent && n != all-sent-1 || second.Did[fateAsked] != all-n {
		t.Errorf("the same again: got %+v, want the rest of %d sent again", second.Did, all-sent)
	}
	once(t, s, all)
	third := p.weir(t, "dead", "replay", "--all", "--yes", "--reason", "x")
	contains(t, third, "200 dead letters:\n   200  already asked for; it waits for weir serve\n")
	once(t, s, all)
}

// TestReplaysAtOnce has two people replay the same letters at one time.
func TestReplaysAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	const all = 60
	p.dead(t, s, all)
	var wg sync.WaitGroup
	reports := make([]deadReport, 2)
	for i := range reports {
		wg.Go(func() {
			stdout, stderr, err := weir(t.Context(), p.env, "dead", "replay", "--all", "--yes", "--reason", "x", "--output", "json", "-c", p.yaml)
			if err != nil {
				t.Errorf("got error %v, want none\n%s", err, stderr)
				return
			}
			reports[i] = decoded[deadReport](t, stdout)
		})
	}
	wg.Wait()
	sent := reports[0].Did[fateSent] + reports[1].Did[fateSent]
	asked := reports[0].Did[fateAsked] + reports[1].Did[fateAsked]
	if sent != all || asked != all {
		t.Errorf("got %+v and %+v, want each letter sent again by one and asked for already by the other", reports[0].Did, reports[1].Did)
	}
	once(t, s, all)
}

// TestReplayUnderWay replays a letter again while its event is being sent, and
// drops it then.
func TestReplayUnderWay(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.configure(t, strings.Replace(plantRoute, "data.phone", "data.mobile", 1), "sales")
	stop := p.serve(t, "sales")
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "+14155550101", "")))
	key := p.settled(t, "dead", 1)[0].Intent
	stop()
	p.configure(t, plantRoute, "sales")
	defer p.serve(t, "sales")()
	if err := p.sim.SetOutage(simulator.OutageHang, time.Time{}); err != nil {
		t.Fatal(err)
	}
	p.weir(t, "dead", "replay", key, "--reason", "the route is right now")
	await(t, patience, "the event to leave the dead letters", func() bool {
		return decoded[shown](t, p.weir(t, "dead", "show", key, "--output", "json")).State != consumer.Dead
	})
	for _, verb := range []string{"replay", "drop"} {
		printed, code := p.refused(t, "1 of 1 were not", "dead", verb, key, "--reason", "x")
		if code != 1 || !strings.Contains(printed, "being sent") && !strings.Contains(printed, "in doubt") {
			t.Errorf("%s while it is sent: got exit code %d and\n%swant 1 and where it is", verb, code, printed)
		}
	}
	p.settled(t, "doubt", 1)
	p.sim.ClearOutage()
	if r := p.sim.Report(); r.Conversations > 1 || len(r.Doubled) != 0 {
		t.Errorf("provider's report: got %+v, want one conversation at most", r)
	}
}

// TestDeadFilters tries each filter on the three commands.
func TestDeadFilters(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	s := p.broker(t)
	now := time.Now().Truncate(time.Second)
	keys := make(map[string]string)
	for _, l := range []consumer.Letter{
		{ID: "a", Lane: "sales", Type: "lead.created", Source: "/crm", Class: "request", Reason: "No Phone number", Last: now.Add(-30 * time.Minute)},
		{ID: "b", Lane: "sales", Type: "lead.changed", Source: "/crm/2", Class: "rejected", Last: now.Add(-5 * time.Hour), Data: []byte(`{"name":"Zoë PHONE"}`)},
		{ID: "c", Lane: "sales", Type: "order", Source: "/shop", Class: "data", Last: now.Add(-72 * time.Hour)},
		{ID: "d", Lane: "support", Type: "lead", Source: "/crm", Class: "request", Last: now.Add(-72 * time.Hour)},
	} {
		l.Intent, l.State, l.N = consumer.Key(l.Lane, l.Source, l.ID), consumer.Dead, 1
		keys[l.ID] = l.Intent
		in := consumer.Intent{Lane: l.Lane, Key: l.Intent, State: consumer.Dead, N: 1, ID: l.ID, Source: l.Source, Type: l.Type, Class: l.Class, Reason: l.Reason}
		if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.broker.Keep(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--lane", "sales"}, "abc"},
		{[]string{"--class", "request"}, "ad"},
		{[]string{"--class", "request,data"}, "acd"},
		{[]string{"--class", "request", "--class", "data", "--lane", "sales"}, "ac"},
		{[]string{"--type", "lead"}, "d"},
		{[]string{"--type", "lead*"}, "abd"},
		{[]string{"--type", "lead.*"}, "ab"},
		{[]string{"--type", "*"}, "abcd"},
		{[]string{"--source", "/crm"}, "ad"},
		{[]string{"--id", "a"}, "a"},
		{[]string{"--id", keys["a"]}, ""},
		{[]string{"--since", "1h"}, "a"},
		{[]string{"--since", "2d"}, "ab"},
		{[]string{"--until", "1h"}, "bcd"},
		{[]string{"--since", now.Add(-5 * time.Hour).Format(time.RFC3339), "--until", now.Add(-30 * time.Minute).UTC().Format(time.RFC3339)}, "b"},
		{[]string{"--text", "phone"}, "ab"},
		{[]string{"--text", "ZOË"}, "b"},
		{[]string{"--text", "phone", "--class", "rejected"}, "b"},
		{[]string{"a", keys["c"][:8]}, "ac"},
		{[]string{"a", "a", keys["a"]}, "a"},
		{[]string{"d", "--lane", "support", "--until", "2h"}, "d"},
	} {
		for _, row := range []struct{ verb, more string }{{"list", ""}, {"replay", "--dry-run"}, {"drop", "--dry-run"}} {
			args := append([]string{"dead", row.verb, "--output", "json"}, tt.args...)
			var ids []string
			if row.more == "" {
				for _, r := range decoded[[]letterRow](t, p.weir(t, args...)) {
					ids = append(ids, r.ID)
				}
			} else {
				for _, h := range decoded[deadReport](t, p.weir(t, append(args, row.more)...)).Letters {
					ids = append(ids, h.ID)
				}
			}
			slices.Sort(ids)
			if got := strings.Join(ids, ""); got != tt.want {
				t.Errorf("weir dead %s %v: got letters %q, want %q", row.verb, tt.args, got, tt.want)
			}
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "--type", "lead.*.x"}, "the * must be the last character"},
		{[]string{"list", "--since", "yesterday"}, `--since "yesterday": give a time such as 20`},
		{[]string{"drop", "--until=-2h"}, "or an age such as 2h or 7d"},
		{[]string{"replay", "--since", "1h", "--until", "2h", "--reason", "x"}, "so no letter can match"},
		{[]string{"list", "--lane", "sale"}, `no lane is called "sale"; the lanes are: sales, support`},
		{[]string{"drop", "--lane", "sale", "--reason", "x"}, `no lane is called "sale"`},
		{[]string{"drop", "--reason", "x"}, "which dead letters? name some (see weir dead list), give a filter such as --class, or give --all"},
		{[]string{"drop", "--lane", "sales", "--reason", "x"}, "nothing was dropped; give --yes to do it with 3 dead letters"},
		{[]string{"drop", "--lane", "sales"}, "why? give --reason TEXT"},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"dead"}, tt.args...)...); code != 2 {
			t.Errorf("weir dead %v: got exit code %d, want 2", tt.args, code)
		}
	}
	contains(t, p.weir(t, "dead", "list", "--id", "z"), "There are no such dead letters.\n")
	contains(t, p.weir(t, "dead", "drop", "--id", "z", "--reason", "x"), "There are no such dead letters.\n")
}

func TestDeadDrop(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	keys := p.dead(t, s, 3)
	printed, code := p.refused(t, "3 of 3 were not dropped", "dead", "drop", "--all", "--yes", "--reason", "x")
	contains(t, printed, "  0      no weir serve is running for lane sales; start it and try again\n")
	if code != 1 || len(p.settled(t, "dead", 3)) != 3 {
		t.Errorf("drop without weir serve: got exit code %d, want 1 and nothing dropped", code)
	}
	// One is ordered to be sent again; the drop comes first, so it is not sent.
	p.weir(t, "dead", "replay", keys[0], "--reason", "x")
	conn := s.broker.JetStream().Conn()
	ctl, err := conn.SubscribeSync("weir.ctl.sales")
	if err == nil {
		err = conn.FlushTimeout(patience) // or the command may be there before it
	}
	if err != nil {
		t.Fatal(err)
	}
	done := background(t, func(ctx context.Context) error { // an owner who finds the first one changed
		for i := range 3 {
			m, err := ctl.NextMsgWithContext(ctx)
			if err != nil {
				return err
			}
			answer := `{"state":"cancelled"}`
			switch i {
			case 0:
				answer = `{"state":"dead","error":"the event is dead by now (step 2, not 1); look again"}`
			case 1:
				answer = `{"state":"created","error":"the event is created by now (step 2, not 1); look again"}`
			}
			want := fmt.Sprintf(`{"verb":"drop","intent":%q,"expect":1,"by":"ana","reason":"spam"}`, keys[i])
			if got := string(m.Data); got != want {
				t.Errorf("command: got %s, want %s", got, want)
			}
			if err := m.Respond([]byte(answer)); err != nil {
				return err
			}
		}
		return nil
	})
	stdout, stderr, err := weir(t.Context(), p.env, "dead", "drop", "--all", "-y", "--reason", "spam", "--output", "json", "-c", p.yaml)
	done()
	if err == nil || !strings.Contains(err.Error(), "1 of 3 were not dropped") {
		t.Errorf("got error %v, want one for the first letter\n%s", err, stderr)
	}
	got := decoded[deadReport](t, stdout)
	want := map[fate]int{fateFailed: 1, fateDone: 1, fateDropped: 1}
	if diff := cmp.Diff(want, got.Did); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}

// TestDeadDropWhole drops letters of a lane that runs.
func TestDeadDropWhole(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.configure(t, strings.Replace(plantRoute, "data.phone", "data.mobile", 1), "sales")
	defer p.serve(t, "sales")()
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), "no event"))
	p.settled(t, "dead", 3)
	stdout, stderr, err := weir(t.Context(), p.env, "dead", "drop", "--class", "request", "--yes", "--reason", "spam", "-c", p.yaml)
	if err != nil || strings.Count(stdout, "dropped; nobody is called\n") != 2 {
		t.Errorf("got error %v, want none, and two letters dropped:\n%s", err, stdout)
	}
	contains(t, stderr, "2 dead letters:\n     2  would be dropped\n")
	if left := p.settled(t, "dead", 1); left[0].Class != "undecodable" {
		t.Errorf("left: got %+v, want the one of another class", left)
	}
	contains(t, p.weir(t, "dead", "drop", "--class", "request", "--yes", "--reason", "spam"), "There are no such dead letters.\n")
	printed, _ := p.refused(t, "1 of 1 were not dropped", "dead", "drop", consumer.Key("sales", "/crm", "1"), "--reason", "spam")
	contains(t, printed, "already cancelled")
}

// TestReplayWith corrects the number of a letter, once everything that is no
// correction was refused.
func TestReplayWith(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	defer p.serve(t, "sales")()
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("1", "call me", ""), lead("2", "+14155550102", ""), "no event"))
	rows := p.settled(t, "dead", 2)
	i := slices.IndexFunc(rows, func(r letterRow) bool { return r.ID == "" })
	raw := rows[i].Intent
	await(t, patience, "the good lead to be known", func() bool { return p.state(t, "sales", "2").State != consumer.Absent })
	fixed := lead("1", "+14155550177", "")
	for _, tt := range []struct{ intent, event, want string }{
		{"1", "{", "cannot be sent: The event cannot be read as JSON"},
		{"1", "[" + fixed + "]", "The event is not a JSON object"},
		{"1", strings.Replace(fixed, `"1.0"`, `"0.3"`, 1), "send version 1.0"},
		{"1", lead("7", "+14155550177", ""), `is event "7" from "/crm", but the letter's event is "1" from "/crm"; a corrected event keeps both`},
		{"1", strings.Replace(fixed, "/crm", "/other", 1), `is event "1" from "/other"`},
		{"1", strings.Replace(fixed, "lead.created", "lead.lost", 1), "would be refused by lane sales: This lane has no route"},
		{"1", strings.Replace(fixed, `"data":{"id":"1",`, `"data":{`, 1), "would be refused by lane sales: The lead has no id"},
		{"1", lead("1", "call you", ""), "would be refused by lane sales: "},
		{"1", lead("1", "", ""), "would be refused by lane sales: "},
		{raw, lead("2", "+14155550102", ""), "is known to lane sales already"},
	} {
		_, code := p.refused(t, tt.want, "dead", "replay", tt.intent, "--with", p.file(t, "b.json", tt.event), "--reason", "x")
		if code != 1 {
			t.Errorf("%s: got exit code %d, want 1", tt.event, code)
		}
	}
	p.refused(t, "no such file", "dead", "replay", "1", "--with", p.yaml+".none", "--reason", "x")

	file := p.file(t, "c.json", fixed)
	contains(t, p.weir(t, "dead", "replay", "1", "--with", file, "--dry-run"), "would be sent again, with the corrected event\n")
	contains(t, p.weir(t, "dead", "replay", "1", "--with", file, "--reason", "number corrected"), "will be sent again")
	contains(t, p.weir(t, "dead", "replay", raw, "--with", p.file(t, "d.json", lead("3", "+14155550188", "")), "--reason", "typed in anew"), "will be sent again")
	await(t, patience, "all leads to be called", func() bool { return len(p.sim.Conversations()) == 3 })
	got := make(map[string]string)
	for _, c := range p.sim.Conversations() {
		got[c.Intent] = c.Number
	}
	want := map[string]string{
		consumer.Key("sales", "/crm", "1"): "+14155550177",
		consumer.Key("sales", "/crm", "2"): "+14155550102",
		raw:                                "+14155550188",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	p.settled(t, "dead", 0)
}

// TestCorrectionTooLate has an order that waits already.
func TestCorrectionTooLate(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	for _, id := range []string{"1", "2"} {
		p.rest(t, s, consumer.Intent{State: consumer.Dead, N: 1, ID: id}, 1, consumer.Letter{Data: []byte("x")})
	}
	one, two := p.file(t, "1.json", lead("1", "+14155550177", "")), p.file(t, "2.json", lead("2", "+14155550177", ""))
	p.weir(t, "dead", "replay", "1", "--reason", "x")
	printed, _ := p.refused(t, "1 of 1 were not sent again", "dead", "replay", "1", "--with", one, "--reason", "x")
	contains(t, printed, "already asked for, with another event; it can be corrected when it is dead again")
	p.weir(t, "dead", "replay", "2", "--with", two, "--reason", "x")
	contains(t, p.weir(t, "dead", "replay", "2", "--with", two, "--reason", "x"), "already asked for; it waits for weir serve")
	contains(t, p.weir(t, "dead", "replay", "2", "--reason", "x"), "already asked for; it waits for weir serve")
	contains(t, p.weir(t, "dead", "show", "2"), "to be sent again, by ana: x\n")
	due := contents(t, s, broker.StreamLater)
	ev, err := schema.Decode(due[1].Header, []byte(due[1].Body), 0)
	if err != nil || len(due) != 2 || due[1].Header.Get("Weir-Corrected") != schema.Digest(ev) {
		t.Errorf("orders: got %+v (%v), want two, the second with its event's digest", due, err)
	}
}

func TestAgree(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer string
		want   bool
	}{{"y\n", true}, {" YES \n", true}, {"n\n", false}, {"\n", false}, {"", false}, {"yesterday\n", false}} {
		var asked syncBuffer
		err := agree(t.Context(), strings.NewReader(tt.answer), &asked, "Send it?")
		if got := err == nil; got != tt.want || asked.String() != "Send it? [y/N] " {
			t.Errorf("answer %q: got %v after %q, want %v", tt.answer, err, asked.String(), tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe() // nobody types
	defer w.Close()
	if err := agree(ctx, r, &syncBuffer{}, "Send it?"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v, want %v", err, context.Canceled)
	}
}

func TestMaskedJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{`{"phone": "+14155550123", "n":3}`, `{"phone": "…23", "n":3}`},
		{`{"phone": 14155550123}`, `{"phone": "…23"}`},
		{`{"mail":"ana\u0040example.com"}`, `{"mail":"…@example.com"}`},
		{`["+1 415 \"555\" 0123"]`, `["+1 415 \"555\" 0123"]`},
		{`{"api_key":"abcdefgh"}`, `{"api_key":"[redacted]"}`},
		{`{"when":"2026-01-31T15:04:05Z","id":"c25516fa-f344-5b22-8951-0b87693d8531"}`, `{"when":"2026-01-31T15:04:05Z","id":"c25516fa-f344-5b22-8951-0b87693d8531"}`},
	} {
		if diff := cmp.Diff(tt.want, string(maskedJSON([]byte(tt.in)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.in, diff)
		}
	}
}

// TestChangedSinceItWasSeen orders letters whose events went on after a person
// had seen them: nothing is sent.
func TestChangedSinceItWasSeen(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	d := &desk{cfg: s.cfg, broker: s.broker, ledger: s.ledger}
	for i, tt := range []struct {
		now    consumer.Intent
		letter int // the newest letter's step
		want   verdict
	}{
		{consumer.Intent{State: consumer.Dead, N: 3}, 3, verdict{fateSent, "will be sent again"}},
		{consumer.Intent{State: consumer.Dead, N: 5}, 5, changedVerdict},
		{consumer.Intent{State: consumer.Dead, N: 3}, 1, unkeptVerdict},
		{consumer.Intent{State: consumer.Created, N: 5, Conversation: "c"}, 3, verdict{fateDone, "already created"}},
	} {
		tt.now.ID = strconv.Itoa(i)
		key := p.rest(t, s, tt.now, tt.letter, consumer.Letter{})
		seen := kept{
			Letter: consumer.Letter{Lane: "sales", Intent: key, State: consumer.Dead, N: 3},
			now:    consumer.Intent{State: consumer.Dead, N: 3},
		}
		got, err := d.order(t.Context(), seen, consumer.Replay{By: "ana", Reason: "x"}, nil)
		if err != nil || got != tt.want {
			t.Errorf("%s at step %d: got %+v (%v), want %+v", tt.now.State, tt.now.N, got, err, tt.want)
		}
	}
	if got := contents(t, s, broker.StreamLater); len(got) != 1 {
		t.Errorf("orders: got %d, want 1", len(got))
	}
}
