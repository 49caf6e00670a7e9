package schema_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/schema"
)

// sample is an event in which every attribute needs care.
func sample() event.Event {
	e := event.New()
	e.SetID(`7 "x" 100% €`)
	e.SetSource("/crm/a b")
	e.SetType("lead.created")
	e.SetSubject("Zoë\u00a0~")
	e.SetTime(time.Date(2026, 1, 31, 10, 30, 0, 5, time.FixedZone("", 3600)))
	e.SetDataSchema("https://example.com/s?q=1")
	e.SetDataContentType("application/json; charset=utf-8")
	e.SetExtension("flag", true)
	e.SetExtension("count", -3)
	e.SetExtension("at", time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	e.DataEncoded = []byte(`{"a": [1, "<&>"]}`)
	return e
}

func TestEncodeBinary(t *testing.T) {
	t.Parallel()
	header, body, err := schema.Encode(sample(), schema.Binary)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"ce-specversion":     {"1.0"},
		"ce-id":              {"7%20%22x%22%20100%25%20%E2%82%AC"},
		"ce-source":          {"/crm/a%2520b"},
		"ce-type":            {"lead.created"},
		"ce-subject":         {"Zo%C3%AB%C2%A0~"},
		"ce-time":            {"2026-01-31T09:30:00.000000005Z"},
		"ce-dataschema":      {"https://example.com/s?q=1"},
		"ce-datacontenttype": {"application/json;%20charset=utf-8"},
		"ce-flag":            {"true"},
		"ce-count":           {"-3"},
		"ce-at":              {"2026-02-01T00:00:00Z"},
	}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if got, want := string(body), `{"a": [1, "<&>"]}`; got != want {
		t.Errorf("got body %s, want %s", got, want)
	}
}

func TestEncodeStructured(t *testing.T) {
	t.Parallel()
	header, body, err := schema.Encode(sample(), schema.Structured)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("got a body that is not JSON: %v\n%s", err, body)
	}
	want := map[string]any{
		"specversion": "1.0", "id": `7 "x" 100% €`, "source": "/crm/a%20b", "type": "lead.created",
		"subject": "Zoë\u00a0~", "time": "2026-01-31T09:30:00.000000005Z",
		"dataschema": "https://example.com/s?q=1", "datacontenttype": "application/json; charset=utf-8",
		"flag": true, "count": -3.0, "at": "2026-02-01T00:00:00Z",
		"data": map[string]any{"a": []any{1.0, "<&>"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	var sdk event.Event
	if err := json.Unmarshal(body, &sdk); err != nil || sdk.Validate() != nil {
		t.Errorf("got errors %v, %v from the SDK's reader, want none", err, sdk.Validate())
	}
}

func TestEncodeData(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind, data, want string
	}{
		{"", `{"a":1}`, `"data":{"a":1}`},
		{"application/ld+json", `{"a":1}`, `"data":{"a":1}`},
		{"text/json", `"x"`, `"data":"x"`},
		{"text/plain", "a\"\x01<", `"data":"a\"\u0001<"`},
		{"text/plain", "\xff", `"data_base64":"/w=="`},
		{"image/png", "", `"type":"t"}`},
	}
	for _, tt := range tests {
		e := event.New()
		e.SetID("1")
		e.SetSource("/crm")
		e.SetType("t")
		if tt.kind != "" {
			e.SetDataContentType(tt.kind)
		}
		e.DataEncoded = []byte(tt.data)
		e.DataBase64 = true // as the SDK leaves it for []byte, whatever it holds
		_, body, err := schema.Encode(e, schema.Structured)
		if err != nil {
			t.Errorf("%q: %v", tt.kind, err)
			continue
		}
		if !strings.Contains(string(body), tt.want) {
			t.Errorf("%q: got %s, want %s in it", tt.kind, body, tt.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(c *event.EventContextV1, e *event.Event)) event.Event {
		e := sample()
		f(e.Context.(*event.EventContextV1), &e)
		return e
	}
	old := event.New("0.3")
	old.SetID("1")
	old.SetSource("/crm")
	old.SetType("t")
	tests := map[string]event.Event{
		"no context":         {},
		"version 0.3":        old,
		"no id":              change(func(c *event.EventContextV1, _ *event.Event) { c.ID = "" }),
		"no source":          change(func(c *event.EventContextV1, _ *event.Event) { c.Source = types.URIRef{} }),
		"line break":         change(func(c *event.EventContextV1, _ *event.Event) { c.ID = "a\nb" }),
		"bad UTF-8":          change(func(c *event.EventContextV1, _ *event.Event) { c.ID = "\xff" }),
		"capital letters":    change(func(c *event.EventContextV1, _ *event.Event) { c.Extensions["Bad"] = "x" }),
		"forged attribute":   change(func(c *event.EventContextV1, _ *event.Event) { c.Extensions["data"] = "x" }),
		"object extension":   change(func(c *event.EventContextV1, _ *event.Event) { c.Extensions["mine"] = struct{}{} }),
		"data not JSON":      change(func(_ *event.EventContextV1, e *event.Event) { e.DataEncoded = []byte("x") }),
		"injection by data":  change(func(_ *event.EventContextV1, e *event.Event) { e.DataEncoded = []byte(`1,"id":"2"`) }),
		"a setter had error": change(func(_ *event.EventContextV1, e *event.Event) { e.SetSource("%zz") }),
	}
	for name, e := range tests {
		for _, mode := range []schema.Mode{schema.Structured, schema.Binary} {
			header, body, err := schema.Encode(e, mode)
			if err == nil {
				t.Errorf("%s: got header %v and body %s, want an error", name, header, body)
			}
		}
	}
	if _, _, err := schema.Encode(sample(), schema.Mode(9)); err == nil {
		t.Error("got no error for an unknown mode")
	}
}

// Weir's own outcomes can be written; only as input are they refused.
func TestEncodeOwnSource(t *testing.T) {
	t.Parallel()
	e := sample()
	e.SetSource("/weir/acme")
	for _, mode := range []schema.Mode{schema.Structured, schema.Binary} {
		header, body, err := schema.Encode(e, mode)
		if err != nil {
			t.Fatalf("mode %d: %v", mode, err)
		}
		_, err = schema.Decode(header, body, 0)
		if r := refusal(t, err); r.Class != schema.ClassSource {
			t.Errorf("mode %d: got class %s, want %s", mode, r.Class, schema.ClassSource)
		}
	}
}

// text draws what CloudEvents allows in a string, without space around it.
func text(rt *rapid.T, name string) string {
	s := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 %\"'\\<>&;=,~/é€😀\u00a0\u2028\uFFFD")), 1, 30, -1).Draw(rt, name)
	return "x" + s + "x"
}

// drawn makes any event that Decode could have returned.
func drawn(rt *rapid.T) event.Event {
	e := event.New()
	e.SetID(text(rt, "id"))
	e.SetType(text(rt, "type"))
	e.SetSource((&url.URL{Path: "/" + text(rt, "source")}).String())
	if rapid.Bool().Draw(rt, "optional") {
		e.SetSubject(text(rt, "subject"))
		e.SetDataSchema("urn:" + url.PathEscape(text(rt, "dataschema")))
		e.SetTime(time.Unix(rapid.Int64Range(-1e9, 4e9).Draw(rt, "s"), rapid.Int64Range(0, 999_999_999).Draw(rt, "ns")).UTC())
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`x[a-z0-9]{0,10}`), 0, 4, rapid.ID).Draw(rt, "extensions") {
		switch rapid.IntRange(0, 2).Draw(rt, "kind") {
		case 0:
			e.SetExtension(name, text(rt, "value"))
		case 1:
			e.SetExtension(name, rapid.Bool().Draw(rt, "value"))
		default:
			e.SetExtension(name, rapid.Int32().Draw(rt, "value"))
		}
	}
	switch rapid.IntRange(0, 3).Draw(rt, "data") {
	case 0:
	case 1:
		b, err := json.Marshal(map[string]any{text(rt, "name"): rapid.Float64().Draw(rt, "number"), "s": rapid.String().Draw(rt, "string")})
		if err != nil {
			rt.Fatal(err)
		}
		e.DataEncoded = b
	case 2:
		e.SetDataContentType("text/plain; charset=\"utf-8\"")
		e.DataEncoded = []byte(text(rt, "text"))
	default:
		e.SetDataContentType("image/png")
		e.DataEncoded = append(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes"), 0xFF)
		e.DataBase64 = true
	}
	return e
}

// view is what of an event must survive. Binary mode knows text alone.
func view(e event.Event, m schema.Mode) map[string]any {
	v := map[string]any{
		"specversion": e.SpecVersion(), "id": e.ID(), "source": e.Source(), "type": e.Type(), "subject": e.Subject(),
		"dataschema": e.DataSchema(), "datacontenttype": e.DataContentType(), "time": e.Time().Format(time.RFC3339Nano),
		"data": string(e.Data()), "data_base64": e.DataBase64,
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extensions())) {
		v["ext "+name] = e.Extensions()[name]
		if m == schema.Binary {
			v["ext "+name] = fmt.Sprint(e.Extensions()[name])
		}
	}
	return v
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]schema.Mode{"structured": schema.Structured, "binary": schema.Binary} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				e := drawn(rt)
				header, body, err := schema.Encode(e, mode)
				if err != nil {
					rt.Fatalf("encode: %v", err)
				}
				for name, values := range header {
					for _, v := range values {
						if name != "Content-Type" && strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
							rt.Errorf("got header %s: %q, want printable ASCII", name, v)
						}
					}
				}
				got, err := schema.Decode(header, body, 0)
				if err != nil {
					rt.Fatalf("decode: %v\n%s", err, body)
				}
				if diff := cmp.Diff(view(e, mode), view(got, mode)); diff != "" {
					rt.Errorf("event (-want +got):\n%s", diff)
				}
				if schema.Digest(e) != schema.Digest(got) {
					rt.Errorf("got another digest after the round trip")
				}
			})
		})
	}
}
