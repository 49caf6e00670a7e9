package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Config is what a simulated Oration is like. Zero fields get the defaults
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
	Webhooks  Webhooks
	Log       io.Writer // the proof log; nil: memory only
}

// Mixed is the value of a setting of which each request draws one of the
// others.
const Mixed = "mixed"

// The values of Config.Shape, Config.Overflow and Config.Headers.
const (
	ShapeWrapped = "wrapped" // results hold {"conversation":…,"tokenResponse":…} and echo no variables
	ShapeFlat    = "flat"    // results hold id, status and the variables as a JSON string

	OverflowWhole   = "whole"   // 429, nothing made
	OverflowPartial = "partial" // 429 that names the conversations that fit, and errors for the others
	OverflowMulti   = "multi"   // 207 or 2xx with results and errors; 429 with errors if none fits

	HeadersXRateLimit = "x-ratelimit" // X-RateLimit-Limit and -Remaining, on 2xx and 429
	HeadersIETF       = "ietf"        // RateLimit and RateLimit-Policy in concurrent requests, on 2xx and 429
	HeadersNone       = "none"
)

// Auth is which credentials Oration accepts. An empty value accepts anything
// but nothing.
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
	c.Shape = cmp.Or(c.Shape, ShapeWrapped)
	c.Overflow = cmp.Or(c.Overflow, OverflowWhole)
	c.Headers = cmp.Or(c.Headers, HeadersXRateLimit)
	c.Success = cmp.Or(c.Success, http.StatusOK)
	c.Auth.Require = cmp.Or(c.Auth.Require, RequireEither)
	c.Webhooks = c.Webhooks.withDefaults()
	return c
}

// manner returns what both providers have in common.
func (c Config) manner() manner {
	return manner{
		scale: c.Scale, seed: c.Seed, retryAfter: c.RetryAfter, latency: c.Latency, faults: c.Faults, log: c.Log,
	}.withDefaults()
}

// validate joins every problem of a configuration that has its defaults.
func (c Config) validate() error {
	var p problems
	p.add(c.Limit < 0, "limit: %d is negative", c.Limit)
	p.oneOf("shape", c.Shape, ShapeWrapped, ShapeFlat, Mixed)
	p.oneOf("overflow", c.Overflow, OverflowWhole, OverflowPartial, OverflowMulti, Mixed)
	p.oneOf("headers", c.Headers, HeadersXRateLimit, HeadersIETF, HeadersNone)
	p.oneOf("auth.require", c.Auth.Require, RequireEither, RequireBoth)
	p.add(c.Success < 200 || c.Success > 299 || c.Success == 204 || c.Success == 205,
		"success: %d is no 2xx status that has a body", c.Success)
	return errors.Join(append(p, c.manner().validate(), c.Webhooks.validate())...)
}

// allows reports whether a request's credentials are good.
func (a Auth) allows(h http.Header) bool {
	bearer := accepts(bearerToken(h), a.Bearer)
	pair := accepts(h.Get("x-api-key"), a.APIKey) && accepts(h.Get("x-workspace-id"), a.WorkspaceID)
	if a.Require == RequireBoth {
		return bearer && pair
	}
	return bearer || pair
}

// accepts reports whether a credential is good: anything but nothing, if none
// is named as the right one.
func accepts(got, right string) bool {
	return got != "" && (right == "" || got == right)
}

// bearerToken returns the bearer token of a request, empty if it has none.
func bearerToken(h http.Header) string {
	token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// manner is what a simulator is like whichever provider it plays.
type manner struct {
	scale      float64
	seed       uint64
	retryAfter time.Duration
	latency    time.Duration
	faults     Faults
	log        io.Writer
}

// withDefaults returns the manner with zero fields filled in.
func (m manner) withDefaults() manner {
	m.scale = cmp.Or(m.scale, 1)
	m.latency = cmp.Or(m.latency, 5*time.Millisecond)
	m.faults.HangFor = cmp.Or(m.faults.HangFor, 30*time.Second)
	m.faults.SlowFor = cmp.Or(m.faults.SlowFor, time.Second)
	return m
}

// slowest returns how long an answer can be held back at most.
func (m manner) slowest() time.Duration {
	return m.faults.HangFor + m.faults.SlowFor + 2*m.latency
}

// validate joins every problem of a manner that has its defaults.
func (m manner) validate() error {
	var p problems
	p.add(!(m.scale >= 0.001 && m.scale <= 1e6), "scale: %v is not between 0.001 and 1,000,000", m.scale)
	p.add(m.retryAfter < 0, "retry_after: %v is negative", m.retryAfter)
	p.add(m.latency < 0, "latency: %v is negative", m.latency)
	return errors.Join(append(p, m.faults.validate())...)
}

// problems collects what is wrong with a configuration.
type problems []error

// add notes a problem, if it is one.
func (p *problems) add(bad bool, format string, args ...any) {
	if bad {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// oneOf notes a value that is none of those allowed.
func (p *problems) oneOf(field, value string, allowed ...string) {
	p.add(!slices.Contains(allowed, value), "%s: %q is none of %q", field, value, allowed)
}
