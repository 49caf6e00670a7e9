package anyreach

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/weirhq/weir/consumer/wire"
)

const (
	maxProblems = 10 // of a list of them
	sayDepth    = 3  // objects in which words are looked for
)

// errorWords are the members that hold an error's words, the best first.
var errorWords = []string{"detail", "error", "message", "msg", "reason", "title", "code"}

// telling returns the words in a body, and nothing else of it: a body may hold
// greetings, summaries and tokens. In what is no error, message may be one.
func telling(c wire.Censor, o wire.Object, status int) string {
	members := errorWords
	if status/100 == 2 {
		members = members[:2]
	}
	for _, key := range members {
		if s := say(o[key], sayDepth); s != "" {
			return c.Words(s)
		}
	}
	return ""
}

// say returns the words in a text, in a list of problems, or in an object.
func say(raw json.RawMessage, depth int) string {
	var s string
	if depth == 0 || !wire.Present(raw) || json.Unmarshal(raw, &s) == nil {
		return s
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return problems(list, depth)
	}
	o := wire.AsObject(raw)
	for _, key := range errorWords {
		if s := say(o[key], depth-1); s != "" {
			return s
		}
	}
	return ""
}

// problems returns a list of what is wrong, such as "body.user_id: field
// required". What was wrong there (input) is not repeated.
func problems(list []json.RawMessage, depth int) string {
	var texts []string
	for _, raw := range list[:min(len(list), maxProblems)] {
		s := say(raw, depth-1)
		if at := location(wire.AsObject(raw)["loc"]); at != "" && s != "" {
			s = at + ": " + s
		}
		if s != "" {
			texts = append(texts, s)
		}
	}
	if len(list) > maxProblems && len(texts) > 0 {
		texts = append(texts, "…")
	}
	return strings.Join(texts, "; ")
}

// location returns a path such as body.user_id.
func location(raw json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	var parts []string
	for _, part := range list[:min(len(list), maxProblems)] {
		if s := (wire.Object{"": part}).Text(""); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ".")
}

// said returns the words of a whole body, for queries.
func said(c wire.Censor, body []byte, status int) string {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return "no body"
	case body[0] != '{' && body[0] != '[':
		return c.Page(body)
	}
	if s := telling(c, wire.AsObject(body), status); s != "" {
		return s
	}
	return "no words"
}
