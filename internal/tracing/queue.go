package tracing

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// mostBatch is how many spans one request has at most.
const mostBatch = 512

// complainEvery is the least time between two lines of the log about lost spans.
const complainEvery = time.Minute

// queue holds the spans that are to be sent. OnEnd never waits: what finds no place is
// dropped, and so is what the collector does not take.
type queue struct {
	lg       zerolog.Logger
	exporter sdktrace.SpanExporter
	cfg      Config
	spans    chan sdktrace.ReadOnlySpan
	dropped  atomic.Uint64

	told    uint64    // of dropped, in the log; run's alone
	toldAt  time.Time // the same
	trouble error     // of the latest request; nil: it was taken
}

func newQueue(lg zerolog.Logger, exporter sdktrace.SpanExporter, cfg Config) *queue {
	cfg.Queue = cmp.Or(cfg.Queue, 8192)
	cfg.Batch = cmp.Or(cfg.Batch, time.Second)
	cfg.Try = cmp.Or(cfg.Try, 10*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 3*time.Second)
	return &queue{lg: lg, exporter: exporter, cfg: cfg, spans: make(chan sdktrace.ReadOnlySpan, cfg.Queue)}
}

// OnStart implements sdktrace.SpanProcessor.
func (q *queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	select {
	case q.spans <- s:
	default:
		q.dropped.Add(1)
	}
}

// Shutdown implements sdktrace.SpanProcessor: run ends by its own context.
func (q *queue) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (q *queue) ForceFlush(context.Context) error { return nil }

// run sends spans until ctx ends, and then for Grace what is left. A request that is
// under way then gets that time too.
func (q *queue) run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(q.cfg.Grace, stop) })()
	for ctx.Err() == nil {
		if batch := q.gather(ctx); len(batch) > 0 {
			q.send(working, batch)
		}
		q.complain(time.Now())
	}
	for working.Err() == nil && len(q.spans) > 0 {
		q.send(working, q.take(nil))
	}
	q.dropped.Add(uint64(len(q.spans)))
	q.complain(time.Now().Add(complainEvery))
	return q.exporter.Shutdown(context.WithoutCancel(ctx))
}

// gather waits for a span, and then for others for a while.
func (q *queue) gather(ctx context.Context) (batch []sdktrace.ReadOnlySpan) {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(complainEvery):
		return nil
	case s := <-q.spans:
		batch = append(batch, s)
	}
	full := time.After(q.cfg.Batch)
	for len(batch) < mostBatch {
		select {
		case s := <-q.spans:
			batch = append(batch, s)
		case <-full:
			return batch
		case <-ctx.Done():
			return q.take(batch)
		}
	}
	return batch
}

// take adds what is there.
func (q *queue) take(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	for len(batch) < mostBatch {
		select {
		case s := <-q.spans:
			batch = append(batch, s)
		default:
			return batch
		}
	}
	return batch
}

// send makes one request. What it does not deliver is dropped: a collector that was
// away for long must not be met by an old flood.
func (q *queue) send(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Try)
	defer cancel()
	if q.trouble = q.exporter.ExportSpans(ctx, batch); q.trouble != nil {
		q.dropped.Add(uint64(len(batch)))
	}
}

// complain says now and then that spans were lost.
func (q *queue) complain(now time.Time) {
	lost := q.dropped.Load()
	if lost == q.told || now.Sub(q.toldAt) < complainEvery {
		return
	}
	q.lg.Warn().Err(q.trouble).Uint64("spans", lost-q.told).Msg("traces are incomplete: the collector does not take spans, or not as fast as they come")
	q.told, q.toldAt = lost, now
}

// client does nothing by itself: no proxy, no redirects, which would hand the headers
// on, no HTTP/2.
func client() *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Protocols: &protocols, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
			IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
