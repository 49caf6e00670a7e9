package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// want is one item of a create request, in the documented form.
type want struct {
	AgentID          string             `json:"agentId"`
	ConversationType string             `json:"conversationType"`
	TelephonyType    string             `json:"telephonyType"`
	ToPhoneNumber    string             `json:"toPhoneNumber"`
	FromPhoneNumber  string             `json:"fromPhoneNumber"`
	SIPTrunkAddress  string             `json:"sipTrunkAddress"`
	CustomerID       string             `json:"customerId"`
	Identifier       string             `json:"identifier"`
	DynamicVariables map[string]*string `json:"dynamicVariables"`
	IgnoreDND        bool               `json:"ignoreDND"`
}

// parseBatch returns the items of a create request as they stand. An error is
// the text of a 400.
func parseBatch(body []byte) ([]json.RawMessage, error) {
	var batch struct {
		Conversations []json.RawMessage `json:"conversations"`
	}
	err := json.Unmarshal(body, &batch)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, errors.New("conversations must be an array")
	}
	if err != nil {
		return nil, errors.New("request body is not valid JSON")
	}
	if len(batch.Conversations) == 0 {
		return nil, errors.New("conversations must contain at least 1 element(s)")
	}
	return batch.Conversations, nil
}

// sift parts the items that can be dialled from those that get an entry in
// errors[]: a bare text that does not say which item it is about.
func sift(asked []json.RawMessage, dndSuffix string) (fit []want, refusals []string) {
	for _, raw := range asked {
		w, err := parseItem(raw, dndSuffix)
		if err != nil {
			refusals = append(refusals, err.Error())
			continue
		}
		fit = append(fit, w)
	}
	return fit, refusals
}

// parseItem returns one item, or why it is refused.
func parseItem(raw json.RawMessage, dndSuffix string) (want, error) {
	var w want
	if err := json.Unmarshal(raw, &w); err != nil || string(raw) == "null" {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return want{}, fmt.Errorf("%s has the wrong type", e.Field)
		}
		return want{}, errors.New("conversation must be an object")
	}
	if err := w.check(); err != nil {
		return want{}, err
	}
	if dndSuffix != "" && strings.HasSuffix(w.ToPhoneNumber, dndSuffix) && !w.IgnoreDND {
		return want{}, errors.New("customer is on the do-not-disturb list")
	}
	return w, nil
}

// e164 is the form of a phone number.
var e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// check returns the first thing that is wrong with an item.
func (w want) check() error {
	telephony := w.ConversationType == "telephony"
	switch {
	case !slices.Contains([]string{"chat", "web", "telephony"}, w.ConversationType):
		return errors.New("conversationType must be one of chat, web, telephony")
	case !isUUID(w.AgentID):
		return errors.New("agentId must be a valid UUID")
	case w.CustomerID != "" && !isUUID(w.CustomerID):
		return errors.New("customerId must be a valid UUID")
	case !slices.Contains([]string{"", "inbound", "outbound"}, w.TelephonyType):
		return errors.New("telephonyType must be one of inbound, outbound")
	case telephony && w.ToPhoneNumber == "":
		return errors.New("toPhoneNumber is required for telephony conversations")
	case w.ToPhoneNumber != "" && !e164.MatchString(w.ToPhoneNumber):
		return errors.New("invalid phone number")
	case w.FromPhoneNumber != "" && !e164.MatchString(w.FromPhoneNumber):
		return errors.New("invalid fromPhoneNumber")
	}
	for name, value := range w.DynamicVariables {
		if value == nil {
			return fmt.Errorf("dynamicVariables.%s must be a string", name)
		}
	}
	return nil
}

// isUUID reports whether s is a UUID in its usual form of 36 characters.
func isUUID(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil
}

// telephony reports whether the conversation is a phone call.
func (w want) telephony() bool {
	return w.ConversationType == "telephony"
}

// want returns what a conversation of Oration was made for.
func (c *call) want() want {
	return c.request.(want)
}

// conversation implements request.
func (w want) conversation() Conversation {
	return Conversation{
		Channel: w.ConversationType, Intent: w.intent(), Attempt: w.attempt(),
		Number: w.ToPhoneNumber, Agent: w.AgentID,
	}
}

// course implements request.
func (w want) course(d dealer, n uint64, now time.Time) timeline {
	return d.timeline(n, now)
}

// intent returns the weir_intent of the item's variables, empty if it has none.
func (w want) intent() string {
	if v := w.DynamicVariables["weir_intent"]; v != nil {
		return *v
	}
	return ""
}

// attempt returns the weir_attempt of the item's variables, 0 if it has none.
func (w want) attempt() int {
	v := w.DynamicVariables["weir_attempt"]
	if v == nil {
		return 0
	}
	n, err := strconv.Atoi(*v)
	if err != nil {
		return 0
	}
	return n
}

// variables returns the dynamic variables as every answer has them: a string
// that holds JSON.
func (w want) variables() string {
	if w.DynamicVariables == nil {
		return "{}"
	}
	return string(encode(w.DynamicVariables))
}
