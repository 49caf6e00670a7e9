package plainjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema/plainjson"
)

// FuzzMembers holds the reader of one pass against the standard decoder.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[{"c":"x"}],"a":2}`, `[1,"x",{},[null]]`, `[1,]`, `[01]`, `{"a":"\u12g4"}`, ` [ "\ud800" ] `, `["\"`, `{"é":1}`, `[tru]`, `{}`, `[`, `[-]`, `"x"`,
		`{"a\u0062":1}`, `{"a":1}x`, `[1]]`, "[\"\t\"]", "{\"\n\":1}", `["\/\u00aF"]`, `[-0,1E+5,1e400]`, `[1.]`, `[.5]`, `[1e]`, "[1,\v2]", "\ufeff[]", `{"a":1,}`, `{"a" 1}`, `{a:1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		object := map[string]json.RawMessage{}
		if plainjson.Members(raw, func(name []byte, raw json.RawMessage) bool { object[string(name)] = raw; return true }) {
			var want map[string]json.RawMessage
			if err := json.Unmarshal(raw, &want); err != nil || cmp.Diff(want, object) != "" {
				t.Fatalf("%q: %v, -decoder +one pass\n%s", raw, err, cmp.Diff(want, object))
			}
		}
		list := []json.RawMessage{}
		if plainjson.Elements(raw, func(raw json.RawMessage) bool { list = append(list, raw); return true }) {
			var want []json.RawMessage
			if err := json.Unmarshal(raw, &want); err != nil || cmp.Diff(want, list) != "" {
				t.Fatalf("%q: %v, -decoder +one pass\n%s", raw, err, cmp.Diff(want, list))
			}
		}
		if got, ok := plainjson.Text(raw); ok {
			var want string
			if err := json.Unmarshal(raw, &want); err != nil || got != want {
				t.Fatalf("%q: got %q, want %q (%v)", raw, got, want, err)
			}
		}
	})
}

// What programs write as a rule is read in one pass.
func TestPlainJSONIsReadInOnePass(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`{"results":[{"id":"c","vars":"{\"a\":\"1\"}","n":-1.5e3,"u":"\u00aF","t":true,"f":false,"z":null,"o":{},"l":[]}],"errors":[]}`, " {\r\n\t\"a\" : [ 1 , 2 ] }\n",
		`{"a":[` + strings.Repeat("{},", 99) + `[]]}`,
	} {
		if !plainjson.Members([]byte(s), func([]byte, json.RawMessage) bool { return true }) {
			t.Errorf("%s: is left to the decoder", s)
		}
	}
}

// What is far too deep is the decoder's to refuse, and no stack's.
func TestDeepJSONIsLeftToTheDecoder(t *testing.T) {
	t.Parallel()
	for levels, want := range map[int]bool{64: true, 65: false, 1 << 20: false} {
		deep := strings.Repeat("[", levels) + strings.Repeat("]", levels)
		if got := plainjson.Elements([]byte(deep), func(json.RawMessage) bool { return true }); got != want {
			t.Errorf("%d levels: read in one pass: got %v, want %v", levels, got, want)
		}
	}
}
