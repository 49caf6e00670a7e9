package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/delivery"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/internal/metrics"
	"github.com/weirhq/weir/internal/owner"
)

// figures are what this replica measures. The engines, the gateway and the delivery
// of outcomes tell the metrics what happens; what is, is read at each scrape.
type figures struct {
	*metrics.Metrics

	scraped chan struct{} // a token for each scrape, and each look at the load: what the broker knows is wanted
	every   time.Duration // between two looks at that, at least

	mu     sync.Mutex
	terms  map[string]*owner.Term // by account: those of this replica
	keeper *owner.Term            // nil: another one looks after the state
	sample *metrics.Sample        // the newest; nil: none yet
}

func newFigures(cfg *config.Config, now func() metrics.Snapshot) *figures {
	mc := metrics.Config{Version: version, Now: now}
	for _, ac := range cfg.Accounts {
		a := metrics.Account{Name: ac.Name}
		for _, lc := range ac.Lanes {
			a.Lanes = append(a.Lanes, lc.Name)
		}
		mc.Accounts = append(mc.Accounts, a)
	}
	return &figures{Metrics: metrics.New(mc), scraped: make(chan struct{}, 1), every: sampleEvery, terms: make(map[string]*owner.Term)}
}

// serve answers a scrape.
func (f *figures) serve(w http.ResponseWriter, r *http.Request) {
	f.wish()
	f.Handler().ServeHTTP(w, r)
}

// wish has what only the broker knows sampled for a while.
func (f *figures) wish() {
	select {
	case f.scraped <- struct{}{}:
	default:
	}
}

// own notes that this replica owns an account, until the returned func is called.
func (f *figures) own(account string, t *owner.Term) (end func()) {
	f.Took(account)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.terms[account] = t
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.terms[account] == t {
			delete(f.terms, account)
		}
	}
}

// keep notes that this replica looks after the state, until the returned func is
// called.
func (f *figures) keep(t *owner.Term) (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keeper = t
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.keeper = nil
	}
}

// keeping reports whether this replica looks after the state.
func (f *figures) keeping() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keeper != nil && f.keeper.Held() == nil
}

// owned returns the epochs of the accounts that this replica owns.
func (f *figures) owned() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	epochs := make(map[string]uint64)
	for account, t := range f.terms {
		if t.Held() == nil {
			epochs[account] = t.Epoch()
		}
	}
	return epochs
}

func (f *figures) setSample(s *metrics.Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sample = s
}

func (f *figures) newest() *metrics.Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sample
}

// snapshot is the present state, as far as it is in memory.
func (s *service) snapshot() metrics.Snapshot {
	now := metrics.Snapshot{
		Keeper: s.figures.keeping(), Trusted: s.clock.Trusted() == nil, Owned: s.figures.owned(),
		Sample: s.figures.newest(), Clocks: make(map[string]time.Duration),
	}
	if s.replica != nil {
		now.Leased = s.replica.Held() == nil
	}
	if s.broker != nil {
		now.Connected, now.Reconnects = s.broker.Connection()
	}
	if ahead, known := s.clock.Offset(consumer.BrokerClock); known {
		now.Clocks["broker"] = ahead
	}
	for _, ac := range s.cfg.Accounts {
		if ahead, known := s.clock.Offset("account " + ac.Name); known {
			now.Clocks[ac.Name] = ahead
		}
	}
	for _, e := range s.distinct() {
		for _, a := range e.Vitals() {
			if _, owned := now.Owned[a.Account]; owned {
				now.Accounts = append(now.Accounts, a)
			}
		}
	}
	return now
}

// distinct returns the engines that run here, each once.
func (s *service) distinct() (all []*consumer.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[*consumer.Engine]bool)
	for _, e := range s.engines {
		if !seen[e] {
			seen[e] = true
			all = append(all, e)
		}
	}
	return all
}

// watcher hears the gateway. It implements gateway.Watcher.
type watcher struct{ *metrics.Metrics }

// Served implements gateway.Watcher.
func (w watcher) Served(v gateway.Visit) {
	w.Metrics.Served(v.Route, v.Lane, v.Method, v.Status, v.Took)
}

// tried hears what came of each try to deliver an outcome of a lane.
func (f *figures) tried(lane string) func(delivery.Fault) {
	return func(fault delivery.Fault) { f.Delivered(lane, fault.String()) }
}
