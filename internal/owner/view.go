package owner

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
)

// view is what a replica has seen of the keys, and when, by its own clock. It
// does no I/O.
type view struct {
	replicas map[string]*sighting[member]
	duties   map[string]*sighting[post]
}

// sighting is the newest record of a key.
type sighting[T any] struct {
	value    T // the newest that could be read
	data     []byte
	revision uint64
	at       time.Duration // when this revision was first seen
	gone     bool
	removed  bool  // gone, and somebody removed it
	strange  error // it cannot be read
	renewals int   // revisions seen while it was there, the first one included
	// doubted: the key was gone, or older than before, last seen at doubt. Somebody
	// may act on what it said before.
	doubted bool
	doubt   time.Duration
	weights map[string]uint64 // of a replica, by duty
}

func newView() *view {
	return &view{replicas: make(map[string]*sighting[member]), duties: make(map[string]*sighting[post])}
}

// enter notes a record.
func (v *view) enter(key string, revision uint64, data []byte, removed bool, now time.Duration) {
	if id, ok := strings.CutPrefix(key, replicaPrefix); ok {
		note(v.replicas, key, id, revision, data, removed, now)
	}
	if duty, ok := strings.CutPrefix(key, dutyPrefix); ok {
		note(v.duties, key, duty, revision, data, removed, now)
	}
}

func note[T any](all map[string]*sighting[T], key, name string, revision uint64, data []byte, removed bool, now time.Duration) {
	s := all[name]
	if s == nil {
		s = &sighting[T]{}
		all[name] = s
	}
	if s.revision == revision && s.gone == (data == nil) && bytes.Equal(s.data, data) {
		return
	}
	if data == nil || revision <= s.revision { // or the broker's store was put back
		s.doubted, s.doubt, s.renewals = true, now, 0
	}
	s.data, s.revision, s.at, s.removed, s.strange = data, revision, now, removed, nil
	if s.gone = data == nil; s.gone {
		s.weights = nil
		return
	}
	s.renewals++
	var value T
	if s.strange = decode(key, data, &value); s.strange == nil {
		if m, ok := any(&value).(*member); ok {
			m.index(any(s.value).(member))
		}
		s.value = value
	}
}

// next returns the revision from which on the keys may differ from what was seen;
// 0 if all may.
func (v *view) next(id string) uint64 {
	if s := v.replicas[id]; s != nil && !s.gone {
		return s.revision
	}
	return 0
}

// longest returns the longest TTL of all replicas that were seen, and of this one.
func (v *view) longest(ttl time.Duration) time.Duration {
	for _, s := range v.replicas {
		ttl = max(ttl, s.value.TTL)
	}
	return ttl
}

// vanish notes that a look from a revision on did not show the keys that are not
// in seen, and reports whether it should have shown one of them.
func (v *view) vanish(seen map[string]bool, from uint64, now time.Duration) bool {
	a := vanish(v.replicas, replicaPrefix, seen, from, now)
	return vanish(v.duties, dutyPrefix, seen, from, now) || a
}

func vanish[T any](all map[string]*sighting[T], prefix string, seen map[string]bool, from uint64, now time.Duration) bool {
	found := false
	for name, s := range all {
		if seen[prefix+name] || s.revision < from || s.revision == 0 {
			continue
		}
		found = true
		if !s.gone {
			s.gone, s.removed, s.at, s.renewals = true, false, now, 0
			s.doubted, s.doubt = true, now
		}
		s.revision, s.data = 0, nil
	}
	return found
}

// alive reports whether a replica has renewed its lease lately.
func (v *view) alive(id string, now time.Duration) bool {
	s := v.replicas[id]
	return s != nil && !s.gone && s.strange == nil && now-s.at < s.value.TTL
}

// renewed reports whether a replica was seen to renew its lease so often, and
// lately. A key that is merely there may be of a process that is dead, or of a
// store that was put back.
func (v *view) renewed(id string, times int, now time.Duration) bool {
	return v.alive(id, now) && v.replicas[id].renewals > times
}

// able reports whether a replica has said that it may take a duty now.
func (v *view) able(id, duty string) bool {
	return v.replicas[id].value.may[duty]
}

// silent reports whether a replica has certainly stopped to act: it gave its lease
// back, or somebody else has seen that it had stopped, or a whole TTL went by
// without a renewal. A replica that was never seen may have renewed its lease just
// before its duty was first seen.
func (v *view) silent(id string, ttl, since, now time.Duration) bool {
	s := v.replicas[id]
	switch {
	case s == nil:
		return now-since >= ttl
	case s.gone && s.removed:
		return true
	default:
		return now-s.at >= max(ttl, s.value.TTL)
	}
}

// chosen returns who should have a duty, empty if nobody is alive who knows it.
func (v *view) chosen(duty string, now time.Duration) string {
	var best string
	var top uint64
	var first bool
	for id, s := range v.replicas {
		if !v.alive(id, now) || !s.value.knows[duty] {
			continue
		}
		prefers, weight := s.value.prefers[duty], v.weight(duty, id)
		if best == "" || prefers && !first || prefers == first && (weight > top || weight == top && id < best) {
			best, top, first = id, weight, prefers
		}
	}
	return best
}

// weight is weigh, remembered while the replica is known.
func (v *view) weight(duty, id string) uint64 {
	s := v.replicas[id]
	w, ok := s.weights[duty]
	if !ok {
		if s.weights == nil {
			s.weights = make(map[string]uint64)
		}
		w = weigh(duty, id)
		s.weights[duty] = w
	}
	return w
}

// weigh is a replica's weight for a duty in rendezvous hashing.
func weigh(duty, id string) uint64 {
	sum := sha256.Sum256([]byte(duty + "\x00" + id))
	return binary.BigEndian.Uint64(sum[:])
}

// ready reports whether this replica, or one that was alive after the first look,
// has a duty and has said that those that come after it may begin. One renewal may
// have been on its way when its sender died, a second one not: it is written at the
// revision of the first.
func (v *view) ready(duty, id string, now time.Duration) bool {
	s := v.duties[duty]
	if s == nil || s.gone || s.strange != nil || s.value.Free || !s.value.Ready {
		return false
	}
	return s.value.Replica == id || v.renewed(s.value.Replica, 2, now)
}
