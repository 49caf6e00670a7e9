package simulator

import "time"

// workspaceID is the workspace that every conversation is in.
const workspaceID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

// description is the flat object of a lookup, with every documented field.
type description struct {
	ID                 string         `json:"id"`
	AgentID            string         `json:"agentId"`
	WorkspaceID        string         `json:"workspaceId"`
	CustomerID         *string        `json:"customerId"`
	PhoneID            *string        `json:"phoneId"`
	WSURL              *string        `json:"wsUrl"`
	LLMURL             *string        `json:"llmUrl"`
	CallStartTime      *string        `json:"callStartTime"`
	CallEndTime        *string        `json:"callEndTime"`
	UserJoinTime       *string        `json:"userJoinTime"`
	UserLeaveTime      *string        `json:"userLeaveTime"`
	ToPhoneNumber      *string        `json:"toPhoneNumber"`
	FromPhoneNumber    *string        `json:"fromPhoneNumber"`
	ConversationStatus string         `json:"conversationStatus"`
	TelephonyType      *string        `json:"telephonyType"`
	TelephonyStatus    *string        `json:"telephonyStatus"`
	EndReason          *string        `json:"endReason"`
	RecordingStatus    *string        `json:"recordingStatus"`
	PostCallNotes      *string        `json:"postCallNotes"`
	PostCallCategory1  *string        `json:"postCallCategory1"`
	PostCallCategory2  *string        `json:"postCallCategory2"`
	PostCallCategory3  *string        `json:"postCallCategory3"`
	PostCallMetadata   map[string]any `json:"postCallMetadata"`
	ConversationType   string         `json:"conversationType"`
	DynamicVariables   string         `json:"dynamicVariables"` // JSON in a string
	Summary            string         `json:"summary"`
	CreatedAt          string         `json:"createdAt"`
	UpdatedAt          string         `json:"updatedAt"`
}

// describe returns what a lookup of the call answers at a time. It depends on
// nothing else, so a call needs no timer.
func describe(c *call, now time.Time) description {
	t, w := c.timeline, c.want()
	d := description{
		ID: c.ID, AgentID: w.AgentID, WorkspaceID: workspaceID, CustomerID: orNull(w.CustomerID),
		ToPhoneNumber: orNull(w.ToPhoneNumber), FromPhoneNumber: orNull(w.FromPhoneNumber),
		ConversationType: w.ConversationType, ConversationStatus: "created",
		DynamicVariables: w.variables(),
		CreatedAt:        instant(c.Created), UpdatedAt: instant(c.Created),
	}
	if w.telephony() {
		d.TelephonyType = new("outbound")
		if w.TelephonyType != "" {
			d.TelephonyType = new(w.TelephonyType)
		}
	}
	if !now.Before(t.dialed) {
		d.enter("dialing", t.dialed, w)
		d.CallStartTime = new(instant(t.dialed))
	}
	answered := !t.joined.IsZero()
	if answered && !now.Before(t.joined) {
		d.enter("active", t.joined, w)
		d.UserJoinTime = new(instant(t.joined))
		d.RecordingStatus = new("in_progress")
	}
	if !now.Before(t.ended) {
		d.end(c)
	}
	return d
}

// enter puts the description into a state that is entered at a time.
func (d *description) enter(status string, at time.Time, w want) {
	d.ConversationStatus = status
	d.UpdatedAt = instant(at)
	if w.telephony() {
		d.TelephonyStatus = new(status)
	}
}

// end completes the description. An unanswered call is completed like any
// other: its end reason and the missing join time tell.
func (d *description) end(c *call) {
	t := c.timeline
	d.enter("completed", t.ended, c.want())
	d.CallEndTime = new(instant(t.ended))
	d.EndReason = new(endReason(t, c.want().telephony()))
	if t.joined.IsZero() {
		d.TelephonyStatus = nil
		return
	}
	d.UserLeaveTime = new(instant(t.ended))
	d.RecordingStatus = new("completed")
	d.PostCallMetadata = map[string]any{}
	d.Summary = "A simulated conversation."
}

// endReason returns why a call was over.
func endReason(t timeline, telephony bool) string {
	switch {
	case t.joined.IsZero() && telephony:
		return "user_did_not_answer"
	case t.joined.IsZero():
		return "user_inactivity"
	case t.capped:
		return "max_duration_exceeded"
	case t.byPerson:
		return "user_hangup"
	default:
		return "agent_hangup"
	}
}

// instant returns a time in the provider's form: UTC with milliseconds.
func instant(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// orNull returns nil for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
