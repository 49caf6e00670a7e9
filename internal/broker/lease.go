package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/consumer"
)

// Keys of the lease. leaseKey lives for a TTL after each renewal; ownerKey says
// for ever who acquired it last, so that a holder whose lease ran out learns
// whether somebody else had it meanwhile.
const (
	leaseKey = "lease"
	ownerKey = "owner"
)

// LeaseConfig is how a lease is held.
type LeaseConfig struct {
	// TTL is how long the lease lives without renewal, in whole seconds.
	// Default 5 s; use 20 s on a cluster, whose leader may be away for 9 s.
	TTL time.Duration
	// Holder names this process to others, such as host and process id.
	Holder string
	// Observe is given a look at the broker's clock now and then: when it stored a
	// renewal, between its sending and its confirmation. Nil: nobody is interested.
	Observe func(consumer.Sample)
}

// Errors of a lease.
var (
	// ErrHeld is a lease that another process holds and renews.
	ErrHeld = errors.New("another weir holds the lease")
	// ErrLost is a lease that another process has taken.
	ErrLost = errors.New("the lease was taken by another weir")
	// errLapsed is a lease that was not renewed in time.
	errLapsed = errors.New("the lease was not renewed in time")
)

// Lease is the right to send, which one process has at a time. Between two
// holders there is always a pause: a holder counts as one only until 4/5 of the
// TTL have passed since it sent its last renewal that succeeded, and a new
// holder waits a whole TTL, the longer of the two, after the last renewal that
// it saw arrive, unless the old one gave the lease back. Both by their own
// clocks, which need only run at the same rate within 20 %.
type Lease struct {
	b    *Broker
	ttl  time.Duration
	self holder
	data []byte // self, as stored

	observe func(consumer.Sample)

	// Written by Broker.Lease, then by Run alone.
	revision uint64          // of leaseKey, as last known
	lapsed   bool            // leaseKey was gone: another may have held it since
	wrote    consumer.Sample // when revision was sent and confirmed; what the broker's clock showed is not known yet
	compared bool            // the broker's clock was looked at

	sent  atomic.Int64 // when the last renewal that succeeded was sent, by consumer.BootTime
	ended atomic.Bool  // Run gives the lease back, or has lost it

	trouble atomic.Pointer[error] // why the last renewal failed; nil if it did not
}

// holder is the stored form of both keys.
type holder struct {
	V      int    `json:"v"`
	ID     string `json:"id"` // fresh with each acquisition
	Holder string `json:"holder"`
	// TTL is in nanoseconds. Records of older versions have none.
	TTL time.Duration `json:"ttl,omitzero"`
}

func holderOf(data []byte) holder {
	var h holder
	if json.Unmarshal(data, &h) != nil {
		h.Holder = "unknown"
	}
	return h
}

// Lease acquires the lease. If another process holds it, Lease waits for at
// most two TTLs, the longer of the two, to see what comes of it: once it is
// renewed, the answer is ErrHeld with the holder's name; otherwise it is taken,
// even if it does not run out. Call Run at once, or it runs out again.
func (b *Broker) Lease(ctx context.Context, cfg LeaseConfig) (*Lease, error) {
	cfg.TTL = cmp.Or(cfg.TTL, 5*time.Second)
	if cfg.TTL < time.Second || cfg.TTL%time.Second != 0 {
		return nil, fmt.Errorf("lease: a TTL of %v is not possible: the broker knows whole seconds", cfg.TTL)
	}
	l := &Lease{b: b, ttl: cfg.TTL, self: holder{V: 1, ID: nuid.Next(), Holder: cfg.Holder, TTL: cfg.TTL}, observe: cfg.Observe}
	var err error
	if l.data, err = json.Marshal(l.self); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	if err := l.acquire(ctx); err != nil {
		return nil, fmt.Errorf("lease: %w", b.explain(ctx, err, 0))
	}
	l.compare(ctx)
	return l, nil
}

// acquire waits until the lease is free, takes it, and waits on until a former
// holder that did not give it back has certainly stopped.
func (l *Lease) acquire(ctx context.Context) error {
	safe, err := l.await(ctx)
	if err != nil {
		return err
	}
	if err := l.take(ctx); err != nil {
		return err
	}
	if err := l.outwait(ctx, safe); err != nil {
		// It is not given back: the next one must wait for the former holder too.
		if errors.Is(err, ErrLost) {
			return fmt.Errorf("%w: %w", ErrHeld, err)
		}
		return err
	}
	return nil
}

// outwait renews the lease until safe.
func (l *Lease) outwait(ctx context.Context, safe time.Duration) error {
	for consumer.BootTime() < safe {
		if !sleep(ctx, min(l.ttl/5, max(0, safe-consumer.BootTime()))) {
			return ctx.Err()
		}
		if err := l.renew(ctx); err != nil && (!transient(err) || ctx.Err() != nil) {
			return err
		}
	}
	return nil
}

// await waits until nobody holds the lease, and returns when a former holder
// will certainly have stopped.
func (l *Lease) await(ctx context.Context) (safe time.Duration, err error) {
	var first uint64
	var began time.Duration
	longest := l.ttl
	for {
		r, err := l.b.readKey(ctx, leaseKey)
		if err != nil {
			return 0, err
		}
		if began == 0 {
			began = consumer.BootTime() // what the read showed was sent before
		}
		l.revision = r.revision
		if r.data == nil {
			wait, err := l.vacancy(ctx, r, first != 0)
			return began + wait, err
		}
		h := holderOf(r.data)
		longest = max(longest, h.TTL)
		switch {
		case first == 0:
			first = r.revision
		case r.revision != first:
			return 0, fmt.Errorf("%w: %s", ErrHeld, h.Holder)
		case consumer.BootTime()-began > 2*longest: // the broker's clock was set back, perhaps
			return began + longest, nil
		}
		if !sleep(ctx, l.ttl/20) {
			return 0, ctx.Err()
		}
	}
}

// vacancy returns how long a former holder may go on after leaseKey was found to
// be gone; seen tells that it was there before. There is none if the lease was
// given back, or nobody ever had it. Otherwise the key may have vanished while
// it was renewed: the broker's clock leapt, or its store was rolled back.
func (l *Lease) vacancy(ctx context.Context, r record, seen bool) (time.Duration, error) {
	if r.removed {
		return 0, nil
	}
	owner, err := l.b.readKey(ctx, ownerKey)
	if err != nil {
		return 0, err
	}
	if r.revision == 0 && owner.revision == 0 && !seen {
		return 0, nil
	}
	return max(l.ttl, holderOf(owner.data).TTL), nil
}

// take writes both keys. The lease counts only when both are written: whoever
// was stopped between them has never been the holder, and finds ownerKey
// changed if somebody was meanwhile.
func (l *Lease) take(ctx context.Context) error {
	owner, err := l.b.readKey(ctx, ownerKey)
	if err != nil {
		return err
	}
	err = retry(ctx, 2*l.ttl, func(ctx context.Context) error {
		sent, err := l.put(ctx)
		if errors.Is(err, errLapsed) { // the mark of the former holder is gone by now
			sent, err = l.put(ctx)
		}
		l.sent.Store(int64(sent))
		return err
	})
	if err == nil {
		err = retry(ctx, 2*l.ttl, func(ctx context.Context) error { return l.own(ctx, owner.revision) })
	}
	if errors.Is(err, ErrLost) || errors.Is(err, errLapsed) {
		return fmt.Errorf("%w: it was just taken", ErrHeld)
	}
	return err
}

// put writes leaseKey once. A write of ours whose answer was lost is no
// obstacle.
func (l *Lease) put(ctx context.Context) (sent time.Duration, err error) {
	for range 3 {
		sent = consumer.BootTime()
		began := time.Now()
		revision, err := l.b.writeKey(ctx, keyWrite{key: leaseKey, data: l.data, ttl: l.ttl, expect: &l.revision})
		if err == nil {
			l.revision = revision
			l.wrote = consumer.Sample{Sent: began, Received: time.Now()}
			return sent, nil
		}
		if !outpaced(err) {
			return 0, err
		}
		r, err := l.b.readKey(ctx, leaseKey)
		if err != nil {
			return 0, err
		}
		if r.data != nil && holderOf(r.data).ID != l.self.ID {
			return 0, fmt.Errorf("%w: %s", ErrLost, holderOf(r.data).Holder)
		}
		l.revision = r.revision
		if r.data == nil {
			return 0, errLapsed
		}
	}
	return 0, errLapsed
}

// own writes ownerKey, unless somebody has since it had this revision.
func (l *Lease) own(ctx context.Context, revision uint64) error {
	_, err := l.b.writeKey(ctx, keyWrite{key: ownerKey, data: l.data, expect: &revision})
	if err == nil || !outpaced(err) {
		return err
	}
	return l.verify(ctx)
}

// verify checks that nobody has acquired the lease since we did.
func (l *Lease) verify(ctx context.Context) error {
	r, err := l.b.readKey(ctx, ownerKey)
	if err != nil {
		return err
	}
	if h := holderOf(r.data); h.ID != l.self.ID {
		return fmt.Errorf("%w: %s", ErrLost, h.Holder)
	}
	return nil
}

// renew extends the lease. One that has run out, in an outage of the broker for
// instance, is taken again if nobody else had it.
func (l *Lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.ttl*2/5)
	defer cancel()
	sent, err := l.put(ctx)
	if errors.Is(err, errLapsed) {
		l.lapsed = true
		sent, err = l.put(ctx)
	}
	if err == nil && l.lapsed {
		err = l.verify(ctx)
	}
	if err != nil {
		return err
	}
	l.lapsed = false
	l.sent.Store(int64(sent))
	return nil
}

// compareEvery is how many renewals there are to a look at the broker's clock,
// once there was one.
const compareEvery = 10

// compare reads when the broker stored the last renewal. Nothing comes of one
// that cannot be read: there is a next one.
func (l *Lease) compare(ctx context.Context) {
	if l.observe == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.ttl/5)
	defer cancel()
	m, err := l.b.last(ctx, StreamLanes, lanesPrefix+leaseKey)
	if err != nil || m.Sequence != l.revision || l.wrote.Sent.IsZero() {
		return
	}
	s := l.wrote
	s.Shown = m.Time
	l.compared = true
	l.observe(s)
}

// Run renews the lease until ctx ends, and then gives it back, so that another
// process can take it at once. It returns ErrLost if another process has taken
// it. Run must end after everything that asks Held.
func (l *Lease) Run(ctx context.Context) error {
	tick := time.NewTicker(l.ttl / 5)
	defer tick.Stop()
	for renewals := 1; ; renewals++ {
		err := l.renew(ctx)
		if errors.Is(err, ErrLost) {
			l.ended.Store(true)
			return fmt.Errorf("lease: %w", err)
		}
		l.note(ctx, err)
		if err != nil && ctx.Err() == nil {
			l.b.lg.Warn().Err(err).Msg("lease not renewed")
		}
		if err == nil && (!l.compared || renewals%compareEvery == 0) {
			l.compare(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.release(ctx)
			return nil
		}
	}
}

// note keeps why a renewal failed, for whoever asks Held.
func (l *Lease) note(ctx context.Context, err error) {
	if err == nil {
		l.trouble.Store(nil)
		return
	}
	err = l.b.explain(ctx, err, 0)
	l.trouble.Store(&err)
}

// release removes the key. If that fails, others wait until it runs out.
func (l *Lease) release(ctx context.Context) {
	l.ended.Store(true)
	ctx = context.WithoutCancel(ctx)
	err := once(ctx, func(ctx context.Context) error {
		_, err := l.b.writeKey(ctx, keyWrite{key: leaseKey, expect: &l.revision, removal: true})
		return err
	})
	if err != nil {
		l.b.lg.Warn().Err(err).Msg("lease not given back")
	}
}

// Held returns nil while this process may send: while less than 4/5 of the TTL
// have passed since the last renewal that succeeded was sent, time in which the
// machine slept included.
func (l *Lease) Held() error {
	if !l.ended.Load() && consumer.BootTime()-time.Duration(l.sent.Load()) < l.ttl*4/5 {
		return nil
	}
	if err := l.trouble.Load(); err != nil {
		return fmt.Errorf("%w: %w", errLapsed, *err)
	}
	return errLapsed
}
