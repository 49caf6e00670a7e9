package oration

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

const (
	maxConversation = 4 << 20 // bytes of an answer; analysis results ride on it
	maxSummary      = 4 << 10 // characters
)

// Conversation implements [consumer.Provider]. Whatever the error, the result
// carries the answer's header if there was an answer.
func (c *Client) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	conv, err := c.query(ctx, id)
	if err != nil {
		return consumer.Conversation{Header: conv.Header}, fmt.Errorf("get conversation: %w", err)
	}
	return conv, nil
}

// query asks for one conversation.
func (c *Client) query(ctx context.Context, id string) (consumer.Conversation, error) {
	if wire.UsableID(id) == "" {
		return consumer.Conversation{}, errors.New("the id is empty or cannot be asked for")
	}
	x := c.wire.Get(ctx, "/conversations/"+url.PathEscape(id), maxConversation)
	none := consumer.Conversation{Header: x.Header}
	body, err := c.wire.Answer(x)
	if err != nil {
		return none, err
	}
	conv, err := conversation(c.wire.Censor(), body, id)
	conv.Header = x.Header
	return conv, err
}

// conversation reads a conversation, flat (as documented) or wrapped.
func conversation(c wire.Censor, body []byte, id string) (consumer.Conversation, error) {
	o := wire.AsObject(body)
	if inner := wire.AsObject(o["conversation"]); o["id"] == nil && inner != nil {
		o = inner
	}
	if o == nil {
		return consumer.Conversation{}, errors.New("the answer is no JSON object: " + c.Said(body))
	}
	if got := o.Text("id"); !strings.EqualFold(got, id) {
		return consumer.Conversation{}, errors.New("the answer is about another conversation")
	}
	conv := consumer.Conversation{
		ID:        id,
		Status:    c.Words(o.Text("conversationStatus")),
		Reason:    c.Words(o.Text("endReason")),
		Summary:   wire.Bounded(strings.ToValidUTF8(c.Hide(o.Text("summary"), maxConversation), "\ufffd"), maxSummary),
		StartedAt: o.Time("callStartTime"),
		EndedAt:   o.Time("callEndTime"),
	}
	conv.Result = outcome(o)
	conv.Ended = conv.Result != ""
	conv.Intent, conv.Attempt = echo(o)
	conv.Pair = Request{
		AgentID: o.Text("agentId"), ToPhoneNumber: o.Text("toPhoneNumber"), CustomerID: o.Text("customerId"),
	}.pair()
	return conv, nil
}

// outcome returns how the conversation ended; empty if it is not over. Any
// status but the two documented final ones is not final.
func outcome(o wire.Object) string {
	switch o.Text("conversationStatus") {
	case "failed":
		return "failed"
	case "completed":
		// An unanswered call is "completed" too: completed does not mean answered.
		if o.Text("endReason") == "user_did_not_answer" {
			return "unanswered"
		}
		if transferred(o) {
			return "transferred"
		}
		return "completed"
	default:
		return ""
	}
}

// transferred reports whether the conversation was handed to somebody: the one
// it was handed to joined, or the status says so. A destination alone tells
// where it would have gone.
func transferred(o wire.Object) bool {
	done := []string{"completed", "success", "succeeded", "successful", "connected", "transferred"}
	return o.Text("transferUserJoinTime") != "" ||
		slices.Contains(done, strings.ToLower(o.Text("transferStatus")))
}
