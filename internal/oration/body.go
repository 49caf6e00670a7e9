package oration

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema/plainjson"
)

// reading is what the body of a create answer says, as far as it could be read.
type reading struct {
	results []result
	errors  []itemError
	message string // the words of a body that is about the whole request
	label   string // the same in short: a code or title

	listed bool // there is a member results, whatever it holds
	other  bool // a conversation is named where no result belongs

	empty  bool // no bytes
	json   bool // the body is, or at least begins as, JSON
	object bool // the body begins as an object
	whole  bool // read to its end, and what began as JSON is well formed
	torn   bool // results began and did not end, or there was more than is read
	coded  bool // the body is compressed, which nobody asked for

	own  wire.Censor
	left int         // entries and members that may still be read
	top  wire.Object // of the body's own members, those of a conversation
}

// What a create answer may hold: some entries for each item and as many more for
// what is not documented. A hostile answer has room for millions, and an entry's
// members cost a hundred times its bytes. What is beyond is not read, so that
// whatever it may concern is in doubt.
const (
	maxEntries     = 64 // and
	maxEntriesItem = 4  // for each item
	maxEntry       = 4 * maxBodyItem
)

// errTooMuch is an answer that holds more than is read of it.
var errTooMuch = errors.New("the answer has too many entries, or one that is too long")

// result is an entry of results.
type result struct {
	id, status string
	naming
}

// itemError is an entry of errors.
type itemError struct {
	text string
	naming
}

// naming is what an entry says about which item it is for.
type naming struct {
	intent   string
	attempt  int // 0 if not echoed
	number   string
	agent    string
	customer string
}

// read decodes the body of an exchange: what is whole and plain in one pass, all
// else as a stream.
func read(x Exchange) reading {
	if x.Complete {
		if r, ok := scan(x); ok {
			return r
		}
	}
	return stream(x)
}

func newReading(x Exchange) (r reading, body []byte) {
	r = reading{
		own: x.Censor, whole: x.Complete,
		left: maxEntries + maxEntriesItem*len(x.Items), top: make(wire.Object),
	}
	return r, bytes.TrimSpace(bytes.TrimPrefix(x.Body, []byte("\ufeff")))
}

// scan reads a body that is one object in one pass, if nothing in it is odd.
func scan(x Exchange) (reading, bool) {
	r, body := newReading(x)
	r.json, r.object = true, true
	ok := r.own.Coding(x.Header) == "" && plainjson.Members(body, func(name []byte, raw json.RawMessage) bool {
		if r.left--; r.left < 0 {
			return false
		}
		switch strings.ToLower(string(name)) {
		case "results":
			r.listed = true
			return r.elements(raw, r.addResult)
		case "errors":
			return r.elements(raw, r.addError)
		}
		r.add(string(name), raw)
		return true
	})
	r.summarize()
	return r, ok
}

// elements is list for an array that is whole.
func (r *reading) elements(raw json.RawMessage, add func(json.RawMessage)) bool {
	return plainjson.Elements(raw, func(raw json.RawMessage) bool {
		if r.left--; r.left < 0 || len(raw) > maxEntry {
			return false
		}
		add(raw)
		return true
	})
}

// stream decodes the body of an exchange as a stream: entries that were read in
// full count, even if the rest is missing or malformed.
func stream(x Exchange) reading {
	r, body := newReading(x)
	if len(body) == 0 {
		r.empty = true
		return r
	}
	if name := r.own.Coding(x.Header); name != "" {
		r.coded, r.whole, r.message = true, false, name
		return r
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var err error
	switch body[0] {
	case '{':
		r.json, r.object = true, true
		err = r.members(dec, body)
		r.summarize()
	case '[':
		// Not documented: bare results would stand here.
		r.json = true
		err = r.list(dec, body, r.addEither)
	default:
		r.json = x.Complete && json.Valid(body)
		r.message = r.own.Page(body)
		return r
	}
	if err == nil {
		_, err = dec.Token()
	}
	r.whole = x.Complete && errors.Is(err, io.EOF)
	r.torn = r.torn || errors.Is(err, errTooMuch)
	return r
}

// members reads the object that the body is.
func (r *reading) members(dec *json.Decoder, body []byte) error {
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return unexpected(err)
		}
		if r.left--; r.left < 0 {
			return errTooMuch
		}
		if err := r.member(dec, body, key); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return unexpected(err)
	}
	return nil
}

// member reads one member's value.
func (r *reading) member(dec *json.Decoder, body []byte, key json.Token) error {
	name, _ := key.(string)
	switch strings.ToLower(name) {
	case "results":
		r.listed, r.torn = true, true
		if err := r.list(dec, body, r.addResult); err != nil {
			return err
		}
		r.torn = false
		return nil
	case "errors":
		return r.list(dec, body, r.addError)
	}
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return unexpected(err)
	}
	r.add(name, raw)
	return nil
}

// summarize concludes from the members of an object that is the body.
func (r *reading) summarize() {
	r.message = cmp.Or(r.message, r.label)
	r.other = r.other || isConversation(r.top)
}

// add adds a member that is no list of entries.
func (r *reading) add(name string, raw json.RawMessage) {
	if strings.EqualFold(name, "conversation") {
		r.addResult(raw)
		return
	}
	r.other = r.other || mentions(raw, maxDepth)
	switch strings.ToLower(name) {
	case "message", "error", "detail", "reason":
		if r.message == "" {
			r.message = r.own.Say(raw)
		}
	case "title", "code":
		if r.label == "" {
			r.label = r.own.Say(raw)
		}
	case "id", "conversationstatus", "tophonenumber", "dynamicvariables", wire.KeyIntent:
		r.top[name] = raw
	}
}

// list reads the elements of an array, or a value that stands alone where an
// array is expected.
func (r *reading) list(dec *json.Decoder, body []byte, add func(json.RawMessage)) error {
	rest := bytes.TrimLeft(body[dec.InputOffset():], " \t\r\n:")
	array := len(rest) > 0 && rest[0] == '['
	if array {
		if _, err := dec.Token(); err != nil {
			return unexpected(err)
		}
	}
	for first := true; array && dec.More() || !array && first; first = false {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return unexpected(err)
		}
		if r.left--; r.left < 0 || len(raw) > maxEntry {
			return errTooMuch
		}
		add(raw)
	}
	if array {
		if _, err := dec.Token(); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// unexpected tells an end in the middle of a value from the end of the body.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// addResult adds an entry of results: wrapped in "conversation" (the current
// documents) or flat (the older ones). An entry that is no object names nothing
// that could be matched, but it is there.
func (r *reading) addResult(raw json.RawMessage) {
	if !wire.Present(raw) {
		return
	}
	outer := wire.AsObject(raw)
	inner := wire.AsObject(outer["conversation"])
	r.results = append(r.results, result{
		id:     cmp.Or(wire.UsableID(inner.Text("id")), wire.UsableID(outer.Text("id"))),
		status: r.own.Words(cmp.Or(inner.Text("conversationStatus"), outer.Text("conversationStatus"))),
		naming: nameOf(inner, outer),
	})
}

// addError adds an entry of errors: a text, or an object that holds one.
func (r *reading) addError(raw json.RawMessage) {
	if !wire.Present(raw) {
		return
	}
	outer := wire.AsObject(raw)
	inner := wire.AsObject(outer["conversation"])
	r.errors = append(r.errors, itemError{text: r.own.Say(raw), naming: nameOf(inner, outer)})
	// The entry's own id may be that of the error.
	for _, member := range outer {
		r.other = r.other || mentions(member, maxDepth)
	}
}

// addEither adds an element of a body that is a bare array.
func (r *reading) addEither(raw json.RawMessage) {
	outer := wire.AsObject(raw)
	if outer.Text("id") != "" || wire.Present(outer["conversation"]) {
		r.addResult(raw)
		return
	}
	r.addError(raw)
}

// nameOf returns what an entry says about its item, inside or outside its
// wrapper.
func nameOf(inner, outer wire.Object) naming {
	n := naming{
		number:   digits(cmp.Or(inner.Text("toPhoneNumber"), outer.Text("toPhoneNumber"))),
		agent:    cmp.Or(inner.Text("agentId"), outer.Text("agentId")),
		customer: cmp.Or(inner.Text("customerId"), outer.Text("customerId")),
	}
	n.intent, n.attempt = echo(inner)
	if n.intent == "" {
		n.intent, n.attempt = echo(outer)
	}
	return n
}

// maxDepth is how deep a conversation is looked for: three objects, each in a
// list.
const maxDepth = 6

// mentions reports whether a value that is not read otherwise holds a
// conversation, at most depth values deep, or is too long to tell.
func mentions(raw json.RawMessage, depth int) bool {
	raw = bytes.TrimSpace(raw)
	if depth == 0 || len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
		return false
	}
	if len(raw) > maxEntry {
		return true
	}
	deeper := func(v json.RawMessage) bool { return mentions(v, depth-1) }
	if raw[0] == '[' {
		var values []json.RawMessage
		return json.Unmarshal(raw, &values) == nil && slices.ContainsFunc(values, deeper)
	}
	o := wire.AsObject(raw)
	if isConversation(o) || wire.AsObject(o["conversation"]).Text("id") != "" {
		return true
	}
	for _, v := range o {
		if deeper(v) {
			return true
		}
	}
	return false
}

// isConversation reports whether an object is one: it has an id, and something
// that only a conversation has.
func isConversation(o wire.Object) bool {
	intent, _ := echo(o)
	return o.Text("id") != "" &&
		cmp.Or(o.Text("conversationStatus"), o.Text("toPhoneNumber"), o.Text(wire.KeyIntent), intent) != ""
}

// echo returns the intent and attempt in dynamicVariables, which is an object
// in requests and a text that holds one in the documented answers.
func echo(o wire.Object) (intent string, attempt int) { return wire.Echo(o["dynamicVariables"]) }
