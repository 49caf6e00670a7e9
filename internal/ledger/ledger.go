// Package ledger keeps the intents of Weir in a JetStream key-value bucket and
// implements consumer.Ledger on it.
//
// # What is stored
//
// The bucket is WEIR_LEDGER, that is, the stream KV_WEIR_LEDGER with the
// subjects $KV.WEIR_LEDGER.>. The key of an intent is
//
//	<lane>.<intent UUID>
//
// and its value a JSON object (see entry) with a format version, v. An entry of
// a newer major version is refused. Members that this version does not know
// survive each rewrite, so old and new replicas can run side by side.
//
// The stream is file storage, history 1, Discard New, with its room reserved:
// a full ledger refuses a write, it never drops an entry. It is made without
// direct gets (AllowDirect is false), because a direct get is answered by any
// replica and may be old; so every read here is answered by the leader.
//
// # What is promised
//
// Store is a compare-and-set on the entry's revision, its sequence in the
// stream. Each write carries a write id of its own, w. An answer that was lost
// is settled by sending the very same bytes again with the same expected
// revision: at most one copy can be stored, and if the broker says that the
// revision is another one by now, the leader is read and w tells whether the
// newest entry is this write. A copy that arrives late is refused by its
// expected revision.
//
// A crash leaves behind either the old entry or the new one. A caller that died
// before it had its answer finds out by Load.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
)

// Bucket is the name of the key-value bucket, Stream that of the stream it is.
const (
	Bucket = "WEIR_LEDGER"
	Stream = "KV_" + Bucket
)

const subjects = "$KV." + Bucket + "."

// Defaults of Config.
const (
	DefaultMaxBytes = 1 << 30 // an entry has about 1 KiB: a million intents
	DefaultBudget   = 45 * time.Second
)

// Config is how the ledger is kept. Zero fields get their defaults.
type Config struct {
	// Replicas is how many copies the broker keeps: 1 on a single server, 3 on
	// a cluster. Default 1. An existing ledger with fewer is refused.
	Replicas int
	// MaxBytes is the room reserved, in bytes. Default DefaultMaxBytes. It may
	// be changed later; room that is in use is not given up.
	MaxBytes int64
	// Budget is how long one read or write is tried again while the broker does
	// not answer. It outlasts the election of a leader, which takes up to 9 s.
	// Default DefaultBudget.
	Budget time.Duration
	// Stored is told of each write before it counts: its sequence, and whether it
	// is an entry that there was none of. If it fails, so does the write, though
	// it is in the ledger. Default: nobody is told.
	Stored func(sequence uint64, fresh bool) error
	// Lost is told, once until Accept, that a write came out at a sequence that is
	// not above one from before: the broker has lost entries. It must not block.
	// Default: nobody is told.
	Lost func(sequence, before uint64)
}

// Ledger is the table of intents. Its methods may be called concurrently.
type Ledger struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string // of a subject to publish to
	budget time.Duration
	stored func(sequence uint64, fresh bool) error
	known  memory
	lost   func(sequence, before uint64)
	top    atomic.Uint64 // the highest sequence that this process has written; 0: none
	back   atomic.Bool   // a write came below top: entries were lost
}

var _ consumer.Ledger = (*Ledger)(nil)

// Open creates the bucket, or checks the existing one: settings that would
// break a promise are errors that name the setting. js is used for as long as
// the ledger is; its connection must not buffer publishes while it is
// disconnected (nats.ReconnectBufSize(-1)).
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (*Ledger, error) {
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, DefaultMaxBytes)
	cfg.Budget = cmp.Or(cfg.Budget, DefaultBudget)
	if cfg.Stored == nil {
		cfg.Stored = func(uint64, bool) error { return nil }
	}
	if cfg.Lost == nil {
		cfg.Lost = func(uint64, uint64) {}
	}
	l := &Ledger{js: js, prefix: prefix(js), budget: cfg.Budget, stored: cfg.Stored, lost: cfg.Lost}
	if err := l.provision(ctx, wanted(cfg)); err != nil {
		return nil, fmt.Errorf("open the ledger: stream %s: %w", Stream, err)
	}
	return l, nil
}

// Check names every setting of an existing ledger's stream that would break a
// promise, each in a line, as Open would.
func Check(got jetstream.StreamConfig, cfg Config) error {
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	return check(got, wanted(cfg))
}

// provision makes the stream what it must be.
func (l *Ledger) provision(ctx context.Context, want jetstream.StreamConfig) error {
	err := l.retry(ctx, func(ctx context.Context) error {
		var err error
		l.stream, err = find(ctx, l.js, want)
		return err
	})
	if err != nil {
		return err
	}
	info := l.stream.CachedInfo()
	if err := check(info.Config, want); err != nil {
		return err
	}
	return l.resize(ctx, info, want.MaxBytes)
}

// prefix returns what a key's subject begins with when it is published to. In a
// JetStream domain the bucket is reached below the domain's API.
func prefix(js jetstream.JetStream) string {
	if domain := js.Options().Domain; domain != "" {
		return "$JS." + domain + ".API." + subjects
	}
	return subjects
}

// wanted is the bucket's stream: what a key-value client would make, without
// direct gets.
func wanted(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              Stream,
		Description:       "Weir: what was done for each event",
		Subjects:          []string{subjects + ">"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxConsumers:      -1,
		MaxMsgSize:        -1,
		MaxBytes:          cfg.MaxBytes,
		Replicas:          cfg.Replicas,
		Duplicates:        2 * time.Minute,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       false,
	}
}

// readers is how many scans may read the ledger at once: as a start of thousands of
// lanes does. A stream that does not say so gets 1,000 from newer servers.
const readers = 100_000

// noConsumers is the broker's code for more consumers than may be.
const noConsumers jetstream.ErrorCode = 10026

// find returns the stream, which it creates if there is none.
func find(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, want.Name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return s, err
	}
	want.MaxConsumers = readers
	s, err = js.CreateStream(ctx, want)
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == noConsumers { // the account's own limit is lower, and holds
		want.MaxConsumers = -1
		s, err = js.CreateStream(ctx, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another replica was faster
		return js.Stream(ctx, want.Name)
	}
	return s, err
}

// check names every setting of an existing stream that would break a promise.
func check(got, want jetstream.StreamConfig) error {
	var errs []error
	complain := func(bad bool, field string, got, want any) {
		if bad {
			errs = append(errs, fmt.Errorf("%s is %v, must be %v", field, got, want))
		}
	}
	complain(!slices.Equal(got.Subjects, want.Subjects), "subjects", got.Subjects, want.Subjects)
	complain(got.Retention != want.Retention, "retention", got.Retention, want.Retention)
	complain(got.Storage != want.Storage, "storage", got.Storage, want.Storage)
	complain(got.PersistMode != want.PersistMode, "persist_mode", got.PersistMode, want.PersistMode)
	complain(got.Discard != want.Discard, "discard", got.Discard, want.Discard)
	complain(got.DiscardNewPerSubject, "discard_new_per_subject", got.DiscardNewPerSubject, false)
	complain(got.MaxMsgsPerSubject != 1, "max_msgs_per_subject", got.MaxMsgsPerSubject, 1)
	complain(got.MaxMsgs > 0, "max_msgs", got.MaxMsgs, "unlimited")
	complain(got.MaxMsgSize > 0, "max_msg_size", got.MaxMsgSize, "unlimited")
	complain(got.MaxAge != 0, "max_age", got.MaxAge, "unlimited")
	complain(got.AllowDirect, "allow_direct", got.AllowDirect, false)
	complain(got.NoAck, "no_ack", got.NoAck, false)
	complain(got.Sealed, "sealed", got.Sealed, false)
	complain(got.Mirror != nil, "mirror", "set", "unset")
	complain(len(got.Sources) > 0, "sources", "set", "unset")
	complain(got.Replicas < want.Replicas, "num_replicas", got.Replicas, want.Replicas)
	return errors.Join(errs...)
}

// resize sets the room of an existing stream. The broker would make room by
// dropping the oldest entries, so room in use, and an eighth of head room, is
// never given up: a ledger that was full, and was given more, keeps it.
func (l *Ledger) resize(ctx context.Context, info *jetstream.StreamInfo, room int64) error {
	cfg := info.Config
	if cfg.MaxBytes == room {
		return nil
	}
	if used := int64(min(info.State.Bytes, 1<<62)); used > room-room/8 {
		if cfg.MaxBytes > room {
			return nil
		}
		return fmt.Errorf("max_bytes cannot be set to %d: %d bytes are in use", room, used)
	}
	cfg.MaxBytes = room
	s, err := l.js.UpdateStream(ctx, cfg)
	if err != nil {
		return fmt.Errorf("set max_bytes to %d: %w", room, err)
	}
	l.stream = s
	return nil
}

// isLane reports whether a name can be a lane's.
func isLane(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 32
}

// isKey reports whether a key is a UUID in small letters.
func isKey(key string) bool {
	for i := range len(key) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		switch c := key[i]; {
		case dash && c == '-', !dash && c >= '0' && c <= '9', !dash && c >= 'a' && c <= 'f':
		default:
			return false
		}
	}
	return len(key) == 36
}

// address is the subject of an entry.
type address string

// String returns what comes after the bucket.
func (a address) String() string { return string(a[len(subjects):]) }

// addressOf returns the subject of an intent's entry.
func addressOf(lane, key string) (address, error) {
	if !isLane(lane) {
		return "", fmt.Errorf("lane name %q: must be 1 to 32 of a-z, 0-9 and -", lane)
	}
	if !isKey(key) {
		return "", fmt.Errorf("intent key %q: must be a lower-case UUID", key)
	}
	return address(subjects + lane + "." + key), nil
}
