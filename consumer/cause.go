package consumer

import "strings"

// The causes for which events wait. Those of the first block stop a whole lane, and
// LaneStatus.Cause names the one that lasts longest; those of the second are one
// event's own. Each is a word for a metric's label: their number is bounded by this
// list.
const (
	CauseHeld         = "held"         // part of the state was lost
	CausePaused       = "paused"       // somebody, or a rule, stopped the lane
	CauseOwner        = "owner"        // this process may not send, or nobody owns the account
	CauseRoom         = "room"         // the streams have no room for what becomes of new events
	CauseUnauthorized = "unauthorized" // the provider refuses the credentials
	CauseBreaker      = "breaker"      // the provider does not answer well
	CauseClock        = "clock"        // the time of day cannot be relied on
	CausePacing       = "pacing"       // the provider asked to wait, or its rate is used up
	CauseUnexplained  = "unexplained"  // 429 although slots should be free
	CauseSlot         = "slot"         // no slot is free
	CauseBroker       = "broker"       // broker or ledger do not take something
	CauseQueue        = "queue"        // nothing: they are next
	CauseWindow       = causeWindow    // their person may not be contacted at this hour
	CauseNotBefore    = causeNotBefore // they say so themselves
	CausePerson       = "person"       // whether their person may be contacted is known soon
	CauseDoubt        = "doubt"        // what became of the last request is being looked up
	CauseRetry        = "retry"        // the last request was not taken, and is repeated soon
)

// Causes lists them.
func Causes() []string {
	return []string{
		CauseHeld, CausePaused, CauseOwner, CauseRoom, CauseUnauthorized, CauseBreaker, CauseClock, CausePacing,
		CauseUnexplained, CauseSlot, CauseBroker, CauseQueue, CauseWindow, CauseNotBefore, CausePerson, CauseDoubt, CauseRetry,
	}
}

// obstacle is the cause that a limiter's word on itself belongs to.
func obstacle(why string) string {
	switch why {
	case "slots", "full":
		return CauseSlot
	case "unexplained 429":
		return CauseUnexplained
	default:
		return CausePacing
	}
}

// causeOf is why a waiting intent waits. Entries of an older version say how often each
// cause came, and not which was the newest.
func causeOf(in Intent) string {
	newest := ""
	if n := len(in.History); n > 0 {
		newest = in.History[n-1].Cause
	}
	switch {
	case newest == causeWindow, newest == causeNotBefore:
		return newest
	case newest == "full":
		return CausePacing
	case newest != "":
		return CauseRetry
	case in.Waits[causeNotBefore] > 0 && strings.HasPrefix(in.Reason, notBeforeReason):
		return CauseNotBefore
	case in.Waits[causeWindow] > 0:
		return CauseWindow
	case in.Waits["full"] > 0:
		return CausePacing
	default:
		return CauseRetry
	}
}

// causeOfVerdict is why an event waits of which the provider's answer made nothing.
func causeOfVerdict(v Verdict, in Intent) string {
	switch {
	case v == VerdictFull && in.NotBefore.IsZero():
		return CauseSlot
	case v == VerdictFull:
		return CausePacing
	case v == VerdictUnauthorized:
		return CauseUnauthorized
	default:
		return CauseRetry
	}
}
