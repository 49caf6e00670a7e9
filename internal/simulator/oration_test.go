package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// with returns an item with some fields set, or removed by nil.
func with(item map[string]any, fields map[string]any) map[string]any {
	item = maps.Clone(item)
	for k, v := range fields {
		if v == nil {
			delete(item, k)
			continue
		}
		item[k] = v
	}
	return item
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	for name, c := range map[string]struct {
		body    string
		status  int
		message string
	}{
		"not JSON":       {`{"conversations":[`, 400, "request body is not valid JSON"},
		"trailing comma": {`{"conversations":[{},]}`, 400, "request body is not valid JSON"},
		"trailing text":  {`{"conversations":[{}]} x`, 400, "request body is not valid JSON"},
		"empty body":     {``, 400, "request body is not valid JSON"},
		"no array":       {`{"conversations":{}}`, 400, "conversations must be an array"},
		"bare array":     {`[]`, 400, "conversations must be an array"},
		"absent":         {`{}`, 400, "conversations must contain at least 1 element(s)"},
		"empty array":    {`{"conversations":[]}`, 400, "conversations must contain at least 1 element(s)"},
		"too large":      {`{"conversations":["` + strings.Repeat("x", 5<<20) + `"]}`, 413, "request body is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := send(createRequest(t, url, []byte(c.body)))
			if err != nil {
				t.Fatalf("create: %v", err)
			}
			if m := decode[created](t, got.body).Message; got.status != c.status || m != c.message {
				t.Errorf("got %d %q, want %d %q", got.status, m, c.status, c.message)
			}
		})
	}
	t.Cleanup(func() {
		if n := sim.Report().Conversations; n != 0 {
			t.Errorf("got %d conversations, want none", n)
		}
	})
}

func TestItemsAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, simulator.Config{Limit: 100, DNDSuffix: "99"})
	const agentText, numberText = "agentId must be a valid UUID", "invalid phone number"
	for name, c := range map[string]struct {
		fields map[string]any
		want   string // empty: created
	}{
		"good":                  {nil, ""},
		"chat without number":   {map[string]any{"conversationType": "chat", "toPhoneNumber": nil}, ""},
		"no type":               {map[string]any{"conversationType": nil}, "conversationType must be one of chat, web, telephony"},
		"other type":            {map[string]any{"conversationType": "fax"}, "conversationType must be one of chat, web, telephony"},
		"no agent":              {map[string]any{"agentId": nil}, agentText},
		"bad agent":             {map[string]any{"agentId": "agent-1"}, agentText},
		"agent without hyphens": {map[string]any{"agentId": strings.ReplaceAll(agent, "-", "")}, agentText},
		"bad customer":          {map[string]any{"customerId": "c"}, "customerId must be a valid UUID"},
		"bad telephony type":    {map[string]any{"telephonyType": "both"}, "telephonyType must be one of inbound, outbound"},
		"no number":             {map[string]any{"toPhoneNumber": nil}, "toPhoneNumber is required for telephony conversations"},
		"national number":       {map[string]any{"toPhoneNumber": "4155550123"}, numberText},
		"number with spaces":    {map[string]any{"toPhoneNumber": "+1 415 555 0123"}, numberText},
		"long number":           {map[string]any{"toPhoneNumber": "+1234567890123456"}, numberText},
		"bad caller id":         {map[string]any{"fromPhoneNumber": "anonymous"}, "invalid fromPhoneNumber"},
		"number of wrong type":  {map[string]any{"toPhoneNumber": 14155550123}, "toPhoneNumber has the wrong type"},
		"variables no object":   {map[string]any{"dynamicVariables": "x"}, "dynamicVariables has the wrong type"},
		"variable null":         {map[string]any{"dynamicVariables": map[string]any{"a": json.RawMessage("null")}}, "dynamicVariables.a must be a string"},
		"do not disturb":        {map[string]any{"toPhoneNumber": "+14155550199"}, "customer is on the do-not-disturb list"},
		"do not disturb anyway": {map[string]any{"toPhoneNumber": "+14155550199", "ignoreDND": true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A good neighbour is created in any case.
			got := post(t, url, with(phone(1), c.fields), phone(2))
			a := decode[created](t, got.body)
			wantErrors, wantResults := []string(nil), 2
			if c.want != "" {
				wantErrors, wantResults = []string{c.want}, 1
			}
			if got.status != 200 || len(a.Results) != wantResults {
				t.Errorf("got status %d and %d results, want 200 and %d", got.status, len(a.Results), wantResults)
			}
			if diff := cmp.Diff(wantErrors, a.texts()); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("variable number", func(t *testing.T) {
		t.Parallel()
		got := post(t, url, with(phone(1), map[string]any{"dynamicVariables": map[string]any{"a": 1}}))
		a := decode[created](t, got.body)
		if len(a.Results) != 0 || len(a.Errors) != 1 || !strings.Contains(a.texts()[0], "wrong type") {
			t.Errorf("got %s, want one error about the type", got.body)
		}
	})
	for _, item := range []string{`null`, `5`, `"x"`, `[]`} {
		t.Run("item "+item, func(t *testing.T) {
			t.Parallel()
			got, err := send(createRequest(t, url, []byte(`{"conversations":[`+item+`]}`)))
			if err != nil {
				t.Fatalf("create: %v", err)
			}
			a := decode[created](t, got.body)
			if diff := cmp.Diff([]string{"conversation must be an object"}, a.texts()); diff != "" || got.status != 200 {
				t.Errorf("got status %d, want 200; errors (-want +got):\n%s", got.status, diff)
			}
		})
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	type headers map[string]string
	pair := headers{"x-api-key": "k", "x-workspace-id": "w"}
	bearer := headers{"Authorization": "Bearer b"}
	both := headers{"x-api-key": "k", "x-workspace-id": "w", "Authorization": "Bearer b"}
	exact := simulator.Auth{APIKey: "k", WorkspaceID: "w", Bearer: "b"}
	exactBoth := exact
	exactBoth.Require = simulator.RequireBoth
	for name, c := range map[string]struct {
		auth simulator.Auth
		send headers
		want bool
	}{
		"nothing":               {simulator.Auth{}, nil, false},
		"any pair":              {simulator.Auth{}, pair, true},
		"any bearer":            {simulator.Auth{}, bearer, true},
		"empty bearer":          {simulator.Auth{}, headers{"Authorization": "Bearer "}, false},
		"basic":                 {simulator.Auth{}, headers{"Authorization": "Basic b"}, false},
		"key without workspace": {simulator.Auth{}, headers{"x-api-key": "k"}, false},
		"right pair":            {exact, pair, true},
		"right bearer":          {exact, bearer, true},
		"wrong key":             {exact, headers{"x-api-key": "x", "x-workspace-id": "w"}, false},
		"wrong workspace":       {exact, headers{"x-api-key": "k", "x-workspace-id": "x"}, false},
		"wrong bearer":          {exact, headers{"Authorization": "Bearer x"}, false},
		"both wanted and given": {exactBoth, both, true},
		"both wanted, pair":     {exactBoth, pair, false},
		"both wanted, bearer":   {exactBoth, bearer, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := newServer(t, simulator.Config{Auth: c.auth})
			wantPost, wantGet := 401, 401
			if c.want {
				wantPost, wantGet = 200, 404
			}
			for method, want := range map[string]int{"POST": wantPost, "GET": wantGet} {
				r := createRequest(t, url, batch(t, phone(1)))
				if method == "GET" {
					r.Method, r.URL.Path = "GET", "/api/v2/conversations/"+agent
				}
				r.Header.Del("Authorization")
				for k, v := range c.send {
					r.Header.Set(k, v)
				}
				got, err := send(r)
				if err != nil {
					t.Fatalf("%s: %v", method, err)
				}
				if got.status != want {
					t.Errorf("%s: got status %d, want %d", method, got.status, want)
				}
			}
		})
	}
}

func TestShapeWrapped(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Shape: simulator.ShapeWrapped, Success: http.StatusCreated})
	item := with(phone(1), map[string]any{"identifier": "crm-77", "fromPhoneNumber": "+14155550000"})
	got := post(t, url, item)
	if got.status != http.StatusCreated {
		t.Errorf("got status %d, want 201", got.status)
	}
	a := decode[created](t, got.body)
	if len(a.Results) != 1 || a.Errors == nil || len(a.Errors) != 0 {
		t.Fatalf("got %s, want one result and an empty array of errors", got.body)
	}
	c := a.Results[0].Conversation
	made := sim.Conversations()[0]
	stamp := made.Created.Format("2006-01-02T15:04:05.000Z")
	want := map[string]any{
		"id": made.ID, "workspaceId": c["workspaceId"], "agentId": agent, "customerId": nil,
		"conversationType": "telephony", "conversationStatus": "created",
		"telephonyType": "outbound", "telephonyStatus": "dialing",
		"toPhoneNumber": "+14155550001", "fromPhoneNumber": "+14155550000",
		"createdAt": stamp, "updatedAt": stamp,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("conversation (-want +got):\n%s", diff)
	}
	if token, _ := a.Results[0].Token["token"].(string); token == "" {
		t.Error("got no join token, want one")
	}
	for _, echo := range []string{"weir_intent", "crm-77", "dynamicVariables"} {
		if bytes.Contains(got.body, []byte(echo)) {
			t.Errorf("got %q in a wrapped answer, want no echo of it", echo)
		}
	}
}

func TestShapeFlat(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Shape: simulator.ShapeFlat})
	got := post(t, url, with(phone(1), map[string]any{"identifier": "crm-77"}))
	want := map[string]any{
		"results": []any{map[string]any{
			"id": sim.Conversations()[0].ID, "conversationStatus": "queued", "telephonyType": "outbound",
			"identifier": "crm-77", "dynamicVariables": `{"weir_attempt":"1","weir_intent":"intent-1"}`,
		}},
		"errors": []any{},
	}
	if diff := cmp.Diff(want, decode[map[string]any](t, got.body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestMixedDrawsEveryChoice(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, simulator.Config{Limit: 500, Shape: simulator.Mixed, Seed: 3})
	shapes := map[bool]int{}
	for i := range 40 {
		shapes[decode[created](t, post(t, url, phone(i)).body).Results[0].Conversation != nil]++
	}
	if shapes[true] < 5 || shapes[false] < 5 {
		t.Errorf("got %d wrapped and %d flat answers of 40, want both shapes often", shapes[true], shapes[false])
	}
	overflows := map[string]int{}
	for seed := range uint64(30) {
		_, url := newServer(t, simulator.Config{Limit: 3, Overflow: simulator.Mixed, Seed: seed})
		got := post(t, url, phones(0, 5)...)
		overflows[fmt.Sprint(got.status, " with ", len(decode[created](t, got.body).Results))]++
	}
	for _, want := range []string{"429 with 0", "429 with 3", "207 with 3", "200 with 3"} {
		if overflows[want] == 0 {
			t.Errorf("got overflows %v, want %q among them", overflows, want)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{})
	post(t, url, with(phone(1), map[string]any{"customerId": agent, "telephonyType": "inbound"}),
		map[string]any{"agentId": agent, "conversationType": "web"})
	made := sim.Conversations()
	got := decode[map[string]any](t, get(t, url+"/api/v2/conversations/"+made[0].ID).body)
	want := []string{
		"agentId", "callEndTime", "callStartTime", "conversationStatus", "conversationType", "createdAt",
		"customerId", "dynamicVariables", "endReason", "fromPhoneNumber", "id", "llmUrl", "phoneId",
		"postCallCategory1", "postCallCategory2", "postCallCategory3", "postCallMetadata", "postCallNotes",
		"recordingStatus", "summary", "telephonyStatus", "telephonyType", "toPhoneNumber", "updatedAt",
		"userJoinTime", "userLeaveTime", "workspaceId", "wsUrl",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for field, want := range map[string]any{
		"id": made[0].ID, "agentId": agent, "customerId": agent, "toPhoneNumber": "+14155550001",
		"fromPhoneNumber": nil, "conversationType": "telephony", "conversationStatus": "created",
		"telephonyType": "inbound", "telephonyStatus": nil, "endReason": nil,
		"dynamicVariables": `{"weir_attempt":"1","weir_intent":"intent-1"}`, "summary": "",
	} {
		if got[field] != want {
			t.Errorf("%s: got %v, want %v", field, got[field], want)
		}
	}
	web := decode[map[string]any](t, get(t, url+"/api/v2/conversations/"+made[1].ID).body)
	if web["telephonyType"] != nil || web["dynamicVariables"] != "{}" || web["toPhoneNumber"] != nil {
		t.Errorf("got %v for a web conversation, want no telephony fields and empty variables", web)
	}
	for _, path := range []string{"/api/v2/conversations/" + agent, "/api/v2/conversations", "/api/v2/jobs/1"} {
		if got := get(t, url+path); got.status != 404 || decode[created](t, got.body).Message == "" {
			t.Errorf("%s: got %d %s, want 404 and a message", path, got.status, got.body)
		}
	}
	if diff := cmp.Diff(map[string]int{"create": 1, "lookup": 3, "other": 2}, sim.Report().Requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	// The state after processing: 3 slots, 2 taken, then 3 items refused whole.
	for family, want := range map[string]http.Header{
		simulator.HeadersXRateLimit: {"X-Ratelimit-Limit": {"3"}, "X-Ratelimit-Remaining": {"1"}},
		simulator.HeadersIETF:       {"Ratelimit-Policy": {`"calls";q=3;qu="concurrent-requests"`}, "Ratelimit": {`"calls";r=1`}},
		simulator.HeadersNone:       {},
	} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			sim, url := newServer(t, simulator.Config{Limit: 3, Headers: family, RetryAfter: 1500 * time.Millisecond})
			made := post(t, url, phones(0, 2)...)
			refused := post(t, url, phones(0, 3)...)
			found := get(t, url+"/api/v2/conversations/"+sim.Conversations()[0].ID)
			missing := get(t, url+"/api/v2/conversations/"+agent)
			wantRefused := maps.Clone(want)
			wantRefused["Retry-After"] = []string{"2"}
			for _, c := range []struct {
				name   string
				got    reply
				status int
				want   http.Header
			}{
				{"created", made, 200, want},
				{"refused", refused, 429, wantRefused},
				{"found", found, 200, want},
				{"missing", missing, 404, http.Header{}},
			} {
				got := maps.Clone(c.got.header)
				for _, usual := range []string{"Content-Type", "Content-Length", "Date", "Connection"} {
					got.Del(usual)
				}
				if diff := cmp.Diff(c.want, got); diff != "" || c.got.status != c.status {
					t.Errorf("%s: got status %d, want %d; headers (-want +got):\n%s", c.name, c.got.status, c.status, diff)
				}
			}
		})
	}
}

func TestRetryAfterIsAbsentByDefault(t *testing.T) {
	t.Parallel()
	_, url := newServer(t, simulator.Config{Limit: 1})
	got := post(t, url, phones(0, 2)...)
	if got.status != 429 || got.header.Get("Retry-After") != "" {
		t.Errorf("got status %d and Retry-After %q, want 429 and none", got.status, got.header.Get("Retry-After"))
	}
}
