package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// Bounds of a scan.
const (
	bulkFrom  = 256 // sequences: fewer are read one by one
	bulkBatch = 512
	bulkWait  = 5 * time.Second
)

// Scan implements consumer.Ledger. since is compared with the broker's time of
// the write. An entry that is written again while the scan runs may come twice,
// the newer one last; none is left out. An entry that cannot be read is yielded
// as an error, and the scan goes on if the caller does.
//
// Most of a long scan is read through a consumer for its speed. What the
// consumer did not give, be it for an error or because the replica that served
// it was behind, is then read from the leader, one by one, until the leader has
// nothing newer. So the scan ends, and at its end nothing was missed.
func (l *Ledger) Scan(ctx context.Context, lane string, since time.Time) iter.Seq2[consumer.Entry, error] {
	return func(yield func(consumer.Entry, error) bool) {
		if !isLane(lane) {
			yield(consumer.Entry{}, fmt.Errorf("scan: lane name %q: must be 1 to 32 of a-z, 0-9 and -", lane))
			return
		}
		s := &scan{l: l, lane: lane, filter: subjects + lane + ".>", yield: yield}
		if err := s.run(ctx, since); err != nil {
			yield(consumer.Entry{}, fmt.Errorf("scan lane %s of the ledger: %w", lane, err))
		}
	}
}

// scan is one walk over a lane, in the order of the sequences.
type scan struct {
	l      *Ledger
	lane   string
	filter string
	yield  func(consumer.Entry, error) bool
	next   uint64 // the first sequence not yet looked at
}

// errStop is a caller that wants no more.
var errStop = errors.New("stopped by the caller")

func (s *scan) run(ctx context.Context, since time.Time) error {
	last, err := s.begin(ctx, since)
	if err != nil {
		return err
	}
	if s.next+bulkFrom <= last {
		err = s.bulk(ctx)
	}
	for err == nil {
		err = s.step(ctx)
	}
	if errors.Is(err, errStop) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}

// begin finds the lane's first entry that was written at or after since, by
// bisection, and returns the ledger's last sequence.
func (s *scan) begin(ctx context.Context, since time.Time) (last uint64, err error) {
	var info *jetstream.StreamInfo
	err = s.l.retry(ctx, func(ctx context.Context) error {
		info, err = s.l.stream.Info(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	last = info.State.LastSeq
	s.next = max(info.State.FirstSeq, 1)
	if since.IsZero() {
		return last, nil
	}
	for low, high := s.next, last+1; low < high; s.next = low {
		middle := low + (high-low)/2
		m, err := s.read(ctx, middle)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			high = middle
		case err != nil:
			return 0, err
		case m.Time.Before(since):
			low = m.Sequence + 1
		default:
			high = middle
		}
	}
	return last, nil
}

// read asks the leader for the lane's first message from sequence on.
func (s *scan) read(ctx context.Context, sequence uint64) (*jetstream.RawStreamMsg, error) {
	var m *jetstream.RawStreamMsg
	err := s.l.retry(ctx, func(ctx context.Context) error {
		var err error
		m, err = s.l.stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(s.filter))
		return err
	})
	return m, err
}

// step reads the next entry from the leader.
func (s *scan) step(ctx context.Context) error {
	m, err := s.read(ctx, s.next)
	if err != nil {
		return err
	}
	return s.give(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
}

// bulk reads through a consumer as far as that goes. Its own troubles are no
// errors: the leader is asked for the rest.
func (s *scan) bulk(ctx context.Context) error {
	c, err := s.l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       s.next,
		FilterSubject:     s.filter,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil // the leader is asked instead
	}
	defer s.drop(ctx, c)
	delivered := uint64(0)
	for pending := c.CachedInfo().NumPending; pending > 0 && ctx.Err() == nil; {
		batch, err := c.Fetch(int(min(pending, bulkBatch)), jetstream.FetchMaxWait(bulkWait), jetstream.FetchHeartbeat(time.Second))
		if err != nil {
			return nil // as above
		}
		pending, err = s.batch(batch, &delivered, pending)
		if err != nil {
			return err
		}
	}
	return nil
}

// batch gives what one fetch brought, and returns how many are left; 0 also
// where the consumer left something out, or said nothing.
func (s *scan) batch(batch jetstream.MessageBatch, delivered *uint64, pending uint64) (uint64, error) {
	before := *delivered
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != *delivered+1 {
			return 0, nil //nolint:nilerr // the leader is asked instead
		}
		*delivered++
		pending = meta.NumPending
		if err := s.give(m.Subject(), m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp); err != nil {
			return 0, err
		}
	}
	if *delivered == before {
		return 0, nil
	}
	return pending, nil
}

// drop removes the scan's consumer. One that stays is removed by the broker
// when nobody has used it for a minute.
func (s *scan) drop(ctx context.Context, c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.l.stream.DeleteConsumer(ctx, c.CachedInfo().Name)
}

// give yields one message's entry, unless it says that the key was removed.
func (s *scan) give(subject string, header nats.Header, data []byte, sequence uint64, written time.Time) error {
	s.next = sequence + 1
	if removed(header) {
		return nil
	}
	key := strings.TrimPrefix(subject, subjects+s.lane+".")
	in, _, err := decode(s.lane, key, data)
	if err != nil {
		in = consumer.Intent{Lane: s.lane, Key: key}
	}
	if !s.yield(consumer.Entry{Intent: in, Revision: sequence, Written: written}, err) {
		return errStop
	}
	return nil
}
