package guard

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pull gives what a consumer has. It is jetstream's Fetch without what that does for
// each message, which is as much again as the message itself takes, and with one
// subscription for all that is asked for.
func (w *walk) pull(ctx context.Context, c *jetstream.ConsumerInfo) error {
	nc, subject := w.js.Conn(), "$JS.API."
	if domain := w.js.Options().Domain; domain != "" {
		subject = "$JS." + domain + ".API."
	}
	subject += "CONSUMER.MSG.NEXT." + c.Stream + "." + c.Name
	answers := make(chan *nats.Msg, w.most) // as many as are asked for: the client drops none
	sub, err := nc.ChanSubscribe(nc.NewInbox(), answers)
	if err != nil {
		return nil //nolint:nilerr // the leader is asked instead
	}
	defer func() { _ = sub.Unsubscribe() }()
	return w.collect(ctx, c.NumPending, answers, func(n uint64) error {
		return nc.PublishRequest(subject, sub.Subject, fmt.Appendf(nil, `{"batch":%d,"expires":%d}`, n, readWait))
	})
}

// collect asks for messages and gives those that come, until none is pending. No more
// than the walk's size are asked for and not yet given; when half of them are given,
// it asks for as many again, so that the broker goes on meanwhile; with a pause only
// when all are given. While they come in time, the size grows to what answers has room
// for. It ends without an error also where the broker has nothing to bring, and with
// errMissed where a message is missing or no more come: the broker says anything else,
// or nothing at all.
func (w *walk) collect(ctx context.Context, pending uint64, answers <-chan *nats.Msg, ask func(n uint64) error) error {
	silence := time.NewTicker(readWait + time.Second)
	defer silence.Stop()
	var asked, came, heard uint64
	for pending > 0 {
		least := w.size / 2
		if w.r.pause > 0 {
			least = 0
		}
		if open := asked - came; open <= least && open < pending {
			if came > 0 {
				w.size = min(2*w.size, uint64(cap(answers)))
			}
			n := min(w.size, pending) - open
			if ask(n) == nil {
				asked += n
			} // else the connection is down, and there is silence
		}
		select {
		case m := <-answers:
			at, ok := placed(m.Reply)
			if !ok && came == 0 {
				return nil // the leader is asked instead
			}
			if came++; !ok || at.consumer != came || at.stream < w.next {
				return errMissed
			}
			pending = at.pending
			if err := w.take(message{m.Subject, m.Header, m.Data, at.stream, at.time}); err != nil {
				return err
			}
			if came == asked || pending == 0 {
				if err := rest(ctx, w.r.pause); err != nil {
					return err
				}
			}
		case <-silence.C:
			if came == heard {
				return errMissed
			}
			heard = came
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// place is where a message stands: in its stream, among those of its consumer, and
// how many of these are left after it.
type place struct {
	stream, consumer, pending uint64
	time                      time.Time
}

// placed reads a place from the subject that a message is acknowledged on, and
// reports whether it is one: a word of the broker's about the pull itself has none.
//
//	$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<time>.<left>[.<any>]
func placed(reply string) (p place, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return place{}, false
	}
	before := 5
	if strings.Count(rest, ".") == 6 {
		before = 3
	}
	for range before {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var at uint64
	for _, n := range []*uint64{&p.stream, &p.consumer, &at, &p.pending} {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		v, err := strconv.ParseUint(token, 10, 64)
		if err != nil {
			return place{}, false
		}
		*n = v
	}
	p.time = time.Unix(0, int64(at)) //nolint:gosec // the broker's own, of an int64
	return p, true
}
