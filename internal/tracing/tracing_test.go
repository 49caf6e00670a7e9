package tracing_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/tracing"
)

// receiver is a collector.
type receiver struct {
	url    string
	answer func(w http.ResponseWriter, r *http.Request) // nil: 200

	mu     sync.Mutex
	spans  []*otlp.Span
	header http.Header
}

func newReceiver(t *testing.T, answer func(http.ResponseWriter, *http.Request)) *receiver {
	t.Helper()
	rc := &receiver{answer: answer}
	srv := httptest.NewServer(rc)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	rc.url = srv.URL
	return rc
}

// ServeHTTP implements http.Handler.
func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rc.answer != nil {
		rc.answer(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	var asked collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.header = r.Header
	for _, rs := range asked.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			rc.spans = append(rc.spans, ss.GetSpans()...)
		}
	}
}

// named are the spans of this name.
func (rc *receiver) named(name string) []*otlp.Span {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(rc.spans), func(s *otlp.Span) bool { return s.GetName() != name })
}

// one is the only span of this name.
func (rc *receiver) one(t *testing.T, name string) *otlp.Span {
	t.Helper()
	all := rc.named(name)
	if len(all) != 1 {
		t.Fatalf("spans called %q: got %d, want 1", name, len(all))
	}
	return all[0]
}

// trace runs a Tracing while tell does something, and ends it.
func trace(t *testing.T, cfg tracing.Config, tell func(*tracing.Tracing)) *tracing.Tracing {
	t.Helper()
	cfg.Batch = 10 * time.Millisecond
	cfg.Try, cfg.Grace = cmp.Or(cfg.Try, time.Minute), cmp.Or(cfg.Grace, time.Minute) // a busy machine loses no span
	tr, err := tracing.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	tell(tr)
	stop()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	return tr
}

const (
	publishers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	intentA    = "0f9e2f8a-df49-5c24-83a2-b9fd8d1f44a7"
	intentB    = "1f9e2f8a-df49-5c24-83a2-b9fd8d1f44a7"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func subject(intent, parent string) consumer.Subject {
	return consumer.Subject{
		Lane: "sales", Account: "acme", Provider: "oration", Intent: intent, EventSource: "mailto:ana@example.com", EventID: "+14155550123",
		EventType: "lead.created", Born: at, Trace: parent,
	}
}

// story tells of an event that was refused once, then created in a batch, and ended.
func story(tr *tracing.Tracing, s consumer.Subject, others ...consumer.Subject) {
	tr.Turned(consumer.Turned{Subject: s, Kind: consumer.StepClaim, From: consumer.Absent, To: consumer.Started, N: 1, Claim: 1, At: at.Add(time.Second), Attempt: true})
	first := consumer.Answered{
		Account: "acme", Provider: "oration", Began: at.Add(time.Second), Sent: at.Add(time.Second), Done: at.Add(2 * time.Second), Status: 429,
		Items: []consumer.Sent{{Subject: s, Claim: 1, Verdict: consumer.VerdictFull}},
	}
	tr.Answered(first)
	tr.Attempted(consumer.Attempted{
		Subject: s, Answered: &first, Claim: 1, Fetched: at.Add(time.Second), Claimed: at.Add(time.Second), Verdict: consumer.VerdictFull, State: consumer.Waiting,
		Waits: []consumer.Waited{{Cause: consumer.CauseQueue, Began: at, For: time.Second}},
	})
	second := first
	second.Began, second.Done, second.Status = at.Add(10*time.Second), at.Add(11*time.Second), 200
	second.Items = []consumer.Sent{{Subject: s, Claim: 2, Verdict: consumer.VerdictCreated}}
	for _, o := range others {
		second.Items = append(second.Items, consumer.Sent{Subject: o, Claim: 1, Verdict: consumer.VerdictCreated})
	}
	tr.Answered(second)
	for i, it := range second.Items {
		tr.Attempted(consumer.Attempted{
			Subject: it.Subject, Answered: &second, Index: i, Claim: it.Claim, Fetched: at.Add(9 * time.Second), Claimed: at.Add(10 * time.Second),
			Verdict: it.Verdict, State: consumer.Created, Conversation: "c", Reason: "Ana, +14155550123",
			Waits: []consumer.Waited{{Cause: "full", Began: at.Add(2 * time.Second), For: 8 * time.Second}},
		})
	}
	tr.Turned(consumer.Turned{
		Subject: s, Kind: consumer.StepEnd, From: consumer.Created, To: consumer.Ended, N: 5, Claim: 2, Made: 2, At: at.Add(time.Minute), Conversation: "c",
		Result: "completed", Began: at.Add(20 * time.Second), Ended: at.Add(40 * time.Second), Reason: "Ana, +14155550123",
	})
}

func id(b []byte) string { return hex.EncodeToString(b) }

func TestAnEventIsOneTrace(t *testing.T) {
	t.Parallel()
	for name, parent := range map[string]string{"a publisher's": publishers, "its own": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rc := newReceiver(t, nil)
			s := subject(intentA, parent)
			tr := trace(t, tracing.Config{Endpoint: rc.url, Headers: map[string]string{"Authorization": "Bearer x"}}, func(tr *tracing.Tracing) { story(tr, s) })
			event, call, wait := rc.one(t, "event"), rc.one(t, "call"), rc.one(t, "wait full")
			attempts, posts := rc.named("attempt"), rc.named("POST")
			if len(attempts) != 2 || len(posts) != 2 || len(rc.spans) != 7 {
				t.Fatalf("got %d attempts, %d POSTs, %d spans; want 2, 2, 7", len(attempts), len(posts), len(rc.spans))
			}
			want, above := strings.ReplaceAll(intentA, "-", ""), ""
			if parent != "" {
				want, above = parent[3:35], parent[36:52]
			}
			seen := make(map[string]bool)
			for _, span := range rc.spans {
				if id(span.GetTraceId()) != want || tr.TraceID(s) != want {
					t.Errorf("%s: got trace %s, want %s", span.GetName(), id(span.GetTraceId()), want)
				}
				if seen[id(span.GetSpanId())] {
					t.Errorf("%s: its id is another span's", span.GetName())
				}
				seen[id(span.GetSpanId())] = true
			}
			if id(event.GetParentSpanId()) != above || event.GetStartTimeUnixNano() != uint64(at.UnixNano()) || event.GetEndTimeUnixNano() != uint64(at.Add(time.Second).UnixNano()) {
				t.Errorf("event: got %v, want a second from its publication, below %q", event, above)
			}
			for _, span := range append(attempts, call, wait) {
				if id(span.GetParentSpanId()) != id(event.GetSpanId()) {
					t.Errorf("%s: got parent %x, want the event", span.GetName(), span.GetParentSpanId())
				}
			}
			for i, post := range posts {
				if id(post.GetParentSpanId()) != id(attempts[i].GetSpanId()) {
					t.Errorf("POST %d: got parent %x, want its attempt", i, post.GetParentSpanId())
				}
			}
			if links := attempts[1].GetLinks(); len(links) != 1 || id(links[0].GetSpanId()) != id(attempts[0].GetSpanId()) {
				t.Errorf("second attempt: got links %v, want one to the first", links)
			}
			if links := call.GetLinks(); len(links) != 1 || id(links[0].GetSpanId()) != id(attempts[1].GetSpanId()) {
				t.Errorf("call: got links %v, want one to the attempt that made it", links)
			}
			if call.GetEndTimeUnixNano()-call.GetStartTimeUnixNano() != uint64(20*time.Second) {
				t.Errorf("call: got %v, want 20 s", call)
			}
			for state, span := range map[consumer.State]*otlp.Span{consumer.Created: attempts[1], consumer.Ended: call, consumer.Dead: event} {
				if got, want := tr.Traceparent(s, state, 2, "c"), "00-"+want+"-"+id(span.GetSpanId())+"-01"; got != want {
					t.Errorf("the outcome of %s: got %s, want %s", state, got, want)
				}
			}
			if got := rc.header.Get("Authorization"); got != "Bearer x" {
				t.Errorf("header: got %q", got)
			}
			for _, span := range rc.spans {
				if text := span.String(); strings.Contains(text, "4155550123") || strings.Contains(text, "na@") || strings.Contains(text, "Ana") {
					t.Errorf("%s holds personal data: %s", span.GetName(), text)
				}
			}
		})
	}
}

func TestABatchIsLinked(t *testing.T) {
	t.Parallel()
	rc := newReceiver(t, nil)
	trace(t, tracing.Config{Endpoint: rc.url}, func(tr *tracing.Tracing) { story(tr, subject(intentA, publishers), subject(intentB, "")) })
	attempts := rc.named("attempt")
	posts := rc.named("POST")
	if len(attempts) != 3 || len(posts) != 2 {
		t.Fatalf("got %d attempts, %d POSTs; want 3, 2", len(attempts), len(posts))
	}
	post, other := posts[1], attempts[2]
	if id(post.GetParentSpanId()) != id(attempts[1].GetSpanId()) || len(post.GetLinks()) != 2 || id(post.GetLinks()[1].GetSpanId()) != id(other.GetSpanId()) || id(post.GetLinks()[1].GetTraceId()) != id(other.GetTraceId()) {
		t.Errorf("POST: got %v, want it below the first attempt, linked to both", post)
	}
	if links := other.GetLinks(); len(links) != 1 || id(links[0].GetSpanId()) != id(post.GetSpanId()) || id(links[0].GetTraceId()) != id(post.GetTraceId()) {
		t.Errorf("the other attempt: got %v, want a link to the POST", links)
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	rc := newReceiver(t, nil)
	const events = 400
	trace(t, tracing.Config{Endpoint: rc.url, Percent: 25}, func(tr *tracing.Tracing) {
		for i := range events {
			story(tr, subject(consumer.Key("sales", "/crm", string(rune('a'+i))), ""))
		}
		story(tr, subject(intentA, publishers))
		story(tr, subject(intentB, strings.TrimSuffix(publishers, "1")+"0"))
	})
	sampled := make(map[string]int)
	for _, s := range rc.spans {
		sampled[id(s.GetTraceId())]++
	}
	if sampled[publishers[3:35]] != 7 {
		t.Errorf("the publisher's trace: got %d spans, want those of the one that is sampled: 7", sampled[publishers[3:35]])
	}
	if n := len(sampled) - 1; n < events/8 || n > events/2 {
		t.Errorf("got %d traces of %d, want about a quarter", n, events)
	}
	for trace, n := range sampled {
		if n != 7 {
			t.Errorf("trace %s: got %d spans, want all 7", trace, n)
		}
	}
}

// A collector that hangs, is away, or fails costs nobody a moment, and the end waits
// for Grace at most. What is lost is counted.
func TestABadCollectorDelaysNothing(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var asked atomic.Int32
	collectors := map[string]string{
		"hangs": newReceiver(t, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}).url,
		"away":  "http://127.0.0.1:1", // which nobody gets who asks for any port
		"fails": newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }).url,
		"leads elsewhere": newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1); r.URL.Path != "/v1/traces" {
				t.Error("a redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}).url,
	}
	t.Cleanup(func() { close(release) }) // before the servers are closed, which wait for it
	for name, url := range collectors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 100 // of 7 spans; the queue has room for 64
			began := time.Now()
			tr := trace(t, tracing.Config{Endpoint: url, Queue: 64, Try: time.Hour, Grace: 200 * time.Millisecond}, func(tr *tracing.Tracing) {
				for range events {
					story(tr, subject(intentA, publishers))
				}
			})
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v, want little more than the grace of 200 ms", took)
			}
			if got := tr.Dropped(); got != 7*events {
				t.Errorf("dropped: got %d, want all %d", got, 7*events)
			}
		})
	}
}

func TestNewRefusesWhatIsNoURL(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"", "collector", "://x", "/v1/traces"} {
		if _, err := tracing.New(zerolog.Nop(), tracing.Config{Endpoint: endpoint}); err == nil {
			t.Errorf("%q: got no error", endpoint)
		}
	}
}
