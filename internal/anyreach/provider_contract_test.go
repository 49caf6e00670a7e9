package anyreach_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/weirhq/weir/consumer/providertest"
	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/schema"
)

func TestProviderContract(t *testing.T) { //nolint:paralleltest // Run counts goroutines
	const token, organization = `pat_x3Wd/58"hTjR+m26<eB9`, "c61f7a0e-2d94-4b38-a5e7-90d3b8f1462c"
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T, cfg providertest.Config) providertest.Client {
			c, err := anyreach.New(cfg.Log, anyreach.Config{
				URL: cfg.URL, Token: schema.Secret(token), Organization: schema.Secret(organization),
				Timeout: cfg.Timeout, RefusedStatuses: cfg.RefusedStatuses, RootCAs: cfg.RootCAs,
			})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			return c
		},
		Secrets: []string{token, organization},
		Requests: []map[string]any{
			call("custom_metadata", map[string]any{"name": "Ana", "tags": []any{"a", map[string]any{"b": 1}}}),
			{
				"channel": "email", "user_id": "lead-7", "to_address": "ana.lima@example.com", "from_address": "sales.team@example.org",
				"subject": "Hello", "initial_context": "VIP", "agent_id": "agent_1", "version": "latest",
			},
			{"channel": "text", "user_id": "lead-8", "agent_version_id": "version_1"},
			{"channel": "webrtc", "user_id": "lead-9", "agent_config": map[string]any{"prompt": map[string]any{"text": "Be kind"}}},
		},
		Bad: map[string]map[string]any{
			"user_id":         call("user_id", "(415) 555-0145"),
			"agent_number":    call("agent_number", nil),
			"channel":         call("channel", "fax"),
			"to_address":      {"channel": "email", "user_id": "lead-7", "to_address": "ana.lima(at)example.com", "agent_id": "agent_1"},
			"custom_metadata": call("custom_metadata", "a=b"),
			"id":              call("id", intent),
		},
		Forged:  []map[string]any{call("custom_metadata", map[string]any{"weir_intent": "forged", "weir_attempt": 7})},
		Most:    1,
		TakesID: true,
		Sent: func(body []byte) []providertest.Sent {
			var b struct {
				ID             string
				CustomMetadata struct {
					Intent  string `json:"weir_intent"`
					Attempt int    `json:"weir_attempt"`
				} `json:"custom_metadata"`
			}
			_ = json.Unmarshal(body, &b)
			return []providertest.Sent{{ID: b.ID, Intent: b.CustomMetadata.Intent, Attempt: b.CustomMetadata.Attempt}}
		},
		Created: func(made []providertest.Made) string {
			return fmt.Sprintf(`{"conversation":{"id":%q,"channel":%q,"status":"triggered","user_id":%q},"starting_message":null}`,
				made[0].ID, made[0].Request["channel"], made[0].Request["user_id"])
		},
		Error: func(words string) string { return fmt.Sprintf(`{"detail":%s}`, quoted(words)) },
		Conversation: func(id string, ended bool, words string) string {
			status := map[bool]string{true: "completed", false: "in_progress"}[ended]
			return fmt.Sprintf(`{"id":%q,"channel":"telephone","status":%q,"conversation":{},"summary":%s}`, id, status, quoted(words))
		},
	})
}

// call is a route's request for a telephone call, with one field changed.
func call(field string, v any) map[string]any {
	r := map[string]any{"channel": "telephone", "user_id": number, "agent_id": "agent_1", "agent_number": "+14155550199"}
	maps.Copy(r, map[string]any{field: v})
	return r
}

// quoted writes a text as JSON.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
