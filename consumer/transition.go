package consumer

import (
	"cmp"
	"slices"
	"time"
)

// StepKind names what happened, or what somebody decided.
type StepKind int

// The kinds of steps. Those of the first group belong to the claim that
// Step.Attempt names; those of the second are facts; those of the third are
// decisions. A named decision counts only while the entry still has the N that
// the person saw (Step.Expect).
const (
	StepRelease StepKind = iota + 1 // certainly not created: full, unsent, unauthorized
	StepReject                      // the provider refused this item
	StepDoubt                       // the answer is lost or says nothing of the item
	StepStale                       // the claimer is gone: its claim outlived every answer

	StepEvidence // a conversation of attempt Step.Attempt exists
	StepEnd      // the conversation is over

	StepClaim    // permission to send
	StepDefer    // not now: a rule of the lane says when
	StepResend   // permission to send the same id again, out of an open doubt
	StepPark     // an open doubt that cannot settle itself: a person must
	StepReplay   // named: send again, out of dead or doubt
	StepRefuse   // not sendable: dead before any claim
	StepSuppress // a rule of the lane
	StepExpire   // its time has passed
	StepCancel   // withdrawn before it was sent
	StepQuestion // state was lost: it may have been sent, and the ledger would not know
	StepSettle   // named: the doubt's conversation exists
	StepDrop     // named: the doubt or dead letter is over, nobody is called
	StepDecline  // named: the order to send again is not obeyed, all stays as it is
	StepForget   // named: nothing of its event is kept but what counts
)

// stepNames are the kinds' names in logs and metrics.
var stepNames = [...]string{
	StepRelease: "release", StepReject: "reject", StepDoubt: "doubt", StepStale: "stale",
	StepEvidence: "evidence", StepEnd: "end",
	StepClaim: "claim", StepDefer: "defer", StepResend: "resend", StepPark: "park", StepReplay: "replay",
	StepRefuse: "refuse", StepSuppress: "suppress", StepExpire: "expire", StepCancel: "cancel",
	StepQuestion: "question", StepSettle: "settle", StepDrop: "drop", StepDecline: "decline",
	StepForget: "forget",
}

// String returns the kind's name in logs and metrics.
func (k StepKind) String() string {
	if k <= 0 || int(k) >= len(stepNames) {
		return "unknown"
	}
	return stepNames[k]
}

// StepKinds lists every kind, in the order of the constants.
func StepKinds() []StepKind {
	kinds := make([]StepKind, 0, StepForget)
	for k := StepRelease; k <= StepForget; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Step is one input of the transition function. Which fields count depends on
// the kind.
type Step struct {
	Kind         StepKind
	Attempt      int       // the claim that a verdict or evidence speaks of
	Expect       int       // named decisions: the N that the person saw
	Nonce        string    // StepClaim, StepResend, StepReplay: fresh
	Channel      string    // the same: what the conversation is asked for on
	Print        string    // the same: Intent.Print of what is asked for
	Digest       string    // StepReplay: of the event that is sent
	Open         bool      // StepDoubt, StepStale, StepQuestion: it can be settled without a person
	Foreign      bool      // StepDoubt, StepPark: our id names another conversation
	Conversation string    // StepEvidence, StepSettle, StepEnd
	Session      Session   // StepEvidence
	NotBefore    time.Time // StepRelease, StepDefer
	Later        bool      // the same: the event will be postponed
	Sequence     uint64    // StepClaim, StepDefer, StepRefuse: where its event is to be found, if it comes from the lane's stream
	Born         time.Time // StepClaim, StepDefer: Intent.Born, if the entry does not say it yet; StepReplay: anew
	Next         string    // StepEnd: Intent.Next
	NextAt       time.Time // the same
	Class        string    // StepReject, StepRefuse: the dead letter's class; StepSuppress: ClassDryRun, schema.ClassContact or none; StepRelease, StepDefer: the cause of the wait
	Rule         string    // StepSuppress, StepDefer: the contact rule, for observers
	Reason       string
	By           string // named decisions: who
}

// Effect is what a step did to an intent.
type Effect int

// The effects. After Applied the new intent must be stored by compare-and-set
// before anything else is done. Absorbed: the intent says so already; the
// durable steps of its state may be repeated. Denied: the step does not apply
// here and changes nothing. Alarm: the new intent must be stored, and a second
// conversation exists that a person must hear of.
const (
	Denied Effect = iota
	Absorbed
	Applied
	Alarm
)

// Next is the only function that changes an intent. It is pure: the intent, the
// step and the time decide. The returned intent shares nothing with in.
func Next(in Intent, s Step, now time.Time) (Intent, Effect) {
	out, effect := next(in, s, now)
	if !in.Forgotten.IsZero() && (effect == Applied || effect == Alarm) {
		out = out.hushed()
	}
	return out, effect
}

// next is Next for an intent that was not forgotten.
func next(in Intent, s Step, now time.Time) (Intent, Effect) {
	if s.Kind == StepEvidence || s.Kind == StepSettle {
		return witness(in, s, now)
	}
	to, ok := target(in, s)
	if !ok {
		if s.Kind == StepEnd && in.State == Ended && sameID(in.Conversation, s.Conversation) {
			return in, Absorbed
		}
		if s.Kind == StepForget && erasable(in.State) && !in.Forgotten.IsZero() {
			return in, Absorbed
		}
		return in, Denied
	}
	out := in.clone()
	switch s.Kind {
	case StepClaim, StepResend, StepReplay:
		out.Claims++
		out.Nonce = s.Nonce
		out.Channel = s.Channel
		out.Print = s.Print
		out.Open = s.Kind == StepResend
		out.Foreign = false
		out.Doubted = in.Doubted || s.Kind == StepReplay && in.State == Doubt
		if s.Kind == StepReplay && s.Digest != "" && s.Digest != in.Digest {
			out.Digest, out.Former = s.Digest, in.Digest
		}
		out.Claimed = now
		out.NotBefore, out.Later = time.Time{}, false
		out.Class = ""
		out.Sequence = cmp.Or(s.Sequence, out.Sequence)
		out.Born = born(in, s)
	case StepRelease, StepDefer:
		out.Sequence = cmp.Or(s.Sequence, out.Sequence)
		out.Born = born(in, s)
		out.NotBefore = s.NotBefore
		out.Later = s.Later && to == Waiting
		if out.Waits == nil {
			out.Waits = make(map[string]int)
		}
		out.Waits[s.Class]++
	case StepDoubt, StepStale:
		out.Attempts++
		out.Open, out.Foreign = s.Open, s.Foreign
	case StepSuppress:
		out.Later, out.Class = false, s.Class
	case StepExpire, StepCancel:
		out.Later = false
	case StepReject, StepRefuse:
		out.Later = false
		out.Sequence = cmp.Or(s.Sequence, out.Sequence)
		if to == Doubt {
			out.Attempts++
		} else {
			out.Class = s.Class
		}
	case StepQuestion:
		out.Open = s.Open
		out.NotBefore, out.Later = time.Time{}, false
	case StepPark:
		out.Open, out.Foreign = false, s.Foreign
	case StepDrop:
		out.Open = false
	case StepEnd:
		out.Session = Session{}
		out.Next, out.NextAt = s.Next, s.NextAt
	case StepForget:
		out = out.forgotten(now)
	}
	return record(out, to, s, now), Applied
}

// born is since when an intent's event counts as published after a step.
func born(in Intent, s Step) time.Time {
	if s.Kind == StepReplay && !s.Born.IsZero() || in.Born.IsZero() {
		return s.Born
	}
	return in.Born
}

// target returns the state that a step other than evidence leads to. What the
// answer to a resent request says of that request says nothing of the first one:
// an open doubt stays one (H16).
func target(in Intent, s Step) (State, bool) {
	fresh := in.State == Absent || in.State == Waiting
	mine := in.State == Started && in.Claims == s.Attempt
	named := (in.State == Doubt || in.State == Dead) && in.N == s.Expect
	switch s.Kind {
	case StepRelease, StepReject:
		switch {
		case in.Open, in.Doubted && s.Kind == StepReject:
			return Doubt, mine
		case s.Kind == StepReject:
			return Dead, mine
		}
		return Waiting, mine
	case StepDoubt, StepStale:
		return Doubt, mine
	case StepEnd:
		return Ended, in.State == Created && sameID(in.Conversation, s.Conversation)
	case StepClaim:
		return Started, fresh
	case StepDefer:
		return Waiting, fresh
	case StepResend:
		return Started, in.State == Doubt && in.Open
	case StepPark:
		return Doubt, in.State == Doubt && in.Open
	case StepReplay:
		return Started, named
	case StepRefuse: // a replay that is refused again is dead again, with its reason
		return Dead, fresh || in.State == Dead && in.N == s.Expect
	case StepSuppress: // the same, where a rule forbids what a person ordered
		return Suppressed, fresh || in.State == Dead && in.N == s.Expect
	case StepExpire:
		return Expired, fresh
	case StepCancel:
		return Cancelled, fresh
	case StepQuestion:
		return Doubt, fresh
	case StepDrop:
		return Cancelled, named
	case StepDecline:
		return in.State, named
	case StepForget:
		return in.State, erasable(in.State) && in.Forgotten.IsZero() && in.N == s.Expect
	default:
		return in.State, false
	}
}

// witness applies positive evidence, which wins over every state but created
// and ended: an intent that was given up as dead is created all the same if its
// conversation turns up. Evidence of an older attempt while a newer one is
// being sent is a second conversation, never merged.
func witness(in Intent, s Step, now time.Time) (Intent, Effect) {
	switch in.State {
	case Absent:
		return in, Denied
	case Created, Ended:
		if sameID(s.Conversation, in.Conversation) || in.second(s.Conversation) {
			return in, Absorbed
		}
		if s.Kind == StepSettle {
			return in, Denied
		}
		return second(in, s, now)
	case Started:
		if s.Kind == StepSettle {
			return in, Denied
		}
		if s.Attempt != in.Claims {
			if in.second(s.Conversation) {
				return in, Absorbed
			}
			return second(in, s, now)
		}
	default:
		if s.Kind == StepSettle && (in.State != Doubt || in.N != s.Expect) {
			return in, Denied
		}
	}
	out := in.clone()
	out.Conversation, out.Made, out.Named = s.Conversation, s.Attempt, nil
	out.Session = s.Session
	out.Open, out.Foreign, out.Doubted = false, false, false
	out.NotBefore, out.Later = time.Time{}, false
	if out.Claimed.IsZero() { // the claim was lost: its end is asked for from now on
		out.Claimed = now
	}
	return record(out, Created, s, now), Applied
}

// second records a further conversation of the same intent.
func second(in Intent, s Step, now time.Time) (Intent, Effect) {
	out := in.clone()
	out.Others = append(out.Others, s.Conversation)
	s.Reason = "a second conversation exists: " + s.Conversation
	return record(out, in.State, s, now), Alarm
}

// record moves the intent to a state and writes the line of its timeline.
func record(out Intent, to State, s Step, now time.Time) Intent {
	out.State = to
	out.N++
	out.Reason = s.Reason
	if out.First.IsZero() {
		out.First = now
	}
	line := Transition{N: out.N, State: to, Claim: out.Claims, At: now, By: s.By, Reason: s.Reason}
	if to == Waiting {
		line.Cause = s.Class
	}
	out.History = append(out.History, line)
	if len(out.History) > HistoryLimit {
		i := forgettable(out.History)
		out.History = slices.Delete(out.History, i, i+1)
	}
	return out
}

// forgettable is the oldest line of a timeline that nobody needs any more. The
// claims that came into doubt are needed as long as possible: their
// conversations may be live (see live).
func forgettable(history []Transition) int {
	doubtful := make(map[int]bool)
	for _, t := range history {
		doubtful[t.Claim] = doubtful[t.Claim] || t.State == Doubt
	}
	return max(0, slices.IndexFunc(history, func(t Transition) bool {
		return !doubtful[t.Claim] || t.State != Doubt && t.State != Started
	}))
}
