package owner

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/consumer"
)

// Held returns nil while the lease is in force: while less than 4/5 of the TTL
// have passed since the last renewal that succeeded was sent, time in which the
// machine slept included. A lease that comes into force, or back, holds from the
// next look at the keys on. What may be done under it a Term says.
func (r *Replica) Held() error {
	// In this order: whatever happens in between makes the answer no.
	sent := time.Duration(r.sent.Load())
	if r.cfg.Now()-sent < r.cfg.TTL*4/5 && r.confirmed.Load() == r.gaps.Load() && !r.left.Load() {
		return nil
	}
	if err := r.trouble.Load(); err != nil {
		return fmt.Errorf("%w: %w", ErrLapsed, *err)
	}
	return ErrLapsed
}

// keep renews the lease until ctx ends.
func (r *Replica) keep(ctx context.Context) {
	tick := time.NewTicker(r.cfg.TTL / 5)
	defer tick.Stop()
	for {
		err := r.renew(ctx)
		if err != nil && ctx.Err() == nil {
			r.lg.Warn().Err(err).Msg("lease not renewed")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.again:
		}
	}
}

// renew writes the lease's key. A write of ours whose answer was lost is no
// obstacle; a key that is gone, or is not ours, is a lapse.
func (r *Replica) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TTL*2/5)
	defer cancel()
	err := r.write(ctx)
	for try := 0; errors.Is(err, consumer.ErrConflict) && try < 3; try++ {
		if err = r.reread(ctx); err == nil {
			err = r.write(ctx)
		}
	}
	if err != nil {
		r.trouble.Store(&err)
		return err
	}
	r.trouble.Store(nil)
	return nil
}

// write writes the lease's key once.
func (r *Replica) write(ctx context.Context) error {
	r.mu.Lock()
	r.tries++
	try := r.tries
	key, data, revision := replicaPrefix+r.id, encode(r.self()), r.revision
	r.mu.Unlock()
	began, sent := time.Now(), r.cfg.Now()
	revision, err := r.store.WriteKey(ctx, key, data, revision, keyAge)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision, r.written, r.renewals = revision, try, r.renewals+1
	r.wrote = consumer.Sample{Sent: began, Received: time.Now()}
	if sent-time.Duration(r.sent.Load()) >= r.cfg.TTL*4/5 {
		r.gaps.Add(1) // before the lease is in force
		r.wake()
	}
	r.sent.Store(int64(sent))
	return nil
}

// self is what the replica says of itself. The caller holds mu.
func (r *Replica) self() member {
	m := member{V: format, ID: r.id, Holder: r.cfg.Holder, TTL: r.cfg.TTL, Try: r.tries}
	if r.leaving || r.quiet {
		return m
	}
	for _, d := range r.cfg.Duties {
		m.Duties = append(m.Duties, d.Name)
		if r.allowed(d, r.generation.Load()) {
			m.Able = append(m.Able, d.Name)
		}
		if d.First {
			m.First = append(m.First, d.Name)
		}
	}
	return m
}

// reread finds out why the lease's key is not as it was.
func (r *Replica) reread(ctx context.Context) error {
	r.mu.Lock()
	id, was := r.id, r.written
	r.mu.Unlock()
	data, revision, err := r.store.Key(ctx, replicaPrefix+id)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var m member
	if data != nil && json.Unmarshal(data, &m) == nil && m.Try > was { // written by us, and nobody told
		r.revision, r.written = revision, m.Try
		return nil
	}
	if was != 0 {
		r.lg.Warn().Msg("the lease was removed by another weir, or the broker has lost it; it is taken anew")
		r.quiet, r.lapsed = true, now
	}
	r.fresh()
	return nil
}

// never is when a lease was sent that never was.
const never = math.MinInt64 / 2

// fresh gives the replica a new id. The caller holds mu, or nobody else knows it.
func (r *Replica) fresh() {
	r.id, r.revision, r.written, r.wrote = rand.Text(), 0, 0, consumer.Sample{}
	r.generation.Add(1) // before the new lease can be in force
	r.sent.Store(never)
}

// speak ends the silence after a lapse: whoever acted on what the broker has lost
// has noticed by now, or has no lease any more.
func (r *Replica) speak(longest time.Duration) {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.quiet && now-r.lapsed >= longest {
		r.quiet = false
		r.renewNow()
	}
}

// renewNow writes the lease at once.
func (r *Replica) renewNow() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// giveBack removes the lease's key. If that fails, others wait until they have
// seen that it is not renewed any more.
func (r *Replica) giveBack(ctx context.Context) {
	r.left.Store(true)
	r.mu.Lock()
	key, revision := replicaPrefix+r.id, r.revision
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lastWord)
	defer cancel()
	_, err := r.store.WriteKey(ctx, key, nil, revision, removedAge)
	if errors.Is(err, consumer.ErrConflict) { // a renewal that nobody told of
		var data []byte
		if data, revision, err = r.store.Key(ctx, key); err == nil && data != nil {
			_, err = r.store.WriteKey(ctx, key, nil, revision, removedAge)
		}
	}
	if err != nil {
		r.lg.Warn().Err(err).Msg("lease not given back")
	}
}

// lastWord is how long the replica may take to say that it has left, lastCall how
// long each call may take before.
const (
	lastWord = 3 * time.Second
	lastCall = time.Second
)
