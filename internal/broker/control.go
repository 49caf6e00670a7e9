package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNoOwner is a request to a lane that no process owns.
var ErrNoOwner = errors.New("no running weir owns the lane")

const (
	maxControl     = 16               // requests of a lane that are handled at one time
	maxHooks       = 64               // webhooks of a lane that are handled at one time
	mostRequests   = 512              // of a lane that wait to be handled; more are dropped
	mostUnsorted   = 16 << 10         // of all lanes that wait to be sorted; the same
	controlTimeout = 30 * time.Second // of a request whose context has no end
)

// ServeControl answers the requests that people's commands make to a lane's
// owner, on weir.ctl.<lane>, until ctx ends, and then those that were sent before
// that. handle is called concurrently; its context ends some seconds after ctx. The
// function that is returned waits until all of that is over.
func (b *Broker) ServeControl(ctx context.Context, lane string, handle Handler) (wait func(), err error) {
	return b.answerAll(ctx, "control", "weir.ctl.", lane, maxControl, handle)
}

// ServeHooks is ServeControl for the webhooks that other replicas pass on to a
// lane's owner, on weir.hook.<lane>.
func (b *Broker) ServeHooks(ctx context.Context, lane string, handle Handler) (wait func(), err error) {
	return b.answerAll(ctx, "webhooks", "weir.hook.", lane, maxHooks, handle)
}

// Handler answers a request to a lane's owner.
type Handler func(ctx context.Context, request []byte) []byte

// answerAll answers the requests to a lane's owner on one of its subjects.
func (b *Broker) answerAll(ctx context.Context, what, prefix, lane string, most int, handle Handler) (func(), error) {
	if err := checkLane(lane); err != nil {
		return nil, fmt.Errorf("serve %s: %w", what, err)
	}
	a := &answerer{b: b, ctx: ctx, handle: handle, most: most, last: make(chan struct{})}
	sub, err := b.hall.open(b.nc, prefix+lane, a)
	if err != nil {
		return nil, fmt.Errorf("serve %s of lane %s: %w", what, lane, err)
	}
	context.AfterFunc(ctx, func() {
		if err := b.leave(sub); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			b.lg.Warn().Err(err).Msg("serve " + what + " of lane " + lane)
		}
		b.drained(ctx)
		b.hall.close(sub)
	})
	return a.wait, nil
}

// drained waits until what was sent before the broker knew that no more is wanted has
// come: all of it comes before the broker's answer.
func (b *Broker) drained(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attempt)
	defer cancel()
	_ = b.nc.FlushWithContext(ctx) // of a connection that is down: what is there
}

// answerer answers the requests of one subject.
type answerer struct {
	b      *Broker
	ctx    context.Context //nolint:containedctx // until when requests are wanted
	handle Handler
	most   int           // requests that are handled at one time
	last   chan struct{} // closed when no more come

	mu      sync.Mutex
	busy    int         // requests that are being handled
	waiting []*nats.Msg // the others, at most mostRequests
	wg      sync.WaitGroup
}

// wait returns when the last request was answered.
func (a *answerer) wait() {
	<-a.last
	a.wg.Wait()
}

// take handles a request as soon as less than most others are handled. It does not
// wait for that: what are too many is dropped, and will not be answered.
func (a *answerer) take(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.busy < a.most:
		a.busy++
		a.wg.Go(func() { a.work(m) })
	case len(a.waiting) < mostRequests:
		a.waiting = append(a.waiting, m)
	}
}

// work handles a request and then those that waited.
func (a *answerer) work(m *nats.Msg) {
	for ; m != nil; m = a.next() {
		ctx, cancel := outlive(a.ctx, lastWord)
		a.b.answer(m, a.handle(ctx, m.Data))
		cancel()
	}
}

// next returns the request that has waited longest; nil if none does.
func (a *answerer) next() *nats.Msg {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 {
		a.busy--
		a.waiting = nil
		return nil
	}
	m := a.waiting[0]
	a.waiting = a.waiting[1:]
	return m
}

// lastWord is how long a command may take once this process is asked to stop.
const lastWord = 5 * time.Second

// outlive returns a context that ends some time after ctx does.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(by, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel() }
}

func (b *Broker) answer(m *nats.Msg, reply []byte) {
	if err := m.Respond(reply); err != nil {
		b.lg.Warn().Err(err).Msg("answer to a command not sent")
	}
}

// Control sends a request to the owner of a lane and returns the answer;
// ErrNoOwner if there is none. A request without an answer may have been obeyed.
func (b *Broker) Control(ctx context.Context, lane string, request []byte) ([]byte, error) {
	return b.ask(ctx, "control", "weir.ctl.", lane, request)
}

// PassHook sends a webhook to the owner of a lane and returns the answer;
// ErrNoOwner if there is none.
func (b *Broker) PassHook(ctx context.Context, lane string, request []byte) ([]byte, error) {
	return b.ask(ctx, "webhook", "weir.hook.", lane, request)
}

// ask sends a request to the owner of a lane.
func (b *Broker) ask(ctx context.Context, what, prefix, lane string, request []byte) ([]byte, error) {
	if err := checkLane(lane); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, controlTimeout)
		defer cancel()
	}
	m, err := b.nc.RequestWithContext(ctx, prefix+lane, request)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("lane %s: %w", lane, ErrNoOwner)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of lane %s: %w", what, lane, err)
	}
	return m.Data, nil
}
