package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/consumer"
)

// Load implements consumer.Ledger.
func (l *Ledger) Load(ctx context.Context, lane, key string) (consumer.Intent, uint64, error) {
	absent := consumer.Intent{Lane: lane, Key: key}
	at, err := addressOf(lane, key)
	if err != nil {
		return absent, 0, fmt.Errorf("load: %w", err)
	}
	h, err := l.read(ctx, at)
	if err != nil {
		return absent, 0, fmt.Errorf("load %s from the ledger: %w", at, err)
	}
	if h.gone {
		return absent, 0, nil
	}
	in, extra, err := decode(lane, key, h.data)
	if err != nil {
		return absent, 0, fmt.Errorf("load from the ledger: %w", err)
	}
	l.known.put(at, h.revision, extra)
	return in, h.revision, nil
}

// Store implements consumer.Ledger. Reasons, and an event's source, id and
// type, are cut to the bounds of an entry.
func (l *Ledger) Store(ctx context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	at, err := addressOf(in.Lane, in.Key)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	if in.State == consumer.Absent {
		return 0, fmt.Errorf("store %s: an entry needs a state", at)
	}
	extra, err := l.unknown(ctx, at, in, revision)
	if err != nil {
		return 0, fmt.Errorf("store %s in the ledger: %w", at, err)
	}
	if l.back.Load() {
		return 0, fmt.Errorf("store %s: the ledger has lost entries; nothing is written until its lanes are held", at)
	}
	floor := l.top.Load()
	w := write{at: at, id: nuid.Next(), expect: revision}
	if w.data, err = encode(in, w.id, extra); err != nil {
		return 0, fmt.Errorf("store %s: %w", at, err)
	}
	stored, fresh, err := l.write(ctx, w)
	if err != nil {
		return 0, fmt.Errorf("store %s in the ledger: %w", at, err)
	}
	if !l.rose(floor, stored) {
		if l.back.CompareAndSwap(false, true) {
			l.lost(stored, floor)
		}
		return 0, fmt.Errorf("store %s in the ledger: its sequence %d comes after %d, so the ledger has lost entries: %w", at, stored, floor, consumer.ErrConflict)
	}
	if err := l.stored(stored, fresh); err != nil {
		return 0, fmt.Errorf("store %s in the ledger: note it: %w", at, err)
	}
	l.known.put(at, stored, extra)
	return stored, nil
}

// rose notes a sequence that was written, and reports whether it is above floor,
// the highest one that was known before the write. Where it is not, the broker has
// lost what was stored: an entry that seems to be absent may have been there. Such
// a write does not count, whoever asked for it has to read again, and nothing more
// is written until Accept.
func (l *Ledger) rose(floor, sequence uint64) bool {
	if sequence <= floor {
		return false
	}
	for {
		top := l.top.Load()
		if sequence <= top || l.top.CompareAndSwap(top, sequence) {
			return true
		}
	}
}

// Accept takes the ledger as it is now, although it has lost entries: its sequences
// may begin anew. Its lanes must be held: nothing may be sent until somebody has
// looked at that.
func (l *Ledger) Accept() {
	l.top.Store(0)
	l.back.Store(false)
}

// unknown returns the members of the entry at revision that this version does
// not know.
func (l *Ledger) unknown(ctx context.Context, at address, in consumer.Intent, revision uint64) (unknown, error) {
	if revision == 0 {
		return nil, nil
	}
	if extra, ok := l.known.get(at, revision); ok {
		return extra, nil
	}
	h, err := l.read(ctx, at)
	if err != nil {
		return nil, err
	}
	if h.gone || h.revision != revision {
		return nil, consumer.ErrConflict
	}
	_, extra, err := decode(in.Lane, in.Key, h.data)
	return extra, err
}

// head is the newest message of a key.
type head struct {
	revision uint64 // its sequence; 0 if there is no message at all
	gone     bool   // there is none, or it says that the key was removed
	data     []byte
}

// read asks the leader for the newest message of a key.
func (l *Ledger) read(ctx context.Context, at address) (head, error) {
	var h head
	err := l.retry(ctx, func(ctx context.Context) error {
		var err error
		h, err = l.readOnce(ctx, at)
		return err
	})
	return h, err
}

func (l *Ledger) readOnce(ctx context.Context, at address) (head, error) {
	m, err := l.stream.GetLastMsgForSubject(ctx, string(at))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return head{gone: true}, nil
	}
	if err != nil {
		return head{}, err
	}
	return head{revision: m.Sequence, gone: removed(m.Header), data: m.Data}, nil
}

// removed reports whether a message of a key-value bucket says that the key was
// deleted, purged or has expired.
func removed(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// Removed reports whether a message of the bucket's stream says that somebody
// removed the entry.
func Removed(h nats.Header) bool { return removed(h) }

// write is one Store: the same bytes and the same expectation however often
// they are sent.
type write struct {
	at     address
	data   []byte
	id     string
	expect uint64
}

// errAgain is a write that is not settled yet.
var errAgain = errors.New("the ledger's leader has not caught up")

// write sends w until it is known to be stored or to have lost. fresh tells that
// its key had nothing before, not even the mark of a removal.
func (l *Ledger) write(ctx context.Context, w write) (revision uint64, fresh bool, err error) {
	var stored uint64
	lost := false // an earlier copy may have been stored, or may be yet
	err = l.retry(ctx, func(ctx context.Context) error {
		ack, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: l.target(w.at), Data: w.data, Header: nats.Header{}},
			jetstream.WithExpectLastSequencePerSubject(w.expect), jetstream.WithRetryAttempts(0))
		if err == nil {
			stored = ack.Sequence
			return nil
		}
		if !outpaced(err) {
			lost = true
			return err
		}
		stored, err = l.settle(ctx, &w, lost)
		return err
	})
	return stored, w.expect == 0, err
}

// target is the subject to publish an entry to.
func (l *Ledger) target(at address) string {
	if l.prefix == subjects {
		return string(at)
	}
	return l.prefix + at.String()
}

// settle finds out why the broker says that the key has another revision than
// the one expected: this write was stored before, the key has the mark of a
// removal, or somebody else was faster. While an earlier copy of the write may
// be on its way, only a newer entry proves that it can never be stored. Nor is
// anybody known to be faster while the key has the revision that is expected: the
// broker refuses what comes after a write that waits for a quorum.
func (l *Ledger) settle(ctx context.Context, w *write, lost bool) (uint64, error) {
	h, err := l.readOnce(ctx, w.at)
	switch {
	case err != nil:
		return 0, err
	case h.gone && h.revision > w.expect && w.expect == 0:
		w.expect = h.revision
		return 0, errAgain
	case !h.gone && writeOf(h.data) == w.id:
		return h.revision, nil
	case lost && h.revision < w.expect, h.revision == w.expect:
		return 0, errAgain
	default:
		return 0, consumer.ErrConflict
	}
}

// outpaced reports whether the broker refused a write because of its expected
// revision. A replicated stream has a code of its own for it.
func outpaced(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

const (
	firstWait = 20 * time.Millisecond
	maxWait   = time.Second
	attempts  = 22 // that fit in the budget if none is answered: 2 s each of 45 s
)

// retry calls op until it succeeds, fails for good, or the budget is spent.
func (l *Ledger) retry(ctx context.Context, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.budget)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		err := once(ctx, l.budget/attempts, op)
		if err == nil || !transient(err) {
			return err
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("gave up: %w", err)
		}
	}
}

func once(ctx context.Context, limit time.Duration, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return op(ctx)
}

// storeFailed is the broker's code for a stream that can take no more: at its
// limits, or its disk failed. Asking again does not help.
const storeFailed jetstream.ErrorCode = 10077

// transient reports whether the broker may answer otherwise if it is asked
// again: anything but its own definite refusals.
func transient(err error) bool {
	if errors.Is(err, errAgain) {
		return true
	}
	if errors.Is(err, consumer.ErrConflict) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrMaxPayload) {
		return false
	}
	e, ok := errors.AsType[*jetstream.APIError](err)
	return !ok || e.Code == 503 && e.ErrorCode != storeFailed
}
