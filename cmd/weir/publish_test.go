package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// storedMsg is what stands in a stream.
type storedMsg struct {
	Subject string
	Header  nats.Header
	Body    string
}

// contents returns a stream's messages in their order.
func contents(t *testing.T, s *service, name string) []storedMsg {
	t.Helper()
	stream, err := s.broker.JetStream().Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var all []storedMsg
	for seq := uint64(1); ; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		for header := range m.Header {
			if strings.HasPrefix(header, "Nats-") && header != nats.MsgIdHdr {
				m.Header.Del(header) // the broker's own
			}
		}
		all = append(all, storedMsg{m.Subject, m.Header, string(m.Data)})
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	one := lead("1", "+14155550101", "")
	binary := `{"headers":{"ce-specversion":"1.0","ce-id":"1","ce-source":"/crm","ce-type":"lead.created","content-type":"application/json","Nats-Msg-Id":"x"},"data":{"id":"1","phone":"+14155550199"}}`
	file := p.file(t, "leads.ndjson", one, "{cut", "", binary, one, "{cut")

	got := p.weir(t, "publish", file)
	contains(t, got, "FILE", "leads.ndjson  5       3          2           0")
	ev, err := schema.Decode(nil, []byte(one), 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := schema.Decode(map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/crm"}, "ce-type": {"lead.created"}}, []byte(`{"id":"1","phone":"+14155550199"}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	key := consumer.Key("sales", "/crm", "1")
	raw := rawID("sales", message{header: map[string][]string{"Content-Type": {structuredType}}, body: []byte("{cut")})
	want := []storedMsg{
		{"weir.events.sales", nats.Header{"Content-Type": {structuredType}, nats.MsgIdHdr: {key + "." + schema.Digest(ev)[:8]}}, one},
		{"weir.events.sales", nats.Header{"Content-Type": {structuredType}, nats.MsgIdHdr: {raw}}, "{cut"},
		{"weir.events.sales", nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/crm"}, "ce-type": {"lead.created"}, "content-type": {"application/json"},
			nats.MsgIdHdr: {key + "." + schema.Digest(other)[:8]},
		}, `{"id":"1","phone":"+14155550199"}`},
	}
	kept := contents(t, s, broker.StreamEvents)
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}

	again := decoded[[]published](t, p.weir(t, "publish", "--output", "json", "--lane", "sales", file))
	if diff := cmp.Diff([]published{{File: file, Events: 5, Duplicates: 5}}, again); diff != "" {
		t.Errorf("published again (-want +got):\n%s", diff)
	}
}

func TestRawID(t *testing.T) {
	t.Parallel()
	header := func(name string, values ...string) map[string][]string { return map[string][]string{name: values} }
	of := func(lane string, h map[string][]string, body string) string {
		return rawID(lane, message{place: lane + body, header: h, body: []byte(body)})
	}
	a := rawID("sales", message{place: "a:1", header: map[string][]string{"x": {"1"}, "y": {"2"}}, body: []byte("z")})
	b := rawID("sales", message{place: "b:9", header: map[string][]string{"y": {"2"}, "x": {"1"}}, body: []byte("z")})
	if a != b {
		t.Errorf("the same message at another place: got %s and %s, want one id", a, b)
	}
	seen := make(map[string]int)
	for i, id := range []string{
		of("sales", header("x", "1"), "z"),
		of("support", header("x", "1"), "z"),
		of("sales", header("x", "1"), "zz"),
		of("sales", header("x", "1", ""), "z"),
		of("sales", header("x", "1z"), ""),
		of("sales", header("x1"), "z"),
		of("sales", header("x"), "1z"),
		of("sales", nil, "z"),
		a,
	} {
		if first, ok := seen[id]; ok {
			t.Errorf("messages %d and %d: got one id, want two", first, i)
		}
		seen[id] = i
	}
}

func TestPublishModes(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	asStructured := p.file(t, "a.json", lead("1", "+14155550101", ""))
	asBinary := p.file(t, "b.ndjson", `{"headers":{"ce-specversion":"1.0","ce-id":"2","ce-source":"/crm","ce-type":"lead.created"},"data":{"id":"2"}}`, "no event")
	p.weir(t, "publish", "--mode", "binary", asStructured)
	p.weir(t, "publish", "--mode", "structured", asBinary)
	all := contents(t, s, broker.StreamEvents)
	if len(all) != 3 {
		t.Fatalf("got %d messages, want 3", len(all))
	}
	if got := all[0].Header["ce-id"]; !cmp.Equal(got, []string{"1"}) || all[0].Body != `{"id":"1","phone":"+14155550101"}` {
		t.Errorf("binary: got %+v, want ce-id 1 and the data alone", all[0])
	}
	if got := all[1].Header.Get("Content-Type"); !strings.HasPrefix(got, structuredType) || !strings.Contains(all[1].Body, `"id":"2"`) {
		t.Errorf("structured: got %+v, want an event with id 2", all[1])
	}
	if all[2].Body != "no event" {
		t.Errorf("what is no event: got body %q, want it as it is", all[2].Body)
	}
}

func TestPublishChoosesTheLane(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	s := p.broker(t)
	file := p.file(t, "a.ndjson",
		lead("1", "+14155550101", `"weirlane":"support",`),
		`{"specversion":"0.3","weirlane":"sales","id":"2"}`,
		`{"headers":{"CE-WeirLane":"\"sales\""},"body":"x"}`,
	)
	p.weir(t, "publish", file)
	p.weir(t, "publish", "--lane", "support", p.file(t, "b.ndjson", lead("3", "+14155550103", `"weirlane":"sales",`)))
	var got []string
	for _, m := range contents(t, s, broker.StreamEvents) {
		got = append(got, m.Subject)
	}
	want := []string{"weir.events.support", "weir.events.sales", "weir.events.sales", "weir.events.support"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}

	printed, code := p.refused(t, "1 of 2 events were not published", "publish", p.file(t, "c.ndjson", lead("4", "", ""), lead("5", "", `"weirlane":"sales",`)))
	contains(t, printed, "c.ndjson:1: the event names no lane (weirlane); give --lane with one of: sales, support")
	if code != 2 {
		t.Errorf("exit code of an event without lane: got %d, want 2", code)
	}
	printed, code = p.refused(t, "1 of 1 events were not published", "publish", p.file(t, "d.ndjson", lead("6", "", `"weirlane":"nosuch",`)))
	contains(t, printed, `d.ndjson:1: no lane is called "nosuch"; the lanes are: sales, support`)
	if code != 1 {
		t.Errorf("exit code of an event with an unknown lane: got %d, want 1", code)
	}
	if _, code = p.refused(t, `no lane is called "nosuch"`, "publish", "--lane", "nosuch", file); code != 2 {
		t.Errorf("exit code of an unknown --lane: got %d, want 2", code)
	}
}

func TestPublishChoosesThePriority(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	file := p.file(t, "a.ndjson",
		lead("1", "+14155550101", ""),
		lead("2", "+14155550102", `"priority":"high",`),
		lead("3", "+14155550103", `"priority":"urgent",`),
		`{"headers":{"ce-specversion":"1.0","ce-id":"4","ce-source":"/crm","ce-type":"lead.created","ce-priority":"high"},"data":{"id":"4"}}`,
	)
	printed, code := p.refused(t, "1 of 4 events were not published", "publish", file)
	contains(t, printed, `a.ndjson:3: The event's priority is "urgent"; it can only be high, or be left out.`)
	if code != 1 {
		t.Errorf("exit code of an unknown priority: got %d, want 1", code)
	}
	p.weir(t, "publish", "--priority", "high", p.file(t, "b.ndjson", lead("5", "+14155550105", ""), "no event"))
	// The same event again keeps the place that it was given first.
	contains(t, p.weir(t, "publish", "--priority", "high", p.file(t, "c.ndjson", lead("1", "+14155550101", ""))), "c.ndjson  1       0          1")
	if _, code = p.refused(t, "--priority", "publish", "--priority", "low", file); code != 2 {
		t.Errorf("exit code of an unknown --priority: got %d, want 2", code)
	}
	var got []string
	for _, m := range contents(t, s, broker.StreamEvents) {
		got = append(got, m.Subject)
	}
	const high = "weir.events.sales.high"
	if diff := cmp.Diff([]string{"weir.events.sales", high, high, high, high}, got); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}

func TestPublishOversize(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	large := `{"specversion":"1.0","x":"` + strings.Repeat("x", 2<<20) + `"}`
	printed, code := p.refused(t, "2 of 4 events were not published", "publish",
		p.file(t, "a.ndjson", lead("1", "", ""), large, strings.Repeat("y", maxLine+1), lead("2", "", "")))
	contains(t, printed, "a.ndjson:2: the event has 2097180 bytes, and the broker takes 1048576 at most (its max_payload)", "a.ndjson:3: the line is longer than 8 MiB", "4       2          0           2")
	if code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	if n := len(contents(t, s, broker.StreamEvents)); n != 2 {
		t.Errorf("got %d messages in the stream, want 2", n)
	}
	if _, code = p.refused(t, "no such file", "publish", "nosuch.ndjson"); code != 1 {
		t.Errorf("exit code of a missing file: got %d, want 1", code)
	}
}

func TestPublishStandardInput(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	getenv := func(name string) string { return p.env[name] }
	args := []string{"publish", "-c", p.yaml, "-"}
	var out, said bytes.Buffer
	if err := run(t.Context(), args, strings.NewReader(lead("1", "", "")), &out, &said, getenv); err != nil {
		t.Fatal(err)
	}
	contains(t, out.String(), "-     1       1          0           0")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdin, keyboard := io.Pipe()
	defer keyboard.Close()
	printed := &syncBuffer{}
	done := make(chan error, 1)
	go func() { done <- run(ctx, args, stdin, printed, &syncBuffer{}, getenv) }()
	// The third line is taken when the second is read, and that when the first is done.
	for _, line := range []string{lead("2", "", ""), "", ""} {
		if _, err := io.WriteString(keyboard, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(contents(t, s, broker.StreamEvents)); n != 2 {
		t.Errorf("got %d messages in the stream, want 2", n)
	}
	cancel() // nobody types any more
	err := <-done
	if code := exitCode(err, io.Discard); code != 130 {
		t.Errorf("exit code after an interruption: got %d (%v), want 130", code, err)
	}
	contains(t, printed.String(), "1          0           0")
}

func TestPublishKeepsTheOrder(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	var all []string
	for i := range 300 {
		all = append(all, lead(strings.Repeat("i", i+1), "", ""))
	}
	p.weir(t, "publish", p.file(t, "a.ndjson", all...))
	var got []string
	for _, m := range contents(t, s, broker.StreamEvents) {
		got = append(got, m.Body)
	}
	if diff := cmp.Diff(all, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestPublishWithoutABroker(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	file := p.file(t, "a.ndjson", lead("1", "", ""))
	if _, code := p.refused(t, "is not running; start weir serve and try again", "publish", file); code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
}
