package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
)

const recordPrefix = "c."

// Limits say how often a person may be contacted on behalf of a lane. The zero
// Limits forbid nothing, and are counted all the same.
type Limits struct {
	// Purpose is what the contacts are for: [a-z0-9-]{1,32}. Lanes with the same one
	// count each other's.
	Purpose string
	// Once: not again within this time after a contact; 0: at any time.
	Once time.Duration
	Caps []Cap
	// CoolDown: not within this time after the end of a conversation in which
	// somebody took part; 0: at any time.
	CoolDown time.Duration
	// Redials: the lane calls people again by itself (consumer.Approach.Since).
	Redials bool
}

// Cap is the most contacts of one person within any Per.
type Cap struct {
	Count int
	Per   time.Duration
}

// MostBack bounds how far limits may look back. It is well below what the ledger
// remembers at least (35 days).
const MostBack = 30 * 24 * time.Hour

// longestCall is when a conversation whose end was never told counts as over.
const longestCall = 24 * time.Hour

// keep is how long a contact matters to the limits. The margin is for the age of a
// claim.
func (l Limits) keep() time.Duration {
	back := time.Minute + l.Once
	for _, c := range l.Caps {
		back = max(back, time.Minute+c.Per)
	}
	if l.CoolDown > 0 {
		back = max(back, l.CoolDown+longestCall)
	}
	return back
}

// remember is how long a contact matters to the limits, and to redials.
func (l Limits) remember() time.Duration {
	if l.Redials {
		return max(l.keep(), MostBack)
	}
	return l.keep()
}

// back is how long ago a contact may have been that matters to an approach now: one
// of before Since too, if its conversation lasted until then.
func (l Limits) back(a consumer.Approach, now time.Time) time.Duration {
	if a.Since.IsZero() {
		return l.keep()
	}
	return max(l.keep(), now.Sub(a.Since)+longestCall)
}

// spare is how much longer the broker keeps a record than it matters: its clock may
// leap.
const spare = 48 * time.Hour

// mostEntries bounds a record: the limits count to fewer.
const mostEntries = 100

// MostCount is the largest Cap.Count.
const MostCount = 50

// entry is one intent that was given leave to contact the person: its stored form.
type entry struct {
	Lane   string    `json:"lane"`
	Intent string    `json:"intent"`
	N      int       `json:"n"` // of the intent: a claim is made of this one only
	At     time.Time `json:"at"`
	Nonce  string    `json:"nonce"` // of this leave
}

// record is the stored form of a person's contacts for a purpose, the oldest first.
type record struct {
	V       int     `json:"v"`
	Entries []entry `json:"entries"`
}

// contact is what an entry has been.
type contact struct {
	entry
	latest time.Time // when its request went out at the latest
	reach  consumer.Reach
	ended  time.Time
}

// Waits for what another event of the person becomes.
const (
	shortWait = 2 * time.Second  // a request is on its way
	callWait  = 20 * time.Second // a conversation is under way
)

// enter gives an intent leave to contact a person, if the limits allow it, and
// enters that.
func (r *Register) enter(ctx context.Context, p Person, l Limits, a consumer.Approach) (consumer.Ruling, error) {
	if err := r.cfg.Trusted(); err != nil {
		return consumer.Ruling{}, fmt.Errorf("%w, so nobody can tell how long ago people were contacted; set the clocks right", err)
	}
	key := recordPrefix + l.Purpose + "." + r.hash(string(p))
	for {
		rec, revision, err := r.record(ctx, key)
		if err != nil {
			return strange(err)
		}
		now := time.Now()
		others, err := r.others(ctx, rec, l, a, now)
		if err != nil {
			return strange(err)
		}
		ruling := l.judge(others, a, now)
		if ruling.Verdict != consumer.ContactNow {
			return ruling, nil
		}
		data, err := json.Marshal(rec.with(a, now, r.keep[l.Purpose]))
		if err != nil {
			return ruling, err
		}
		err = r.store.StoreContact(ctx, key, data, revision, (r.keep[l.Purpose] + spare).Round(time.Second))
		if !errors.Is(err, consumer.ErrConflict) {
			return ruling, err
		}
	}
}

// record reads a record. One that somebody else removed is none that could be read.
func (r *Register) record(ctx context.Context, key string) (rec record, revision uint64, err error) {
	data, revision, err := r.store.Contact(ctx, key)
	if err != nil || revision == 0 {
		return record{}, revision, err
	}
	if data == nil { // by a person: that it was says that it must not count
		return record{}, revision, nil
	}
	err = json.Unmarshal(data, &rec)
	if rec.V > metaFormat { // whatever else it has
		err = errNewer
	}
	if err != nil {
		return rec, revision, fmt.Errorf("the record %s of WEIR_CONTACT %w: %w", key, errStrange, err)
	}
	return rec, revision, nil
}

// with returns the record with an intent's entry, without what matters no more.
func (rec record) with(a consumer.Approach, now time.Time, keep time.Duration) record {
	rec.V = metaFormat
	rec.Entries = slices.DeleteFunc(slices.Clone(rec.Entries), func(e entry) bool {
		return now.Sub(e.At) > keep || e.Lane == a.Lane && e.Intent == a.Intent
	})
	rec.Entries = append(rec.Entries, entry{Lane: a.Lane, Intent: a.Intent, N: a.N, At: now.UTC(), Nonce: uuid.NewString()})
	rec.Entries = rec.Entries[max(0, len(rec.Entries)-mostEntries):]
	return rec
}

// others asks the ledger what the record's other entries have been, as far as they
// matter to the limits.
func (r *Register) others(ctx context.Context, rec record, l Limits, a consumer.Approach, now time.Time) ([]contact, error) {
	var all []contact
	for _, e := range rec.Entries {
		if now.Sub(e.At) > l.back(a, now) || e.Lane == a.Lane && e.Intent == a.Intent {
			continue
		}
		c, err := r.look(ctx, e, now)
		if err != nil {
			return nil, err
		}
		if c.reach != consumer.ReachNone {
			all = append(all, c)
		}
	}
	return all, nil
}

// Times after which what another process does is over, by this one's own clock.
const (
	// openFor is how long a claim may stay one: then somebody else has to make it a
	// doubt, which it counts as.
	openFor = 10 * time.Minute
	// mostSeen bounds what is remembered of entries that may be claimed.
	mostSeen = 100_000
)

// look asks the ledger what an entry has been.
func (r *Register) look(ctx context.Context, e entry, now time.Time) (contact, error) {
	in, _, err := r.cfg.Ledger.Load(ctx, e.Lane, e.Intent)
	if err != nil {
		return contact{}, fmt.Errorf("what became of another event of the person: %w", err)
	}
	c := contact{entry: e, latest: e.At.Add(r.cfg.ClaimAge)}
	c.reach, c.ended = in.Reach()
	switch {
	case c.reach == consumer.ReachOpen:
		if r.since(e.Nonce, now) > openFor {
			c.reach = consumer.ReachUnknown
		}
	case c.reach == consumer.ReachNone && in.N == e.N && r.since(e.Nonce, now) <= 2*r.cfg.ClaimAge:
		c.reach = consumer.ReachOpen // it may be about to be claimed
	case c.reach == consumer.ReachLive && now.Sub(e.At) > longestCall:
		c.reach, c.ended = consumer.ReachAnswered, c.latest
	}
	return c, nil
}

// since is for how long this process has seen an entry, on its own monotonic clock.
// The entry was there before that.
func (r *Register) since(nonce string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, ok := r.seen[nonce]
	if !ok {
		if len(r.seen) >= mostSeen {
			clear(r.seen)
		}
		first = now
		r.seen[nonce] = now
	}
	return now.Sub(first)
}

// judge rules on a contact now, given the others of the person.
func (l Limits) judge(others []contact, a consumer.Approach, now time.Time) consumer.Ruling {
	rule, why := l.forbids(others, a, now, false)
	if why != "" {
		return consumer.Ruling{Verdict: consumer.ContactNever, Rule: rule, Reason: why}
	}
	rule, why = l.forbids(others, a, now, true)
	if why == "" {
		return consumer.Ruling{Verdict: consumer.ContactNow}
	}
	wait := callWait
	if slices.ContainsFunc(others, func(c contact) bool { return c.reach == consumer.ReachOpen }) {
		wait = shortWait
	}
	return consumer.Ruling{Verdict: consumer.ContactLater, Rule: rule, Until: time.Now().Add(wait), Reason: "what becomes of another event of this person is waited for: " + why}
}

// forbids says which rule forbids a contact now, and why; empty if none does. What is not
// decided yet counts only if open: a request on its way as a contact, and a
// conversation under way as one that is answered.
func (l Limits) forbids(others []contact, a consumer.Approach, now time.Time, open bool) (rule, why string) {
	made := slices.DeleteFunc(slices.Clone(others), func(c contact) bool { return c.reach == consumer.ReachOpen && !open })
	slices.SortStableFunc(made, func(a, b contact) int { return b.latest.Compare(a.latest) }) // the newest first
	for _, c := range made {
		if l.Once > 0 && !a.Redial && now.Sub(c.latest) < l.Once {
			return consumer.RuleOnce, fmt.Sprintf("This person was contacted %s; once in %s.", c.told(now), span(l.Once))
		}
		over, certain := c.over(now)
		if !a.Since.IsZero() && (certain || open) && over.After(a.Since) {
			return consumer.RuleRedial, fmt.Sprintf("This person was spoken with %s, so that nobody need be called again.", c.told(now))
		}
		if l.CoolDown > 0 && !a.Redial && (certain || open) && now.Sub(over) < l.CoolDown {
			return consumer.RuleCoolDown, fmt.Sprintf("This person was spoken with %s; not again within %s after that.", c.told(now), span(l.CoolDown))
		}
	}
	for _, limit := range l.Caps {
		within := 0
		for _, c := range made {
			if now.Sub(c.latest) < limit.Per {
				within++
			}
		}
		if within >= limit.Count {
			return consumer.RuleCaps, fmt.Sprintf("This person was contacted %d times within %s, the last time %s; no more than %d are allowed.", within, span(limit.Per), made[0].told(now), limit.Count)
		}
	}
	return "", ""
}

// over is when a conversation that was answered, or may have been, was over, and
// whether that is certain by now. A person who did not answer has not been spoken
// with.
func (c contact) over(now time.Time) (at time.Time, certain bool) {
	switch c.reach {
	case consumer.ReachAnswered:
		return c.ended, true
	case consumer.ReachUnknown:
		return c.latest, true
	case consumer.ReachUnanswered:
		return time.Time{}, true
	default:
		return now, false
	}
}

// told says when a contact was, and which event made it. The event's own id is the
// publisher's, and may hold anything.
func (c contact) told(now time.Time) string {
	return fmt.Sprintf("%s ago (lane %s, intent %s)", span(now.Sub(c.At)), c.Lane, c.Intent[:min(8, len(c.Intent))])
}

// span is a duration for a person.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d s", int(max(d, 0).Seconds()))
	}
}
