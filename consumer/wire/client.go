package wire

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Client sends an account's requests. Its methods may be called concurrently.
type Client struct {
	url     string // without a trailing slash
	header  http.Header
	masked  http.Header // header, as it may be shown
	timeout time.Duration
	words   Censor
	creates *http.Transport
	queries *http.Transport
}

// Config says where an account is, and what every request to it carries.
type Config struct {
	// URL is the base of the API: https, or http on loopback.
	URL string

	// Credentials go into the header of every request, none of them into a log.
	Credentials []Credential

	// Timeout bounds a whole create request, from the dial to the last byte of
	// the answer. Default 15 s.
	Timeout time.Duration

	// RootCAs verifies the provider's certificate. Default: the system's.
	RootCAs *x509.CertPool
}

// Credential is a secret in a header.
type Credential struct {
	Setting string // as weir.yaml names it, for errors
	Header  string
	Prefix  string // before the secret, such as "Bearer "
	Value   schema.Secret
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
func New(cfg Config) (*Client, error) {
	c := &Client{timeout: cmp.Or(cfg.Timeout, defaultTimeout)}
	var urlErr, timeoutErr, headErr error
	c.url, urlErr = baseURL(cfg.URL)
	c.header, c.masked, headErr = headers(cfg.Credentials)
	if cfg.Timeout < 0 {
		timeoutErr = fmt.Errorf("timeout: %s is negative", cfg.Timeout)
	}
	if err := errors.Join(urlErr, headErr, timeoutErr); err != nil {
		return nil, err
	}
	secrets := make([]schema.Secret, len(cfg.Credentials))
	for i, cred := range cfg.Credentials {
		secrets[i] = cred.Value
	}
	c.words = NewCensor(secrets...)
	c.creates = createTransport(cfg.RootCAs)
	c.queries = queryTransport(cfg.RootCAs)
	return c, nil
}

// CheckRefused joins what is wrong with the statuses of which an operator vouches
// that nothing was created.
func CheckRefused(statuses []int) error {
	var problems []error
	for _, s := range statuses {
		if s < 400 || s > 599 || s == http.StatusTooManyRequests || s == http.StatusUnauthorized || s == http.StatusForbidden {
			problems = append(problems, fmt.Errorf("refused_statuses: %d cannot be vouched for; allowed are 400 to 599 without 401, 403 and 429", s))
		}
	}
	return errors.Join(problems...)
}

// Censor knows the client's secrets.
func (c *Client) Censor() Censor { return c.words }

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

// headers returns the headers of every request, and the same as they may be shown.
func headers(creds []Credential) (h, masked http.Header, err error) {
	h = http.Header{
		"Accept": {"application/json"},
		// Without it any coding may come, and none is decoded.
		"Accept-Encoding": {"identity"},
		"Content-Type":    {"application/json"},
		"User-Agent":      {"weir"},
	}
	masked = h.Clone()
	var problems []error
	for _, cred := range creds {
		v := cred.Value.Reveal()
		switch {
		case v == "":
		case strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }):
			problems = append(problems, fmt.Errorf("%s: holds a space or a character that no header can carry", cred.Setting))
		case len(v) > maxSecret:
			problems = append(problems, fmt.Errorf("%s: is longer than %d bytes", cred.Setting, maxSecret))
		default:
			h.Set(cred.Header, cred.Prefix+v)
			masked.Set(cred.Header, cred.Prefix+"***")
		}
	}
	return h, masked, errors.Join(problems...)
}

// Exchange is one request and what came back.
type Exchange struct {
	Written  bool // bytes of the request were handed to the connection
	Status   int  // 0: no answer
	Header   http.Header
	Body     []byte
	Complete bool  // Body is the whole body
	Err      error // why there is no answer, or no whole one
}

// Post sends body once to path, which begins with a slash. Permit, if not nil,
// is asked in the first write of the request itself, above TLS, also on a
// connection that was open already. Until then the end of ctx stops the request;
// from then on only the client's time-out ends it. At most limit bytes of the
// answer are read: what is beyond counts as cut off.
func (c *Client) Post(ctx context.Context, path string, body []byte, permit func() error, limit int) Exchange {
	if err := context.Cause(ctx); err != nil {
		return Exchange{Err: err}
	}
	g := &gate{permit: permit}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	// The caller may stop the request until the first byte; the gate decides
	// which of the two came first.
	stop := context.AfterFunc(ctx, func() {
		if g.shut() {
			cancel()
		}
	})
	defer stop()
	resp, err := c.creates.RoundTrip(c.post(own, g, path, body))
	// An answer to nothing (a 408 on a connection that was idle) must not be
	// followed by the request.
	x := Exchange{Written: !g.shut()}
	if err != nil {
		x.Err = c.cause(ctx, own, g, err)
		return x
	}
	x.read(resp, limit)
	return x
}

// Preview returns what Post would send, without the credentials.
func (c *Client) Preview(path string, body []byte) consumer.Preview {
	req := c.post(context.Background(), new(gate), path, body)
	return consumer.Preview{Method: req.Method, URL: req.URL.String(), Header: c.masked.Clone(), Body: body}
}

// post returns the create request. It has no GetBody, so nothing can repeat it.
// The gate is the only witness of what was written: the trace's WroteRequest
// comes before the transport flushes its buffer.
func (c *Client) post(ctx context.Context, g *gate, path string, body []byte) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if conn, ok := info.Conn.(*gateConn); ok {
				conn.gate.Store(g)
			}
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, nil)
	if err != nil {
		panic("wire: the URL was checked by New: " + err.Error())
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.ContentLength = int64(len(body))
	req.Header = c.header.Clone()
	return req
}

// cause returns why there is no answer, in words that help.
func (c *Client) cause(caller, own context.Context, g *gate, err error) error {
	if refused := g.refusal(); refused != nil {
		return fmt.Errorf("not permitted: %w", refused)
	}
	if errors.Is(own.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.timeout)
	}
	if caller.Err() != nil && own.Err() != nil {
		return fmt.Errorf("stopped before it was sent: %w", context.Cause(caller))
	}
	return err
}

// Get asks for path, which begins with a slash and may hold a query, on
// connections of its own. It takes 10 s at most. The error in the exchange is
// fit to be shown.
func (c *Client) Get(ctx context.Context, path string, limit int) Exchange {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return Exchange{Err: err}
	}
	req.Header = c.header.Clone()
	resp, err := c.queries.RoundTrip(req)
	if err != nil {
		return Exchange{Written: true, Err: c.words.Mask(err)}
	}
	x := Exchange{Written: true}
	x.read(resp, limit)
	if x.Err != nil {
		x.Err = c.words.Mask(x.Err)
	}
	return x
}

// read takes what came back.
func (x *Exchange) read(resp *http.Response, limit int) {
	defer resp.Body.Close()
	x.Status = resp.StatusCode
	x.Header = resp.Header
	x.Header.Del("Set-Cookie")
	if x.Status == http.StatusSwitchingProtocols {
		x.Err = errors.New("status 101 instead of an answer")
		return // the body is the connection, without an end or a deadline
	}
	x.Body, x.Err = readBody(resp.Body, limit)
	x.Complete = x.Err == nil
}

// readBody returns what could be read of body, at most limit bytes. An error
// means that there was more.
func readBody(body io.Reader, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	if err == nil && len(b) > limit {
		return b[:limit], fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	return b, err
}

// Answer returns the body of an exchange that asked for something, or why
// there is none to read: an error that is [consumer.ErrNotFound] or
// [consumer.ErrUnauthorized] where the provider says so.
func (c *Client) Answer(x Exchange) ([]byte, error) {
	if x.Status == 0 || x.Status == http.StatusSwitchingProtocols {
		return nil, x.Err
	}
	coding := c.words.Coding(x.Header)
	said := func() string { return cmp.Or(coding, c.words.Said(x.Body)) } // it is dear, and of no use where all is well
	switch {
	case x.Status == http.StatusNotFound:
		return nil, fmt.Errorf("%w (%s)", consumer.ErrNotFound, said())
	case x.Status == http.StatusUnauthorized, x.Status == http.StatusForbidden:
		return nil, fmt.Errorf("%w (status %d: %s)", consumer.ErrUnauthorized, x.Status, said())
	case x.Status/100 != 2:
		return nil, fmt.Errorf("status %d: %s", x.Status, said())
	case !x.Complete:
		return nil, fmt.Errorf("read the answer: %w", x.Err)
	case coding != "":
		return nil, errors.New("the answer cannot be read: " + coding)
	}
	return x.Body, nil
}
