package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// The extensions of an event that calls somebody again.
const (
	redialName   = "redial"
	redialNumber = "redialnumber"
)

// MostRedials is how many redials of one event there may be. A larger number is not
// one of Weir's.
const MostRedials = 10

// Redial reports whether the event's extension redial says that its person is to be
// contacted once more on purpose: it is true, or text such as the id of the event
// that contacted the person first. So does each redial of Weir's own, see Redialled.
func Redial(e event.Event) bool {
	if _, number := Redialled(e); number > 0 {
		return true // whatever the first event's id is
	}
	switch value := e.Extensions()[redialName].(type) {
	case bool:
		return value
	case string:
		value = strings.ToLower(strings.TrimSpace(value))
		return value != "" && value != "false" && value != "0"
	default:
		return false
	}
}

// Again returns the event that calls the person of e again: the same content under an
// id of its own, which is always the same for the first event's id and the number of
// the redial, and not before notBefore, in whole seconds. placed is when the call
// was placed that it follows.
func Again(e event.Event, first string, number int, placed, notBefore time.Time) event.Event {
	again := e.Clone()
	again.SetID(RedialID(first, number))
	again.SetTime(placed.UTC())
	again.SetExtension(redialName, first)
	again.SetExtension(redialNumber, int32(number)) //nolint:gosec // a policy has ten at most
	again.SetExtension("notbefore", types.FormatTime(notBefore.UTC().Add(time.Second-1).Truncate(time.Second)))
	return again
}

// Redialled returns the id of the event that was called first and the number of the
// redial, from 1 on, of an event that Again made; 0 of any other, whatever its
// publisher says.
func Redialled(e event.Event) (first string, number int) {
	extensions := e.Extensions()
	first, _ = extensions[redialName].(string)
	text, err := types.Format(extensions[redialNumber])
	if first == "" || err != nil {
		return "", 0
	}
	number, err = strconv.Atoi(text)
	if err != nil || number < 1 || number > MostRedials || e.ID() != RedialID(first, number) {
		return "", 0
	}
	return first, number
}

// RedialID is the id of a redial, by the id of the event that was called first and
// the redial's number.
func RedialID(first string, number int) string {
	id := fmt.Sprintf("%s.redial.%d", first, number)
	if len(id) > maxAttribute {
		sum := sha256.Sum256([]byte(first))
		return fmt.Sprintf("%s.redial.%d", hex.EncodeToString(sum[:]), number)
	}
	return id
}
