package ratelimiter

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseList(t *testing.T) {
	t.Parallel()
	flag := bare{kind: kindBoolean, number: 1}
	num := func(n int64) bare { return bare{kind: kindInteger, number: n} }
	str := func(s string) bare { return bare{kind: kindString, text: s} }
	none := map[string]bare{}
	tests := []struct {
		in   string
		want []item
	}{
		{"", nil},
		{"   ", nil},
		{"a", []item{{bare{kind: kindToken, text: "a"}, none}}},
		{" *a/b:c ", []item{{bare{kind: kindToken, text: "*a/b:c"}, none}}},
		{`"a\"\\b"`, []item{{str(`a"\b`), none}}},
		{"1, -2\t,\t3", []item{{num(1), none}, {num(-2), none}, {num(3), none}}},
		{"999999999999999", []item{{num(999999999999999), none}}},
		{"-1.250", []item{{bare{kind: kindDecimal, text: "-1.250"}, none}}},
		{"?1,?0", []item{{flag, none}, {bare{kind: kindBoolean}, none}}},
		{":aGk=:", []item{{bare{kind: kindBytes, text: "hi"}, none}}},
		{`"d";q=5;  w=60;x`, []item{{str("d"), map[string]bare{"q": num(5), "w": num(60), "x": flag}}}},
		{`d;q=5;q=6`, []item{{bare{kind: kindToken, text: "d"}, map[string]bare{"q": num(6)}}}},
		{`d;*k_-.9=tok`, []item{{bare{kind: kindToken, text: "d"}, map[string]bare{"*k_-.9": {kind: kindToken, text: "tok"}}}}},
	}
	for _, tt := range tests {
		got, err := parseList(tt.in)
		if err != nil {
			t.Errorf("parseList(%q): got error %v, want none", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(item{}, bare{})); diff != "" {
			t.Errorf("parseList(%q): (-want +got)\n%s", tt.in, diff)
		}
	}
}

func TestParseListRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		",", "a,", "a,,b", "a b", "(a b)", "a;", "a;Q=1", "a;q=", "a; q =1", `a ;q=1`, "-", "--1", "1.", "1.2345",
		"1000000000000000", "1234567890123.1", `"a`, `"a\n"`, "\"a\tb\"", "\"\u00e9\"", `"\`, ":aGk", ":aGk:", ":a\nGk=:",
		"?2", "?", "@1700000000", `%"x"`, "=", "\ta",
		strings.Repeat("a", 2049), strings.TrimSuffix(strings.Repeat("a,", 33), ","), manyParams(33),
	} {
		if got, err := parseList(in); err == nil {
			t.Errorf("parseList(%.40q): got %v, want an error", in, got)
		}
	}
}

// manyParams returns an item with n parameters.
func manyParams(n int) string {
	var b strings.Builder
	b.WriteByte('a')
	for i := range n {
		b.WriteString(";k" + strconv.Itoa(i))
	}
	return b.String()
}

// FuzzStructuredField checks that what was understood means the same when it is
// written in canonical form.
func FuzzStructuredField(f *testing.F) {
	f.Add(`"burst";q=100;w=60,"daily";q=1000;w=86400`)
	f.Add(`"calls";q=20;qu="concurrent-requests";pk=:YQ==:`)
	f.Add(`tok;a=?0;b=-1.5 , 17;w=1;x`)
	f.Fuzz(func(t *testing.T, in string) {
		list, err := parseList(in)
		if err != nil {
			return
		}
		text := format(list)
		if len(text) > maxField { // escapes may be longer than what they stand for
			return
		}
		again, err := parseList(text)
		if err != nil {
			t.Fatalf("parseList(%q), written as %q: got error %v, want none", in, text, err)
		}
		if diff := cmp.Diff(list, again, cmp.AllowUnexported(item{}, bare{})); diff != "" {
			t.Errorf("parseList(%q), written as %q: (-first +second)\n%s", in, text, diff)
		}
	})
}

// format writes a list in canonical form, with sorted parameters.
func format(list []item) string {
	parts := make([]string, 0, len(list))
	for _, it := range list {
		var s strings.Builder
		s.WriteString(formatBare(it.value))
		for _, key := range slices.Sorted(maps.Keys(it.params)) {
			s.WriteString(";" + key + "=" + formatBare(it.params[key]))
		}
		parts = append(parts, s.String())
	}
	return strings.Join(parts, ", ")
}

func formatBare(b bare) string {
	switch b.kind {
	case kindInteger:
		return strconv.FormatInt(b.number, 10)
	case kindString:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(b.text) + `"`
	case kindBytes:
		return ":" + base64.StdEncoding.EncodeToString([]byte(b.text)) + ":"
	case kindBoolean:
		return "?" + strconv.FormatInt(b.number, 10)
	default:
		return b.text
	}
}
