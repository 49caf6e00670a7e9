package wire

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzAsObject holds the reader of one pass against the standard decoder.
func FuzzAsObject(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{}`, ` {"a":1 , "b" : [ 1,{"c":null}, "x" ]} `, `{"a":"\u00e9\"\\","a":2}`, `{"a\u0062":1}`, `{"é":"é"}`, `null`, `"x"`, `[1]`,
		`{"a":-0.5e+7,"b":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":-}`, `{"a":tru}`, `{"a":true,}`, `{"a"}`, `{"a":1}}`, `{"a":"` + "\n" + `"}`,
		`{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\`, `{"a":[1,]}`, `{"a":{"b":[[[[]]]]}}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}", `{"a":"\ud800"}`, `{"":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if diff := cmp.Diff(asObject(raw), AsObject(raw)); diff != "" {
			t.Fatalf("%q: -decoder +one pass\n%s", raw, diff)
		}
	})
}

// FuzzUnquote holds the quick way against the standard decoder.
func FuzzUnquote(f *testing.F) {
	for _, s := range []string{``, `"`, `""`, `"a\"b\\\\c"`, `"\"`, `"\\"`, `"\\\"`, `"a"b"`, `"é\u00e9\n"`, "\"\x01\"", `{}`, `null`, `"a\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want string
		wantOK := len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &want) == nil
		if len(raw) > 0 && raw[len(raw)-1] != '"' {
			return // a value of an object ends where it ends
		}
		if got, ok := unquote(raw); ok != wantOK || ok && string(got) != want {
			t.Errorf("%q: got %q %v, want %q %v", raw, got, ok, want, wantOK)
		}
	})
}
