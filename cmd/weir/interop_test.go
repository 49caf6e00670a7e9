package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cejs "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// openDoor is a plant with one lane and a token for it, which runs: the address
// of its gateway.
func openDoor(t *testing.T, types string) (p *plant, base string) {
	t.Helper()
	p = newPlant(t, "sales")
	address := gatewayPort(t)
	p.env["DOOR"] = doorToken
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}}\nembedded:", address))
	p.edit(t, "type: lead.created", "type: "+types)
	t.Cleanup(p.serve(t, "sales"))
	await(t, patience, "the gateway", func() bool {
		return knockDoor(t, "GET", "http://"+address+"/events", doorToken, "", "").status != 0
	})
	return p, "http://" + address
}

// calledOnce waits until each of these ids of /crm/sdk is called, and no other.
func calledOnce(t *testing.T, p *plant, ids ...string) {
	t.Helper()
	want := make(map[string]int)
	for _, id := range ids {
		want[consumer.Key("sales", "/crm/sdk", id)] = 1
	}
	await(t, patience, "the calls", func() bool { return len(p.sim.Conversations()) >= len(want) })
	got := make(map[string]int)
	for _, c := range p.sim.Conversations() {
		got[c.Intent]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conversations, by intent (-want +got):\n%s", diff)
	}
}

// sdkEvent is a lead as the SDK of CloudEvents makes it.
func sdkEvent(t *testing.T, id, phone string) event.Event {
	t.Helper()
	e := cloudevents.NewEvent()
	e.SetID(id)
	e.SetSource("/crm/sdk")
	e.SetType("lead.created")
	e.SetTime(time.Now())
	e.SetExtension("campaign", "café 100%")
	if err := e.SetData(cloudevents.ApplicationJSON, map[string]string{"id": id, "first_name": "Zoë", "phone": phone}); err != nil {
		t.Fatal(err)
	}
	return e
}

// The client of the CloudEvents SDK publishes as it is, over HTTP and over NATS
// JetStream, in both modes of each; the same event by another way is the same.
func TestInteropSDK(t *testing.T) {
	t.Parallel()
	p, base := openDoor(t, "lead.*")
	url, token, err := broker.ReadEndpoint(p.store)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := cejs.NewSender(url, broker.StreamEvents, "weir.events.sales", []nats.Option{nats.Token(token.Reveal())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close(t.Context())
	overNATS, err := cloudevents.NewClient(sender)
	if err != nil {
		t.Fatal(err)
	}
	overHTTP, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(base+"/events/sales"), cloudevents.WithHeader("Authorization", "Bearer "+doorToken))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i, way := range []struct {
			client   cloudevents.Client
			encoding func(e event.Event) error
		}{
			{overHTTP, func(e event.Event) error { return overHTTP.Send(cloudevents.WithEncodingBinary(t.Context()), e) }},
			{overHTTP, func(e event.Event) error { return overHTTP.Send(cloudevents.WithEncodingStructured(t.Context()), e) }},
			{overNATS, func(e event.Event) error { return overNATS.Send(cloudevents.WithEncodingBinary(t.Context()), e) }},
			{overNATS, func(e event.Event) error { return overNATS.Send(cloudevents.WithEncodingStructured(t.Context()), e) }},
		} {
			e := sdkEvent(t, fmt.Sprint(i), fmt.Sprintf("+1415555%04d", 100+i))
			if err := way.encoding(e); cloudevents.IsUndelivered(err) || cloudevents.IsNACK(err) {
				t.Errorf("way %d: %v", i, err)
			}
		}
	}
	calledOnce(t, p, "0", "1", "2", "3")
	if err := overHTTP.Send(t.Context(), func() event.Event {
		e := sdkEvent(t, "4", "+14155550104")
		e.SetType("order.created")
		return e
	}()); cloudevents.IsACK(err) || !strings.Contains(fmt.Sprint(err), "422") {
		t.Errorf("a type without a route: got %v, want a 422", err)
	}
}

// specExamples are requests as the HTTP binding and the JSON format of CloudEvents
// 1.0.2 show them (sections 3.1.4, 3.2.4 and 3.3.4; JSON format 3.2 and 4.2), with
// their omissions filled in.
var specExamples = []struct{ name, head, body string }{
	{"binary", `ce-specversion: 1.0
ce-type: com.example.someevent
ce-time: 2018-04-05T03:56:24Z
ce-id: 1234-1234-1234
ce-source: /mycontext/subcontext
Content-Type: application/json; charset=utf-8`, `{
    "appinfoA" : "abc"
}`},
	{"structured", `Content-Type: application/cloudevents+json; charset=utf-8`, `{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "subject": null,
    "id" : "C234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/json",
    "data" : {
        "appinfoA" : "abc",
        "appinfoB" : 123,
        "appinfoC" : true
    }
}`},
	{"structured, data in base64", `Content-Type: application/cloudevents+json; charset=utf-8`, `{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "id" : "D234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/vnd.apache.thrift.binary",
    "data_base64" : "AAEC"
}`},
	{"batch", `Content-Type: application/cloudevents-batch+json; charset=utf-8`, `[
  {
      "specversion" : "1.0",
      "type" : "com.example.someevent",
      "source" : "/mycontext/4",
      "id" : "B234-1234-1234",
      "time" : "2018-04-05T17:31:00Z",
      "comexampleextension1" : "value",
      "comexampleothervalue" : 5,
      "datacontenttype" : "application/vnd.apache.thrift.binary",
      "data_base64" : "AAEC"
  },
  {
      "specversion" : "1.0",
      "type" : "com.example.someotherevent",
      "source" : "/mycontext/9",
      "id" : "C234-1234-1234",
      "time" : "2018-04-05T17:31:05Z",
      "comexampleextension1" : "value",
      "comexampleothervalue" : 5,
      "datacontenttype" : "application/json",
      "data" : {
          "appinfoA" : "abc",
          "appinfoB" : 123,
          "appinfoC" : true
      }
  }
]`},
}

// specPython sends a body with headers of the form "name: value" and prints the
// status, with Python's standard library alone.
const specPython = `
import sys, urllib.request
address, head, body = sys.argv[1:]
headers = dict(line.split(": ", 1) for line in head.splitlines())
request = urllib.request.Request(address, data=body.encode(), headers=headers)
with urllib.request.urlopen(request) as answer:
    print(answer.status)
`

// curl and Python send the specification's examples, and each event is there once.
// They are of 2018: the lane calls nobody for what is older than its memory, and
// says so.
func TestInteropSpecificationExamples(t *testing.T) {
	t.Parallel()
	p, base := openDoor(t, "com.example.*")
	want := make(map[string]bool)
	for _, e := range specExamples {
		head := "Authorization: Bearer " + doorToken + "\n" + e.head
		args := []string{"-sS", "-o", os.DevNull, "-w", "%{http_code}\n", base + "/events/sales", "--data-binary", e.body}
		for line := range strings.SplitSeq(head, "\n") {
			args = append(args, "-H", line)
		}
		for _, cmd := range []*exec.Cmd{
			exec.CommandContext(t.Context(), "curl", args...),
			exec.CommandContext(t.Context(), "python3", "-c", specPython, base+"/events/sales", head, e.body),
		} {
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "202" {
				t.Errorf("%s by %s: got %s, %v; want 202", e.name, filepath.Base(cmd.Path), out, err)
			}
		}
	}
	for _, of := range [][2]string{
		{"/mycontext/subcontext", "1234-1234-1234"}, {"/mycontext", "C234-1234-1234"}, {"/mycontext", "D234-1234-1234"},
		{"/mycontext/4", "B234-1234-1234"}, {"/mycontext/9", "C234-1234-1234"},
	} {
		want[consumer.Key("sales", of[0], of[1])] = true
	}
	rows := p.settled(t, "dead", len(want))
	for _, r := range rows {
		if r.Class != "too_old" || !want[r.Intent] {
			t.Errorf("got %+v, want the specification's events, too old", r)
		}
		delete(want, r.Intent)
	}
	if len(want) > 0 || len(p.sim.Conversations()) > 0 {
		t.Errorf("missing %v; %d conversations, want none", want, len(p.sim.Conversations()))
	}
}

// TestGatewayPage runs the commands of docs/gateway.md, each twice.
func TestGatewayPage(t *testing.T) {
	t.Parallel()
	s := newStranger(t)
	s.serve(t, "examples/weir.yaml", "weir-data")
	page, err := os.ReadFile(filepath.Join(root, "docs", "gateway.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(sh|python)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 3 {
		t.Fatalf("docs/gateway.md: got %d commands, want 3", len(blocks))
	}
	await(t, patience, "the gateway", func() bool {
		return knockDoor(t, "GET", "http://"+s.gateway+"/events", "", "", "").status != 0
	})
	for _, block := range append(blocks, blocks...) {
		name, script := map[string]string{"sh": "bash", "python": "python3"}[block[1]], strings.ReplaceAll(block[2], readmeGateway, s.gateway)
		out := s.run(t, name, "-c", script)
		if strings.Contains(script, "/contacts/block") {
			contains(t, out, `"person":"…99"`, `"blocked":true`)
			continue
		}
		if !strings.Contains(out, "202") || !strings.Contains(out, "/events/") {
			t.Errorf("%s: got %s, want 202 and its Location", name, out)
		}
	}
	want := map[string]int{consumer.Key("acme-sales", "/crm/acme", "lead-4712"): 1, consumer.Key("acme-sales", "/crm/acme", "lead-4713"): 1}
	await(t, patience, "the calls", func() bool { return len(made(t, s.dir)) >= len(want) })
	if diff := cmp.Diff(want, made(t, s.dir)); diff != "" {
		t.Errorf("conversations, by intent (-want +got):\n%s", diff)
	}
}

// TestReadmeHubSpot does what the README says of a CRM's webhook, twice, and proves
// the call from the simulator's log. A changed byte is refused.
func TestReadmeHubSpot(t *testing.T) {
	t.Parallel()
	s := newStranger(t)
	s.serve(t, "examples/hubspot.yaml", "weir-data")
	line := strings.ReplaceAll(strings.Join(s.find(t, "python3", "examples/hubspot.py"), " "), readmeGateway, s.gateway)
	await(t, patience, "the gateway", func() bool {
		return knockDoor(t, "GET", "http://"+s.gateway+"/", "", "", "").status != 0
	})
	for range 2 {
		if out := s.run(t, "bash", "-c", line); !strings.HasPrefix(out, "200 ") {
			t.Fatalf("got %s, want 200", out)
		}
	}
	want := map[string]int{consumer.Key("acme-sales", "/crm/hubspot/62515", "workflow.4711"): 1}
	await(t, patience, "the call", func() bool { return len(made(t, s.dir)) >= 1 })
	tail := strings.Join(s.find(t, "tail"), " ")
	await(t, patience, "the end of the call", func() bool {
		out := s.run(t, "bash", "-c", tail)
		return strings.Contains(out, `"made"`) && strings.Contains(out, `"ended"`)
	})
	if diff := cmp.Diff(want, made(t, s.dir)); diff != "" {
		t.Errorf("conversations, by intent (-want +got):\n%s", diff)
	}
	if got := s.ask(t, "lanes", "-c", "examples/hubspot.yaml"); !strings.Contains(got, `"acme-sales"`) {
		t.Errorf("lanes: got %s", got)
	}

	// The script signs one address and sends to another.
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.gateway+"/hooks/crm/acme-sales/"+s.env["ACME_CRM_ADDRESS"], strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 401 {
		t.Errorf("unsigned: got %d %s, want 401", resp.StatusCode, b)
	}
}

// run runs a command of the system where the stranger stands, and returns what it
// prints. A page's command needs curl or python3: without them the test fails.
func (s *stranger) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = s.dir, os.Environ()
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}
