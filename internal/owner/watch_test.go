package owner_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/owner"
)

// do is what every replica does for every duty: it acts again and again, until it
// is told to end, and a little longer.
func (h *host) do(ctx context.Context, duty string, t *owner.Term) error {
	h.step()
	w := h.w
	r := &run{h: h, duty: duty, term: t, began: time.Now()}
	w.mu.Lock()
	r.age = w.age
	before := w.runs[duty]
	w.runs[duty] = append(slices.Clone(before), r)
	w.mu.Unlock()
	for _, o := range before {
		if !o.returned.Load() && !o.h.dead.Load() {
			w.note("%s begins %s while %s still does it", h.name, duty, o.h.name)
		}
	}
	defer r.returned.Store(true)
	w.note("%s begins %s, epoch %d", h.name, duty, t.Epoch())
	w.check(r, true)
	wait, _, _ := w.ways()
	ready := time.Now().Add(wait())
	for ctx.Err() == nil {
		if _, _, fails := w.ways(); fails != nil {
			if err := fails(h, duty); err != nil {
				return err
			}
		}
		if duty == first && !ready.IsZero() && !time.Now().Before(ready) {
			ready = time.Time{}
			w.say(r)
		}
		_ = pause(ctx, 7*time.Millisecond)
		h.step()
		w.check(r, false)
	}
	_, drain, _ := w.ways()
	for end := time.Now().Add(drain()); time.Now().Before(end); w.check(r, false) {
		time.Sleep(5 * time.Millisecond)
		h.step()
	}
	w.note("%s has ended %s", h.name, duty)
	return nil
}

// set changes how the duties are done, or what is expected.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// ways returns how the duties are done now.
func (w *world) ways() (wait, drain func() time.Duration, fails func(h *host, duty string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wait, w.drain, w.fails
}

// say says that the state was looked at. It is noted first: others may act on it
// before this goroutine goes on.
func (w *world) say(r *run) {
	w.mu.Lock()
	if r.age == w.age {
		w.readyAge = w.age
	}
	w.mu.Unlock()
	r.term.Ready()
}

// held asks a term without stopping there.
func (r *run) held() bool {
	if r.h.dead.Load() {
		return false
	}
	r.h.peek.Add(1)
	defer r.h.peek.Add(-1)
	return r.term.Held() == nil
}

// check is one act: if it may be done, nobody else may do one.
func (w *world) check(r *run, begins bool) {
	if !r.held() {
		return
	}
	w.mu.Lock()
	others, lenient := slices.Clone(w.runs[r.duty]), time.Now().Before(w.lenient)
	early := r.duty != first && w.readyAge != w.age && !lenient
	age := w.age
	w.mu.Unlock()
	if early {
		w.fail("%s acts on %s before the state was looked at (%d)", r.h.name, r.duty, age)
	}
	for _, o := range others {
		if o == r || !o.held() || lenient || !r.held() {
			continue
		}
		over := ""
		if o.returned.Load() {
			over = ", which has ended there"
		}
		w.fail("%s and %s both hold %s%s (epochs %d and %d)", r.h.name, o.h.name, r.duty, over, r.term.Epoch(), o.term.Epoch())
	}
}

// holder returns who holds a duty; nil if nobody does, or not one alone.
func (w *world) holder(duty string) *host {
	w.mu.Lock()
	runs := slices.Clone(w.runs[duty])
	w.mu.Unlock()
	var found *host
	for _, r := range runs {
		if r.returned.Load() || !r.held() {
			continue
		}
		if found != nil {
			return nil
		}
		found = r.h
	}
	return found
}

// entitled returns who should have a duty, by what stands in the store.
func (w *world) entitled(duty string) string {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	var holder string
	var top uint64
	var prefers bool
	for key, r := range w.store.keys {
		id, ok := strings.CutPrefix(key, "own.replica.")
		if !ok || r.data == nil {
			continue
		}
		var m struct {
			Holder        string
			Duties, First []string
		}
		if json.Unmarshal(r.data, &m) != nil || !slices.Contains(m.Duties, duty) || !w.there(m.Holder) {
			continue
		}
		sum := sha256.Sum256([]byte(duty + "\x00" + id))
		weight, f := binary.BigEndian.Uint64(sum[:]), slices.Contains(m.First, duty)
		if holder == "" || f && !prefers || f == prefers && weight > top {
			holder, top, prefers = m.Holder, weight, f
		}
	}
	return holder
}

func (w *world) there(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.living() {
		if h.name == name {
			return true
		}
	}
	return false
}

// settled reports whether each duty is held by the one that should have it.
func (w *world) settled() bool { return w.unsettled() == "" }

func (w *world) unsettled() string {
	for _, d := range duties {
		h, want := w.holder(d), w.entitled(d)
		if h == nil || h.name != want {
			name := "nobody"
			if h != nil {
				name = h.name
			}
			return d + " is held by " + name + ", should be " + want
		}
	}
	return ""
}

// within waits until something is so, and fails if it takes longer.
func (w *world) within(limit time.Duration, what string, so func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > limit {
			w.fail("not within %v: %s; %s", limit, what, w.unsettled())
			return limit
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// end ends all replicas and waits for them.
func (w *world) end() {
	w.store.back()
	w.store.fates(nil)
	w.store.chances(chances{})
	w.mu.Lock()
	hosts := slices.Clone(w.hosts)
	w.mu.Unlock()
	for _, h := range hosts {
		h.resume()
		h.cancel()
	}
	for _, h := range hosts {
		<-h.done
	}
}
