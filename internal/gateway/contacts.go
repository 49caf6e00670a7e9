package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// List is the list of those who must not be contacted. What it returns is durable.
type List interface {
	// Block forbids to contact a person, and Allow takes that back, as often as one
	// likes. A *ContactError says what is wrong with the wish itself; after any other
	// one it may be done.
	Block(ctx context.Context, w Wish) (Listed, error)
	Allow(ctx context.Context, w Wish) (Listed, error)
}

// Wish is what somebody decides about a person.
type Wish struct {
	Person string // a number or an address, as it was written
	Region string // of a number without a country; empty: the lane's
	Lane   string // empty: all lanes
	By     string
	Reason string
	Source string // where the person said so
}

// Listed is what became of a wish.
type Listed struct {
	Person  string // masked
	Changed bool
	Blocked bool // in the wish's lane; without one, in any
}

// ContactError is a wish that cannot be done. Its words repeat nothing of the person.
type ContactError struct {
	Region bool // it is the region that is wrong; else the person
	Reason string
}

func (e *ContactError) Error() string { return e.Reason }

// Bounds of a request to the list.
const (
	mostContacts = 1000
	maxContacts  = 1 << 20
	maxContact   = 4 << 10 // of one alone
	maxWords     = 200     // of reason and source: what the list keeps
)

// contact is one wish as it is sent.
type contact struct {
	Number  *string `json:"number"`
	Address *string `json:"address"`
	Region  string  `json:"region"`
	Lane    string  `json:"lane"`
	Reason  string  `json:"reason"`
	Source  string  `json:"source"`
}

// contactReceipt is what became of one wish.
type contactReceipt struct {
	Index   *int   `json:"index,omitzero"` // in its list, from 0
	Status  int    `json:"status"`         // as an answer of its own would have
	Person  string `json:"person,omitzero"`
	Lane    string `json:"lane,omitzero"`
	Changed bool   `json:"changed,omitzero"`
	Blocked bool   `json:"blocked,omitzero"`
	Title   string `json:"title,omitzero"`
	Detail  string `json:"detail,omitzero"`
	Pointer string `json:"pointer,omitzero"`
}

// contactsTaken is the answer to a list of wishes that were all done.
type contactsTaken struct {
	Status   int              `json:"status"`
	Contacts []contactReceipt `json:"contacts"`
}

// contactAct is what an address does: Block or Allow.
type contactAct func(context.Context, Wish) (Listed, error)

// contacts answers at /contacts/block and /contacts/allow.
func (d *door) contacts(act contactAct) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer rescue(d.lg, w)
		p, bad := d.who(r)
		if bad != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
			d.refuse(w, nil, *bad)
			return
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			d.refuse(w, p, problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "People are blocked and allowed by POST. Nothing tells here who is blocked."})
			return
		}
		if bad := p.enter(); bad != nil {
			d.refuse(w, p, *bad)
			return
		}
		defer p.work.leave()
		items, many, bad := readContacts(w, r)
		if bad == nil {
			if wait := p.lists.take(time.Now(), len(items)); wait > 0 {
				slow := later(http.StatusTooManyRequests, "Too fast", fmt.Sprintf("This publisher may block or allow %d people a second.", p.Rate), wait)
				bad = &slow
			}
		}
		if bad != nil {
			d.refuse(w, p, *bad)
			return
		}
		if many {
			d.contactList(r.Context(), w, p, act, items)
			return
		}
		got, bad := d.contact(r.Context(), p, act, items[0])
		if bad != nil {
			d.refuse(w, p, *bad)
			return
		}
		write(w, "application/json", got.Status, got)
	}
}

// readContacts reads the wishes of a request: an object, an array of them, or one a
// line.
func readContacts(w http.ResponseWriter, r *http.Request) (items []json.RawMessage, many bool, bad *problem) {
	if compressed(r) {
		w.Header().Set("Accept-Encoding", "identity")
		return nil, false, &isCompressed
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get(contentType))
	lines := media == "application/x-ndjson" || media == "application/ndjson"
	if !lines && media != "application/json" {
		return nil, false, unsupported("Send application/json, or application/x-ndjson with one object a line.")
	}
	body, bad := readBody(w, r, maxContacts)
	if bad != nil {
		return nil, false, bad
	}
	body = bytes.TrimSpace(body)
	switch {
	case lines:
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				items = append(items, line)
			}
		}
	case bytes.HasPrefix(body, []byte("[")):
		if err := json.Unmarshal(body, &items); err != nil {
			return nil, false, notJSON(err)
		}
	default:
		return []json.RawMessage{body}, false, nil
	}
	switch {
	case len(items) == 0:
		return nil, true, &problem{Status: http.StatusBadRequest, Title: "Nobody is named", Detail: "The list is empty."}
	case len(items) > mostContacts:
		return nil, true, &problem{Status: http.StatusRequestEntityTooLarge, Title: "Too many", Detail: fmt.Sprintf("A list has %d people at most; send more of them.", mostContacts)}
	}
	return items, true, nil
}

// notJSON says where a body cannot be read, and nothing of it.
func notJSON(err error) *problem {
	bad := &problem{Status: http.StatusBadRequest, Title: "Not readable", Detail: "This is not the JSON that is expected here."}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		bad.Detail = fmt.Sprintf("This is no JSON: see byte %d.", e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		bad.Detail, bad.Pointer = "This must be a text.", "/"+schema.Mask(e.Field)
	}
	return bad
}

// wish reads one wish of a publisher.
func (p *publisher) wish(item []byte) (Wish, *problem) {
	no := func(pointer, detail string) (Wish, *problem) {
		return Wish{}, &problem{Status: http.StatusUnprocessableEntity, Title: "Not done", Detail: detail, Pointer: pointer}
	}
	if len(item) > maxContact {
		return Wish{}, &problem{Status: http.StatusRequestEntityTooLarge, Title: "Too long", Detail: fmt.Sprintf("One person takes %d bytes at most.", maxContact)}
	}
	var c contact
	dec := json.NewDecoder(bytes.NewReader(item))
	dec.DisallowUnknownFields() // a reason that is misspelt is none
	err := dec.Decode(&c)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return no("", fmt.Sprintf("There is no member %s; there are number, address, region, lane, reason and source.", schema.Mask(schema.Cut(name, 64))))
		}
		return Wish{}, notJSON(err)
	}
	w := Wish{
		Region: c.Region, Lane: c.Lane, By: "publisher " + p.Name,
		Reason: strings.TrimSpace(c.Reason), Source: strings.TrimSpace(c.Source),
	}
	switch {
	case c.Number == nil && c.Address == nil:
		return no("/number", "Who is meant? Give number or address.")
	case c.Number != nil && c.Address != nil:
		return no("/address", "Give number or address, and not both.")
	case c.Number != nil:
		if w.Person = *c.Number; strings.Contains(w.Person, "@") {
			return no("/number", "This is no number; an e-mail address is given as address.")
		}
	default:
		if w.Person = *c.Address; !strings.Contains(w.Person, "@") {
			return no("/address", "This is no e-mail address; a number is given as number.")
		}
	}
	switch {
	case w.Reason == "":
		return no("/reason", "Why? Give a reason; it is kept.")
	case len(w.Reason) > maxWords:
		return no("/reason", fmt.Sprintf("A reason has %d bytes at most.", maxWords))
	case len(w.Source) > maxWords:
		return no("/source", fmt.Sprintf("A source has %d bytes at most.", maxWords))
	case w.Lane == "" && !p.Everywhere && len(p.Lanes) == 1:
		w.Lane = p.Lanes[0]
	case w.Lane == "" && !p.Everywhere:
		return no("/lane", "In which lane? This token is for some lanes, and not for all.")
	case w.Lane != "" && !p.feeds(w.Lane):
		return no("/lane", "There is no lane of this name that this token is for.")
	}
	return w, nil
}

// contact does one wish.
func (d *door) contact(ctx context.Context, p *publisher, act contactAct, item []byte) (contactReceipt, *problem) {
	w, bad := p.wish(item)
	if bad != nil {
		return contactReceipt{}, bad
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Patience)
	defer cancel()
	got, err := act(ctx, w)
	if e, ok := errors.AsType[*ContactError](err); ok {
		bad := problem{Status: http.StatusUnprocessableEntity, Title: "Not done", Detail: e.Reason, Pointer: "/number"}
		switch {
		case e.Region:
			bad.Pointer = "/region"
		case strings.Contains(w.Person, "@"):
			bad.Pointer = "/address"
		}
		return contactReceipt{}, &bad
	}
	if err != nil {
		d.lg.Warn().Err(err).Str("publisher", p.Name).Str("lane", w.Lane).Msg("the do-not-contact list was not changed")
		bad := later(http.StatusServiceUnavailable, "Not confirmed", "The broker has not confirmed it; send it again: however often it is sent, it is done once.", again)
		return contactReceipt{}, &bad
	}
	d.lg.Info().Str("publisher", p.Name).Str("lane", w.Lane).Str("person", got.Person).Bool("changed", got.Changed).Bool("blocked", got.Blocked).Msg("do-not-contact list")
	receipt := contactReceipt{Status: http.StatusOK, Person: got.Person, Lane: w.Lane, Changed: got.Changed, Blocked: got.Blocked}
	if got.Changed && got.Blocked {
		receipt.Status = http.StatusCreated
	}
	return receipt, nil
}

// contactList does one wish after the other, and tells of each.
func (d *door) contactList(ctx context.Context, w http.ResponseWriter, p *publisher, act contactAct, items []json.RawMessage) {
	receipts := make([]contactReceipt, len(items))
	refused, stopped := inTurn(len(items), d.cfg.Patience, func(i int) (bad *problem) {
		receipts[i], bad = d.contact(ctx, p, act, items[i])
		return bad
	}, func(i int, bad *problem) {
		if bad != nil {
			receipts[i] = contactReceipt{Status: bad.Status, Title: bad.Title, Detail: bad.Detail, Pointer: bad.Pointer}
		}
		receipts[i].Index = &i
	})
	if refused == 0 {
		write(w, "application/json", http.StatusOK, contactsTaken{http.StatusOK, receipts})
		return
	}
	sum := problem{
		Status: http.StatusUnprocessableEntity, Title: "Not all is done", Contacts: receipts,
		Detail: fmt.Sprintf("%d of %d were not done; each one's status is in contacts. The whole list may be sent again.", refused, len(items)),
	}
	if stopped != nil {
		sum.Status, sum.Title, sum.retry = stopped.Status, "Not all is confirmed", stopped.retry
	}
	d.refuse(w, p, sum)
}
