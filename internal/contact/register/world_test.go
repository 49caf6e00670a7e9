package register_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/consumer"
)

var errAway = errors.New("the broker is not there")

// world is a model of bucket and ledger in virtual time. With faults, any call may
// be slow, may fail, and a write that fails may be done all the same.
type world struct {
	mu      sync.Mutex
	r       *rand.Rand
	faults  bool
	keys    map[string]value
	entries map[string]consumer.Intent
	revs    map[string]uint64
	seq     uint64
}

type value struct {
	data     []byte
	revision uint64
	until    time.Time // zero: for ever
}

func newWorld(seed uint64) *world {
	return &world{
		r: rand.New(rand.NewPCG(seed, 7)), keys: make(map[string]value),
		entries: make(map[string]consumer.Intent), revs: make(map[string]uint64),
	}
}

// chance reports true once in n times, in a world with faults.
func (w *world) chance(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults && w.r.IntN(n) == 0
}

// upTo is a random duration.
func (w *world) upTo(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.r.Int64N(int64(d)))
}

// call takes the time of a request.
func (w *world) call() error {
	time.Sleep(w.upTo(5 * time.Millisecond))
	if w.chance(40) {
		time.Sleep(w.upTo(4 * time.Second))
	}
	if w.chance(40) {
		return errAway
	}
	return nil
}

// answer is how the answer to a write that was done comes back.
func (w *world) answer() error {
	time.Sleep(w.upTo(5 * time.Millisecond))
	if w.chance(40) {
		return errAway
	}
	return nil
}

func (w *world) get(key string) value {
	v := w.keys[key]
	if !v.until.IsZero() && time.Now().After(v.until) {
		return value{}
	}
	return v
}

func (w *world) Contact(_ context.Context, key string) ([]byte, uint64, error) {
	if err := w.call(); err != nil {
		return nil, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.get(key)
	return v.data, v.revision, nil
}

func (w *world) StoreContact(_ context.Context, key string, data []byte, revision uint64, keep time.Duration) error {
	if err := w.call(); err != nil {
		return err
	}
	w.mu.Lock()
	if w.get(key).revision != revision {
		w.mu.Unlock()
		return consumer.ErrConflict
	}
	w.put(key, data, keep)
	w.mu.Unlock()
	return w.answer()
}

// put writes a key, whatever was there. The caller holds mu.
func (w *world) put(key string, data []byte, keep time.Duration) {
	w.seq++
	v := value{data: data, revision: w.seq}
	if keep > 0 {
		v.until = time.Now().Add(keep)
	}
	w.keys[key] = v
}

func (w *world) Contacts(_ context.Context, prefix string, seen func(string, []byte) error) error {
	w.mu.Lock()
	found := make(map[string][]byte)
	for key := range w.keys {
		if v := w.get(key); strings.HasPrefix(key, prefix) && v.revision > 0 {
			found[key] = v.data
		}
	}
	w.mu.Unlock()
	for key, data := range found {
		if err := seen(key, data); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) Load(_ context.Context, lane, key string) (consumer.Intent, uint64, error) {
	if err := w.call(); err != nil {
		return consumer.Intent{}, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	in, ok := w.entries[lane+"."+key]
	if !ok {
		in = consumer.Intent{Lane: lane, Key: key}
	}
	return in, w.revs[lane+"."+key], nil
}

func (w *world) Store(_ context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	if err := w.call(); err != nil {
		return 0, err
	}
	w.mu.Lock()
	at := in.Lane + "." + in.Key
	if w.revs[at] != revision {
		w.mu.Unlock()
		return 0, consumer.ErrConflict
	}
	w.seq++
	stored := w.seq
	w.entries[at], w.revs[at] = in, stored
	w.mu.Unlock()
	return stored, w.answer()
}

func (w *world) Scan(context.Context, string, time.Time) iter.Seq2[consumer.Entry, error] {
	return func(func(consumer.Entry, error) bool) {}
}
