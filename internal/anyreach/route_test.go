package anyreach_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/anyreach"
)

func TestARouteIsCheckedBeforeAnyEventComes(t *testing.T) {
	t.Parallel()
	call := map[string]any{"channel": "telephone", "user_id": "${ data.phone }", "agent_id": "a", "agent_number": "+14155550199"}
	with := func(changes map[string]any) map[string]any {
		r := map[string]any{}
		maps.Copy(r, call)
		for k, v := range changes {
			if r[k] = v; v == nil {
				delete(r, k)
			}
		}
		return r
	}
	for name, tt := range map[string]struct {
		request map[string]any
		want    string // empty: nothing is wrong
	}{
		"a call":               {call, ""},
		"expressions":          {with(map[string]any{"agent_number": "${ data.x }", "version": "${ 1 }", "custom_metadata": map[string]any{"a": "${ data.id }"}}), ""},
		"any channel":          {with(map[string]any{"channel": "${ data.c }", "agent_number": nil}), ""},
		"no number":            {with(map[string]any{"agent_number": nil}), "agent_number"},
		"unknown field":        {with(map[string]any{"userid": "x"}), "userid"},
		"id":                   {with(map[string]any{"id": "${ data.id }"}), "id is not for a route"},
		"no channel":           {with(map[string]any{"channel": nil}), "channel is missing"},
		"two agents":           {with(map[string]any{"agent_version_id": "${ data.v }"}), "Only one of"},
		"two, any channel":     {with(map[string]any{"channel": "${ data.c }", "agent_config": map[string]any{}}), "Only one of"},
		"mail to nobody":       {map[string]any{"channel": "email", "user_id": "${ data.id }", "agent_id": "a"}, "to_address"},
		"a literal wrong":      {with(map[string]any{"user_id": "12"}), "user_id"},
		"open: nothing":        {map[string]any{}, ""},
		"open: no number":      {with(map[string]any{"agent_number": nil}), ""},
		"open: a wrong one":    {with(map[string]any{"agent_number": "12"}), "agent_number"},
		"open: two agents":     {with(map[string]any{"agent_version_id": "v"}), "Only one of"},
		"unknown, any channel": {map[string]any{"channel": "${ data.c }", "to": "x"}, "to is not a field"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := client(t, anyreach.Config{URL: "https://api.anyreach.example"}).CheckRoute(tt.request, strings.HasPrefix(name, "open: "))
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
