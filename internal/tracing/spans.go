package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
	"github.com/weirhq/weir/schema"
)

// about are the attributes of each span of an event.
func about(s consumer.Subject, more ...attribute.KeyValue) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("weir.lane", s.Lane), attribute.String("weir.account", s.Account), attribute.String("weir.provider", s.Provider),
		attribute.String("weir.intent", s.Intent),
	}
	if s.EventType != "" {
		all = append(all, attribute.String("weir.event.type", schema.Cut(schema.Mask(s.EventType), 200)))
	}
	if s.Channel != "" {
		all = append(all, attribute.String("weir.channel", s.Channel))
	}
	return append(all, more...)
}

// text adds an attribute if it says something.
func text(all []attribute.KeyValue, name, value string) []attribute.KeyValue {
	if value != "" {
		all = append(all, attribute.String(name, value))
	}
	return all
}

// host is the item of a request whose attempt its span is a child of: the first whose
// trace is sent; -1: none is.
func (t *Tracing) host(a consumer.Answered) int {
	for i, it := range a.Items {
		if t.thread(it.Subject).sampled {
			return i
		}
	}
	return -1
}

// Answered implements consumer.Observer: the POST.
func (t *Tracing) Answered(a consumer.Answered) {
	first := t.host(a)
	if first < 0 || a.Barred {
		return
	}
	it := a.Items[first]
	th := t.thread(it.Subject)
	m := made{
		name: "POST", kind: trace.SpanKindClient, id: th.post(it.Claim), parent: th.attempt(it.Claim), start: a.Began, end: a.Done,
		attributes: []attribute.KeyValue{
			attribute.String("http.request.method", "POST"), attribute.String("weir.account", a.Account),
			attribute.String("weir.provider", a.Provider), attribute.Int("weir.items", len(a.Items)),
		},
	}
	if a.Status != 0 {
		m.attributes = append(m.attributes, attribute.Int("http.response.status_code", a.Status))
	}
	if !a.Sent.IsZero() {
		m.attributes = append(m.attributes, attribute.Float64("weir.connected_seconds", a.Sent.Sub(a.Began).Seconds()))
	}
	if a.Refused != ratelimiter.NotRefused {
		m.attributes = append(m.attributes, attribute.String("weir.refused", a.Refused.String()))
	}
	if a.Status == 0 || a.Status >= 400 {
		m.wrong = it.Verdict.String()
	}
	if len(a.Items) > 1 {
		for _, it := range a.Items {
			other := t.thread(it.Subject)
			m.links = append(m.links, trace.Link{SpanContext: other.context(other.attempt(it.Claim))})
		}
	}
	t.emit(th, m)
}

// Attempted implements consumer.Observer: the attempt, and what it waited for.
func (t *Tracing) Attempted(a consumer.Attempted) {
	th := t.thread(a.Subject)
	for i, w := range a.Waits {
		if i == 0 && a.Claim == 1 && w.Cause == consumer.CauseQueue {
			continue // the event's own span tells it
		}
		t.emit(th, made{
			name: "wait " + w.Cause, kind: trace.SpanKindInternal, id: th.span("wait", a.Claim, i), parent: th.root(),
			start: w.Began, end: w.Began.Add(w.For), attributes: about(a.Subject, attribute.String("weir.cause", w.Cause)),
		})
	}
	m := made{
		name: "attempt", kind: trace.SpanKindConsumer, id: th.attempt(a.Claim), parent: th.root(), start: a.Fetched, end: time.Now(),
		attributes: about(a.Subject, attribute.Int("weir.attempt", a.Claim), attribute.String("weir.verdict", a.Verdict.String()), attribute.String("weir.state", string(a.State))),
	}
	m.attributes = text(text(m.attributes, "weir.conversation", a.Conversation), "weir.cause", a.Cause)
	if a.Claim > 1 {
		m.links = append(m.links, trace.Link{SpanContext: th.context(th.attempt(a.Claim - 1))})
	}
	if first := t.host(*a.Answered); first >= 0 && first != a.Index {
		it := a.Answered.Items[first]
		other := t.thread(it.Subject)
		m.links = append(m.links, trace.Link{SpanContext: other.context(other.post(it.Claim))})
	}
	if a.Verdict != consumer.VerdictCreated && a.Verdict != consumer.VerdictFull {
		m.wrong = a.Verdict.String()
	}
	t.emit(th, m)
}

// Turned implements consumer.Observer: the event's own span with its first change, the
// call with its end, and the other changes that no attempt tells.
func (t *Tracing) Turned(c consumer.Turned) {
	th := t.thread(c.Subject)
	m := made{
		name: c.Kind.String(), kind: trace.SpanKindInternal, id: th.span("step", c.N), parent: th.root(), start: c.At, end: c.At,
		attributes: about(c.Subject, attribute.String("weir.state", string(c.To)), attribute.String("weir.step", c.Kind.String())),
	}
	m.attributes = text(text(text(m.attributes, "weir.cause", c.Cause), "weir.rule", c.Rule), "weir.conversation", c.Conversation)
	switch {
	case c.From == c.To && c.Kind == consumer.StepDefer: // what it waited for is told when it is over
		return
	case c.N == 1:
		m.name, m.kind, m.id, m.parent, m.start = "event", trace.SpanKindConsumer, th.root(), th.parent, c.Born
	case c.Attempt, c.Kind == consumer.StepDefer:
		return
	case c.Kind == consumer.StepEnd:
		m.name, m.id, m.start, m.end = "call", th.call(c.Conversation), c.Began, c.Ended
		if m.end.IsZero() {
			m.end = c.At
		}
		if m.start.IsZero() {
			m.start = m.end.Add(-c.Talked)
		}
		m.attributes = text(m.attributes, "weir.result", c.Result)
		m.links = []trace.Link{{SpanContext: th.context(th.attempt(c.Made))}}
	}
	if c.To == consumer.Dead || c.To == consumer.Doubt || c.Second {
		m.wrong = c.Kind.String()
	}
	t.emit(th, m)
}
