// Package providertest is the contract of [consumer.Provider] as a test suite.
// The client of every provider passes [Run]; what differs between providers is
// a [Harness].
//
// # How it looks at a client
//
// The suite is the provider: a TCP server of its own that counts connections,
// bytes and requests above TLS and answers with raw bytes, so that it sees what
// a client does on the wire and not what its HTTP library reports. It uses
// loopback alone.
//
// # What holds everywhere
//
// Each request that the suite has a client make is held against these rules,
// whatever the test is about:
//
//   - an answer has one verdict for each item, in the items' order;
//   - created comes with the id that the provider gave to just this item;
//   - no item reaches the provider twice, and an unsent one never does;
//   - Began and Done are in order;
//   - no credential and no telephone number or e-mail address of a request is
//     in a reason, in Stop, in an error or in the log, nor is any of them long.
//
// The named subtests say what holds besides.
package providertest

import (
	"crypto/x509"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
)

// Client is a provider's client as the suite takes it.
type Client interface {
	consumer.Provider

	// Close ends the connections that are idle.
	Close()
}

// Config is how the suite wants a client.
type Config struct {
	URL             string // base of the API, http or https
	RootCAs         *x509.CertPool
	Timeout         time.Duration // of a create
	RefusedStatuses []int
	Log             zerolog.Logger
}

// Harness is what a provider has of its own. All fields are required but TakesID.
type Harness struct {
	// New returns a client that logs in with Secrets: eight characters or more,
	// random, so that a part of one is in no other text. One that holds quotes,
	// slashes and angle brackets finds the most.
	New     func(t *testing.T, cfg Config) Client
	Secrets []string

	// Requests are good requests, as a route makes them, for three different
	// people at least. One of them has a value within a value, if the provider
	// takes any. Their numbers and addresses stand in no text of the client's own,
	// such as an example in a refusal.
	Requests []map[string]any

	// Bad are requests that the client must refuse, by the field that the refusal
	// must name. Forged are such as set themselves what Weir sets: they are
	// refused, or Weir's values win.
	Bad    map[string]map[string]any
	Forged []map[string]any

	// Most is how many items one create may hold. TakesID: the provider keeps a
	// conversation under the intent as its id, so a 2xx that names none is one.
	Most    int
	TakesID bool

	// Sent reads the body of a create.
	Sent func(body []byte) []Sent

	// Created, Error and Conversation write the provider's bodies, all JSON: of a
	// create, of a request that was refused as a whole, and of a query. Words
	// stand where the provider has free text.
	Created      func(made []Made) string
	Error        func(words string) string
	Conversation func(id string, ended bool, words string) string

	private []string // what must not be shown of Requests: set by Run
}

// Sent is what a create says of one item.
type Sent struct {
	Intent  string
	Attempt int
	ID      string // if the provider takes one
}

// Made is a conversation that the provider made.
type Made struct {
	ID      string
	Intent  string
	Attempt int
	Request map[string]any // of Harness.Requests
}

// Run holds the client of a harness to the contract. It is called by a test that
// is not parallel: two of its subtests count what belongs to the whole process.
// The others are parallel.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h.check(t)
	h.private = h.personal()
	t.Run("close", h.testClose)
	t.Run("memory", h.testMemory)
	tests := map[string]func(*testing.T){
		"prepare":      h.testPrepare,
		"marks":        h.testMarks,
		"permit":       h.testPermit,
		"preview":      h.testPreview,
		"context":      h.testContext,
		"once":         h.testOnce,
		"unsent":       h.testUnsent,
		"doubt":        h.testDoubt,
		"timeout":      h.testTimeout,
		"verdict":      h.testVerdict,
		"group":        h.testGroup,
		"words":        h.testWords,
		"conversation": h.testConversation,
		"query":        h.testQuery,
		"connections":  h.testConnections,
		"concurrency":  h.testConcurrency,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tests[name](t)
		})
	}
}

// check refuses a harness that would leave a part of the contract untested.
func (h Harness) check(t *testing.T) {
	t.Helper()
	switch {
	case h.New == nil || h.Sent == nil || h.Created == nil || h.Error == nil || h.Conversation == nil:
		t.Fatal("the harness lacks a function")
	case len(h.Requests) < 3 || len(h.Bad) == 0 || len(h.Forged) == 0 || h.Most < 1:
		t.Fatal("the harness needs three Requests, a Bad one, a Forged one and Most")
	case len(h.Secrets) == 0 || slices.ContainsFunc(h.Secrets, func(s string) bool { return len(s) < part }):
		t.Fatalf("the harness needs Secrets of %d characters or more", part)
	}
}

// several is how many items the suite puts into a group.
func (h Harness) several() int { return min(h.Most, 3) }

// sizes are the numbers of items that a test of single and grouped items goes
// through.
func (h Harness) sizes() []int { return slices.Compact([]int{1, h.several()}) }
