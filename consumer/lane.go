package consumer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// lane is one queue of events on its way to an account. Its loop (run) fetches;
// every batch is handled in a goroutine of its own.
type lane struct {
	e   *Engine
	a   *account
	lg  zerolog.Logger
	cfg LaneConfig

	creator  Provider // asked for conversations; see silent
	entry    *pool    // whose slots its events are fetched for; fixed after New
	dueFirst bool     // whose turn it is to be fetched first; run's alone
	more     bool     // the latest fetch found as many events as it asked for; run's alone
	rooms    rooms

	mu       sync.Mutex
	pause    *Pause
	held     *Pause               // wins over pause
	before   time.Time            // see Engine.SetDoubtful
	changed  chan struct{}        // closed and replaced when pause or room changes
	handling int                  // batches under way, at most mostHandled
	claiming int                  // events that were claimed and are not recorded, or may be claimed yet
	busy     map[string]bool      // intents being handled
	sighted  map[string]sighting  // foreign claims, since when they have been seen
	unused   map[string]bool      // nonces of claims whose request was never begun
	alone    map[string]bool      // intents that must be the only item of their request
	marks    map[string]uint64    // created, when the intent last had an error of its own
	delayed  map[place]delayed    // messages given back with a delay
	doubts   map[string]time.Time // doubts that wait for a person, by intent, since when
	open     map[string]bool      // doubts that settle themselves
	untold   map[string]bool      // events that a person dropped, whose outcome is still to be told
	created  uint64               // conversations created by this process
	refusal  string               // the shape of the newest rejection
	refusals int                  // how many equal ones in a row, with nothing created between
	trouble  string               // the provider's newest failure, for display; empty after a success
	hitch    string               // the same of broker or ledger
	failures int                  // requests in a row of which no byte was taken

	suspicion suspicion
	waits     waits
	full, odd uint64 // answers that refused for want of a slot, explained or not; under account.mu
	ears
}

// sighting is a claim that somebody else made, or that this process made and
// lost track of.
type sighting struct {
	revision uint64
	at       time.Time // by the monotonic clock of this process
}

// delayed is a message that the broker will deliver again later.
type delayed struct {
	msg Message
	due time.Time
}

// place is where a message stands: sequences are a stream's own.
type place struct {
	stream   string
	sequence uint64
}

func placeOf(m Message) place {
	o := m.Origin()
	return place{o.Stream, o.Sequence}
}

// rejectionsInARow that are equal pause a lane: the route is wrong rather than
// the events.
const rejectionsInARow = 10

// doubtWindow is how long a doubt counts towards a lane's DoubtLimit.
const doubtWindow = 10 * time.Minute

func newLane(a *account, cfg LaneConfig) *lane {
	cfg.Weight = cmp.Or(cfg.Weight, 1)
	cfg.Batch = cmp.Or(cfg.Batch, 1)
	cfg.Attempts = cmp.Or(cfg.Attempts, 5)
	creator := a.cfg.Provider
	if cfg.Dry {
		creator = silent{creator}
	}
	channel := ""
	if len(cfg.Channels) == 1 {
		channel = cfg.Channels[0]
	}
	return &lane{
		e: a.e, a: a, cfg: cfg, creator: creator, entry: a.poolOf(channel),
		rooms:   rooms{all: make(map[*pool]*room)},
		lg:      a.lg.With().Str("lane", cfg.Name).Logger(),
		changed: make(chan struct{}),
		busy:    make(map[string]bool),
		sighted: make(map[string]sighting),
		unused:  make(map[string]bool),
		alone:   make(map[string]bool),
		marks:   make(map[string]uint64),
		delayed: make(map[place]delayed),
		doubts:  make(map[string]time.Time),
		open:    make(map[string]bool),
		untold:  make(map[string]bool),

		suspicion: newSuspicion(),
		waits:     newWaits(),
		ears:      newEars(),
	}
}

// run fetches while slots are free, and else holds one open pull on each
// queue, until ctx ends.
func (ln *lane) run(ctx context.Context) {
	ps := newPulls(ln.cfg)
	var pulling sync.WaitGroup
	ps.run(ctx, &pulling, ln.lg, ln.e.cfg.PullWait)
	var first Message
	for ctx.Err() == nil && ln.ready(ctx, ps, &first) {
		g := ln.slots(ctx, ps, &first)
		if g == nil {
			continue
		}
		if ctx.Err() != nil {
			g.release(g.n)
			break
		}
		grants, n := ln.further(g)
		msgs := ln.fetch(n, ps, first)
		first = nil
		ln.more = len(msgs) == n
		if len(msgs) == 0 {
			for _, g := range grants {
				g.release(g.n)
			}
			first = ln.idle(ctx, ps)
			continue
		}
		for _, g := range grants {
			msgs = ln.begin(ctx, msgs, g)
		}
	}
	refuse(first)
	pulling.Wait()
	for _, m := range ps.arrived() {
		refuse(m)
	}
}

// refuse gives back a message that found no slot. Its delivery was free: it is
// the next one again.
func refuse(m Message) {
	if m != nil {
		_ = m.Nak(0) // not confirmed: after AckWait it comes again anyway
	}
}

// notify wakes whoever waits for a change of the lane. The caller holds mu.
func (ln *lane) notify() {
	close(ln.changed)
	ln.changed = make(chan struct{})
}

// ready waits until the lane is not paused, not too many of its batches are
// under way (as when the broker takes no outcomes) and its rooms are not full,
// and reports whether ctx still holds.
func (ln *lane) ready(ctx context.Context, ps *pulls, first *Message) bool {
	for {
		p, changed := ln.paused()
		if p == nil && !ln.crowded() && !ln.rooms.full() {
			return true
		}
		refuse(*first)
		*first = nil
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		case a := <-ps.came:
			refuse(a.taken())
		}
	}
}

// slots waits for slots. A message that arrives meanwhile is given back, once,
// and nothing more is pulled until a slot is free; *first is given back unless
// its slot is free at once.
func (ln *lane) slots(ctx context.Context, ps *pulls, first *Message) *grant {
	w := ln.entry.request(ln, ln.cfg.Batch, *first != nil || ln.more || ln.owes())
	select {
	case g := <-w.got:
		return g
	default:
		refuse(*first)
		*first = nil
	}
	for {
		p, changed := ln.paused()
		if p != nil || ctx.Err() != nil {
			ln.entry.withdraw(w)
			return nil
		}
		select {
		case g := <-w.got:
			return g
		case a := <-ps.came:
			refuse(a.taken())
			ln.entry.urge(w)
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// fetch returns up to n messages that are there now: one that has come already,
// those given back for want of a slot, then all queues. What is due and the
// events take turns, so that a mass replay and the stream of new events starve
// neither; events of high priority go before others.
func (ln *lane) fetch(n int, ps *pulls, first Message) []Message {
	msgs := ps.arrived()
	if first != nil {
		msgs = slices.Insert(msgs, 0, first)
	}
	for len(msgs) > n {
		refuse(msgs[len(msgs)-1])
		msgs = msgs[:len(msgs)-1]
	}
	ln.recall(n - len(msgs))
	ln.dueFirst = !ln.dueFirst
	order := ps.order(ln.dueFirst)
	if ln.e.cfg.Room() != nil {
		order = []*pull{ps.due}
	}
	for _, p := range order {
		if len(msgs) >= n {
			break
		}
		if p.open {
			continue // what comes, comes by it: nothing is there
		}
		more, err := p.queue.Fetch(n-len(msgs), 0)
		if err != nil {
			ln.lg.Warn().Err(err).Msg("fetch")
		} else if len(more) == 0 {
			p.hold() // and is not asked in vain before each batch of another queue
		}
		msgs = append(msgs, more...)
	}
	return msgs
}

// recall asks the broker to deliver up to n delayed messages now: those of high
// priority first, and of the others the one that has waited longest.
func (ln *lane) recall(n int) {
	for _, m := range ln.called(n) { // without the lock: the broker may be slow
		refuse(m)
	}
}

// called takes up to n delayed messages that are to be delivered now.
func (ln *lane) called(n int) (msgs []Message) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	soon := time.Now().Add(500 * time.Millisecond)
	for at, d := range ln.delayed {
		if d.due.Before(soon) { // on its way by itself
			delete(ln.delayed, at)
		}
	}
	waiting := slices.SortedFunc(maps.Keys(ln.delayed), func(a, b place) int {
		return cmp.Or(byPriority(ln.delayed[a].msg, ln.delayed[b].msg), cmp.Compare(a.sequence, b.sequence), cmp.Compare(a.stream, b.stream))
	})
	for _, at := range waiting[:min(max(n, 0), len(waiting))] {
		msgs = append(msgs, ln.delayed[at].msg)
		delete(ln.delayed, at)
	}
	return msgs
}

// owes reports whether messages wait that found no slot.
func (ln *lane) owes() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return len(ln.delayed) > 0
}

// giveBack naks a message. With recallable, a free slot calls it back sooner.
func (ln *lane) giveBack(m Message, delay time.Duration, recallable bool) {
	if err := m.Nak(delay); err != nil {
		ln.lg.Warn().Err(err).Msg("nak")
		return
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if recallable && len(ln.delayed) < 10_000 {
		if b, ok := m.(*beating); ok {
			m = b.Message // the wrappers of a batch are one piece of memory
		}
		ln.delayed[placeOf(m)] = delayed{msg: m, due: time.Now().Add(delay)}
	}
}

// setPause stops the lane, or with nil lets it go on.
func (ln *lane) setPause(p *Pause) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if (p == nil) != (ln.pause == nil) {
		if p == nil { // a person has looked
			ln.refusal, ln.refusals = "", 0
			ln.suspicion.lift()
			clear(ln.doubts)
			ln.lg.Info().Msg("lane goes on")
		} else {
			ln.lg.Warn().Str("by", p.By).Str("reason", p.Reason).Msg("lane paused")
		}
	}
	ln.pause = p
	ln.notify()
}

// paused returns the hold or pause in force, if any, and what is closed when that
// changes.
func (ln *lane) paused() (*Pause, <-chan struct{}) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return cmp.Or(ln.held, ln.pause), ln.changed
}

// stop pauses the lane in the name of a rule, if there is a reason: at once here,
// and durably.
func (ln *lane) stop(ctx context.Context, reason string) {
	if reason != "" && ln.halt(reason) {
		ln.keepPause(ctx, reason)
	}
}

// halt pauses the lane here. It reports whether it was not paused before: then the
// pause is still to be kept.
func (ln *lane) halt(reason string) bool {
	ln.mu.Lock()
	stopped := ln.pause != nil
	ln.mu.Unlock()
	if stopped {
		return false // whoever did it has the word
	}
	ln.setPause(&Pause{By: "weir", Reason: reason, At: time.Now()})
	return true
}

// keepPause writes a pause of the lane's own down.
func (ln *lane) keepPause(ctx context.Context, reason string) {
	err := ln.e.persist(ctx, func(ctx context.Context) error {
		return ln.e.cfg.Switch.Pause(ctx, ln.cfg.Name, "weir", reason)
	})
	if err != nil {
		ln.lg.Error().Err(err).Msg("the pause could not be written down and ends with this process")
	}
}

// lock takes the intent for this goroutine; false if another has it.
func (ln *lane) lock(key string) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.busy[key] {
		return false
	}
	ln.busy[key] = true
	return true
}

func (ln *lane) unlock(key string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	delete(ln.busy, key)
	if waited := ln.released[key]; waited != nil {
		close(waited)
		delete(ln.released, key)
	}
}

// sight notes a claim that is not being worked on here, and returns since when
// this revision of it has been seen.
func (ln *lane) sight(key string, revision uint64, now time.Time) time.Time {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if s, ok := ln.sighted[key]; ok && s.revision == revision {
		return s.at
	}
	ln.sighted[key] = sighting{revision, now}
	return now
}

// forget drops what was noted of an intent that needs no more requests.
func (ln *lane) forget(key string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	delete(ln.sighted, key)
	delete(ln.alone, key)
	delete(ln.marks, key)
}
