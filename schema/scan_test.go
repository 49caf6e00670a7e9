package schema_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirhq/weir/schema"
)

// bothRead holds the quick reader against the slow one: what it takes, the slow one
// takes as the same value. What it leaves is the slow one's to judge.
func bothRead(t *testing.T, text string, depth int) (quick bool) {
	t.Helper()
	if !utf8.ValidString(text) {
		return false
	}
	got, quick := schema.ScanJSON(text, depth)
	want, err := schema.DecodeJSON([]byte(text), depth)
	if quick != (err == nil) {
		t.Errorf("%.200q: the quick reader takes it: %v; the slow one says %v", text, quick, err)
	}
	if quick && err == nil && !reflect.DeepEqual(got, want) { // cmp.Diff takes for ever for what is deep
		t.Errorf("%.200q: got %#v, want %#v", text, got, want)
	}
	return quick
}

var scanned = []string{
	person, `{}`, `[]`, ` [ ] `, `""`, `"a"`, `null`, `true`, `false`, `0`, `-0`, `1.5e+10`, `1E-3`, "\t{\"a\" : [1 , 2]\r\n}",
	`{"a":{"b":[{},{"c":[[]]}]}}`, `"\u00e9\n\"\\\/"`, `"\ud83d\ude00"`, `"\ud83d"`, `{"\u0061":1}`, `{"a":1,"b":[true,false,null]}`,
	`"é"`, "\"\u2028\x7f\"", `"a\\"`, strings.Repeat("[", 64) + strings.Repeat("]", 64),
}

var unscanned = []string{
	``, ` `, `{`, `}`, `[`, `]`, `"`, `"\`, `"\"`, `"a`, `"\x"`, `"\u12"`, "\"\n\"", "\"a\\t\t\"", `nul`, `nulll`, `True`, `+1`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `1e1001`,
	strings.Repeat("1", 129), `1 2`, `{}{}`, `[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{1:1}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`,
	`{"a":1 "b":2}`, `{"a" 1}`, `[1}`, `{"a":1]`, "\ufeff1", "1\x00", "\v1", "NaN", `'a'`, strings.Repeat("[", 65) + strings.Repeat("]", 65),
}

func TestScan(t *testing.T) {
	t.Parallel()
	for _, text := range scanned {
		if !bothRead(t, text, 64) {
			t.Errorf("%q: the quick reader does not take it", text)
		}
	}
	for _, text := range unscanned {
		if bothRead(t, text, 64) {
			t.Errorf("%q: the quick reader takes it", text)
		}
	}
	for i := range len(person) { // each piece of a text is wrong in a way of its own
		bothRead(t, person[:i], 64)
		bothRead(t, person[i:], 64)
		bothRead(t, person[:i]+person[i+1:], 64)
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range append(scanned, unscanned...) {
		f.Add(text, 3)
	}
	f.Fuzz(func(t *testing.T, text string, depth int) { bothRead(t, text, max(0, depth%70)) })
}

// Digests are of what this writes, and are kept: it writes what it always has.
func TestScalars(t *testing.T) {
	t.Parallel()
	values := []any{nil, true, false, "", "a b", "é", "\u2028", "<&>", `"\`, "\n\x00\x1f\x7f", "\x80", json.Number("1e2"), 7, 1.5}
	for r := range rune(0x180) {
		values = append(values, string(r))
	}
	for _, v := range values {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if got := string(schema.AppendScalar([]byte("x"), v)) + "\n"; got != "x"+want.String() {
			t.Errorf("%#v: got %q, want %q", v, got, "x"+want.String())
		}
	}
}
