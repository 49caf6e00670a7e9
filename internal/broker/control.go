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
	sub, err := b.nc.SubscribeSync(prefix + lane)
	if err != nil {
		return fmt.Errorf("serve %s of lane %s: %w", what, lane, err)
	}
	s := controlServer{b: b, sub: sub, handle: handle, slots: make(chan struct{}, most)}
	defer s.wg.Wait()
	err = s.serve(ctx, ctx)
	if ctx.Err() != nil {
		if err = sub.Drain(); err == nil {
			err = s.drain(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("serve %s of lane %s: %w", what, lane, err)
	}
	return nil
}

type controlServer struct {
	b      *Broker
	sub    *nats.Subscription
	handle func(context.Context, []byte) []byte
	slots  chan struct{}
	wg     sync.WaitGroup
}

// serve handles what comes until receive ends.
func (s *controlServer) serve(ctx, receive context.Context) error {
	for {
		m, err := s.sub.NextMsgWithContext(receive)
		if errors.Is(err, nats.ErrSlowConsumer) { // some were dropped, and will not be answered
			continue
		}
		if err != nil {
			return err
		}
		s.slots <- struct{}{}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			work, cancel := outlive(ctx, lastWord)
			defer cancel()
			s.b.answer(m, s.handle(work, m.Data))
		})
	}
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

// drain handles what came before the broker knew that no more is wanted.
func (s *controlServer) drain(ctx context.Context) error {
	receive, cancel := context.WithTimeout(context.WithoutCancel(ctx), attempt)
	defer cancel()
	err := s.serve(ctx, receive)
	if errors.Is(err, nats.ErrBadSubscription) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
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
