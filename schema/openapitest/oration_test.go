package openapitest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirhq/weir/schema/openapitest"
)

const (
	someID  = "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7"
	otherID = "33e1b0a4-2a65-4d1f-9a57-0a4f0c1d2e3f"
)

func TestOrationRequests(t *testing.T) {
	t.Parallel()
	const create, lookUp = "/api/v2/conversations", "/api/v2/conversations/" + someID
	bearer := headers("Authorization", "Bearer b", "Content-Type", "application/json")
	pair := headers("x-api-key", "k", "x-workspace-id", otherID, "x-public-key", someID, "Content-Type", "application/json")
	item := func(members string) string { return `{"conversations":[{` + members + `}]}` }
	call := func(members string) string {
		return item(`"conversationType":"telephony","toPhoneNumber":"+14155550123",` + members)
	}
	post := func(name, body, want string) sent { return sent{name, "POST", create, bearer, body, want} }
	at := func(member, words string) string { return "body/conversations/0" + member + ": " + words }
	every := item(`"agentId":"` + someID + `","conversationType":"telephony","telephonyType":"outbound","toPhoneNumber":"+14155550123",` +
		`"fromPhoneNumber":"+14155550100","sipTrunkAddress":"sip:t","customerId":"` + otherID + `","identifier":"crm-7","ignoreDND":false,` +
		`"dynamicVariables":{"name":"Zoë","empty":""}`)
	checkRequests(t, openapitest.Load(t, "../oration.openapi.yaml"), []sent{
		post("every field", every, ""),
		{"by the pair", "POST", create, pair, every, ""},
		post("two items", `{"conversations":[{"conversationType":"chat"},{"conversationType":"web"}]}`, ""),
		post("no items", `{"conversations":[]}`, "body/conversations: minItems"),
		post("no list", `{}`, "body: missing property 'conversations'"),
		post("item instead of list", `{"conversations":{"conversationType":"chat"}}`, "body/conversations: got object, want array"),
		post("more than the list", `{"conversations":[{"conversationType":"chat"}],"dryRun":true}`, "body: additional properties 'dryRun'"),
		post("unknown field", item(`"conversationType":"chat","metadata":{}`), at("", "additional properties 'metadata'")),
		post("no type", item(`"toPhoneNumber":"+14155550123"`), at("", "missing property 'conversationType'")),
		post("unknown type", item(`"conversationType":"email"`), at("/conversationType", "value must be one of")),
		post("call without number", item(`"conversationType":"telephony"`), at("", "missing property 'toPhoneNumber'")),
		post("number with spaces", item(`"conversationType":"telephony","toPhoneNumber":"+1 415 555 0123"`), at("/toPhoneNumber", "'+1 415 555 0123' does not match pattern")),
		post("number without plus", item(`"conversationType":"telephony","toPhoneNumber":"14155550123"`), at("/toPhoneNumber", "")),
		post("number with a trunk zero", item(`"conversationType":"telephony","toPhoneNumber":"+04155550123"`), at("/toPhoneNumber", "")),
		post("number of a chat", item(`"conversationType":"chat","toPhoneNumber":""`), at("/toPhoneNumber", "")),
		post("from no number", call(`"fromPhoneNumber":"office"`), at("/fromPhoneNumber", "'office' does not match")),
		post("agent by name", call(`"agentId":"front-desk"`), at("/agentId", "'front-desk' is not valid uuid")),
		post("customer by name", call(`"customerId":"ana"`), at("/customerId", "'ana' is not valid uuid")),
		post("customer by number", call(`"customerId":7`), at("/customerId", "got number, want string")),
		post("unknown direction", call(`"telephonyType":"both"`), at("/telephonyType", "value must be one of")),
		post("identifier as number", call(`"identifier":7`), at("/identifier", "got number, want string")),
		post("ignoreDND as text", call(`"ignoreDND":"true"`), at("/ignoreDND", "got string, want boolean")),
		post("null for absent", call(`"agentId":null`), at("/agentId", "got null, want string")),
		post("variables as text", call(`"dynamicVariables":"{}"`), at("/dynamicVariables", "got string, want object")),
		post("nested variable", call(`"dynamicVariables":{"a":{"b":"c"}}`), at("/dynamicVariables/a", "got object, want string")),
		post("numeric variable", call(`"dynamicVariables":{"weir_attempt":1}`), at("/dynamicVariables/weir_attempt", "got number, want string")),
		post("trailing comma", `{"conversations":[{"conversationType":"chat"},]}`, "body: is not JSON"),
		post("two values", item(`"conversationType":"chat"`)+`{}`, "body: is not JSON"),
		post("no body", "", "body: is missing"),
		{"no content type", "POST", create, headers("Authorization", "Bearer b"), every, `header Content-Type: "" is none of application/json`},
		{"form", "POST", create, headers("Authorization", "Bearer b", "Content-Type", "application/x-www-form-urlencoded"), every, "header Content-Type:"},
		{"no credentials", "POST", create, asJSON, every, "security: the headers have no credentials for bearer or apiKey with workspace"},
		{"half a pair", "POST", create, headers("x-api-key", "k", "Content-Type", "application/json"), every, "security:"},
		{"basic credentials", "POST", create, headers("Authorization", "Basic b", "Content-Type", "application/json"), every, "security:"},
		{"empty bearer", "POST", create, headers("Authorization", "Bearer ", "Content-Type", "application/json"), every, "security:"},
		{"workspace by name", "POST", create, headers("x-api-key", "k", "x-workspace-id", "acme", "Content-Type", "application/json"), every, "header x-workspace-id: 'acme' is not valid uuid"},
		{"public key by name", "POST", create, headers("Authorization", "Bearer b", "x-public-key", "p", "Content-Type", "application/json"), every, "header x-public-key: 'p' is not valid uuid"},
		{"two workspaces", "POST", create, headers("Authorization", "Bearer b", "x-workspace-id", someID, "x-workspace-id", otherID, "Content-Type", "application/json"), every, "header x-workspace-id: stands there 2 times"},
		{"query", "POST", create + "?dry_run=1", bearer, every, "query dry_run: is not declared"},
		{"look-up", "GET", lookUp, bearer, "", ""},
		{"look-up without credentials", "GET", lookUp, nil, "", "getConversation: request: security:"},
		{"look-up of another id", "GET", create + "/conv_7", bearer, "", "path conversationId: 'conv_7' is not valid uuid"},
		{"look-up with a body", "GET", lookUp, bearer, "{}", "body: there must be none"},
		{"list", "GET", create, bearer, "", "GET /api/v2/conversations: unknown method"},
		{"cancel", "DELETE", lookUp, bearer, "", "unknown method"},
		{"customers", "POST", "/api/v2/customers/batch", bearer, "{}", "unknown path"},
		{"deeper", "GET", lookUp + "/messages", bearer, "", "unknown path"},
		{"version 1", "POST", "/api/v1/conversations", bearer, every, "POST /api/v1/conversations: the path does not begin with /api/v2/"},
	})
}

// orationCall returns a conversation with one member more.
func orationCall(more string) string {
	return `{"id":"` + someID + `","conversationStatus":"completed"` + more + `}`
}

func TestOrationCreateAnswers(t *testing.T) {
	t.Parallel()
	post := func(name string, status int, body, want string) answered {
		return answered{name, "POST", "/api/v2/conversations", status, asJSON, body, want}
	}
	results := func(r string) string { return `{"results":[` + r + `],"errors":[]}` }
	html := headers("Content-Type", "text/html; charset=utf-8")
	with := func(name, value string) answered {
		return answered{name + " " + value, "POST", "/api/v2/conversations", 429, headers("Content-Type", "application/json", name, value), `{}`, ""}
	}
	broken := func(a answered, want string) answered { a.want = want; return a }
	wrapped := `{"conversation":` + orationCall(`,"workspaceId":"`+otherID+`","customerId":null,"createdAt":"2026-01-01T00:00:00.000Z"`) +
		`,"tokenResponse":{"token":"t","roomName":"r","identity":"i","roomURL":"https://rooms.invalid","liveTest":"disabled"}}`
	flat := orationCall(`,"telephonyType":"outbound","dynamicVariables":"{\"a\":\"1\"}"`)
	checkAnswers(t, openapitest.Load(t, "../oration.openapi.yaml"), []answered{
		post("wrapped", 200, results(wrapped), ""),
		post("flat", 201, results(flat), ""),
		post("both shapes", 207, results(wrapped+","+flat), ""),
		post("an error", 200, `{"results":[],"errors":[{"error":"bad number"}]}`, ""),
		post("bare error", 200, `{"results":[],"errors":["bad number"]}`, ""),
		post("null errors, new members", 202, `{"results":[],"errors":null,"requestId":"r"}`, ""),
		post("unknown status, no token", 200, results(`{"conversation":`+strings.Replace(orationCall(""), "completed", "ringing", 1)+`,"tokenResponse":null}`), ""),
		post("no errors", 200, `{"results":[]}`, "body: missing property 'errors'"),
		post("no results", 200, `{"errors":[]}`, "body: missing property 'results'"),
		post("null results", 200, `{"results":null,"errors":[]}`, "body/results: got null, want array"),
		post("bare list", 200, `[]`, "answer 200: body: got array, want object"),
		post("bare id", 200, results(`"`+someID+`"`), "body/results/0: got string, want object"),
		post("no id, flat", 200, results(`{"conversationStatus":"queued"}`), "body/results/0: missing property 'id'"),
		post("no id, wrapped", 200, results(`{"conversation":{"conversationStatus":"queued"},"id":"`+someID+`"}`), "body/results/0/conversation: missing property 'id'"),
		post("other id", 200, results(`{"id":"conv_1","conversationStatus":"queued"}`), "body/results/0/id: 'conv_1' is not valid uuid"),
		post("variables as object", 200, results(orationCall(`,"dynamicVariables":{}`)), "body/results/0/dynamicVariables: got object, want string"),
		post("error without words", 200, `{"results":[],"errors":[{"message":"bad"}]}`, "body/errors/0: missing property 'error'"),
		post("token as text", 200, results(`{"conversation":`+orationCall("")+`,"tokenResponse":"t"}`), "body/results/0/tokenResponse: got string"),
		post("not whole", 200, `{"results":[`, "body: is not JSON"),
		post("empty", 200, "", "body: is missing"),
		{"page", "POST", "/api/v2/conversations", 200, html, "<html>", `header Content-Type: "text/html; charset=utf-8" is none of application/json`},
		post("full", 429, `{"message":"limit reached"}`, ""),
		post("full in part", 429, `{"message":"limit","results":[`+flat+`],"errors":[{"error":"limit"}]}`, ""),
		post("full in part, no id", 429, `{"results":[{"conversationStatus":"queued"}]}`, "body/results/0: missing property 'id'"),
		post("full without a body", 429, "", ""),
		post("refused without a body", 403, "", ""),
		post("down without a body", 503, "", ""),
		with("Retry-After", "7"),
		with("Retry-After", "Sat, 21 Nov 2026 06:42:06 GMT"),
		broken(with("Retry-After", "1.5"), "answer 429: header Retry-After: '1.5' does not match"),
		broken(with("Retry-After", "soon"), "header Retry-After:"),
		with("X-RateLimit-Remaining", "0"),
		broken(with("X-RateLimit-Remaining", "-1"), "header X-RateLimit-Remaining: minimum: got -1, want 0"),
		broken(with("X-RateLimit-Limit", "-1"), "header X-RateLimit-Limit: minimum"),
		broken(with("X-RateLimit-Limit", "many"), "header X-RateLimit-Limit: got string, want integer"),
		post("unauthorized", 401, `{"message":"Unauthorized"}`, ""),
		post("invalid, text", 422, `"bad"`, ""),
		post("a number", 400, `7`, "body: got number"),
		{"page", "POST", "/api/v2/conversations", 502, html, "<html>", ""},
		post("unavailable", 503, `{"code":"down","detail":[{"msg":"x"}]}`, ""),
		post("not JSON", 500, `oops`, "body: is not JSON"),
		post("redirect", 301, "", "createConversations: answer: status 301: is not listed"),
	})
}

func TestOrationLookUpAnswers(t *testing.T) {
	t.Parallel()
	get := func(name string, status int, body, want string) answered {
		return answered{name, "GET", "/api/v2/conversations/" + someID, status, asJSON, body, want}
	}
	member := func(m, want string) answered { return get(m, 200, orationCall(","+m), want) }
	var null strings.Builder
	for _, name := range []string{"customerId", "phoneId", "wsUrl", "llmUrl", "callStartTime", "callEndTime", "userJoinTime", "userLeaveTime", "toPhoneNumber",
		"fromPhoneNumber", "telephonyType", "telephonyStatus", "endReason", "recordingStatus", "postCallNotes", "postCallCategory1", "postCallMetadata"} {
		fmt.Fprintf(&null, `,%q:null`, name)
	}
	checkAnswers(t, openapitest.Load(t, "../oration.openapi.yaml"), []answered{
		get("least", 200, orationCall(""), ""),
		get("every null", 200, orationCall(null.String()), ""),
		member(`"conversationStatus":"wrapping_up","endReason":"line_noise","transferStatus":"x"`, ""),
		member(`"callStartTime":"2026-01-01T00:00:01.000Z"`, ""),
		member(`"callStartTime":"2026-01-01T00:00:01Z"`, "body/callStartTime: '2026-01-01T00:00:01Z' does not match"),
		member(`"callEndTime":"2026-01-01T01:00:01.000+01:00"`, "body/callEndTime:"),
		member(`"userJoinTime":1767225600`, "body/userJoinTime: got number, want string"),
		member(`"createdAt":null`, "body/createdAt: got null, want string"),
		member(`"updatedAt":"2026-13-01T00:00:00.000Z"`, "body/updatedAt:"),
		member(`"dynamicVariables":"{\"name\":\"Ana\",\"deep\":{\"a\":1}}"`, ""),
		member(`"dynamicVariables":"{"`, "body/dynamicVariables:"),
		member(`"dynamicVariables":"[]"`, "body/dynamicVariables: '[]' does not match"),
		member(`"postCallMetadata":"{}"`, "body/postCallMetadata: got string"),
		member(`"summary":""`, ""),
		member(`"summary":null`, "body/summary: got null, want string"),
		member(`"agentId":"ag_1"`, "body/agentId: 'ag_1' is not valid uuid"),
		get("wrapped", 200, `{"conversation":`+orationCall("")+`}`, "body: missing properties 'id', 'conversationStatus'"),
		get("empty status", 200, `{"id":"`+someID+`","conversationStatus":""}`, "body/conversationStatus: minLength"),
		get("other success", 202, orationCall(""), "status 202: is not listed"),
		get("not found", 404, `{"message":"Conversation not found"}`, ""),
		{"page", "GET", "/api/v2/conversations/" + someID, 404, headers("Content-Type", "text/html"), "<html>", ""},
		get("busy", 429, "", ""),
		get("nowhere", 404, "", ""),
		get("down", 500, "", ""),
	})
}

// TestOrationMembers gives each member a value of a type that none has.
func TestOrationMembers(t *testing.T) {
	t.Parallel()
	a := openapitest.Load(t, "../oration.openapi.yaml")
	bearer := headers("Authorization", "Bearer b", "Content-Type", "application/json")
	for _, name := range []string{"agentId", "toPhoneNumber", "fromPhoneNumber", "telephonyType", "sipTrunkAddress", "customerId", "identifier", "dynamicVariables", "ignoreDND"} {
		body := fmt.Sprintf(`{"conversations":[{"conversationType":"chat",%q:[]}]}`, name)
		expect(t, a.Request("POST", "/api/v2/conversations", nil, bearer, []byte(body)), "body/conversations/0/"+name+": ")
	}
	answer := func(body, want string) {
		t.Helper()
		expect(t, a.Answer("POST", "/api/v2/conversations", 200, asJSON, []byte(body)), want)
	}
	for _, name := range []string{
		"workspaceId", "agentId", "customerId", "phoneId", "wsUrl", "llmUrl", "conversationType", "telephonyType", "telephonyStatus", "endReason", "recordingStatus",
		"callStartTime", "callEndTime", "userJoinTime", "userLeaveTime", "toPhoneNumber", "fromPhoneNumber", "callRecordingUrl", "postCallNotes",
		"postCallCategory1", "postCallCategory2", "postCallCategory3", "postCallMetadata", "dynamicVariables", "summary", "createdAt", "updatedAt",
	} {
		answer(fmt.Sprintf(`{"results":[{"conversation":%s}],"errors":[]}`, orationCall(fmt.Sprintf(`,%q:[]`, name))), "body/results/0/conversation/"+name+": got array")
	}
	for _, name := range []string{"workspaceId", "agentId", "customerId"} {
		answer(fmt.Sprintf(`{"results":[%s],"errors":[]}`, orationCall(fmt.Sprintf(`,%q:"x"`, name))), "body/results/0/"+name+": 'x' is not valid uuid")
	}
	for _, name := range []string{"token", "roomName", "identity", "roomURL", "liveTest"} {
		answer(fmt.Sprintf(`{"results":[{"conversation":%s,"tokenResponse":{%q:7}}],"errors":[]}`, orationCall(""), name), "body/results/0/tokenResponse/"+name+": got number")
	}
	answer(`{"results":[],"errors":[7]}`, "body/errors/0: got number")
	answer(`{"results":[],"errors":[{"error":7}]}`, "body/errors/0/error: got number")
	answer(`{"results":[],"errors":{}}`, "body/errors: got object")
}
