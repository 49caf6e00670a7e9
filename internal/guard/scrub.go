package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// ids are the keys of the ledger's entries, in 16 bytes each; false are those of
// entries that somebody removed.
type ids map[uuid.UUID]bool

func (s ids) has(key string) bool {
	id, err := uuid.Parse(key)
	return err == nil && s[id]
}

// scrubPause is what a scrub lets pass after each batch: about 5,000 messages a
// second at most.
const scrubPause = 100 * time.Millisecond

// Scrub reads everything, slowly: whether each entry of the ledger can be read,
// and whether each outcome that tells of a conversation, and each event that is
// done, has its entry. Lanes may be working meanwhile. Its memory is the keys of
// the ledger's entries. If anything is found, Told is what comes next.
func (g *Guard) Scrub(ctx context.Context) ([]Finding, error) {
	s := g.seal(ctx) // before anything is read
	found, err := g.scrub(ctx, scrubPause)
	if err != nil {
		return nil, fmt.Errorf("guard: scrub: %w", err)
	}
	g.settle(s, found)
	g.mu.Lock()
	g.unread = false
	g.mu.Unlock()
	return found, nil
}

// Told says that the lanes are stopped durably for what Scrub found: of the entries that
// cannot be read it is silent from then on, and so are later starts.
func (g *Guard) Told() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lacking > 0 {
		g.missing, g.lacking = g.lacking, 0
	}
}

func (g *Guard) scrub(ctx context.Context, pause time.Duration) ([]Finding, error) {
	known, found, err := g.entries(ctx, pause)
	if err != nil {
		return nil, err
	}
	more, err := g.witness(ctx, known, mark{}, pause)
	return append(found, more...), err
}

// entries reads the keys of the ledger, and compares their number with the broker's.
// An entry that is pruned meanwhile may be missing: it reads again.
func (g *Guard) entries(ctx context.Context, pause time.Duration) (ids, []Finding, error) {
	for try := 1; ; try++ {
		g.mu.Lock()
		g.lacking = 0
		missing := g.missing
		g.mu.Unlock()
		keys := &keysRead{removed: g.cfg.Removed, known: make(ids), others: make(map[string]bool)}
		is, n, _, err := g.count(ctx, missing, pause, func(is survey) uint64 { return is.entries }, keys)
		if err != nil {
			return nil, nil, err
		}
		if n+missing >= is.entries {
			return keys.known, nil, nil
		}
		if try == readTries {
			g.mu.Lock()
			g.lacking, g.mark.Seal = is.entries-n, seal{} // whoever starts before it is told reads it, too
			g.mu.Unlock()
			return keys.known, g.unreadable(is.entries, n), nil
		}
	}
}

// keysRead is a tally that keeps the keys.
type keysRead struct {
	removed func(nats.Header) bool
	known   ids
	others  map[string]bool // subjects that are none of ours
}

func (k *keysRead) add(m message) {
	if id, err := uuid.Parse(m.subject[strings.LastIndexByte(m.subject, '.')+1:]); err == nil {
		k.known[id] = !k.removed(m.header)
	} else {
		k.others[m.subject] = true
	}
}

func (k *keysRead) entries() uint64 { return uint64(len(k.known) + len(k.others)) }
