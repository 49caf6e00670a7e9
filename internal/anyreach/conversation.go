package anyreach

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

const (
	maxConversation = 4 << 20 // bytes of a query's answer; a transcript rides on it
	maxSummary      = 4 << 10 // characters
	maxSeconds      = 1e7     // of a duration; no conversation lasts four months
)

// ends are the statuses that never change again. They are the results, too: an
// unanswered call has one of its own. Any other status is live, whatever it says.
var ends = []string{"completed", "failed", "cancelled", "transferred", "unanswered"}

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
	x := c.wire.Get(ctx, path+"/"+url.PathEscape(id), maxConversation)
	none := consumer.Conversation{Header: x.Header}
	body, err := c.answer(x)
	if err != nil {
		return none, err
	}
	o := wire.AsObject(body)
	if o == nil {
		return none, errors.New("the answer is no JSON object: " + said(c.wire.Censor(), body, x.Status))
	}
	// A bare conversation has a member of this name as well, without an id.
	if inner := wire.AsObject(o["conversation"]); o["id"] == nil && inner != nil {
		o = inner
	}
	if !strings.EqualFold(o.Text("id"), id) {
		return none, errors.New("the answer is about another conversation")
	}
	conv := conversation(c.wire.Censor(), o)
	conv.ID, conv.Header = id, x.Header
	return conv, nil
}

// answer returns the body of a query's answer, or why there is none. Of an error's
// body only the words are looked at. Not found is what the API says, in JSON: that
// frees slots and sends doubts again.
func (c *Client) answer(x wire.Exchange) ([]byte, error) {
	coded := c.wire.Censor().Coding(x.Header) != ""
	if x.Status == http.StatusNotFound && (wire.AsObject(x.Body) == nil || !x.Complete || coded) {
		return nil, fmt.Errorf("status 404, and not of the API: %s", said(c.wire.Censor(), x.Body, x.Status))
	}
	if x.Status/100 != 2 {
		x.Body = []byte(said(c.wire.Censor(), x.Body, x.Status))
	}
	return c.wire.Answer(x)
}

// conversation reads a conversation. Which columns it has depends on the scopes
// of the credential; reasons and end times are in none of them.
func conversation(c wire.Censor, o wire.Object) consumer.Conversation {
	status := o.Text("status")
	conv := consumer.Conversation{
		ID:       usableID(c, o.Text("id")),
		Status:   c.Words(status),
		Summary:  wire.Bounded(strings.ToValidUTF8(c.Hide(o.Text("summary"), maxConversation), "\ufffd"), maxSummary),
		Duration: duration(o.Text("duration")),
	}
	if slices.Contains(ends, status) {
		conv.Ended, conv.Result = true, status
	}
	if channel, user := o.Text("channel"), o.Text("user_id"); channel != "" && user != "" {
		conv.Pair = pair(strings.ToLower(channel), user)
	}
	conv.Intent, conv.Attempt = wire.Echo(o["custom_metadata"])
	conv.StartedAt, _, _ = moment(o.Text("created_at"))
	return conv
}

// duration returns a number of seconds; 0 if it is none that can be.
func duration(s string) time.Duration {
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || !(seconds > 0 && seconds < maxSeconds) {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// moment returns a time, and the step from one that is written like this to the
// next. Without a zone it is in UTC, as all of them are documented to be.
func moment(s string) (t time.Time, step time.Duration, ok bool) {
	text := strings.Replace(s, " ", "T", 1)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse(time.RFC3339, text+"Z")
	}
	if err != nil {
		return time.Time{}, 0, false
	}
	step = time.Second
	if _, fraction, found := strings.Cut(text, "."); found {
		for i := 0; i < len(fraction) && fraction[i] >= '0' && fraction[i] <= '9' && step > 1; i++ {
			step /= 10
		}
	}
	return t, step, true
}
