package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
)

// Find is a kind of finding: each is a promise that was broken.
type Find string

// The kinds of findings.
const (
	Lost        Find = "lost"        // acknowledged to its publisher, and gone or never called though it is said to be
	Doubled     Find = "doubled"     // more than one conversation
	Over        Find = "over"        // more conversations at once than the limit
	Stuck       Find = "stuck"       // not at its end after the calm
	Untold      Find = "untold"      // an outcome is missing, or says something else than the ledger
	Twice       Find = "twice"       // an outcome was published more than once
	Wrong       Find = "wrong"       // the ledger says that nobody was called, but somebody was
	Unexplained Find = "unexplained" // in doubt, and nothing happened that could have made it so
	Stranger    Find = "stranger"    // a conversation or outcome for which there is no event
	Crash       Find = "crash"       // a process fell over a defect of its own, or did not stop
)

// Finding is one broken promise.
type Finding struct {
	Kind Find
	Text string
}

// Event is one event that a publisher was told is stored.
type Event struct {
	Lane, ID, Key string
	Stored        bool // at the sequence that the broker acknowledged, as read later
	TakesID       bool // its provider takes our id, so no doubt may be left
}

// Line is a line of the provider's proof log.
type Line struct {
	At       time.Time `json:"at"`
	Event    string    `json:"event"` // made, ended, or refused: struck by a fault and not made
	Provider string    `json:"provider"`
	Channel  string    `json:"channel"`
	ID       string    `json:"id"`
	Intent   string    `json:"intent"`
	Attempt  int       `json:"attempt"`
	Hidden   bool      `json:"hidden"`
	Fault    string    `json:"fault"`
}

// Outcome is one that was published.
type Outcome struct {
	Intent, Kind, Conversation string
}

// Limit is how many conversations a provider's channel may have at once.
type Limit struct {
	Provider, Channel string
	Most              int
}

// Facts is everything that is known after the calm.
type Facts struct {
	Events   []Event
	Maybe    []string                   // keys of events whose publisher was interrupted: they are stored or not
	Intents  map[string]consumer.Intent // of the ledger, by key
	Proof    []Line                     // of the round
	Made     map[string]int             // conversations by intent, of the round
	Past     map[string]int             // and of all rounds before it
	Outcomes []Outcome                  // published in the round
	Limits   []Limit
	Spans    []Span
	// Damaged says that a part of the ledger was destroyed, and that weir held the
	// lanes because of it: entries may be missing, and what was in flight is in
	// doubt.
	Damaged bool
}

// Verdict is what the facts come to.
type Verdict struct {
	Events, Ended, Dead, Doubts int
	Forgotten                   int // events whose entry was destroyed, or the newest form of it
	Findings                    []Finding
	Causes                      []Cause // of the doubts
}

// Cause is what made a doubt.
type Cause struct {
	Event string // that is in doubt
	Kind  string // CauseHidden or another
	Text  string
}

// The kinds of causes.
const (
	CauseHidden  = "hidden"  // the provider's answer hid the conversation
	CauseRefused = "refused" // the provider made nothing, and its answer did not say so plainly
	CauseDamage  = "damage"  // the ledger was damaged, and had forgotten it
	CauseCut     = "cut"     // a process or a connection was disturbed between the claim and the doubt
)

func (v *Verdict) find(k Find, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{k, fmt.Sprintf(format, args...)})
}

// Check compares the facts with each other.
func Check(f Facts) Verdict {
	v := Verdict{Events: len(f.Events)}
	c := &checker{Facts: f, v: &v, told: make(map[string][]Outcome), struck: make(map[attempt]Line)}
	for _, o := range f.Outcomes {
		c.told[o.Intent] = append(c.told[o.Intent], o)
	}
	for _, l := range f.Proof {
		if l.Event == "made" && l.Hidden || l.Event == "refused" {
			c.struck[attempt{l.Intent, l.Attempt}] = l
		}
	}
	for _, ev := range f.Events {
		c.event(ev)
	}
	c.strangers()
	for _, l := range f.Limits {
		c.limit(l)
	}
	return v
}

type checker struct {
	Facts
	v      *Verdict
	told   map[string][]Outcome // by intent
	struck map[attempt]Line     // whose answer a fault struck
}

// attempt is one request for an intent.
type attempt struct {
	intent string
	n      int // the claim that it was sent under
}

// event checks one event.
func (c *checker) event(ev Event) {
	in, known := c.Intents[ev.Key]
	made := c.Made[ev.Key] + c.Past[ev.Key]
	name := fmt.Sprintf("%s of %s (%s)", ev.ID, ev.Lane, ev.Key)
	if !ev.Stored {
		c.v.find(Lost, "%s: the broker acknowledged it and does not have it", name)
	}
	if made > 1 {
		c.v.find(Doubled, "%s: %d conversations", name, made)
	}
	switch {
	case !known && c.Damaged:
		c.v.Forgotten++
	case !known:
		c.v.find(Lost, "%s: not in the ledger", name)
	case in.State == consumer.Ended:
		c.v.Ended++
		if made == 0 {
			c.v.find(Lost, "%s: said to have ended, but nobody was called", name)
		}
	case in.State == consumer.Dead:
		c.v.Dead++
		if made > 0 {
			c.v.find(Wrong, "%s: dead, but called: %s", name, in.Reason)
		}
	case in.State == consumer.Doubt && !ev.TakesID:
		c.v.Doubts++
		c.doubt(name, in, made)
	case c.Damaged: // what it came to later was destroyed
		c.v.Forgotten++
		return
	default:
		c.v.find(Stuck, "%s: still %s: %s", name, in.State, in.Reason)
	}
	if known && !c.Damaged { // what is done anew may be told anew
		c.outcomes(name, in)
	}
}

// doubt looks for what made a doubt: an answer to its last request that hid the
// conversation, or did not say plainly that there is none, or a disturbance
// between the claim and the doubt.
func (c *checker) doubt(name string, in consumer.Intent, made int) {
	cause := func(kind, format string, args ...any) {
		c.v.Causes = append(c.v.Causes, Cause{name, kind, fmt.Sprintf(format, args...)})
	}
	line, struck := c.struck[attempt{in.Key, in.Claims}]
	switch {
	case struck && line.Event == "made":
		cause(CauseHidden, "conversation %s was made at %s, and %s hid it", line.ID, line.At.Format(time.RFC3339Nano), line.Fault)
		return
	case struck && made == 0:
		cause(CauseRefused, "nothing was made at %s: %s", line.At.Format(time.RFC3339Nano), line.Fault)
		return
	}
	if c.Damaged && strings.HasPrefix(in.Reason, "restored: ") {
		cause(CauseDamage, "%s", in.Reason)
		return
	}
	from, to := in.Claimed, time.Now()
	for _, t := range in.History {
		if t.State == consumer.Doubt {
			to = t.At
		}
	}
	for _, s := range c.Spans {
		if s.touches(from, to) {
			cause(CauseCut, "%s at %s, claimed at %s: %s", s.Name, s.From.Format(time.RFC3339Nano), from.Format(time.RFC3339Nano), in.Reason)
			return
		}
	}
	c.v.find(Unexplained, "%s: in doubt, but its answer was whole and nothing was disturbed: %s", name, in.Reason)
}

// margin is for how long after a disturbance its effect may be seen.
const margin = 2 * time.Second

// touches reports whether the span, with its margin, and the time from from to
// to have a moment in common.
func (s Span) touches(from, to time.Time) bool {
	return !s.From.After(to) && (s.To.IsZero() || !s.To.Add(margin).Before(from))
}

// outcomes checks what was published of an intent.
func (c *checker) outcomes(name string, in consumer.Intent) {
	count := make(map[string]int)
	for _, o := range c.told[in.Key] {
		count[o.Kind]++
		if o.Kind == "created" && in.Conversation != "" && o.Conversation != in.Conversation {
			c.v.find(Untold, "%s: the outcome names conversation %s, the ledger %s", name, o.Conversation, in.Conversation)
		}
	}
	want := map[consumer.State][]string{
		consumer.Ended: {"created", "ended"}, consumer.Dead: {"rejected"}, consumer.Doubt: {"doubt"},
	}[in.State]
	for _, kind := range want {
		if count[kind] == 0 {
			c.v.find(Untold, "%s: %s, but no outcome says %s", name, in.State, kind)
		}
	}
	for kind, n := range count {
		if n > 1 {
			c.v.find(Twice, "%s: %d outcomes %s", name, n, kind)
		}
		if !slices.Contains(want, kind) && (kind != "doubt" || in.State != consumer.Ended) {
			c.v.find(Untold, "%s: %s, but an outcome says %s", name, in.State, kind)
		}
	}
}

// strangers looks for what belongs to no event of the round.
func (c *checker) strangers() {
	known := make(map[string]bool)
	for _, ev := range c.Events {
		known[ev.Key] = true
	}
	for _, key := range c.Maybe {
		known[key] = true
		if made := c.Made[key] + c.Past[key]; made > 1 {
			c.v.find(Doubled, "%s, whose publisher was interrupted: %d conversations", key, made)
		}
	}
	for _, l := range c.Proof {
		switch {
		case l.Event != "made" || known[l.Intent]:
		case c.Past[l.Intent] > 0:
			c.v.find(Doubled, "%s of an earlier round was called again", l.Intent)
		default:
			c.v.find(Stranger, "conversation %s for %q, which is no event's", l.ID, l.Intent)
		}
	}
	for key, all := range c.told {
		if !known[key] {
			c.v.find(Twice, "%d outcomes of %s, which is no event of this round", len(all), key)
		}
	}
}

// limit finds the most conversations that a channel had at once. One that ends
// at the moment at which another begins has made room for it.
func (c *checker) limit(l Limit) {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, line := range c.Proof {
		if line.Provider != l.Provider || line.Channel != l.Channel {
			continue
		}
		changes = append(changes, change{line.At, map[string]int{"made": 1, "ended": -1}[line.Event]})
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	live, most, when := 0, 0, time.Time{}
	for _, ch := range changes {
		if live += ch.by; live > most {
			most, when = live, ch.at
		}
	}
	if most > l.Most {
		c.v.find(Over, "%s %s: %d conversations at once at %s, the limit is %d", l.Provider, l.Channel, most, when.Format(time.RFC3339Nano), l.Most)
	}
}
