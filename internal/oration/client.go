package oration

import (
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema"
)

// Client is one account at Oration. Its methods may be called concurrently.
type Client struct {
	lg      zerolog.Logger
	wire    *wire.Client
	fullOn  func() []*regexp.Regexp // compiled when the first request is made: an account may wait for ever
	refused []int
}

var (
	_ consumer.Provider  = (*Client)(nil)
	_ consumer.Previewer = (*Client)(nil)
)

// Config says which account, and how its answers read. URL and one of the two
// ways to log in are required.
type Config struct {
	// URL is the base of the API with its version, such as
	// https://www.oration.ai/api/v2. It is https, or http on loopback.
	URL string

	// APIKey and WorkspaceID together, or Bearer alone. PublicKey is sent
	// besides if it is set.
	APIKey, WorkspaceID, Bearer, PublicKey schema.Secret

	// Timeout bounds a whole create request, from the dial to the last byte of
	// the answer. Default 15 s.
	Timeout time.Duration

	// FullWhen are regular expressions, matched without regard to case, for item
	// errors that mean that no slot is free. Default [DefaultFullWhen].
	FullWhen []string

	// RefusedStatuses are statuses of which the operator vouches that nothing
	// was created. Default none.
	RefusedStatuses []int

	// RootCAs verifies the provider's certificate. Default: the system's.
	RootCAs *x509.CertPool
}

// DefaultFullWhen returns the patterns of a [Config] that names none.
func DefaultFullWhen() []string {
	return []string{"concurren", "capacity", "slot", "limit", "busy", "too many"}
}

// New returns a client. Its error joins every problem of cfg, each with the name
// of the setting as weir.yaml has it.
func New(lg zerolog.Logger, cfg Config) (*Client, error) {
	c := &Client{lg: lg, refused: slices.Clone(cfg.RefusedStatuses)}
	var wireErr, fullErr error
	c.wire, wireErr = wire.New(wire.Config{
		URL: cfg.URL, Timeout: cfg.Timeout, RootCAs: cfg.RootCAs,
		Credentials: []wire.Credential{
			{Setting: "auth.api_key", Header: "X-Api-Key", Value: cfg.APIKey},
			{Setting: "auth.workspace_id", Header: "X-Workspace-Id", Value: cfg.WorkspaceID},
			{Setting: "auth.bearer", Header: "Authorization", Prefix: "Bearer ", Value: cfg.Bearer},
			{Setting: "auth.public_key", Header: "X-Public-Key", Value: cfg.PublicKey},
		},
	})
	c.fullOn, fullErr = fullWhen(cfg.FullWhen)
	if err := errors.Join(wireErr, cfg.login(), fullErr, wire.CheckRefused(cfg.RefusedStatuses)); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the idle connections. Requests that are under way are not touched.
func (c *Client) Close() { c.wire.Close() }

// login checks that one way to log in is given, and one alone.
func (cfg Config) login() error {
	pair := cfg.APIKey != "" || cfg.WorkspaceID != ""
	switch {
	case pair && cfg.Bearer != "":
		return errors.New("auth: give api_key and workspace_id, or bearer, not both")
	case !pair && cfg.Bearer == "":
		return errors.New("auth: give api_key and workspace_id, or bearer")
	case pair && cfg.APIKey == "":
		return errors.New("auth.api_key: is missing beside workspace_id")
	case pair && cfg.WorkspaceID == "":
		return errors.New("auth.workspace_id: is missing beside api_key")
	}
	return nil
}

// defaultFull are the patterns of all who name none.
var defaultFull = sync.OnceValue(func() []*regexp.Regexp {
	patterns, err := compile(DefaultFullWhen())
	if err != nil {
		panic("oration: the default of full_when: " + err.Error())
	}
	return patterns
})

// fullWhen checks the patterns of full_when, and returns what compiles them once.
func fullWhen(patterns []string) (func() []*regexp.Regexp, error) {
	if len(patterns) == 0 {
		return defaultFull, nil
	}
	if _, err := compile(patterns); err != nil {
		return nil, err
	}
	patterns = slices.Clone(patterns)
	return sync.OnceValue(func() []*regexp.Regexp {
		compiled, _ := compile(patterns) // it was checked
		return compiled
	}), nil
}

// compile returns the patterns, or what is wrong with them.
func compile(patterns []string) ([]*regexp.Regexp, error) {
	var problems []error
	out := make([]*regexp.Regexp, 0, len(patterns))
	for i, p := range patterns {
		re, err := regexp.Compile("(?i:" + p + ")")
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("full_when[%d]: %w", i, err))
		case re.MatchString(""):
			problems = append(problems, fmt.Errorf("full_when[%d]: matches every text", i))
		default:
			out = append(out, re)
		}
	}
	return out, errors.Join(problems...)
}
