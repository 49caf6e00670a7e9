package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/ratelimiter"
)

// handle takes a batch of fetched messages, each with a slot, through to its
// end.
func (ln *lane) handle(ctx context.Context, fetched []Message, g *grant) {
	heart := beat(fetched, ln.e.cfg.Heartbeat) // it beats after the end of ctx, too
	defer heart.stop()
	var candidates []*candidate
	var wg sync.WaitGroup
	entrants, faltering := ln.receive(ctx, heart.all), 0
	for i := range entrants {
		m := &heart.all[i]
		c, done, slow := ln.admit(ctx, &entrants[i])
		if slow {
			faltering++
			continue
		}
		if c != nil {
			if p := ln.a.poolOf(c.request.Channel); p != g.pool {
				ln.unlock(c.intent.Key)
				m.rest()
				ln.park(ctx, p, fetched[i])
			} else {
				candidates = append(candidates, c)
				continue
			}
		}
		g.release(1)
		ln.unload(1)
		if done != nil {
			wg.Go(func() {
				defer ln.unlock(done.Key)
				ln.finish(ctx, m, *done)
			})
		}
	}
	for range faltering { // when all are judged: whoever waits for one of the intents need not wait for this
		falter(ctx)
		g.release(1)
		ln.unload(1)
	}
	groups := ln.groups(candidates)
	for i, group := range groups {
		if i == len(groups)-1 { // most batches are one group: it needs no goroutine, whose stack has to grow
			ln.sendLocked(ctx, group, g)
			break
		}
		wg.Go(func() { ln.sendLocked(ctx, group, g) })
	}
	wg.Wait()
}

// sendLocked sends a group and unlocks its intents.
func (ln *lane) sendLocked(ctx context.Context, group []*candidate, g *grant) {
	defer func() {
		for _, c := range group {
			ln.unlock(c.intent.Key)
		}
	}()
	ln.send(ctx, group, g)
}

// groups splits the candidates into requests: items that must go alone do, and
// no two items of one request share number and agent.
func (ln *lane) groups(candidates []*candidate) [][]*candidate {
	if len(candidates) == 1 {
		return [][]*candidate{candidates}
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	var groups [][]*candidate
	var pairs []map[string]bool
next:
	for _, c := range candidates {
		if ln.alone[c.intent.Key] {
			groups, pairs = append(groups, []*candidate{c}), append(pairs, nil)
			continue
		}
		for i := range groups {
			if pairs[i] != nil && !pairs[i][c.request.Pair] {
				groups[i] = append(groups[i], c)
				pairs[i][c.request.Pair] = c.request.Pair != ""
				continue next
			}
		}
		groups = append(groups, []*candidate{c})
		pairs = append(pairs, map[string]bool{c.request.Pair: c.request.Pair != ""})
	}
	return groups
}

// keep returns the candidates that stay: the group itself if all do.
func keep(group []*candidate, stays func(i int, c *candidate) bool) []*candidate {
	kept, all := group, true
	for i, c := range group {
		switch stay := stays(i, c); {
		case !stay && all:
			kept, all = slices.Clone(group[:i]), false
		case stay && !all:
			kept = append(kept, c)
		}
	}
	return kept
}

// prepare claims the group, and returns what was claimed of it, with whom to tell how
// its request went.
func (ln *lane) prepare(ctx context.Context, began time.Duration, group []*candidate, g *grant) ([]*candidate, func(ratelimiter.Result)) {
	if err := ln.mayStart(began); err != nil {
		ln.letGo(g, group, time.Second)
		return nil, nil
	}
	if group = ln.admitted(ctx, ln.inTime(group, g), g); len(group) == 0 {
		return nil, nil
	}
	if ln.cfg.Dry {
		ln.rehearse(ctx, group, g)
		return nil, nil
	}
	step := ratelimiter.Trial
	if len(group) > 1 {
		step = ratelimiter.None // granted while the breaker was closed
	}
	done, err := ln.a.breaker.Begin(step)
	if err != nil {
		ln.letGo(g, group, time.Second)
		return nil, nil
	}
	group = ln.claim(ctx, g, group)
	if len(group) == 0 {
		done(ratelimiter.Unused)
	}
	return group, done
}

// send claims the group and asks the provider for its conversations.
func (ln *lane) send(ctx context.Context, group []*candidate, g *grant) {
	began, all := BootTime(), len(group)
	group, done := ln.prepare(ctx, began, group, g)
	ln.unload(all - len(group))
	if len(group) == 0 {
		return
	}
	ln.e.claimed.Add(int64(len(group)))
	items := make([]Item, len(group))
	for i, c := range group {
		items[i] = Item{Intent: c.intent.Key, Attempt: c.intent.Claims, Request: c.request}
	}
	first := &firstByte{ln: ln, began: began, group: group}
	answer := discreet(group, ln.ask(ctx, Batch{Items: items, Free: g.known, Permit: first.permit}))
	sent, barred := first.went()
	ln.a.compare(answer.Header, answer.Began, answer.Done)
	m := ln.measure(group, answer, barred)
	done(m.breaker)
	steps, halted := ln.steps(group, answer, m)
	refused := ln.a.learn(ln, g, group, answer, m) // whereupon others may be sent
	told := ln.answered(group, answer, sent, barred, refused)
	for other, reason := range halted {
		other.keepPause(ctx, reason)
	}
	atOnce(len(group), func(i int) { ln.settle(ctx, group[i], answer.Results[i], steps[i], told, i) })
}

// atOnce does n things at one time, and a lone one in this goroutine, whose stack has
// grown already.
func atOnce(n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// steps are the transitions that an answer makes. Lanes that must not go on after
// it are halted here; their pauses, by lane, are to be kept.
func (ln *lane) steps(group []*candidate, answer Answer, m meaning) (steps []Step, halted map[*lane]string) {
	halted = make(map[*lane]string)
	halt := func(other *lane, reason string) {
		if reason != "" && other.halt(reason) {
			halted[other] = reason
		}
	}
	for _, other := range ln.a.lanes {
		halt(other, answer.Stop)
	}
	for i, c := range group {
		step, wrong := ln.step(c.intent, answer.Results[i], m)
		halt(ln, wrong)
		steps = append(steps, step)
	}
	return steps, halted
}

// letGo gives back candidates that were not claimed.
func (ln *lane) letGo(g *grant, group []*candidate, delay time.Duration) {
	for _, c := range group {
		ln.giveBack(c.msg, delay, false)
	}
	g.release(len(group))
}

// errTooOld is a claim that waited too long for its request.
var errTooOld = errors.New("the claim is too old")

// mayStart reports why no byte may be sent for a claim begun then.
func (ln *lane) mayStart(began time.Duration) error {
	if BootTime()-began > ln.e.cfg.ClaimAge {
		return errTooOld
	}
	if p, _ := ln.paused(); p != nil {
		return fmt.Errorf("the lane is paused: %s", p.Reason)
	}
	return ln.e.cfg.Fence()
}

// mayPost reports why the first byte of a request may not be sent.
func (ln *lane) mayPost(began time.Duration, group []*candidate) error {
	if ln.cfg.Dry {
		return errDry
	}
	if err := ln.mayStart(began); err != nil {
		return err
	}
	for _, c := range group {
		if err := ln.untimely(c); err != nil {
			return err
		}
	}
	return ln.unheard(group)
}

// claim asks the ledger for permission to send each item, and returns those
// that got it. The others are given back.
func (ln *lane) claim(ctx context.Context, g *grant, group []*candidate) []*candidate {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ln.e.cfg.ClaimAge)
	defer cancel()
	won := make([]bool, len(group))
	atOnce(len(group), func(i int) { won[i] = ln.claimOne(ctx, group[i]) })
	return keep(group, func(i int, c *candidate) bool {
		if !won[i] {
			ln.letGo(g, []*candidate{c}, 2*time.Second)
		}
		return won[i]
	})
}

// claimOne makes one claim. A claim whose fate stays unknown is not used, and
// its nonce is remembered, so that it can be released when it turns up.
func (ln *lane) claimOne(ctx context.Context, c *candidate) bool {
	if c.intent.Claims > 0 && ln.rumoured(c.intent.Key) {
		return false // a webhook may be about to show that it was created
	}
	step := Step{
		Kind: StepClaim, Born: c.life.born, Nonce: uuid.NewString(), Channel: c.request.Channel,
		Print: printOf(c.intent.Key, c.request.Pair), Reason: "sending",
	}
	if o := c.msg.Origin(); o.Intent == "" {
		step.Sequence = o.Sequence
	}
	switch {
	case c.replay != nil:
		step.Kind, step.Expect, step.By = StepReplay, c.replay.Expect, c.replay.By
		step.Reason, step.Digest = c.replay.Reason, c.digest
		if c.digest != c.intent.Digest && c.intent.Digest != "" {
			step.Reason += " (with a corrected event)"
		}
	case c.intent.State == Doubt:
		step.Kind, step.Reason = StepResend, "sending the same id again"
	}
	next, effect := Next(c.intent, step, time.Now())
	if effect != Applied {
		return false
	}
	rev, err := ln.e.cfg.Ledger.Store(ctx, next, c.rev)
	if err != nil {
		if !errors.Is(err, ErrConflict) {
			ln.mu.Lock()
			if len(ln.unused) < 10_000 {
				ln.unused[step.Nonce] = true
			}
			ln.mu.Unlock()
			ln.lg.Warn().Err(err).Str("intent", c.intent.Key).Msg("claim")
			ln.hitched(err)
			falter(ctx)
		}
		return false
	}
	if ln.e.cfg.Observer != nil {
		c.waits = waited(c.intent, c.life.born, next.Claimed)
	}
	ln.e.turned(c.intent.State, next, step, Applied, occasion{attempt: true})
	c.intent, c.rev = next, rev
	return true
}

// ask sends the request. A client that panics may have sent it.
func (ln *lane) ask(ctx context.Context, b Batch) (answer Answer) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			ln.lg.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("the provider client panicked")
			answer = Answer{Began: began, Done: time.Now(), Results: make([]Result, len(b.Items))}
			for i := range answer.Results {
				answer.Results[i] = Result{Verdict: VerdictDoubt, Reason: "a fault in Weir's client; the call may have been placed"}
			}
		}
	}()
	return ln.creator.Create(ctx, b)
}

// meaning is what an answer as a whole says.
type meaning struct {
	reading ratelimiter.Reading
	breaker ratelimiter.Result
	created int
	doubts  int
	unsent  int
	barred  bool          // the engine itself forbade the first byte
	refused bool          // the credentials were not accepted
	backoff time.Duration // before the same event is tried again, where no byte was taken
	lone    bool          // the request had one item
}

// measure reads an answer's headers, counts its verdicts and keeps the lane's
// tallies.
func (ln *lane) measure(group []*candidate, answer Answer, barred bool) meaning {
	m := meaning{
		reading: ratelimiter.Parse(answer.Header, ln.a.cfg.Headers, answer.Done),
		breaker: ratelimiter.Neutral,
		barred:  barred,
		lone:    len(group) == 1,
	}
	for _, r := range answer.Results {
		switch r.Verdict {
		case VerdictCreated:
			m.created++
		case VerdictDoubt:
			m.doubts++
		case VerdictUnsent:
			m.unsent++
		case VerdictUnauthorized:
			m.refused = true
		}
	}
	switch {
	case m.refused:
		m.breaker = ratelimiter.Fatal
	case m.created > 0:
		m.breaker = ratelimiter.Success
	case m.doubts > 0 || m.unsent > 0 && !barred:
		m.breaker = ratelimiter.Failure
	case barred:
		m.breaker = ratelimiter.Unused
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.created += uint64(m.created) //nolint:gosec // a count
	switch m.breaker {
	case ratelimiter.Success:
		ln.failures, ln.trouble = 0, ""
		ln.refusal, ln.refusals = "", 0
	case ratelimiter.Failure, ratelimiter.Fatal:
		ln.failures++
		ln.trouble = answer.Results[0].Reason
	}
	m.backoff = backoff(ln.failures)
	return m
}
