package anyreach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

const (
	path    = "/core/conversations"
	maxBody = 1 << 20 // bytes of a create's answer; an echoed agent_config is a quarter of it
)

// Create implements [consumer.Provider]. A batch holds one item: of more, none
// is sent.
func (c *Client) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	began := time.Now()
	x := Exchange{Refused: c.refused, Censor: c.wire.Censor()}
	if len(b.Items) == 1 {
		x.Item = b.Items[0]
	}
	x.Exchange = c.exchange(ctx, b)
	a := Classify(x)
	if r := a.Results[0]; r.Verdict == consumer.VerdictCreated && r.Conversation != x.Item.Intent {
		c.lg.Warn().Str("intent", x.Item.Intent).Str("conversation", r.Conversation).
			Msg("the provider gave the conversation an id of its own")
	}
	a.Results = slices.Repeat(a.Results, len(b.Items))
	a.Began, a.Done = began, time.Now()
	return a
}

// exchange sends the only item of a batch, at most once.
func (c *Client) exchange(ctx context.Context, b consumer.Batch) wire.Exchange {
	body, err := encode(b.Items)
	if err != nil {
		return wire.Exchange{Err: fmt.Errorf("encode request: %w", err)}
	}
	return c.wire.Post(ctx, path, body, b.Permit, maxBody)
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
	if len(items) != 1 {
		return nil, errors.New("a request to Anyreach holds one conversation")
	}
	it := items[0]
	r, ok := it.Request.Body.(Request)
	if !ok {
		return nil, fmt.Errorf("the item's body is a %T, not of this provider", it.Request.Body)
	}
	// What the API does with an id of another form is not known, and without one
	// nothing keeps a second request from calling again.
	if _, err := uuid.Parse(it.Intent); err != nil || len(it.Intent) != 36 {
		return nil, errors.New("the intent is no UUID")
	}
	r.CustomMetadata = maps.Clone(r.CustomMetadata)
	if r.CustomMetadata == nil {
		r.CustomMetadata = make(map[string]json.RawMessage, 2)
	}
	r.CustomMetadata[wire.KeyIntent] = json.RawMessage(strconv.Quote(it.Intent))
	r.CustomMetadata[wire.KeyAttempt] = json.RawMessage(strconv.Itoa(it.Attempt))
	return json.Marshal(struct {
		ID string `json:"id"`
		Request
	}{it.Intent, r})
}
