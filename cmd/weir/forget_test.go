package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// traces are the messages of all streams in which one of the words is.
func traces(t *testing.T, js jetstream.JetStream, words ...string) (all []string) {
	t.Helper()
	for _, name := range []string{broker.StreamEvents, broker.StreamLater, broker.StreamDead, broker.StreamOutcomes, broker.StreamLanes, ledger.Stream} {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for next := uint64(1); ; {
			m, err := s.GetMsg(t.Context(), next, jetstream.WithGetMsgSubject(">"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text := m.Subject + string(m.Data) + fmt.Sprint(m.Header)
			for _, word := range words {
				if strings.Contains(text, word) {
					all = append(all, name+" "+m.Subject+": "+word)
				}
			}
			next = m.Sequence + 1
		}
	}
	return all
}

// rest waits until weir serve has nothing more to do with a lane's events: a state is
// written down before it is told, and the copies kept, and an event is acknowledged last.
func rest(t *testing.T, b *broker.Broker, lane string) {
	t.Helper()
	await(t, patience, "lane "+lane+" to have done with its events", func() bool {
		pending, busy, err := b.Backlog(t.Context(), lane)
		return err == nil && pending+busy == 0
	})
}

// forgets are the arguments of a weir forget that asks nothing.
func forgets(more ...string) []string {
	return append([]string{"forget", "--reason", "they asked", "--yes", "--output", "json"}, more...)
}

// TestForgetAPerson runs the whole of it: what is kept of a person in every place goes,
// what is kept of others stays, nobody is called twice, and nothing looks like a loss.
func TestForgetAPerson(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.edit(t, "  - name: sales\n", `  - name: sales
    contact: {region: US, windows: [{hours: "08:00-20:00"}]}
`)
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 1s}\n")
	stop := p.serve(t, "sales", "support")
	defer func() { stop() }()
	const them = "+14155550102"
	called := []string{
		leadIn("id-ended", "(415) 555-0102", zoneAt(13)), leadIn("other-ended", "+14155550103", zoneAt(13)),
		strings.Replace(leadIn("x", "+14155550199", zoneAt(13)), `"id":"x"`, `"id":"4155550102"`, 1), // found by its id
	}
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", append(called,
		leadIn("id-asleep", them, zoneAt(1)), leadIn("other-asleep", "+14155550103", zoneAt(1)),
		leadIn("id-dead", them, "Mars/Olympus"), leadIn("other-dead", "+14155550103", "Mars/Olympus"))...))
	p.settled(t, "dead", 2)
	for id, want := range map[string]consumer.State{
		"id-ended": consumer.Ended, "other-ended": consumer.Ended, "4155550102": consumer.Ended,
		"id-asleep": consumer.Waiting, "other-asleep": consumer.Waiting,
	} {
		await(t, patience, id, func() bool { return p.state(t, "sales", id).State == want })
	}
	await(t, patience, "the pause", func() bool {
		return strings.Contains(p.weir(t, "lane", "pause", "support", "--reason", "test"), "has seen it")
	})
	p.weir(t, "publish", "--lane", "support", p.file(t, "b.ndjson", lead("id-queued", "tel:"+them, ""), lead("other-queued", "+14155550103", "")))
	p.weir(t, "publish", "--lane", "support", "--priority", "high", p.file(t, "c.ndjson", lead("id-high", them, "")))

	if _, code := p.refused(t, "nothing was removed; give --yes to forget 6 events", "forget", "--person", them, "--reason", "x"); code != 2 {
		t.Errorf("without --yes: got exit code %d, want 2", code)
	}
	b := p.desk(t)
	rest(t, b, "sales")
	await(t, patience, "all that is told of the calls", func() bool { // the end of one is told after its entry is written
		told := whatWasTold(t, b)
		return len(told[consumer.Key("sales", "/crm", "id-ended")]) == 2 && len(told[consumer.Key("sales", "/crm", "4155550102")]) == 2
	})
	words := []string{"id-ended", "id-asleep", "id-dead", "id-queued", "id-high", "4155550102", "555-0102"} // in no host's name
	before := traces(t, b.JetStream(), words...)
	plan := decoded[forgetReport](t, p.weir(t, "forget", "--person", them, "--dry-run", "--output", "json"))
	want := forgetCounts{Events: 6, Postponed: 1, Letters: 1, Outcomes: 5, Ledger: 4}
	if !plan.DryRun || plan.Counts != want || len(plan.NotYet) != 0 || len(plan.Conversations) != 2 {
		t.Errorf("dry run: got %+v, want %+v and two conversations", plan, want)
	}
	if diff := cmp.Diff(before, traces(t, b.JetStream(), words...)); diff != "" {
		t.Errorf("a dry run changed something (-before +after):\n%s", diff)
	}

	got := decoded[forgetReport](t, p.weir(t, forgets("--person", them)...))
	want = forgetCounts{Events: 6, Postponed: 1, Letters: 0, Outcomes: 9, Ledger: 6} // the letter went when it was given up
	if got.DryRun || got.Counts != want || len(got.NotYet) != 0 {
		t.Errorf("forgotten: got %+v, want %+v", got, want)
	}
	if left := traces(t, b.JetStream(), words...); len(left) > 0 {
		t.Errorf("of the person there is still:\n%s", strings.Join(left, "\n"))
	}
	in := p.state(t, "sales", "id-ended")
	if last := in.History[len(in.History)-1]; in.State != consumer.Ended || in.Forgotten.IsZero() || last.By != "ana" || last.Reason != "they asked" {
		t.Errorf("the entry: got %+v, want it ended, forgotten by ana", in)
	}
	contains(t, p.weir(t, "event", "show", consumer.Key("sales", "/crm", "id-ended")), "forgotten by ana: they asked", "The event itself is not kept any more.")
	if again := p.weir(t, "forget", "--person", them, "--dry-run"); again != "Nothing is kept of this.\n" {
		t.Errorf("again: got %q, want nothing", again)
	}
	if orders, err := b.Oblivions(t.Context()); err != nil || len(orders) > 0 {
		t.Errorf("orders that are left: got %+v (%v), want none", orders, err)
	}

	// The others lost nothing; the same events again call nobody, whatever their content.
	p.weir(t, "lane", "resume", "support")
	p.weir(t, "publish", "--lane", "sales", p.file(t, "d.ndjson", leadIn("id-ended", them, zoneAt(13)), leadIn("id-asleep", "+14155550144", zoneAt(13)), leadIn("id-dead", them, zoneAt(13))))
	p.weir(t, "publish", "--lane", "support", p.file(t, "e.ndjson", lead("id-queued", them, ""), lead("last", "+14155550105", "")))
	for id, lane := range map[string]string{"other-queued": "support", "last": "support"} {
		await(t, patience, id, func() bool { return p.state(t, lane, id).State == consumer.Ended })
	}
	await(t, patience, "all that came again to be acknowledged", func() bool {
		for _, lane := range []string{"sales", "support"} {
			for f, err := range b.Unsent(t.Context(), lane) {
				if err != nil || strings.Contains(fmt.Sprint(f.Header, string(f.Data)), "id-") {
					return false
				}
			}
		}
		return true
	})
	stop()
	stop = func() {}
	numbers := make(map[string]int)
	for _, c := range p.sim.Conversations() {
		numbers[c.Number]++
	}
	if diff := cmp.Diff(map[string]int{them: 1, "+14155550199": 1, "+14155550103": 2, "+14155550105": 1}, numbers); diff != "" {
		t.Errorf("calls by number (-want +got):\n%s", diff)
	}

	// Nothing looks like a loss, neither at the start nor to the scrub.
	s := p.broker(t)
	if err := errors.Join(s.pass(t.Context()), s.heldError()); err != nil {
		t.Errorf("the gate at the start: got %v, want nothing", err)
	}
	if found, err := s.guard.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("scrub: got %v, %v, want nothing", found, err)
	}
}

var errKilled = errors.New("killed")

// forget runs a weir forget that dies before its nth durable step.
func (p *plant) forget(t *testing.T, n int, c forgetCmd) error {
	t.Helper()
	c.before = func(string) error {
		if n--; n < 0 {
			return errKilled
		}
		return nil
	}
	a := &app{
		ctx: t.Context(), stdin: strings.NewReader(""), stdout: io.Discard, stderr: &bytes.Buffer{}, lg: zerolog.Nop(),
		getenv: func(name string) string { return p.env[name] }, flags: &cli{Config: p.yaml, Output: "json"},
	}
	return c.Run(a)
}

// notYetForgotten reports whether a weir forget has left something because weir serve
// was still at work on it.
func notYetForgotten(err error) bool {
	return err != nil && strings.Contains(err.Error(), "not forgotten yet")
}

// forgetAll runs a weir forget, and goes on with it as long as it says that something
// is left.
func (p *plant) forgetAll(t *testing.T, c forgetCmd) (err error) {
	t.Helper()
	await(t, patience, "weir forget to leave nothing", func() bool {
		err = p.forget(t, 1000, c)
		c = forgetCmd{Resume: true}
		return !notYetForgotten(err)
	})
	return err
}

// TestForgetIsGoneOnWith kills the command before each of its steps. What was begun is
// known to the next one, which need not be told of whom; nothing is left.
func TestForgetIsGoneOnWith(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.edit(t, "  - name: sales\n", `  - name: sales
    contact: {region: US, windows: [{hours: "08:00-20:00"}]}
`)
	stop := p.serve(t, "sales")
	defer stop()
	b := p.desk(t)
	for n, done := 0, false; !done; n++ {
		asleep, dead, number := fmt.Sprintf("gone-%d-a", n), fmt.Sprintf("gone-%d-b", n), fmt.Sprintf("+1415555%04d", 1000+n)
		p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", leadIn(asleep, number, zoneAt(1)), leadIn(dead, number, "Mars/Olympus")))
		for id, want := range map[string]consumer.State{asleep: consumer.Waiting, dead: consumer.Dead} {
			await(t, patience, id, func() bool { return p.state(t, "sales", id).State == want })
		}
		rest(t, b, "sales")
		err := p.forget(t, n, forgetCmd{Person: number, Yes: true, decision: decision{Reason: "asked"}})
		switch {
		case err == nil:
			done = true
		case !errors.Is(err, errKilled) && !notYetForgotten(err):
			t.Fatalf("step %d: got %v, want it killed", n, err)
		case n == 0: // nothing was written down
			err = p.forgetAll(t, forgetCmd{Person: number, Yes: true, decision: decision{Reason: "asked"}})
		default:
			err = p.forgetAll(t, forgetCmd{Resume: true})
		}
		if err != nil {
			t.Fatalf("step %d: the next one: got %v, want none", n, err)
		}
		if left := traces(t, b.JetStream(), asleep, dead, number[1:]); len(left) > 0 {
			t.Fatalf("killed before step %d; there is still:\n%s", n, strings.Join(left, "\n"))
		}
		for _, id := range []string{asleep, dead} {
			if in := p.state(t, "sales", id); in.State != consumer.Cancelled || in.Forgotten.IsZero() {
				t.Errorf("killed before step %d: %s is %+v, want it cancelled and forgotten", n, id, in)
			}
		}
		if done && n < 10 {
			t.Errorf("the command had %d steps, want more", n)
		}
	}
	if orders, err := b.Oblivions(t.Context()); err != nil || len(orders) > 0 {
		t.Errorf("orders that are left: got %+v (%v), want none", orders, err)
	}
}

func TestForgetNamesAreChecked(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	p.broker(t)
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"name it in one way", nil},
		{"name it in one way", []string{"--person", "+14155550102", "--lead", "1"}},
		{"name it in one way", []string{"--resume", "--lead", "1"}},
		{"give both --source and --id", []string{"--id", "1"}},
		{"--source goes with", []string{"--source", "/crm", "00000000-0000-4000-8000-000000000000"}},
		{"1f6a is no intent", []string{"1f6a"}},
		{"--person: the number …02 names no country", []string{"--person", "0415 5550102"}},
		{"why? give --reason TEXT", []string{"--lead", "1", "--reason", " "}},
		{`no lane is called "nosuch"`, []string{"--lead", "1", "--lane", "nosuch"}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"forget", "--reason", "x", "--yes"}, tt.args...)...); code != 2 {
			t.Errorf("weir forget %v: got exit code %d, want 2", tt.args, code)
		}
	}

	// Only a lane's owner can forget. The order stays, and whoever looks is told of it.
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson", lead("1", "+14155550102", ""), lead("2", "+14155550103", "")))
	for range 2 {
		printed, code := p.refused(t, "1 events are not forgotten yet; weir forget --resume tries again", forgets("--source", "/crm", "--id", "1")...)
		contains(t, printed, "no weir serve is running for lane sales")
		if code != 1 {
			t.Errorf("without weir serve: got exit code %d, want 1", code)
		}
		p.weir(t, "forget", "--resume", "--dry-run")
	}
}

// TestForgetOneOfTwoWithTheSameID forgets who came under an id that was taken: what is
// kept of the other person stays.
func TestForgetOneOfTwoWithTheSameID(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 1s}\n")
	stop := p.serve(t, "sales")
	defer stop()
	p.weir(t, "publish", p.file(t, "a.ndjson", lead("same", "+14155550101", "")))
	await(t, patience, "the call", func() bool { return p.state(t, "sales", "same").State == consumer.Ended })
	p.weir(t, "publish", p.file(t, "b.ndjson", lead("same", "+14155550102", "")))
	p.settled(t, "dead", 1)
	b := p.desk(t)
	rest(t, b, "sales")
	await(t, patience, "all that is told of the call", func() bool { // its end after its entry is written
		return len(whatWasTold(t, b)[consumer.Key("sales", "/crm", "same")]) == 2
	})
	before := len(traces(t, b.JetStream(), "4155550101"))
	got := decoded[forgetReport](t, p.weir(t, forgets("--person", "+14155550102")...))
	if want := (forgetCounts{Events: 1, Outcomes: 2, Ledger: 1}); got.Counts != want {
		t.Errorf("forgotten: got %+v, want %+v", got, want)
	}
	if left := traces(t, b.JetStream(), "4155550102"); len(left) > 0 {
		t.Errorf("of the person there is still:\n%s", strings.Join(left, "\n"))
	}
	if in := p.state(t, "sales", "same"); !in.Forgotten.IsZero() || in.ID != "same" || len(traces(t, b.JetStream(), "4155550101")) != before {
		t.Errorf("the other one: got %+v, want all of it kept", in)
	}
}

// With an event the calls go that followed it, and the one that is to follow: they
// have its content.
func TestForgetTheCallsThatFollow(t *testing.T) {
	t.Parallel()
	p := newPlantOf(t, simulator.Config{Seed: 3}, "sales") // whose first call nobody answers
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 500ms}\n")
	p.edit(t, "    routes:", "    contact: {redial: {after: [1h]}, numbers: {invalid: send}}\n    routes:")
	stop := p.serve(t, "sales")
	defer stop()
	p.weir(t, "publish", p.file(t, "leads.ndjson", lead("id-7", "+14155550102", "")))
	await(t, patience, "the call to come", func() bool { return p.state(t, "sales", schema.RedialID("id-7", 1)).State == consumer.Waiting })
	got := decoded[forgetReport](t, p.weir(t, forgets("--source", "/crm", "--id", "id-7")...))
	if got.Counts.Ledger != 2 || got.Counts.Events != 2 || len(got.NotYet) != 0 {
		t.Errorf("got %+v, want the event and the call that follows it", got)
	}
	if left := traces(t, p.desk(t).JetStream(), "id-7", "4155550102"); len(left) > 0 {
		t.Errorf("of the person there is still:\n%s", strings.Join(left, "\n"))
	}
}
