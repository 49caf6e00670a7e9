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
	controlTimeout = 30 * time.Second // of a request whose context has no end
)

// ServeControl answers the requests that people's commands make to a lane's
// owner, on weir.ctl.<lane>, until ctx ends, and then those that were sent before
// that. handle is called concurrently; its context ends some seconds after ctx.
func (b *Broker) ServeControl(ctx context.Context, lane string, handle func(ctx context.Context, request []byte) []byte) error {
	return b.answerAll(ctx, "control", "weir.ctl.", lane, maxControl, handle)
}

// ServeHooks is ServeControl for the webhooks that other replicas pass on to a
// lane's owner, on weir.hook.<lane>.
func (b *Broker) ServeHooks(ctx context.Context, lane string, handle func(ctx context.Context, request []byte) []byte) error {
	return b.answerAll(ctx, "webhooks", "weir.hook.", lane, maxHooks, handle)
}

// answerAll answers the requests to a lane's owner on one of its subjects.
func (b *Broker) answerAll(ctx context.Context, what, prefix, lane string, most int, handle func(ctx context.Context, request []byte) []byte) error {
	if err := checkLane(lane); err != nil {
		return fmt.Errorf("serve %s: %w", what, err)
	}
	requests := make(chan *nats.Msg, mostRequests)
	sub, err := b.nc.ChanSubscribe(prefix+lane, requests)
	if err != nil {
		return fmt.Errorf("serve %s of lane %s: %w", what, lane, err)
	}
	s := controlServer{b: b, requests: requests, handle: handle, slots: make(chan struct{}, most)}
	defer s.wg.Wait()
	s.serve(ctx)
	if err := b.leave(sub); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("serve %s of lane %s: %w", what, lane, err)
	}
	s.drain(ctx)
	return nil
}

type controlServer struct {
	b        *Broker
	requests chan *nats.Msg
	handle   func(context.Context, []byte) []byte
	slots    chan struct{}
	wg       sync.WaitGroup
}

// serve handles what comes until ctx ends. What does not fit into the channel was
// dropped, and will not be answered.
func (s *controlServer) serve(ctx context.Context) {
	for {
		select {
		case m := <-s.requests:
			s.begin(ctx, m)
		case <-ctx.Done():
			return
		}
	}
}

// begin handles a request, as soon as there is a slot.
func (s *controlServer) begin(ctx context.Context, m *nats.Msg) {
	s.slots <- struct{}{}
	s.wg.Go(func() {
		defer func() { <-s.slots }()
		work, cancel := outlive(ctx, lastWord)
		defer cancel()
		s.b.answer(m, s.handle(work, m.Data))
	})
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

// drain handles what came before the broker knew that no more is wanted: all of it
// comes before the broker's answer.
func (s *controlServer) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attempt)
	defer cancel()
	_ = s.b.nc.FlushWithContext(ctx) // of a connection that is down: what is there
	for {
		select {
		case m := <-s.requests:
			s.begin(ctx, m)
		default:
			return
		}
	}
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
