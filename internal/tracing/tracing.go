// Package tracing makes OpenTelemetry spans of what the engine tells its observers,
// and sends them to a collector by OTLP over HTTP.
//
// A trace is the one that the event's publisher began (its traceparent), else one of
// the event's own, whose id is the intent's key. In it:
//
//	event        from publication to the first thing that Weir decided of it
//	  wait …     each later wait, by cause
//	  attempt    one permission to send, from delivery until the answer is stored;
//	             linked to the attempt before it
//	    POST     the request; of a batch, child of its first event's attempt and
//	             linked to those of all
//	  call       the conversation, linked to the attempt that made it
//	  …          each other change of the event, of no length
//
// The ids of all spans are made of the intent, so that what is told after a restart,
// or by another replica, finds its place, and nothing has to be kept for it.
//
// Whoever tells is never delayed: a span goes into a bounded queue, and is dropped and
// counted where that is full. Attributes hold no personal data: no event's id or
// source, no reason, no person.
package tracing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirhq/weir/consumer"
)

// Config says where spans go.
type Config struct {
	// Endpoint is the collector's URL: https, or http on loopback. Without a path
	// /v1/traces is asked for.
	Endpoint string
	Headers  map[string]string // of each request
	// Percent of the traces that no publisher decided about are sent; default 100. A
	// publisher's own word on its trace (the flag "sampled") is obeyed.
	Percent  int
	Version  string // of Weir
	Instance string // tells replicas apart

	Queue int           // spans that may wait; 8192
	Batch time.Duration // longest wait of a span for others; 1 s
	Try   time.Duration // of one request; 10 s
	Grace time.Duration // for what is left at the end; 3 s
}

// Tracing is an observer that makes spans. Run sends them.
type Tracing struct {
	queue  *queue
	tracer trace.Tracer
	limit  uint64 // hashes below are sent
}

// New returns a Tracing that sends nothing before it runs.
func New(lg zerolog.Logger, cfg Config) (*Tracing, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("traces: the endpoint is no URL")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptrace.New(context.Background(), otlptracehttp.NewClient( // which asks nobody yet
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(cfg.Headers),
		otlptracehttp.WithHTTPClient(client()), otlptracehttp.WithTimeout(cmp.Or(cfg.Try, 10*time.Second)),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
	))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	t := &Tracing{queue: newQueue(lg, exporter, cfg), limit: math.MaxUint64}
	if percent := cmp.Or(cfg.Percent, 100); percent < 100 {
		t.limit = math.MaxUint64 / 100 * uint64(percent) //nolint:gosec // 1 to 99
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(t.queue), sdktrace.WithIDGenerator(ids{}), sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "weir"), attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", cfg.Instance),
		)),
	)
	t.tracer = provider.Tracer("github.com/weirhq/weir")
	return t, nil
}

// Run sends spans until ctx ends, and then what is left, for Grace at most.
func (t *Tracing) Run(ctx context.Context) error { return t.queue.run(ctx) }

// Dropped counts the spans that were made and not delivered.
func (t *Tracing) Dropped() uint64 { return t.queue.dropped.Load() }

// thread is the trace of one event.
type thread struct {
	trace   trace.TraceID
	parent  trace.SpanID // the publisher's; zero: there is none
	sampled bool
	intent  string
}

func (t *Tracing) thread(s consumer.Subject) thread {
	th := thread{intent: s.Intent}
	if len(s.Trace) == len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") { // as schema.Traceparent has it
		id, err := trace.TraceIDFromHex(s.Trace[3:35])
		parent, err2 := trace.SpanIDFromHex(s.Trace[36:52])
		if err == nil && err2 == nil {
			th.trace, th.parent, th.sampled = id, parent, s.Trace[54] == '1'
			return th
		}
	}
	sum := sha256.Sum256([]byte(s.Intent))
	copy(th.trace[:], sum[16:])
	if id, err := uuid.Parse(s.Intent); err == nil {
		th.trace = trace.TraceID(id)
	}
	th.sampled = binary.BigEndian.Uint64(sum[:8]) <= t.limit
	return th
}

// span is the id of one of an event's spans.
func (th thread) span(parts ...any) (id trace.SpanID) {
	h := sha256.New()
	_, _ = fmt.Fprint(h, th.intent)
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "\n%v", p)
	}
	copy(id[:], h.Sum(nil))
	id[7] |= 1 // never zero
	return id
}

func (th thread) root() trace.SpanID             { return th.span("event") }
func (th thread) attempt(claim int) trace.SpanID { return th.span("attempt", claim) }
func (th thread) post(claim int) trace.SpanID    { return th.span("post", claim) }
func (th thread) call(id string) trace.SpanID    { return th.span("call", id) }

// context is that of one of the event's spans.
func (th thread) context(id trace.SpanID) trace.SpanContext {
	flags := trace.TraceFlags(0)
	if th.sampled {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: th.trace, SpanID: id, TraceFlags: flags, Remote: true})
}

// TraceID names the trace of an event.
func (t *Tracing) TraceID(s consumer.Subject) string { return t.thread(s).trace.String() }

// Traceparent is what an outcome carries, so that whoever gets it goes on where Weir
// ended: of a conversation, its span or that of the attempt which made it, else of the
// event.
func (t *Tracing) Traceparent(s consumer.Subject, state consumer.State, claim int, conversation string) string {
	th := t.thread(s)
	id := th.root()
	switch state {
	case consumer.Created:
		id = th.attempt(claim)
	case consumer.Ended:
		id = th.call(conversation)
	}
	flags := "00"
	if th.sampled {
		flags = "01"
	}
	return "00-" + th.trace.String() + "-" + hex.EncodeToString(id[:]) + "-" + flags
}

// made is one span, when it is over.
type made struct {
	name       string
	kind       trace.SpanKind
	id         trace.SpanID
	parent     trace.SpanID // zero: the trace begins with it
	start, end time.Time
	attributes []attribute.KeyValue
	links      []trace.Link
	wrong      string // what was; empty: nothing
}

// emit makes a span, unless its trace is not sent.
func (t *Tracing) emit(th thread, m made) {
	if !th.sampled {
		return
	}
	if m.start.IsZero() || m.start.After(m.end) {
		m.start = m.end
	}
	ctx := context.WithValue(context.Background(), idsKey{}, identity{th.trace, m.id})
	if m.parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, th.context(m.parent))
	}
	_, span := t.tracer.Start(ctx, m.name, trace.WithTimestamp(m.start.Round(0)), trace.WithSpanKind(m.kind), trace.WithAttributes(m.attributes...), trace.WithLinks(m.links...))
	if m.wrong != "" {
		span.SetStatus(codes.Error, m.wrong)
	}
	span.End(trace.WithTimestamp(m.end.Round(0)))
}

// ids generates the ids that emit has chosen.
type ids struct{}

type (
	idsKey   struct{}
	identity struct {
		trace trace.TraceID
		span  trace.SpanID
	}
)

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(idsKey{}).(identity)
	return id.trace, id.span
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	id, _ := ctx.Value(idsKey{}).(identity)
	return id.span
}
