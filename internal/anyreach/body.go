package anyreach

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
)

// reading is what the body of a create's answer says, as far as it could be read.
type reading struct {
	item consumer.Item

	ours  []named // conversations with our id
	other *named  // the likeliest of those with another one

	top   wire.Object // the body's own members, those that were read in full
	words string      // what the body says of an error

	empty bool // no bytes
	json  bool // the body is, or at least begins as, JSON
	whole bool // read to its end, and what began as JSON is well formed
	torn  bool // there was more than is read
	coded bool // the body is compressed, which nobody asked for
}

// named is a conversation that a body names.
type named struct {
	id, status, channel, user, intent string

	place   place
	certain bool // nothing more can come that would change what it is
}

// place is where a conversation is named, the likeliest first.
type place int

const (
	inBody    place = iota // the body is the conversation
	inWrapper              // the member conversation
	byName                 // the member conversation_id
	byID                   // the body has an id, and nothing else of a conversation
	deeper
)

// What is read of an answer. A hostile one has room for a hundred thousand members.
const (
	maxMembers = 256
	maxMember  = 512 << 10 // bytes
	maxNesting = 6         // three objects, each in a list
)

var errTooMuch = errors.New("the answer has too many members, or one that is too long")

// read decodes the body of an exchange.
func read(x Exchange) reading {
	body := bytes.TrimSpace(bytes.TrimPrefix(x.Body, []byte("\ufeff")))
	r := reading{item: x.Item, whole: x.Complete, top: make(wire.Object)}
	if len(body) == 0 {
		r.empty = true
		return r
	}
	if name := x.Censor.Coding(x.Header); name != "" {
		r.coded, r.whole, r.words = true, false, name
		return r
	}
	if body[0] != '{' && body[0] != '[' {
		r.json = x.Complete && json.Valid(body)
		r.words = x.Censor.Page(body)
		return r
	}
	r.json = true
	dec := json.NewDecoder(bytes.NewReader(body))
	err := r.members(dec, body[0] == '{')
	if err == nil {
		_, err = dec.Token()
	}
	r.whole = x.Complete && errors.Is(err, io.EOF)
	r.torn = errors.Is(err, errTooMuch)
	r.self()
	r.words = telling(x.Censor, r.top, x.Status)
	return r
}

// members reads what is in the object, or in the list, that the body is.
func (r *reading) members(dec *json.Decoder, isObject bool) error {
	if _, err := dec.Token(); err != nil {
		return err
	}
	for n := 0; dec.More(); n++ {
		var name string
		if isObject {
			key, err := dec.Token()
			if err != nil {
				return unexpected(err)
			}
			name, _ = key.(string)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return unexpected(err)
		}
		if n == maxMembers || len(raw) > maxMember {
			return errTooMuch
		}
		r.member(name, raw, isObject)
	}
	if _, err := dec.Token(); err != nil {
		return unexpected(err)
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

// member takes one member of the body, or one element without a name.
func (r *reading) member(name string, raw json.RawMessage, isObject bool) {
	if isObject {
		r.top[name] = raw
	}
	if o := wire.AsObject(raw); name == "conversation" && o.Text("id") != "" {
		r.name(o, o.Text("id"), inWrapper, true)
	}
	r.search(raw, maxNesting)
}

// self takes what the body says of itself. The rest of one that was cut may say
// that it is somebody else's, unless that was read already.
func (r *reading) self() {
	certain := r.whole || isConversation(r.top) && r.top.Text("channel") != "" && r.top.Text("user_id") != ""
	if id := r.top.Text("conversation_id"); id != "" {
		r.name(r.top, id, byName, r.whole)
	}
	if id := r.top.Text("id"); id != "" {
		where := byID
		if isConversation(r.top) {
			where = inBody
		}
		r.name(r.top, id, where, certain)
	}
}

// search looks for conversations in a value, at most depth values deep.
func (r *reading) search(raw json.RawMessage, depth int) {
	raw = bytes.TrimSpace(raw)
	if depth == 0 || len(raw) == 0 {
		return
	}
	switch raw[0] {
	case '[':
		var values []json.RawMessage
		_ = json.Unmarshal(raw, &values) // raw is well formed
		for _, v := range values {
			r.search(v, depth-1)
		}
	case '{':
		o := wire.AsObject(raw)
		if isConversation(o) {
			r.name(o, o.Text("id"), deeper, true)
		}
		if inner := wire.AsObject(o["conversation"]); inner.Text("id") != "" {
			r.name(inner, inner.Text("id"), deeper, true)
		}
		if id := o.Text("conversation_id"); id != "" {
			r.name(o, id, deeper, true)
		}
		for _, v := range o {
			r.search(v, depth-1)
		}
	}
}

// isConversation reports whether an object is one: it has an id, a status in
// words, and a member that no request has, which an error may repeat.
func isConversation(o wire.Object) bool {
	var status string
	return o.Text("id") != "" && json.Unmarshal(o["status"], &status) == nil && status != "" &&
		cmp.Or(o.Text("direction"), o.Text("created_at"), o.Text("organization_id")) != ""
}

// name enters a conversation. What only refers to one, by conversation_id, may be
// a record of another kind, with a channel and user of its own.
func (r *reading) name(o wire.Object, id string, where place, certain bool) {
	n := named{id: id, place: where, certain: certain, status: o.Text("status")}
	if strings.EqualFold(o.Text("id"), id) {
		n.channel, n.user = o.Text("channel"), o.Text("user_id")
		n.intent, _ = wire.Echo(o["custom_metadata"])
	}
	switch {
	case strings.EqualFold(id, r.item.Intent):
		if len(r.ours) < maxMembers {
			r.ours = append(r.ours, n)
		}
	case r.other == nil || where < r.other.place:
		r.other = &n
	}
}

// differs tells in what a conversation is not the one asked for; empty if nothing
// speaks against it.
func (n named) differs(it consumer.Item) string {
	req, _ := it.Request.Body.(Request)
	switch {
	case n.channel != "" && !strings.EqualFold(n.channel, req.Channel):
		return "channel"
	case n.user != "" && !sameUser(req.Channel, n.user, req.UserID):
		return "user_id"
	case n.intent != "" && !strings.EqualFold(n.intent, it.Intent):
		return wire.KeyIntent
	}
	return ""
}

// with reports whether a conversation is with the one who was asked for.
func (n named) with(it consumer.Item) bool {
	req, _ := it.Request.Body.(Request)
	return n.user != "" && sameUser(req.Channel, n.user, req.UserID)
}

// sameUser reports whether two user_ids are one on a channel.
func sameUser(channel, a, b string) bool { return pair(channel, a) == pair(channel, b) }
