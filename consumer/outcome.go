package consumer

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// OutcomePrefix begins the type of each outcome: weir.conversation.created and
// so on.
const OutcomePrefix = "weir.conversation."

// OutcomeData is the data of an outcome. All that its attributes say is here too:
// whoever gets it by HTTP has a signature of the data alone.
type OutcomeData struct {
	Lane        string `json:"lane"`
	Kind        string `json:"kind"` // the last word of the outcome's type
	EventSource string `json:"event_source,omitempty"`
	EventID     string `json:"event_id,omitempty"`
	EventType   string `json:"event_type,omitempty"`
	// N numbers what happened to the event: of two outcomes of one event the one
	// with the higher N tells its state. At is when it happened.
	N  int       `json:"n"`
	At time.Time `json:"at"`

	Intent       string `json:"intent"`
	Conversation string `json:"conversation,omitempty"`
	Channel      string `json:"channel,omitempty"`
	Status       string `json:"status,omitempty"`   // of a new conversation, in the provider's word
	Greeting     string `json:"greeting,omitempty"` // the agent's first words
	// Join is what a browser needs to take part, as the provider gave it: a
	// credential, there only where the lane asks for it.
	Join   json.RawMessage `json:"join,omitempty"`
	Others []string        `json:"other_conversations,omitempty"`
	Class  string          `json:"class,omitempty"`
	// DryRun says that the event is done and nothing was sent, because its lane
	// only rehearses.
	DryRun    bool           `json:"dry_run,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Claims    int            `json:"claims"`
	Attempts  int            `json:"attempts"`
	Waits     map[string]int `json:"waits,omitempty"`
	Result    string         `json:"result,omitempty"`
	Summary   string         `json:"summary,omitempty"`
	StartedAt time.Time      `json:"started_at,omitzero"`
	EndedAt   time.Time      `json:"ended_at,omitzero"`
	Duration  float64        `json:"duration_seconds,omitzero"`

	// RedialOf and RedialNumber say of a redial which event was called first, by its
	// id, and the how manyeth redial it is. Redial says of an end that the lane's rules
	// make a call of again which event does that, or why none does.
	RedialOf     string  `json:"redial_of,omitempty"`
	RedialNumber int     `json:"redial_number,omitempty"`
	Redial       *Redial `json:"redial,omitempty"`
}

// ending is what an outcome of an end says besides what the ledger knows.
type ending struct {
	Conversation
	redial *Redial
}

// OutcomeKind is the last word of the outcome type that belongs to a state.
func OutcomeKind(s State) string {
	if s == Dead {
		return "rejected"
	}
	return string(s)
}

// OutcomeKinds lists the kinds of outcomes.
func OutcomeKinds() []string {
	var kinds []string
	for _, s := range States() {
		if s != Absent && s != Waiting && s != Started {
			kinds = append(kinds, OutcomeKind(s))
		}
	}
	return kinds
}

// outcome returns the CloudEvent that tells the publisher of state s. Its id is
// the same each time it is made of the same intent, state and claim.
func outcome(in Intent, s State, facts *ending) (kind string, ev event.Event) {
	kind = OutcomeKind(s)
	then := moment(in, s)
	data := OutcomeData{
		Lane: in.Lane, Kind: kind, EventSource: in.Source, EventID: in.ID, EventType: in.Type, N: then.N, At: then.At.UTC(),
		Intent: in.Key, Conversation: in.Conversation, Channel: in.Channel, Others: in.Others,
		Reason: in.Reason, Claims: in.Claims, Attempts: in.Attempts, Waits: in.Waits,
		RedialOf: in.RedialOf, RedialNumber: in.Redial,
	}
	switch s {
	case Dead:
		data.Class = in.Class
	case Suppressed:
		data.Class, data.DryRun = in.Class, in.Class == ClassDryRun
	case Created:
		data.Status, data.Reason = then.Reason, ""
		data.Greeting, data.Join = in.Session.Greeting, joinable(in.Session)
	case Ended:
		data.Redial = in.again()
	}
	if facts != nil {
		data.Result, data.Summary, data.Reason = facts.Result, facts.Summary, facts.Reason
		data.StartedAt, data.EndedAt = facts.StartedAt, facts.EndedAt
		data.Duration = facts.Duration.Seconds()
		data.Redial = facts.redial
	}
	ev = event.New(event.CloudEventsVersionV1)
	parts := []string{in.Key, OutcomePrefix + kind, strconv.Itoa(in.Claims)}
	if s == Dead {
		parts = append(parts, strconv.Itoa(in.N)) // refused again without a claim
	}
	ev.SetID(derivedKey(parts...))
	ev.SetType(OutcomePrefix + kind)
	ev.SetSource("/weir/" + in.Lane)
	if in.ID != "" {
		ev.SetSubject(in.ID)
		ev.SetExtension("causationid", in.ID)
		ev.SetExtension("causationsource", in.Source)
	}
	ev.SetTime(then.At)
	_ = ev.SetData(event.ApplicationJSON, data) // strings, numbers and times always encode
	return kind, ev
}

// joinable is what a browser needs to join, if it is JSON.
func joinable(s Session) json.RawMessage {
	if raw := json.RawMessage(s.Join.Reveal()); json.Valid(raw) {
		return raw
	}
	return nil
}

// moment is the transition that led the intent into state s, as far as its
// history tells. What is created or ended stays so: later lines of that state
// speak of further conversations.
func moment(in Intent, s State) Transition {
	found := Transition{N: in.N, State: s, At: time.Now(), Reason: in.Reason}
	for _, t := range slices.Backward(in.History) {
		if t.State == s {
			found = t
			if s != Created && s != Ended {
				break
			}
		}
	}
	return found
}
