package openapitest_test

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/schema/openapitest"
)

func TestAnyreachCreateRequests(t *testing.T) {
	t.Parallel()
	const create = "/core/conversations"
	key := headers("Authorization", "Bearer ak_1.secret", "Content-Type", "application/json")
	personal := headers("Authorization", "Bearer pat_secret", "X-Anyreach-Org", "org_1", "Content-Type", "application/json")
	post := func(name, body, want string) sent { return sent{name, "POST", create, key, body, want} }
	// Each asks for a conversation that is well, with members after it.
	call := func(more string) string { return `{"channel":"telephone","user_id":"+14155550111"` + more + `}` }
	text := func(more string) string { return `{"channel":"text","user_id":"lead-7"` + more + `}` }
	email := func(more string) string { return `{"channel":"email","user_id":"lead-7"` + more + `}` }
	every := email(`,"id":"` + someID + `","agent_id":"ag_1","version":3,"agent_number":"+14155550222","to_address":"ana@example.com",` +
		`"from_address":"desk@example.com","subject":"Hello","initial_context":"VIP","custom_metadata":{"weir_attempt":1,"deep":{"a":[null]}}`)
	checkRequests(t, openapitest.Load(t, "../anyreach.openapi.yaml"), []sent{
		post("every field", every, ""),
		{"personal token", "POST", create, personal, every, ""},
		post("call by agent", call(`,"agent_id":"ag_1","version":"latest"`), ""),
		post("call by version", call(`,"agent_version_id":"av_1"`), ""),
		post("call by number", call(`,"agent_number":"+14155550222"`), ""),
		post("call by number and agent", call(`,"agent_number":"+14155550222","agent_id":"ag_1"`), ""),
		post("call by number and configuration", call(`,"agent_number":"+14155550222","agent_config":{}`), ""),
		post("call by configuration", call(`,"agent_config":{}`), "body: none of these holds: : missing property 'agent_number' | "),
		post("call by nothing", call(``), "body: none of these holds"),
		post("call to a name", `{"channel":"telephone","user_id":"lead-7","agent_id":"ag_1"}`, "body/user_id: 'lead-7' does not match"),
		post("call without plus", `{"channel":"telephone","user_id":"14155550111","agent_id":"ag_1"}`, "body/user_id: "),
		post("text", text(`,"agent_config":{"prompt":"x"}`), ""),
		post("text by number", text(`,"agent_number":"+14155550222"`), "body: none of these holds: : missing property 'agent_id' | "),
		post("web call", `{"channel":"webrtc","user_id":"lead-7","agent_id":"ag_1"}`, ""),
		post("web call by nothing", `{"channel":"webrtc","user_id":"lead-7"}`, "body: none of these holds"),
		post("e-mail to nobody", email(`,"agent_id":"ag_1"`), "body: missing property 'to_address'"),
		post("e-mail to no address", email(`,"agent_id":"ag_1","to_address":"ana"`), "body/to_address: 'ana' is not valid email"),
		post("e-mail from no address", email(`,"agent_id":"ag_1","to_address":"a@b.example","from_address":""`), "body/from_address: "),
		post("e-mail by nothing", email(`,"to_address":"a@b.example"`), "body: none of these holds"),
		post("agent and version id", text(`,"agent_id":"a","agent_version_id":"v"`), "body/agent_version_id: must not be there"),
		post("agent and configuration", text(`,"agent_id":"a","agent_config":{}`), "body/agent_config: must not be there"),
		post("version id and configuration", text(`,"agent_version_id":"v","agent_config":{}`), "body/agent_config: must not be there"),
		post("version of a version", text(`,"agent_version_id":"v","version":1`), "body: properties 'agent_id' required, if 'version' exists"),
		post("version in words", text(`,"agent_id":"a","version":"newest"`), "body/version: none of these holds"),
		post("broken version", text(`,"agent_id":"a","version":1.5`), "body/version: none of these holds"),
		post("no channel", `{"user_id":"lead-7","agent_id":"a"}`, "body: missing property 'channel'"),
		post("unknown channel", `{"channel":"sms","user_id":"lead-7","agent_id":"a"}`, "body/channel: value must be one of"),
		post("nobody", `{"channel":"text","agent_id":"a"}`, "body: missing property 'user_id'"),
		post("empty user", `{"channel":"text","user_id":"","agent_id":"a"}`, "body/user_id: minLength"),
		post("user as number", `{"channel":"text","user_id":7,"agent_id":"a"}`, "body/user_id: got number, want string"),
		post("id of another form", text(`,"agent_id":"a","id":"lead-7"`), "body/id: 'lead-7' is not valid uuid"),
		post("metadata as text", text(`,"agent_id":"a","custom_metadata":"{}"`), "body/custom_metadata: got string, want object"),
		post("caller id of another form", call(`,"agent_number":"415 555 0222"`), "body/agent_number: "),
		post("null for absent", text(`,"agent_id":"a","subject":null`), "body/subject: got null"),
		post("unknown field", text(`,"agent_id":"a","dynamicVariables":{}`), "body: additional properties 'dynamicVariables'"),
		post("a batch", `[]`, "body: got array, want object"),
		post("no body", "", "body: is missing"),
		{"no content type", "POST", create, headers("Authorization", "Bearer ak_1.s"), every, "header Content-Type:"},
		{"no credentials", "POST", create, asJSON, every, "security: the headers have no credentials for organizationKey or organization with personalToken"},
		{"personal token without organization", "POST", create, headers("Authorization", "Bearer pat_s", "Content-Type", "application/json"), every, "security:"},
		{"token of another form", "POST", create, headers("Authorization", "Bearer sk-1", "X-Anyreach-Org", "org_1", "Content-Type", "application/json"), every, "security:"},
		{"key of Oration's", "POST", create, headers("x-api-key", "k", "Content-Type", "application/json"), every, "security:"},
		{"without prefix", "POST", "/conversations", key, every, "POST /conversations: unknown path"},
		{"end", "POST", create + "/" + someID + "/end", key, "", "unknown path"},
		{"put", "PUT", create + "/" + someID, key, every, "unknown method"},
	})
}

func TestAnyreachQueries(t *testing.T) {
	t.Parallel()
	key := headers("Authorization", "Bearer ak_1.secret")
	list := func(query, want string) sent {
		return sent{"list " + query, "GET", "/core/conversations?" + query, key, "", want}
	}
	checkRequests(t, openapitest.Load(t, "../anyreach.openapi.yaml"), []sent{
		{"list", "GET", "/core/conversations", key, "", ""},
		{"list without credentials", "GET", "/core/conversations", nil, "", "listConversations: request: security:"},
		list("channel=telephone&status=triggered&direction=outbound&agent_id=a&agent_version_id=v&web_widget_id=w", ""),
		list("user_id=%2B1415&agent_number=%2B1415&limit=100&cursor=MjAyNi0wMS0wMVQwMDowMDowMFo%3D", ""),
		list("created_after=2026-01-01T00:00:00Z&created_before=2026-01-02T00:00:00.5Z", ""),
		list("duration_above=0.5&duration_below=60&user_turn_count_above=0&user_turn_count_below=3", ""),
		list("custom_metadata=%7B%22weir_intent%22%3A%22x%22%7D", ""),
		list("custom_metadata=weir_intent", "query custom_metadata: is not JSON"),
		list("custom_metadata=%7B%7D", "query custom_metadata: minProperties"),
		list("custom_metadata=%5B1%5D", "query custom_metadata: got array, want object"),
		list("limit=0", "query limit: minimum: got 0, want 1"),
		list("limit=ten", "query limit: got string, want integer"),
		list("limit=", "query limit: got string, want integer"),
		list("limit=2.5", "query limit: got number, want integer"),
		list("limit=1&limit=2", "query limit: stands there 2 times"),
		list("channel=phone", "query channel: value must be one of"),
		list("status=ended", "query status: value must be one of"),
		list("created_after=yesterday", "query created_after:"),
		list("created_after=yesterdayZ", "query created_after: 'yesterdayZ' is not valid date-time"),
		list("created_before=2026-01-01T00:00:00%2B01:00", "query created_before:"),
		list("cursor=2026-01-01T00:00:00Z", "query cursor:"),
		list("user_id=", "query user_id: minLength"),
		list("offset=10", "query offset: is not declared"),
		{"look-up", "GET", "/core/conversations/" + someID, key, "", ""},
		{"look-up of any id", "GET", "/core/conversations/a%2Fb", key, "", ""},
		{"look-up of none", "GET", "/core/conversations/", key, "", "path conversation_id: minLength"},
		{"look-up with a filter", "GET", "/core/conversations/x?channel=text", key, "", "query channel: is not declared"},
		{"look-up with a body", "GET", "/core/conversations/x", key, "{}", "body: there must be none"},
	})
}

// anyreachCall returns a conversation with more members.
func anyreachCall(more string) string {
	return `{"id":"0d","channel":"telephone","status":"triggered"` + more + `}`
}

const fullAnyreachCall = `{"id":"0d","organization_id":"org_1","direction":"outbound","channel":"telephone","status":"triggered",` +
	`"user_id":"+14155550111","agent_id":"ag_1","agent_version_id":"av_1","agent_number":"+14155550222",` +
	`"web_widget_id":null,"duration":null,"user_turn_count":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z",` +
	`"agent":{"id":"ag_1","name":"Front desk"},"summary":null,"initial_context":"VIP","custom_metadata":{"k":"v"},"conversation":{},"recording_details":{}}`

func TestAnyreachCreateAnswers(t *testing.T) {
	t.Parallel()
	post := func(name string, status int, body, want string) answered {
		return answered{name, "POST", "/core/conversations", status, asJSON, body, want}
	}
	page := func(status int, want string) answered {
		return answered{"page", "POST", "/core/conversations", status, headers("Content-Type", "text/html"), "<html>", want}
	}
	begun := func(conversation string) string {
		return `{"conversation":` + conversation + `,"starting_message":"Hi"}`
	}
	checkAnswers(t, openapitest.Load(t, "../anyreach.openapi.yaml"), []answered{
		post("text", 200, begun(fullAnyreachCall), ""),
		post("e-mail", 200, `{"conversation":`+anyreachCall("")+`,"starting_message":null}`, ""),
		post("web call", 200, `{"token":"t","url":"wss://rooms.invalid"}`, ""),
		post("web call with a conversation", 200, `{"conversation":`+anyreachCall("")+`,"token":"t"}`, ""),
		post("known id, bare", 200, fullAnyreachCall, ""),
		post("known id, bare, safe columns", 200, anyreachCall(""), ""),
		post("greeting as object", 200, `{"conversation":`+anyreachCall("")+`,"starting_message":{}}`, "body/starting_message: got object"),
		post("conversation without id", 200, begun(`{"channel":"text","status":"in_progress"}`), "body/conversation: missing property 'id'"),
		post("conversation as id", 200, begun(`"0d"`), "body/conversation: got string"),
		post("bare, metadata as text", 200, anyreachCall(`,"custom_metadata":"{}"`), "body/custom_metadata: got string"),
		post("nothing in it", 200, `{}`, "body: minProperties"),
		post("empty", 200, "", "body: is missing"),
		page(200, `header Content-Type: "text/html"`),
		post("wrapped", 202, `{"conversation":`+fullAnyreachCall+`}`, ""),
		post("bare", 202, fullAnyreachCall, ""),
		post("id alone", 202, `{"conversation_id":"0d"}`, ""),
		post("empty object", 202, `{}`, ""),
		post("empty", 202, "", ""),
		post("wrapped, no status", 202, `{"conversation":{"id":"0d","channel":"telephone"}}`, "body/conversation: missing property 'status'"),
		post("bare, no status", 202, `{"id":"0d","channel":"telephone"}`, "body: missing property 'status'"),
		post("bare, length as text", 202, anyreachCall(`,"duration":"60"`), "body/duration: got string"),
		post("id as number", 202, `{"id":7}`, "body/id: got number"),
		post("list", 202, `[]`, "body: got array"),
		page(202, "header Content-Type:"),
		post("created", 201, fullAnyreachCall, "status 201: is not listed"),
		post("bad", 400, `{"detail":"no usable number"}`, ""),
		post("unauthorized", 401, `{"detail":"token lacks the organization claim"}`, ""),
		post("unauthorized as elsewhere", 401, `{"error":"no"}`, "body: missing property 'detail'"),
		post("forbidden", 403, `{"detail":"scope"}`, ""),
		post("no agent", 404, `{"detail":"Not Found"}`, ""),
		post("conflict", 409, `{"detail":{"why":"x"}}`, "body/detail: got object"),
		post("invalid, text", 422, `{"detail":"one agent only"}`, ""),
		post("invalid, list", 422, `{"detail":[{"loc":["body","items",0],"msg":"field required","type":"missing"}]}`, ""),
		post("invalid, list of texts", 422, `{"detail":["x"]}`, "body/detail/0: got string, want object"),
		post("invalid, no place", 422, `{"detail":[{"msg":"m","type":"t"}]}`, "body/detail/0: missing property 'loc'"),
		post("invalid, odd place", 422, `{"detail":[{"loc":"body","msg":"m","type":"t"}]}`, "body/detail/0/loc: got string, want array"),
		post("invalid, empty", 422, "", "body: is missing"),
		page(401, "header Content-Type:"),
		{"busy", "POST", "/core/conversations", 429, headers("Retry-After", "3"), "", ""},
		{"busy for a fraction", "POST", "/core/conversations", 429, headers("Retry-After", "0.3"), "", "header Retry-After:"},
		page(413, ""),
		post("error", 500, `{"detail":"Internal Server Error"}`, ""),
		page(500, ""),
		page(502, ""),
		post("down", 503, `{"message":"x"}`, "body: missing property 'detail'"),
		post("redirect", 307, "", "status 307: is not listed"),
	})
}

func TestAnyreachQueryAnswers(t *testing.T) {
	t.Parallel()
	get := func(name string, status int, body, want string) answered {
		return answered{name, "GET", "/core/conversations/0d", status, asJSON, body, want}
	}
	list := func(name string, status int, body, want string) answered {
		return answered{"list " + name, "GET", "/core/conversations", status, asJSON, body, want}
	}
	checkAnswers(t, openapitest.Load(t, "../anyreach.openapi.yaml"), []answered{
		get("all", 200, fullAnyreachCall, ""),
		get("safe columns", 200, anyreachCall(`,"trunk_id":null`), ""),
		get("unknown values", 200, `{"id":"0d","channel":"fax","status":"paused","direction":"sideways"}`, ""),
		get("ended", 200, anyreachCall(`,"duration":61.5,"user_turn_count":4`), ""),
		get("negative length", 200, anyreachCall(`,"duration":-1`), "body/duration: minimum"),
		get("half a turn", 200, anyreachCall(`,"user_turn_count":0.5`), "body/user_turn_count: got number"),
		get("local time", 200, anyreachCall(`,"created_at":"2026-01-01T00:00:00+01:00"`), "body/created_at:"),
		get("agent as id", 200, anyreachCall(`,"agent":"ag_1"`), "body/agent: got string"),
		get("transcript as text", 200, anyreachCall(`,"conversation":"Hi"`), "body/conversation: got string"),
		get("wrapped", 200, `{"conversation":`+fullAnyreachCall+`}`, "body: missing properties 'id', 'channel', 'status'"),
		get("accepted", 202, fullAnyreachCall, "status 202: is not listed"),
		get("not found", 404, `{"detail":"Not Found"}`, ""),
		get("not found, empty", 404, ``, "body: is missing"),
		list("none", 200, `[]`, ""),
		list("two", 200, `[`+fullAnyreachCall+`,`+anyreachCall(`,"created_at":"2026-01-01T00:00:00Z"`)+`]`, ""),
		list("no time", 200, `[`+anyreachCall("")+`]`, "body/0: missing property 'created_at'"),
		list("envelope", 200, `{"items":[]}`, "body: got object, want array"),
		list("null", 200, `null`, "body: got null, want array"),
		list("bad cursor", 422, `{"detail":"cursor"}`, ""),
		list("forbidden", 403, `{"detail":"scope"}`, ""),
	})
}

// TestAnyreachMembers gives each member, and each filter, a value that none takes.
func TestAnyreachMembers(t *testing.T) {
	t.Parallel()
	a := openapitest.Load(t, "../anyreach.openapi.yaml")
	key := headers("Authorization", "Bearer ak_1.secret", "Content-Type", "application/json")
	for _, name := range []string{"agent_id", "agent_version_id", "agent_config", "agent_number", "to_address", "from_address", "subject", "initial_context", "custom_metadata", "id"} {
		body := fmt.Sprintf(`{"channel":"text","user_id":"u",%q:[]`, name)
		if name != "agent_id" && name != "agent_version_id" && name != "agent_config" {
			body += `,"agent_id":"a"`
		}
		expect(t, a.Request("POST", "/core/conversations", nil, key, []byte(body+"}")), "body/"+name+": ")
	}
	for _, name := range []string{"agent_id", "agent_version_id"} {
		body := fmt.Sprintf(`{"channel":"text","user_id":"u",%q:""}`, name)
		expect(t, a.Request("POST", "/core/conversations", nil, key, []byte(body)), "body/"+name+": minLength")
	}
	for _, name := range []string{"direction", "agent_id", "agent_version_id", "web_widget_id", "user_id", "agent_number"} {
		expect(t, a.Request("GET", "/core/conversations", map[string][]string{name: {""}}, key, nil), "query "+name+": minLength")
	}
	for _, name := range []string{"duration_above", "duration_below", "user_turn_count_above", "user_turn_count_below"} {
		expect(t, a.Request("GET", "/core/conversations", map[string][]string{name: {"-1"}}, key, nil), "query "+name+": minimum")
		expect(t, a.Request("GET", "/core/conversations", map[string][]string{name: {"few"}}, key, nil), "query "+name+": got string")
	}
	organization := headers("Authorization", "Bearer ak_1.secret", "X-Anyreach-Org", "")
	expect(t, a.Request("GET", "/core/conversations", nil, organization, nil), "header X-Anyreach-Org: minLength")
	answer := func(status int, body, want string) {
		t.Helper()
		expect(t, a.Answer("POST", "/core/conversations", status, asJSON, []byte(body)), want)
	}
	for _, name := range []string{
		"organization_id", "direction", "user_id", "agent_id", "agent_version_id", "agent_number", "web_widget_id", "trunk_id", "duration", "user_turn_count",
		"created_at", "updated_at", "agent", "summary", "initial_context", "custom_metadata", "conversation", "recording_details",
	} {
		answer(200, anyreachCall(fmt.Sprintf(`,%q:[]`, name)), "body/"+name+": got array")
	}
	answer(200, `{"id":"","channel":"text","status":"failed"}`, "body/id: minLength")
	answer(200, `{"id":7,"channel":"text","status":"failed"}`, "body/id: got number")
	answer(200, `{"id":"0d","channel":"text","status":""}`, "body/status: minLength")
	answer(200, `{"id":"0d","channel":"","status":"failed"}`, "body/channel: minLength")
	answer(200, anyreachCall(`,"user_turn_count":-1`), "body/user_turn_count: minimum")
	answer(202, `{"conversation_id":""}`, "body/conversation_id: minLength")
	answer(202, `{"conversation_id":7}`, "body/conversation_id: got number")
	answer(202, `{"id":""}`, "body/id: minLength")
	answer(422, `{"detail":[{"loc":[{}],"msg":"m","type":"t"}]}`, "body/detail/0/loc/0: got object")
	answer(422, `{"detail":[{"loc":[],"msg":7,"type":"t"}]}`, "body/detail/0/msg: got number")
	answer(422, `{"detail":[{"loc":[],"msg":"m","type":7}]}`, "body/detail/0/type: got number")
	for _, status := range []int{408, 429, 500, 503} {
		answer(status, "", "")
	}
}
