package simulator

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The channels of Anyreach.
const (
	channelTelephone = "telephone"
	channelWebRTC    = "webrtc"
	channelEmail     = "email"
	channelText      = "text"
)

// channels lists them.
var channels = []string{channelTelephone, channelWebRTC, channelEmail, channelText}

// emailTakes is how long an e-mail is under way, before scaling.
const emailTakes = 5 * time.Second

// booking is a create request of Anyreach, in the documented form. A member
// that is null counts as absent.
type booking struct {
	ID             string                     `json:"id"`
	Channel        string                     `json:"channel"`
	UserID         string                     `json:"user_id"`
	AgentID        string                     `json:"agent_id"`
	AgentVersionID string                     `json:"agent_version_id"`
	AgentConfig    map[string]json.RawMessage `json:"agent_config"`
	Version        json.RawMessage            `json:"version"`
	AgentNumber    string                     `json:"agent_number"`
	ToAddress      string                     `json:"to_address"`
	FromAddress    string                     `json:"from_address"`
	Subject        string                     `json:"subject"`
	InitialContext string                     `json:"initial_context"`
	CustomMetadata map[string]json.RawMessage `json:"custom_metadata"`
}

// flaw is what is wrong with a request, as a 422 tells it.
type flaw struct {
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
	Type string   `json:"type"`
}

// Error returns the flaw as the text that stands in place of a list.
func (f flaw) Error() string {
	return strings.Join(f.Loc, ".") + ": " + f.Msg
}

// inBody returns a flaw of a member of the request body.
func inBody(member, msg string) error {
	return flaw{Loc: []string{"body", member}, Msg: msg, Type: "value_error"}
}

// parseBooking returns a create request, or the flaw for which it is refused.
func parseBooking(body []byte, unpublished string) (booking, error) {
	var b booking
	if err := json.Unmarshal(body, &b); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			return b, flaw{Loc: []string{"body"}, Msg: "request body is not valid JSON", Type: "json_invalid"}
		} else if e.Field != "" {
			return b, inBody(e.Field, "has the wrong type")
		}
		return b, flaw{Loc: []string{"body"}, Msg: "must be an object", Type: "model_type"}
	}
	b.ID = strings.ToLower(b.ID)
	if string(b.Version) == "null" {
		b.Version = nil
	}
	if err := b.check(); err != nil {
		return b, err
	}
	return b, b.published(unpublished)
}

// check returns the first rule that the request breaks.
func (b booking) check() error {
	switch {
	case !slices.Contains(channels, b.Channel):
		return inBody("channel", "must be one of telephone, webrtc, email, text")
	case b.UserID == "":
		return inBody("user_id", "is required")
	case b.Channel == channelTelephone && !e164.MatchString(b.UserID):
		return inBody("user_id", "must be a phone number in E.164 form for telephone")
	case b.ID != "" && !isUUID(b.ID):
		return inBody("id", "must be a valid UUID")
	case b.Channel == channelEmail && b.ToAddress == "":
		return inBody("to_address", "is required for email")
	}
	return b.checkAgent()
}

// checkAgent returns the first rule about the agent that the request breaks.
func (b booking) checkAgent() error {
	references := 0
	for _, given := range []bool{b.AgentID != "", b.AgentVersionID != "", b.AgentConfig != nil} {
		if given {
			references++
		}
	}
	stored := b.AgentID != "" || b.AgentVersionID != ""
	switch {
	case references > 1:
		return inBody("agent_id", "only one of agent_id, agent_version_id and agent_config may be given")
	case b.Channel == channelTelephone && !stored && b.AgentNumber == "":
		return inBody("agent_id", "one of agent_number, agent_id and agent_version_id is required for telephone")
	case b.Channel != channelTelephone && references == 0:
		return inBody("agent_id", "one of agent_id, agent_version_id and agent_config is required")
	case b.Version != nil && b.AgentID == "":
		return inBody("version", "may be given with agent_id only")
	case b.Version != nil && !isVersion(b.Version):
		return inBody("version", `must be an integer or "latest"`)
	}
	return nil
}

// published returns a flaw if nothing of the agent or version is published.
func (b booking) published(prefix string) error {
	if strings.HasPrefix(b.AgentID, prefix) || strings.HasPrefix(b.AgentVersionID, prefix) {
		return inBody("version", "is not published")
	}
	return nil
}

// isVersion reports whether a version is an integer or "latest".
func isVersion(raw json.RawMessage) bool {
	_, err := strconv.Atoi(string(raw))
	return err == nil || string(raw) == `"latest"`
}

// booking returns what a conversation of Anyreach was made for.
func (c *call) booking() booking {
	return c.request.(booking)
}

// conversation implements request.
func (b booking) conversation() Conversation {
	c := Conversation{
		Channel: b.Channel, ClientID: b.ID, Intent: b.intent(), Attempt: b.attempt(), Agent: b.AgentID + b.AgentVersionID,
	}
	if b.Channel == channelTelephone {
		c.Number = b.UserID
	}
	return c
}

// course implements request. Only a telephone call can stay unanswered: a text
// session begins with its greeting, and somebody joins each room in the end.
func (b booking) course(d dealer, n uint64, now time.Time) timeline {
	t := d.timeline(n, now)
	switch {
	case b.Channel == channelEmail:
		t.joined, t.ended = time.Time{}, now.Add(d.scaled(emailTakes))
	case b.Channel == channelText:
		t.joined = now
	case b.Channel == channelWebRTC && t.joined.IsZero():
		t.joined = now.Add(t.ended.Sub(now) / 2)
	}
	return t
}

// intent returns the weir_intent of the metadata, empty if it has none.
func (b booking) intent() string {
	var intent string
	_ = json.Unmarshal(b.CustomMetadata["weir_intent"], &intent) // somebody else's is no intent
	return intent
}

// attempt returns the weir_attempt of the metadata, a number or a string of
// one, and 0 if it has none.
func (b booking) attempt() int {
	n, err := strconv.Atoi(strings.Trim(string(b.CustomMetadata["weir_attempt"]), `"`))
	if err != nil {
		return 0
	}
	return n
}
