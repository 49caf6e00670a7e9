package gateway

import (
	"net/http"
	"strings"
	"time"
)

// Watcher hears what the gateway does. Its methods are called while a request is
// served, and may be called concurrently: they return at once.
type Watcher interface {
	// Served hears of each request that was answered.
	Served(Visit)
	// Taken hears of each event that came in, also of those in a batch or a webhook:
	// by which door (events or crm), for which lane (empty if none could be told), and
	// what became of it: accepted, duplicate, skipped, refused, or failed for want of
	// the broker's word.
	Taken(door, lane, result string)
}

// Visit is one request and its answer.
type Visit struct {
	Route  string // events, provider_hook, crm_hook or none
	Lane   string // in the address, as the caller wrote it; empty: none
	Method string // as the caller wrote it
	Status int
	Took   time.Duration
}

// The doors by which events come in.
const (
	doorEvents = "events"
	doorCRM    = "crm"
)

// titleSkipped is the title of what a CRM tells and nobody is called about.
const titleSkipped = "Skipped"

// resultOf is what became of an event, in a word.
func resultOf(got receipt, bad *problem) string {
	switch {
	case bad != nil && bad.Status >= 500:
		return "failed"
	case bad != nil:
		return "refused"
	case got.Duplicate:
		return "duplicate"
	case got.Title == titleSkipped:
		return "skipped"
	default:
		return "accepted"
	}
}

// nobody watches.
type nobody struct{}

func (nobody) Served(Visit)                    {}
func (nobody) Taken(door, lane, result string) {}

func watched(w Watcher) Watcher {
	if w == nil {
		return nobody{}
	}
	return w
}

// visit notes the status of an answer.
type visit struct {
	http.ResponseWriter

	began  time.Time
	status int
}

// WriteHeader implements http.ResponseWriter.
func (v *visit) WriteHeader(status int) {
	if v.status == 0 {
		v.status = status
	}
	v.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer itself.
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// plain is the server's own writer: what limits a body tells it to close the
// connection.
func plain(w http.ResponseWriter) http.ResponseWriter {
	if v, ok := w.(*visit); ok {
		return v.ResponseWriter
	}
	return w
}

// record is what is told of a request when it is over.
func (v *visit) record(r *http.Request) Visit {
	got := Visit{Route: "none", Method: r.Method, Status: v.status, Took: time.Since(v.began)}
	if got.Status == 0 {
		got.Status = http.StatusOK
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 4)
	switch {
	case parts[0] == "events" && len(parts) <= 2:
		got.Route = "events"
		if len(parts) == 2 && r.Method == http.MethodPost {
			got.Lane = parts[1]
		}
	case len(parts) == 4 && parts[0] == "hooks" && (parts[1] == "provider" || parts[1] == "crm"):
		got.Route, got.Lane = parts[1]+"_hook", parts[2]
	}
	return got
}
