package schema_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

func TestExpressions(t *testing.T) {
	t.Parallel()
	e := leadEvent(t)
	tests := []struct {
		in   any
		want any
	}{
		{"", ""},
		{"plain", "plain"},
		{"${ data.phone }", "+4915112345678"},
		{"${data.phone}", "+4915112345678"},
		{" ${ data.phone }", " +4915112345678"},
		{"${ data.id }", 7},
		{"${ data.score }", 1.5},
		{"${ data.whole }", 2.0},
		{"${ data.vip }", true},
		{"${ data.big }", json.Number("123456789012345678901")},
		{"${ data.tags }", []any{"a", "b", 3}},
		{"${ data.attributes.deep }", map[string]any{"er": []any{map[string]any{"x": 1}}}},
		{"${ data.attributes.deep.er[0].x + 1 }", 2},
		{`${ data["odd name"] }`, "o"},
		{"${ data.tags[-1] }", 3},
		{"n=${ data.id }, ${ data.vip } ${ data.score } ${ data.whole } ${ data.big }", "n=7, true 1.5 2 123456789012345678901"},
		{"${ data.first_name }${ data.id }", "Anna7"},
		{"$${ data.phone }", "${ data.phone }"},
		{"$$${ data.id }", "$${ data.id }"},
		{"$ { } $", "$ { } $"},
		{"a$${b}${ data.id }", "a${b}7"},
		{"${ '}' }", "}"},
		{`${ "}\"}" }`, `}"}`},
		{"${ `}\\` }", `}\`},
		{"${ {'a': {'b': data.id}} }", map[string]any{"a": map[string]any{"b": 7}}},
		{"${ [data.id, 'x'] }", []any{7, "x"}},
		{"${ data.missing ?? 'there' }", "there"},
		{"${ data.nothing ?? 'there' }", "there"},
		{"${ data.missing.more[3].still ?? 'there' }", "there"},
		{"${ data?.missing?.more ?? 'there' }", "there"},
		{"${ data.phone.nothing ?? 'there' }", "there"},
		{"${ data.phone[0] ?? 'there' }", "there"},
		{"${ data.tags[9] ?? data.tags.x ?? data.attributes[0] ?? 'there' }", "there"},
		{"${ data.email ?? 'there' }", ""},
		{"${ data.email != '' ? data.email : 'none' }", "none"},
		{"${ has(data.email) }", false},
		{"${ has(data.nothing) or has(data.missing) or has(data.a.b.c) }", false},
		{"${ has(data.phone) and has(data.id) and has(data.tags) }", true},
		{"${ id + '/' + source + '/' + type }", "1//crm/lead.created"},
		{"${ subject }", "sub"},
		{"${ time }", "2026-01-31T09:30:00Z"},
		{"${ weirlane }", "acme"},
		{"${ priority + 1 }", 6},
		{"${ extensions.mine }", true},
		{"${ dataschema ?? redial ?? extensions.other ?? 'no' }", "no"},
		{"${ upper(data.first_name) + lower('X') + trim(' y ') }", "ANNAxy"},
		{"${ data.first_name | upper() }", "ANNA"},
		{"${ lower(data.missing) ?? 'there' }", "there"},
		{"${ len(data.attributes.city) + len(data.tags) + len(data.missing) + len(data.attributes) }", 9},
		{"${ string(data.id) + string(data.vip) }", "7true"},
		{"${ int(' 12 ') + int(data.whole) }", 14},
		{"${ float('1.5') + float(data.id) }", 8.5},
		{"${ json(data.attributes.deep) }", `{"er":[{"x":1}]}`},
		{"${ split('a b', ' ')[1] }", "b"},
		{"${ join(data.tags, '-') }", "a-b-3"},
		{"${ replace(data.phone, '+', '00') }", "004915112345678"},
		{"${ data.attributes.city[0:2] + data.first_name[-1:] + data.first_name[9:] }", "Köa"},
		{"${ data.tags[1:] }", []any{"b", 3}},
		{"${ data.missing[1:] ?? 'there' }", "there"},
		{"${ data.id in [1, 7] and data.phone startsWith '+49' and data.phone matches '^[+]' }", true},
		{"${ data.missing contains 'x' }", false},
		{"${ data.score > 1 and data.id == 7 and not data.missing_flag }", true},
		{"${ !data.missing and (data.missing or data.vip) and (data.missing ? false : true) }", true},
		{"${ -data.id % 4 }", -3},
		{"${ 2 ** 3 }", 8.0},

		{5, 5},
		{int64(math.MaxInt64), int64(math.MaxInt64)},
		{1.5, 1.5},
		{true, true},
		{nil, nil},
		{time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC()},
		{[]any{"${ data.id }", map[string]any{"${ data.id }": "${ id }"}, 1}, []any{7, map[string]any{"${ data.id }": "1"}, 1}},
		{map[string]any{}, map[string]any{}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.in), func(t *testing.T) {
			t.Parallel()
			got, err := one(t, tt.in).Request(e)
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			if diff := cmp.Diff(map[string]any{"x": tt.want}, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequestRefuses(t *testing.T) {
	t.Parallel()
	e := leadEvent(t)
	tests := []struct {
		in     any
		field  string
		reason string
	}{
		{"${ data.mobile }", "x", "x needs data.mobile, which this lead does not have."},
		{"${ data.nothing }", "x", "x needs data.nothing, which this lead does not have."},
		{"Hi ${ data.mobile }!", "x", "x needs data.mobile, which this lead does not have."},
		{"${ data.a.b.c }", "x", "x needs data.a.b.c, which this lead does not have."},
		{`${ data["other name"] }`, "x", `x needs data["other name"], which this lead does not have.`},
		{"${ data.mobile ?? data.landline }", "x", "x needs data.mobile or data.landline, which this lead does not have."},
		{"${ upper(data.mobile) }", "x", "x needs data.mobile, which this lead does not have."},
		{"${ redial }", "x", "x needs redial, which this lead does not have."},
		{"${ nil }", "x", "x is empty for this lead: ${ nil } gives nothing."},
		{map[string]any{"y": []any{1, "${ data.mobile }"}}, "x.y[1]", "x.y[1] needs data.mobile, which this lead does not have."},
		{"a ${ data.tags }", "x", "x cannot be made for this lead: ${ data.tags } gives an object or a list, which cannot stand inside text."},
		{"${ data.score > 'a' }", "x", "x cannot be made for this lead: ${ data.score > 'a' } fails (invalid operation: float64 > string)."},
		{"${ int(data.first_name) }", "x", "x cannot be made for this lead: ${ int(data.first_name) } fails (it needs a whole number, and the text is none)."},
		{"${ data.id + data.first_name }", "x", "x cannot be made for this lead: ${ data.id + data.first_name } fails (it adds text to a number)."},
		{"${ data.id + data.mobile }", "x", "x cannot be made for this lead: ${ data.id + data.mobile } fails (it adds nothing to a number)."},
		{"${ upper(data.tags) }", "x", "x cannot be made for this lead: ${ upper(data.tags) } fails (it needs text, and there is a list)."},
		{"${ data.id / 0 }", "x", "x cannot be made for this lead: ${ data.id / 0 } fails (the number is not finite)."},
		{"${ data.id % 0 }", "x", "x cannot be made for this lead: ${ data.id % 0 } fails (runtime error: integer divide by zero)."},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.in), func(t *testing.T) {
			t.Parallel()
			got, err := one(t, tt.in).Request(e)
			if err == nil {
				t.Fatalf("got request %v, want a refusal", got)
			}
			want := schema.Refusal{Class: schema.ClassRequest, Field: tt.field, Reason: tt.reason}
			if diff := cmp.Diff(want, *refusal(t, err)); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
			if got != nil {
				t.Errorf("got request %v beside a refusal, want none", got)
			}
		})
	}
}

// What a sender puts into the data must not make an expression's work or text
// grow past its bounds.
func TestExpressionsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200_000)
	list := strings.TrimSuffix(strings.Repeat("1,", 60_000), ",")
	e := content("lead.created", "", `{"long":"`+long+`","list":[`+list+`]}`)
	refused := []string{
		"${ replace(data.long, 'x', data.long) }",
		"${ replace(data.long, '', data.long) }",
		"${ join(data.list, data.long) }",
		"${ " + strings.Repeat("data.long+", 100) + "'' }",
		strings.Repeat("${ data.long }", 10),
		"${ json([data.long, data.long, data.long, data.long, data.long, data.long]) }",
		"${ [" + strings.Repeat("[1,1,1,1,1,1,1,1],", 30) + "[]] | join(data.long) }",
	}
	for _, source := range refused {
		got, err := one(t, source).Request(e)
		if err == nil {
			t.Errorf("%.60s: got a request of %d fields, want a refusal", source, len(got))
			continue
		}
		if r := refusal(t, err); r.Class != schema.ClassRequest || len(r.Reason) > 1000 {
			t.Errorf("%.60s: got %s and a reason of %d bytes, want %s and a short one", source, r.Class, len(r.Reason), schema.ClassRequest)
		}
	}
	for _, source := range []string{
		"${ data.list == data.list and data.long == data.long and 1 in data.list }",
		"${ len(split(data.long, '')) }",
		"${ data.long matches '^(x+x+)+y$' }",
	} {
		if _, err := one(t, source).Request(e); err != nil {
			t.Errorf("%s: got %v, want no error", source, err)
		}
	}
}

// No reason quotes the event.
func TestRequestReasonsAreMasked(t *testing.T) {
	t.Parallel()
	e := content("lead.created", "", `{"phone":"+4915112345678","name":"Annabell","list":[1]}`)
	for _, source := range []string{
		"${ int(data.name) }", "${ float(data.name) }", "${ data.name > 1 }", "${ data.name + 1 }", "${ -data.name }",
		"${ data.name[data.phone:] }", "${ !data.name }", "${ data.name and true }", "${ data.name ? 1 : 2 }",
		"${ data.list in data.name }", "${ data.name ** 2 }", "${ data.list contains data.name }", "${ join([data], data.name) }",
	} {
		_, err := one(t, source).Request(e)
		if err == nil {
			t.Errorf("%s: got no error, want a refusal", source)
			continue
		}
		if text := err.Error(); strings.Contains(text, "Annabell") || strings.Contains(text, "4915112345678") {
			t.Errorf("%s: got %q, want nothing of the event in it", source, text)
		}
	}
}

// An event's values are made when an expression reads them, wherever in it their
// names stand.
func TestNamesAnywhere(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]any{
		"${ id }": "1", "${ source }": "/crm", "${ type }": "lead.created", "${ subject }": "sub",
		"${ time }": "2026-01-31T09:30:00Z", "${ weirlane }": "acme", "${ priority }": 5,
		"${ extensions.weirlane + id }":             "acme1",
		"${ ({'acme': subject})[weirlane] }":        "sub",
		"${ [source, type][-1] }":                   "lead.created",
		"${ 'abcdefg'[int(id):priority] }":          "bcde",
		"${ !has(dataschema) ? subject : type }":    "sub",
		"${ has(dataschema) ? subject : type }":     "lead.created",
		"${ join([lower(type), string(id)], '/') }": "lead.created/1",
		"${ {'a': [{'b': time}]}.a[0].b }":          "2026-01-31T09:30:00Z",
		"${ not has(subject) or source == '/crm' }": true,
		"${ -priority }":                            -5,
	} {
		got, err := compile(t, schema.RouteSource{Type: "*", Request: map[string]any{"v": source}}).Request(leadEvent(t))
		if err != nil || !cmp.Equal(got["v"], want) {
			t.Errorf("%s: got %v (%v), want %v", source, got["v"], err, want)
		}
	}
}
