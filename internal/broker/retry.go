package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// budget is how long one call is tried again while the broker does not answer:
// longer than the election of a leader, which takes up to 9 s.
const budget = 30 * time.Second

// attempt is how long one try may take. Tests alone change it, before they begin.
var attempt = 2 * time.Second

// retry calls op until it succeeds, fails for good, ctx ends or the limit has
// passed. An op that published may have been done although it failed.
func retry(ctx context.Context, limit time.Duration, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := once(ctx, op)
		if err == nil || !transient(err) {
			return err
		}
		if !sleep(ctx, wait/2+rand.N(wait/2)) {
			return fmt.Errorf("gave up: %w", err)
		}
	}
}

func once(ctx context.Context, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return op(ctx)
}

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// storeFailed is the broker's code for a stream that can take no more: at its
// limits, or its disk failed. Asking again does not help.
const storeFailed jetstream.ErrorCode = 10077

// inProcess is the broker's code for a message whose earlier copy waits for the
// quorum of a replicated stream, and is stored or dropped in the end.
const inProcess jetstream.ErrorCode = 10158

// transient reports whether the broker may answer otherwise if it is asked
// again: anything but its own definite refusals.
func transient(err error) bool {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadHeaderMsg) {
		return false
	}
	if errors.Is(err, ErrTooOld) || errors.Is(err, consumer.ErrConflict) || errors.Is(err, errUnreadable) {
		return false
	}
	e, ok := errors.AsType[*jetstream.APIError](err)
	return !ok || e.Code == 503 && e.ErrorCode != storeFailed || e.ErrorCode == inProcess
}

// noPeers is the broker's code for a stream or consumer that has not enough servers
// in its cluster. It does not tell whether more are to come.
const noPeers jetstream.ErrorCode = 10005

// noLeader is the broker's code for a cluster, or a stream in it, without a leader: most
// of the servers are away, or do not reach each other.
const noLeader jetstream.ErrorCode = 10008

// Leaderless reports whether an error says that the broker's servers have no leader,
// so that they do nothing until they have elected one.
func Leaderless(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == noLeader
}

// Away reports whether an error of this package, or of another that works on the
// same connection, says no more than that the broker cannot be reached, does not
// answer or has not all of its servers: the same may succeed later. That a broker
// has no storage left is an answer.
func Away(err error) bool {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		if e.ErrorCode == noPeers {
			return true
		}
		return e.Code == 503 && transient(e) && e.ErrorCode != noResources && !errors.Is(err, jetstream.ErrJetStreamNotEnabled)
	}
	for _, silence := range []error{
		errUnderWay, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrNoServers, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, silence) {
			return true
		}
	}
	return false
}

// outpaced reports whether the broker refused a write because of the revision
// that it expected. A replicated stream has a code of its own for it while another
// write to the same subject is under way.
func outpaced(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
