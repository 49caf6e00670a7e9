package oration

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// reading is what the body of a create answer says, as far as it could be read.
type reading struct {
	results []result
	errors  []itemError
	message string // the words of a body that is about the whole request
	label   string // the same in short: a code or title

	empty  bool // no bytes
	json   bool // the body is, or at least begins as, JSON
	object bool // the body begins as an object
	whole  bool // read to its end, and what began as JSON is well formed
	torn   bool // results began and did not end
}

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

// read decodes a body as a stream: entries that were read in full count, even
// if the rest is missing or malformed.
func read(body []byte, complete bool) reading {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	r := reading{whole: complete}
	if len(body) == 0 {
		r.empty = true
		return r
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var err error
	switch body[0] {
	case '{':
		r.json, r.object = true, true
		err = r.members(dec, body)
		r.message = cmp.Or(r.message, r.label)
	case '[':
		// Not documented: bare results would stand here.
		r.json = true
		err = r.list(dec, body, r.addEither)
	default:
		r.json = complete && json.Valid(body)
		r.message = page(body)
		return r
	}
	if err == nil {
		_, err = dec.Token()
	}
	r.whole = complete && errors.Is(err, io.EOF)
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
		r.torn = true
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
	switch strings.ToLower(name) {
	case "conversation":
		r.addResult(raw)
	case "message", "error", "detail", "reason":
		r.message = cmp.Or(r.message, say(raw, 3))
	case "title", "code":
		r.label = cmp.Or(r.label, say(raw, 3))
	}
	return nil
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
	if !present(raw) {
		return
	}
	outer := asObject(raw)
	inner := asObject(outer["conversation"])
	r.results = append(r.results, result{
		id:     cmp.Or(usable(inner.text("id")), usable(outer.text("id"))),
		status: words(cmp.Or(inner.text("conversationStatus"), outer.text("conversationStatus"))),
		naming: nameOf(inner, outer),
	})
}

// maxErrors is how many errors are given words; the others only count. A
// hostile answer has room for some hundred thousand.
const maxErrors = 1000

// addError adds an entry of errors: a text, or an object that holds one.
func (r *reading) addError(raw json.RawMessage) {
	if !present(raw) {
		return
	}
	outer := asObject(raw)
	inner := asObject(outer["conversation"])
	e := itemError{naming: nameOf(inner, outer)}
	if len(r.errors) < maxErrors {
		e.text = say(raw, 3)
	}
	r.errors = append(r.errors, e)
}

// addEither adds an element of a body that is a bare array.
func (r *reading) addEither(raw json.RawMessage) {
	outer := asObject(raw)
	if outer.text("id") != "" || present(outer["conversation"]) {
		r.addResult(raw)
		return
	}
	r.addError(raw)
}

// nameOf returns what an entry says about its item, inside or outside its
// wrapper.
func nameOf(inner, outer object) naming {
	n := naming{
		number:   digits(cmp.Or(inner.text("toPhoneNumber"), outer.text("toPhoneNumber"))),
		agent:    cmp.Or(inner.text("agentId"), outer.text("agentId")),
		customer: cmp.Or(inner.text("customerId"), outer.text("customerId")),
	}
	n.intent, n.attempt = inner.echo()
	if n.intent == "" {
		n.intent, n.attempt = outer.echo()
	}
	return n
}

// maxID bounds an id, in bytes. The documented ones have 36.
const maxID = 256

// usable returns an id that can be kept and asked for again, else nothing.
func usable(id string) string {
	if len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return id
}

// say returns the words in an error: a text, or the first telling member of an
// object at most depth levels down, or whatever stands there.
func say(raw json.RawMessage, depth int) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return words(s)
	}
	if depth > 0 {
		o := asObject(raw)
		for _, key := range []string{"error", "message", "detail", "reason", "title", "code"} {
			if !present(o[key]) {
				continue
			}
			if s := say(o[key], depth-1); s != "" {
				return s
			}
		}
	}
	return words(string(raw))
}
