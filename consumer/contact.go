package consumer

import (
	"time"

	"github.com/weirhq/weir/schema"
)

// Recipient is who a request contacts, as the provider's own request says it
// (H22). Contact rules read nothing else of a request.
type Recipient struct {
	Channel string // in the provider's word
	Number  string // that is called, in international form; empty: none
	Address string // that is mailed to; empty: none
	Field   string // of the provider's request that names number or address
}

// Contact is a lane's rules of who may be contacted, and when. It is pure: it asks
// nobody and has no clock. Its methods may be called concurrently.
type Contact interface {
	// Number returns the international form of a number that a route made for a
	// field, or why it cannot be called: a *schema.Refusal, or a *schema.Skip if a
	// rule says never to call it. An empty text is an empty number.
	Number(field, text string) (string, error)
	// Rule returns when a recipient may be contacted on behalf of an event: nil if
	// at any time. Its errors are those of Number.
	Rule(e *schema.Reading, to Recipient) (Rule, error)
}

// Rule says when one recipient may be contacted. It may be asked concurrently.
type Rule interface {
	// Judge rules on a time. The same intent waits until the same moment.
	Judge(intent string, now time.Time) Ruling
}

// Verdicts of a Rule.
const (
	ContactNow Ruled = iota + 1
	ContactLater
	ContactNever
)

// Ruled is what a Rule says of one time.
type Ruled int

// The names of contact rules, in records and metrics.
const (
	RuleConsent    = "consent"
	RuleNumber     = "number" // an emergency, short or premium-rate number
	RuleRegion     = "region"
	RuleWindow     = "window"
	RuleBlock      = "block"
	RuleOnce       = "once"
	RuleCoolDown   = "cool_down"
	RuleCaps       = "caps"
	RuleRedial     = "redial"     // somebody whom the lane calls again was spoken with
	RuleUnreadable = "unreadable" // nobody can tell what a record of the person says
)

// Rules lists the names of the contact rules, in the order of the constants.
func Rules() []string {
	return []string{
		RuleConsent, RuleNumber, RuleRegion, RuleWindow, RuleBlock, RuleOnce, RuleCoolDown, RuleCaps,
		RuleRedial, RuleUnreadable,
	}
}

// Ruling is the answer of a Rule.
type Ruling struct {
	Verdict Ruled
	Rule    string    // of a Rule or the Register: which one rules, by its name below
	Until   time.Time // ContactLater: when it may be
	Reason  string    // for a person; of ContactNow none

	cause string // of the wait; empty: causeWindow
}
