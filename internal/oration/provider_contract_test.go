package oration_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/weirhq/weir/consumer/providertest"
	"github.com/weirhq/weir/internal/oration"
	"github.com/weirhq/weir/schema"
)

// TestProviderContract is not parallel: the contract counts goroutines.
func TestProviderContract(t *testing.T) {
	const key, space = `q7Zp/29"LmX+w41<aT8`, "5be0c17d-93fa-4e62-b8d4-71c2a6e90f3b"
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T, cfg providertest.Config) providertest.Client {
			c, err := oration.New(cfg.Log, oration.Config{
				URL: cfg.URL, APIKey: schema.Secret(key), WorkspaceID: schema.Secret(space),
				Timeout: cfg.Timeout, RefusedStatuses: cfg.RefusedStatuses, RootCAs: cfg.RootCAs,
			})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			return c
		},
		Secrets: []string{key, space},
		Requests: []map[string]any{
			call("+14155550101", map[string]any{"name": "Ana", "tags": []any{"a", map[string]any{"b": 1}}}),
			call("+14155550102", nil), call("+14155550103", map[string]any{}),
		},
		Bad: map[string]map[string]any{
			"toPhoneNumber":    call("(415) 555-0145", nil),
			"agentId":          {"conversationType": "chat", "agentId": "agent-1"},
			"conversationType": {"conversationType": "fax"},
			"dynamicVariables": call("+14155550101", "a=b"),
		},
		Forged: []map[string]any{call("+14155550101", map[string]any{"weir_intent": "forged", "weir_attempt": 7})},
		Most:   100,
		Sent:   sent,
		Created: func(made []providertest.Made) string {
			var results []string
			for _, m := range made {
				results = append(results, fmt.Sprintf(`{"conversation":{"id":%q,"agentId":%q,"conversationStatus":"created","toPhoneNumber":%q}}`,
					m.ID, agent, m.Request["toPhoneNumber"]))
			}
			return body(list(results...), "")
		},
		Error: func(words string) string { return fmt.Sprintf(`{"message":%s}`, quoted(words)) },
		Conversation: func(id string, ended bool, words string) string {
			status := map[bool]string{true: "completed", false: "active"}[ended]
			return fmt.Sprintf(`{"id":%q,"conversationStatus":%q,"endReason":%s,"summary":%[3]s}`, id, status, quoted(words))
		},
	})
}

// call is a route's request for a telephone call.
func call(number string, variables any) map[string]any {
	return map[string]any{"agentId": agent, "conversationType": "telephony", "toPhoneNumber": number, "dynamicVariables": variables}
}

// sent reads the marks in a create's body.
func sent(body []byte) []providertest.Sent {
	var b struct{ Conversations []oration.Request }
	_ = json.Unmarshal(body, &b)
	var out []providertest.Sent
	for _, r := range b.Conversations {
		n, _ := strconv.Atoi(r.DynamicVariables["weir_attempt"])
		out = append(out, providertest.Sent{Intent: r.DynamicVariables["weir_intent"], Attempt: n})
	}
	return out
}

// quoted writes a text as JSON.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
