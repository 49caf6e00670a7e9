package simulator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

func TestBookingRules(t *testing.T) {
	t.Parallel()
	const number, chat, mail = "telephone", "text", "email"
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Limit: 100, Unpublished: "draft"})
	base := map[string]map[string]any{
		number: dial(1), chat: text("u"), "webrtc": with(text("u"), object{"channel": "webrtc"}),
		mail: with(text("u"), object{"channel": mail, "to_address": "ana@example.com"}),
	}
	for name, c := range map[string]struct {
		channel string
		fields  object
		want    string // the member that is wrong; empty: created
	}{
		"call":                          {number, nil, ""},
		"text":                          {chat, nil, ""},
		"webrtc":                        {"webrtc", nil, ""},
		"email":                         {mail, nil, ""},
		"no channel":                    {number, object{"channel": nil}, "channel"},
		"other channel":                 {number, object{"channel": "fax"}, "channel"},
		"channel no string":             {number, object{"channel": 5}, "channel"},
		"no user":                       {chat, object{"user_id": nil}, "user_id"},
		"empty user":                    {chat, object{"user_id": ""}, "user_id"},
		"national number":               {number, object{"user_id": "4155550111"}, "user_id"},
		"number with spaces":            {number, object{"user_id": "+1 415 555 0111"}, "user_id"},
		"any user of a text":            {chat, object{"user_id": "lead 7"}, ""},
		"agent and version id":          {number, object{"agent_version_id": "av"}, "agent_id"},
		"agent and config":              {chat, object{"agent_config": object{"a": 1}}, "agent_id"},
		"version id and config":         {chat, object{"agent_id": nil, "agent_version_id": "av", "agent_config": object{}}, "agent_id"},
		"agent and number":              {number, object{"agent_number": "+14155550222"}, ""},
		"number alone":                  {number, object{"agent_id": nil, "agent_number": "+14155550222"}, ""},
		"version id alone":              {number, object{"agent_id": nil, "agent_version_id": "av"}, ""},
		"call by config alone":          {number, object{"agent_id": nil, "agent_config": object{"a": 1}}, "agent_id"},
		"call by config and number":     {number, object{"agent_id": nil, "agent_config": object{"a": 1}, "agent_number": "+14155550222"}, ""},
		"call without an agent":         {number, object{"agent_id": nil}, "agent_id"},
		"text by config":                {chat, object{"agent_id": nil, "agent_config": object{}}, ""},
		"text by number alone":          {chat, object{"agent_id": nil, "agent_number": "+14155550222"}, "agent_id"},
		"webrtc without an agent":       {"webrtc", object{"agent_id": nil}, "agent_id"},
		"email without an agent":        {mail, object{"agent_id": nil}, "agent_id"},
		"email without an address":      {mail, object{"to_address": nil}, "to_address"},
		"config no object":              {chat, object{"agent_id": nil, "agent_config": "x"}, "agent_config"},
		"version number":                {number, object{"version": 3}, ""},
		"version latest":                {number, object{"version": "latest"}, ""},
		"version null":                  {number, object{"version": json.RawMessage("null")}, ""},
		"version of other text":         {number, object{"version": "3"}, "version"},
		"version with a fraction":       {number, object{"version": 1.5}, "version"},
		"version with version id":       {number, object{"agent_id": nil, "agent_version_id": "av", "version": 3}, "version"},
		"unpublished agent":             {number, object{"agent_id": "draft-1"}, "version"},
		"unpublished version":           {number, object{"agent_id": nil, "agent_version_id": "draft-1"}, "version"},
		"id no UUID":                    {number, object{"id": "lead-7"}, "id"},
		"id without hyphens":            {number, object{"id": strings.ReplaceAll(callID, "-", "")}, "id"},
		"metadata no object":            {number, object{"custom_metadata": []int{1}}, "custom_metadata"},
		"metadata text":                 {number, object{"custom_metadata": "{}"}, "custom_metadata"},
		"metadata null":                 {number, object{"custom_metadata": json.RawMessage("null")}, ""},
		"metadata of any kind":          {number, object{"custom_metadata": object{"weir_intent": 5, "weir_attempt": []int{1}}}, ""},
		"members that nobody knows yet": {number, object{"priority": 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := book(t, url, with(base[c.channel], c.fields))
			if c.want == "" {
				if got.status/100 != 2 {
					t.Errorf("got %d %s, want 2xx", got.status, got.body)
				}
				return
			}
			detail := decode[struct{ Detail string }](t, got.body).Detail
			if got.status != 422 || !strings.HasPrefix(detail, "body."+c.want+": ") {
				t.Errorf("got %d %q, want 422 about %s", got.status, detail, c.want)
			}
		})
	}
	for body, want := range map[string]int{`{`: 422, `[]`: 422, `null`: 422, `{} x`: 422, ``: 422, `"` + strings.Repeat("x", 5<<20) + `"`: 413} {
		t.Run(fmt.Sprintf("body %.5s", body), func(t *testing.T) {
			t.Parallel()
			r := createRequest(t, url, []byte(body))
			r.URL.Path = "/core/conversations"
			got, err := send(r)
			if err != nil || got.status != want || decode[struct{ Detail string }](t, got.body).Detail == "" {
				t.Errorf("got %d %s (error %v), want %d and a detail", got.status, got.body, err, want)
			}
		})
	}
	t.Cleanup(func() {
		if got := sim.Report(); got.Conversations != 16 {
			t.Errorf("got %d conversations, want 16", got.Conversations)
		}
	})
}

func TestDetail(t *testing.T) {
	t.Parallel()
	forms := map[string]int{}
	for _, form := range []string{simulator.DetailText, simulator.DetailList, simulator.Mixed} {
		_, url := newAnyreachServer(t, simulator.AnyreachConfig{Detail: form, Seed: 2})
		for range 20 {
			got := book(t, url, with(dial(1), object{"user_id": "x"}))
			raw := decode[map[string]json.RawMessage](t, got.body)["detail"]
			if raw[0] == '"' {
				forms[form+" text"]++
				continue
			}
			list := decode[[]struct {
				Loc       []string
				Msg, Type string
			}](t, raw)
			if len(list) != 1 || !slices.Equal(list[0].Loc, []string{"body", "user_id"}) || list[0].Msg == "" || list[0].Type == "" {
				t.Fatalf("got %s, want one entry about body and user_id", raw)
			}
			forms[form+" list"]++
		}
	}
	mixed := forms["mixed text"]
	want := map[string]int{"text text": 20, "list list": 20, "mixed text": mixed, "mixed list": 20 - mixed}
	if diff := cmp.Diff(want, forms); diff != "" || mixed < 4 || mixed > 16 {
		t.Errorf("forms, mixed ones near to half (-want +got):\n%s", diff)
	}
}

func TestMetadataIntentAndAttempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		metadata object
		intent   string
		attempt  int
	}{
		"number":   {object{"weir_intent": "i", "weir_attempt": 3}, "i", 3},
		"string":   {object{"weir_intent": "i", "weir_attempt": "3"}, "i", 3},
		"foreign":  {object{"weir_intent": 5, "weir_attempt": "many"}, "", 0},
		"fraction": {object{"weir_attempt": 1.5}, "", 0},
		"none":     {object{}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{})
			book(t, url, with(dial(1), object{"custom_metadata": c.metadata}))
			got := sim.Conversations()[0]
			if got.Intent != c.intent || got.Attempt != c.attempt || got.Number != "+14155550001" || got.Agent != "ag_1" {
				t.Errorf("got %+v, want intent %q and attempt %d", got, c.intent, c.attempt)
			}
		})
	}
}
