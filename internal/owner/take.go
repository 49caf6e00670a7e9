package owner

import (
	"context"
	"errors"
	"time"

	"github.com/weirhq/weir/consumer"
)

// take takes a duty that is to be ours, if it is free or its owner has certainly
// stopped.
func (r *Replica) take(ctx context.Context, d Duty) error {
	now, me, s := r.cfg.Now(), r.me(), r.view.duties[d.Name]
	switch {
	case me.leaving || me.quiet:
		return nil
	case s != nil && s.strange != nil:
		return s.strange
	case r.view.chosen(d.Name, now) != me.id || !r.may(d, me.generation):
		return r.disown(ctx, d, s)
	}
	p := post{V: format, Replica: me.id, Holder: r.cfg.Holder, TTL: r.cfg.TTL, Epoch: 1, Since: time.Now().UTC()}
	var expect uint64
	if s != nil {
		if !r.vacant(ctx, s, now) {
			return nil
		}
		p.Epoch, p.Past, expect = s.value.Epoch+1, s.value.past(), s.revision
	}
	if r.Held() != nil {
		return nil //nolint:nilerr // it is no replica any more
	}
	revision, err := r.put(ctx, d.Name, p, expect)
	if errors.Is(err, consumer.ErrConflict) {
		return nil // somebody was faster
	}
	if err != nil {
		return err
	}
	r.ids[me.id] = true
	r.begin(ctx, d, p, revision, me.generation)
	return nil
}

// disown gives up a duty that stands in our name without a term: it was taken, or
// not given up, by a write whose end nobody told.
func (r *Replica) disown(ctx context.Context, d Duty, s *sighting[post]) error {
	if s == nil || s.gone || s.value.Free || !r.ids[s.value.Replica] {
		return nil
	}
	p := s.value
	p.Free, p.Ready = true, false
	if _, err := r.put(ctx, d.Name, p, s.revision); !errors.Is(err, consumer.ErrConflict) {
		return err
	}
	return nil
}

// vacant reports whether nobody acts on a duty any more. A former owner that has
// fallen silent loses its lease first, so that it cannot wake up with it.
func (r *Replica) vacant(ctx context.Context, s *sighting[post], now time.Duration) bool {
	switch {
	case s.doubted && now-s.doubt < max(r.cfg.TTL, s.value.TTL):
		return false
	case s.gone, s.value.Free, r.ids[s.value.Replica]: // its terms have ended, or there would be one
		return true
	case !r.view.silent(s.value.Replica, s.value.TTL, s.at, now):
		return false
	}
	owner := r.view.replicas[s.value.Replica]
	return owner == nil || owner.gone || r.remove(ctx, s.value.Replica, owner)
}

// remove removes the lease of a replica that has fallen silent, if it is as it was
// seen.
func (r *Replica) remove(ctx context.Context, id string, s *sighting[member]) bool {
	ctx, cancel := r.call(ctx)
	defer cancel()
	key := replicaPrefix + id
	revision, err := r.store.WriteKey(ctx, key, nil, s.revision, removedAge)
	if err != nil {
		if !errors.Is(err, consumer.ErrConflict) {
			r.lg.Warn().Err(err).Str("replica", s.value.Holder).Msg("the lease of a silent weir could not be removed")
		}
		return false
	}
	note(r.view.replicas, key, id, revision, nil, true, r.cfg.Now())
	r.lg.Warn().Str("replica", s.value.Holder).Msg("a weir has fallen silent; its duties are taken over")
	return true
}

// bury removes the leases of those that have long been silent, whatever they had.
func (r *Replica) bury(ctx context.Context) {
	now := r.cfg.Now()
	for id, s := range r.view.replicas {
		if s.gone || s.strange != nil || now-s.at < 3*max(s.value.TTL, r.cfg.TTL) || r.Held() != nil {
			continue
		}
		if !r.ids[id] {
			r.remove(ctx, id, s)
		}
	}
}
