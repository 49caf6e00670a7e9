package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// mode is how a request carries events.
type mode int

const (
	single mode = iota // one, structured
	binary             // one, its attributes in ce- headers
	batch              // a JSON array of structured ones
)

const (
	structuredType = "application/cloudevents+json"
	batchType      = "application/cloudevents-batch+json"
	contentType    = "Content-Type"
	attribute      = "Ce-" // begins a header that is an attribute
)

// modeOf tells the mode from the headers. What two readers could read in two ways
// is refused.
func modeOf(h http.Header) (mode, *problem) {
	marked := false
	for name, values := range h {
		if name != contentType && !strings.HasPrefix(name, attribute) {
			continue
		}
		if len(values) > 1 {
			return 0, &problem{
				Status: http.StatusBadRequest, Title: "Ambiguous", Class: string(schema.ClassUndecodable),
				Detail: fmt.Sprintf("The header %s is there %d times.", schema.Mask(schema.Cut(strings.ToLower(name), 64)), len(values)),
			}
		}
		marked = marked || name != contentType
	}
	text := h.Get(contentType)
	media, parameters, err := mime.ParseMediaType(text)
	if text != "" && err != nil {
		return 0, unsupported("The Content-Type cannot be read.")
	}
	if strings.HasPrefix(media, "application/cloudevents") {
		switch charset := strings.ToLower(parameters["charset"]); charset {
		case "", "utf-8", "utf8", "us-ascii":
		default:
			return 0, unsupported("Send UTF-8.")
		}
		switch media {
		case batchType:
			return batch, nil
		case structuredType, "application/cloudevents":
			return single, nil
		}
		return 0, unsupported("This is a format of CloudEvents that is not read here.")
	}
	switch {
	case marked:
		return binary, nil
	case media == "", media == "application/json": // the body may say what it is
		return single, nil
	}
	return 0, unsupported("This is no event.")
}

func unsupported(what string) *problem {
	return &problem{
		Status: http.StatusUnsupportedMediaType, Title: "Not an event",
		Detail: what + " Send " + structuredType + ", " + batchType + ", or ce- headers with the data as the body.",
	}
}

// parcel is one event as it is to be published: what the lane will read is what
// was read here.
type parcel struct {
	event  event.Event
	header map[string][]string
	body   []byte
}

// open reads one event. limit is in bytes of its message.
func open(m mode, h http.Header, body []byte, limit int) (parcel, error) {
	header := map[string][]string{contentType: {structuredType}}
	if m == binary { // of the others none is read, and none is published
		header = h
	}
	ev, err := schema.Decode(header, body, limit)
	if err != nil {
		return parcel{}, err
	}
	if m == binary {
		header, body, err = schema.Encode(ev, schema.Binary) // headers as NATS takes them
	}
	if trace := schema.TraceparentOf(ev, h); trace != "" && err == nil {
		header["traceparent"] = []string{trace} // of the request, where the event says none
	}
	return parcel{ev, header, body}, err
}

// Bounds of a batch.
const (
	maxBatch   = 4 << 20 // bytes
	mostEvents = 1000
)

// split takes a batch apart. Its events are not looked into.
func split(body []byte) ([]json.RawMessage, *problem) {
	bad := func(format string, args ...any) *problem {
		return &problem{Status: http.StatusBadRequest, Title: "Not a batch", Class: string(schema.ClassUndecodable), Detail: fmt.Sprintf(format, args...)}
	}
	mark := len(body) // bytes of a byte order mark
	text := bytes.TrimPrefix(body, []byte("\uFEFF"))
	mark -= len(text)
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		again := json.NewDecoder(bytes.NewReader(text)).Decode(new(json.RawMessage)) // it tells an early end
		s, ok := errors.AsType[*json.SyntaxError](err)
		if !ok || errors.Is(again, io.EOF) || errors.Is(again, io.ErrUnexpectedEOF) {
			return nil, bad("The batch cannot be read as JSON: it ends too early.")
		}
		return nil, bad("The batch cannot be read as JSON: it is not JSON from byte %d on.", s.Offset+int64(mark))
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if first, _ := dec.Token(); first != json.Delim('[') { // it was read once
		return nil, bad("A batch is a JSON array of events.")
	}
	var all []json.RawMessage
	for dec.More() {
		if len(all) == mostEvents {
			return nil, &problem{
				Status: http.StatusRequestEntityTooLarge, Title: "Too many", Class: string(schema.ClassTooLarge),
				Detail: fmt.Sprintf("A batch may have %d events.", mostEvents),
			}
		}
		var one json.RawMessage
		if err := dec.Decode(&one); err != nil {
			return nil, bad("The batch cannot be read as JSON.")
		}
		all = append(all, one)
	}
	return all, nil
}
