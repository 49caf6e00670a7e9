package consumer

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // what UUIDs of version 5 are made of
	"maps"
	"slices"
	"strconv"
	"strings"
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

	Born time.Time // when its event was published, or ordered to be sent again by a person; zero: not known

	Source, ID, Type string // of the event; Source and ID are empty if it had none
	Trace            string // the event's traceparent, if it had one: schema.Traceparent
	Digest           string // of type and data: schema.Digest
	Former           string // Digest before a person corrected the event

	// RedialOf and Redial say of a redial which event was called first, by its id, and
	// the how manyeth redial it is, from 1 on. Next is the redial that follows a
	// conversation which has ended, by its event's id; empty: none does.
	RedialOf string
	Redial   int
	Next     string
	NextAt   time.Time // when it may be sent at the earliest

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
	Print        string   // of the newest claim: of its Request.Pair, see printOf
	Conversation string   // the provider's id, once known
	Made         int      // the claim that made Conversation; 0: the newest
	Named        []Named  // what webhooks named and nothing confirmed, for a person; at most mostNamed
	Session      Session  // what came back with it; not kept beyond its end
	Others       []string // further conversations that evidence named: each one an alarm
	Class        string   // of a dead letter; of what was suppressed: ClassDryRun, schema.ClassContact or none
	Reason       string   // of the newest transition, for a person

	// Forgotten is when a person had all forgotten of its event but what counts; zero:
	// nobody has. What is empty for that stays so.
	Forgotten time.Time

	First   time.Time    // of the first transition
	History []Transition // the newest, at most HistoryLimit
}

// Named is a conversation that a webhook named as an intent's and that could not
// be taken for it.
type Named struct {
	Conversation string
	Why          string // it could not
	At           time.Time
}

// mostNamed is how many of them an intent remembers: a person reads them, and
// whoever knows the webhook's address can send any number.
const mostNamed = 4

// named adds what a webhook named, and reports whether that is new. It is no
// transition: what a person orders counts all the same.
func (in Intent) named(n Named) (Intent, bool) {
	same := func(o Named) bool { return sameID(o.Conversation, n.Conversation) }
	if in.State != Doubt && in.State != Dead || len(in.Named) >= mostNamed || slices.ContainsFunc(in.Named, same) {
		return in, false
	}
	in = in.clone()
	in.Named = append(in.Named, n)
	return in, true
}

// printOf is what the ledger keeps of a request's number and agent: enough to
// tell another number, far too little to find this one.
func printOf(key, pair string) string {
	if pair == "" {
		return ""
	}
	return derivedKey(key, "pair", pair)[:4]
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
	Cause  string // of a wait; empty where it is not known
	Reason string
}

// namespace makes intent keys Weir's own. It is in every ledger and must never
// change.
var namespace = uuid.MustParse("5f2f6e0e-5f3a-5d0b-9c53-1d8a2f8e7b11")

// Key returns the intent's key for the event with this source and id in lane:
// the same event has the same key for ever.
func Key(lane, source, id string) string {
	return derivedKey(lane, source, id)
}

// PlaceKey returns the intent's key for an event that cannot be read, in lane: it
// is made of the event's place in its stream.
func PlaceKey(lane string, o Origin) string {
	return Key(lane, "stream:"+o.Stream+"@"+strconv.FormatInt(o.StreamAge.UnixNano(), 10), strconv.FormatUint(o.Sequence, 10))
}

// derivedKey returns the UUID of version 5 that lines have as a name in Weir's
// namespace. If the first one is an intent's key it belongs to that, such as an
// outcome's id. It is uuid.NewSHA1, but for what that allocates.
func derivedKey(lines ...string) string {
	var room [256]byte
	b := append(room[:0], namespace[:]...)
	for i, line := range lines {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, line...)
	}
	sum := sha1.Sum(b) //nolint:gosec // it keeps no secret
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0F|0x50, id[8]&0x3F|0x80
	return id.String()
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

// sameID reports whether two ids name one conversation: the case of letters, which
// a webhook may spell otherwise than the API, tells no two apart.
func sameID(a, b string) bool { return strings.EqualFold(a, b) }

// second reports whether an id is that of a further conversation of the intent.
func (in Intent) second(id string) bool {
	return slices.ContainsFunc(in.Others, func(other string) bool { return sameID(other, id) })
}

// made is the claim that made the intent's conversation.
func (in Intent) made() int { return cmp.Or(in.Made, in.Claims) }

// claimedAt is when a claim was made, as far as the history tells.
func (in Intent) claimedAt(claim int) time.Time {
	for _, t := range in.History {
		if t.State == Started && t.Claim == claim {
			return t.At
		}
	}
	return in.Claimed
}

// live returns the attempts of which a conversation may be live, with the time
// of each one's claim: the newest one while it is started or in doubt, the one
// that created, and each that came into doubt, whatever a person made of it.
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
	case Started, Doubt:
		attempts[in.Claims] = in.Claimed
	case Created:
		attempts[in.made()] = in.claimedAt(in.made())
	case Ended:
		delete(attempts, in.made())
	}
	return attempts
}

// clone returns a copy that shares nothing with in.
func (in Intent) clone() Intent {
	in.History = slices.Clone(in.History)
	in.Others = slices.Clone(in.Others)
	in.Named = slices.Clone(in.Named)
	in.Waits = maps.Clone(in.Waits)
	return in
}
