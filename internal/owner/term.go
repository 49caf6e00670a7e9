package owner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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
