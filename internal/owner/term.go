package owner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/consumer"
)

// Term is the time in which this replica has a duty.
type Term struct {
	r      *Replica
	duty   Duty
	cancel context.CancelFunc
	done   chan struct{} // closed when Do has returned err
	err    error

	epoch      atomic.Uint64
	generation atomic.Uint64 // of the replica's lease under which it holds
	taken      atomic.Bool   // somebody else has the duty, or may have it
	ended      atomic.Bool   // Do has returned
	ready      atomic.Bool   // those that come after may begin

	// The look's alone:
	revision uint64 // of the duty's key, as written by us
	ending   bool   // it was told to end
}

// Held returns nil while the duty may be acted on.
func (t *Term) Held() error {
	err := t.r.Held() // first: it may be that of a lease taken anew meanwhile
	if t.taken.Load() || t.ended.Load() || t.generation.Load() != t.r.generation.Load() {
		return ErrTaken
	}
	return err
}

// Epoch says which term of the duty this is. It rises when a replica takes the
// duty back after a lapse.
func (t *Term) Epoch() uint64 { return t.epoch.Load() }

// Ready lets those duties begin that come after this one.
func (t *Term) Ready() {
	t.ready.Store(true)
	t.r.wake()
}

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
		gap := r.gaps.Load()
		err := r.look(working)
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
			r.leave()
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
	return errors.Join(append(errs, r.bury(ctx))...)
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

// wrote notes what the duty's key says in our name.
func (t *Term) wrote(p post, revision, generation uint64) {
	t.revision = revision
	t.epoch.Store(p.Epoch)
	t.generation.Store(generation)
}

// put writes the key of a duty, and enters it into the view.
func (r *Replica) put(ctx context.Context, duty string, p post, expect uint64) (uint64, error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	key, data := dutyPrefix+duty, encode(p)
	revision, err := r.store.WriteKey(ctx, key, data, expect, 0)
	if err != nil {
		return 0, fmt.Errorf("duty %s: %w", duty, err)
	}
	note(r.view.duties, key, duty, revision, data, false, r.cfg.Now())
	return revision, nil
}

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
		p.Epoch, expect = s.value.Epoch+1, s.revision
	}
	if r.Held() != nil {
		return nil
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
func (r *Replica) bury(ctx context.Context) error {
	now := r.cfg.Now()
	for id, s := range r.view.replicas {
		if s.gone || s.strange != nil || now-s.at < 3*max(s.value.TTL, r.cfg.TTL) || r.Held() != nil {
			continue
		}
		if !r.ids[id] {
			r.remove(ctx, id, s)
		}
	}
	return nil
}

// begin begins a term.
func (r *Replica) begin(ctx context.Context, d Duty, p post, revision, generation uint64) {
	ctx, cancel := context.WithCancel(ctx)
	t := &Term{r: r, duty: d, cancel: cancel, done: make(chan struct{})}
	t.wrote(p, revision, generation)
	r.terms[d.Name] = t
	r.lg.Info().Str("duty", d.Name).Uint64("epoch", p.Epoch).Msg("duty taken")
	go func() {
		defer r.wake()
		defer close(t.done)
		defer t.ended.Store(true)
		t.err = d.Do(ctx, t)
	}()
}

// lose ends a term that is another's: nothing more may be done under it.
func (t *Term) lose() {
	t.taken.Store(true)
	t.r.lg.Warn().Str("duty", t.duty.Name).Msg("another weir has the duty, or may have it")
	t.end()
}

func (t *Term) end() {
	t.ending = true
	t.cancel()
}

// over reports whether Do has returned.
func (t *Term) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// reap returns why a duty failed. One that ended without being told to has failed
// as well.
func (r *Replica) reap() error {
	var errs []error
	for _, t := range r.terms {
		if !t.over() || t.err == nil && t.ending {
			continue
		}
		if t.err == nil {
			t.err = errors.New("ended by itself")
		}
		errs = append(errs, fmt.Errorf("%s: %w", t.duty.Name, t.err))
		t.err, t.ending = nil, true
	}
	return errors.Join(errs...)
}

// free gives up a duty whose term is over. If the broker does not take that,
// others find out when the lease is given back or has run out.
func (r *Replica) free(ctx context.Context, t *Term) {
	delete(r.terms, t.duty.Name)
	s, me := r.view.duties[t.duty.Name], r.me()
	if r.mute && me.leaving || t.taken.Load() || s == nil || s.gone || s.revision != t.revision {
		return
	}
	p := s.value
	p.Free, p.Ready = true, false
	err := r.post(ctx, t, p, t.generation.Load())
	if r.mute = err != nil; r.mute {
		r.lg.Warn().Err(err).Str("duty", t.duty.Name).Msg("duty not given up; others wait until the lease runs out")
	}
}
