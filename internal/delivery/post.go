package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Bounds of a request and its answer.
const (
	dialTimeout = 10 * time.Second
	idle        = 30 * time.Second
	mostHeader  = 16 << 10 // of an answer, its informational ones among them
	mostBody    = 4 << 10  // read of an answer, so that the connection can be used again
)

// transport does nothing by itself: no proxy, no compression, no HTTP/2.
func transport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &protocols,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		DisableCompression:     true,
		MaxConnsPerHost:        2 * mostBusy,
		MaxIdleConnsPerHost:    mostBusy,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: mostHeader,
	}
}

// poster posts outcomes to one address.
type poster struct {
	url     string
	timeout time.Duration
	client  *http.Client
}

func newPoster(cfg Config) *poster {
	if cfg.Transport == nil {
		cfg.Transport = transport()
	}
	return &poster{url: cfg.URL, timeout: cfg.Timeout, client: &http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post makes one try. It takes the time-out at most, whatever the endpoint does.
func (p *poster) post(ctx context.Context, what parcel, keys []Key) Verdict {
	if len(keys) == 0 {
		return Verdict{Fault: Endpoint, Reason: "the secret that outcomes are signed with cannot be read"}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(what.body))
	if err != nil {
		return Verdict{Fault: Endpoint, Reason: "the address cannot be used"}
	}
	now := time.Now()
	r.Header = what.header.Clone()
	r.Header.Set("User-Agent", "weir")
	r.Header.Set("Webhook-Id", what.id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Webhook-Signature", Sign(keys, what.id, now, what.body))
	answer, err := p.client.Do(r)
	if err != nil {
		return Verdict{Fault: Endpoint, Reason: p.trouble(err)}
	}
	defer func() { _ = answer.Body.Close() }()
	// The status says all. A body that is longer, or slow, costs its connection.
	_, _ = io.CopyN(io.Discard, answer.Body, mostBody)
	return Judge(answer.StatusCode, answer.Header, time.Now())
}

// trouble says why there was no answer, without the address, whose path may hold a
// secret.
func (p *poster) trouble(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", p.timeout)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return cut(err.Error())
}
