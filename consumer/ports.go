package consumer

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// ErrConflict is a compare-and-set that lost: the entry has another revision
// than the one that was read, and the value there is not ours.
var ErrConflict = errors.New("the ledger entry was changed by somebody else")

// ErrStrange is an entry that this version cannot read: a newer one wrote it, or
// it is damaged. It is not changed.
var ErrStrange = errors.New("the ledger entry cannot be read")

// Ledger is the durable table of intents. Revision 0 means that no entry
// exists.
type Ledger interface {
	// Load reads one entry, from the leader. An absent entry is an Intent in
	// state Absent with revision 0, not an error.
	Load(ctx context.Context, lane, key string) (Intent, uint64, error)
	// Store writes the entry if it still has the given revision and returns the
	// new one. A time-out is settled by reading back: nil means that this very
	// write is the newest, ErrConflict that it is not and never will be. Any
	// other error leaves it unknown.
	Store(ctx context.Context, in Intent, revision uint64) (uint64, error)
	// Scan yields each entry of a lane that was written at or after since. One that
	// cannot be read is an ErrStrange beside its lane, key and revision, and the
	// scan goes on; any other error ends it.
	Scan(ctx context.Context, lane string, since time.Time) iter.Seq2[Entry, error]
}

// Entry is one row of a scan.
type Entry struct {
	Intent   Intent
	Revision uint64
	Written  time.Time // by the ledger's clock; zero if it is not known
}

// Queue is one durable consumer of the broker.
type Queue interface {
	// Fetch returns what is there now, at most n messages; with none there it
	// waits up to wait for the first. It is not cancelled, since a cancelled
	// fetch strands messages.
	Fetch(n int, wait time.Duration) ([]Message, error)
	// Await waits up to wait for one message; nil: none came. When ctx ends nothing
	// more is asked for, and a message that was on its way already is returned.
	Await(ctx context.Context, wait time.Duration) (Message, error)
}

// Message is one delivery. Exactly one of Ack and Nak ends it; a Nak may be
// repeated with another delay as long as the message was not delivered again.
type Message interface {
	Header() map[string][]string
	Data() []byte
	Origin() Origin
	// Ack confirms that the message is done and waits for the broker's word, at
	// most a few seconds. An error is no harm: the message comes again.
	Ack(ctx context.Context) error
	// Nak gives the message back, to be delivered again after delay.
	Nak(delay time.Duration) error
	// Progress tells the broker that the message is still being worked on.
	Progress() error
}

// Origin says where a message is from.
type Origin struct {
	Stream    string
	StreamAge time.Time // when the stream was created
	Sequence  uint64    // in the stream
	Published time.Time
	High      bool   // it goes before the lane's other events
	Intent    string // of a message that Weir itself addressed (replay, schedule)
	Replay    *Replay
}

// Replay is a person's order to send again.
type Replay struct {
	Expect int // the N that the person saw
	By     string
	Reason string
	At     time.Time // when it was given, of an order that was put off; zero: with its message
}

// Outbox is what the engine writes for others, besides the ledger. Each method
// is durable when it returns nil, and may be repeated.
type Outbox interface {
	// Publish sends an outcome; kind is the last word of its type.
	Publish(ctx context.Context, lane, kind string, outcome event.Event) error
	// Keep stores an event's copy under dead letters or doubts.
	Keep(ctx context.Context, l Letter) error
	// Discard removes the kept copies of an intent.
	Discard(ctx context.Context, lane, intent string) error

	// Postpone keeps an event and puts it into the lane's due queue at p.At. It
	// takes the place of an earlier one of the same intent.
	Postpone(ctx context.Context, p Postponed) error
	// Kept reports whether an event that was postponed is still there: kept, or
	// in the due queue and not done.
	Kept(ctx context.Context, lane, intent string) (bool, error)
	// Restore puts the event that came with this sequence into the lane's due
	// queue. ErrGone: it is not there any more.
	Restore(ctx context.Context, lane, intent string, sequence uint64) error
}

// ErrGone is an event that is in its stream no more.
var ErrGone = errors.New("the event is not in its stream any more")

// Postponed is an event that waits for a time. Header and Data are the
// message's own, unchanged.
type Postponed struct {
	Lane, Intent string
	N            int // of the intent: the same wait has the same lane, intent and N
	At           time.Time
	Header       map[string][]string
	Data         []byte
	Replay       *Replay // a person's order that waits; nil: the event waits by itself
}

// Letter is an event kept with what became of it. Header and Data are the
// message's own, unchanged.
type Letter struct {
	Lane, Intent string
	State        State // Dead or Doubt
	N            int   // of the intent: the same letter has the same lane, intent and N
	Class        string
	Reason       string
	Type, ID     string // of the event, if it could be read
	Source       string
	Claims       int
	Attempts     int
	First, Last  time.Time
	Header       map[string][]string
	Data         []byte
}

// Switchboard keeps each lane's pause, across restarts.
type Switchboard interface {
	// Pause stops a lane; by is who, reason what is shown.
	Pause(ctx context.Context, lane, by, reason string) error
}
