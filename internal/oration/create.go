package oration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"time"

	"github.com/weirhq/weir/consumer"
)

// An answer's body is read up to maxBody and maxBodyItem for each item; what is
// beyond counts as cut off. A result is about 1 KiB with its token, and twice
// maxItem leaves room for the escapes of an echo.
const (
	maxBody     = 1 << 20
	maxBodyItem = 64 << 10
)

// Create implements [consumer.Provider].
func (c *Client) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	began := time.Now()
	x := Exchange{Items: b.Items, Free: b.Free, FullWhen: c.fullOn, Refused: c.refused, own: c.own}
	if len(b.Items) > 0 {
		c.exchange(ctx, b, &x)
	}
	a, notes := Classify(x)
	a.Began, a.Done = began, time.Now()
	if n := len(notes.Stray); n > 0 {
		shown := notes.Stray[:min(n, 20)]
		for i, id := range shown {
			shown[i] = c.own.hide(id, maxID)
		}
		c.lg.Warn().Int("status", x.Status).Int("items", len(x.Items)).
			Int("stray", n).Strs("conversations", shown).
			Msg("the answer names conversations that match no item")
	}
	return a
}

// exchange sends the request, at most once, and fills in what came back.
func (c *Client) exchange(ctx context.Context, b consumer.Batch, x *Exchange) {
	body, err := encode(b.Items)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		x.Err = err
		return
	}
	g := &gate{permit: b.Permit}
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
	resp, err := c.creates.RoundTrip(c.post(own, g, body))
	// An answer to nothing (a 408 on a connection that was idle) must not be
	// followed by the request.
	x.Written = !g.shut()
	if err != nil {
		x.Err = c.cause(ctx, own, g, err)
		return
	}
	defer resp.Body.Close()
	x.Status = resp.StatusCode
	x.Header = resp.Header
	x.Header.Del("Set-Cookie")
	if x.Status == http.StatusSwitchingProtocols {
		return // the body is the connection, without an end or a deadline
	}
	x.Body, x.Err = readBody(resp.Body, maxBody+maxBodyItem*len(b.Items))
	x.Complete = x.Err == nil
}

// post returns the create request. It has no GetBody, so nothing can repeat it.
// The gate is the only witness of what was written: the trace's WroteRequest
// comes before the transport flushes its buffer.
func (c *Client) post(ctx context.Context, g *gate, body []byte) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if conn, ok := info.Conn.(*gateConn); ok {
				conn.gate.Store(g)
			}
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/conversations", nil)
	if err != nil {
		panic("oration: the URL was checked by New: " + err.Error())
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

// readBody returns what could be read of body, at most limit bytes. An error
// means that there was more.
func readBody(body io.Reader, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	if err == nil && len(b) > limit {
		return b[:limit], fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	return b, err
}

// encode returns the request's body.
func encode(items []consumer.Item) ([]byte, error) {
	var body struct {
		Conversations []Request `json:"conversations"`
	}
	for _, it := range items {
		r, ok := it.Request.Body.(Request)
		if !ok {
			return nil, fmt.Errorf("encode request: the item's body is a %T, not of this provider", it.Request.Body)
		}
		r.DynamicVariables = maps.Clone(r.DynamicVariables)
		if r.DynamicVariables == nil {
			r.DynamicVariables = make(map[string]string, 2)
		}
		r.DynamicVariables[keyIntent] = it.Intent
		r.DynamicVariables[keyAttempt] = strconv.Itoa(it.Attempt)
		body.Conversations = append(body.Conversations, r)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return b, nil
}
