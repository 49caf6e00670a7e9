package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// line is what a test expects of one message.
type line struct {
	Place  string
	Header map[string][]string
	Body   string
	Err    string
}

func read(name, text string) []line {
	var got []line
	src := source{name: name, format: formatOf(name)}
	for m, err := range (&publisher{}).messages(src, strings.NewReader(text)) {
		l := line{Place: m.place, Header: m.header, Body: string(m.body)}
		if err != nil {
			l = line{Place: m.place, Err: err.Error()}
		}
		got = append(got, l)
	}
	return got
}

func TestMessages(t *testing.T) {
	t.Parallel()
	event := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
	for _, tt := range []struct {
		name, file, text string
		want             []line
	}{
		{"empty", "a.ndjson", "", nil},
		{"lines, blank lines, no last line break", "a.ndjson", "{\"id\":1}\r\n\n  \n{\"id\":2}", []line{
			{Place: "a.ndjson:1", Header: event, Body: `{"id":1}`},
			{Place: "a.ndjson:4", Header: event, Body: `{"id":2}`},
		}},
		{"byte order mark", "a.jsonl", "\ufeff{\"id\":1}\n", []line{{Place: "a.jsonl:1", Header: event, Body: `{"id":1}`}}},
		{"no JSON is sent as it is", "-", "hello\n{\"id\":\n", []line{
			{Place: "-:1", Header: event, Body: "hello"},
			{Place: "-:2", Header: event, Body: `{"id":`},
		}},
		{"recorded with data", "a.ndjson", `{"headers":{"ce-id":"1","X":["a","b"]},"data":{"n": 1.0}}`, []line{
			{Place: "a.ndjson:1", Header: map[string][]string{"ce-id": {"1"}, "X": {"a", "b"}}, Body: `{"n": 1.0}`},
		}},
		{"recorded with body", "a.ndjson", `{"headers":{},"body":"{\"cut\":"}`, []line{
			{Place: "a.ndjson:1", Header: map[string][]string{}, Body: `{"cut":`},
		}},
		{"recorded with neither", "a.ndjson", `{"headers":{"ce-id":"1"}}`, []line{
			{Place: "a.ndjson:1", Header: map[string][]string{"ce-id": {"1"}}},
		}},
		{"an event's attribute may be called headers", "a.ndjson", `{"specversion":"1.0","headers":"x"}`, []line{
			{Place: "a.ndjson:1", Header: event, Body: `{"specversion":"1.0","headers":"x"}`},
		}},
		{"recorded wrongly, the next one is well", "a.ndjson", "{\"headers\":{\"a\":1},\"data\":1}\n{\"headers\":{},\"data\":1,\"body\":\"\"}\n{\"headers\":{},\"body\":{}}\n1\n", []line{
			{Place: "a.ndjson:1", Err: `header "a" of a recorded message must be text or a list of texts`},
			{Place: "a.ndjson:2", Err: "a recorded message has either body or data"},
			{Place: "a.ndjson:3", Err: "the body of a recorded message must be text; give JSON as data"},
			{Place: "a.ndjson:4", Header: event, Body: "1"},
		}},
		{"one object", "a.json", "\n {\n\"id\": 1}\n", []line{{Place: "a.json", Header: event, Body: "{\n\"id\": 1}"}}},
		{"array", "a.JSON", `[{"id":1},{"headers":{},"data":2}]`, []line{
			{Place: "a.JSON[0]", Header: event, Body: `{"id":1}`},
			{Place: "a.JSON[1]", Header: map[string][]string{}, Body: "2"},
		}},
		{"empty array", "a.json", `[]`, nil},
		{"two values", "a.json", "{}\n{}", []line{
			{Place: "a.json", Header: event, Body: "{}"},
			{Place: "a.json", Err: "the file holds more than one JSON value; a file with one event a line must end in .ndjson"},
		}},
		{"array cut off", "a.json", `[{"id":1},{"id"`, []line{
			{Place: "a.json[0]", Header: event, Body: `{"id":1}`},
			{Place: "a.json", Err: "unexpected EOF; a file with one event a line must end in .ndjson"},
		}},
		{"empty document", "a.json", " ", []line{
			{Place: "a.json", Err: "the file holds no JSON: EOF; a file with one event a line must end in .ndjson"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, read(tt.file, tt.text)); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessagesLongLines(t *testing.T) {
	t.Parallel()
	fits, long := strings.Repeat("x", maxLine-1), strings.Repeat("x", maxLine+1)
	for _, tt := range []struct {
		name, text string
		want       []string // the lines' places, with a mark for an error
	}{
		{"just fits", fits + "\n{}\n", []string{"a:1", "a:2"}},
		{"too long, the next one is well", long + "\n{}\n", []string{"a:1 long", "a:2"}},
		{"too long, last", "{}\n" + long, []string{"a:1", "a:2 long"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, l := range read("a", tt.text) {
				if l.Err == errLongLine.Error() {
					l.Place += " long"
				}
				got = append(got, l.Place)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("places (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzMessages(f *testing.F) {
	for _, text := range []string{"", "{}\n[]", "[1,2", `[{"headers":{}}]`, "\ufeff", "{\"headers\":{\"a\":[]}}\n\n"} {
		f.Add("a.json", text)
		f.Add("a.ndjson", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		most := len(text) + 2 // a message has at least one byte of text, and one error may follow
		for _, l := range read(name, text) {
			if most--; most < 0 {
				t.Fatal("got more messages than the text can hold")
			}
			if l.Place == "" && name != "" {
				t.Errorf("got a message without a place: %+v", l)
			}
		}
	})
}
