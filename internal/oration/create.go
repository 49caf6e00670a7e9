package oration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

// An answer's body is read up to maxBody and maxBodyItem for each item; what is
// beyond counts as cut off. A result is about 1 KiB with its token, and twice
// maxItem leaves room for the escapes of an echo.
const (
	path        = "/conversations"
	maxBody     = 1 << 20
	maxBodyItem = 64 << 10
)

// Create implements [consumer.Provider].
func (c *Client) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	began := time.Now()
	x := Exchange{Items: b.Items, Free: b.Free, FullWhen: c.fullOn(), Refused: c.refused, Censor: c.wire.Censor()}
	if len(b.Items) > 0 {
		c.exchange(ctx, b, &x)
	}
	a, notes := Classify(x)
	a.Began, a.Done = began, time.Now()
	if n := len(notes.Stray); n > 0 {
		shown := notes.Stray[:min(n, 20)]
		for i, id := range shown {
			shown[i] = x.Censor.Hide(id, wire.MaxID)
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
	if err != nil {
		x.Err = err
		return
	}
	x.Exchange = c.wire.Post(ctx, path, body, b.Permit, maxBody+maxBodyItem*len(b.Items))
}

// Preview implements [consumer.Previewer].
func (c *Client) Preview(items []consumer.Item) (consumer.Preview, error) {
	body, err := encode(items)
	if err != nil {
		return consumer.Preview{}, err
	}
	return c.wire.Preview(path, body), nil
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
		r.DynamicVariables[wire.KeyIntent] = it.Intent
		r.DynamicVariables[wire.KeyAttempt] = strconv.Itoa(it.Attempt)
		body.Conversations = append(body.Conversations, r)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return b, nil
}
