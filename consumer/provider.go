package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/weirhq/weir/schema"
)

// Provider is the client of one account at a voice-AI provider. It translates;
// the engine decides. Its methods may be called concurrently.
type Provider interface {
	// Prepare checks the request that a route made (a JSON object as Go values)
	// and returns it ready to send. A request that this provider cannot take is
	// a *schema.Refusal of class schema.ClassRequest that names the field.
	Prepare(request map[string]any) (Request, error)

	// Create sends one HTTP request that asks for a conversation per item, and
	// says of each item what the answer means. It never sends twice. Once the
	// first byte is out it ignores ctx's cancellation and ends by its own
	// time-out.
	Create(ctx context.Context, b Batch) Answer

	// Conversation asks for one conversation. ErrNotFound and ErrUnauthorized
	// are answers; every other error means that nothing was learned.
	Conversation(ctx context.Context, id string) (Conversation, error)
}

// Dialer is a Provider that calls numbers.
type Dialer interface {
	// Dials returns the field of a route's request that has the number to call;
	// empty if none is called. Contact rules write the number there as they would
	// have it, before Prepare.
	Dials(request map[string]any) (field string)
}

// Lister is a Provider that can be asked for many conversations at once.
type Lister interface {
	// Conversations returns those made at or after since, as far as one look
	// shows them: what is not there may exist all the same. An error comes with
	// what was seen before it. What a row tells of an end is the provider's word as
	// much as Conversation's is, but may be less of it.
	Conversations(ctx context.Context, since time.Time) ([]Conversation, error)
}

// Previewer is a Provider that shows what Create would send.
type Previewer interface {
	// Preview returns the request that Create would make of a batch of these items:
	// the same but for the credentials. It sends nothing.
	Preview(items []Item) (Preview, error)
}

// Preview is an HTTP request that was not sent.
type Preview struct {
	Method string
	URL    string
	Header map[string][]string // with *** in place of each credential
	Body   []byte
}

// Listener is a Provider that tells of conversations by webhook.
type Listener interface {
	// Hook reads the body of one webhook; header is that of its request. What is
	// none of the provider's webhooks is an error; one that tells nothing of a
	// conversation has no reports.
	Hook(body []byte, header map[string][]string) ([]Report, error)
}

// Report is what a webhook says of one conversation. Whoever knows the address
// can send it, so that all of it is a reason to look and none of it is believed
// (H13).
type Report struct {
	Conversation string `json:"conversation,omitempty"` // in the webhook's spelling, which the API may not know; empty if it names none
	Intent       string `json:"intent,omitempty"`       // echoed weir_intent; empty if not echoed
	Attempt      int    `json:"attempt,omitempty"`      // echoed weir_attempt; 0 if not echoed
	Ended        bool   `json:"ended,omitempty"`
}

// Errors of Provider.Conversation.
var (
	ErrNotFound     = errors.New("the provider knows no such conversation")
	ErrUnauthorized = errors.New("the provider refused the credentials")
)

// Request is a checked request for one conversation.
type Request struct {
	// Pair is number and agent: what an answer that echoes nothing else can be
	// matched by. No two items of one batch may share it. Empty: no constraint.
	Pair string
	// Channel is what the conversation is held on, where the provider counts its
	// channels apart; empty: there is one count for all.
	Channel string
	// To is who is contacted, as Body says it.
	To Recipient
	// Body is the provider's own request type.
	Body any
}

// Item is one conversation asked for.
type Item struct {
	Intent  string // sent as weir_intent, and as the id to a provider that takes one
	Attempt int    // sent as weir_attempt; Intent.Claims
	Request Request
}

// Batch is the content of one create request.
type Batch struct {
	Items []Item

	// Free is how many slots were known to be free before this batch took its
	// own. An item error in a batch with more items than that is fullness.
	Free int

	// Permit is asked just before the request's first byte, above TLS, also on
	// a connection that was open already. An error means: send nothing; every
	// item is unsent.
	Permit func() error
}

// Verdict is what one answer means for one item.
type Verdict int

// The verdicts.
const (
	VerdictCreated      Verdict = iota + 1 // the answer names a conversation for the item
	VerdictFull                            // not created: no slot, or must go alone; waits
	VerdictUnsent                          // certainly not created: no byte was sent, or vouched for
	VerdictRejected                        // the item's own fault; not created
	VerdictUnauthorized                    // 401, 403
	VerdictDoubt                           // may have been created
)

// String returns the verdict's name in logs and metrics.
func (v Verdict) String() string {
	switch v {
	case VerdictCreated:
		return "created"
	case VerdictFull:
		return "full"
	case VerdictUnsent:
		return "unsent"
	case VerdictRejected:
		return "rejected"
	case VerdictUnauthorized:
		return "unauthorized"
	case VerdictDoubt:
		return "doubt"
	default:
		return "unknown"
	}
}

// Answer is what became of one create request.
type Answer struct {
	Results []Result            // one for each item, in the items' order
	Status  int                 // HTTP status; 0 if none was read
	Header  map[string][]string // of the answer; nil if none was read
	Began   time.Time           // before the request was begun
	Done    time.Time           // when the answer was complete, or given up
	Full    bool                // the answer says that the account has no free slot: 429, or an item error that means so

	// Stop, if not empty, tells why no request of this kind can succeed until a
	// person acts (a wrong URL): the lane pauses and shows it.
	Stop string
}

// Result is one item's part of an Answer.
type Result struct {
	Verdict      Verdict
	Conversation string // VerdictCreated: the provider's id
	Status       string // VerdictCreated: the provider's status word
	Reason       string // for a person; the provider's words, bounded, personal data masked
	Session      Session

	// Foreign reports, beside VerdictDoubt, that our id names a conversation
	// that differs from the one asked for: sending again would not help, a
	// person must look.
	Foreign bool

	// ItemError reports that a VerdictFull comes from an error entry for just
	// this item: a second one for the same event, with another event created in
	// between, is a rejection.
	ItemError bool
	// Alone reports that the item must be the only one of its next request,
	// because this answer could not be told apart.
	Alone bool
}

// Session is what a provider gives back with a new conversation, for whoever
// asked for it.
type Session struct {
	Greeting string // the agent's first words; bounded
	// Join is what a browser needs to take part (webrtc): the provider's own
	// members, as a JSON object. It is a credential.
	Join schema.Secret
}

// Conversation is a provider's word on one conversation.
type Conversation struct {
	ID      string
	Status  string // the provider's word
	Ended   bool
	Result  string // of an ended one: completed, unanswered, transferred, failed or cancelled
	Reason  string // the provider's end reason, if any
	Summary string // may hold personal data: for the outcome only, never logged
	Pair    string // as Request.Pair of one that asks for it; empty if not told

	Intent  string // echoed weir_intent; empty if not echoed
	Attempt int    // echoed weir_attempt; 0 if not echoed

	StartedAt, EndedAt time.Time           // zero if unknown
	Duration           time.Duration       // as the provider says; 0 if unknown
	Header             map[string][]string // of the answer: limit headers ride on GETs too
}
