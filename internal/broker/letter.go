package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Errors of letters that a caller tells apart.
var (
	ErrNoLetter = errors.New("no such letter is kept")
	// ErrCut is a letter whose event was too large to be kept whole.
	ErrCut = errors.New("the event was too large to be kept whole, so it cannot be sent again")
)

const (
	headerLetter = "Weir-Letter"
	headerCut    = "Weir-Cut"
)

// letterFormat is the major version of stored.
const letterFormat = 1

// stored is the form in which a letter's fields stand in the header
// Weir-Letter. Lane, intent and state are in the subject, the event is the
// message itself.
type stored struct {
	V        int       `json:"v"`
	N        int       `json:"n"`
	Class    string    `json:"class,omitzero"`
	Reason   string    `json:"reason,omitzero"`
	Type     string    `json:"type,omitzero"`
	ID       string    `json:"id,omitzero"`
	Source   string    `json:"source,omitzero"`
	Claims   int       `json:"claims,omitzero"`
	Attempts int       `json:"attempts,omitzero"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// Headroom is what keeping an event adds to it, at most: of an event that is
// larger than the broker's max_payload less Headroom, the copy that is kept may
// be cut, and then it cannot be sent again.
const Headroom = 16 << 10

// Bounds of the fields in Weir-Letter, in bytes; in the small form everything
// is cut to the latter.
const (
	maxField   = 512
	smallField = 64
)

// letterSubject returns where a letter is kept.
func letterSubject(state consumer.State, lane, intent string) (string, error) {
	switch state {
	case consumer.Dead:
		return "weir.dead." + lane + "." + intent, nil
	case consumer.Doubt:
		return "weir.doubt." + lane + "." + intent, nil
	default:
		return "", fmt.Errorf("letters are dead or in doubt, not %q", state)
	}
}

// Keep implements consumer.Outbox. Of one intent the newest letter in each
// state is kept; one that was discarded is not kept again within 24 hours, unless
// its N has changed. A body that does not fit is cut (see Headroom), so that an
// event of any size that the broker once took can be kept.
func (b *Broker) Keep(ctx context.Context, l consumer.Letter) error {
	if err := checkIntent(l.Lane, l.Intent); err != nil {
		return fmt.Errorf("keep letter: %w", err)
	}
	subject, err := letterSubject(l.State, l.Lane, l.Intent)
	if err != nil {
		return fmt.Errorf("keep letter: %w", err)
	}
	m, err := letterMsg(subject, l, int(b.nc.MaxPayload()))
	if err != nil {
		return fmt.Errorf("keep letter %s: %w", subject, err)
	}
	if _, err := b.publish(ctx, StreamDead, m); err != nil {
		return fmt.Errorf("keep letter %s: %w", subject, err)
	}
	return nil
}

// letterMsg makes the message that keeps l, no larger than limit. What does not
// fit is given up in this order: headers that are not the event's own, long
// words about it, the end of its body, its own headers.
func letterMsg(subject string, l consumer.Letter, limit int) (*nats.Msg, error) {
	id := fmt.Sprintf("%s.%s.%d.%s", l.Lane, l.Intent, l.N, l.State)
	var m *nats.Msg
	for _, form := range []struct {
		header nats.Header
		field  int
	}{
		{foreign(l.Header), maxField},
		{attributes(l.Header), maxField},
		{attributes(l.Header), smallField},
	} {
		m = newMsg(subject, id, form.header, l.Data)
		if err := label(m, l, form.field); err != nil {
			return nil, err
		}
		if size(m) <= limit {
			return m, nil
		}
	}
	cutTo(m, limit)
	if size(m) > limit {
		m = newMsg(subject, id, nats.Header{}, l.Data)
		if err := label(m, l, smallField); err != nil {
			return nil, err
		}
		cutTo(m, limit)
	}
	return m, nil
}

// attributes returns the headers that hold a CloudEvent's attributes.
func attributes(header map[string][]string) nats.Header {
	out := foreign(header)
	for name := range out {
		if !hasPrefixFold(name, "ce-") && !strings.EqualFold(name, "content-type") {
			delete(out, name)
		}
	}
	return out
}

// label writes what became of the event into the message's header.
func label(m *nats.Msg, l consumer.Letter, limit int) error {
	text, err := json.Marshal(stored{
		V: letterFormat, N: l.N, Claims: l.Claims, Attempts: l.Attempts,
		Class: schema.Cut(l.Class, limit), Reason: schema.Cut(l.Reason, limit),
		Type: schema.Cut(l.Type, limit), ID: schema.Cut(l.ID, limit), Source: schema.Cut(l.Source, limit),
		First: l.First.UTC(), Last: l.Last.UTC(),
	})
	if err != nil {
		return err
	}
	m.Header.Set(headerLetter, ascii(string(text)))
	return nil
}

// ascii writes what is not ASCII in a JSON text as escapes: header values are
// ASCII to some clients.
func ascii(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			r1, r2 := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, r1, r2)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cutTo cuts the body so that the message is no larger than limit, if that can
// be, and notes how long the body was.
func cutTo(m *nats.Msg, limit int) {
	m.Header.Set(headerCut, strconv.Itoa(len(m.Data)))
	m.Data = m.Data[:max(0, len(m.Data)-max(0, size(m)-limit))]
}

// size is what a message counts against max_payload: its headers, with the
// name of its stream that publish adds, and its body.
func size(m *nats.Msg) int {
	n := len("NATS/1.0\r\n\r\n") + len(nats.ExpectedStreamHdr) + len(StreamDead) + len(": \r\n") + len(m.Data)
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// Discard implements consumer.Outbox.
func (b *Broker) Discard(ctx context.Context, lane, intent string) error {
	if err := checkIntent(lane, intent); err != nil {
		return fmt.Errorf("discard letters: %w", err)
	}
	s, err := b.stream(ctx, StreamDead)
	if err != nil {
		return fmt.Errorf("discard letters: %w", err)
	}
	for _, state := range []consumer.State{consumer.Dead, consumer.Doubt} {
		subject, err := letterSubject(state, lane, intent)
		if err != nil {
			return fmt.Errorf("discard letters: %w", err)
		}
		err = retry(ctx, budget, func(ctx context.Context) error {
			return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
		})
		if err != nil {
			return fmt.Errorf("discard letter %s: %w", subject, err)
		}
	}
	return nil
}

// Letters yields the letters in a state, the oldest first, one at a time; lane
// may be empty for those of all lanes. A letter that cannot be read is yielded
// as an error, and the walk goes on if the caller does.
func (b *Broker) Letters(ctx context.Context, state consumer.State, lane string) iter.Seq2[consumer.Letter, error] {
	return func(yield func(consumer.Letter, error) bool) {
		if lane == "" {
			lane = "*"
		} else if err := checkLane(lane); err != nil {
			yield(consumer.Letter{}, fmt.Errorf("letters: %w", err))
			return
		}
		filter, err := letterSubject(state, lane, "*")
		if err != nil {
			yield(consumer.Letter{}, fmt.Errorf("letters: %w", err))
			return
		}
		for m, err := range b.walk(ctx, StreamDead, filter, 1) {
			if err != nil {
				yield(consumer.Letter{}, fmt.Errorf("letters: %w", err))
				return
			}
			if !yield(newLetter(state, m)) {
				return
			}
		}
	}
}

// OldLetters yields a lane's dead letters that were kept before a time, by the
// broker's clock, the oldest first, and ends with the first that is younger.
func (b *Broker) OldLetters(ctx context.Context, lane string, before time.Time) iter.Seq2[consumer.Letter, error] {
	return func(yield func(consumer.Letter, error) bool) {
		filter, err := letterSubject(consumer.Dead, lane, "*")
		if err = errors.Join(checkLane(lane), err); err != nil {
			yield(consumer.Letter{}, fmt.Errorf("old letters: %w", err))
			return
		}
		for m, err := range b.walk(ctx, StreamDead, filter, 1) {
			if err != nil {
				yield(consumer.Letter{}, fmt.Errorf("old letters: %w", err))
				return
			}
			if !m.Time.Before(before) || !yield(newLetter(consumer.Dead, m)) {
				return
			}
		}
	}
}

// walk yields a stream's messages on a subject from a sequence on, until its leader
// has no more.
func (b *Broker) walk(ctx context.Context, stream, filter string, from uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for {
			m, err := b.next(ctx, stream, filter, from)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
			from = m.Sequence + 1
		}
	}
}

// next asks a stream's leader for the first message on a subject at or behind a
// sequence.
func (b *Broker) next(ctx context.Context, stream, filter string, from uint64) (*jetstream.RawStreamMsg, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var m *jetstream.RawStreamMsg
	err = retry(ctx, budget, func(ctx context.Context) (err error) {
		m, err = s.GetMsg(ctx, max(from, 1), jetstream.WithGetMsgSubject(filter))
		return err
	})
	return m, err
}

// Letter returns one letter, or ErrNoLetter.
func (b *Broker) Letter(ctx context.Context, state consumer.State, lane, intent string) (consumer.Letter, error) {
	if err := checkIntent(lane, intent); err != nil {
		return consumer.Letter{}, fmt.Errorf("letter: %w", err)
	}
	subject, err := letterSubject(state, lane, intent)
	if err != nil {
		return consumer.Letter{}, fmt.Errorf("letter: %w", err)
	}
	m, err := b.last(ctx, StreamDead, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return consumer.Letter{}, ErrNoLetter
	}
	if err != nil {
		return consumer.Letter{}, fmt.Errorf("letter %s: %w", subject, err)
	}
	return newLetter(state, m)
}

// last asks a stream's leader for the newest message on a subject.
func (b *Broker) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var m *jetstream.RawStreamMsg
	err = retry(ctx, budget, func(ctx context.Context) error {
		var err error
		m, err = s.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return m, err
}

// newLetter reads a kept message. The header Weir-Cut stays in the letter's
// header, so that the letter is known to be cut.
func newLetter(state consumer.State, m *jetstream.RawStreamMsg) (consumer.Letter, error) {
	parts := strings.Split(m.Subject, ".") // weir.dead.<lane>.<intent>
	l := consumer.Letter{Lane: parts[2], Intent: parts[3], State: state, Data: m.Data, Header: foreign(m.Header)}
	var s stored
	err := json.Unmarshal([]byte(m.Header.Get(headerLetter)), &s)
	if s.V > letterFormat { // whatever else it has
		return l, fmt.Errorf("letter %s: a newer Weir wrote it (format %d, this one reads %d): run the newer one", m.Subject, s.V, letterFormat)
	}
	if err != nil {
		return l, fmt.Errorf("letter %s: header %s: %w", m.Subject, headerLetter, err)
	}
	if size := m.Header.Get(headerCut); size != "" {
		l.Header[headerCut] = []string{size}
	}
	l.N, l.Class, l.Reason = s.N, s.Class, s.Reason
	l.Type, l.ID, l.Source = s.Type, s.ID, s.Source
	l.Claims, l.Attempts, l.First, l.Last = s.Claims, s.Attempts, s.First, s.Last
	return l, nil
}
