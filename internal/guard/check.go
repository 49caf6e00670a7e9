package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Check compares the streams with the mark, and what was done since the mark with
// the ledger. Nothing may be claimed meanwhile. Without a mark, streams that hold
// anything are read in full: an older Weir kept none. If nothing is found, Accept
// is what comes next.
func (g *Guard) Check(ctx context.Context) ([]Finding, error) {
	g.turn.Lock()
	defer g.turn.Unlock()
	found, err := g.check(ctx)
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return found, nil
}

func (g *Guard) check(ctx context.Context) ([]Finding, error) {
	s := g.seal(ctx) // before anything is read
	g.mu.Lock()
	g.opened, g.unread = s, false
	g.mu.Unlock()
	now, found, err := g.behind(ctx, g.old)
	if err != nil {
		return nil, err
	}
	if g.aside > g.shelved.Serial {
		found = append(found, Finding{Stream: g.cfg.Shelf, Text: "holds an older mark than the file beside the store: the store was put back or emptied"})
	}
	if g.first && empty(now) {
		g.settle(s, nil)
		return nil, nil
	}
	if g.first {
		anew, err := g.shelfAnew(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, anew...)
	}
	if !g.first && len(found) == 0 && g.trusts(ctx, now[g.cfg.Ledger], s) {
		s.Read = g.old.Seal.Read
		g.mu.Lock()
		g.unread = true
		g.mu.Unlock()
		g.lg.Info().Time("read", s.Read).Msg("the broker has had the ledger open since it was read in full; it is read again while the lanes work")
	} else {
		more, err := g.readable(ctx)
		if found = append(found, more...); err != nil || len(found) > 0 {
			return found, err
		}
	}
	if g.first {
		g.lg.Info().Msg("no mark of the state yet: everything is compared once")
		found, err = g.scrub(ctx, 0)
	} else {
		found, err = g.witness(ctx, ids{}, g.old, 0)
	}
	if err == nil && g.Unread() && !g.seal(ctx).same(s) {
		g.old.Seal = seal{} // the broker has opened the ledger anew meanwhile
		return g.check(ctx)
	}
	if err == nil {
		g.settle(s, found)
	}
	return found, err
}

// empty reports whether nothing was ever stored.
func empty(now map[string]survey) bool {
	for _, s := range now {
		if s.last > 0 {
			return false
		}
	}
	return true
}

// shelfAnew finds that the stream of the mark was made when the ledger had
// entries already: the other streams were put back without it, or it was removed,
// with the mark and the holds that it had.
func (g *Guard) shelfAnew(ctx context.Context) ([]Finding, error) {
	shelf, err := g.b.JetStream().Stream(ctx, g.cfg.Shelf)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", g.cfg.Shelf, err)
	}
	ledger, err := g.b.JetStream().Stream(ctx, g.cfg.Ledger)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", g.cfg.Ledger, err)
	}
	made, state := shelf.CachedInfo().Created, ledger.CachedInfo().State
	if state.Msgs == 0 || !state.FirstTime.Before(made) {
		return nil, nil
	}
	text := fmt.Sprintf("was made at %s and holds no mark, but the ledger has entries since %s: the streams were put back without it, or it was removed", stamp(made), stamp(state.FirstTime))
	return []Finding{{Stream: g.cfg.Shelf, Text: text}}, nil
}

// readTries is how often entries are counted before some count as lost: what is
// written or pruned meanwhile may confuse a count.
const readTries = 3

// readable counts the entries of the ledger that can be read: the broker also
// counts those that it cannot. The newest one must be among them.
func (g *Guard) readable(ctx context.Context) ([]Finding, error) {
	was := g.old.Streams[g.cfg.Ledger]
	for try := 1; ; try++ {
		is, n, last, err := g.count(ctx, was.Missing, 0, func(is survey) uint64 { return is.claimed }, newSums(was.Entries))
		if err != nil {
			return nil, err
		}
		whole := n+was.Missing >= is.claimed && (last >= is.last || was.Ends == is.last)
		if !whole && try < readTries {
			continue
		}
		g.mu.Lock()
		g.missing, g.ends = is.claimed-min(n, is.claimed), 0
		if last < is.last {
			g.ends = is.last
		}
		g.mu.Unlock()
		switch {
		case whole:
			return nil, nil
		case n+was.Missing < is.claimed:
			return g.unreadable(is.claimed, n), nil
		default:
			return []Finding{{Stream: g.cfg.Ledger, Text: fmt.Sprintf("ends at sequence %d, but what can be read ends at %d", is.last, last)}}, nil
		}
	}
}

// countRounds is how often count asks at most. Only if others make new entries in each
// of the rounds, all but the first of milliseconds, may these hide as many that are lost.
const countRounds = 10

// count reads the ledger, and returns what the broker says of it, how many entries can be
// read, and the sequence of the last one. What others write meanwhile moves an entry,
// which counts once, or adds one that the broker has not counted. So the ledger is whole
// where what is no newer than the broker's number is enough, and is not where all that
// was read is too little; in between the broker is asked anew, and what is newer is read.
// told says how many the broker counts.
func (g *Guard) count(ctx context.Context, missing uint64, pause time.Duration, told func(survey) uint64, t tally) (is survey, n, last uint64, err error) {
	for round := 1; ; round++ {
		now, err := g.survey(ctx)
		if err != nil {
			return survey{}, 0, 0, err
		}
		is = now[g.cfg.Ledger]
		want := told(is)
		err = g.read(ctx, reading{stream: g.cfg.Ledger, filter: ">", from: last + 1, headers: true, pause: pause}, func(m message) error {
			t.add(m)
			if last = m.sequence; last >= is.last && t.entries()+missing >= want {
				return errEnd // what is newer other replicas have just written, and go on
			}
			return nil
		})
		if n = t.entries(); err != nil || n+missing < want || last <= is.last || round == countRounds {
			return is, n, last, err
		}
	}
}

// tally counts entries, each once.
type tally interface {
	add(message)
	entries() uint64
}

// sums is a tally in eight bytes for each entry. They are sorted when their number is
// asked for first; only what comes after costs more.
type sums struct {
	seed   maphash.Seed
	all    []uint64
	sorted bool
	later  map[uint64]struct{}
}

// newSums has room for n entries.
func newSums(n uint64) *sums {
	return &sums{seed: maphash.MakeSeed(), all: make([]uint64, 0, min(n, 1<<24)), later: make(map[uint64]struct{})}
}

func (s *sums) add(m message) {
	sum := maphash.String(s.seed, m.subject)
	if !s.sorted {
		s.all = append(s.all, sum)
	} else if _, is := slices.BinarySearch(s.all, sum); !is {
		s.later[sum] = struct{}{}
	}
}

func (s *sums) entries() uint64 {
	if !s.sorted {
		slices.Sort(s.all)
		s.all, s.sorted = slices.Compact(s.all), true
	}
	return uint64(len(s.all) + len(s.later))
}

// unreadable is the finding of entries that the broker counts and cannot read.
func (g *Guard) unreadable(claimed, n uint64) []Finding {
	return []Finding{{Stream: g.cfg.Ledger, Text: fmt.Sprintf("holds %d entries, of which only %d can be read", claimed, n)}}
}

// witness asks the ledger for what the outcomes and the events say was done since
// a mark.
func (g *Guard) witness(ctx context.Context, known ids, since mark, pause time.Duration) ([]Finding, error) {
	var found []Finding
	for _, lane := range g.cfg.Lanes {
		gap := &gap{}
		if err := g.outcomes(ctx, lane, known, since, pause, gap); err != nil {
			return nil, err
		}
		found = gap.report(found, lane, g.cfg.Outcomes, "conversations were created that the ledger has no entry for")
		gap.clear()
		if err := g.events(ctx, lane, known, since, pause, gap); err != nil {
			return nil, err
		}
		found = gap.report(found, lane, g.cfg.Events, "events are done that the ledger has no entry for")
	}
	return found, nil
}

// outcomes looks at each outcome that tells of a conversation.
func (g *Guard) outcomes(ctx context.Context, lane string, known ids, since mark, pause time.Duration, gap *gap) error {
	r := reading{
		stream: g.cfg.Outcomes, filter: "weir.outcomes." + lane + "." + string(consumer.Created),
		from: since.Streams[g.cfg.Outcomes].Last + 1, pause: pause,
	}
	return g.read(ctx, r, func(m message) error {
		var outcome struct {
			Time time.Time            `json:"time"`
			Data consumer.OutcomeData `json:"data"`
		}
		if json.Unmarshal(m.data, &outcome) != nil || outcome.Data.Intent == "" {
			return nil //nolint:nilerr // not Weir's
		}
		if g.forgotten(m.time) || !outcome.Time.IsZero() && g.forgotten(outcome.Time) {
			return nil
		}
		ok, err := g.has(ctx, known, lane, outcome.Data.Intent)
		if err == nil && !ok {
			gap.add(m.sequence)
		}
		return err
	})
}

// events looks at each event of a lane that is done.
func (g *Guard) events(ctx context.Context, lane string, known ids, since mark, pause time.Duration, gap *gap) error {
	floors, err := g.b.Floors(ctx, lane)
	if err != nil {
		return err
	}
	origin := consumer.Origin{Stream: g.cfg.Events}
	for _, subject := range sorted(floors) {
		if floors[subject] == 0 { // to a reading the end of the stream
			continue
		}
		r := reading{
			stream: g.cfg.Events, filter: subject,
			from: since.Streams[g.cfg.Events].Last + 1, to: floors[subject], pause: pause,
		}
		err := g.read(ctx, r, func(m message) error {
			if g.forgotten(m.time) {
				return nil
			}
			if origin.StreamAge.IsZero() {
				now, err := g.survey(ctx)
				if err != nil {
					return err
				}
				origin.StreamAge = now[g.cfg.Events].created
			}
			origin.Sequence = m.sequence
			ok, err := g.has(ctx, known, lane, keys(lane, origin, m)...)
			if err == nil && !ok {
				gap.add(m.sequence)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keys are those under which the event may be in the ledger: its own, or that of
// its place where it could not be read, or not by the Weir of that day.
func keys(lane string, o consumer.Origin, m message) (all []string) {
	all = []string{consumer.PlaceKey(lane, o)}
	defer func() { _ = recover() }() // the place is all that is known
	if ev, err := schema.Decode(m.header, m.data, len(m.data)+1); err == nil {
		all = append(all, consumer.Key(lane, ev.Source(), ev.ID()))
	}
	return all
}

// forgotten reports whether the ledger need not know any more what was done then.
func (g *Guard) forgotten(t time.Time) bool { return time.Since(t) > g.cfg.Keep-24*time.Hour }

// has reports whether the ledger has an entry for one of the keys, or had one
// that was pruned.
func (g *Guard) has(ctx context.Context, known ids, lane string, keys ...string) (bool, error) {
	if slices.ContainsFunc(keys, known.has) {
		return true, nil
	}
	s, err := g.b.JetStream().Stream(ctx, g.cfg.Ledger)
	if err != nil {
		return false, err
	}
	for _, key := range keys {
		m, err := s.GetLastMsgForSubject(ctx, g.subject(lane, key))
		if err == nil && !g.cfg.Removed(m.Header) {
			return true, nil
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, err
		}
	}
	return false, nil
}

// subject is where the entry of an intent is: a bucket's stream is KV_<bucket>.
func (g *Guard) subject(lane, key string) string {
	return "$KV." + strings.TrimPrefix(g.cfg.Ledger, "KV_") + "." + lane + "." + key
}

// gap collects the sequences of what has no entry.
type gap struct {
	n     int
	first []uint64
}

// gapShown is how many sequences a person is shown.
const gapShown = 5

func (p *gap) add(sequence uint64) {
	p.n++
	if len(p.first) < gapShown {
		p.first = append(p.first, sequence)
	}
}

func (p *gap) clear() { *p = gap{} }

// report adds a finding, if there is a gap.
func (p *gap) report(found []Finding, lane, stream, what string) []Finding {
	if p.n == 0 {
		return found
	}
	more := ""
	if p.n > len(p.first) {
		more = " and others"
	}
	text := fmt.Sprintf("says that %d %s: sequences %s%s", p.n, what, strings.Trim(fmt.Sprint(p.first), "[]"), more)
	return append(found, Finding{Lane: lane, Stream: stream, Text: text})
}
