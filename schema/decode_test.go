package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

// crash made the released SDK's reader dereference nil.
const crash = `{"datacontentencoding":"","specversion":"0.3","id":"1","type":"t","source":"s"}`

var structured = map[string][]string{"Content-Type": {"application/cloudevents+json"}}

// with returns a small valid structured event with more members.
func with(members string) string {
	return `{"specversion":"1.0","id":"1","source":"/crm","type":"lead.created"` + members + `}`
}

// binary returns the headers of a small valid binary event, with more of them.
func binary(more ...string) map[string][]string {
	h := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/crm"}, "ce-type": {"lead.created"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

// without returns headers but for one.
func without(h map[string][]string, name string) map[string][]string {
	delete(h, name)
	return h
}

// deep returns n lists inside each other.
func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func refusal(t *testing.T, err error) *schema.Refusal {
	t.Helper()
	r, ok := errors.AsType[*schema.Refusal](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a *Refusal", err, err)
	}
	return r
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header map[string][]string
		body   string
		want   map[string]string // attributes and data; data_base64 marks bytes
	}{
		{"structured", structured, with(`,"data":{"id":7}`), map[string]string{"data": `{"id":7}`}},
		{"structured, any case", map[string][]string{"content-TYPE": {" Application/CloudEvents+JSON; charset=UTF-8"}}, with(""), nil},
		{"structured, no suffix", map[string][]string{"Content-Type": {"application/cloudevents"}}, with(""), nil},
		{"structured wins over ce- headers", map[string][]string{"Content-Type": {"application/cloudevents+json"}, "ce-specversion": {"1.0"}, "ce-id": {"other"}}, with(""), map[string]string{"id": "1"}},
		{"no header at all", nil, with(`,"data":1`), map[string]string{"data": "1"}},
		{"plain JSON content type", map[string][]string{"Content-Type": {"application/json"}}, with(""), map[string]string{"datacontenttype": ""}},
		{"byte order mark", structured, "\uFEFF" + with(""), nil},
		{"white space around", structured, " \r\n" + with("") + "\n", nil},
		{"null optionals", structured, with(`,"subject":null,"time":null,"dataschema":null,"datacontenttype":null,"mine":null,"data_base64":null,"data":1`), map[string]string{"data": "1", "subject": "", "ext mine": ""}},
		{"null data is data", structured, with(`,"data":null`), map[string]string{"data": "null"}},
		{"all attributes", structured, with(`,"subject":"a b","time":"2026-01-31T10:30:00.5+01:00","dataschema":"urn:x:y","datacontenttype":"application/json"`), map[string]string{"subject": "a b", "time": "2026-01-31T09:30:00.5Z", "dataschema": "urn:x:y", "datacontenttype": "application/json"}},
		{"small t and z", structured, with(`,"time":"2026-01-31t09:30:00z"`), map[string]string{"time": "2026-01-31T09:30:00Z"}},
		{"the time of no time", structured, with(`,"time":"0001-01-01T00:00:00Z"`), map[string]string{"time": "0001-01-01T00:00:00Z"}},
		{"extensions", structured, with(`,"a":"x","b":true,"c":-5,"d":1e2`), map[string]string{"ext a": "x", "ext b": "true", "ext c": "-5", "ext d": "100"}},
		{"space around an id", structured, strings.Replace(with(""), `"1"`, `" 1 "`, 1), map[string]string{"id": "1"}},
		{"text data", structured, with(`,"datacontenttype":"text/plain","data":"hi\n"`), map[string]string{"data": "hi\n"}},
		{"object data of a text type", structured, with(`,"datacontenttype":"text/xml","data":{"a":1}`), map[string]string{"data": `{"a":1}`}},
		{"suffixed JSON", structured, with(`,"datacontenttype":"application/ld+json","data":{"a":1}`), map[string]string{"data": `{"a":1}`}},
		{"base64 of JSON", structured, with(`,"data_base64":"eyJhIjoxfQ=="`), map[string]string{"data": `{"a":1}`}},
		{"base64 of bytes", structured, with(`,"datacontenttype":"image/png","data_base64":"/wA="`), map[string]string{"data": "\xff\x00", "data_base64": "true"}},
		{"half a pair in data", structured, with(`,"data":{"name":"\ud83d"}`), map[string]string{"data": `{"name":"\ud83d"}`}},
		{"a replacement character that was meant", structured, with(`,"subject":"\uFFFD�"`), map[string]string{"subject": "\uFFFD\uFFFD"}},
		{"source with a space", structured, strings.Replace(with(""), "/crm", "/c r m", 1), map[string]string{"source": "/c%20r%20m"}},
		{"source that only looks like ours", structured, strings.Replace(with(""), "/crm", "/weird/x", 1), map[string]string{"source": "/weird/x"}},

		{"deep", structured, with(`,"data":` + deep(64)), map[string]string{"data": deep(64)}},
		{"binary, deep", binary(), deep(64), map[string]string{"data": deep(64)}},
		{"binary", binary(), `{"id":7}`, map[string]string{"data": `{"id":7}`}},
		{"binary, any case", map[string][]string{"CE-SpecVersion": {"1.0"}, "Ce-Id": {"1"}, "cE-source": {"/crm"}, "Ce-Type": {"t"}, "Ce-Mine": {"x"}}, "", map[string]string{"ext mine": "x", "type": "t"}},
		{"binary, no data", binary("Content-Type", "application/json"), "", map[string]string{"data": "", "datacontenttype": "application/json"}},
		{"binary, white space around data", binary(), " 1\n", map[string]string{"data": "1"}},
		{"Content-Type is the data's", binary("Content-Type", "text/plain"), "hi", map[string]string{"datacontenttype": "text/plain", "data": "hi"}},
		{"empty Content-Type", binary("Content-Type", ""), "1", map[string]string{"datacontenttype": ""}},
		{"ce-datacontenttype wins", binary("Content-Type", "text/plain", "ce-datacontenttype", "application/json"), "1", map[string]string{"datacontenttype": "application/json"}},
		{"percent-encoding, once", binary("ce-subject", "a%20b%2520c%e2%82%AC"), "", map[string]string{"subject": "a b%20c€"}},
		{"quoted string", binary("ce-subject", `"a \"b\" c%25"`), "", map[string]string{"subject": `a "b" c%`}},
		{"percent signs that begin nothing", binary("ce-subject", "%zz %4 100%"), "", map[string]string{"subject": "%zz %4 100%"}},
		{"raw UTF-8", binary("ce-subject", "€"), "", map[string]string{"subject": "€"}},
		{"bytes", binary("ce-datacontenttype", "image/png"), "\xff\x00", map[string]string{"data": "\xff\x00", "data_base64": "true"}},
		{"the same header twice, alike", map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"1", "1"}, "CE-ID": {"1"}, "ce-source": {"/crm"}, "ce-type": {"t"}}, "", nil},
		{"foreign headers", binary("Nats-Msg-Id", "%", "X", "\x00"), "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.Decode(tt.header, []byte(tt.body), 0)
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			if err := e.Validate(); err != nil {
				t.Errorf("got an event that the SDK finds invalid: %v", err)
			}
			all := map[string]string{
				"id": e.ID(), "source": e.Source(), "type": e.Type(), "subject": e.Subject(),
				"dataschema": e.DataSchema(), "datacontenttype": e.DataContentType(), "data": string(e.Data()),
				"time": e.Time().UTC().Format(time.RFC3339Nano), "data_base64": fmt.Sprint(e.DataBase64),
			}
			for name, v := range e.Extensions() {
				all["ext "+name] = fmt.Sprint(v)
			}
			for name, want := range tt.want {
				if got := all[name]; got != want {
					t.Errorf("got %s %q, want %q", name, got, want)
				}
			}
			if _, ok := tt.want["data_base64"]; !ok && e.DataBase64 {
				t.Error("got DataBase64 for text, want it for bytes alone")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header map[string][]string
		body   string
		class  schema.Class
		field  string
		reason string // a part of it
	}{
		{"the SDK's crash", structured, crash, schema.ClassVersion, "specversion", "This event was written in CloudEvents version 0.3; send version 1.0."},
		{"the SDK's crash, unmarked", nil, crash, schema.ClassVersion, "specversion", "0.3"},
		{"binary 0.3", binary("ce-specversion", "0.3"), "", schema.ClassVersion, "specversion", "send version 1.0"},
		{"version 2", structured, strings.Replace(with(""), "1.0", "2.0", 1), schema.ClassVersion, "specversion", `"2.0"`},
		{"version as a number", structured, strings.Replace(with(""), `"1.0"`, "1.0", 1), schema.ClassVersion, "specversion", `the text "1.0"`},
		{"version null", structured, strings.Replace(with(""), `"1.0"`, "null", 1), schema.ClassUndecodable, "specversion", "missing"},
		{"empty version", binary("ce-specversion", ""), "", schema.ClassUndecodable, "specversion", "empty"},
		{"version twice", structured, `{"specversion":"0.3",` + with("")[1:], schema.ClassUndecodable, "", `"specversion" is there twice`},

		{"empty", nil, "", schema.ClassUndecodable, "specversion", "not a CloudEvent"},
		{"text", nil, "hello", schema.ClassUndecodable, "specversion", "not a CloudEvent"},
		{"some JSON", nil, `{"id":1}`, schema.ClassUndecodable, "specversion", "not a CloudEvent"},
		{"ce- headers but no version", without(binary(), "ce-specversion"), `{}`, schema.ClassUndecodable, "specversion", "ce-specversion is missing"},
		{"structured list", structured, "[]", schema.ClassUndecodable, "", "not a JSON object"},
		{"structured null", structured, "null", schema.ClassUndecodable, "", "not a JSON object"},
		{"structured, empty body", structured, "", schema.ClassUndecodable, "", "ends too early"},
		{"cut off", structured, with("")[:20], schema.ClassUndecodable, "", "cannot be read as JSON"},
		{"trailing garbage", structured, with("") + "x", schema.ClassUndecodable, "", "follows"},
		{"a second value", structured, with("") + "{}", schema.ClassUndecodable, "", "follows"},
		{"single quotes", structured, "{'specversion':'1.0'}", schema.ClassUndecodable, "", "not JSON from byte"},
		{"bad UTF-8", structured, with(`,"subject":"` + "\xff" + `"`), schema.ClassUndecodable, "", "UTF-8"},
		{"member twice", structured, with(`,"id":"2"`), schema.ClassUndecodable, "", `"id" is there twice`},
		{"member twice, one escaped", structured, with(`,"\u0069d":"2"`), schema.ClassUndecodable, "", `"id" is there twice`},
		{"member of data twice", structured, with(`,"data":{"phone":"a","phone":"b"}`), schema.ClassUndecodable, "", `"phone" is there twice`},
		{"too deep", structured, with(`,"data":` + deep(65)), schema.ClassUndecodable, "", "inside each other"},
		{"far too deep", structured, with(`,"data":` + deep(100_000)), schema.ClassUndecodable, "", "inside each other"},
		{"huge number", structured, with(`,"data":1e999999999`), schema.ClassUndecodable, "", "too large"},
		{"long number", structured, with(`,"data":` + strings.Repeat("1", 129)), schema.ClassUndecodable, "", "digits"},

		{"batch", map[string][]string{"Content-Type": {"application/cloudevents-batch+json"}}, "[]", schema.ClassUndecodable, "Content-Type", "one event in each message"},
		{"another format", map[string][]string{"Content-Type": {"application/cloudevents+xml"}}, "<x/>", schema.ClassUndecodable, "Content-Type", "application/cloudevents+json"},
		{"a type that goes on", map[string][]string{"Content-Type": {"application/cloudeventsx"}}, with(""), schema.ClassUndecodable, "Content-Type", "not read here"},
		{"another character set", map[string][]string{"Content-Type": {"application/cloudevents+json; charset=latin1"}}, with(""), schema.ClassUndecodable, "Content-Type", "UTF-8"},
		{"unreadable type", map[string][]string{"Content-Type": {"application/cloudevents+json; charset"}}, with(""), schema.ClassUndecodable, "Content-Type", "cannot be read"},
		{"two types", map[string][]string{"Content-Type": {"application/cloudevents+json"}, "content-type": {"text/plain"}}, with(""), schema.ClassUndecodable, "content-type", "twice"},

		{"no id", without(binary(), "ce-id"), "", schema.ClassUndecodable, "id", "The event has no id."},
		{"no source", without(binary(), "ce-source"), "", schema.ClassUndecodable, "source", "The event has no source."},
		{"no type", without(binary(), "ce-type"), "", schema.ClassUndecodable, "type", "The event has no type."},
		{"null id", structured, `{"specversion":"1.0","id":null,"source":"/crm","type":"t"}`, schema.ClassUndecodable, "id", "no id"},
		{"empty id", structured, strings.Replace(with(""), `"1"`, `""`, 1), schema.ClassUndecodable, "id", "empty"},
		{"blank id", structured, strings.Replace(with(""), `"1"`, `" "`, 1), schema.ClassUndecodable, "id", "empty"},
		{"id as a number", structured, strings.Replace(with(""), `"1"`, `1`, 1), schema.ClassUndecodable, "id", "must be text"},
		{"half a pair in the id", structured, strings.Replace(with(""), `"1"`, `"\ud83d"`, 1), schema.ClassUndecodable, "id", "not valid text"},
		{"line break in the id", structured, strings.Replace(with(""), `"1"`, `"a\nb"`, 1), schema.ClassUndecodable, "id", "control"},
		{"line break in the id, percent-encoded", binary("ce-id", "a%0Ab"), "", schema.ClassUndecodable, "id", "control"},
		{"no character", structured, with(`,"subject":"\ufffe"`), schema.ClassUndecodable, "subject", "control"},
		{"long id", binary("ce-id", strings.Repeat("x", 4097)), "", schema.ClassTooLarge, "id", "4096"},
		{"long once escaped", binary("ce-source", "/"+strings.Repeat("€", 1000)), "", schema.ClassTooLarge, "source", "4096"},

		{"datacontenttype xyz", structured, with(`,"datacontenttype":"xyz"`), schema.ClassUndecodable, "datacontenttype", "application/json"},
		{"empty datacontenttype", structured, with(`,"datacontenttype":""`), schema.ClassUndecodable, "datacontenttype", "empty"},
		{"Content-Type xyz", binary("Content-Type", "xyz"), "1", schema.ClassUndecodable, "datacontenttype", "xyz"},
		{"empty dataschema", structured, with(`,"dataschema":""`), schema.ClassUndecodable, "dataschema", "empty"},
		{"relative dataschema", structured, with(`,"dataschema":"/x"`), schema.ClassUndecodable, "dataschema", "absolute"},
		{"empty subject", structured, with(`,"subject":""`), schema.ClassUndecodable, "subject", "empty"},
		{"empty ce-subject", binary("ce-subject", ""), "", schema.ClassUndecodable, "subject", "empty"},
		{"bad time", structured, with(`,"time":"yesterday"`), schema.ClassUndecodable, "time", "2026-01-31T09:30:00Z"},
		{"time past all years", structured, with(`,"time":"9999-12-31T23:59:59-01:00"`), schema.ClassUndecodable, "time", "not a time"},
		{"bad source", binary("ce-source", "%25zz"), "", schema.ClassUndecodable, "source", "address or path"},

		{"capital letters", structured, with(`,"BadExt":"x"`), schema.ClassUndecodable, "BadExt", "capital letters"},
		{"odd name", structured, with(`,"my_ext":"x"`), schema.ClassUndecodable, "my_ext", "a to z"},
		{"empty name", structured, with(`,"":"x"`), schema.ClassUndecodable, "", "no name"},
		{"odd header", binary("ce-my-ext", "x"), "", schema.ClassUndecodable, "my-ext", "a to z"},
		{"ce-data", binary("ce-data", "x"), "", schema.ClassUndecodable, "data", "kept"},
		{"object extension", structured, with(`,"mine":{}`), schema.ClassUndecodable, "mine", "only data"},
		{"broken number", structured, with(`,"mine":1.5`), schema.ClassUndecodable, "mine", "whole number"},
		{"large number", structured, with(`,"mine":2147483648`), schema.ClassUndecodable, "mine", "whole number"},

		{"data twice over", structured, with(`,"data":1,"data_base64":"MQ=="`), schema.ClassUndecodable, "data", "both"},
		{"base64 that is none", structured, with(`,"data_base64":"*"`), schema.ClassUndecodable, "data_base64", "not Base64"},
		{"base64 as a number", structured, with(`,"data_base64":1`), schema.ClassUndecodable, "data_base64", "must be text"},
		{"base64 of what is not JSON", structured, with(`,"data_base64":"eA=="`), schema.ClassUndecodable, "data", "JSON"},
		{"binary, not JSON", binary(), "hello", schema.ClassUndecodable, "data", "JSON"},
		{"binary, not JSON by suffix", binary("Content-Type", "application/x+json"), "hello", schema.ClassUndecodable, "data", "JSON"},
		{"binary, member twice", binary(), `{"a":1,"a":2}`, schema.ClassUndecodable, "data", "twice"},
		{"binary, too deep", binary(), deep(65), schema.ClassUndecodable, "data", "inside each other"},
		{"binary, garbage after", binary(), `{} {}`, schema.ClassUndecodable, "data", "follows"},

		{"header twice", map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"1", "2"}}, "", schema.ClassUndecodable, "ce-id", "twice"},
		{"header twice by case", binary("CE-Id", "2"), "", schema.ClassUndecodable, "ce-id", "twice"},
		{"percent-encoded bad UTF-8", binary("ce-subject", "%ff"), "", schema.ClassUndecodable, "subject", "UTF-8"},
		{"overlong UTF-8", binary("ce-subject", "%c0%af"), "", schema.ClassUndecodable, "subject", "UTF-8"},
		{"raw bad UTF-8", binary("ce-subject", "\xff"), "", schema.ClassUndecodable, "subject", "UTF-8"},
		{"open quotation mark", binary("ce-subject", `"abc`), "", schema.ClassUndecodable, "subject", "not closed"},
		{"quotation mark alone", binary("ce-subject", `"`), "", schema.ClassUndecodable, "subject", "not closed"},
		{"escaped end", binary("ce-subject", `"abc\"`), "", schema.ClassUndecodable, "subject", "not closed"},

		{"our source", structured, strings.Replace(with(""), "/crm", "/weir/acme", 1), schema.ClassSource, "source", "/weir/"},
		{"our source, binary", binary("ce-source", "/weir/acme"), "", schema.ClassSource, "source", "/weir/"},
		{"our source, escaped", binary("ce-source", "/%2577eir/acme"), "", schema.ClassSource, "source", "/weir/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.Decode(tt.header, []byte(tt.body), 0)
			if err == nil {
				t.Fatalf("got event %v, want a refusal", e)
			}
			r := refusal(t, err)
			if r.Class != tt.class || r.Field != tt.field || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("got %s %q %q; want %s %q and %q in the reason", r.Class, r.Field, r.Reason, tt.class, tt.field, tt.reason)
			}
			if e.Context != nil || e.DataEncoded != nil {
				t.Errorf("got event %v beside a refusal, want none", e)
			}
		})
	}
}

func TestDecodeLimit(t *testing.T) {
	t.Parallel()
	body := func(n int) []byte { return fmt.Appendf(nil, "%q", strings.Repeat("x", n-2)) }
	tests := []struct {
		name  string
		bytes int
		limit int
		ok    bool
	}{
		{"default, just", schema.DefaultLimit, 0, true},
		{"default, over", schema.DefaultLimit + 1, 0, false},
		{"negative is the default", schema.DefaultLimit + 1, -1, false},
		{"own, just", 10, 10, true},
		{"own, over", 11, 10, false},
		{"own, above the default", schema.DefaultLimit + 1, schema.DefaultLimit * 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.Decode(binary(), body(tt.bytes), tt.limit)
			if tt.ok {
				if err != nil {
					t.Fatalf("got %v, want no error", err)
				}
				return
			}
			if r := refusal(t, err); r.Class != schema.ClassTooLarge {
				t.Errorf("got class %s, want %s", r.Class, schema.ClassTooLarge)
			}
		})
	}
}

// What a message's buffer becomes later must not change the event.
func TestDecodeKeepsNoReference(t *testing.T) {
	t.Parallel()
	for name, message := range map[string]struct {
		header map[string][]string
		body   string
	}{"structured": {structured, with(`,"data":{"a":1}`)}, "binary": {binary(), `{"a":1}`}} {
		body := []byte(message.body)
		e, err := schema.Decode(message.header, body, 0)
		if err != nil {
			t.Fatal(err)
		}
		clear(body)
		if got, want := string(e.Data()), `{"a":1}`; got != want {
			t.Errorf("%s: got data %q after the body changed, want %q", name, got, want)
		}
	}
}

// Names and values that a sender chose must not carry a number into a reason.
func TestReasonsAreMasked(t *testing.T) {
	t.Parallel()
	const phone, address = "+4915112345678", "anna.schmidt@example.com"
	messages := []struct {
		header map[string][]string
		body   string
	}{
		{structured, with(`,"time":"` + phone + `"`)},
		{structured, with(`,"dataschema":"` + address + `"`)},
		{structured, with(`,"` + phone + `":"x"`)},
		{structured, with(`,"data":{"` + address + `":1,"` + address + `":2}`)},
		{structured, with(`,"datacontenttype":"` + phone + `"`)},
		{binary("ce-specversion", phone), ""},
		{binary("ce-"+phone, "x"), ""},
		{map[string][]string{"Content-Type": {"application/cloudevents+" + phone}}, ""},
	}
	for _, m := range messages {
		_, err := schema.Decode(m.header, []byte(m.body), 0)
		r := refusal(t, err)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), phone[1:]) || strings.Contains(string(text), "anna") {
			t.Errorf("got refusal %s, want it masked", text)
		}
	}
}

func TestRefusalError(t *testing.T) {
	t.Parallel()
	got := []string{
		(&schema.Refusal{Reason: "It is bad."}).Error(),
		(&schema.Refusal{Field: "data.phone", Reason: "It is bad."}).Error(),
		(&schema.Refusal{Field: "data.phone", Reason: "The data.phone is bad."}).Error(),
		(&schema.Skip{Reason: "Not now."}).Error(),
	}
	want := []string{"It is bad.", "data.phone: It is bad.", "The data.phone is bad.", "Not now."}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}
