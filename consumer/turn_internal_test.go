package consumer

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/ratelimiter"
)

// listing is a provider that has a list.
type listing struct{ Provider }

func (listing) Conversations(context.Context, time.Time) ([]Conversation, error) { return nil, nil }

// The orders find what going through all slots would find, whatever happens to the
// slots.
func TestOrdersFindWhatAnyLookWould(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 3))
				b := bookkeeper{t: t, r: r, a: shelved(t), most: 1 + r.IntN(200)}
				for range 800 {
					b.act()
					b.look()
				}
			})
		})
	}
}

// shelved is an account with a channel that has a limit and one that has none.
func shelved(t *testing.T) *account {
	a, err := newAccount(&Engine{lg: zerolog.Nop()}, AccountConfig{
		Provider: listing{}, Channels: map[string]ratelimiter.Config{"telephone": {Limit: 1000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bookkeeper changes an account's slots by chance.
type bookkeeper struct {
	t    *testing.T
	r    *rand.Rand
	a    *account
	most int // slots
	n    int // that there ever were
}

// soon is a time around now, now and then by the time of day, as the ledger has it.
func (b *bookkeeper) soon(within time.Duration) time.Time {
	t := time.Now().Add(time.Duration(b.r.Int64N(int64(2*within))) - within)
	if b.r.IntN(4) == 0 {
		return t.Round(0)
	}
	return t
}

func (b *bookkeeper) act() {
	time.Sleep(time.Duration(b.r.Int64N(int64(400 * time.Millisecond))))
	if len(b.a.slots) < b.most {
		b.enter()
	}
	all := slices.SortedFunc(maps.Values(b.a.slots), func(x, y *slot) int { return x.key.attempt - y.key.attempt })
	s := all[b.r.IntN(len(all))]
	switch b.r.IntN(16) {
	case 0:
		b.a.drop(s)
	case 1:
		s.free()
	case 2:
		s.conversation, s.doubt = "c", b.r.IntN(3) == 0
		b.a.file(s)
	case 3, 4:
		s.polling = !s.polling
		s.sort()
	case 5:
		s.next(time.Now())
	case 6:
		if s.held {
			s.early = true
			s.free()
		}
	case 7:
		s.poll = b.soon(5 * time.Second)
		s.sort()
	case 8:
		s.until = b.soon([]time.Duration{3 * time.Second, 2 * lateEnds}[b.r.IntN(2)])
		b.a.file(s)
	case 9:
		s.single = !s.single
	case 10:
		b.a.prove(time.Now())
	case 11:
		s.denied(time.Now())
	case 12: // it is asked for when it is in the books no more
		s.polling = true
		s.sort()
		b.a.drop(s)
		s.polling = false
		s.next(time.Now())
		s.denied(time.Now())
	case 13: // its webhook came while the answer was under way
		s.rung = time.Now()
		s.learned(Conversation{}, time.Now().Add(-time.Second), time.Now())
	case 14:
		b.n++
		others := Intent{Key: fmt.Sprint(b.n), Channel: "telephone", State: Created, Others: []string{fmt.Sprint(b.n)}, Claimed: time.Now()}
		b.a.adoptOthers(&lane{}, others, nil, time.Now(), 0)
	default:
		b.a.gather(s, time.Now())
	}
}

func (b *bookkeeper) enter() {
	b.n++
	p := b.a.pool([]string{"telephone", "text"}[b.r.IntN(2)])
	ln := &lane{}
	ln.heard = b.r.Float64()
	s := b.a.enter(ln, p, slotKey{"i", b.n}, b.soon(time.Minute), p.counted)
	if b.r.IntN(4) > 0 {
		s.conversation = "c"
	}
	b.a.file(s)
}

// look compares what the orders find with what all slots say.
func (b *bookkeeper) look() {
	b.t.Helper()
	if err := b.a.sorted(); err != nil {
		b.t.Fatal(err)
	}
	now := time.Now()
	b.expire(now)
	if got, want := b.a.mostOverdue(now), b.mostOverdue(now); (got == nil) != (want == nil) || got != nil && (!got.poll.Equal(want.poll) || got.shelf != want.shelf) {
		b.t.Fatalf("asked first: got %+v, want %+v", got, want)
	}
	for _, p := range b.a.pools {
		if got, want := p.likeliest(), b.likeliest(p); (got == nil) != (want == nil) || got != nil && !got.asked.Equal(want.asked) {
			b.t.Fatalf("the likeliest to be over: got %+v, want %+v", got, want)
		}
	}
	got, since := b.a.listable(now)
	want := b.listable(now)
	if !maps.Equal(set(got), set(want)) || !since.Equal(oldest(want, now)) {
		b.t.Fatalf("listed: got %d since %v, want %d", len(got), since, len(want))
	}
}

func set(all []*slot) map[*slot]bool {
	m := make(map[*slot]bool)
	for _, s := range all {
		m[s] = true
	}
	return m
}

// all are the slots that are watched, or those that are not. One that is out of the
// books may be watched: it was taken again.
func (b *bookkeeper) all(watched bool) (all []*slot) {
	for _, s := range b.a.slots {
		if (s.held || s.doubt || s.early) == watched {
			all = append(all, s)
		}
	}
	for _, s := range b.a.watched.ends.slots() {
		if watched && b.a.slots[s.key] != s {
			all = append(all, s)
		}
	}
	return all
}

// expire holds expire against each slot: which are held and which are there after it,
// and when it has to be called again.
func (b *bookkeeper) expire(now time.Time) {
	b.t.Helper()
	swept := now.Sub(b.a.gone) >= time.Second
	type fate struct{ held, there bool }
	fates := make(map[*slot]fate)
	for _, watched := range []bool{true, false} {
		for _, s := range b.all(watched) {
			f := fate{held: s.held && s.until.After(now), there: true}
			over := !s.polling && (s.conversation == "" || now.Sub(s.until) > lateEnds)
			f.there = f.held || !over || !watched && !swept
			fates[s] = f
		}
	}
	booked := maps.Collect(maps.All(b.a.slots))
	again := b.a.expire(now)
	for s, f := range fates {
		if s.held != f.held || booked[s.key] == s && (b.a.slots[s.key] == s) != f.there {
			b.t.Fatalf("%+v: want %+v", s, f)
		}
		if f.held && s.until.Before(again) {
			b.t.Fatalf("looks again at %v, a slot is held until %v", again, s.until)
		}
	}
	if again.After(now.Add(time.Second)) || !again.After(now) {
		b.t.Fatalf("looks again in %v", again.Sub(now))
	}
}

func (b *bookkeeper) mostOverdue(now time.Time) *slot {
	first := earliest(b.all(true), func(s *slot) bool { return s.conversation != "" && !s.polling }, func(s *slot) time.Time { return s.poll })
	if first != nil && !first.poll.After(now) {
		return first
	}
	other := earliest(b.overdue(), func(*slot) bool { return true }, func(s *slot) time.Time { return s.poll })
	if other != nil {
		return other
	}
	return first
}

// overdue are those that are not watched and were to be asked for when they were last
// looked at.
func (b *bookkeeper) overdue() []*slot {
	return slices.DeleteFunc(b.all(false), func(s *slot) bool { return s.conversation == "" || s.polling || s.poll.After(b.a.gone) })
}

func (b *bookkeeper) likeliest(p *pool) *slot {
	return earliest(b.all(true), func(s *slot) bool {
		return p.counted && s.pool == p && s.conversation != "" && !s.doubt && !s.polling
	}, func(s *slot) time.Time { return s.asked })
}

func earliest(all []*slot, fits func(*slot) bool, at func(*slot) time.Time) (first *slot) {
	for _, s := range all {
		if fits(s) && (first == nil || at(s).Before(at(first))) {
			first = s
		}
	}
	return first
}

func (b *bookkeeper) listable(now time.Time) (all []*slot) {
	due, ripe := 0, false
	var early []*slot
	for _, s := range b.all(true) {
		if s.conversation == "" || s.polling || s.doubt || s.single {
			continue
		}
		all = append(all, s)
		over := !s.poll.After(now)
		if over {
			due++
		}
		if s.early {
			early = append(early, s)
			ripe = ripe || over
		}
	}
	switch {
	case due >= enough:
		return all
	case ripe && len(early) >= enough:
		first := oldest(early, now)
		return slices.DeleteFunc(all, func(s *slot) bool { return s.since.Before(first) })
	}
	if all = slices.DeleteFunc(b.overdue(), func(s *slot) bool { return s.single }); len(all) < enough {
		return nil
	}
	return all
}

// A slot whose time comes too early in its order, because the time of day was set back
// meanwhile, is held all the same, and gets its place.
func TestOrdersOutliveAClockThatIsSet(t *testing.T) {
	t.Parallel()
	a := shelved(t)
	s := a.enter(&lane{}, a.pool("telephone"), slotKey{"i", 1}, time.Now(), true)
	now := time.Now()
	s.end.move(&a.watched.ends, a.instant(now, now)-1)
	if a.expire(now); !s.held || s.end.at <= a.instant(now, now) {
		t.Errorf("held %v, and again looked at after %v", s.held, s.end.at-a.instant(now, now))
	}
}
