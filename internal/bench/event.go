package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Mark is the variable of a request that holds the number of its event.
const Mark = "bench_event"

// Source and Type are those of the events. Sources that begin with /weir/ are Weir's own.
const (
	Source = "/bench"
	Type   = "lead.created"
)

// LeastSize is the size in bytes of the smallest event.
const LeastSize = 320

// Event returns a structured CloudEvent of size bytes, at least LeastSize.
func Event(number, size int) []byte {
	head := fmt.Sprintf(`{"specversion":"1.0","id":"bench-%d","source":%q,"type":%q,"datacontenttype":"application/json",`+
		`"data":{"id":"%d","first_name":"Ana","phone":%q,"attributes":{"note":"`, number, Source, Type, number, Phone(number))
	const tail = `"}}}`
	return []byte(head + strings.Repeat("n", max(0, size-len(head)-len(tail))) + tail)
}

// Phone is a number of the event's own, of a made-up person: no two of one request
// may share it.
func Phone(number int) string { return fmt.Sprintf("+1415%07d", 2_000_000+number%7_000_000) }

// mark begins the number of an event in a request's body.
var mark = []byte(`"` + Mark + `":"`)

// numbers returns the numbers of the events that a request's body is for.
func numbers(body []byte) (all []int) {
	for {
		i := bytes.Index(body, mark)
		if i < 0 {
			return all
		}
		body = body[i+len(mark):]
		before, _, ok := bytes.Cut(body, []byte{'"'})
		if !ok {
			return all
		}
		if n, err := strconv.Atoi(string(before)); err == nil {
			all = append(all, n)
		}
	}
}

// Request returns the body of a request for the conversations of events, as Weir
// sends it. Without marked it is no event's.
func Request(from, to int, marked bool) []byte {
	var b bytes.Buffer
	b.WriteString(`{"conversations":[`)
	for i := from; i < to; i++ {
		if i > from {
			b.WriteByte(',')
		}
		name := Mark
		if !marked {
			name = "yard_event" // as long
		}
		fmt.Fprintf(&b, `{"agentId":%q,"conversationType":"telephony","toPhoneNumber":%q,"dynamicVariables":{"%s":"%d","firstName":"Ana",`+
			`"weir_attempt":"1","weir_intent":"00000000-0000-5000-8000-%012d"}}`, Agent, Phone(i), name, i, i)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// Agent is the agent of the calls.
const Agent = "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7"
