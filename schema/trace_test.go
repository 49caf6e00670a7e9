package schema_test

import (
	"testing"

	"github.com/weirhq/weir/schema"
)

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tc := range map[string]struct{ text, want string }{
		"as it should be":      {good, good},
		"not sampled":          {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
		"further flags":        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", good},
		"space around it":      {" " + good + "\n", good},
		"a later version":      {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", good},
		"a later one, no dash": {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what", ""},
		"more in version 00":   {good + "-more", ""},
		"forbidden version":    {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""},
		"capital letters":      {"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""},
		"trace of zeros":       {"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		"span of zeros":        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		"no hexadecimal":       {"00-0af7651916cd43dd8448eb211c80319x-b7ad6b7169203331-01", ""},
		"dashes elsewhere":     {"00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01", ""},
		"short":                {"00-0af7-b7ad-01", ""},
		"nothing":              {"", ""},
		"a telephone number":   {"+14155550123", ""},
	} {
		if got := schema.Traceparent(tc.text); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestTraceparentOf(t *testing.T) {
	t.Parallel()
	const own, carried = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, tc := range map[string]struct {
		header map[string][]string
		body   string
		want   string
	}{
		"neither":                    {nil, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, ""},
		"attribute":                  {nil, `{"specversion":"1.0","id":"1","source":"/s","type":"t","traceparent":"` + own + `"}`, own},
		"attribute before header":    {map[string][]string{"Traceparent": {carried}}, `{"specversion":"1.0","id":"1","source":"/s","type":"t","traceparent":"` + own + `"}`, own},
		"header in small letters":    {map[string][]string{"traceparent": {carried}}, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, carried},
		"header in other letters":    {map[string][]string{"TraceParent": {carried}}, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, carried},
		"header where attribute bad": {map[string][]string{"Traceparent": {carried}}, `{"specversion":"1.0","id":"1","source":"/s","type":"t","traceparent":"nonsense"}`, carried},
		"binary":                     {map[string][]string{"Ce-Specversion": {"1.0"}, "ce-id": {"1"}, "CE-Source": {"/s"}, "ce-type": {"t"}, "CE-TraceParent": {own}}, "", own},
	} {
		e, err := schema.Decode(tc.header, []byte(tc.body), 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := schema.TraceparentOf(e, tc.header); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
