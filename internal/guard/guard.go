package guard

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
)

// Broker is what the guard needs of the broker. internal/broker implements it.
type Broker interface {
	JetStream() jetstream.JetStream
	// Mark returns the mark that was stored, nil if there is none, and its
	// revision.
	Mark(ctx context.Context) (data []byte, revision uint64, err error)
	// StoreMark stores a mark if the stored one still has the revision;
	// consumer.ErrConflict if not.
	StoreMark(ctx context.Context, data []byte, revision uint64) (uint64, error)
	// Floors returns of each subject of a lane's events the sequence in their stream
	// up to which the lane has acknowledged everything there; of a lane that never
	// ran nothing.
	Floors(ctx context.Context, lane string) (map[string]uint64, error)
}

// Config is what a guard looks after. Zero durations get their defaults.
type Config struct {
	Ledger   string   // its stream: a key-value bucket with the keys <lane>.<intent>
	Events   string   // the stream of the lanes' events
	Outcomes string   // the stream weir.outcomes.<lane>.<kind>
	Others   []string // streams of which only the mark is kept
	Shelf    string   // the stream that holds the mark itself
	Lanes    []string
	File     string // beside the store of an embedded broker; empty: none
	// Removed reports whether a message of the ledger says that its entry was
	// removed by somebody, rather than pruned.
	Removed  func(header nats.Header) bool
	Keep     time.Duration // how long the ledger remembers an event; 90 days
	Every    time.Duration // between two looks at the streams; 1 s
	Patience time.Duration // how long a replicated stream may show an older state; 20 s
}

// Guard keeps the mark. Its methods may be called concurrently once Check has
// returned.
type Guard struct {
	lg  zerolog.Logger
	cfg Config
	b   Broker

	id       string     // of this guard, in the marks that it writes
	turn     sync.Mutex // held while the streams are looked at and the mark follows
	revision uint64     // of the stored mark
	shelved  mark       // what the broker has

	mu      sync.Mutex
	mark    mark
	counted uint64   // the sequence of the ledger up to which mark counts its entries
	fresh   []uint64 // sequences beyond counted that are entries of their own
	changes uint64   // of mark, by Raise
	missing uint64   // see level
	lacking uint64   // what becomes missing when Told
	ends    uint64   // see level
	opened  seal     // the newest that was seen
	unread  bool     // see Unread

	writing sync.Mutex // held while the file is written
	file    *file      // nil without one
	written uint64     // changes that the file has
	old     mark       // what Check compares with
	first   bool       // there is no mark
	aside   uint64     // the serial that the broker's mark had at least, as the file has it
}

// Open reads the marks. Nothing is compared yet.
func Open(ctx context.Context, lg zerolog.Logger, b Broker, cfg Config) (*Guard, error) {
	cfg.Keep = cmp.Or(cfg.Keep, 90*24*time.Hour)
	cfg.Every = cmp.Or(cfg.Every, time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 20*time.Second)
	if cfg.Removed == nil {
		cfg.Removed = func(nats.Header) bool { return false }
	}
	g := &Guard{lg: lg, cfg: cfg, b: b, id: rand.Text()}
	if err := g.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("guard: %w", err), g.Close())
	}
	return g, nil
}

// load finds the newest mark.
func (g *Guard) load(ctx context.Context) error {
	data, revision, err := g.b.Mark(ctx)
	if err != nil {
		return err
	}
	g.revision = revision
	if data != nil {
		if g.shelved, err = decodeMark("the broker", data); err != nil {
			return err
		}
	}
	g.old, g.first = g.shelved, data == nil
	if g.cfg.File == "" {
		return nil
	}
	f, m, err := openFile(g.cfg.File)
	if err != nil {
		return err
	}
	g.file = f
	if m != nil {
		g.aside = m.Shelved
	}
	if m != nil && (g.first || m.Serial > g.old.Serial) {
		g.old, g.first = *m, false
	}
	return nil
}

// Close closes the file. The guard must have come to rest.
func (g *Guard) Close() error {
	if g.file == nil {
		return nil
	}
	return g.file.close()
}

// streams are those of which the mark is kept, the ledger first.
func (g *Guard) streams() []string {
	return append([]string{g.cfg.Ledger, g.cfg.Events, g.cfg.Outcomes}, g.cfg.Others...)
}

// survey is how far a stream is now.
type survey struct {
	gone    bool
	created time.Time
	last    uint64
	entries uint64 // surely there: while one is written anew it has two messages for a moment
	claimed uint64 // that the broker says are there, whether they can be read or not
	copies  bool   // it is replicated: its newest leader may be a little behind
}

// survey looks at all streams.
func (g *Guard) survey(ctx context.Context) (map[string]survey, error) {
	all := make(map[string]survey)
	for _, name := range g.streams() {
		s, err := g.b.JetStream().Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			all[name] = survey{gone: true}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at stream %s: %w", name, err)
		}
		info := s.CachedInfo()
		all[name] = survey{
			created: info.Created, last: info.State.LastSeq, copies: info.Config.Replicas > 1,
			entries: min(info.State.NumSubjects, info.State.Msgs), claimed: max(info.State.NumSubjects, info.State.Msgs),
		}
	}
	return all, nil
}

// behind compares the streams with a mark. What replicated streams seem to have
// lost is looked at until Patience is used up: their leader may just have
// changed.
func (g *Guard) behind(ctx context.Context, m mark) (map[string]survey, []Finding, error) {
	for began := time.Now(); ; {
		now, err := g.survey(ctx)
		if err != nil {
			return nil, nil, err
		}
		found := compare(m, now, g.cfg.Ledger)
		copies := slices.ContainsFunc(slices.Collect(maps.Values(now)), func(s survey) bool { return s.copies })
		if len(found) == 0 || !copies || time.Since(began) > g.cfg.Patience {
			return now, found, nil
		}
		if err := rest(ctx, g.cfg.Every/4); err != nil {
			return nil, nil, err
		}
	}
}

// lag is behind for the mark as it is now.
func (g *Guard) lag(ctx context.Context) (map[string]survey, []Finding, error) {
	g.mu.Lock()
	m := g.mark.clone()
	g.mu.Unlock()
	return g.behind(ctx, m)
}

// Accept takes what is there for what has to be there from now on. Whoever
// accepts findings has stopped the lanes durably before.
func (g *Guard) Accept(ctx context.Context) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	now, err := g.survey(ctx)
	if err == nil {
		g.mu.Lock()
		g.mark.Serial = max(g.mark.Serial, g.old.Serial, g.shelved.Serial)
		g.mark.Streams = nil
		g.mu.Unlock()
		g.follow(now, 0)
		err = g.store(ctx, true)
	}
	if err != nil {
		return fmt.Errorf("guard: accept: %w", err)
	}
	return nil
}

// follow sets the mark to what was seen; entries that are about to be removed do
// not count.
func (g *Guard) follow(now map[string]survey, removing uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	streams := make(map[string]level)
	for name, is := range now {
		if is.gone {
			continue
		}
		l := level{Created: is.created, Last: is.last}
		if name == g.cfg.Ledger {
			g.counted = is.last
			g.fresh = slices.DeleteFunc(g.fresh, func(seq uint64) bool { return seq <= is.last })
			l.Last = max(l.Last, g.mark.Streams[name].Last)
			l.Missing, l.Ends = g.missing, g.ends
			l.Entries = is.entries + uint64(len(g.fresh)) - min(removing+g.missing, is.entries)
		}
		streams[name] = l
	}
	g.mark.Streams = streams
	g.changes++
}

// store writes the mark into the broker and then the file, if there is anything
// new or it must be. The caller holds turn.
func (g *Guard) store(ctx context.Context, must bool) error {
	g.mu.Lock()
	news := g.mark.raised(g.shelved)
	g.mu.Unlock()
	if !news && !must {
		return nil
	}
	m := g.stamped()
	data, err := m.encode()
	if err != nil {
		return err
	}
	if err := g.shelve(ctx, data); err != nil {
		return err
	}
	g.shelved = m
	g.mu.Lock()
	g.mark.Shelved = m.Serial
	g.changes++
	need := g.changes
	g.mu.Unlock()
	return g.sync(need)
}

// shelve stores the mark in the broker. What came between may be one of our own,
// whose answer was lost: that one is replaced. Another's is a conflict.
func (g *Guard) shelve(ctx context.Context, data []byte) error {
	for try := 1; ; try++ {
		revision, err := g.b.StoreMark(ctx, data, g.revision)
		if err == nil {
			g.revision = revision
			return nil
		}
		if !errors.Is(err, consumer.ErrConflict) || try == shelveTries {
			return err
		}
		stored, revision, e := g.b.Mark(ctx)
		if e != nil {
			return e
		}
		if stored != nil { // else somebody removed it
			if m, e := decodeMark("the broker", stored); e != nil || m.By != g.id {
				return err
			}
		}
		g.revision = revision
	}
}

// shelveTries is more than the copies of a mark that can be on their way at once.
const shelveTries = 4

// stamped gives the mark its next serial.
func (g *Guard) stamped() mark {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mark.V, g.mark.By, g.mark.At = format, g.id, time.Now().UTC()
	g.mark.Serial++
	return g.mark.clone()
}

// Raise notes that the ledger was written at a sequence, as a new entry if fresh.
// Where there is a file, it is on the disk when Raise returns nil; writes that
// come together are written together.
func (g *Guard) Raise(sequence uint64, fresh bool) error {
	g.mu.Lock()
	l := g.mark.Streams[g.cfg.Ledger]
	l.Last = max(l.Last, sequence)
	if fresh && sequence > g.counted {
		l.Entries++
		g.fresh = append(g.fresh, sequence)
	}
	if g.mark.Streams != nil {
		g.mark.Streams[g.cfg.Ledger] = l
	}
	g.changes++
	need := g.changes
	g.mu.Unlock()
	return g.sync(need)
}

// sync writes the file until it has so many changes.
func (g *Guard) sync(need uint64) error {
	if g.file == nil {
		return nil
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.written >= need {
		return nil
	}
	g.mu.Lock()
	has := g.changes
	g.mu.Unlock()
	if err := g.file.write(g.stamped()); err != nil {
		return err
	}
	g.written = has
	return nil
}

// Remove lowers the mark durably by so many entries of the ledger, and then calls
// remove, which may remove that many.
func (g *Guard) Remove(ctx context.Context, entries int, remove func() error) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	now, found, err := g.lag(ctx)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("%v", found[0])
	}
	if err != nil {
		return fmt.Errorf("guard: remove: %w", err)
	}
	g.follow(now, uint64(entries)) //nolint:gosec // a count
	if err := g.store(ctx, true); err != nil {
		return fmt.Errorf("guard: remove: %w", err)
	}
	return remove()
}

// Run follows the streams with the mark until ctx ends, and then once more. What
// they have lost meanwhile it gives to found, which stops lanes durably and
// returns whether it could; then the mark goes on from there.
func (g *Guard) Run(ctx context.Context, found func(context.Context, []Finding) error) error {
	tick := time.NewTicker(g.cfg.Every)
	defer tick.Stop()
	failing := false
	for {
		err := g.look(ctx, found)
		if errors.Is(err, consumer.ErrConflict) {
			return fmt.Errorf("guard: another weir writes the mark: %w", err)
		}
		if err != nil && !failing && ctx.Err() == nil {
			g.lg.Warn().Err(err).Msg("the state cannot be compared with its mark")
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			if err := g.look(last, found); err != nil {
				g.lg.Warn().Err(err).Msg("the mark was not written at the end")
			}
			return nil
		}
	}
}

// look compares once and lets the mark follow.
func (g *Guard) look(ctx context.Context, report func(context.Context, []Finding) error) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	now, found, err := g.lag(ctx)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		if err := report(ctx, found); err != nil {
			return err
		}
		g.mu.Lock()
		g.mark.Streams, g.fresh, g.mark.Seal = nil, nil, seal{}
		g.mu.Unlock()
	}
	g.follow(now, 0)
	return g.store(ctx, len(found) > 0)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// rest waits, or returns why ctx ended.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
