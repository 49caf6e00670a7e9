package schema_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

func TestRedial(t *testing.T) {
	t.Parallel()
	if schema.Redial(event.New()) {
		t.Error("an event without the attribute: got true")
	}
	for _, test := range []struct {
		value any
		want  bool
	}{
		{true, true}, {false, false}, {"true", true}, {"lead-1", true}, {"false", false}, {"FALSE", false}, {"0", false}, {"", false}, {int32(1), false},
	} {
		e := event.New()
		e.SetExtension("redial", test.value)
		if got := schema.Redial(e); got != test.want {
			t.Errorf("redial %v: got %v, want %v", test.value, got, test.want)
		}
	}
}

// A redial is the event again, under an id of its own, and reads back as what it is
// in both modes, whatever the first event's id is.
func TestAgain(t *testing.T) {
	t.Parallel()
	placed := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	for _, id := range []string{"evt-1", "0", "false", "a b%\"ü", strings.Repeat("x", 4096)} {
		first := event.New()
		first.SetID(id)
		first.SetSource("/crm")
		first.SetType("lead.created")
		first.SetExtension("campaign", "spring")
		if err := first.SetData(event.ApplicationJSON, map[string]string{"id": "7", "phone": "+14155550101"}); err != nil {
			t.Fatal(err)
		}
		if _, n := schema.Redialled(first); n != 0 {
			t.Errorf("the first event is redial %d of another one", n)
		}
		again := schema.Again(schema.Again(first, id, 1, placed, placed), id, 2, placed, placed.Add(time.Hour+time.Millisecond))
		for _, mode := range []schema.Mode{schema.Structured, schema.Binary} {
			header, body, err := schema.Encode(again, mode)
			if err != nil {
				t.Fatal(err)
			}
			got, err := schema.Decode(header, body, 0)
			if err != nil {
				t.Fatal(err)
			}
			of, n := schema.Redialled(got)
			life, err := schema.LifetimeOf(got)
			if of != id || n != 2 || !schema.Redial(got) || err != nil || !life.NotBefore.Equal(placed.Add(time.Hour+time.Second)) {
				t.Errorf("of %.20q: got redial %d of %.20q, %v, %v", id, n, of, life, err)
			}
			if got.ID() == id || got.ID() != schema.RedialID(id, 2) || got.Source() != "/crm" || got.Extensions()["campaign"] != "spring" || !got.Time().Equal(placed) || schema.Digest(got) != schema.Digest(first) {
				t.Errorf("of %.20q: got %v", id, got)
			}
		}
	}
}

// Nobody but Weir makes a redial that a lane counts: the id shows it.
func TestRedialledByItsPublisher(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		id             string
		first, numbers any
		want           int
	}{
		{"a.redial.1", "a", int32(1), 1},
		{"a.redial.1", "a", "1", 1},
		{"a.redial.1", "a", int32(2), 0},
		{"a.redial.1", "b", int32(1), 0},
		{"a.redial.0", "a", int32(0), 0},
		{"a.redial.1", "a", nil, 0},
		{"a.redial.1", true, int32(1), 0},
		{".redial.1", "", int32(1), 0},
		{"b", "a", int32(1), 0},
		{"a.redial.10", "a", int32(10), 10},
		{"a.redial.11", "a", int32(11), 0},
		{"a.redial.9223372036854775807", "a", "9223372036854775807", 0}, // one more is less than none
	} {
		e := event.New()
		e.SetID(test.id)
		e.SetExtension("redial", test.first)
		if test.numbers != nil {
			e.SetExtension("redialnumber", test.numbers)
		}
		if _, n := schema.Redialled(e); n != test.want {
			t.Errorf("%+v: got %d", test, n)
		}
	}
}

// A route tells a redial, and the how manyeth, in whatever way its event came.
func TestARouteByRedials(t *testing.T) {
	t.Parallel()
	routes, err := schema.CompileRoutes([]schema.RouteSource{
		{Type: "lead.created", When: "(redialnumber ?? 0) > 1", Request: map[string]any{"to": "later"}},
		{Type: "lead.created", When: "redialnumber == 1", Request: map[string]any{"to": "second of ${ redial }"}},
		{Type: "lead.created", Request: map[string]any{"to": "first"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := event.New()
	first.SetID("a")
	first.SetSource("/crm")
	first.SetType("lead.created")
	for number, want := range []string{"first", "second of a", "later"} {
		e := first
		if number > 0 {
			e = schema.Again(first, "a", number, time.Now(), time.Now())
		}
		for _, mode := range []schema.Mode{schema.Structured, schema.Binary} {
			header, body, err := schema.Encode(e, mode)
			if err != nil {
				t.Fatal(err)
			}
			got, err := schema.Decode(header, body, 0)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := routes.Choose(got); err != nil || c.Request["to"] != want {
				t.Errorf("redial %d, mode %d: got %v, %v; want %q", number, mode, c.Request, err, want)
			}
		}
	}
}
