// Package metrics counts what a replica does, for Prometheus.
//
// There are three kinds of figures:
//
//   - What happened (requests, ends, waits) is counted as it happens: [Metrics] is a
//     consumer.Observer and hears the gateway and the delivery of outcomes. Such
//     counters begin at 0 with the process, as Prometheus expects.
//   - What is in memory (slots, lanes, the lease) is read at each scrape, from a
//     [Snapshot] that whoever runs the replica gives.
//   - What only the broker knows (the backlog, the streams) is in a [Sample] that is
//     taken now and then, apart from any scrape. It has an age, which is a metric.
//
// So a scrape asks nobody for anything and waits for nobody, and no lane waits for a
// scrape.
//
// Where several replicas run, the owner of an account exports what is the account's,
// and the replica that looks after the state exports what is everybody's: the room of
// the streams, dead letters and doubts, and the events of lanes that nobody owns.
// Nothing is exported twice, so that a sum over all replicas is right.
//
// Labels are words of the configuration (lane, account, channel) or of a fixed list.
// No id, no text of a provider and nothing of a person is one.
package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what is known before anything runs.
type Config struct {
	Version  string
	Accounts []Account
	// Now tells the present state. It is called at each scrape, and must not block.
	Now func() Snapshot
}

// Account is one account of the configuration.
type Account struct {
	Name  string
	Lanes []string // their names
}

// Metrics are a replica's. Their methods may be called concurrently and do not
// block.
type Metrics struct {
	registry *prometheus.Registry
	accounts map[string]string // by lane
	tallies  *tallies

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	queued   *prometheus.HistogramVec
	waits    *prometheus.CounterVec
	waited   *prometheus.CounterVec
	ended    *prometheus.CounterVec
	seconds  *prometheus.CounterVec
	rules    *prometheus.CounterVec

	door      *prometheus.CounterVec
	doorTime  *prometheus.HistogramVec
	events    *prometheus.CounterVec
	delivered *prometheus.CounterVec
}

// waitBuckets are of the time from an event to its call, in seconds: from one that
// finds a free slot to one that waits for a weekend to be over.
var waitBuckets = []float64{0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200, 86400, 259200}

// requestBuckets are of one request, in seconds.
var requestBuckets = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30}

// New returns metrics that nobody has told anything yet.
func New(cfg Config) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), accounts: make(map[string]string), tallies: newTallies(cfg.Accounts)}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&vitals{now: cfg.Now, accounts: cfg.Accounts},
		m.tallies,
	)
	build := m.gauge("weir_build_info", "The version that runs. The value is always 1.", "version", "goversion")
	build.WithLabelValues(cfg.Version, runtime.Version()).Set(1)
	m.ofCalls()
	m.ofOthers()
	for _, a := range cfg.Accounts {
		for _, ln := range a.Lanes {
			m.accounts[ln] = a.Name
		}
	}
	return m
}

// ofCalls makes the metrics of events and requests.
func (m *Metrics) ofCalls() {
	const lane, account = "lane", "account"
	m.requests = m.counter("weir_requests_total", "Create requests, by the answer's status: the status of HTTP, or none.", account, "code")
	m.duration = m.histogram("weir_request_duration_seconds", "How long a create request took, until its answer was read or given up.", requestBuckets, account)
	m.queued = m.histogram("weir_event_to_call_seconds", "From an event's publication to the first byte of the request that made its conversation, by the broker's clock.", waitBuckets, lane, account)
	m.waits = m.counter("weir_waits_total", "Waits that are over, of events that were then sent, by cause.", lane, account, "cause")
	m.waited = m.counter("weir_wait_seconds_total", "How long these waits were, by cause.", lane, account, "cause")
	m.ended = m.counter("weir_conversations_ended_total", "Conversations whose end is known, by result.", lane, account, "result")
	m.seconds = m.counter("weir_conversation_seconds_total", "How long these conversations were, as far as the provider says.", lane, account)
	m.rules = m.counter("weir_contact_rulings_total", "Events that a contact rule kept from being sent: later, or never.", lane, account, "rule", "ruling")
}

// ofOthers makes the metrics of what surrounds the lanes.
func (m *Metrics) ofOthers() {
	const lane, account = "lane", "account"
	m.door = m.counter("weir_gateway_requests_total", "Requests to the gateway, by route, lane in the address, method and status.", "route", lane, "method", "code")
	m.doorTime = m.histogram("weir_gateway_request_duration_seconds", "How long the gateway took to answer.", requestBuckets, "route")
	m.events = m.counter("weir_gateway_events_total", "Events that came in over HTTP, by what became of them: accepted, duplicate, skipped, refused, or failed for want of the broker.", "door", lane, "result")
	m.delivered = m.counter("weir_outcome_deliveries_total", "Tries to deliver an outcome by HTTP: delivered, refused, endpoint or gone.", lane, account, "result")
}

// Handler answers scrapes, in the text format or in OpenMetrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 5 * time.Second,
	})
}

// Gatherer is what a scrape reads.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

// histogram makes one with buckets of its own, and native ones for those who can
// read them.
func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	m.registry.MustRegister(h)
	return h
}

// oneOf is a word if it stands in a list, and "other" if not: whatever others say
// makes no label.
func oneOf(word string, list []string) string {
	if slices.Contains(list, word) {
		return word
	}
	return "other"
}
