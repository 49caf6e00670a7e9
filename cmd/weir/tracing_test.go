package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/weirhq/weir/internal/broker"
)

// spans are what a collector got: the names of the spans, by trace.
type spans struct {
	mu    sync.Mutex
	names map[string][]string
	raw   strings.Builder
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var asked collector.ExportTraceServiceRequest
	if err != nil || r.Header.Get("X-Collector") != "collector-secret" || proto.Unmarshal(body, &asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(body)
	for _, rs := range asked.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				trace := fmt.Sprintf("%x", span.GetTraceId())
				s.names[trace] = append(s.names[trace], span.GetName())
			}
		}
	}
}

// has reports whether a trace has spans of all these names.
func (s *spans) has(trace string, names ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if !strings.Contains(" "+strings.Join(s.names[trace], " ")+" ", " "+name+" ") {
			return false
		}
	}
	return true
}

// From the publisher's span to the end of the call and the outcomes it is one trace,
// however the event came; an event without one has its own. Nothing of the person is
// in it.
func TestTracesFromPublisherToOutcome(t *testing.T) {
	t.Parallel()
	got := &spans{names: make(map[string][]string)}
	srv := httptest.NewServer(got)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	p := newPlant(t, "sales")
	address := gatewayPort(t)
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}}\ntraces: {endpoint: %q, headers: [{name: X-Collector, value: {env: COLLECTOR}}]}\nembedded:", address, srv.URL))
	p.env["DOOR"], p.env["COLLECTOR"] = "0123456789abcdef-door", "collector-secret"
	stop := p.serve(t, "sales")
	traces := map[string]string{"attribute": strings.Repeat("1a", 16), "header": strings.Repeat("2b", 16), "door": strings.Repeat("3c", 16)}
	parent := func(of string) string { return "00-" + traces[of] + "-00f067aa0ba902b7-01" }
	b := p.connect(t)
	spansOf := func(of string) { // one event after the other: those of one batch share a POST
		t.Helper()
		await(t, patience, "the spans of "+of, func() bool { return got.has(traces[of], "event", "attempt", "POST", "call") })
	}
	for of, header := range map[string]map[string][]string{
		"attribute": {"Content-Type": {structuredType}},
		"header":    {"Content-Type": {structuredType}, "TraceParent": {parent("header")}},
	} {
		line := person(of, "/crm", "+12125550123", "")
		if of == "attribute" {
			line = strings.Replace(line, `"data`, fmt.Sprintf(`"traceparent":%q,"data`, parent(of)), 1)
		}
		if _, err := b.PublishEvent(t.Context(), "sales", header, []byte(line), of); err != nil {
			t.Fatal(err)
		}
		spansOf(of)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+"/events/sales", strings.NewReader(person("door", "/crm", "+12125550124", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + p.env["DOOR"]}, "Content-Type": {structuredType}, "Traceparent": {parent("door")}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("the door: got %d", resp.StatusCode)
	}
	spansOf("door")
	told := make(map[string]int)
	await(t, patience, "the outcomes", func() bool {
		clear(told)
		s, err := b.JetStream().Stream(t.Context(), broker.StreamOutcomes)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for seq := max(info.State.FirstSeq, 1); seq <= info.State.LastSeq; seq++ {
			m, err := s.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			told[traceOf(t, m)]++
		}
		return told[traces["attribute"]] == 2 && told[traces["header"]] == 2 && told[traces["door"]] == 2
	})
	stop()
	for _, private := range append([]string{"mailto:"}, privateData...) {
		if strings.Contains(got.raw.String(), private) {
			t.Errorf("the spans hold %q", private)
		}
	}
}

// traceOf is the trace that an outcome goes on with.
func traceOf(t *testing.T, m *jetstream.RawStreamMsg) string {
	t.Helper()
	var ev struct {
		Traceparent string `json:"traceparent"`
	}
	if err := json.Unmarshal(m.Data, &ev); err != nil || len(ev.Traceparent) != 55 {
		t.Fatalf("the outcome has traceparent %q (%v): %s", ev.Traceparent, err, m.Data)
	}
	return ev.Traceparent[3:35]
}
