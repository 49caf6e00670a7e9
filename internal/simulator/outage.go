package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The kinds of outages. Each strikes every request to the provider, before
// anything is done.
const (
	Outage503    = "503"    // answered 503
	OutageRefuse = "refuse" // the connection is reset at once
	OutageHang   = "hang"   // nothing is answered until the outage is over, then the connection is closed
)

// outage is the one that lasts, if any. The zero outage is none.
type outage struct {
	mu    sync.Mutex
	kind  string
	until time.Time     // zero: until it is ended
	over  chan struct{} // closed when it is ended before its time
}

// SetOutage begins an outage, in place of the one that lasts. A zero until
// means until ClearOutage. The operator's routes stay reachable.
func (s *Simulator) SetOutage(kind string, until time.Time) error {
	kinds := []string{Outage503, OutageRefuse, OutageHang}
	if !slices.Contains(kinds, kind) {
		return fmt.Errorf("outage: %q is none of %q", kind, kinds)
	}
	s.lg.Warn().Str("kind", kind).Time("until", until).Msg("outage begins")
	s.outage.set(kind, until)
	return nil
}

// ClearOutage ends the outage that lasts, if any.
func (s *Simulator) ClearOutage() {
	s.lg.Warn().Msg("outage is over")
	s.outage.set("", time.Time{})
}

func (o *outage) set(kind string, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over != nil {
		close(o.over)
	}
	o.kind, o.until, o.over = kind, until, nil
	if kind != "" {
		o.over = make(chan struct{})
	}
}

// current returns the outage at a time: its kind, empty if there is none, how
// long it still lasts, 0 if nobody knows, and what is closed when it is ended
// early.
func (o *outage) current(now time.Time) (kind string, left time.Duration, over <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kind == "" {
		return "", 0, nil
	}
	if o.until.IsZero() {
		return o.kind, 0, o.over
	}
	if left = o.until.Sub(now); left <= 0 {
		return "", 0, nil
	}
	return o.kind, left, o.over
}

// interrupted deals with a request during an outage, and reports whether there
// was one.
func (s *Simulator) interrupted(w http.ResponseWriter, r *http.Request) bool {
	kind, left, over := s.outage.current(time.Now())
	if kind == "" {
		return false
	}
	s.tally.fault("outage_" + kind)
	switch kind {
	case OutageRefuse:
		reset(w)
	case OutageHang:
		s.spoil(w, r, "outage_"+kind)
		limit := s.manner.faults.HangFor
		if left > 0 {
			limit = min(limit, left)
		}
		hang(r.Context(), limit, over)
	}
	s.spoil(w, r, "outage_"+kind)
	s.deliver(w, r, s.api.failure(http.StatusServiceUnavailable, "Service Unavailable"))
	return true
}
