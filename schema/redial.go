package schema

import (
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Redial reports whether the event's extension redial says that its person is to be
// contacted once more on purpose: it is true, or text such as the id of the event
// that contacted the person first.
func Redial(e event.Event) bool {
	switch value := e.Extensions()["redial"].(type) {
	case bool:
		return value
	case string:
		value = strings.ToLower(strings.TrimSpace(value))
		return value != "" && value != "false" && value != "0"
	default:
		return false
	}
}
