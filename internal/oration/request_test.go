package oration_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/schema"
)

const (
	agent    = "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7"
	customer = "33e1b0a4-2a65-4d1f-9a57-0a4f0c1d2e3f"
)

// client returns a client of the given base URL.
func client(t testing.TB, cfg oration.Config) *oration.Client {
	t.Helper()
	if cfg.Bearer == "" && cfg.APIKey == "" {
		cfg.Bearer = "secret-bearer"
	}
	c, err := oration.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// preparer returns a client that sends nothing.
func preparer(t testing.TB) *oration.Client {
	return client(t, oration.Config{URL: "http://127.0.0.1:1/api/v2"})
}

func TestPrepareGolden(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request map[string]any
		want    string
		pair    string
	}{
		{"every field", map[string]any{
			"agentId": agent, "conversationType": "telephony", "telephonyType": "outbound",
			"toPhoneNumber": "+14155550123", "fromPhoneNumber": "+14155550100", "sipTrunkAddress": "sip:trunk.example",
			"customerId": customer, "identifier": "crm-7", "ignoreDND": true,
			"dynamicVariables": map[string]any{
				"text": "Zoë <3", "yes": true, "int": 7, "int64": int64(1) << 60, "whole": 1e6, "float": 0.25,
				"number": json.Number("1.50"), "none": nil, "list": []any{"a", 1, nil}, "nested": map[string]any{"b": "<&>", "a": 1.5},
				"time": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "weir_intent": "forged", "weir_attempt": 99,
			},
		}, `{"agentId":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7","conversationType":"telephony","telephonyType":"outbound",` +
			`"toPhoneNumber":"+14155550123","fromPhoneNumber":"+14155550100","sipTrunkAddress":"sip:trunk.example",` +
			`"customerId":"33e1b0a4-2a65-4d1f-9a57-0a4f0c1d2e3f","identifier":"crm-7","ignoreDND":true,` +
			`"dynamicVariables":{"float":"0.25","int":"7","int64":"1152921504606846976","list":"[\"a\",1,null]",` +
			`"nested":"{\"a\":1.5,\"b\":\"\u003c\u0026\u003e\"}","none":"","number":"1.50","text":"Zoë \u003c3",` +
			`"time":"2026-01-02T03:04:05Z","whole":"1000000","yes":"true"}}`,
			"number 14155550123 agent " + agent},
		{"least", map[string]any{"conversationType": "telephony", "toPhoneNumber": "+4915112345678"},
			`{"conversationType":"telephony","toPhoneNumber":"+4915112345678"}`, "number 4915112345678 agent "},
		{"absent in three ways", map[string]any{"conversationType": "chat", "toPhoneNumber": " ", "customerId": "", "agentId": nil, "ignoreDND": nil, "dynamicVariables": nil},
			`{"conversationType":"chat"}`, "unnamed"},
		{"ignoreDND false is sent", map[string]any{"conversationType": "web", "ignoreDND": false},
			`{"conversationType":"web","ignoreDND":false}`, "unnamed"},
		{"chat of a customer", map[string]any{"conversationType": "chat", "agentId": strings.ToUpper(agent), "customerId": strings.ToUpper(customer)},
			`{"agentId":"` + strings.ToUpper(agent) + `","conversationType":"chat","customerId":"` + strings.ToUpper(customer) + `"}`,
			"customer " + customer + " agent " + agent},
		{"identifier as a number", map[string]any{"conversationType": "chat", "identifier": int64(90071992547409931)},
			`{"conversationType":"chat","identifier":"90071992547409931"}`, "unnamed"},
	}
	c := preparer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.Prepare(tt.request)
			if err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			body, err := json.Marshal(got.Body)
			if err != nil {
				t.Fatalf("Marshal: %v", err)
			}
			if diff := cmp.Diff(tt.want, string(body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if got.Pair != tt.pair {
				t.Errorf("pair: got %q, want %q", got.Pair, tt.pair)
			}
		})
	}
}

func TestPrepareRefusals(t *testing.T) {
	t.Parallel()
	call := func(key string, v any) map[string]any {
		m := map[string]any{"conversationType": "telephony", "toPhoneNumber": "+14155550123"}
		m[key] = v
		return m
	}
	many := make(map[string]any)
	for i := range 101 {
		many[strings.Repeat("k", i+1)] = "v"
	}
	form := func(shown string) string {
		return "The phone number " + shown + " is not in international form; it must look like +14155550123."
	}
	tests := []struct {
		name    string
		request map[string]any
		field   string
		reason  string // exact if it ends with a full stop, else a part
	}{
		{"nothing", nil, "conversationType", "conversationType is missing; it must be chat, web or telephony."},
		{"unknown field", call("phone", "+14155550123"), "phone", "phone is not a field of an Oration conversation."},
		{"field in another case", call("agentID", agent), "agentID", "agentID is not a field"},
		{"a number as a key", call("+14155550123", 1), "…23", "…23 is not a field"},
		{"unknown type", call("conversationType", "fax"), "conversationType", "must be chat or web or telephony."},
		{"type of type", call("conversationType", 1), "conversationType", "conversationType must be text."},
		{"telephonyType", call("telephonyType", "sideways"), "telephonyType", "must be inbound or outbound."},
		{"agentId not a UUID", call("agentId", "agent-1"), "agentId", "agentId must be a UUID"},
		{"agentId in another spelling", call("agentId", "{"+agent+"}"), "agentId", "agentId must be a UUID"},
		{"customerId not a UUID", call("customerId", "17"), "customerId", "customerId must be a UUID"},
		{"from", call("fromPhoneNumber", 14155550123), "fromPhoneNumber", "fromPhoneNumber must be text."},
		{"trunk", call("sipTrunkAddress", []any{}), "sipTrunkAddress", "sipTrunkAddress must be text."},
		{"identifier", call("identifier", 1.5), "identifier", "identifier must be text."},
		{"identifier too long", call("identifier", strings.Repeat("x", 1025)), "identifier", "longer than 1024 bytes."},
		{"identifier not UTF-8", call("identifier", "\xff"), "identifier", "not valid UTF-8 text."},
		{"ignoreDND", call("ignoreDND", "true"), "ignoreDND", "ignoreDND must be true or false."},
		{"no number", call("toPhoneNumber", nil), "toPhoneNumber", "There is no phone number to call: toPhoneNumber is empty."},
		{"empty number", call("toPhoneNumber", ""), "toPhoneNumber", "There is no phone number to call: toPhoneNumber is empty."},
		{"number as a number", call("toPhoneNumber", 14155550123), "toPhoneNumber", "toPhoneNumber must be text."},
		{"national", call("toPhoneNumber", "(415) 555-0145"), "toPhoneNumber", form("…45")},
		{"spaces", call("toPhoneNumber", "+1 415 555 0145"), "toPhoneNumber", form("…45")},
		{"leading 00", call("toPhoneNumber", "0014155550145"), "toPhoneNumber", form("…45")},
		{"dots", call("toPhoneNumber", "+1.415.555.0145"), "toPhoneNumber", form("…45")},
		{"tel URI", call("toPhoneNumber", "tel:+14155550145"), "toPhoneNumber", form("…45")},
		{"two numbers", call("toPhoneNumber", "+14155550145;+14155550146"), "toPhoneNumber", form("…46")},
		{"a line end", call("toPhoneNumber", "+14155550145\n"), "toPhoneNumber", form("…45")},
		{"country code 0", call("toPhoneNumber", "+04155550145"), "toPhoneNumber", form("…45")},
		{"too short", call("toPhoneNumber", "+141555"), "toPhoneNumber", form("…55")},
		{"too long", call("toPhoneNumber", "+1415555014512345"), "toPhoneNumber", form("…45")},
		{"so short that two digits would show it", call("toPhoneNumber", "4711"), "toPhoneNumber", form("…")},
		{"letters", call("toPhoneNumber", "call me"), "toPhoneNumber", form("…")},
		{"other digits", call("toPhoneNumber", "+١٤١٥٥٥٥٠١٤٥"), "toPhoneNumber", form("…٤٥")},
		{"malformed for a chat too", map[string]any{"conversationType": "chat", "toPhoneNumber": "12345"}, "toPhoneNumber", form("…45")},
		{"variables", call("dynamicVariables", "a=b"), "dynamicVariables", "dynamicVariables must be an object."},
		{"too many variables", call("dynamicVariables", many), "dynamicVariables", "more than 100 entries."},
		{"variables too large", call("dynamicVariables", map[string]any{"a": strings.Repeat("x", 40<<10)}), "dynamicVariables", "larger than 32768 bytes."},
		{"variable's key", call("dynamicVariables", map[string]any{"": "x"}), "dynamicVariables.", "a key that is empty"},
		{"variable that is no JSON", call("dynamicVariables", map[string]any{"x": math.NaN()}), "dynamicVariables.x", "cannot be sent as text."},
		{"variable not UTF-8", call("dynamicVariables", map[string]any{"x": "\xff"}), "dynamicVariables.x", "cannot be sent as text."},
	}
	c := preparer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := c.Prepare(tt.request)
			refusal, ok := errors.AsType[*schema.Refusal](err)
			if !ok {
				t.Fatalf("Prepare: got error %v, want a refusal", err)
			}
			if refusal.Class != schema.ClassRequest || refusal.Field != tt.field {
				t.Errorf("got class %q and field %q, want %q and %q", refusal.Class, refusal.Field, schema.ClassRequest, tt.field)
			}
			if !strings.Contains(refusal.Reason, tt.reason) {
				t.Errorf("reason: got %q, want %q in it", refusal.Reason, tt.reason)
			}
			if strings.Contains(refusal.Reason, "5550145") || strings.Contains(refusal.Reason, "555-0145") {
				t.Errorf("reason %q shows the number", refusal.Reason)
			}
		})
	}
}

func TestPrepareLeavesTheRouteAlone(t *testing.T) {
	t.Parallel()
	vars := map[string]any{"weir_intent": "mine", "n": 1}
	request := map[string]any{"conversationType": "chat", "dynamicVariables": vars}
	if _, err := preparer(t).Prepare(request); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	want := map[string]any{"weir_intent": "mine", "n": 1}
	if diff := cmp.Diff(want, vars); diff != "" {
		t.Errorf("the route's object changed (-want +got):\n%s", diff)
	}
}

func TestNewJoinsEveryProblem(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  oration.Config
		want []string
	}{
		{"nothing", oration.Config{}, []string{"url: is missing", "auth: give api_key and workspace_id, or bearer"}},
		{"everything", oration.Config{
			URL: "http://www.oration.ai/api/v2", APIKey: "k ey", Bearer: "b", PublicKey: "ü", Timeout: -1,
			FullWhen: []string{"(", "a*", "fine"}, RefusedStatuses: []int{503, 200, 429, 401},
		}, []string{
			"url: must be https, or http on loopback",
			"auth.api_key: holds a space", "auth.public_key: holds a space", "auth: give api_key and workspace_id, or bearer, not both",
			"full_when[0]: ", "full_when[1]: matches every text", "timeout: -1ns is negative",
			"refused_statuses: 200 ", "refused_statuses: 429 ", "refused_statuses: 401 ",
		}},
		{"credentials that cannot be sent", oration.Config{URL: "https://x.example", Bearer: "w\xf6rk\xff", PublicKey: schema.Secret(strings.Repeat("k", 9000))},
			[]string{"auth.bearer: holds", "auth.public_key: is longer than 8192 bytes"}},
		{"half a pair", oration.Config{URL: "https://x.example", APIKey: "k"}, []string{"auth.workspace_id: is missing"}},
		{"the other half", oration.Config{URL: "https://x.example", WorkspaceID: "w"}, []string{"auth.api_key: is missing"}},
		{"password in the URL", oration.Config{URL: "https://u:hunter2@x.example", Bearer: "b"}, []string{"url: must not hold a user"}},
		{"unreadable URL", oration.Config{URL: "https://u:hunter2@x example", Bearer: "b"}, []string{"url: is not a URL"}},
		{"query", oration.Config{URL: "https://x.example/?a=b", Bearer: "b"}, []string{"url: must end with the path"}},
		{"no host", oration.Config{URL: "https:///api", Bearer: "b"}, []string{"url: has no host"}},
		{"other scheme", oration.Config{URL: "ftp://127.0.0.1", Bearer: "b"}, []string{"url: must be https"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := oration.New(zerolog.Nop(), tt.cfg)
			if err == nil {
				t.Fatal("New: got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if got := len(strings.Split(err.Error(), "\n")); got != len(tt.want) {
				t.Errorf("got %d problems, want %d:\n%v", got, len(tt.want), err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q shows a password", err)
			}
		})
	}
	for _, url := range []string{"https://www.oration.ai/api/v2", "http://localhost:8077/api/v2/", "http://[::1]:1", "http://127.9.9.9"} {
		client(t, oration.Config{URL: url})
	}
}
