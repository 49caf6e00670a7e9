package schema

import (
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
)

// High reports whether the event's extension priority asks that it go before the
// lane's other events. Its only value is high; any other is refused.
func High(e event.Event) (bool, error) {
	switch value, ok := e.Extensions()["priority"]; {
	case !ok:
		return false, nil
	case value == "high":
		return true, nil
	default:
		return false, refuse(ClassUndecodable, "priority", "The event's priority is %s; it can only be high, or be left out.", quote(fmt.Sprint(value)))
	}
}
