package anyreach_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/schema"
)

const (
	number = "+14155550111"
	intent = "5d0c8f5e-7a46-5f0e-9d6c-0a5be1a7f001"
)

// client returns a client of the given base URL.
func client(t testing.TB, cfg anyreach.Config) *anyreach.Client {
	t.Helper()
	if cfg.Token == "" {
		cfg.Token = "ak_1.secret-token"
	}
	c, err := anyreach.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// preparer returns a client that sends nothing.
func preparer(t testing.TB) *anyreach.Client {
	return client(t, anyreach.Config{URL: "http://127.0.0.1:1"})
}

func TestPrepareGolden(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request map[string]any
		want    string
		pair    string
	}{
		{"call with every field of it", map[string]any{
			"channel": "telephone", "user_id": number, "agent_id": "agent_1", "version": 3, "agent_number": "+14155550199",
			"initial_context": "Line one\nline two", "custom_metadata": map[string]any{
				"text": "Zoë <3", "n": json.Number("12345678901234567890"), "none": nil, "": true, "nested": map[string]any{"l": []any{1.5, "a"}},
				"weir_intent": "forged", "weir_attempt": 99,
			},
		}, `{"channel":"telephone","user_id":"+14155550111","agent_id":"agent_1","agent_number":"+14155550199",` +
			`"initial_context":"Line one\nline two","version":3,"custom_metadata":{"":true,"n":12345678901234567890,"nested":{"l":[1.5,"a"]},` +
			`"none":null,"text":"Zoë \u003c3"}}`,
			"telephone 14155550111"},
		{"call, least", map[string]any{"channel": "telephone", "user_id": number, "agent_number": "+14155550199"},
			`{"channel":"telephone","user_id":"+14155550111","agent_number":"+14155550199"}`, "telephone 14155550111"},
		{"call with a config and a number", map[string]any{"channel": "telephone", "user_id": number, "agent_number": "+14155550199", "agent_config": map[string]any{"a": 1}},
			`{"channel":"telephone","user_id":"+14155550111","agent_number":"+14155550199","agent_config":{"a":1}}`, "telephone 14155550111"},
		{"e-mail with every field of it", map[string]any{
			"channel": "email", "user_id": "Lead-7", "to_address": "ana.lima+x@mail.example.com", "from_address": "sales@example.com",
			"subject": "Hello, Ana", "agent_version_id": "av_1",
		}, `{"channel":"email","user_id":"Lead-7","agent_version_id":"av_1","to_address":"ana.lima+x@mail.example.com",` +
			`"from_address":"sales@example.com","subject":"Hello, Ana"}`, "email Lead-7"},
		{"text with the latest", map[string]any{"channel": "text", "user_id": "u", "agent_id": "a", "version": "latest"},
			`{"channel":"text","user_id":"u","agent_id":"a","version":"latest"}`, "text u"},
		{"webrtc with a config", map[string]any{"channel": "webrtc", "user_id": "u", "agent_config": map[string]any{}, "agent_number": "+14155550199"},
			`{"channel":"webrtc","user_id":"u","agent_number":"+14155550199","agent_config":{}}`, "webrtc u"},
		{"ids that are numbers", map[string]any{"channel": "text", "user_id": int64(90071992547409931), "agent_id": json.Number("17")},
			`{"channel":"text","user_id":"90071992547409931","agent_id":"17"}`, "text 90071992547409931"},
		{"versions that are numbers", map[string]any{"channel": "text", "user_id": "u", "agent_id": "a", "version": json.Number("12")},
			`{"channel":"text","user_id":"u","agent_id":"a","version":12}`, "text u"},
		{"a version that a calculation made", map[string]any{"channel": "text", "user_id": "u", "agent_id": "a", "version": 2.0},
			`{"channel":"text","user_id":"u","agent_id":"a","version":2}`, "text u"},
		{"absent in three ways", map[string]any{
			"channel": "text", "user_id": "u", "agent_id": "a", "agent_version_id": nil, "agent_config": "", "version": "", "agent_number": " ",
			"to_address": " ", "from_address": nil, "subject": "", "initial_context": nil, "custom_metadata": nil,
		}, `{"channel":"text","user_id":"u","agent_id":"a"}`, "text u"},
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
			if got.Pair != tt.pair || got.Channel != tt.request["channel"] {
				t.Errorf("got pair %q and channel %q, want %q and %q", got.Pair, got.Channel, tt.pair, tt.request["channel"])
			}
		})
	}
}

func TestPrepareRefusals(t *testing.T) {
	t.Parallel()
	chat := func(fields ...any) map[string]any {
		m := map[string]any{"channel": "text", "user_id": "u", "agent_id": "a"}
		for i := 0; i < len(fields); i += 2 {
			m[fields[i].(string)] = fields[i+1]
		}
		return m
	}
	meta := func(v any) map[string]any { return chat("custom_metadata", v) }
	many := make(map[string]any)
	for i := range 2001 {
		many[strings.Repeat("k", i%100)+string(rune('a'+i/100))] = i
	}
	var deep any = "x"
	for range 33 {
		deep = []any{deep}
	}
	form := func(shown string) string {
		return "The phone number " + shown + " is not in international form; it must look like +14155550123."
	}
	mail := func(to string) map[string]any {
		return map[string]any{"channel": "email", "user_id": "u", "agent_id": "a", "to_address": to}
	}
	tests := []struct {
		name    string
		request map[string]any
		field   string
		reason  string
	}{
		{"nothing", nil, "channel", "channel is missing; it must be telephone, webrtc, email or text."},
		{"unknown field", chat("agentId", "a"), "agentId", "agentId is not a field of an Anyreach conversation."},
		{"a number as a key", chat("+14155550145", 1), "…45", "…45 is not a field"},
		{"id", chat("id", intent), "id", "Weir sets it"},
		{"unknown channel", chat("channel", "fax"), "channel", "channel must be telephone or webrtc or email or text."},
		{"channel in capitals", chat("channel", "Text"), "channel", "channel must be telephone"},
		{"type of channel", chat("channel", 1), "channel", "channel must be text."},
		{"no user", chat("user_id", " "), "user_id", "user_id is missing"},
		{"user that is a fraction", chat("user_id", 1.0), "user_id", "user_id must be text."},
		{"user with an exponent", chat("user_id", json.Number("1e3")), "user_id", "text or a whole number."},
		{"user with a line end", chat("user_id", "a\nb"), "user_id", "a line end or another control character."},
		{"user too long", chat("user_id", strings.Repeat("x", 1025)), "user_id", "longer than 1024 bytes."},
		{"user not UTF-8", chat("user_id", "\xff"), "user_id", "not valid UTF-8 text."},
		{"no agent", chat("agent_id", nil), "agent_id", "There is no agent: give agent_id, agent_version_id or agent_config."},
		{"agent's number is no agent but for calls", chat("agent_id", nil, "agent_number", number), "agent_id", "There is no agent"},
		{"two agents", chat("agent_version_id", "av"), "agent_version_id", "here are agent_id and agent_version_id."},
		{"a config beside an agent", chat("agent_config", map[string]any{}), "agent_config", "here are agent_id and agent_config."},
		{"config", chat("agent_id", nil, "agent_config", []any{}), "agent_config", "agent_config must be an object."},
		{"version without agent", chat("agent_id", nil, "agent_version_id", "av", "version", 1), "version", "version goes with agent_id alone."},
		{"version zero", chat("version", 0), "version", "version must be a positive whole number or latest."},
		{"version in words", chat("version", "3"), "version", "version must be a positive"},
		{"version that is a fraction", chat("version", 1.5), "version", "version must be a positive"},
		{"version that is none", chat("version", true), "version", "version must be a positive"},
		{"version with an exponent", chat("version", json.Number("1e1")), "version", "version must be a positive"},
		{"version too large", chat("version", uint64(math.MaxUint64)), "version", "version must be a positive"},
		{"address for a text", chat("to_address", "ana@example.com"), "to_address", "to_address is for the channel email alone; here it is text."},
		{"sender for a call", call("from_address", "ana@example.com"), "from_address", "from_address is for the channel email alone; here it is telephone."},
		{"subject for a call", call("subject", "x"), "subject", "subject is for the channel email alone"},
		{"no address", mail(""), "to_address", "There is no address to write to: to_address is empty."},
		{"address without a domain", mail("sam.poe@"), "to_address", "to_address is not an e-mail address"},
		{"address without a dot", mail("sam.poe@example"), "to_address", "to_address is not an e-mail address"},
		{"address with a name", mail("Sam <sam.poe@example.com>"), "to_address", "to_address is not an e-mail address"},
		{"two addresses", mail("sam.poe@example.com,x@example.com"), "to_address", "to_address is not an e-mail address"},
		{"two at signs", mail("sam.poe@x@example.com"), "to_address", "to_address is not an e-mail address"},
		{"address with a line end", mail("sam.poe@example.com\nBcc: x"), "to_address", "to_address is not an e-mail address"},
		{"address with a NUL", mail("sam.poe\x00@example.com"), "to_address", "to_address is not an e-mail address"},
		{"address too long", mail("sam.poe@" + strings.Repeat("x", 250) + ".com"), "to_address", "longer than 254 bytes."},
		{"address that ends in a dot", mail("sam.poe@example.com."), "to_address", "to_address is not an e-mail address"},
		{"subject with a line end", map[string]any{"channel": "email", "subject": "a\r\nBcc: x"}, "subject", "a line end"},
		{"context too long", chat("initial_context", strings.Repeat("x", 33<<10)), "initial_context", "longer than 32768 bytes."},
		{"no number", call("user_id", nil), "user_id", "There is no phone number to call: user_id is empty."},
		{"number as a number", call("user_id", 14155550145), "user_id", form("…45")},
		{"national number", call("user_id", "(415) 555-0145"), "user_id", form("…45")},
		{"number with a line end", call("user_id", "+14155550145\n"), "user_id", "a line end"},
		{"two numbers", call("user_id", "+14155550145;+14155550146"), "user_id", form("…46")},
		{"country code 0", call("user_id", "+04155550145"), "user_id", form("…45")},
		{"own number", call("agent_number", "any"), "agent_number", form("…")},
		{"no own number", call("agent_number", ""), "agent_number", "allow any with agent_number: any in the configuration."},
		{"metadata", meta("a=b"), "custom_metadata", "custom_metadata must be an object."},
		{"metadata too large", meta(map[string]any{"a": strings.Repeat("x", 33<<10)}), "custom_metadata", "larger than 32768 bytes."},
		{"metadata with many keys", meta(many), "custom_metadata", "more than 2000 keys."},
		{"metadata too deep", meta(map[string]any{"a": deep}), "custom_metadata", "more than 32 objects and lists inside each other."},
		{"metadata with a long key", meta(map[string]any{"a": []any{map[string]any{strings.Repeat("k", 129): 1}}}), "custom_metadata", "a key that is longer than 128 bytes or not UTF-8."},
		{"metadata not UTF-8", meta(map[string]any{"a": []any{"\xff"}}), "custom_metadata", "text that is not valid UTF-8."},
		{"metadata that is no JSON", meta(map[string]any{"a": math.NaN()}), "custom_metadata", "a value that JSON cannot carry."},
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
			for _, private := range []string{"5550145", "555-0145", "sam.poe"} {
				if strings.Contains(refusal.Error(), private) {
					t.Errorf("reason %q shows %q", refusal, private)
				}
			}
		})
	}
}

func TestAnyNumber(t *testing.T) {
	t.Parallel()
	c := client(t, anyreach.Config{URL: "http://127.0.0.1:1", AnyNumber: true})
	if _, err := c.Prepare(map[string]any{"channel": "telephone", "user_id": number, "agent_version_id": "av"}); err != nil {
		t.Errorf("Prepare: %v", err)
	}
	for name, r := range map[string]map[string]any{
		"nothing":      {"channel": "telephone", "user_id": number},
		"config alone": {"channel": "telephone", "user_id": number, "agent_config": map[string]any{"a": 1}},
	} {
		if _, err := c.Prepare(r); err == nil || !strings.Contains(err.Error(), "agent_config alone does not do") {
			t.Errorf("%s: got error %v, want a refusal", name, err)
		}
	}
}

func TestNewJoinsEveryProblem(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  anyreach.Config
		want []string
	}{
		{"nothing", anyreach.Config{}, []string{"url: is missing", "auth.token: is missing"}},
		{"everything", anyreach.Config{URL: "http://api.anyreach.ai", Token: "a b", Organization: "ü", Timeout: -1, RefusedStatuses: []int{503, 429}},
			[]string{"url: must be https", "auth.token: holds a space", "auth.organization: holds a space", "timeout: -1ns is negative", "refused_statuses: 429 "}},
		{"a personal token alone", anyreach.Config{URL: "https://x.example", Token: "pat_hunter2"},
			[]string{"auth.organization: is missing beside a personal token (pat_)"}},
		{"an organization alone", anyreach.Config{URL: "https://x.example", Organization: "org_1"}, []string{"auth.token: is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := anyreach.New(zerolog.Nop(), tt.cfg)
			if err == nil {
				t.Fatal("New: got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if got := len(strings.Split(err.Error(), "\n")); got != len(tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %d problems, want %d and no secret:\n%v", got, len(tt.want), err)
			}
		})
	}
	client(t, anyreach.Config{URL: "https://api.anyreach.ai/", Token: "pat_x", Organization: "org_1"})
	client(t, anyreach.Config{URL: "https://api.anyreach.ai", Token: "ak_1.x", Organization: "org_1"})
}
