package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// moment is one line of an event's timeline.
type moment struct {
	N      int            `json:"n"`
	State  consumer.State `json:"state"` // that it led to
	At     time.Time      `json:"at"`
	By     string         `json:"by,omitzero"`
	Reason string         `json:"reason,omitzero"`
}

// timeline is what the ledger remembers of an intent.
func timeline(in consumer.Intent) []moment {
	var all []moment
	for _, t := range in.History {
		all = append(all, moment{N: t.N, State: t.State, At: t.At, By: t.By, Reason: t.Reason})
	}
	return all
}

// draw shows the line to a person.
func (t moment) draw(w io.Writer) {
	by := ""
	if t.By != "" {
		by = " by " + t.By
	}
	fmt.Fprintf(w, "step %d\t%s  %s%s  %s\n", t.N, when(t.At), t.State, clean(by), clean(t.Reason))
}

// content is an event as it came, or without personal data.
type content struct {
	Masked bool                `json:"masked"` // header and contents are not as they came
	Header map[string][]string `json:"header,omitempty"`
	Data   json.RawMessage     `json:"data,omitempty"`        // a JSON body
	Body   string              `json:"body,omitempty"`        // any other text
	Bytes  []byte              `json:"body_base64,omitempty"` // what is no text
	Hidden int                 `json:"body_hidden,omitzero"`  // bytes of it that are not shown
}

// contentOf is what is shown of a message.
func contentOf(header map[string][]string, data []byte, reveal bool) content {
	c := content{Header: header, Masked: !reveal}
	switch {
	case json.Valid(data):
		c.Data = data
	case utf8.Valid(data):
		c.Body = string(data)
	default:
		c.Bytes = data
	}
	if !reveal {
		c.mask()
	}
	return c
}

// mask takes personal data out. What is no text cannot be masked and is left out.
func (c *content) mask() {
	c.Header = maskedHeader(c.Header)
	c.Body = schema.Mask(c.Body)
	if c.Data != nil {
		c.Data = maskedJSON(c.Data)
	}
	if c.Bytes != nil {
		c.Hidden, c.Bytes = len(c.Bytes), nil
	}
}

// draw shows it to a person, below what is known of the event.
func (c content) draw(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		fmt.Fprintf(w, "header %s\t%s\n", clean(name), clean(strings.Join(c.Header[name], ", ")))
	}
	if c.Hidden > 0 {
		fmt.Fprintf(w, "\n(%d bytes that are no text)\n", c.Hidden)
	} else {
		fmt.Fprintf(w, "\n%s\n", pretty(cmp.Or(string(c.Data), c.Body, string(c.Bytes))))
	}
	if c.Masked {
		fmt.Fprintln(w, "\nPersonal data is masked; --reveal shows the event as it came.")
	}
}

// pretty shows a body: JSON with its members on lines of their own, anything
// else in quotes.
func pretty(body string) string {
	var b bytes.Buffer
	if body == "" {
		return "(empty)"
	}
	if json.Indent(&b, []byte(body), "", "  ") != nil {
		return strconv.Quote(body)
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}
