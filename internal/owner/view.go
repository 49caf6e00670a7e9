package owner

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// view is what a replica has seen of the keys, and when, by its own clock. It
// does no I/O.
type view struct {
	began    time.Duration // the first look
	next     uint64        // the first revision that was not looked at
	replicas map[string]*sighting[member]
	duties   map[string]*sighting[post]
}

// sighting is the newest record of a key.
type sighting[T any] struct {
	value    T // the newest that could be read
	revision uint64
	at       time.Duration // when this revision was first seen
	gone     bool
	removed  bool  // gone, and somebody removed it
	strange  error // it cannot be read
	renewals int   // revisions seen while it was there, the first one included
}

func newView(now time.Duration) *view {
	return &view{began: now, replicas: make(map[string]*sighting[member]), duties: make(map[string]*sighting[post])}
}

// enter notes a record.
func (v *view) enter(key string, revision uint64, data []byte, removed bool, now time.Duration) {
	v.next = max(v.next, revision+1)
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
	if s.revision == revision && s.gone == (data == nil) {
		return
	}
	if revision < s.revision { // the broker's store was put back
		s.renewals = 0
	}
	s.revision, s.at, s.removed, s.strange = revision, now, removed, nil
	if s.gone = data == nil; s.gone {
		s.renewals = 0
		return
	}
	s.renewals++
	var value T
	if s.strange = decode(key, data, &value); s.strange == nil {
		s.value = value
	}
}

// vanish notes that a full look showed none of the keys that are not in seen.
func (v *view) vanish(seen map[string]bool, now time.Duration) {
	vanish(v.replicas, replicaPrefix, seen, now)
	vanish(v.duties, dutyPrefix, seen, now)
}

func vanish[T any](all map[string]*sighting[T], prefix string, seen map[string]bool, now time.Duration) {
	for name, s := range all {
		switch {
		case seen[prefix+name]:
		case !s.gone:
			s.gone, s.removed, s.revision, s.at, s.renewals = true, false, 0, now, 0
		default:
			s.revision = 0
		}
	}
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

// silent reports whether a replica has certainly stopped to act: it gave its lease
// back, or somebody else has seen that it had stopped, or a whole TTL went by
// without a renewal. A replica that was never seen may have renewed its lease just
// before the first look.
func (v *view) silent(id string, ttl, now time.Duration) bool {
	s := v.replicas[id]
	switch {
	case s == nil:
		return now-v.began >= ttl
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
		if !v.alive(id, now) || !slices.Contains(s.value.Duties, duty) {
			continue
		}
		prefers, weight := slices.Contains(s.value.First, duty), weigh(duty, id)
		if best == "" || prefers && !first || prefers == first && (weight > top || weight == top && id < best) {
			best, top, first = id, weight, prefers
		}
	}
	return best
}

// weigh is a replica's weight for a duty in rendezvous hashing.
func weigh(duty, id string) uint64 {
	sum := sha256.Sum256([]byte(duty + "\x00" + id))
	return binary.BigEndian.Uint64(sum[:])
}

// ready reports whether a replica that was seen to renew its lease, or that is
// this one, has a duty and has said that those that come after it may begin.
func (v *view) ready(duty, id string, now time.Duration) bool {
	s := v.duties[duty]
	if s == nil || s.gone || s.strange != nil || s.value.Free || !s.value.Ready {
		return false
	}
	return s.value.Replica == id || v.renewed(s.value.Replica, 1, now)
}
