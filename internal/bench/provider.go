package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Provider stands before a simulated provider and notes when each event's first
// request comes. It is an http.Handler; its own answers are under /bench/.
type Provider struct {
	next http.Handler

	mu      sync.Mutex
	arrived []int64 // by event: since the epoch, in nanoseconds; 0: not yet
	counts  Counts
	open    int // requests that are being answered
}

// Counts is what a provider was asked.
type Counts struct {
	Events  int `json:"events"`  // distinct events that were asked for
	Doubled int `json:"doubled"` // events that were asked for again
	Creates int `json:"creates"` // requests for conversations
	Looks   int `json:"looks"`   // requests about them
	Most    int `json:"most"`    // most requests that were answered at once since the last look
}

// NewProvider returns the handler before next.
func NewProvider(next http.Handler) *Provider { return &Provider{next: next} }

// maxEvents bounds the numbers of events that are noted.
const maxEvents = 10_000_000

// maxRequest bounds the body of a request that is read.
const maxRequest = 8 << 20

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	switch r.URL.Path {
	case "/bench/counts":
		reply(w, p.look())
		return
	case "/bench/arrivals":
		from, errFrom := strconv.Atoi(r.URL.Query().Get("from"))
		to, errTo := strconv.Atoi(r.URL.Query().Get("to"))
		if errFrom != nil || errTo != nil || from < 0 || to < from || to > maxEvents {
			http.Error(w, "from and to must be numbers of events", http.StatusBadRequest)
			return
		}
		reply(w, p.arrivals(from, to))
		return
	}
	var events []int
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, events = io.NopCloser(bytes.NewReader(body)), numbers(body)
	}
	p.begin(r.Method == http.MethodPost, now, events)
	defer p.end()
	p.next.ServeHTTP(w, r)
}

func (p *Provider) begin(create bool, now time.Time, events []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	p.counts.Most = max(p.counts.Most, p.open)
	if create {
		p.counts.Creates++
	} else {
		p.counts.Looks++
	}
	for _, n := range events {
		if n < 0 || n >= maxEvents {
			continue
		}
		if n >= len(p.arrived) {
			p.arrived = append(p.arrived, make([]int64, n+1-len(p.arrived))...)
		}
		if p.arrived[n] != 0 {
			p.counts.Doubled++
			continue
		}
		p.arrived[n] = now.UnixNano()
		p.counts.Events++
	}
}

func (p *Provider) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

func (p *Provider) look() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	p.counts.Most = 0
	return c
}

func (p *Provider) arrivals(from, to int) []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]int64, to-from)
	if from < len(p.arrived) {
		copy(all, p.arrived[from:min(to, len(p.arrived))])
	}
	return all
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone
}

// ServeProvider answers on a free port of loopback until ctx ends, and tells its
// address on ready when it does.
func ServeProvider(ctx context.Context, h http.Handler, ready io.Writer) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	fmt.Fprintln(ready, ln.Addr())
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = srv.Close()
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Asker asks a Provider that runs elsewhere.
type Asker struct {
	Address string // host and port
	client  http.Client
}

// Counts is what the provider was asked so far.
func (a *Asker) Counts(ctx context.Context) (c Counts, err error) {
	return c, a.ask(ctx, "counts", nil, &c)
}

// Arrivals are the times of the first requests for the events from one number up to
// another, that one not included. A zero time: there was none.
func (a *Asker) Arrivals(ctx context.Context, from, to int) ([]time.Time, error) {
	var raw []int64
	query := url.Values{"from": {strconv.Itoa(from)}, "to": {strconv.Itoa(to)}}
	if err := a.ask(ctx, "arrivals", query, &raw); err != nil {
		return nil, err
	}
	all := make([]time.Time, len(raw))
	for i, at := range raw {
		if at != 0 {
			all[i] = time.Unix(0, at)
		}
	}
	return all, nil
}

func (a *Asker) ask(ctx context.Context, what string, query url.Values, answer any) error {
	u := url.URL{Scheme: "http", Host: a.Address, Path: "/bench/" + what, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the provider: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the provider for %s: status %d", what, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
