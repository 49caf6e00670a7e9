package ratelimiter_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/ratelimiter"
)

// post is one request of the model's client.
type post struct {
	sent, created, doubt int
	began                time.Time
	full                 bool
	reading              ratelimiter.Reading
}

// model is a client, its Limiter and a provider with other users, of which every
// step comes when it likes.
type model struct {
	l   *ratelimiter.Limiter
	cfg ratelimiter.Config
	now time.Time

	// The client's own count.
	hand   int    // reserved, not sent
	flying []post // sent, not yet received by the provider
	back   []post // received, not yet answered
	live   int    // created and known to be
	doubts int
	older  int // of an earlier owner

	// The provider's truth.
	truth  int  // its limit
	strict bool // it refuses what passes that
	honest bool // headers that are known to count conversations do
	others int
	over   int         // of live and older: over, and nobody has told
	ghosts int         // of doubts: they live
	unborn []time.Time // of doubts: since when it is open whether they ever do
}

// held is what the client must be holding.
func (m *model) held() int {
	n := m.hand + m.live + m.doubts + m.older
	for _, p := range m.flying {
		n += p.sent
	}
	for _, p := range m.back {
		n += p.sent
	}
	return n
}

// own is how many calls of the client live.
func (m *model) own() int {
	n := m.live + m.older - m.over + m.ghosts
	for _, p := range m.back {
		n += p.created
	}
	return n
}

// busy is how many slots the provider counts: calls whose end is not known yet
// are over there, so this is at most what the client believes.
func (m *model) busy() int { return m.own() + m.others }

func (m *model) wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.Int64Range(1, int64(20*time.Second)).Draw(t, "wait")))
}

func (m *model) take(t *rapid.T) {
	n, _ := m.l.Permit(m.now)
	if n == 0 {
		t.Skip("nothing permitted")
	}
	n = rapid.IntRange(1, n).Draw(t, "take")
	m.l.Take(n)
	m.hand += n
}

func (m *model) giveBack(t *rapid.T) {
	if m.hand == 0 {
		t.Skip("nothing in hand")
	}
	n := rapid.IntRange(1, m.hand).Draw(t, "return")
	m.l.Return(n)
	m.hand -= n
}

func (m *model) send(t *rapid.T) {
	if m.hand == 0 {
		t.Skip("nothing in hand")
	}
	n := rapid.IntRange(1, m.hand).Draw(t, "send")
	m.hand -= n
	m.flying = append(m.flying, post{sent: n, began: m.now})
}

// receive has the provider create all, some or none of a request.
func (m *model) receive(t *rapid.T) {
	if len(m.flying) == 0 {
		t.Skip("nothing on its way")
	}
	i := rapid.IntRange(0, len(m.flying)-1).Draw(t, "which")
	p := m.flying[i]
	m.flying = append(m.flying[:i:i], m.flying[i+1:]...)
	free := max(0, m.truth-m.busy())
	p.created = min(p.sent, free)
	p.full = p.created < p.sent
	switch rapid.SampledFrom([]string{"well", "all or nothing", "lost", "lost and made", "rejected"}).Draw(t, "how") {
	case "all or nothing":
		if p.full {
			p.created = 0
		}
	case "lost":
		p.doubt, p.created, p.full = p.sent, 0, false
	case "lost and made": // it must not count twice: not as one that will be answered
		m.ghosts += p.created
		p.doubt, p.created, p.full = p.sent, 0, false
	case "rejected":
		p.created, p.full = 0, false
	}
	m.back = append(m.back, p)
	m.back[len(m.back)-1].reading = m.reading(t)
}

// reading is what the provider's headers say, which need not be true.
func (m *model) reading(t *rapid.T) ratelimiter.Reading {
	left := max(0, m.truth-m.busy())
	r := ratelimiter.Reading{Limit: -1, Remaining: -1}
	switch rapid.SampledFrom([]string{"none", "true", "known", "wrong", "rate", "retry"}).Draw(t, "headers") {
	case "true":
		r = ratelimiter.Reading{Concurrency: true, Limit: m.truth, Remaining: left}
	case "known":
		r = ratelimiter.Reading{Concurrency: true, UnitKnown: true, Limit: m.truth, Remaining: left}
	case "wrong":
		r = ratelimiter.Reading{
			Concurrency: true, UnitKnown: !m.honest,
			Limit:     rapid.IntRange(-1, 100).Draw(t, "limit"),
			Remaining: rapid.IntRange(-1, 100).Draw(t, "remaining"),
		}
	case "rate":
		r = ratelimiter.Reading{Limit: 100, Remaining: rapid.IntRange(0, 2).Draw(t, "left"), Reset: time.Minute}
	case "retry":
		r.RetryAfter = 30 * time.Second
	}
	return r
}

// answer delivers one of the answers, in any order.
func (m *model) answer(t *rapid.T) {
	if len(m.back) == 0 {
		t.Skip("no answer on its way")
	}
	i := rapid.IntRange(0, len(m.back)-1).Draw(t, "which")
	p := m.back[i]
	m.back = append(m.back[:i:i], m.back[i+1:]...)
	m.l.Observe(ratelimiter.Outcome{
		Began: p.began, Done: m.now, Sent: p.sent, Created: p.created, Doubt: p.doubt, Full: p.full, Reading: p.reading,
	})
	m.l.Return(p.sent - p.created - p.doubt)
	m.live += p.created
	m.doubts += p.doubt
	for range p.doubt {
		m.unborn = append(m.unborn, m.now)
	}
}

// late makes a conversation of a doubt, a good while after its request.
func (m *model) late(t *rapid.T) {
	m.unborn = slices.DeleteFunc(m.unborn, func(at time.Time) bool { return m.now.Sub(at) > 55*time.Second })
	if len(m.unborn) == 0 || m.ghosts >= m.doubts || m.strict && m.busy() >= m.truth {
		t.Skip("no doubt")
	}
	m.unborn = m.unborn[1:]
	m.ghosts++
}

// quiet ends calls, and nobody is told.
func (m *model) quiet(t *rapid.T) {
	k := rapid.IntRange(0, m.live+m.older-m.over).Draw(t, "quietly")
	m.over += k
	m.ghosts -= rapid.IntRange(0, m.ghosts).Draw(t, "ghosts")
}

func (m *model) look(t *rapid.T) {
	m.l.Observe(ratelimiter.Outcome{Began: m.now, Done: m.now, Reading: m.reading(t)})
}

// end frees calls, of any kind.
func (m *model) end(t *rapid.T) {
	n := 0
	for _, of := range []*int{&m.live, &m.doubts, &m.older} {
		k := rapid.IntRange(0, *of).Draw(t, "ended")
		*of -= k
		n += k
	}
	m.over = max(0, min(m.over, m.live+m.older)-rapid.IntRange(0, n).Draw(t, "of them known before"))
	if len(m.unborn) > m.doubts-min(m.ghosts, m.doubts) { // what is freed is not made any more
		m.unborn = m.unborn[len(m.unborn)-(m.doubts-min(m.ghosts, m.doubts)):]
	}
	m.ghosts = min(m.ghosts, m.doubts)
	m.l.Freed(n)
}

func (m *model) change(t *rapid.T) {
	m.truth = rapid.IntRange(1, 30).Draw(t, "truth")
	m.others = rapid.IntRange(0, m.truth).Draw(t, "others")
}

// check is the contract.
func (m *model) check(t *rapid.T) {
	n, next := m.l.Permit(m.now)
	s := m.l.State()
	room := s.Limit - m.cfg.Reserve - m.held() + s.Gone
	most := max(0, room)
	if m.cfg.Probe == ratelimiter.ProbePost { // a probe may pass the books
		most = max(most, s.Limit)
	}
	switch {
	case s.Gone < 0 || s.Gone > s.Held:
		t.Fatalf("gone: got %d of %d held", s.Gone, s.Held)
	case m.honest && m.own() > s.Held-s.Gone:
		t.Fatalf("live: %d, got %d held of which %d are gone", m.own(), s.Held, s.Gone)
	case s.Held != m.held():
		t.Fatalf("held: got %d, want %d", s.Held, m.held())
	case s.Limit > max(m.cfg.Limit, m.cfg.LimitMax) || s.Limit <= m.cfg.Reserve:
		t.Fatalf("limit in force: got %d, of %+v", s.Limit, m.cfg)
	case n < 0 || n > most:
		t.Fatalf("permitted: got %d, want at most %d: %+v", n, most, s)
	case m.l.Known() < 0 || m.l.Known() > s.Free || s.Free > max(0, room):
		t.Fatalf("known: got %d of %d free, want at most %d", m.l.Known(), s.Free, room)
	case n == 0 && !next.IsZero() && !next.After(m.now):
		t.Fatalf("nothing permitted, but next is %v ago", m.now.Sub(next))
	case n > 0 && !next.IsZero():
		t.Fatalf("got %d permitted and next at %v", n, next)
	case n == 0 && next.IsZero() && m.held() == 0:
		t.Fatalf("nothing held, nothing permitted and nothing to wait for: %+v", s)
	}
}

// checkAlive checks that the wait for a slot ends: with no request under way and
// room in the books, something is permitted by next, at the latest.
func (m *model) checkAlive(t *rapid.T) {
	s := m.l.State()
	if m.hand+len(m.flying)+len(m.back) > 0 || s.Limit-m.cfg.Reserve-m.held() <= 0 {
		return
	}
	n, next := m.l.Permit(m.now)
	if n > 0 {
		return
	}
	if next.Sub(m.now) > 75*time.Second { // a rate's minute and a pause
		t.Fatalf("room in the books, and next only in %v: %+v", next.Sub(m.now), s)
	}
	if n, _ := m.l.Permit(next); n == 0 {
		t.Fatalf("room in the books, and nothing permitted at next: %+v", m.l.State())
	}
	m.now = next
}

// acts are the steps of a model; check is done after each of them.
func (m *model) acts(check func(*rapid.T)) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":        check,
		"wait":    m.wait,
		"take":    m.take,
		"return":  m.giveBack,
		"send":    m.send,
		"receive": m.receive,
		"answer":  m.answer,
		"look":    m.look,
		"ask":     func(*rapid.T) { m.l.Look(m.now) },
		"end":     m.end,
	}
}

func TestLimiterModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := ratelimiter.Config{
			Limit:   rapid.IntRange(1, 25).Draw(t, "limit"),
			Epsilon: rapid.SampledFrom([]float64{0.01, 0.025}).Draw(t, "epsilon"),
			Rand:    func() float64 { return rapid.Float64Range(0, 0.999).Draw(t, "jitter") },
		}
		cfg.Probe = rapid.SampledFrom([]ratelimiter.Probing{ratelimiter.ProbeAuto, ratelimiter.ProbeGet, ratelimiter.ProbePost}).Draw(t, "probe")
		if cfg.Probe != ratelimiter.ProbePost {
			cfg.Reserve = rapid.IntRange(0, cfg.Limit-1).Draw(t, "reserve")
		}
		cfg.Looks = rapid.Bool().Draw(t, "looks")
		if rapid.Bool().Draw(t, "raise") {
			cfg.LimitMax = cfg.Limit + 5
		}
		m := &model{l: ratelimiter.New(cfg), cfg: cfg, now: noon, truth: cfg.Limit}
		m.older = rapid.IntRange(0, 30).Draw(t, "older")
		m.l.Occupy(m.older)
		acts := m.acts(func(t *rapid.T) { m.check(t); m.checkAlive(t) })
		acts["change"] = m.change
		t.Repeat(acts)
	})
}

// TestLimiterModelLimit checks promise 3 where nobody else uses the account and
// the provider refuses nothing: its own count never passes the limit, whatever is
// told of the ends, and whenever; headers that are known to count conversations do
// so, as they were when the provider answered.
func TestLimiterModelLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := ratelimiter.Config{Limit: rapid.IntRange(1, 25).Draw(t, "limit"), Looks: rapid.Bool().Draw(t, "looks")}
		m := &model{l: ratelimiter.New(cfg), cfg: cfg, now: noon, truth: 1000, honest: true}
		acts := m.acts(func(t *rapid.T) {
			m.check(t)
			if m.busy() > cfg.Limit {
				t.Fatalf("calls at once: got %d, want at most %d", m.busy(), cfg.Limit)
			}
		})
		acts["quiet"], acts["late"] = m.quiet, m.late
		t.Repeat(acts)
	})
}

// TestLimiterModelPost checks the books where the provider keeps the limit, and
// probes pass them: what is believed to be over is.
func TestLimiterModelPost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := ratelimiter.Config{Limit: rapid.IntRange(1, 25).Draw(t, "limit"), Probe: ratelimiter.ProbePost, Looks: rapid.Bool().Draw(t, "looks")}
		m := &model{l: ratelimiter.New(cfg), cfg: cfg, now: noon, truth: cfg.Limit, honest: true, strict: true}
		acts := m.acts(func(t *rapid.T) { m.check(t); m.checkAlive(t) })
		acts["quiet"], acts["late"] = m.quiet, m.late
		acts["crowd"] = func(t *rapid.T) { m.others = rapid.IntRange(0, m.truth-m.own()).Draw(t, "others") }
		t.Repeat(acts)
	})
}
