package anyreach

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// Request is the wire form of POST /core/conversations without its id, which is
// the item's. The engine's contact rules read number, address and channel here.
type Request struct {
	Channel        string `json:"channel"`
	UserID         string `json:"user_id"` // for telephone the number to call
	AgentID        string `json:"agent_id,omitempty"`
	AgentVersionID string `json:"agent_version_id,omitempty"`
	AgentNumber    string `json:"agent_number,omitempty"`
	ToAddress      string `json:"to_address,omitempty"`
	FromAddress    string `json:"from_address,omitempty"`
	Subject        string `json:"subject,omitempty"`
	InitialContext string `json:"initial_context,omitempty"`

	Version        json.RawMessage            `json:"version,omitempty"` // a number, or "latest"
	AgentConfig    json.RawMessage            `json:"agent_config,omitempty"`
	CustomMetadata map[string]json.RawMessage `json:"custom_metadata,omitempty"`
}

// The channels.
const (
	telephone = "telephone"
	webrtc    = "webrtc"
	email     = "email"
	texting   = "text"
)

// fields has a setter for each documented field but id.
var fields = map[string]func(r *Request, name string, v any) error{
	"channel": func(r *Request, name string, v any) (err error) {
		r.Channel, err = oneOf(name, v, telephone, webrtc, email, texting)
		return err
	},
	"user_id": func(r *Request, name string, v any) (err error) {
		r.UserID, err = identifier(name, v)
		return err
	},
	"agent_id": func(r *Request, name string, v any) (err error) {
		r.AgentID, err = identifier(name, v)
		return err
	},
	"agent_version_id": func(r *Request, name string, v any) (err error) {
		r.AgentVersionID, err = identifier(name, v)
		return err
	},
	"agent_config": func(r *Request, name string, v any) (err error) {
		r.AgentConfig, err = object(name, v, maxConfig)
		return err
	},
	"version": func(r *Request, name string, v any) (err error) {
		r.Version, err = version(name, v)
		return err
	},
	"agent_number": func(r *Request, name string, v any) (err error) {
		r.AgentNumber, err = number(name, v)
		return err
	},
	"to_address": func(r *Request, name string, v any) (err error) {
		r.ToAddress, err = address(name, v)
		return err
	},
	"from_address": func(r *Request, name string, v any) (err error) {
		r.FromAddress, err = address(name, v)
		return err
	},
	"subject": func(r *Request, name string, v any) (err error) {
		r.Subject, err = line(name, v)
		return err
	},
	"initial_context": func(r *Request, name string, v any) (err error) {
		r.InitialContext, err = text(name, v, maxContext)
		return err
	},
	"custom_metadata": func(r *Request, name string, v any) (err error) {
		r.CustomMetadata, err = metadata(name, v)
		return err
	},
}

// Prepare implements [consumer.Provider]. The request's Body is a [Request].
// An empty text or null counts as absent.
func (c *Client) Prepare(request map[string]any) (consumer.Request, error) {
	var r Request
	for _, name := range slices.Sorted(maps.Keys(request)) {
		if err := r.set(name, request[name]); err != nil {
			return consumer.Request{}, err
		}
	}
	if err := r.check(c.anyNumber); err != nil {
		return consumer.Request{}, err
	}
	return consumer.Request{Pair: pair(r.Channel, r.UserID), Channel: r.Channel, To: r.to(), Body: r}, nil
}

// Dials implements [consumer.Dialer].
func (c *Client) Dials(request map[string]any) string {
	if request["channel"] == telephone {
		return "user_id"
	}
	return ""
}

// to is who the request contacts.
func (r Request) to() consumer.Recipient {
	switch r.Channel {
	case telephone:
		return consumer.Recipient{Channel: r.Channel, Number: r.UserID, Field: "user_id"}
	case email:
		return consumer.Recipient{Channel: r.Channel, Address: r.ToAddress, Field: "to_address"}
	default:
		return consumer.Recipient{Channel: r.Channel}
	}
}

// set sets one field.
func (r *Request) set(name string, v any) error {
	set, ok := fields[name]
	switch {
	case name == "id":
		return refuse(name, "id is not for a route: Weir sets it, so that nobody is contacted twice.")
	case !ok:
		return refuse(shown(name), "%s is not a field of an Anyreach conversation.", shown(name))
	}
	return set(r, name, v)
}

// check returns the first rule that the request breaks. Fields that only email
// knows are refused elsewhere: whoever sets one expects an e-mail. agent_number
// and initial_context go with every channel: conversations of each have both.
func (r Request) check(anyNumber bool) error {
	switch {
	case r.Channel == "":
		return refuse("channel", "channel is missing; it must be telephone, webrtc, email or text.")
	case r.Channel == telephone && r.UserID == "":
		return refuse("user_id", "There is no phone number to call: user_id is empty.")
	case r.UserID == "":
		return refuse("user_id", "user_id is missing: it says who the conversation is with.")
	case r.Channel == email && r.ToAddress == "":
		return refuse("to_address", "There is no address to write to: to_address is empty.")
	case r.Channel != email && r.emailOnly() != "":
		return refuse(r.emailOnly(), "%s is for the channel email alone; here it is %s.", r.emailOnly(), r.Channel)
	case len(r.Version) > 0 && r.AgentID == "":
		return refuse("version", "version goes with agent_id alone.")
	}
	if err := r.oneAgent(); err != nil {
		return err
	}
	if r.Channel == telephone {
		return r.checkCall(anyNumber)
	}
	if len(r.agents()) == 0 {
		return refuse("agent_id", "There is no agent: give agent_id, agent_version_id or agent_config.")
	}
	return nil
}

// oneAgent checks that not more than one agent is named.
func (r Request) oneAgent() error {
	if agents := r.agents(); len(agents) > 1 {
		return refuse(agents[1], "Only one of agent_id, agent_version_id and agent_config may be given; here are %s.", strings.Join(agents, " and "))
	}
	return nil
}

// checkCall checks what is particular to a telephone call.
func (r Request) checkCall(anyNumber bool) error {
	if _, err := number("user_id", r.UserID); err != nil {
		return err
	}
	switch {
	case r.AgentNumber != "":
		return nil
	case !anyNumber:
		return refuse("agent_number", "agent_number is missing: without it Anyreach calls from any number of the organization. "+
			"Give the number to call from, or allow any with agent_number: any in the configuration.")
	case r.AgentID == "" && r.AgentVersionID == "":
		return refuse("agent_id", "A telephone call needs agent_id, agent_version_id or agent_number; agent_config alone does not do.")
	}
	return nil
}

// emailOnly returns the first field given that has no meaning but for email.
func (r Request) emailOnly() string {
	switch {
	case r.ToAddress != "":
		return "to_address"
	case r.FromAddress != "":
		return "from_address"
	case r.Subject != "":
		return "subject"
	}
	return ""
}

// agents returns the fields given that name an agent.
func (r Request) agents() []string {
	var names []string
	for _, f := range []struct {
		name  string
		given bool
	}{{"agent_id", r.AgentID != ""}, {"agent_version_id", r.AgentVersionID != ""}, {"agent_config", r.AgentConfig != nil}} {
		if f.given {
			names = append(names, f.name)
		}
	}
	return names
}

// names reports whether an id is nothing but who was asked for: no such id may be
// kept, for ids are not masked.
func (r Request) names(id string) bool {
	return strings.EqualFold(id, r.UserID) || strings.EqualFold(id, r.ToAddress) && id != "" ||
		r.Channel == telephone && digits(id) == digits(r.UserID)
}

// pair returns what an answer is compared with: the channel, and the digits of a
// number or the user_id as it is.
func pair(channel, user string) string {
	if channel == telephone {
		user = digits(user)
	}
	return channel + " " + user
}

// refuse returns the refusal of a request for the sake of one field.
func refuse(field, format string, args ...any) error {
	return &schema.Refusal{Class: schema.ClassRequest, Field: field, Reason: fmt.Sprintf(format, args...)}
}
