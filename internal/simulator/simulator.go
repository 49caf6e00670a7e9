// Package simulator is the voice-AI providers on loopback, faithful where their
// documents speak and nasty where they are silent. It is what Weir is proved
// against: it holds the truth of which conversations were made, whatever it
// answered. Oration's API is under /api/v2, Anyreach's under /core; everything
// is kept in memory until the process ends.
//
// # Conversations and slots
//
// A conversation takes a slot when it is made and frees it when its time is
// over. Slots are counted and taken under one lock, so never more than the
// limit are taken, and a request finds every slot that is free at that moment.
//
// A call's length is drawn when it is made: 45 % stay unanswered (about 25 s),
// 25 % are short (mean 60 s), 30 % long (mean 150 s), each bounded to between
// 1 s and 10 min, where the agent hangs up, and divided by Config.Scale. A
// conversation passes through its states by itself, as a function of the time
// since it began; no timer runs for it.
//
// Oration answers 429 where no slot is free, and nothing there is idempotent:
// the same request twice makes two conversations.
//
// # Anyreach
//
// A telephone call for which no slot is free is queued: its status stays
// triggered until its turn comes, at the very moment at which an earlier call
// ends. The slots are those of the organization, or fewer if the provider's
// other customers leave fewer. Text sessions have a limit of their own, if any;
// the other channels have none.
//
// A known id brings the old conversation, whatever else the request says. While
// a call is hidden (AnyreachConfig.VisibleAfter) its id is not known: a second
// request with it makes a second call, and its answer names the id asked for
// all the same. The second call has an id of its own, under which lookup and
// list show it; ClientID is the same in both.
//
// A list holds at most 100 conversations, 50 by default. Its times are coarse
// and its cursor is a time, so a page skips what shares the time of the last
// conversation on the page before. The filters direction, channel, status,
// user_id, agent_id, agent_version_id, agent_number, created_after,
// created_before and custom_metadata work; the other documented ones and all
// unknown ones are ignored.
//
// # Faults
//
// Each create request has a number, by order of arrival; so has each lookup and
// each list. Its faults, its latency and every choice left open by "mixed" are
// drawn from the seed and that number alone, the length of a call from the seed
// and the number of the conversation. So concurrency changes only which request
// has which number. Identifiers that the client does not choose are random: two
// runs never share one.
//
// # Webhooks
//
// Config.Webhooks names who hears of each conversation of Oration that is over,
// and how unreliably: late, twice, never, out of order, too early, under another
// id. What comes of one is drawn from the seed and the conversation's number.
//
// # The proof log
//
// Config.Log gets one line of JSON for each conversation made, before the
// first byte of the answer that names it, and one for its end:
//
//	{"v":1,"at":…,"event":"made","provider":"oration","channel":"telephony","id":…,
//	 "intent":…,"attempt":1,"number":"+14155550123","agent":…,"hidden":false,"fault":"shuffle"}
//
// and client_id, where the client chose one. A conversation that was asked for and
// not made, by a request that a fault or an outage struck, has a line too, with
// the event "refused", no id and the fault; there is none where the connection was
// reset before the request was read. An end is noticed at the next
// request or look, and by Serve four times a second; its line has the time at
// which it happened, and lines are in order of that time. "hidden" says that
// the answer, as it was planned, does not show the conversation whole; "fault"
// names what struck it, joined by "+". Numbers stand unmasked: they are made
// up, and comparing them is the proof. A crash of the process loses at most
// ends that nobody had looked at. Simulators may share a log that is safe for
// concurrent use, as a file is; each then has its own lines in order.
//
// # For operators
//
//	GET  /simulator/report         a Report as JSON; of several providers, an object with one for each
//	GET  /simulator/conversations  each Conversation as a line of JSON, one provider after the other
//	POST /simulator/outage         {"kind":"503","for":"30s"}; kind "none" ends it; "provider" strikes one alone
//	POST /simulator/webhook        {"conversation":…,"intent":…,"attempt":1}: a forged one, sent at once
//
// They are on the same listener as the providers, which is loopback always.
package simulator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// The providers, as Simulator.Provider and Conversation.Provider name them.
const (
	ProviderOration  = "oration"
	ProviderAnyreach = "anyreach"
)

// Simulator is one simulated provider. Its methods may be called concurrently.
type Simulator struct {
	lg      zerolog.Logger
	manner  manner
	api     api
	account *account
	tally   *tally
	outage  outage
	courier *courier // nil: no webhooks
}

// api is what one provider answers over a simulator's account.
type api interface {
	routes(mux *http.ServeMux)
	// failure returns an error in the provider's form.
	failure(status int, text string) answer
	// asked returns the conversations that the body of a create request asks
	// for, without those that are refused for what they are.
	asked(body []byte) []Conversation
}

// New returns a simulator of Oration without a conversation. The error joins
// every problem of the configuration.
func New(lg zerolog.Logger, cfg Config) (*Simulator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("simulator configuration: %w", err)
	}
	s := newSimulator(lg, ProviderOration, cfg.Limit, cfg.manner())
	s.api = &oration{sim: s, cfg: cfg}
	s.courier = newCourier(s, cfg.Webhooks)
	return s, nil
}

// NewAnyreach returns a simulator of Anyreach without a conversation. The error
// joins every problem of the configuration.
func NewAnyreach(lg zerolog.Logger, cfg AnyreachConfig) (*Simulator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("simulator configuration: %w", err)
	}
	s := newSimulator(lg, ProviderAnyreach, cfg.Limit, cfg.manner())
	s.account.slots.capacity = cfg.capacity()
	s.account.texts.capacity = cfg.texts()
	s.api = &anyreach{sim: s, cfg: cfg}
	return s, nil
}

// newSimulator returns a simulator that lacks its API.
func newSimulator(lg zerolog.Logger, provider string, limit int, m manner) *Simulator {
	return &Simulator{
		lg:      lg,
		manner:  m,
		account: newAccount(provider, limit, dealer{seed: m.seed, scale: m.scale}, &proof{lg: lg, out: m.log}),
		tally:   newTally(),
	}
}

// Provider returns which provider is simulated.
func (s *Simulator) Provider() string {
	return s.account.provider
}

// Handler returns the provider's API and the operator's routes, for a server
// of the caller's. A fault that breaks a connection needs a real one.
func (s *Simulator) Handler() http.Handler {
	return s.alone().Handler()
}

// Serve answers on a listener until ctx ends, as Group.Serve does.
func (s *Simulator) Serve(ctx context.Context, ln net.Listener) error {
	return s.alone().Serve(ctx, ln)
}

// alone returns the group of this simulator.
func (s *Simulator) alone() *Group {
	return &Group{sims: []*Simulator{s}}
}

// MaxCall returns how long a call can last at most, at this scale; what it
// waits for its turn comes on top.
func (s *Simulator) MaxCall() time.Duration {
	return s.account.dealer.scaled(longest)
}

// Report is what happened so far. Slots are those of calls.
type Report struct {
	Conversations int `json:"conversations"` // made
	Live          int `json:"live"`          // slots taken now
	Highest       int `json:"highest"`       // most that were ever taken at once
	Limit         int `json:"limit"`

	Queued      int `json:"queued"`                // calls that wait for a slot
	QueuedMost  int `json:"queued_most"`           // most that ever waited: 0 says that the limit was kept
	TextHighest int `json:"text_highest,omitzero"` // most text sessions that were ever open at once, where they have no slot

	Requests map[string]int `json:"requests"` // by kind: create, lookup, list, other
	Full     int            `json:"full"`     // answers with status 429
	Faults   map[string]int `json:"faults"`   // that struck, by name; "outage_…" for requests in an outage
	Doubled  map[string]int `json:"doubled"`  // conversations of each intent that has more than one

	Webhooks map[string]int `json:"webhooks,omitempty"` // sent, taken, given_up; and the conversations whose are never, late, twice, early, disorder

	Outage   string `json:"outage,omitzero"`    // its kind, while one lasts
	LogError string `json:"log_error,omitzero"` // the first line that could not be written: the proof has a gap
}

// Report returns what happened so far.
func (s *Simulator) Report() Report {
	var r Report
	s.account.do(func(time.Time) {
		r = s.account.report()
	})
	s.tally.report(&r)
	s.courier.report(&r)
	r.Outage, _, _ = s.outage.current(time.Now())
	r.LogError = s.account.proof.failure()
	return r
}

// Conversation is one that was made, whether or not its answer said so.
type Conversation struct {
	Provider string    `json:"provider"`
	Channel  string    `json:"channel"` // Oration's conversationType
	ID       string    `json:"id"`
	ClientID string    `json:"client_id,omitzero"` // that the client chose
	Intent   string    `json:"intent"`             // weir_intent of its variables or metadata
	Attempt  int       `json:"attempt"`            // weir_attempt
	Number   string    `json:"number"`
	Agent    string    `json:"agent"`
	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"` // later than created by what it waited for a slot; zero while it waits
	Ends     time.Time `json:"ends,omitzero"`    // known when it starts
	Ended    bool      `json:"ended"`
	Hidden   bool      `json:"hidden"` // the answer does not show it whole
	Fault    string    `json:"fault"`  // what struck it, joined by "+"
}

// Conversations returns every conversation, in the order of making.
func (s *Simulator) Conversations() []Conversation {
	var all []Conversation
	s.account.do(func(time.Time) {
		all = make([]Conversation, len(s.account.calls))
		for i, c := range s.account.calls {
			all[i] = c.Conversation
			all[i].Created = c.Created.Round(0).UTC()
			all[i].Started = c.Started.Round(0).UTC()
			all[i].Ends = c.Ends.Round(0).UTC()
		}
	})
	return all
}
