package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Contacts is what the page of contacts reads and does. A person is a number or an
// address as somebody typed it; what is wrong with it is Invalid.
type Contacts interface {
	// Blocked lists who must not be contacted in a lane, or anywhere.
	Blocked(ctx context.Context, lane string, from, most int) (BlockList, error)
	// Person is what is known of one.
	Person(ctx context.Context, person, lane string) (Contact, error)
	// Block forbids to contact one, in a lane or, where that is empty, in all; Allow
	// takes that back.
	Block(ctx context.Context, person, lane, source string, a Act) (Result, error)
	Allow(ctx context.Context, person, lane string, a Act) (Result, error)
}

// BlockList is a part of those who must not be contacted.
type BlockList struct {
	Blocks []Blocked
	Total  int
	Rest   string // a sentence: what could not be read; empty: all was
}

// Blocked is one line of the list. Person is masked, and empty where the list has a
// key; then Hash tells people apart.
type Blocked struct {
	Person, Hash       string
	Where              string
	Since              time.Time
	By, Source, Reason string
}

// Contact is what is known of a person.
type Contact struct {
	Person string // masked
	Blocks []Blocked
	Told   string // who allowed the person again, in a sentence; empty: nobody
}

// contactsPages are the pages of contacts.
func (c *Console) contactsPages() []entry {
	return []entry{
		{path: "/contacts", nav: "Contacts", ofLane: true, show: c.showContacts, act: c.lookUp},
		{path: "/contacts/block", act: c.block},
		{path: "/contacts/allow", act: c.allow},
	}
}

// contactsView is the page of contacts.
type contactsView struct {
	Look, Block, Allow form
	Person             *Contact // who was looked up; nil: nobody
	Found              *table
	Filter             form
	List               BlockList
	Table              *table
}

// whoField is where a person is typed.
func whoField(id string) field {
	return field{
		Name: personField, ID: id + "-person", Label: "Number or e-mail address", Help: "Such as +14155550123. It is not shown again.",
		Required: true, Max: 254, Complete: "off",
	}
}

func (c *Console) showContacts(ctx context.Context, v *visit) (view, error) {
	return c.contactsPage(ctx, v.URL.Query(), nil)
}

// contactsPage shows the list, changed by what there is to say of a form.
func (c *Console) contactsPage(ctx context.Context, asked url.Values, change func(*contactsView) int) (view, error) {
	lane := laneOf(asked.Get("lane"))
	from, _ := strconv.Atoi(asked.Get("from"))
	from = min(max(from, 0), 1<<30)
	list, err := c.desks.Contacts.Blocked(ctx, lane, from, pageOf)
	if err != nil {
		return view{}, err
	}
	shown := contactsView{
		Look: form{Action: "/contacts", Button: "Look up", Fields: []field{whoField("look"), c.laneField("look", "")}},
		Block: form{Action: "/contacts/block", Button: "Block", Danger: true, Fields: []field{
			whoField("block"), c.laneField("block", ""),
			{Name: "source", ID: "block-source", Label: "Where the wish was told", Help: "Such as call, mail or list; may be left empty.", Max: mostReason},
			reasonField("block"),
		}},
		Allow:  form{Action: "/contacts/allow", Button: "Allow again", Fields: []field{whoField("allow"), c.laneField("allow", ""), reasonField("allow")}},
		Filter: form{Action: "/contacts", Method: "get", Button: "Filter", Inline: true, Fields: []field{c.laneField("filter", lane)}},
		List:   list, Table: blocksTable(list.Blocks, "Nobody is blocked."),
	}
	if next := from + len(list.Blocks); next < list.Total && len(list.Blocks) > 0 {
		q := url.Values{"from": {strconv.Itoa(next)}}
		if lane != "" {
			q.Set("lane", lane)
		}
		shown.Table.More = "/contacts?" + q.Encode()
	}
	page := view{Template: "contacts", Title: "Contacts"}
	if change != nil {
		page.Status = change(&shown)
	}
	page.Data = shown
	return page, nil
}

// blocksTable lists who is blocked.
func blocksTable(blocks []Blocked, empty string) *table {
	t := &table{Caption: "Who must not be contacted", Head: []string{"Person", "Where", "Since", "By", "Why"}, Empty: empty}
	for _, b := range blocks {
		t.Rows = append(t.Rows, []cell{
			{Text: dash(clip(b.Person, 60)), Sub: clip(b.Hash, 12)}, {Text: b.Where}, {Text: clock(b.Since), Class: "nowrap"},
			{Text: dash(clip(b.By, 40))}, {Text: dash(clip(b.Reason, 160)), Sub: clip(b.Source, 60), Class: "wide"},
		})
	}
	return t
}

// lookUp shows one person. It changes nothing, and is a POST so that nobody's number
// stands in an address.
func (c *Console) lookUp(ctx context.Context, v *visit) (done, error) {
	p, err := c.desks.Contacts.Person(ctx, v.field(personField), laneOf(v.field("lane")))
	wrong, isWrong := wrongForm(err)
	if err != nil && !isWrong {
		return done{}, err
	}
	shown, err := c.contactsPage(ctx, nil, func(s *contactsView) int {
		if isWrong {
			s.Look.mark(wrong, v.PostForm)
			return http.StatusUnprocessableEntity
		}
		s.Person, s.Found = &p, blocksTable(p.Blocks, "This person is not blocked.")
		return http.StatusOK
	})
	return again(shown), err
}

func (c *Console) block(ctx context.Context, v *visit) (done, error) {
	return c.changeContact(ctx, v, func(s *contactsView) *form { return &s.Block }, func(person, lane string, a Act) (Result, error) {
		return c.desks.Contacts.Block(ctx, person, lane, plain(v.PostForm.Get("source"), mostReason), a)
	})
}

func (c *Console) allow(ctx context.Context, v *visit) (done, error) {
	return c.changeContact(ctx, v, func(s *contactsView) *form { return &s.Allow }, func(person, lane string, a Act) (Result, error) {
		return c.desks.Contacts.Allow(ctx, person, lane, a)
	})
}

// changeContact blocks or allows a person.
func (c *Console) changeContact(ctx context.Context, v *visit, at func(*contactsView) *form, do func(person, lane string, a Act) (Result, error)) (done, error) {
	var r Result
	lane := v.field("lane")
	a, err := v.act()
	switch {
	case err != nil:
	case lane != laneOf(lane): // must not pass for all lanes
		err = Invalid{"lane", "There is no lane of that name."}
	default:
		r, err = do(v.field(personField), lane, a)
	}
	if wrong, ok := wrongForm(err); ok {
		shown, err := c.contactsPage(ctx, nil, func(s *contactsView) int {
			at(s).mark(wrong, v.PostForm)
			return http.StatusUnprocessableEntity
		})
		return again(shown), err
	}
	if err != nil {
		return done{}, err
	}
	return done{to: "/contacts", word: r.word()}, nil
}
