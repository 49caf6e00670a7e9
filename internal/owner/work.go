package owner

import (
	"context"
	"errors"
	"time"

	"github.com/weirhq/weir/consumer"
)

// wake makes work look again now.
func (r *Replica) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// work looks at the keys and takes, keeps and gives up duties, until ctx ends or a
// duty fails.
func (r *Replica) work(ctx context.Context) error {
	working := context.WithoutCancel(ctx)
	tick := time.NewTicker(r.cfg.Poll)
	defer tick.Stop()
	var failed error
	stopped := ctx.Done()
	troubled := false
	for {
		if ctx.Err() != nil {
			r.leave()
		}
		gap := r.gaps.Load()
		err := r.look(working)
		r.mute = err != nil && !errors.Is(err, errNotShown)
		if err == nil {
			r.verify()
			r.confirmed.Store(gap)
			err = r.act(working)
		}
		if failed = errors.Join(failed, r.reap()); failed != nil {
			r.leave()
		}
		if err != nil && !troubled && !errors.Is(err, errNotShown) { // of that the lease tells
			r.lg.Warn().Err(err).Msg("the duties cannot be shared out")
		}
		troubled = err != nil
		if r.finished(working) {
			return failed
		}
		select {
		case <-stopped:
			stopped = nil
		case <-tick.C:
		case <-r.kick:
		}
	}
}

// finished ends the terms, once the replica is leaving, in their order, and
// reports whether all have ended and were given up, as far as the broker lets it.
func (r *Replica) finished(ctx context.Context) bool {
	if !r.me().leaving {
		return false
	}
	for _, d := range r.lastFirst() {
		t := r.terms[d.Name]
		if t == nil {
			continue
		}
		if !r.needed(d.Name) {
			t.end()
		}
		if t.over() {
			r.free(ctx, t)
		}
	}
	return len(r.terms) == 0
}

// needed reports whether a term goes on that comes after a duty.
func (r *Replica) needed(duty string) bool {
	for _, t := range r.terms {
		if t.duty.After == duty {
			return true
		}
	}
	return false
}

// verify ends the terms of duties that the keys do not show to be ours any more.
func (r *Replica) verify() {
	me := r.me()
	for _, t := range r.terms {
		s := r.view.duties[t.duty.Name]
		lapsed := t.generation.Load() != me.generation
		switch {
		case t.taken.Load():
		case s == nil || s.gone || s.strange != nil || !r.ids[s.value.Replica]:
			t.lose()
		case lapsed && t.duty.After == "":
			t.lose()
		case s.revision == t.revision:
		case s.value.Replica == me.id: // and nobody told
			t.wrote(s.value, s.revision, me.generation)
		default:
			t.wrote(s.value, s.revision, t.generation.Load())
		}
	}
}

// act does what the keys ask for. If the broker does not answer it is for the next
// look to go on.
func (r *Replica) act(ctx context.Context) error {
	var errs []error
	for _, d := range r.cfg.Duties {
		var err error
		if t := r.terms[d.Name]; t != nil {
			err = r.attend(ctx, t)
		} else if r.Held() == nil {
			err = r.take(ctx, d)
		}
		if err == nil {
			continue
		}
		if errs = append(errs, err); !errors.Is(err, errStrange) {
			return errors.Join(errs...)
		}
	}
	r.bury(ctx)
	return errors.Join(errs...)
}

// attend looks after a term.
func (r *Replica) attend(ctx context.Context, t *Term) error {
	me := r.me()
	s := r.view.duties[t.duty.Name]
	switch {
	case t.taken.Load():
	case t.generation.Load() != me.generation:
		if me.quiet || r.Held() != nil || !r.may(t.duty, me.generation) {
			break
		}
		p := s.value
		p.Past, p.Since = p.past(), time.Now().UTC()
		p.Replica, p.Epoch = me.id, p.Epoch+1
		return r.post(ctx, t, p, me.generation)
	case !s.value.Ready && t.ready.Load():
		p := s.value
		p.Ready = true
		return r.post(ctx, t, p, me.generation)
	case !t.ending && !me.leaving && r.surplus(t.duty.Name, me.id):
		r.lg.Info().Str("duty", t.duty.Name).Msg("given to another weir, as soon as what is under way has ended")
		t.end()
	}
	if t.ending && t.over() {
		r.free(ctx, t)
	}
	return nil
}

// surplus reports whether a duty of ours is to be another's, who is there to stay
// and may take it.
func (r *Replica) surplus(duty, id string) bool {
	now := r.cfg.Now()
	chosen := r.view.chosen(duty, now)
	return chosen != "" && chosen != id && r.view.renewed(chosen, 2, now) && r.view.able(chosen, duty) && r.Held() == nil
}

// may reports whether the duty that one comes after is ready, or was while this
// lease was in force: a store that was put back would have made it lapse.
func (r *Replica) may(d Duty, generation uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.allowed(d, generation)
}

// allowed is may for who holds mu.
func (r *Replica) allowed(d Duty, generation uint64) bool {
	return d.After == "" || r.passed[d.After] == generation
}

// post writes the key of a duty of ours, under the lease of a generation whose id
// is in p.
func (r *Replica) post(ctx context.Context, t *Term, p post, generation uint64) error {
	revision, err := r.put(ctx, t.duty.Name, p, t.revision)
	if errors.Is(err, consumer.ErrConflict) {
		return nil // the next look tells whose it is
	}
	if err == nil {
		t.wrote(p, revision, generation)
	}
	return err
}
