package owner_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
)

// keyStore is a model of the broker's keys at their worst: what is said of
// JetStream by those who have seen it fail. Compare-and-set always holds.
type keyStore struct {
	mu      sync.Mutex
	rng     *rand.Rand
	keys    map[string]keyRecord
	seq     uint64
	skew    time.Duration // how far the broker's clock has leapt
	markers bool          // what runs out leaves a record that says so
	chance  chances
	away    chan struct{} // closed when the outage ends; nil: no outage
	wrote   func(key string, revision uint64, data []byte)
	// rule decides about one write instead of chance; nil: nobody does.
	rule func(key string, data []byte) fate
	// delay is how late the late ones are; 0 is some seconds.
	delay time.Duration
}

type keyRecord struct {
	data     []byte
	revision uint64
	at       time.Time // by the broker's clock
	ttl      time.Duration
	removed  bool
}

// fate is what becomes of one write.
type fate int

const (
	served   fate = iota
	lost          // the request
	unheard       // the answer, after the write was done
	late          // the request comes seconds after the caller has given up
	twice         // sent again by the transport: the second one is answered
	refused       // an error at once, nothing done
	mistaken      // an error at once, and yet it was done
)

// chances are how probable each fate is, and that a read fails.
type chances struct {
	lost, unheard, late, twice, refused, mistaken, read float64
}

var errBroker = errors.New("the broker is not there")

func newKeyStore(rng *rand.Rand) *keyStore {
	return &keyStore{rng: rng, keys: make(map[string]keyRecord), markers: true}
}

func (s *keyStore) now() time.Time { return time.Now().Add(s.skew) }

// expire lets keys run out. The caller holds mu.
func (s *keyStore) expire() {
	for key, r := range s.keys {
		if r.ttl == 0 || s.now().Before(r.at.Add(r.ttl)) {
			continue
		}
		delete(s.keys, key)
		if s.markers && r.data != nil {
			s.seq++
			s.keys[key] = keyRecord{revision: s.seq, at: s.now(), ttl: 10 * time.Minute}
		}
	}
}

// apply writes, as the leader does.
func (s *keyStore) apply(key string, data []byte, revision uint64, ttl time.Duration) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if s.keys[key].revision != revision {
		return 0, fmt.Errorf("write %s: %w", key, consumer.ErrConflict)
	}
	s.seq++
	s.keys[key] = keyRecord{data: data, revision: s.seq, at: s.now(), ttl: ttl, removed: data == nil}
	if s.wrote != nil {
		s.wrote(key, s.seq, data)
	}
	return s.seq, nil
}

// WriteKey implements owner.Store.
func (s *keyStore) WriteKey(ctx context.Context, key string, data []byte, revision uint64, ttl time.Duration) (uint64, error) {
	if err := s.travel(ctx); err != nil {
		return 0, err
	}
	does, delay, outage := s.draw(key, data)
	if outage != nil && does == served {
		does = lost
	}
	var stored uint64
	var err error
	switch does {
	case lost:
		return 0, never(ctx)
	case unheard:
		_, _ = s.apply(key, data, revision, ttl)
		return 0, never(ctx)
	case late:
		time.AfterFunc(delay, func() { _, _ = s.apply(key, data, revision, ttl) })
		return 0, never(ctx)
	case refused:
		return 0, errBroker
	case mistaken:
		_, _ = s.apply(key, data, revision, ttl)
		return 0, errBroker
	case twice:
		_, _ = s.apply(key, data, revision, ttl)
		stored, err = s.apply(key, data, revision, ttl)
	default:
		stored, err = s.apply(key, data, revision, ttl)
	}
	if back := s.travel(ctx); back != nil {
		return 0, back
	}
	return stored, err
}

// draw decides about one write.
func (s *keyStore) draw(key string, data []byte) (fate, time.Duration, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delay := cmp.Or(s.delay, time.Duration(s.rng.ExpFloat64()*float64(4*time.Second)))
	if s.away != nil && s.rng.IntN(4) == 0 {
		return late, delay, s.away
	}
	if s.rule != nil {
		return s.rule(key, data), delay, s.away
	}
	x, c := s.rng.Float64(), s.chance
	for _, f := range []struct {
		fate fate
		p    float64
	}{{lost, c.lost}, {unheard, c.unheard}, {late, c.late}, {twice, c.twice}, {refused, c.refused}, {mistaken, c.mistaken}} {
		if x -= f.p; x < 0 {
			return f.fate, delay, s.away
		}
	}
	return served, delay, s.away
}

// Keys implements owner.Store. It reads record by record, while others write.
func (s *keyStore) Keys(ctx context.Context, prefix string, from uint64, seen func(key string, revision uint64, data []byte, removed bool, at time.Time)) error {
	for next := from; ; {
		if err := s.read(ctx); err != nil {
			return err
		}
		key, r, ok := s.first(prefix, next)
		if !ok {
			return nil
		}
		seen(key, r.revision, r.data, r.removed, r.at)
		next = r.revision + 1
	}
}

// first returns the key with the lowest revision from one on.
func (s *keyStore) first(prefix string, from uint64) (key string, found keyRecord, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	for k, r := range s.keys {
		if strings.HasPrefix(k, prefix) && r.revision >= from && (!ok || r.revision < found.revision) {
			key, found, ok = k, r, true
		}
	}
	return key, found, ok
}

// Key implements owner.Store.
func (s *keyStore) Key(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := s.read(ctx); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	r := s.keys[key]
	return r.data, r.revision, nil
}

// read is the way of one read, there and back.
func (s *keyStore) read(ctx context.Context) error {
	s.mu.Lock()
	away, fails, slow := s.away != nil, s.rng.Float64() < s.chance.read, s.rng.IntN(2) == 0
	s.mu.Unlock()
	if away || fails && slow {
		return never(ctx)
	}
	if fails {
		return errBroker
	}
	return s.travel(ctx)
}

// travel is the way there, or back.
func (s *keyStore) travel(ctx context.Context) error {
	s.mu.Lock()
	d := time.Duration(s.rng.ExpFloat64() * float64(300*time.Microsecond))
	if s.rng.IntN(200) == 0 {
		d = time.Duration(s.rng.IntN(400)) * time.Millisecond
	}
	s.mu.Unlock()
	return pause(ctx, d)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func never(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// leave begins an outage, in which every call hangs; back ends it.
func (s *keyStore) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == nil {
		s.away = make(chan struct{})
	}
}

func (s *keyStore) back() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		close(s.away)
		s.away = nil
	}
}

// leap sets the broker's clock.
func (s *keyStore) leap(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew += d
	s.expire()
}

// backup is a copy of all keys.
type backup struct {
	keys map[string]keyRecord
	seq  uint64
	at   time.Time
}

func (s *keyStore) backup() backup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return backup{maps.Clone(s.keys), s.seq, time.Now()}
}

// restore puts a copy back: the sequences go back with it.
func (s *keyStore) restore(b backup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.seq = make(map[string]keyRecord), b.seq
	maps.Copy(s.keys, b.keys)
}

// put writes a key past everybody.
func (s *keyStore) put(key, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.keys[key] = keyRecord{data: []byte(data), revision: s.seq, at: s.now()}
}

// set changes what the broker does.
func (s *keyStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// fates sets what becomes of writes from now on; nil leaves it to chance again.
func (s *keyStore) fates(rule func(key string, data []byte) fate) {
	s.set(func() { s.rule = rule })
}

func (s *keyStore) chances(c chances) { s.set(func() { s.chance = c }) }
