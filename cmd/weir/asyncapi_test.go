package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/scale"
	"github.com/weirhq/weir/schema"
	"github.com/weirhq/weir/schema/asyncapitest"
)

// contract is schema/weir.asyncapi.yaml.
func contract(t *testing.T) *asyncapitest.Document {
	t.Helper()
	return asyncapitest.Load(t, filepath.Join(root, "schema", "weir.asyncapi.yaml"))
}

// A member of what is published as JSON has its place in the document.
func TestAsyncAPIHasEachMember(t *testing.T) {
	t.Parallel()
	doc := contract(t)
	for name, kind := range map[string]reflect.Type{
		"outcomeData": reflect.TypeFor[consumer.OutcomeData](),
		"command":     reflect.TypeFor[consumer.Command](),
		"reply":       reflect.TypeFor[consumer.Reply](),
		"heard":       reflect.TypeFor[heard](),
		"webhook":     reflect.TypeFor[passed](),
		"load":        reflect.TypeFor[scale.Report](),
	} {
		var members, always []string
		for f := range kind.Fields() {
			member, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			members = append(members, member)
			if options == "" {
				always = append(always, member)
			}
		}
		slices.Sort(members)
		slices.Sort(always)
		described, required := doc.Properties(name)
		if diff := cmp.Diff(members, described); diff != "" {
			t.Errorf("%v and components.schemas.%s of schema/weir.asyncapi.yaml differ: describe each member there, with its type and a description (-the struct +the document):\n%s", kind, name, diff)
		}
		if diff := cmp.Diff(always, required); diff != "" {
			t.Errorf("%v and the members that are required in components.schemas.%s of schema/weir.asyncapi.yaml differ (-the struct +the document):\n%s", kind, name, diff)
		}
	}
}

// The example of the events' page is one of the document's messages, and so is each
// other event there.
func TestAsyncAPIKnowsTheEventsPage(t *testing.T) {
	t.Parallel()
	doc := contract(t)
	for _, text := range examples(eventsPage(t), "json") {
		var ev struct{ ID, Type string }
		if err := json.Unmarshal([]byte(text), &ev); err != nil {
			t.Fatal(err)
		}
		subject, header := "weir.events.acme", map[string][]string{"Content-Type": {structuredType}}
		if kind, ok := strings.CutPrefix(ev.Type, consumer.OutcomePrefix); ok {
			subject = "weir.outcomes.acme." + kind
			header = map[string][]string{"Content-Type": {structuredType + "; charset=utf-8"}, "Nats-Msg-Id": {ev.ID}}
		}
		if _, err := doc.Match(subject, header, []byte(text)); err != nil {
			t.Errorf("%s: %v", ev.Type, err)
		}
	}
}

// wiretap is all that goes over a broker.
type wiretap struct {
	mu  sync.Mutex
	all []*nats.Msg
}

func (w *wiretap) hear(m *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, m)
}

// newWiretap hears what is published on Weir's subjects, what is replied to
// requests, and what the broker itself adds to WEIR_LATER.
func newWiretap(t *testing.T, url, token string) *wiretap {
	t.Helper()
	w := &wiretap{}
	nc, err := nats.Connect(url, nats.Token(token), nats.CustomInboxPrefix("_TAP"), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for _, subject := range []string{"weir.>", "_INBOX.>"} {
		sub, err := nc.Subscribe(subject, w.hear)
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	later, err := js.OrderedConsumer(t.Context(), broker.StreamLater, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := later.Consume(func(m jetstream.Msg) {
		w.hear(&nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consuming.Stop)
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// match holds all that was heard against the document.
func (w *wiretap) match(doc *asyncapitest.Document) (seen map[asyncapitest.Seen]int, problems map[string]string) {
	w.mu.Lock()
	all := slices.Clone(w.all)
	w.mu.Unlock()
	seen, problems = make(map[asyncapitest.Seen]int), make(map[string]string)
	replies := make(map[string][]string) // inbox: the channels of the reply
	note := func(m *nats.Msg, s asyncapitest.Seen, err error) {
		if err != nil {
			problems[err.Error()] = fmt.Sprintf("%s %v %s", m.Subject, m.Header, m.Data)
			return
		}
		seen[s]++
	}
	for _, m := range all {
		if strings.HasPrefix(m.Subject, "weir.") {
			s, err := doc.Match(m.Subject, m.Header, m.Data)
			note(m, s, err)
			if channels := doc.Replies(s.Channel); m.Reply != "" && len(channels) > 0 {
				replies[m.Reply] = channels
			}
		}
	}
	for _, m := range all {
		for _, channel := range replies[m.Subject] {
			s, err := doc.MatchOn(channel, m.Header, m.Data)
			note(m, s, err)
		}
	}
	return seen, problems
}

// everyType are events of all types that the document knows, with ids of their own.
func everyType(id string) []string {
	line := func(kind, data string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"%s-%s","source":"/crm","type":%q,"datacontenttype":"application/json","data":%s}`, id, kind, kind, data)
	}
	return []string{
		line("lead.created", `{"id":1,"phone":"+14155550101"}`),
		line("lead.updated", `{"id":1,"phone":null,"changed":["phone"]}`), // nobody can be called
		line("lead.qualified", `{"id":1,"score":3}`),                      // no route's condition holds
		line("conversation.requested", `{"toPhoneNumber":"+14155550102"}`),
		line("acme.order.late", `{"tel":"+14155550103"}`), // a doubt
	}
}

// Weir runs with every kind of event, and each comes to another end: all that goes
// over the broker is as the document says, and all that the document says goes over
// the broker.
func TestAsyncAPIIsWhatGoesOverTheWire(t *testing.T) {
	t.Parallel()
	doc := contract(t)
	p := newPlant(t, "acme")
	front := newFront(t, p.sim, func(w http.ResponseWriter, asked post) bool {
		doubtful := slices.ContainsFunc(asked.intents, func(intent string) bool {
			return slices.ContainsFunc(wireRuns, func(run string) bool { return intent == consumer.Key("acme", "/crm", run+"-acme.order.late") })
		})
		if doubtful {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return doubtful
	})
	p.edit(t, p.url, front.url)
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 500ms}\n")
	p.edit(t, "    account: acme\n", "    account: acme\n    batch: 1\n    doubt_limit: 0\n")
	p.edit(t, "      - type: lead.created\n"+plantRoute, `      - {type: lead.qualified, when: "false", request: {agentId: a}}
      - {type: conversation.requested, passthrough: [toPhoneNumber], request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony}}
      - {type: lead.*, when: type != 'lead.qualified', request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.phone }"}}
      - {type: acme.*, request: {agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7, conversationType: telephony, toPhoneNumber: "${ data.tel }"}}
`)
	address := gatewayPort(t)
	p.edit(t, "accounts:\n", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}}\naccounts:\n", address))
	p.env["DOOR"] = "0123456789abcdef-door"
	defer p.serve(t, "acme")()
	url, token, err := broker.ReadEndpoint(p.store)
	if err != nil {
		t.Fatal(err)
	}
	tap := newWiretap(t, url, token.Reveal())
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(t.Context()) }()

	for _, run := range wireRuns {
		mode, priority, _ := strings.Cut(run, "-")
		p.weir(t, "publish", "--mode", mode, "--priority", priority, p.file(t, run+".ndjson", everyType(run)...))
	}
	for i, kind := range []string{oneEvent, "application/json"} {
		body := everyType(fmt.Sprint("door", i))[0]
		if kind != oneEvent {
			body = `{"id":1,"phone":"+14155550104"}`
		}
		await(t, patience, "202", func() bool { // the door may open later than the lanes
			a := knockDoor(t, "POST", "http://"+address+"/events/acme", "0123456789abcdef-door", kind, body)
			if a.status/100 == 4 {
				t.Fatalf("the door: got %d %s", a.status, a.body)
			}
			return a.status == http.StatusAccepted
		})
	}
	wait(t, b)
	told := func(kind string, n int) {
		await(t, patience, fmt.Sprintf("%d %s", n, kind), func() bool { return len(outcomesOf(t, b, kind)) >= n })
	}
	told("doubt", len(wireRuns))
	told("rejected", len(wireRuns))
	p.weir(t, "lanes")
	p.weir(t, "doubt", "resolve", wireRuns[0]+"-acme.order.late", "--drop", "--reason", "x y")
	p.weir(t, "doubt", "resolve", wireRuns[1]+"-acme.order.late", "--created", "c-1", "--reason", "seen")
	p.weir(t, "dead", "replay", wireRuns[0]+"-lead.updated", "--reason", "once more")
	p.weir(t, "dead", "replay", wireRuns[1]+"-lead.updated", "--reason", "corrected", "--with",
		p.file(t, "with.json", strings.Replace(everyType(wireRuns[1])[1], "null", `"+14155550105"`, 1)))
	p.weir(t, "dead", "drop", wireRuns[2]+"-lead.updated", "--reason", "over")
	if _, err := b.PassHook(t.Context(), "acme", []byte(`{"reports":[{"conversation":"c-1","intent":"x","attempt":1,"ended":true}]}`)); err != nil {
		t.Fatal(err)
	}
	if err := b.AskLoad(t.Context(), func([]byte) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(t.Context(), "acme", consumer.Key("acme", "/crm", wireRuns[0]+"-lead.created"), 1); err != nil {
		t.Fatal(err)
	}

	var seen map[asyncapitest.Seen]int
	var problems map[string]string
	var missing []asyncapitest.Seen
	deadline := time.Now().Add(patience)
	for {
		seen, problems = tap.match(doc)
		missing = slices.DeleteFunc(doc.Expected(), func(s asyncapitest.Seen) bool { return seen[s] > 0 })
		if len(missing) == 0 || len(problems) > 0 || time.Now().After(deadline) {
			break
		}
		elapse(t, 100*time.Millisecond)
	}
	for problem, m := range problems {
		t.Errorf("schema/weir.asyncapi.yaml does not describe what goes over the wire: %s\n\tthe message: %s", problem, m)
	}
	if len(problems) > 0 { // which may be why
		return
	}
	for _, s := range missing {
		t.Errorf("schema/weir.asyncapi.yaml describes the message %s on the channel %s, which was not seen: mend this test, or say on the channel with x-weir-unseen why it cannot be", s.Message, s.Channel)
	}
}

// wireRuns are the ways in which the events of everyType are published: mode and
// priority.
var wireRuns = []string{"structured-", "binary-", "structured-high", "binary-high"}

// wait gives the broker an event that waits for its time, as an engine does.
func wait(t *testing.T, b *broker.Broker) {
	t.Helper()
	line := everyType("waits")[0]
	ev, err := schema.Decode(map[string][]string{"Content-Type": {structuredType}}, []byte(line), 0)
	if err != nil {
		t.Fatal(err)
	}
	header, body, err := schema.Encode(ev, schema.Binary)
	if err == nil {
		err = b.Postpone(t.Context(), consumer.Postponed{
			Lane: "acme", Intent: consumer.Key("acme", ev.Source(), ev.ID()), N: 1, At: time.Now().Add(time.Second), Header: header, Data: body,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
