package anyreach_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/internal/anyreach"
)

// another is an id that is not ours.
const another = "99999999-7a46-4f0e-9d6c-0a5be1a7f009"

// item is the item of these tests on a channel.
func item(t testing.TB, channel string) consumer.Item {
	t.Helper()
	request := call("channel", channel)
	switch channel {
	case "email":
		request["user_id"], request["to_address"] = "Lead-7", "ana.lima@example.com"
	case "text", "webrtc":
		request["user_id"] = "Lead-7"
	}
	r, err := preparer(t).Prepare(request)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return consumer.Item{Intent: intent, Attempt: 2, Request: r}
}

// conv is a conversation as the API shows it, with members changed or added.
func conv(id, user, more string) string {
	return fmt.Sprintf(`{"id":%q,"organization_id":"org_1","direction":"outbound","channel":"telephone","status":"triggered","user_id":%q,`+
		`"agent_id":"ag_1","duration":null,"created_at":"2026-01-01T00:00:00Z","agent":{"id":"ag_1","name":"Front desk"},"summary":null%s}`, id, user, more)
}

// ours is the conversation that was asked for.
var ours = conv(intent, number, "")

func wrap(s string) string { return `{"conversation":` + s + `,"starting_message":null}` }

// row is one exchange. want is the verdict, with ! for Foreign, and after a colon
// the conversation: its own id for ours, else what it ends with.
type row struct {
	name    string
	channel string // telephone if empty
	status  int
	body    string
	want    string
	stop    bool
	cut     bool // the body could not be read to its end
	unsent  bool // no byte was written
	reason  string
}

// shorthand writes a result as a row's want does.
func shorthand(r consumer.Result) string {
	s := r.Verdict.String()
	if r.Foreign {
		s += "!"
	}
	switch r.Conversation {
	case "":
	case intent:
		s += ":ours"
	default:
		s += ":" + r.Conversation[max(0, len(r.Conversation)-4):]
	}
	return s
}

func judge(t *testing.T, rows []row) {
	t.Helper()
	for _, tt := range rows {
		t.Run(strings.TrimSpace(strconv.Itoa(tt.status)+" "+tt.name), func(t *testing.T) {
			t.Parallel()
			if tt.channel == "" {
				tt.channel = "telephone"
			}
			x := anyreach.Exchange{
				Item: item(t, tt.channel), Refused: []int{503},
				Exchange: wire.Exchange{Written: !tt.unsent, Status: tt.status, Header: http.Header{}, Body: []byte(tt.body), Complete: !tt.cut && tt.status != 0},
			}
			if tt.status == 0 || tt.cut {
				x.Err = errors.New("connection reset by peer")
			}
			got := anyreach.Classify(x)
			if len(got.Results) != 1 {
				t.Fatalf("got %d results, want 1", len(got.Results))
			}
			r := got.Results[0]
			if s := shorthand(r); s != tt.want {
				t.Errorf("verdict: got %q, want %q (%s)", s, tt.want, r.Reason)
			}
			if got.Full != (tt.status == 429 && !tt.unsent) || (got.Stop != "") != tt.stop || got.Status != tt.status {
				t.Errorf("got full %v, Stop %q and status %d, want Stop %v", got.Full, got.Stop, got.Status, tt.stop)
			}
			if r.Verdict != consumer.VerdictCreated && r.Reason == "" || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("reason: got %q, want %q in it", r.Reason, tt.reason)
			}
			if strings.Contains(fmt.Sprintf("%+v", got), "5550111") {
				t.Errorf("the number is in %+v", got)
			}
		})
	}
}

// An error that repeats the request, and a success that speaks of an error, prove
// no conversation: the id is looked up.
func TestWhatOnlySpeaksOfOurIDIsADoubt(t *testing.T) {
	t.Parallel()
	sent := `"id":"` + intent + `","channel":"telephone","user_id":"` + number + `","custom_metadata":{"weir_intent":"` + intent + `","weir_attempt":2}`
	judge(t, []row{
		{name: "echo", status: 422, body: `{"detail":"no such agent",` + sent + `}`, want: "doubt"},
		{name: "echo with a status", status: 422, body: `{"detail":"no such agent","status":422,` + sent + `}`, want: "doubt"},
		{name: "problem details", status: 422, body: `{"title":"x","status":422,"detail":"no such agent","id":"` + intent + `"}`, want: "doubt"},
		{name: "echo within", status: 422, body: `{"detail":"x","request":{"status":"rejected",` + sent + `}}`, want: "rejected"},
		{name: "suspended", status: 200, body: `{"detail":"Organization is suspended"}`, want: "doubt"},
		{name: "error true", status: 200, body: `{"error":true,"message":"no"}`, want: "doubt"},
		{name: "error number", status: 200, body: `{"error":12}`, want: "doubt"},
		{name: "error object", status: 200, body: `{"error":{"kind":"x"}}`, want: "doubt"},
		{name: "errors map", status: 200, body: `{"errors":{"agent_id":"unknown"}}`, want: "doubt"},
		{name: "no success", status: 200, body: `{"success":false}`, want: "doubt"},
		{name: "status error", status: 200, body: `{"status":"error"}`, want: "doubt"},
		{name: "request id", status: 202, body: `{"id":"req-1","detail":"no such agent"}`, want: "doubt"},
		{name: "no error", status: 202, body: `{"detail":null,"error":"","errors":[],"success":true}`, want: "created:ours"},
	})
}

func TestH1OurIDIsCreatedWhateverTheStatus(t *testing.T) {
	t.Parallel()
	var rows []row
	for name, answer := range map[string]string{
		"wrapped":              wrap(ours),
		"bare":                 ours,
		"in capitals":          wrap(conv(strings.ToUpper(intent), number, "")),
		"by name":              `{"conversation_id":"` + intent + `"}`,
		"by id":                `{"id":"` + intent + `","queued":true}`,
		"with an error":        `{"detail":"too late","conversation":` + ours + `}`,
		"in detail":            `{"detail":{"msg":"exists","conversation_id":"` + intent + `"}}`,
		"in data":              `{"data":{"conversation":{"id":"` + intent + `"}}}`,
		"in a list":            `[` + ours + `]`,
		"beside another":       `{"previous":` + conv(another, number, "") + `,"conversation":` + ours + `}`,
		"with a transcript":    conv(intent, number, `,"conversation":{"id":"transcript-1","status":"x","channel":"y"}`),
		"of a job":             `{"id":"job-7","status":"queued","user_id":"x","conversation_id":"` + intent + `"}`,
		"few columns":          wrap(`{"id":"` + intent + `"}`),
		"null columns":         wrap(`{"id":"` + intent + `","channel":null,"user_id":null,"custom_metadata":null}`),
		"odd columns":          wrap(`{"id":"` + intent + `","channel":[],"user_id":{},"custom_metadata":7}`),
		"number as written":    wrap(conv(intent, "+1 (415) 555-0111", "")),
		"our marks":            wrap(conv(intent, number, `,"custom_metadata":{"weir_intent":"`+intent+`","weir_attempt":1}`)),
		"with a mark before":   "\ufeff" + wrap(ours),
		"null before":          `{"conversation":null,` + wrap(ours)[1:],
		"garbage behind":       wrap(ours) + "]",
		"another's record":     `{"conversation_id":"` + intent + `","id":"rec-1","channel":"recording","user_id":"me"}`,
		"another user's agent": wrap(conv(intent, number, `,"seats":[{"conversation_id":"`+intent+`","user_id":"agent-7"}]`)),
	} {
		for _, status := range []int{200, 202, 207, 307, 400, 401, 403, 404, 409, 422, 429, 500, 503} {
			want := "created:ours"
			if status/100 != 2 && slices.Contains([]string{"by name", "by id", "of a job", "another's record"}, name) {
				want = "doubt" // an error may repeat the id that it was sent
			}
			rows = append(rows, row{name: name, status: status, body: answer, want: want, stop: status == 307})
		}
	}
	judge(t, append(rows,
		row{name: "cut behind it", status: 200, cut: true, body: `{"conversation":` + ours + `,"starting_mes`, want: "created:ours"},
		row{name: "cut behind it", status: 500, cut: true, body: `{"conversation":` + ours + `,"starting_mes`, want: "created:ours"},
		row{name: "cut within it", status: 200, cut: true, body: wrap(ours)[:200], want: "doubt"},
		row{name: "bare and cut", status: 200, cut: true, body: ours[:len(ours)-5], want: "created:ours"},
		row{name: "bare and cut before its user", status: 200, cut: true, body: ours[:strings.Index(ours, `"user_id"`)], want: "doubt"},
		row{name: "bare and cut, with a transcript", status: 200, cut: true, body: `{"id":"` + intent + `","conversation":{"id":"transcript-1"},"sta`, want: "doubt"},
		row{name: "by name and cut", status: 200, cut: true, body: `{"conversation_id":"` + intent + `",`, want: "doubt"},
		row{name: "text", channel: "text", status: 200, body: wrap(`{"id":"` + intent + `","channel":"text","user_id":"Lead-7"}`), want: "created:ours"},
		row{name: "email", channel: "email", status: 200, body: wrap(`{"id":"` + intent + `","channel":"email","user_id":"Lead-7"}`), want: "created:ours"},
		row{name: "webrtc", channel: "webrtc", status: 200, body: `{"token":"x","conversation_id":"` + intent + `"}`, want: "created:ours"},
		row{name: "an answer to nothing", status: 200, unsent: true, body: wrap(ours), want: "unsent"},
	))
}

// TestH1RequestsInErrorsAreNoConversations has errors that repeat what was sent,
// as web frameworks do.
func TestH1RequestsInErrorsAreNoConversations(t *testing.T) {
	t.Parallel()
	sent := `{"id":"` + intent + `","channel":"telephone","user_id":"` + number + `","agent_id":"a","custom_metadata":{"weir_intent":"` + intent + `","weir_attempt":2,"status":"x"}}`
	var rows []row
	for name, answer := range map[string]string{
		"input of a problem": `{"detail":[{"loc":["body","agent_id"],"msg":"no such agent","type":"value_error","input":` + sent + `}]}`,
		"body":               `{"detail":"no such agent","body":` + sent + `}`,
		"request":            `{"detail":"no such agent","request":{"body":[` + sent + `]}}`,
		"the id alone":       `{"detail":[{"loc":["body","id"],"msg":"no such agent","input":"` + intent + `"}]}`,
		"an error's own id":  `{"id":"req-1","detail":"no such agent"}`,
	} {
		rows = append(rows, row{name: name, status: 422, body: answer, want: "rejected", reason: "no such agent"})
	}
	judge(t, rows)
}

func TestForeignConversations(t *testing.T) {
	t.Parallel()
	var rows []row
	for name, tt := range map[string]struct{ body, what string }{
		"another number":      {wrap(conv(intent, "+14155550199", "")), "user_id"},
		"a number in words":   {wrap(conv(intent, "unknown", "")), "user_id"},
		"another channel":     {wrap(`{"id":"` + intent + `","channel":"email"}`), "channel"},
		"another intent":      {wrap(conv(intent, number, `,"custom_metadata":{"weir_intent":"`+another+`"}`)), "weir_intent"},
		"bare":                {conv(intent, "+14155550199", ""), "user_id"},
		"deeper":              {`{"detail":{"existing":` + conv(intent, "+14155550199", "") + `}}`, "user_id"},
		"one of two":          {`{"conversation_id":"` + intent + `","conversation":` + conv(intent, "+14155550199", "") + `}`, "user_id"},
		"more than is needed": {wrap(conv(intent, number+"0", "")), "user_id"},
	} {
		for _, status := range []int{200, 202, 409, 500} {
			rows = append(rows, row{name: name, status: status, body: tt.body, want: "doubt!", reason: "with another " + tt.what})
		}
	}
	judge(t, append(rows,
		row{name: "a user in another case", channel: "text", status: 200, body: wrap(`{"id":"` + intent + `","channel":"text","user_id":"lead-7"}`), want: "doubt!"},
		row{name: "a user like its digits", channel: "text", status: 200, body: wrap(`{"id":"` + intent + `","channel":"text","user_id":"7"}`), want: "doubt!"},
		row{name: "a channel in capitals", status: 200, body: wrap(`{"id":"` + intent + `","channel":"TELEPHONE","user_id":"14155550111"}`), want: "created:ours"},
	))
}

func TestIDsThatAreNotOurs(t *testing.T) {
	t.Parallel()
	theirs := conv(another, number, "")
	judge(t, []row{
		{name: "wrapped", status: 200, body: wrap(theirs), want: "created:f009", stop: true},
		{name: "bare", status: 202, body: theirs, want: "created:f009", stop: true},
		{name: "by name", status: 202, body: `{"conversation_id":"c-77"}`, want: "created:c-77", stop: true},
		{name: "by id", status: 202, body: `{"id":"c-78","accepted":true}`, want: "created:c-78", stop: true},
		{name: "as a number", status: 202, body: `{"id":7812345}`, want: "created:2345", stop: true},
		{name: "deeper", status: 202, body: `{"data":[` + theirs + `]}`, want: "created:f009", stop: true},
		{name: "the wrapper before the name", status: 202, body: `{"conversation_id":"c-77","conversation":` + theirs + `}`, want: "created:f009", stop: true},
		{name: "the name before the id", status: 202, body: `{"id":"c-78","conversation_id":"c-77"}`, want: "created:c-77", stop: true},
		{name: "the body before its transcript", status: 202, body: conv(another, number, `,"conversation":{"id":"t-1"}`), want: "created:f009", stop: true},
		{name: "with another number", status: 200, body: wrap(conv(another, "+14155550199", "")), want: "doubt!", stop: true},
		{name: "that cannot be kept", status: 200, body: wrap(conv(strings.Repeat("x", 300), number, "")), want: "doubt!", stop: true},
		{name: "that is a person's", status: 202, body: `{"id":"` + number + `"}`, want: "doubt!", stop: true},
		{name: "wrapped and cut behind", status: 200, cut: true, body: `{"conversation":` + theirs + `,"s`, want: "created:f009", stop: true},
		{name: "by name and cut", status: 200, cut: true, body: `{"conversation_id":"c-77",`, want: "doubt!", stop: true},
		{name: "by id and cut", status: 200, cut: true, body: `{"id":"c-78",`, want: "doubt"},
		{name: "an agent", status: 202, body: `{"agent":{"id":"ag_1","status":"published","name":"x"},"queued":true}`, want: "created:ours"},
		{name: "beside an error", status: 409, body: `{"detail":"busy","conversation":` + theirs + `}`, want: "doubt!", reason: "busy"},
		{name: "of somebody else", status: 409, body: `{"detail":"busy","conversation":` + conv(another, "+14155550199", "") + `}`, want: "doubt"},
		{name: "by name", status: 422, body: `{"detail":{"msg":"busy","conversation_id":"c-77"}}`, want: "doubt", reason: "busy"},
		{name: "named", status: 429, body: `{"active":[` + conv(another, "+14155550199", "") + `]}`, want: "doubt"},
		{name: "named", status: 503, body: wrap(theirs), want: "doubt!"},
		{name: "named", status: 401, body: wrap(theirs), want: "doubt!"},
		{name: "an answer to nothing", status: 200, unsent: true, body: wrap(theirs), want: "unsent"},
	})
}

func TestH23Statuses(t *testing.T) {
	t.Parallel()
	detail := `{"detail":"agent is not published"}`
	rows := []row{
		{name: "no answer", want: "doubt", reason: "connection reset by peer"},
		{name: "not a byte", unsent: true, want: "unsent", reason: "connection reset by peer"},
		{name: "an answer to nothing", status: 408, unsent: true, want: "unsent"},
		{name: "an answer to nothing", status: 429, unsent: true, want: "unsent"},
		{name: "empty, to nothing", status: 200, unsent: true, want: "unsent"},
		{name: "a redirect to nothing", status: 302, unsent: true, want: "unsent"},
		{name: "empty", status: 202, want: "created:ours"},
		{name: "spaces", status: 202, body: " \r\n", want: "created:ours"},
		{name: "", status: 204, want: "created:ours"},
		{name: "empty, cut", status: 202, cut: true, want: "doubt"},
		{name: "nothing named", status: 202, body: `{"status":"queued","agent_id":"a"}`, want: "created:ours"},
		{name: "an empty object", status: 200, body: `{}`, want: "created:ours"},
		{name: "a list", status: 200, body: `[]`, want: "created:ours"},
		{name: "null", status: 200, body: `null`, want: "created:ours"},
		{name: "a text in JSON", status: 202, body: `"OK"`, want: "created:ours"},
		{name: "no error", status: 202, body: `{"error":null,"errors":[]}`, want: "created:ours"},
		{name: "an error", status: 200, body: `{"error":"no such agent"}`, want: "doubt", reason: "no such agent"},
		{name: "errors", status: 200, body: `{"errors":[{"msg":"no such agent"}]}`, want: "doubt"},
		{name: "nothing named, cut", status: 202, cut: true, body: `{"status":"queued"`, want: "doubt"},
		{name: "nothing named, cut after it", status: 202, cut: true, body: `{"status":"queued"}`, want: "doubt"},
		{name: "torn", status: 202, body: `{"status":"queued"`, want: "doubt"},
		{name: "more behind", status: 202, body: `{}{}`, want: "doubt"},
		{name: "a page", status: 200, body: "<html><title>Welcome</title>", want: "doubt", reason: `an HTML page, "Welcome"`},
		{name: "a text", status: 200, body: "OK", want: "doubt"},
		{name: "a page", status: 429, body: "<html>", want: "full"},
		{name: "words", status: 429, body: `{"detail":"slow down"}`, want: "full", reason: "slow down"},
		{name: "empty", status: 429, want: "full"},
		{name: "cut", status: 429, cut: true, body: `{"detail":"slow`, want: "doubt"},
		{name: "torn", status: 429, body: `{"detail":"slow"`, want: "doubt"},
		{name: "cut before a byte", status: 429, cut: true, want: "doubt"},
		{name: "", status: 401, body: `{"detail":"no organization claim"}`, want: "unauthorized", reason: "no organization claim"},
		{name: "a page, cut", status: 403, cut: true, body: "<html>", want: "unauthorized"},
		{name: "empty", status: 403, want: "unauthorized"},
		{name: "cut", status: 401, cut: true, body: `{"detail"`, want: "doubt"},
		{name: "cut before a byte", status: 403, cut: true, want: "doubt"},
		{name: "H16", status: 409, body: detail, want: "doubt", reason: "agent is not published"},
		{name: "H16, a page", status: 409, body: "<html>", want: "doubt"},
		{name: "vouched for", status: 503, body: detail, want: "unsent"},
		{name: "vouched for, a page", status: 503, body: "<html>", want: "unsent"},
		{name: "vouched for, cut", status: 503, cut: true, body: `{"det`, want: "unsent"},
		{name: "vouched for, longer than is read", status: 503, body: `{` + strings.Repeat(`"a":0,`, 300) + `"b":0}`, want: "doubt"},
		{name: "longer than is read", status: 302, body: `{` + strings.Repeat(`"a":0,`, 300) + `"b":0}`, want: "doubt", stop: true},
		{name: "JSON", status: 404, body: detail, want: "rejected"},
		{name: "a page", status: 404, body: "<html><title>Not found</title>", want: "unsent", stop: true},
		{name: "a text", status: 404, body: "404 page not found\n", want: "unsent", stop: true},
		{name: "empty", status: 404, want: "unsent", stop: true},
		{name: "a page, cut", status: 404, cut: true, body: "<html>", want: "unsent", stop: true},
		{name: "cut", status: 404, cut: true, body: `{"det`, want: "doubt"},
		{name: "cut before a byte", status: 404, cut: true, want: "doubt"},
		{name: "JSON", status: 405, body: `{"detail":"Method Not Allowed"}`, want: "rejected"},
		{name: "empty", status: 405, want: "unsent", stop: true},
		{name: "no words", status: 400, want: "rejected", reason: "status 400"},
		{name: "a page", status: 400, body: "<html>", want: "rejected", reason: "an HTML page"},
		{name: "cut", status: 400, cut: true, body: `{"detail":"b`, want: "doubt"},
		{name: "a page, cut", status: 400, cut: true, body: `<html>`, want: "doubt"},
	}
	for _, s := range []int{301, 302, 303, 307, 308} {
		rows = append(rows, row{status: s, body: "<html>", want: "unsent", stop: true}, row{name: "JSON", status: s, body: detail, want: "unsent", stop: true})
	}
	for _, s := range []int{300, 304, 305, 399} {
		rows = append(rows, row{status: s, want: "doubt", stop: true})
	}
	for _, s := range []int{101, 408, 425, 499, 500, 501, 502, 504, 520, 599, 600, 999} {
		rows = append(rows, row{status: s, body: detail, want: "doubt", reason: "agent is not published"}, row{name: "a page", status: s, body: "<html>", want: "doubt"})
	}
	for _, s := range []int{400, 402, 406, 410, 413, 415, 418, 421, 422, 428, 431, 451} {
		rows = append(rows, row{status: s, body: detail, want: "rejected", reason: "conversation: agent is not published"})
	}
	judge(t, rows)
}

func TestCompressedAnswersAreUnread(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "doubt", 401: "doubt", 404: "doubt", 422: "doubt", 429: "doubt", 503: "unsent", 302: "unsent"} {
		got := anyreach.Classify(anyreach.Exchange{Item: item(t, "telephone"), Refused: []int{503}, Exchange: wire.Exchange{
			Written: true, Status: status, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: []byte("\x1f\x8b\b"), Complete: true,
		}}).Results[0]
		if s := shorthand(got); s != want || !strings.Contains(got.Reason, "a body in the coding gzip") {
			t.Errorf("status %d: got %q with the reason %q, want %q", status, s, got.Reason, want)
		}
	}
}

// result classifies a whole answer.
func result(t testing.TB, channel string, status int, body string) consumer.Result {
	t.Helper()
	return anyreach.Classify(anyreach.Exchange{Item: item(t, channel), Exchange: wire.Exchange{
		Written: true, Status: status, Body: []byte(body), Complete: true,
	}}).Results[0]
}

func TestDetails(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`{"loc":["body"],"msg":"no"},`, 50_000)
	tests := []struct{ name, body, want string }{
		{"text", `{"detail":"No usable number"}`, "No usable number"},
		{"list", `{"detail":[{"loc":["body","user_id"],"msg":"field required","type":"missing"},{"loc":["body","tags",3],"msg":"too long"}]}`,
			"body.user_id: field required; body.tags.3: too long"},
		{"list without places", `{"detail":[{"msg":"odd"},"bad",7,{"loc":"body","msg":"x"},{"loc":[]}]}`, "odd; bad; x"},
		{"what was sent", `{"detail":[{"loc":["body","user_id"],"msg":"bad +14155550123","input":"secret context","ctx":{"a":"b"}}]}`, "body.user_id: bad …23"},
		{"a place with a number", `{"detail":[{"loc":["body","+14155550123"],"msg":"bad"}]}`, "body.…23: bad"},
		{"object", `{"detail":{"error":{"message":"nested"}}}`, "nested"},
		{"other members", `{"message":"a","error":"b"}`, "b"},
		{"nothing that tells", `{"greeting":"Hi Ana","token":"opaque-join-token"}`, "status 422"},
		{"a list in the body", `["Hi Ana"]`, "status 422"},
		{"empty detail", `{"detail":"","title":"Bad"}`, "Bad"},
		{"many problems", `{"detail":[` + long[:28*11] + `"x"]}`, strings.TrimSuffix(strings.Repeat("body: no; ", 10), " ") + " …"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff("the provider refused the conversation: "+tt.want, result(t, "telephone", 422, tt.body).Reason); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
		})
	}
	for _, body := range []string{`{"detail":[` + long[:len(long)-1] + `]}`, `{"detail":"` + strings.Repeat("é", 5000) + `"}`} {
		if n := len([]rune(result(t, "telephone", 500, body).Reason)); n > 500 {
			t.Errorf("got a reason of %d characters, want at most 500", n)
		}
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	head := `{"conversation":{"id":"` + intent + `"}`
	tests := []struct {
		name, channel, body string
		greeting, join      string
	}{
		{"text", "text", head + `,"starting_message":"Hi\nAna"}`, "Hi\nAna", ""},
		{"email", "email", head + `,"starting_message":null}`, "", ""},
		{"an odd greeting", "text", head + `,"starting_message":{"text":"Hi"}}`, "", ""},
		{"join", "webrtc", head + `,"url":"wss://x/?a=1&b=2","token":"eyJ","room":{"name":"r"},"starting_message":"Hi"}`, "Hi",
			`{"room":{"name":"r"},"token":"eyJ","url":"wss://x/?a=1&b=2"}`},
		{"join without a name", "webrtc", `{"token":"eyJ"}`, "", `{"token":"eyJ"}`},
		{"join beside the columns", "webrtc", `{"id":"` + intent + `","channel":"webrtc","status":"token_created","user_id":"Lead-7","summary":null,"token":"eyJ"}`, "", `{"token":"eyJ"}`},
		{"not for a text", "text", head + `,"token":"eyJ"}`, "", ""},
		{"nothing to join by", "webrtc", head + `}`, "", ""},
		{"empty", "webrtc", ``, "", ""},
		{"too long", "webrtc", head + `,"token":"` + strings.Repeat("x", 17<<10) + `"}`, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := result(t, tt.channel, 200, tt.body)
			if got.Verdict != consumer.VerdictCreated {
				t.Fatalf("got %v (%s), want created", got.Verdict, got.Reason)
			}
			if got.Session.Greeting != tt.greeting || got.Session.Join.Reveal() != tt.join {
				t.Errorf("got greeting %q and join %s, want %q and %s", got.Session.Greeting, got.Session.Join.Reveal(), tt.greeting, tt.join)
			}
			if (got.Reason != "") != (tt.name == "too long") {
				t.Errorf("got the reason %q", got.Reason)
			}
		})
	}
	long := result(t, "text", 200, head+`,"starting_message":"`+strings.Repeat("é", 3000)+`"}`).Session.Greeting
	if len(long) > 4<<10 || !strings.HasSuffix(long, "…") {
		t.Errorf("got a greeting of %d bytes, want at most 4096 and a mark", len(long))
	}
	if s := result(t, "webrtc", 500, head+`,"detail":"late"}`).Session.Join; s != "" {
		t.Errorf("got %s out of an error", s.Reveal())
	}
	if got := result(t, "telephone", 202, wrap(ours)).Status; got != "triggered" {
		t.Errorf("status: got %q, want triggered", got)
	}
}
