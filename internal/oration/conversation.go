package oration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
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
	var none consumer.Conversation
	if usable(id) == "" || id == "." || id == ".." {
		return none, errors.New("the id is empty or cannot be asked for")
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/conversations/"+url.PathEscape(id), nil)
	if err != nil {
		return none, err
	}
	req.Header = c.header.Clone()
	resp, err := c.queries.RoundTrip(req)
	if err != nil {
		return none, c.own.mask(err)
	}
	defer resp.Body.Close()
	resp.Header.Del("Set-Cookie")
	none.Header = resp.Header
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return none, errors.New("status 101 instead of an answer")
	}
	body, err := readBody(resp.Body, maxConversation)
	coding := c.own.coding(resp.Header)
	words := cmp.Or(coding, c.own.said(body))
	switch resp.StatusCode {
	case http.StatusNotFound:
		return none, fmt.Errorf("%w (%s)", consumer.ErrNotFound, words)
	case http.StatusUnauthorized, http.StatusForbidden:
		return none, fmt.Errorf("%w (status %d: %s)", consumer.ErrUnauthorized, resp.StatusCode, words)
	}
	if resp.StatusCode/100 != 2 {
		return none, fmt.Errorf("status %d: %s", resp.StatusCode, words)
	}
	if err != nil {
		return none, fmt.Errorf("read the answer: %w", c.own.mask(err))
	}
	if coding != "" {
		return none, errors.New("the answer cannot be read: " + coding)
	}
	conv, err := c.own.conversation(body, id)
	conv.Header = resp.Header
	return conv, err
}

// said returns the words of an error's body.
func (c censor) said(body []byte) string {
	if o := asObject(body); o != nil {
		return c.say(body, 3)
	}
	if len(body) == 0 {
		return "no body"
	}
	return c.page(body)
}

// conversation reads a conversation, flat (as documented) or wrapped.
func (c censor) conversation(body []byte, id string) (consumer.Conversation, error) {
	o := asObject(body)
	if inner := asObject(o["conversation"]); o["id"] == nil && inner != nil {
		o = inner
	}
	if o == nil {
		return consumer.Conversation{}, errors.New("the answer is no JSON object: " + c.said(body))
	}
	if got := o.text("id"); !strings.EqualFold(got, id) {
		return consumer.Conversation{}, errors.New("the answer is about another conversation")
	}
	conv := consumer.Conversation{
		ID:        id,
		Status:    c.words(o.text("conversationStatus")),
		Reason:    c.words(o.text("endReason")),
		Summary:   bounded(strings.ToValidUTF8(c.hide(o.text("summary"), maxConversation), "\ufffd"), maxSummary),
		StartedAt: o.time("callStartTime"),
		EndedAt:   o.time("callEndTime"),
	}
	conv.Result = o.outcome()
	conv.Ended = conv.Result != ""
	conv.Intent, conv.Attempt = o.echo()
	return conv, nil
}

// outcome returns how the conversation ended; empty if it is not over. Any
// status but the two documented final ones is not final.
func (o object) outcome() string {
	switch o.text("conversationStatus") {
	case "failed":
		return "failed"
	case "completed":
		// An unanswered call is "completed" too: completed does not mean answered.
		if o.text("endReason") == "user_did_not_answer" {
			return "unanswered"
		}
		if o.transferred() {
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
func (o object) transferred() bool {
	done := []string{"completed", "success", "succeeded", "successful", "connected", "transferred"}
	return o.text("transferUserJoinTime") != "" ||
		slices.Contains(done, strings.ToLower(o.text("transferStatus")))
}

// time returns a member that is a time; zero if it is none.
func (o object) time(key string) time.Time {
	t, err := time.Parse(time.RFC3339, o.text(key))
	if err != nil {
		return time.Time{}
	}
	return t
}
