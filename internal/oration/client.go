package oration

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Client is one account at Oration. Its methods may be called concurrently.
type Client struct {
	lg      zerolog.Logger
	url     string // without a trailing slash
	header  http.Header
	timeout time.Duration
	fullOn  []*regexp.Regexp
	refused []int
	own     censor // of the credentials

	creates *http.Transport
	queries *http.Transport
}

var _ consumer.Provider = (*Client)(nil)

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

const (
	defaultTimeout = 15 * time.Second
	dialTimeout    = 10 * time.Second // name look-up, connection and TLS
	queryTimeout   = 10 * time.Second

	// A connection that was idle for longer may be closed by the provider while
	// a create is on its way, which would leave a doubt on a healthy day (H24).
	createIdle = 2 * time.Second
	queryIdle  = 30 * time.Second

	maxHeader = 64 << 10 // of an answer
	maxSecret = 8 << 10  // bytes; a server takes no longer header
)

// New returns a client. Its error joins every problem of cfg, each with the name
// of the setting as weir.yaml has it.
func New(lg zerolog.Logger, cfg Config) (*Client, error) {
	c := &Client{
		lg:      lg,
		timeout: cmp.Or(cfg.Timeout, defaultTimeout),
		refused: slices.Clone(cfg.RefusedStatuses),
	}
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	var err error
	c.url, err = baseURL(cfg.URL)
	add(err)
	c.header, err = cfg.headers()
	add(err)
	c.fullOn, err = compile(cfg.FullWhen)
	add(err)
	if cfg.Timeout < 0 {
		add(fmt.Errorf("timeout: %s is negative", cfg.Timeout))
	}
	for _, s := range cfg.RefusedStatuses {
		if s < 400 || s > 599 || s == http.StatusTooManyRequests || s == http.StatusUnauthorized || s == http.StatusForbidden {
			add(fmt.Errorf("refused_statuses: %d cannot be vouched for; allowed are 400 to 599 without 401, 403 and 429", s))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	c.own = newCensor(cfg.APIKey, cfg.WorkspaceID, cfg.Bearer, cfg.PublicKey)
	c.creates = createTransport(cfg.RootCAs)
	c.queries = queryTransport(cfg.RootCAs)
	return c, nil
}

// Close ends the idle connections. Requests that are under way are not touched.
func (c *Client) Close() {
	c.creates.CloseIdleConnections()
	c.queries.CloseIdleConnections()
}

// baseURL checks the base URL and returns it without a trailing slash.
func baseURL(s string) (string, error) {
	if s == "" {
		return "", errors.New("url: is missing")
	}
	u, err := url.Parse(s)
	if err != nil {
		// The parser's own error repeats the text, which may hold a password.
		return "", errors.New("url: is not a URL")
	}
	switch {
	case u.User != nil:
		return "", errors.New("url: must not hold a user or password; use auth")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", errors.New("url: must end with the path")
	case u.Hostname() == "":
		return "", errors.New("url: has no host")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return "", errors.New("url: must be https, or http on loopback")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// loopback reports whether host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// headers returns the headers of every request.
func (cfg Config) headers() (http.Header, error) {
	h := http.Header{
		"Accept": {"application/json"},
		// Without it any coding may come, and none is decoded.
		"Accept-Encoding": {"identity"},
		"Content-Type":    {"application/json"},
		"User-Agent":      {"weir"},
	}
	var problems []error
	set := func(setting, name string, s schema.Secret) {
		v := s.Reveal()
		if v == "" {
			return
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			problems = append(problems, fmt.Errorf("auth.%s: holds a space or a character that no header can carry", setting))
			return
		}
		if len(v) > maxSecret {
			problems = append(problems, fmt.Errorf("auth.%s: is longer than %d bytes", setting, maxSecret))
			return
		}
		if name == "Authorization" {
			v = "Bearer " + v
		}
		h.Set(name, v)
	}
	set("api_key", "X-Api-Key", cfg.APIKey)
	set("workspace_id", "X-Workspace-Id", cfg.WorkspaceID)
	set("bearer", "Authorization", cfg.Bearer)
	set("public_key", "X-Public-Key", cfg.PublicKey)
	pair := cfg.APIKey != "" || cfg.WorkspaceID != ""
	switch {
	case pair && cfg.Bearer != "":
		problems = append(problems, errors.New("auth: give api_key and workspace_id, or bearer, not both"))
	case !pair && cfg.Bearer == "":
		problems = append(problems, errors.New("auth: give api_key and workspace_id, or bearer"))
	case pair && cfg.APIKey == "":
		problems = append(problems, errors.New("auth.api_key: is missing beside workspace_id"))
	case pair && cfg.WorkspaceID == "":
		problems = append(problems, errors.New("auth.workspace_id: is missing beside api_key"))
	}
	return h, errors.Join(problems...)
}

// compile returns the patterns of full_when.
func compile(patterns []string) ([]*regexp.Regexp, error) {
	if len(patterns) == 0 {
		patterns = DefaultFullWhen()
	}
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

// createTransport returns the connections for creates. Each is a [gateConn], and
// TLS is shaken hands beneath it, so that no write but a request's reaches it.
func createTransport(roots *x509.CertPool) *http.Transport {
	t := plainTransport(createIdle)
	var plain net.Dialer
	secure := tls.Dialer{Config: tlsConfig(roots)}
	t.DialContext = gated(plain.DialContext)
	t.DialTLSContext = gated(secure.DialContext)
	return t
}

// queryTransport returns the connections for queries.
func queryTransport(roots *x509.CertPool) *http.Transport {
	t := plainTransport(queryIdle)
	t.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	t.TLSHandshakeTimeout = dialTimeout
	t.TLSClientConfig = tlsConfig(roots)
	return t
}

// plainTransport returns a transport that does nothing by itself: no proxy, no
// compression (a small answer could unpack without end), no HTTP/2.
func plainTransport(idle time.Duration) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeader,
	}
}

func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

// gated wraps the connections that dial makes. The transport does not hand the
// request's deadline to a dial, so it has its own.
func gated(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &gateConn{Conn: conn}, nil
	}
}
