package consumer

import (
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// An event is sent neither before its notbefore nor after its end: its own
// expirytime, or what its lane calls fresh, whichever is first. Both are asked
// where contact rules are (see judge), each time the event comes and last before
// its first byte. One that is over is expired: a decision, so the ledger comes
// first, by compare-and-set against the claim, then the outcome, then the
// acknowledgement (H8); a crash between any two leaves the message, which meets
// the state and repeats the rest. A doubt is none that is over: it was sent,
// perhaps. It is not sent again, and a person has to look.
//
// Fresh counts from when the event was published, by the broker's clock and not by
// the event's own time, which may be that of an old list. The entry remembers it,
// because the message that comes back from a wait is a younger one.

// causeNotBefore is the cause of a wait for an event's notbefore.
const causeNotBefore = "notbefore"

// notBeforeReason begins what is said of it.
const notBeforeReason = "not before "

// contactExpired is the verdict on an event that is over.
const contactExpired Ruled = -1

// lifetime is when an event may be sent.
type lifetime struct {
	schema.Lifetime           // by its own word
	born            time.Time // since when it counts as published; zero: not known
	until           time.Time // from then on it is over; zero: never

	fresh time.Duration // until is so long after it was published or could be sent; 0: it is the event's own expirytime
}

// why says to a person why it is over.
func (l lifetime) why() string {
	if l.fresh == 0 {
		return "The event expired at " + instant(l.until) + ", its expirytime."
	}
	return fmt.Sprintf("The event expired at %s: its lane sends nothing that has waited for longer than %v.", instant(l.until), l.fresh)
}

// lifetime returns when an event may be sent. The error is the refusal of one that
// cannot tell.
func (ln *lane) lifetime(ev event.Event, in Intent, o Origin, replay *Replay) (lifetime, error) {
	told, err := schema.LifetimeOf(ev)
	life := lifetime{Lifetime: told, born: published(in, o, replay), until: told.Expires}
	if err != nil {
		return lifetime{born: life.born}, err
	}
	if ln.cfg.Fresh == 0 || life.born.IsZero() {
		return life, nil
	}
	if end := later(life.born, told.NotBefore).Add(ln.cfg.Fresh); life.until.IsZero() || end.Before(life.until) {
		life.until, life.fresh = end, ln.cfg.Fresh
	}
	return life, nil
}

// published returns since when an event counts as published. A person's order
// counts from when it was given: whoever gave it saw how old the event is.
func published(in Intent, o Origin, replay *Replay) time.Time {
	switch {
	case replay != nil && replay.Expect == in.N:
		return o.given()
	case !in.Born.IsZero():
		return in.Born
	case o.Intent != "" && !in.First.IsZero(): // its own message is gone, and an older version wrote the entry
		return in.First
	default:
		return o.Published
	}
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// alive rules on an event by its lifetime alone. It is sent while it is time by
// this host's clock and by the broker's. While the clocks differ (H25) an event
// that names a time itself waits, and so does one that is over by either of them:
// unsure says why.
func (ln *lane) alive(l lifetime) (ruling Ruling, unsure error) {
	now := time.Now()
	first, last := now.Round(0), now.Round(0)
	if theirs, ok := ln.e.cfg.Clock.broker(now); ok {
		first, last = earlier(first, theirs), later(last, theirs)
	}
	over := !l.until.IsZero() && !last.Before(l.until)
	if err := ln.distrust(); err != nil && (over || l.Lifetime != schema.Lifetime{}) {
		return Ruling{}, fmt.Errorf("%w, so nobody can tell whether an event may be sent yet, or still; set the clocks right", err)
	}
	switch {
	case over:
		return Ruling{Verdict: contactExpired, Reason: l.why()}, nil
	case !l.until.IsZero() && !l.NotBefore.Before(l.until):
		return Ruling{Verdict: contactExpired, Reason: "The event expires at " + instant(l.until) + " and must not be sent before " + instant(l.NotBefore) + "."}, nil
	case first.Before(l.NotBefore):
		return Ruling{Verdict: ContactLater, Until: l.NotBefore, Reason: notBeforeReason + instant(l.NotBefore) + ", as the event says", cause: causeNotBefore}, nil
	default:
		return Ruling{Verdict: ContactNow}, nil
	}
}

// within is a rule's ruling on an event: one that would wait until it is over need
// not wait.
func (l lifetime) within(r Ruling) Ruling {
	if r.Verdict != ContactLater || l.until.IsZero() || r.Until.Before(l.until) {
		return r
	}
	return Ruling{Verdict: contactExpired, Reason: fmt.Sprintf(
		"Its person may not be contacted before %s (%s), and by then the event is over. %s", instant(r.Until), r.Reason, l.why())}
}
