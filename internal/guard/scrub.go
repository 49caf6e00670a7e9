package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
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
// the ledger's entries.
func (g *Guard) Scrub(ctx context.Context) ([]Finding, error) {
	found, err := g.scrub(ctx, scrubPause)
	if err != nil {
		return nil, fmt.Errorf("guard: scrub: %w", err)
	}
	return found, nil
}

func (g *Guard) scrub(ctx context.Context, pause time.Duration) ([]Finding, error) {
	known, found, err := g.entries(ctx, pause)
	if err != nil {
		return nil, err
	}
	more, err := g.witness(ctx, known, mark{}, pause)
	return append(found, more...), err
}

// entries reads the keys of the ledger, and compares their number with the one
// that the broker had at the beginning. An entry that is written meanwhile moves
// to the end, so it comes all the same; one that is pruned does not.
func (g *Guard) entries(ctx context.Context, pause time.Duration) (ids, []Finding, error) {
	for try := 1; ; try++ {
		before, err := g.survey(ctx)
		if err != nil {
			return nil, nil, err
		}
		known, n, err := g.keysRead(ctx, pause)
		if err != nil {
			return nil, nil, err
		}
		want := before[g.cfg.Ledger].entries
		g.mu.Lock()
		missing := g.missing
		g.mu.Unlock()
		if n+missing >= want {
			return known, nil, nil
		}
		if try == readTries {
			g.mu.Lock()
			g.missing = want - n // said once
			g.mu.Unlock()
			return known, g.unreadable(want, n), nil
		}
	}
}

// keysRead reads the keys of the ledger, and counts them.
func (g *Guard) keysRead(ctx context.Context, pause time.Duration) (known ids, n uint64, err error) {
	known = make(ids)
	others := make(map[string]bool) // subjects that are none of ours
	err = g.read(ctx, reading{stream: g.cfg.Ledger, filter: ">", headers: true, pause: pause}, func(m message) error {
		id, err := uuid.Parse(m.subject[strings.LastIndexByte(m.subject, '.')+1:])
		if err != nil {
			others[m.subject] = true
			return nil //nolint:nilerr // it is counted
		}
		known[id] = !g.cfg.Removed(m.header)
		return nil
	})
	return known, uint64(len(known) + len(others)), err
}
