package broker

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// hall is where the requests to all lanes of this process arrive. It owns thousands,
// most of which are asked nothing for hours, so they have one goroutine and one
// channel in common. The goroutine sorts what comes and waits for nobody: no lane that
// is asked too much keeps a request from another.
type hall struct {
	mu        sync.Mutex
	answerers map[*nats.Subscription]*answerer
	requests  chan *nats.Msg
	running   bool // there is a goroutine, as long as there are answerers
}

// open lets an answerer have what comes on a subject.
func (h *hall) open(nc *nats.Conn, subject string, a *answerer) (*nats.Subscription, error) {
	h.mu.Lock() // a request may come before this returns
	defer h.mu.Unlock()
	if h.requests == nil {
		h.answerers = make(map[*nats.Subscription]*answerer)
		h.requests = make(chan *nats.Msg, mostUnsorted)
	}
	sub, err := nc.ChanSubscribe(subject, h.requests)
	if err != nil {
		return nil, err
	}
	h.answerers[sub] = a
	if !h.running {
		h.running = true
		go h.run()
	}
	return sub, nil
}

// close says that an answerer gets nothing more, after all that came already.
func (h *hall) close(sub *nats.Subscription) {
	h.requests <- &nats.Msg{Sub: sub} // without a subject, which no request is
}

// run sorts until the last answerer was closed.
func (h *hall) run() {
	for m := range h.requests {
		if h.sort(m) {
			return
		}
	}
}

// sort gives a request to its answerer, and reports whether there is none any more.
func (h *hall) sort(m *nats.Msg) (over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.answerers[m.Sub]
	switch {
	case a == nil: // it came too late
	case m.Subject != "":
		a.take(m)
	default:
		delete(h.answerers, m.Sub)
		close(a.last)
		h.running = len(h.answerers) > 0
	}
	return !h.running
}
