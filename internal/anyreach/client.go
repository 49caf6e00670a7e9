package anyreach

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema"
)

// Client is one account at Anyreach. Its methods may be called concurrently.
type Client struct {
	lg        zerolog.Logger
	wire      *wire.Client
	anyNumber bool
	refused   []int
}

var (
	_ consumer.Provider  = (*Client)(nil)
	_ consumer.Lister    = (*Client)(nil)
	_ consumer.Previewer = (*Client)(nil)
)

// Config says which account. URL and Token are required.
type Config struct {
	// URL is the base of the API, such as https://api.anyreach.ai. It is https,
	// or http on loopback.
	URL string

	// Token is an organization's key (ak_…) or a person's token (pat_…), which
	// needs Organization: the id of the organization that it acts for.
	Token, Organization schema.Secret

	// Timeout bounds a whole create request, from the dial to the last byte of
	// the answer. Default 15 s.
	Timeout time.Duration

	// AnyNumber lets a telephone request go without agent_number. Anyreach then
	// calls from any number of the organization.
	AnyNumber bool

	// RefusedStatuses are statuses of which the operator vouches that nothing
	// was created. Default none.
	RefusedStatuses []int

	// RootCAs verifies the provider's certificate. Default: the system's.
	RootCAs *x509.CertPool
}

// personal is how the token of a person begins.
const personal = "pat_"

// New returns a client. Its error joins every problem of cfg, each with the name
// of the setting as weir.yaml has it.
func New(lg zerolog.Logger, cfg Config) (*Client, error) {
	c := &Client{lg: lg, anyNumber: cfg.AnyNumber, refused: slices.Clone(cfg.RefusedStatuses)}
	var err error
	c.wire, err = wire.New(wire.Config{
		URL: cfg.URL, Timeout: cfg.Timeout, RootCAs: cfg.RootCAs,
		Credentials: []wire.Credential{
			{Setting: "auth.token", Header: "Authorization", Prefix: "Bearer ", Value: cfg.Token},
			{Setting: "auth.organization", Header: "X-Anyreach-Org", Value: cfg.Organization},
		},
	})
	if err := errors.Join(err, cfg.login(), wire.CheckRefused(cfg.RefusedStatuses)); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the idle connections. Requests that are under way are not touched.
func (c *Client) Close() { c.wire.Close() }

// login checks that the credentials are a whole. The API would answer 401 to a
// personal token alone, which tells nobody what is missing.
func (cfg Config) login() error {
	switch {
	case cfg.Token == "":
		return errors.New("auth.token: is missing")
	case strings.HasPrefix(cfg.Token.Reveal(), personal) && cfg.Organization == "":
		return errors.New("auth.organization: is missing beside a personal token (pat_)")
	}
	return nil
}
