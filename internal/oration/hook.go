package oration

import (
	"errors"
	"regexp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

var _ consumer.Listener = (*Client)(nil)

// The webhooks that are documented. Both come when a conversation is over, the
// second one after its analysis; which comes first is not promised.
const (
	eventCompleted = "conversation.completed"
	eventAnalysed  = "conversation.analysisCompleted"
)

// plain is an id that a webhook may have us ask for: any documented one, and
// nothing that could lead to another path.
var plain = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Hook implements [consumer.Listener]. Oration signs nothing, and its webhooks may
// spell a conversation's id in another way than its API (conv_… instead of a
// UUID); the echo of dynamicVariables names it all the same. A webhook of another
// kind has no report.
func (c *Client) Hook(body []byte, _ map[string][]string) ([]consumer.Report, error) {
	envelope := wire.AsObject(body)
	kind := envelope.Text("eventType")
	if kind == "" {
		return nil, errors.New("the body has no eventType")
	}
	if kind != eventCompleted && kind != eventAnalysed {
		return nil, nil
	}
	payload := wire.AsObject(envelope["payload"])
	if payload == nil {
		return nil, errors.New("the body has no payload")
	}
	r := consumer.Report{Ended: over(payload)}
	if id := payload.Text("id"); len(id) <= wire.MaxID && plain.MatchString(id) {
		r.Conversation = id
	}
	r.Intent, r.Attempt = echo(payload)
	return []consumer.Report{r}, nil
}

// over reports whether a webhook's conversation has ended, as its events mean,
// unless it says itself that it goes on.
func over(payload wire.Object) bool {
	switch payload.Text("conversationStatus") {
	case "created", "queued", "dialing", "active":
		return false
	default:
		return true
	}
}
