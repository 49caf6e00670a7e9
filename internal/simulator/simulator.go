// Package simulator is a voice-AI provider on loopback, faithful where its
// documents speak and nasty where they are silent. It is what Weir is proved
// against: it holds the truth of which conversations were made, whatever it
// answered. Oration's API is under /api/v2; everything is kept in memory until
// the process ends.
//
// # Conversations and slots
//
// A conversation takes a slot when it is made and frees it when its time is
// over. Slots are counted and taken under one lock, so never more than
// Config.Limit conversations are live, and a request finds every slot that is
// free at that moment. Nothing is idempotent: the same request twice makes two
// conversations.
//
// A call's length is drawn when it is made: 45 % stay unanswered (about 25 s),
// 25 % are short (mean 60 s), 30 % long (mean 150 s), each bounded to between
// 1 s and 10 min, where the agent hangs up, and divided by Config.Scale. A
// conversation passes from created over dialing and active to completed by
// itself, as a function of the time since it was made; no timer runs for it.
//
// # Faults
//
// Each create request has a number, by order of arrival; so has each lookup.
// Its faults, its latency and every choice left open by "mixed" are drawn from
// Config.Seed and that number alone, the length of a call from the seed and
// the number of the conversation. So concurrency changes only which request
// has which number. Identifiers are random: two runs never share one.
//
// # The proof log
//
// Config.Log gets one line of JSON for each conversation made, before the
// first byte of the answer that names it, and one for its end:
//
//	{"v":1,"at":…,"event":"made","provider":"oration","id":…,"intent":…,"attempt":1,
//	 "number":"+14155550123","agent":…,"hidden":false,"fault":"shuffle"}
//
// An end is noticed at the next request or look, and by Serve four times a
// second; its line has the time at which it happened, and lines are in order
// of that time. "hidden" says that the answer, as it was planned, does not
// show the conversation whole; "fault" names what struck it, joined by "+".
// Numbers stand unmasked: they are made up, and comparing them is the proof.
// A crash of the process loses at most ends that nobody had looked at.
//
// # For operators
//
//	GET  /simulator/report         a Report as JSON
//	GET  /simulator/conversations  each Conversation as a line of JSON
//	POST /simulator/outage         {"kind":"503","for":"30s"}; kind "none" ends it
//
// They are on the same listener as the provider, which is loopback always.
package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// Config is what the simulated provider is like. Zero fields get the defaults
// named.
type Config struct {
	Limit int     // slots of the workspace; default 20
	Scale float64 // how many times faster calls run, 0.001 to 1,000,000; default 1, real lengths
	Seed  uint64  // of faults and lengths

	Shape    string // of create answers: ShapeWrapped (default), ShapeFlat or Mixed
	Overflow string // answer to more items than free slots: OverflowWhole (default), OverflowPartial, OverflowMulti or Mixed
	Headers  string // HeadersXRateLimit (default), HeadersIETF or HeadersNone
	Success  int    // status of a create that met no limit, a 2xx that has a body; default 200

	RetryAfter time.Duration // on each 429, in whole seconds, rounded up; 0: absent; never scaled
	Latency    time.Duration // mean of each answer, half before it takes effect and half after; default 5 ms; never scaled

	Auth      Auth
	DNDSuffix string // numbers that end so are do-not-disturb; empty: none
	Faults    Faults
	Log       io.Writer // the proof log; nil: memory only
}

// The values of Config.Shape, Config.Overflow and Config.Headers.
const (
	Mixed = "mixed" // each request draws one of the others

	ShapeWrapped = "wrapped" // results hold {"conversation":…,"tokenResponse":…} and echo no variables
	ShapeFlat    = "flat"    // results hold id, status and the variables as a JSON string

	OverflowWhole   = "whole"   // 429, nothing made
	OverflowPartial = "partial" // 429 that names the conversations that fit, and errors for the others
	OverflowMulti   = "multi"   // 207 or 2xx with results and errors; 429 with errors if none fits

	HeadersXRateLimit = "x-ratelimit" // X-RateLimit-Limit and -Remaining, on 2xx and 429
	HeadersIETF       = "ietf"        // RateLimit and RateLimit-Policy in concurrent requests, on 2xx and 429
	HeadersNone       = "none"
)

// Auth is which credentials are accepted. An empty value accepts anything but
// nothing.
type Auth struct {
	APIKey      string // x-api-key, good only together with WorkspaceID
	WorkspaceID string // x-workspace-id
	Bearer      string // Authorization: Bearer
	Require     string // RequireEither (default): the pair or the bearer; RequireBoth
}

// The values of Auth.Require.
const (
	RequireEither = "either"
	RequireBoth   = "both"
)

// withDefaults returns the configuration with zero fields filled in.
func (c Config) withDefaults() Config {
	c.Limit = cmp.Or(c.Limit, 20)
	c.Scale = cmp.Or(c.Scale, 1)
	c.Shape = cmp.Or(c.Shape, ShapeWrapped)
	c.Overflow = cmp.Or(c.Overflow, OverflowWhole)
	c.Headers = cmp.Or(c.Headers, HeadersXRateLimit)
	c.Success = cmp.Or(c.Success, http.StatusOK)
	c.Latency = cmp.Or(c.Latency, 5*time.Millisecond)
	c.Auth.Require = cmp.Or(c.Auth.Require, RequireEither)
	c.Faults.HangFor = cmp.Or(c.Faults.HangFor, 30*time.Second)
	c.Faults.SlowFor = cmp.Or(c.Faults.SlowFor, time.Second)
	return c
}

// validate joins every problem of a configuration that has its defaults.
func (c Config) validate() error {
	var errs []error
	problem := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(field, value string, allowed ...string) {
		problem(!slices.Contains(allowed, value), "%s: %q is none of %q", field, value, allowed)
	}
	problem(c.Limit < 0, "limit: %d is negative", c.Limit)
	problem(!(c.Scale >= 0.001 && c.Scale <= 1e6), "scale: %v is not between 0.001 and 1,000,000", c.Scale)
	oneOf("shape", c.Shape, ShapeWrapped, ShapeFlat, Mixed)
	oneOf("overflow", c.Overflow, OverflowWhole, OverflowPartial, OverflowMulti, Mixed)
	oneOf("headers", c.Headers, HeadersXRateLimit, HeadersIETF, HeadersNone)
	oneOf("auth.require", c.Auth.Require, RequireEither, RequireBoth)
	problem(c.Success < 200 || c.Success > 299 || c.Success == 204 || c.Success == 205,
		"success: %d is no 2xx status that has a body", c.Success)
	problem(c.RetryAfter < 0, "retry_after: %v is negative", c.RetryAfter)
	problem(c.Latency < 0, "latency: %v is negative", c.Latency)
	return errors.Join(append(errs, c.Faults.validate())...)
}

// Simulator is one simulated provider. Its methods may be called concurrently.
type Simulator struct {
	lg      zerolog.Logger
	cfg     Config
	account *account
	tally   *tally
	outage  outage
}

// New returns a simulator without a conversation. The error joins every
// problem of the configuration.
func New(lg zerolog.Logger, cfg Config) (*Simulator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("simulator configuration: %w", err)
	}
	proof := &proof{lg: lg, out: cfg.Log}
	return &Simulator{
		lg:      lg,
		cfg:     cfg,
		account: newAccount("oration", cfg.Limit, dealer{seed: cfg.Seed, scale: cfg.Scale}, proof),
		tally:   newTally(),
	}, nil
}

// Handler returns the provider's API and the operator's routes, for a server
// of the caller's. A fault that breaks a connection needs a real one.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	o := &oration{sim: s}
	mux.HandleFunc("POST /api/v2/conversations", o.create)
	mux.HandleFunc("GET /api/v2/conversations/{id}", o.lookup)
	mux.HandleFunc("/api/", o.unknown)
	mux.Handle("/simulator/", s.operator())
	return mux
}

// MaxCall returns how long a call can last at most, at this scale.
func (s *Simulator) MaxCall() time.Duration {
	return s.account.dealer.scaled(longest)
}

// Report is what happened so far.
type Report struct {
	Conversations int `json:"conversations"` // made
	Live          int `json:"live"`          // now
	Highest       int `json:"highest"`       // most that were ever live at once
	Limit         int `json:"limit"`

	Requests map[string]int `json:"requests"` // by kind: create, lookup, other
	Full     int            `json:"full"`     // answers with status 429
	Faults   map[string]int `json:"faults"`   // that struck, by name; "outage_…" for requests in an outage
	Doubled  map[string]int `json:"doubled"`  // conversations of each intent that has more than one

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
	r.Outage, _, _ = s.outage.current(time.Now())
	r.LogError = s.account.proof.failure()
	return r
}

// Conversation is one that was made, whether or not its answer said so.
type Conversation struct {
	ID      string    `json:"id"`
	Intent  string    `json:"intent"`  // weir_intent of its dynamic variables
	Attempt int       `json:"attempt"` // weir_attempt
	Number  string    `json:"number"`
	Agent   string    `json:"agent"`
	Created time.Time `json:"created"`
	Ends    time.Time `json:"ends"` // known from the start
	Ended   bool      `json:"ended"`
	Hidden  bool      `json:"hidden"` // the answer does not show it whole
	Fault   string    `json:"fault"`  // what struck it, joined by "+"
}

// Conversations returns every conversation, in the order of making.
func (s *Simulator) Conversations() []Conversation {
	var all []Conversation
	s.account.do(func(time.Time) {
		all = make([]Conversation, len(s.account.calls))
		for i, c := range s.account.calls {
			all[i] = c.Conversation
			all[i].Created = c.Created.Round(0).UTC()
			all[i].Ends = c.Ends.Round(0).UTC()
		}
	})
	return all
}
