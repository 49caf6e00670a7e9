package owner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Store is what is needed of the broker: small keys, read from its leader.
// internal/broker implements it.
type Store interface {
	// Keys calls seen with the newest record of each key that begins with prefix
	// and was written at or after the revision from, in the order of their
	// revisions; with one that is written meanwhile perhaps twice. Data is nil if the key is gone; removed says that somebody removed
	// it, rather than that it ran out.
	Keys(ctx context.Context, prefix string, from uint64, seen func(key string, revision uint64, data []byte, removed bool, at time.Time)) error
	// Key returns the newest record of a key; revision 0 if there is none.
	Key(ctx context.Context, key string) (data []byte, revision uint64, err error)
	// WriteKey writes a key once, if its newest record still has the revision;
	// consumer.ErrConflict if not. Nil data remove it. The record runs out after
	// ttl, in whole seconds; 0 is never. After any other error it may have been
	// written, or may still be.
	WriteKey(ctx context.Context, key string, data []byte, revision uint64, ttl time.Duration) (uint64, error)
}

// The keys.
const (
	prefix        = "own."
	replicaPrefix = prefix + "replica."
	dutyPrefix    = prefix + "duty."
)

// format is the major version of both records. It rises only when an older Weir
// could no longer act rightly on what a newer one wrote.
const format = 1

// member is what a replica says of itself.
type member struct {
	V      int           `json:"v"`
	ID     string        `json:"id"` // fresh with each start and each lapse
	Holder string        `json:"holder"`
	TTL    time.Duration `json:"ttl"`             // in nanoseconds
	Duties []string      `json:"duties"`          // those that it may be given; none while it is stopping
	First  []string      `json:"first,omitempty"` // of these, those that it is given before others
	Able   []string      `json:"able,omitempty"`  // of these, those that it may take now
	Try    uint64        `json:"try"`             // counts the attempts to write this key

	// The three lists for looking up: they may have thousands of names, and each is
	// asked for in each look.
	knows, prefers, may map[string]bool
}

// index fills what is looked up, as in the record before where that has the same
// names. It comes after decoding.
func (m *member) index(before member) {
	index := func(names, was []string, set map[string]bool) map[string]bool {
		if set != nil && slices.Equal(names, was) {
			return set
		}
		set = make(map[string]bool, len(names))
		for _, name := range names {
			set[name] = true
		}
		return set
	}
	m.knows = index(m.Duties, before.Duties, before.knows)
	m.prefers = index(m.First, before.First, before.prefers)
	m.may = index(m.Able, before.Able, before.may)
}

// post says whose a duty is.
type post struct {
	V       int           `json:"v"`
	Replica string        `json:"replica"` // its id
	Holder  string        `json:"holder"`
	TTL     time.Duration `json:"ttl"`
	Epoch   uint64        `json:"epoch"` // rises each time it is taken
	Since   time.Time     `json:"since"` // when it was taken
	Free    bool          `json:"free,omitempty"`
	Ready   bool          `json:"ready,omitempty"`
	Past    []time.Time   `json:"past,omitempty"` // when it was taken before, the newest mostPast
}

// mostPast is how many takings of a duty are remembered besides the newest.
const mostPast = 8

// past is what the next record of a duty remembers of this one.
func (p post) past() []time.Time {
	if p.Since.IsZero() {
		return nil
	}
	all := append(slices.Clone(p.Past), p.Since)
	return all[max(0, len(all)-mostPast):]
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("owner: a record does not encode: " + err.Error())
	}
	return data
}

// errStrange is a record that cannot be read.
var errStrange = errors.New("it cannot be read")

// decode reads a stored record. One of a newer Weir, or one that cannot be read,
// is an error: nothing may be concluded from it.
func decode(key string, data []byte, into any) error {
	var v struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("key %s: %w: %w", key, errStrange, err)
	}
	if v.V > format {
		return fmt.Errorf("key %s: %w: a newer Weir wrote it (format %d, this one reads %d): run the newer one", key, errStrange, v.V, format)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("key %s: %w: %w", key, errStrange, err)
	}
	return nil
}

// Replicas returns the holders of the leases that have not run out: the processes that
// take part, or did until less than a TTL ago.
func Replicas(ctx context.Context, s Store) (holders []string, err error) {
	newest := make(map[string]string)
	err = s.Keys(ctx, replicaPrefix, 0, func(key string, _ uint64, data []byte, _ bool, _ time.Time) {
		var m member
		delete(newest, key)
		if data == nil {
			return
		}
		if decode(key, data, &m) != nil {
			m.Holder = "one that cannot be read"
		}
		newest[key] = m.Holder
	})
	if err != nil {
		return nil, fmt.Errorf("who takes part: %w", err)
	}
	for _, holder := range newest {
		holders = append(holders, holder)
	}
	slices.Sort(holders)
	return holders, nil
}

// Standing is who has a duty, as a bystander sees it.
type Standing struct {
	Duty   string    `json:"duty"`
	Holder string    `json:"holder"` // names the process; empty while nobody has it
	Epoch  uint64    `json:"epoch"`
	Since  time.Time `json:"since"`
	// Past is when it was taken before that: the newest eight times, if they were so
	// many, in their order.
	Past []time.Time `json:"past,omitempty"`
	// Alive says that the holder has a lease; one that was killed has it for a TTL
	// and as long as nobody else is there to notice.
	Alive   bool      `json:"alive"`
	Renewed time.Time `json:"renewed,omitzero"` // by the broker's clock
}

// Standings returns who has which duty, by duty.
func Standings(ctx context.Context, s Store) (map[string]Standing, error) {
	all := make(map[string]Standing)
	posts := make(map[string]post)
	renewed := make(map[string]time.Time)
	err := s.Keys(ctx, prefix, 0, func(key string, _ uint64, data []byte, _ bool, at time.Time) {
		if id, ok := strings.CutPrefix(key, replicaPrefix); ok && data != nil {
			renewed[id] = at
		}
		var p post
		if duty, ok := strings.CutPrefix(key, dutyPrefix); ok && data != nil && decode(key, data, &p) == nil {
			posts[duty] = p
		}
	})
	if err != nil {
		return nil, fmt.Errorf("who owns what: %w", err)
	}
	for duty, p := range posts {
		st := Standing{Duty: duty, Epoch: p.Epoch, Since: p.Since, Past: p.Past}
		if !p.Free {
			st.Holder = p.Holder
			st.Renewed, st.Alive = renewed[p.Replica], !renewed[p.Replica].IsZero()
		}
		all[duty] = st
	}
	return all, nil
}
