package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// batchAnswer is the body of a create answer.
type batchAnswer struct {
	Message string            `json:"message,omitzero"` // of a 429
	Results []json.RawMessage `json:"results"`
	Errors  []itemError       `json:"errors"`
}

// itemError names no item, as documented.
type itemError struct {
	Error string `json:"error"`
}

func newBatchAnswer(shown []*call, refusals []string, status int, shape string) batchAnswer {
	b := batchAnswer{Results: []json.RawMessage{}, Errors: []itemError{}}
	if status == http.StatusTooManyRequests {
		b.Message = fullMessage
	}
	for _, c := range shown {
		b.Results = append(b.Results, encode(result(c, shape)))
	}
	for _, text := range refusals {
		b.Errors = append(b.Errors, itemError{Error: text})
	}
	return b
}

// compose writes the answer to a create request, strikes it with what the plan
// says, and marks each conversation with what struck it and whether the answer
// shows it.
func (o *oration) compose(made []*call, refusals []string, status int, p orationPlan) answer {
	if len(made) > 0 && !delivers(p.fault) {
		o.sim.strike(made, p.fault)
		return answer{broken: p.fault}
	}
	shown := o.arrange(slices.Clone(made), refusals, p.plan)
	body := newBatchAnswer(shown, refusals, status, p.shape)
	a := answer{status: status, body: encode(body)}
	switch {
	case len(made) > 0 && p.fault == faultCut:
		a = o.sim.cutShort(a, p.plan, shown, body.Results)
	case p.slow:
		name(made, faultSlow) // counted with every other slow answer
	}
	return a
}

// arrange puts results and errors out of order and drops a result, as the plan
// says, and returns the results left.
func (o *oration) arrange(shown []*call, refusals []string, p plan) []*call {
	if p.shuffle && (len(shown) > 1 || len(refusals) > 1) {
		o.sim.mark(shown, faultShuffle)
		disorder(p, shown)
		disorder(p, refusals)
	}
	if p.drop && len(shown) > 0 {
		i := p.rng.IntN(len(shown))
		o.sim.strike(shown[i:i+1], faultDropResult)
		shown = slices.Delete(shown, i, i+1)
	}
	return shown
}

// disorder puts a list into an order that is not its own.
func disorder[T any](p plan, list []T) {
	order := p.rng.Perm(len(list))
	if slices.IsSorted(order) {
		slices.Reverse(order)
	}
	old := slices.Clone(list)
	for i, j := range order {
		list[i] = old[j]
	}
}

// wrapped is a result in the shape of the current documents. It echoes neither
// the variables nor the identifier.
type wrapped struct {
	Conversation wrappedConversation `json:"conversation"`
	Token        token               `json:"tokenResponse"`
}

type wrappedConversation struct {
	ID                 string  `json:"id"`
	WorkspaceID        string  `json:"workspaceId"`
	AgentID            string  `json:"agentId"`
	CustomerID         *string `json:"customerId"`
	ConversationType   string  `json:"conversationType"`
	ConversationStatus string  `json:"conversationStatus"`
	TelephonyType      *string `json:"telephonyType"`
	TelephonyStatus    *string `json:"telephonyStatus"`
	ToPhoneNumber      *string `json:"toPhoneNumber"`
	FromPhoneNumber    *string `json:"fromPhoneNumber"`
	CreatedAt          string  `json:"createdAt"`
	UpdatedAt          string  `json:"updatedAt"`
}

// token is the join token of the conversation's room. The real one is a
// secret; a log that holds this one has leaked.
type token struct {
	Token    string `json:"token"`
	RoomName string `json:"roomName"`
	Identity string `json:"identity"`
	RoomURL  string `json:"roomURL"`
	LiveTest string `json:"liveTest"`
}

// roomURL is where the rooms of conversations would be.
const roomURL = "https://rooms.invalid"

// joinToken returns the made-up token of a conversation's room.
func joinToken(c *call) string {
	return "simulated-join-token-" + c.ID
}

// flat is a result in the shape of the older documents.
type flat struct {
	ID                 string  `json:"id"`
	ConversationStatus string  `json:"conversationStatus"`
	TelephonyType      *string `json:"telephonyType"`
	Identifier         string  `json:"identifier,omitzero"`
	DynamicVariables   string  `json:"dynamicVariables"`
}

// result returns a new conversation in one of the two shapes.
func result(c *call, shape string) any {
	d := describe(c, c.Created)
	if shape == ShapeFlat {
		return flat{
			ID: c.ID, ConversationStatus: "queued", TelephonyType: d.TelephonyType,
			Identifier: c.want().Identifier, DynamicVariables: d.DynamicVariables,
		}
	}
	conversation := wrappedConversation{
		ID: c.ID, WorkspaceID: workspaceID, AgentID: d.AgentID, CustomerID: d.CustomerID,
		ConversationType: d.ConversationType, ConversationStatus: d.ConversationStatus,
		TelephonyType: d.TelephonyType, ToPhoneNumber: d.ToPhoneNumber, FromPhoneNumber: d.FromPhoneNumber,
		CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
	if c.want().telephony() {
		conversation.TelephonyStatus = new("dialing")
	}
	return wrapped{Conversation: conversation, Token: token{
		Token: joinToken(c), RoomName: "conversation-" + c.ID,
		Identity: "api-client", RoomURL: roomURL, LiveTest: "disabled",
	}}
}

// limitHeaders returns the headers that tell how many slots there are and how
// many are free.
func limitHeaders(family string, limit, free int) http.Header {
	h := http.Header{}
	switch family {
	case HeadersXRateLimit:
		h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(free))
	case HeadersIETF:
		h.Set("RateLimit-Policy", fmt.Sprintf(`"calls";q=%d;qu="concurrent-requests"`, limit))
		h.Set("RateLimit", fmt.Sprintf(`"calls";r=%d`, free))
	}
	return h
}
