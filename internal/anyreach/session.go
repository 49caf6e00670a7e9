package anyreach

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema"
)

// Bounds of a session, in bytes.
const (
	maxGreeting = 4 << 10
	maxJoin     = 16 << 10
)

// columns are the members of a conversation, which are no part of what a browser
// needs to join it.
var columns = []string{
	"id", "organization_id", "direction", "channel", "status", "user_id", "agent_id", "agent_version_id", "agent_number",
	"web_widget_id", "trunk_id", "duration", "user_turn_count", "created_at", "updated_at", "agent", "summary",
	"initial_context", "custom_metadata", "recording_details",
}

// session returns what the answer gives to whoever asked for the conversation,
// and what had to be left out. What an error holds besides is not for joining.
func (r reading) session(c wire.Censor, success bool) (s consumer.Session, omitted string) {
	if greeting := r.top.Text("starting_message"); greeting != "" {
		s.Greeting = schema.Cut(c.Hide(greeting, maxBody), maxGreeting)
	}
	if req, _ := r.item.Request.Body.(Request); req.Channel != webrtc || !r.whole || !success {
		return s, ""
	}
	join := r.join(c)
	if len(join) > maxJoin {
		return s, "what the answer holds for joining is too long to keep"
	}
	s.Join = schema.Secret(join)
	return s, ""
}

// join returns the members of a webrtc answer that are for the browser. No copy
// of the documents shows them: all that are not known otherwise are kept.
func (r reading) join(c wire.Censor) string {
	o := make(wire.Object, len(r.top))
	maps.Copy(o, r.top)
	delete(o, "conversation")
	delete(o, "starting_message")
	if isConversation(r.top) || r.top.Text("channel") != "" {
		for _, name := range columns {
			delete(o, name)
		}
	}
	if len(o) == 0 {
		return ""
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(o) != nil {
		return ""
	}
	// An echo of our own credentials must not reach a browser.
	s := c.Hide(strings.TrimSpace(b.String()), maxBody)
	if !json.Valid([]byte(s)) {
		return ""
	}
	return s
}
