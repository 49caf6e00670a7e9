package consumer

import "context"

// mostHandled is how many batches of a lane may be under way. Of most of them only
// outcome and acknowledgement are left. Of what was claimed and is not recorded, which
// a crash would leave in doubt, nothing is added from mostClaimed batches on, those in
// flight and as many whose answers are being written down, but what has its slots by
// then: mostFlying batches.
const (
	mostHandled = 4 * mostFlying
	mostClaimed = 2 * mostFlying
)

// further adds to a grant the others that there are at once, if the stream is known
// to have events for them: one fetch brings those of all, where each fetch takes
// longer than a batch of one. It returns how many slots they are.
func (ln *lane) further(g *grant) (grants []*grant, n int) {
	grants, n = append(grants, g), g.n
	for ln.more && len(grants) < mostFlying && !ln.crowded() {
		if g = ln.entry.spare(ln, ln.cfg.Batch); g == nil {
			break
		}
		grants, n = append(grants, g), n+g.n
	}
	return grants, n
}

// begin hands as many messages to a goroutine of their own as a grant has slots for,
// and returns the others.
func (ln *lane) begin(ctx context.Context, msgs []Message, g *grant) (rest []Message) {
	n := min(g.n, len(msgs))
	if unused := g.n - n; unused > 0 {
		g.release(unused)
	}
	if n == 0 {
		return nil
	}
	ln.enter()
	ln.e.work.Go(func() {
		defer ln.leave()
		ln.handle(ctx, msgs[:n:n], g)
	})
	return msgs[n:]
}

// enter and leave count the batches under way.
func (ln *lane) enter() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.handling++
}

func (ln *lane) leave() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.handling--
	ln.notify()
}

// crowded reports whether as many batches are under way, or as many events claimed
// and not recorded, as may be.
func (ln *lane) crowded() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.handling >= mostHandled || ln.claimed >= mostClaimed*ln.cfg.Batch
}

// claims counts n events more that were claimed and are not recorded, or fewer.
func (ln *lane) claims(n int) {
	ln.e.claimed.Add(int64(n))
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.claimed += n
	if n < 0 && ln.claimed-n >= mostClaimed*ln.cfg.Batch {
		ln.notify()
	}
}
