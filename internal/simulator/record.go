package simulator

import (
	"cmp"
	"encoding/json"
	"time"
)

// record is a conversation as Anyreach tells of it.
type record struct {
	ID             string     `json:"id"`
	OrganizationID string     `json:"organization_id"`
	Direction      string     `json:"direction"`
	Channel        string     `json:"channel"`
	Status         string     `json:"status"`
	UserID         string     `json:"user_id"`
	AgentID        *string    `json:"agent_id"`
	AgentVersionID *string    `json:"agent_version_id"`
	AgentNumber    *string    `json:"agent_number"`
	WebWidgetID    *string    `json:"web_widget_id"`
	Duration       *int       `json:"duration"` // whole seconds, as they passed here
	UserTurnCount  *int       `json:"user_turn_count"`
	CreatedAt      string     `json:"created_at"`
	UpdatedAt      string     `json:"updated_at"`
	Agent          *agentName `json:"agent"`
	InitialContext *string    `json:"initial_context"`
	*sensitive                // nil: the credential may not read it
}

// agentName is the agent within a record.
type agentName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// sensitive is what only some credentials may read.
type sensitive struct {
	Summary          *string                    `json:"summary"`
	CustomMetadata   map[string]json.RawMessage `json:"custom_metadata"`
	Transcript       map[string]any             `json:"conversation"`
	RecordingDetails map[string]any             `json:"recording_details"`
}

// defaultOrganization and defaultNumber stand where nothing was configured or
// asked for: a call without agent_number is placed from any number that the
// organization has.
const (
	defaultOrganization = "org_simulated"
	defaultNumber       = "+14155550100"
)

// named returns a conversation as the answer to a create shows it: under the id
// that was asked for, even if a call that is still hidden has it.
func (y *anyreach) named(c *call, now time.Time) json.RawMessage {
	r := y.record(c, now)
	r.ID = cmp.Or(c.ClientID, c.ID)
	return encode(r)
}

// record returns what is told of a conversation at a time. Call it within the
// account's do.
func (y *anyreach) record(c *call, now time.Time) record {
	b := c.booking()
	status, since := c.status(now)
	r := record{
		ID: c.ID, OrganizationID: cmp.Or(y.cfg.Auth.Organization, defaultOrganization), Direction: "outbound",
		Channel: b.Channel, Status: status, UserID: b.UserID, InitialContext: orNull(b.InitialContext),
		CreatedAt: y.instant(c.Created), UpdatedAt: y.instant(since),
	}
	r.resolve(b)
	over := c.over(now)
	if over {
		r.Duration, r.UserTurnCount = new(c.spoken()), new(turns(c.timeline))
	}
	if y.cfg.Columns == ColumnsFull {
		r.sensitive = &sensitive{CustomMetadata: b.CustomMetadata, Transcript: map[string]any{}, RecordingDetails: map[string]any{}}
		if over {
			r.Summary = new("A simulated conversation.")
		}
	}
	return r
}

// resolve fills in agent, version and number, which are fixed when the
// conversation is made.
func (r *record) resolve(b booking) {
	agent := b.AgentID
	switch {
	case b.AgentVersionID != "":
		agent = "agent-of-" + b.AgentVersionID
	case agent == "" && b.AgentConfig == nil:
		agent = "agent-of-" + b.AgentNumber
	}
	if agent != "" {
		r.AgentID, r.AgentVersionID = &agent, new(cmp.Or(b.AgentVersionID, "version-of-"+agent))
		r.Agent = &agentName{ID: agent, Name: "Simulated agent"}
	}
	if b.Channel == channelTelephone {
		r.AgentNumber = new(cmp.Or(b.AgentNumber, defaultNumber))
	}
}

// instant returns a time as Anyreach tells it: UTC, no finer than a tick.
func (y *anyreach) instant(t time.Time) string {
	return y.coarse(t).Format(time.RFC3339Nano)
}

// coarse returns a time without what is finer than a tick.
func (y *anyreach) coarse(t time.Time) time.Time {
	return t.UTC().Truncate(y.cfg.Tick)
}

// over reports whether the conversation has ended at a time.
func (c *call) over(now time.Time) bool {
	return !c.Ends.IsZero() && !c.Ends.After(now)
}

// status returns Anyreach's state of a conversation at a time, and since when
// it lasts.
func (c *call) status(now time.Time) (status string, since time.Time) {
	t := c.timeline
	switch {
	case c.over(now):
		return c.outcome(), t.ended
	case !t.joined.IsZero() && !t.joined.After(now):
		return "in_progress", t.joined
	case c.Channel == channelWebRTC:
		return "token_created", c.Created
	case c.Channel == channelTelephone && !t.dialed.IsZero() && !t.dialed.After(now):
		return "ringing", t.dialed
	default:
		return "triggered", c.Created
	}
}

// outcome returns the last state of a conversation. Of the telephone calls that
// are not answered 6 % fail and 4 % are cancelled, of the others 8 % are
// transferred and 4 % fail.
func (c *call) outcome() string {
	t := c.timeline
	switch {
	case c.Channel != channelTelephone:
		return "completed"
	case t.joined.IsZero():
		return pick([]chance{{"unanswered", 0.90}, {"failed", 0.06}, {"cancelled", 1}}, t.fate)
	default:
		return pick([]chance{{"completed", 0.88}, {"transferred", 0.08}, {"failed", 1}}, t.fate)
	}
}

// spoken returns how many whole seconds the conversation lasted once somebody
// was there.
func (c *call) spoken() int {
	if c.timeline.joined.IsZero() {
		return 0
	}
	return int(c.timeline.ended.Sub(c.timeline.joined) / time.Second)
}

// turns returns how often the person spoke.
func turns(t timeline) int {
	if t.joined.IsZero() {
		return 0
	}
	return 1 + int(t.fate*10)
}
