package consumer

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// State is where an intent stands. Created, Doubt and Dead are kept until
// evidence or a person moves them; Ended, Cancelled, Expired and Suppressed are
// final.
type State string

// The states of an intent. Absent is the zero State: no entry exists.
const (
	Absent     State = ""
	Waiting    State = "waiting"    // not sent, or certainly not accepted; will be tried
	Started    State = "started"    // claimed: a request may be on its way
	Created    State = "created"    // the conversation exists
	Ended      State = "ended"      // the conversation exists and is over
	Doubt      State = "doubt"      // a conversation may or may not exist
	Dead       State = "dead"       // will not be tried again by itself
	Cancelled  State = "cancelled"  // a person or publisher withdrew it
	Expired    State = "expired"    // its time passed before it was sent
	Suppressed State = "suppressed" // a rule of the lane says not to contact
)

// States lists every state, in the order of the constants.
func States() []State {
	return []State{Absent, Waiting, Started, Created, Ended, Doubt, Dead, Cancelled, Expired, Suppressed}
}

// Intent is the ledger's entry for one event in one lane: the decision to
// create one conversation, and what became of it.
type Intent struct {
	Lane  string
	Key   string // UUID; also the id sent to a provider that accepts one
	State State

	N        int            // transitions so far; a person's act names the N that they saw
	Claims   int            // permissions to send so far; the weir_attempt of the newest
	Attempts int            // claims that ended in doubt
	Waits    map[string]int // releases by cause: full, unsent, unauthorized, ...

	Nonce     string    // fresh with each claim: tells our own write from another's
	Claimed   time.Time // when the newest claim was made, by the claimer's clock
	NotBefore time.Time // not to be sent earlier; zero if free to go
	Later     bool      // waiting: its event is postponed, and no message is left in its stream
	Sequence  uint64    // of its event in the lane's stream; 0 if it came in another way

	Source, ID, Type string // of the event; Source and ID are empty if it had none
	Digest           string // of type and data: schema.Digest
	Former           string // Digest before a person corrected the event

	// Open, in doubt and in the claim that follows, says that the doubt is to be
	// settled without a person: by looking our id up and sending the same id
	// again. Else a doubt is parked.
	Open bool

	// Doubted says that a person had it sent again out of a doubt: what is said of
	// that request says nothing of the first one.
	Doubted bool

	// Foreign says of a doubt that our id names a conversation which is not the
	// one that was asked for: found under the id is no evidence.
	Foreign bool

	Channel      string   // of the newest claim: where the provider counts channels apart
	Conversation string   // the provider's id, once known
	Session      Session  // what came back with it; not kept beyond its end
	Others       []string // further conversations that evidence named: each one an alarm
	Class        string   // of a dead letter
	Reason       string   // of the newest transition, for a person

	First   time.Time    // of the first transition
	History []Transition // the newest, at most HistoryLimit
}

// HistoryLimit is how many transitions an intent remembers.
const HistoryLimit = 32

// Transition is one line of an intent's timeline.
type Transition struct {
	N      int
	State  State // that it led to
	Claim  int   // Claims after it
	At     time.Time
	By     string // the person, where a person decided
	Reason string
}

// namespace makes intent keys Weir's own. It is in every ledger and must never
// change.
var namespace = uuid.MustParse("5f2f6e0e-5f3a-5d0b-9c53-1d8a2f8e7b11")

// Key returns the intent's key for the event with this source and id in lane:
// the same event has the same key for ever.
func Key(lane, source, id string) string {
	return uuid.NewSHA1(namespace, []byte(lane+"\n"+source+"\n"+id)).String()
}

// derivedKey returns a key that belongs to an intent's key, such as an
// outcome's id.
func derivedKey(key string, parts ...string) string {
	b := []byte(key)
	for _, p := range parts {
		b = append(append(b, '\n'), p...)
	}
	return uuid.NewSHA1(namespace, b).String()
}

// Settled reports whether nothing more will happen to the intent by itself.
func (in Intent) Settled() bool {
	switch in.State {
	case Ended, Cancelled, Expired, Suppressed, Dead:
		return true
	case Doubt:
		return in.parked()
	default:
		return false
	}
}

// parked reports whether the intent is a doubt that waits for a person.
func (in Intent) parked() bool { return in.State == Doubt && !in.Open }

// live returns the attempts of which a conversation may be live, with the time
// of each one's claim: the newest one while it is started, created or in doubt,
// and each earlier one that came into doubt, whatever a person made of it.
func (in Intent) live() map[int]time.Time {
	attempts := make(map[int]time.Time)
	claimed := make(map[int]time.Time)
	for _, t := range in.History {
		switch t.State {
		case Started:
			claimed[t.Claim] = t.At
		case Doubt:
			attempts[t.Claim] = claimed[t.Claim]
		}
	}
	switch in.State {
	case Started, Created, Doubt:
		attempts[in.Claims] = in.Claimed
	case Ended:
		delete(attempts, in.Claims)
	}
	return attempts
}

// clone returns a copy that shares nothing with in.
func (in Intent) clone() Intent {
	in.History = slices.Clone(in.History)
	in.Others = slices.Clone(in.Others)
	in.Waits = maps.Clone(in.Waits)
	return in
}
