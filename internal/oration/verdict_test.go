package oration_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/internal/oration"
)

// attempt is the weir_attempt of every item in these tests.
const attempt = 2

func phone(i int) string  { return fmt.Sprintf("+1415555010%d", i) }
func intent(i int) string { return fmt.Sprintf("00000000-0000-5000-8000-00000000000%d", i) }
func conv(i int) string   { return fmt.Sprintf("conv-%d", i) }

// calls returns n telephony items.
func calls(t testing.TB, n int) []consumer.Item {
	t.Helper()
	c := preparer(t)
	items := make([]consumer.Item, n)
	for i := range items {
		r, err := c.Prepare(map[string]any{"agentId": agent, "conversationType": "telephony", "toPhoneNumber": phone(i)})
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		items[i] = consumer.Item{Intent: intent(i), Attempt: attempt, Request: r}
	}
	return items
}

// The shapes in which a result for item i may come.

func wrapped(i int) string {
	return fmt.Sprintf(`{"conversation":{"id":%q,"agentId":%q,"conversationStatus":"created","toPhoneNumber":%q},"tokenResponse":{"token":"eyJhbGciOi.secret.jwt"}}`,
		conv(i), strings.ToUpper(agent), phone(i))
}

func flat(i int) string {
	return fmt.Sprintf(`{"id":%q,"conversationStatus":"queued","dynamicVariables":%q}`, conv(i), vars(i))
}

func vars(i int) string {
	return fmt.Sprintf(`{"weir_attempt":"%d","weir_intent":%q}`, attempt, intent(i))
}

// bare is a result that says nothing about its item.
func bare(i int) string { return fmt.Sprintf(`{"conversation":{"id":%q}}`, conv(i)) }

func body(results, errs string) string {
	return `{"results":[` + results + `],"errors":[` + errs + `]}`
}

func list(entries ...string) string { return strings.Join(entries, ",") }

// row is one exchange. want has a word for each item: the verdict, with the
// conversation's number if it was created, + for ItemError, ! for Alone.
type row struct {
	name    string
	items   int
	free    int // -1: as many as there are items
	status  int
	body    string
	want    string
	full    bool
	stop    bool
	stray   int
	cut     bool // the body could not be read to its end
	unsent  bool // no byte was written
	refused []int
	reason  string // part of the last item's reason
}

func patterns() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range oration.DefaultFullWhen() {
		out = append(out, regexp.MustCompile("(?i:"+p+")"))
	}
	return out
}

// shorthand writes verdicts as a row's want does.
func shorthand(results []consumer.Result) string {
	var words []string
	for _, r := range results {
		w := r.Verdict.String()
		if r.Verdict == consumer.VerdictCreated {
			w += strings.TrimPrefix(r.Conversation, "conv-")
		}
		if r.ItemError {
			w += "+"
		}
		if r.Alone {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func judge(t *testing.T, rows []row) {
	t.Helper()
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := oration.Exchange{
				Items: calls(t, tt.items), Free: tt.free, FullWhen: patterns(), Refused: tt.refused,
				Exchange: wire.Exchange{Written: !tt.unsent, Status: tt.status, Header: http.Header{}, Body: []byte(tt.body), Complete: !tt.cut},
			}
			if tt.free < 0 {
				x.Free = tt.items
			}
			if tt.status == 0 {
				x.Err = errors.New("connection reset by peer")
			}
			got, notes := oration.Classify(x)
			if s := shorthand(got.Results); s != tt.want {
				t.Errorf("verdicts: got %q, want %q", s, tt.want)
			}
			if got.Full != tt.full {
				t.Errorf("Full: got %v, want %v", got.Full, tt.full)
			}
			if (got.Stop != "") != tt.stop {
				t.Errorf("Stop: got %q, want %v", got.Stop, tt.stop)
			}
			if len(notes.Stray) != tt.stray {
				t.Errorf("stray: got %q, want %d", notes.Stray, tt.stray)
			}
			if got.Status != tt.status {
				t.Errorf("Status: got %d, want %d", got.Status, tt.status)
			}
			for i, r := range got.Results {
				if r.Verdict != consumer.VerdictCreated && r.Reason == "" {
					t.Errorf("item %d: %v without a reason", i, r.Verdict)
				}
			}
			if n := len(got.Results); n > 0 && !strings.Contains(got.Results[n-1].Reason, tt.reason) {
				t.Errorf("reason: got %q, want %q in it", got.Results[n-1].Reason, tt.reason)
			}
		})
	}
}

func TestH1PartialFullCreatesAreKept(t *testing.T) {
	t.Parallel()
	two := list(wrapped(0), wrapped(2))
	judge(t, []row{
		{name: "429 with results", items: 4, free: 2, status: 429, body: body(two, ""), want: "created0 doubt created2 doubt", reason: "0 errors for 2 items", full: true},
		{name: "429 with results and errors", items: 4, free: 2, status: 429, body: body(two, `{"error":"concurrency limit"},{"error":"concurrency limit"}`), want: "created0 full created2 full", full: true, reason: "concurrency limit"},
		{name: "429 with results for all", items: 2, free: 2, status: 429, body: body(list(flat(1), flat(0)), ""), want: "created0 created1", full: true},
		{name: "429 with an error too few", items: 4, free: 2, status: 429, body: body(two, `"limit"`), want: "created0 doubt created2 doubt", full: true, reason: "1 errors for 2 items"},
		{name: "429 with an empty list and an error too few", items: 2, free: 0, status: 429, body: body("", `"limit"`), want: "doubt doubt", full: true},
		{name: "429 with an empty list and no error", items: 1, free: 0, status: 429, body: body("", ""), want: "full", full: true},
		{name: "429 with a null list and an error too few", items: 2, free: 0, status: 429, body: `{"results":null,"errors":["limit"]}`, want: "doubt doubt", full: true},
		{name: "429 with an empty list and an error each", items: 2, free: 0, status: 429, body: body("", `"limit","limit"`), want: "full full", full: true},
		{name: "429 without a list, one error", items: 2, free: 0, status: 429, body: `{"errors":["limit"]}`, want: "full full", full: true},
		{name: "429 with an error that names its item", items: 3, free: 1, status: 429, body: body(wrapped(0), `{"error":"limit","toPhoneNumber":"`+phone(1)+`"}`), want: "created0 full doubt", full: true},
		{name: "429 with an error for a created item", items: 2, free: 1, status: 429, body: body(wrapped(0), `{"error":"late","toPhoneNumber":"`+phone(0)+`"}`), want: "created0 doubt", full: true},
		{name: "400 with an error too few", items: 3, free: 3, status: 400, body: body(wrapped(1), `"bad"`), want: "doubt created1 doubt"},
		{name: "422 with an error that names its item", items: 3, free: 3, status: 422, body: body(wrapped(0), `{"error":"bad","toPhoneNumber":"`+phone(1)+`"}`), want: "created0 rejected doubt"},
		{name: "422, two errors for the one other", items: 2, free: 2, status: 422, body: body(wrapped(1), `"bad","late"`), want: "full! created1"},
		{name: "401 with results and an error each", items: 2, free: 2, status: 401, body: body(wrapped(1), `"no"`), want: "unauthorized created1"},
		{name: "401 cut before its results", items: 1, free: 1, status: 401, cut: true, body: `{"message":"no",`, want: "doubt"},
		{name: "401 cut before a byte", items: 1, free: 1, status: 401, cut: true, want: "doubt"},
		{name: "503 vouched for, with results, malformed", items: 2, free: 2, status: 503, refused: []int{503}, body: body(flat(0), `"x"`) + "}", want: "created0 doubt"},
		{name: "429 whole", items: 2, free: 0, status: 429, body: `{"message":"Too many"}`, want: "full full", full: true, reason: "Too many"},
		{name: "429 empty", items: 2, free: 0, status: 429, want: "full full", full: true},
		{name: "429 with a page", items: 1, free: 0, status: 429, body: "<html><title>Slow  down</title>", want: "full", full: true, reason: `an HTML page, "Slow down"`},
		{name: "429 with text", items: 1, free: 0, status: 429, body: "slow down", want: "full", full: true},
		{name: "429 cut between results", items: 3, free: 2, status: 429, cut: true, body: `{"results":[` + wrapped(1) + `,`, want: "doubt created1 doubt", full: true},
		{name: "429 cut in a result", items: 2, free: 2, status: 429, cut: true, body: `{"results":[` + wrapped(0) + `,` + wrapped(1)[:40], want: "created0 doubt", full: true},
		{name: "429 cut before a byte", items: 1, free: 0, status: 429, cut: true, want: "doubt", full: true},
		{name: "429 cut after the value", items: 1, free: 0, status: 429, cut: true, body: `{"results":[]}`, want: "doubt", full: true},
		{name: "429 malformed", items: 2, free: 0, status: 429, body: `{"results":[` + wrapped(0) + `],"errors":[}`, want: "created0 doubt", full: true},
		{name: "429 with more behind", items: 1, free: 0, status: 429, body: `{"errors":[]}{"results":[]}`, want: "doubt", full: true},
		{name: "429 with a result that matches nobody", items: 3, free: 2, status: 429, body: body(list(wrapped(0), bare(9)), ""), want: "created0 doubt doubt", full: true, stray: 1},
		{name: "429 with results of another kind", items: 1, free: 0, status: 429, body: `{"results":"conv-9"}`, want: "doubt", full: true, stray: 1},
		{name: "429 with bare results", items: 2, free: 1, status: 429, body: `[` + wrapped(1) + `]`, want: "doubt created1", full: true},
		{name: "429, own error beside it", items: 1, free: 1, status: 429, body: body("", `"the number is malformed"`), want: "full+", full: true},
		{name: "400 with results", items: 3, free: 3, status: 400, body: body(wrapped(1), `"bad","bad"`), want: "full! created1 full!"},
		{name: "422, the one other", items: 2, free: 2, status: 422, body: body(wrapped(1), `"bad number"`), want: "rejected created1"},
		{name: "401 with results", items: 2, free: 2, status: 401, body: body(wrapped(1), ""), want: "doubt created1"},
		{name: "403 with a stray result", items: 2, free: 2, status: 403, body: body(bare(9), ""), want: "doubt doubt", stray: 1},
		{name: "401 cut in its results", items: 1, free: 1, status: 401, cut: true, body: `{"results":[{"id":`, want: "doubt"},
		{name: "500 with results", items: 2, free: 2, status: 500, body: body(flat(0), ""), want: "created0 doubt"},
		{name: "503 vouched for, with results", items: 2, free: 2, status: 503, refused: []int{503}, body: body(flat(0), ""), want: "created0 doubt"},
		{name: "503 vouched for, with a stray result", items: 1, free: 1, status: 503, refused: []int{503}, body: body(list(bare(8), bare(9)), ""), want: "doubt", stray: 2},
		{name: "307 with results", items: 2, free: 2, status: 307, body: body(flat(0), ""), want: "created0 doubt", stop: true},
		{name: "404 with results", items: 1, free: 1, status: 404, body: body(flat(0), ""), want: "created0"},
	})
}

// TestH1ConversationsElsewhere has bodies that name a conversation where no
// result belongs.
func TestH1ConversationsElsewhere(t *testing.T) {
	t.Parallel()
	var rows []row
	for name, answer := range map[string]string{
		"in detail":                  `{"detail":{"results":[` + flat(0) + `],"errors":[]}}`,
		"in data, wrapped":           `{"message":"limit","data":{"results":[` + wrapped(0) + `]}}`,
		"in data, bare":              `{"message":"limit","data":{"results":[` + bare(0) + `]}}`,
		"in conversations":           `{"message":"limit","conversations":[{"id":"c1","toPhoneNumber":"` + phone(0) + `"}]}`,
		"in conversations, a status": `{"conversations":[{"id":7,"conversationStatus":"created"}]}`,
		"of its own":                 `{"message":"limit","a":{"b":{"id":"c1","weir_intent":"x"}}}`,
		"the body itself":            `{"id":"c1","message":"limit","dynamicVariables":` + strconv.Quote(vars(0)) + `}`,
		"in an error":                `{"errors":[{"error":"limit","conversation":{"id":"c1","conversationStatus":"failed"}}]}`,
		"in a list of lists":         `[[{"results":[` + flat(0) + `]}]]`,
		"cannot be told":             `{"message":"limit","data":["` + strings.Repeat("x", 300<<10) + `"]}`,
	} {
		if strings.HasPrefix(answer, "[") {
			answer = `{"message":"limit","more":` + answer + `}`
		}
		for _, status := range []int{400, 401, 404, 409, 429, 503} {
			rows = append(rows, row{name: fmt.Sprint(status, " ", name), items: 1, free: 1, status: status, refused: []int{503},
				body: answer, want: "doubt", full: status == 429})
		}
	}
	judge(t, append(rows,
		row{name: "a created item stays so", items: 2, free: 2, status: 200, body: `{"results":[` + wrapped(0) + `],"errors":["x"],"data":[` + wrapped(1) + `]}`, want: "created0 doubt"},
		row{name: "an id alone", items: 1, free: 1, status: 400, body: `{"id":"req-1","message":"bad","data":{"id":"x","customer":{"phone":"1"}}}`, want: "rejected"},
		row{name: "the id of an error", items: 1, free: 1, status: 400, body: `{"errors":[{"id":"e1","error":"bad","toPhoneNumber":"` + phone(0) + `"}]}`, want: "rejected"},
		row{name: "the echo of the request", items: 1, free: 0, status: 429, body: `{"message":"limit","request":{"conversations":[{"toPhoneNumber":"` + phone(0) + `","dynamicVariables":` + vars(0) + `}]}}`, want: "full", full: true},
	))
}

// TestH1CompressedAnswersAreUnread has answers in a coding that nobody asked
// for.
func TestH1CompressedAnswersAreUnread(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, coding, body string
		status             int
		want               string
	}{
		{"200", "gzip", "\x1f\x8b\b", 200, "doubt"},
		{"429", "gzip", "\x1f\x8b\b", 429, "doubt"},
		{"422", "br", "\x0b\x02", 422, "doubt"},
		{"401", "gzip", "\x1f\x8b\b", 401, "doubt"},
		{"404", "gzip", "\x1f\x8b\b", 404, "doubt"},
		{"one of several", "identity, deflate", "x", 422, "doubt"},
		{"503 vouched for", "gzip", "\x1f\x8b\b", 503, "unsent"},
		{"302", "gzip", "\x1f\x8b\b", 302, "unsent"},
		{"whose body seems to be none", "gzip", body(wrapped(0), ""), 200, "doubt"},
		{"422 whose body seems to be none", "gzip", `{"message":"bad"}`, 422, "doubt"},
		{"no body", "gzip", "", 429, "full"},
		{"identity", "Identity", `{"message":"bad"}`, 422, "rejected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := oration.Classify(oration.Exchange{
				Items: calls(t, 1), Free: 1, FullWhen: patterns(), Refused: []int{503}, Exchange: wire.Exchange{
					Written: true, Status: tt.status, Header: http.Header{"Content-Encoding": {tt.coding}}, Body: []byte(tt.body), Complete: true,
				},
			})
			if s := shorthand(got.Results); s != tt.want {
				t.Errorf("verdict: got %q, want %q", s, tt.want)
			}
			if reason := got.Results[0].Reason; tt.want == "doubt" && !strings.Contains(reason, "a body in the coding ") {
				t.Errorf("reason: got %q, want the coding in it", reason)
			}
			if (got.Stop != "") != (tt.status == 302) {
				t.Errorf("Stop: got %q", got.Stop)
			}
		})
	}
}

func TestH2ItemErrors(t *testing.T) {
	t.Parallel()
	judge(t, []row{
		{name: "one error, one item", items: 1, free: 1, status: 200, body: body("", `{"error":"bad number"}`), want: "rejected", reason: "bad number"},
		{name: "one error, one unmatched item", items: 3, free: 3, status: 200, body: body(list(wrapped(2), wrapped(0)), `{"error":"bad number"}`), want: "created0 rejected created2"},
		{name: "it means full", items: 3, free: 3, status: 207, body: body(list(wrapped(0), wrapped(1)), `{"error":"Concurrency reached"}`), want: "created0 created1 full+", full: true},
		{name: "more items than free slots", items: 2, free: 1, status: 200, body: body(wrapped(0), `{"error":"cannot"}`), want: "created0 full+", full: true},
		{name: "a probe of two, one of which did not fit", items: 2, free: 0, status: 207, body: body(wrapped(0), `"Concurrent call limit reached"`), want: "created0 full", full: true},
		{name: "a probe of three, two of which did not fit", items: 3, free: 0, status: 207, body: body(wrapped(0), `"busy","busy"`), want: "created0 full full", full: true},
		{name: "a probe of three, one error is another", items: 3, free: 0, status: 207, body: body(wrapped(0), `"busy","bad number"`), want: "created0 full! full!", full: true},
		{name: "a lone probe", items: 1, free: 0, status: 200, body: body("", `"cannot"`), want: "full+", full: true},
		{name: "fewer errors than items", items: 3, free: 3, status: 200, body: body("", `"a","b"`), want: "doubt doubt doubt", reason: "2 errors for 3 items"},
		{name: "fewer errors that mean full", items: 3, free: 3, status: 200, body: body("", `"limit","limit"`), want: "doubt doubt doubt"},
		{name: "as many errors", items: 3, free: 3, status: 200, body: body(wrapped(1), `"a","b"`), want: "full! created1 full!", reason: "a; b"},
		{name: "as many errors, one full", items: 2, free: 2, status: 200, body: body("", `"a","busy"`), want: "full! full!", full: true},
		{name: "as many errors, more than free", items: 2, free: 1, status: 200, body: body("", `"a","b"`), want: "full! full!", full: true},
		{name: "more errors than items", items: 2, free: 2, status: 200, body: body(wrapped(0), `"a","b"`), want: "created0 full!"},
		{name: "several errors of a lone item", items: 1, free: 1, status: 200, body: body("", `"a","b","a"`), want: "rejected", reason: "a; b"},
		{name: "no error", items: 2, free: 2, status: 200, body: body(wrapped(0), ""), want: "created0 doubt"},
		{name: "null errors are none", items: 1, free: 1, status: 200, body: `{"results":null,"errors":[null]}`, want: "doubt"},
		{name: "an error with its intent", items: 3, free: 3, status: 200, body: body(wrapped(0), `{"message":"bad","dynamicVariables":`+vars(2)+`}`), want: "created0 doubt rejected"},
		{name: "an error with its number", items: 2, free: 2, status: 200, body: body("", `{"error":"x","conversation":{"toPhoneNumber":"`+phone(1)+`"}},"y"`), want: "rejected rejected"},
		{name: "an error for a created item is not another's", items: 2, free: 2, status: 200, body: body(wrapped(0), `{"error":"late","toPhoneNumber":"`+phone(0)+`"}`), want: "created0 doubt"},
		{name: "an error for a stranger is not another's", items: 2, free: 2, status: 200, body: body(wrapped(0), `{"error":"x","toPhoneNumber":"+4930123456"}`), want: "created0 doubt"},
		{name: "an error for another intent", items: 1, free: 1, status: 200, body: body("", `{"error":"x","dynamicVariables":{"weir_intent":"other"}}`), want: "doubt"},
		{name: "an error in another spelling of the number", items: 1, free: 1, status: 200, body: body("", `{"error":"x","toPhoneNumber":"4155550100"}`), want: "rejected"},
		{name: "an error beside a stray result", items: 2, free: 2, status: 200, body: body(bare(9), `"x"`), want: "doubt doubt", stray: 1},
		{name: "a result outweighs an error", items: 1, free: 1, status: 200, body: body(bare(0), `"warning"`), want: "created0"},
		{name: "nested words", items: 1, free: 1, status: 200, body: body("", `{"error":{"code":"E1","message":"bad agent"}}`), want: "rejected", reason: "bad agent"},
		{name: "no words", items: 1, free: 1, status: 200, body: body("", `{"x":[1,2]}`), want: "rejected", reason: `{"x":[1,2]}`},
		{name: "errors that are one text", items: 1, free: 1, status: 200, body: `{"results":[],"errors":"bad agent"}`, want: "rejected", reason: "bad agent"},
	})
}

func TestH10EchoDecides(t *testing.T) {
	t.Parallel()
	with := func(id, number, vars string) string {
		return fmt.Sprintf(`{"conversation":{"id":%q,"agentId":%q,"toPhoneNumber":%q,"dynamicVariables":%s}}`, id, agent, number, vars)
	}
	old := strings.Replace(vars(0), `"2"`, `"1"`, 1)
	judge(t, []row{
		{name: "echo over number", items: 2, free: 2, status: 200, body: body(list(with("conv-1", phone(0), vars(1)), with("conv-0", phone(1), vars(0))), ""), want: "created0 created1"},
		{name: "echo as text", items: 1, free: 1, status: 200, body: body(with("conv-0", phone(7), strconv.Quote(vars(0))), ""), want: "created0"},
		{name: "attempt as a number", items: 1, free: 1, status: 200, body: body(with("conv-0", phone(7), `{"weir_intent":"`+intent(0)+`","weir_attempt":2}`), ""), want: "created0"},
		{name: "intent without attempt", items: 1, free: 1, status: 200, body: body(with("conv-0", phone(7), `{"weir_intent":"`+intent(0)+`"}`), ""), want: "created0"},
		{name: "a foreign intent with our number", items: 1, free: 1, status: 200, body: body(with("conv-9", phone(0), `{"weir_intent":"x"}`), ""), want: "doubt", stray: 1},
		{name: "an older attempt with our number", items: 1, free: 1, status: 200, body: body(with("conv-9", phone(0), old), ""), want: "doubt", stray: 1},
		{name: "an attempt that is no number", items: 1, free: 1, status: 200, body: body(with("conv-9", phone(0), `{"weir_intent":"`+intent(0)+`","weir_attempt":"two"}`), ""), want: "doubt", stray: 1},
		{name: "an older attempt under 429", items: 1, free: 1, status: 429, body: body(with("conv-9", phone(0), old), ""), want: "doubt", stray: 1, full: true},
		{name: "echo beside the wrapper", items: 2, free: 2, status: 200, body: body(list(`{"conversation":{"id":"conv-1"},"dynamicVariables":`+vars(1)+`}`, flat(0)), ""), want: "created0 created1"},
		{name: "no variables in the echo", items: 1, free: 1, status: 200, body: body(with("conv-0", phone(0), `""`), ""), want: "created0"},
	})
}

func TestMatching(t *testing.T) {
	t.Parallel()
	result := func(id, number, agent string) string {
		return fmt.Sprintf(`{"id":%q,"toPhoneNumber":%q,"agentId":%q}`, id, number, agent)
	}
	other := "11111111-2222-4333-8444-555555555555"
	judge(t, []row{
		{name: "shuffled", items: 3, free: 3, status: 201, body: body(list(wrapped(2), wrapped(0), wrapped(1)), ""), want: "created0 created1 created2"},
		{name: "both shapes", items: 2, free: 2, status: 200, body: body(list(flat(1), wrapped(0)), ""), want: "created0 created1"},
		{name: "errors null, no token", items: 1, free: 1, status: 202, body: `{"errors":null,"results":[` + flat(0) + `]}`, want: "created0"},
		{name: "number without agent", items: 2, free: 2, status: 200, body: body(list(result("conv-1", phone(1), ""), result("conv-0", phone(0), "")), ""), want: "created0 created1"},
		{name: "number without plus", items: 2, free: 2, status: 200, body: body(list(result("conv-1", phone(1)[1:], agent), result("conv-0", "1 (415) 555-0100", agent)), ""), want: "created0 created1"},
		{name: "lone, nothing said", items: 1, free: 1, status: 200, body: body(bare(0), ""), want: "created0"},
		{name: "lone, another agent", items: 1, free: 1, status: 200, body: body(result("conv-0", phone(0), other), ""), want: "created0"},
		{name: "lone, another number", items: 1, free: 1, status: 200, body: body(result("conv-9", phone(5), agent), ""), want: "doubt", stray: 1},
		{name: "lone, two results", items: 1, free: 1, status: 200, body: body(list(bare(0), bare(1)), ""), want: "doubt", stray: 2},
		{name: "lone, the same result twice", items: 1, free: 1, status: 200, body: body(list(wrapped(0), wrapped(0)), ""), want: "created0"},
		{name: "lone, a second conversation", items: 1, free: 1, status: 200, body: body(list(wrapped(0), result("conv-9", phone(0), agent)), ""), want: "created0", stray: 1},
		{name: "one conversation for two items", items: 2, free: 2, status: 200, body: body(list(result("conv-0", phone(0), agent), result("conv-0", phone(1), agent)), ""), want: "created0 doubt", stray: 1},
		{name: "not by position", items: 2, free: 2, status: 200, body: body(list(bare(0), bare(1)), ""), want: "doubt doubt", stray: 2},
		{name: "the last one left", items: 2, free: 2, status: 200, body: body(list(bare(0), wrapped(1)), ""), want: "created0 created1"},
		{name: "the last one left, beside an error", items: 2, free: 2, status: 200, body: body(list(bare(9), wrapped(1)), `"x"`), want: "doubt created1", stray: 1},
		{name: "the last one left, of another agent", items: 2, free: 2, status: 200, body: body(list(result("conv-9", "", other), wrapped(1)), ""), want: "doubt created1", stray: 1},
		{name: "without an id", items: 2, free: 2, status: 200, body: body(list(result("", phone(0), agent), wrapped(1)), ""), want: "doubt created1"},
		{name: "lone without an id", items: 1, free: 1, status: 200, body: body(`{"conversation":{"conversationStatus":"created"}}`, ""), want: "doubt", stray: 1},
		{name: "an id that cannot be kept", items: 1, free: 1, status: 200, body: body(result(strings.Repeat("x", 300), phone(0), agent), ""), want: "doubt"},
		{name: "an id that is a number", items: 1, free: 1, status: 200, body: body(`{"id":77}`, ""), want: "created77"},
		{name: "with id before without", items: 1, free: 1, status: 200, body: body(list(`{"dynamicVariables":`+vars(0)+`}`, wrapped(0)), ""), want: "created0", stray: 1},
		{name: "null results are none", items: 1, free: 1, status: 200, body: body("null", `"bad"`), want: "rejected"},
		{name: "one wrapped conversation", items: 1, free: 1, status: 200, body: wrapped(0), want: "created0"},
	})
}

func TestMatchingWithoutNumbers(t *testing.T) {
	t.Parallel()
	c := preparer(t)
	var items []consumer.Item
	for i, id := range []string{customer, "44e1b0a4-2a65-4d1f-9a57-0a4f0c1d2e3f"} {
		r, err := c.Prepare(map[string]any{"conversationType": "chat", "agentId": agent, "customerId": id})
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		items = append(items, consumer.Item{Intent: intent(i), Attempt: attempt, Request: r})
	}
	answer := body(list(`{"id":"conv-1","customerId":"44E1B0A4-2a65-4d1f-9a57-0a4f0c1d2e3f"}`, `{"id":"conv-0","customerId":"`+customer+`","agentId":"`+agent+`"}`), "")
	got, _ := oration.Classify(oration.Exchange{Items: items, Free: 2, Exchange: wire.Exchange{Written: true, Status: 200, Body: []byte(answer), Complete: true}})
	if s := shorthand(got.Results); s != "created0 created1" {
		t.Errorf("got %q, want each customer's own conversation", s)
	}
	// Items with one pair, which the engine never sends together.
	items[1].Request = items[0].Request
	got, _ = oration.Classify(oration.Exchange{Items: items, Free: 2, Exchange: wire.Exchange{Written: true, Status: 429, Body: []byte(answer), Complete: true}})
	if s := shorthand(got.Results); s != "doubt doubt" {
		t.Errorf("got %q, want doubt for items that cannot be told apart", s)
	}
}

func TestH23Statuses(t *testing.T) {
	t.Parallel()
	rows := []row{
		{name: "a group is not judged", items: 3, free: 3, status: 400, body: `{"message":"conversation 2 is malformed"}`, want: "full! full! full!", reason: "conversation 2 is malformed"},
		{name: "a group with one error", items: 2, free: 2, status: 422, body: body("", `"bad"`), want: "full! full!"},
		{name: "a group that is too large", items: 2, free: 2, status: 400, body: `{"message":"concurrency exceeded"}`, want: "full! full!", full: true},
		{name: "a group, one named", items: 2, free: 2, status: 422, body: body("", `{"error":"bad","toPhoneNumber":"`+phone(1)+`"}`), want: "full! rejected"},
		{name: "a group of three, one named", items: 3, free: 3, status: 422, body: `{"message":"validation failed","errors":[{"error":"bad","toPhoneNumber":"` + phone(1) + `"}]}`, want: "full! rejected full!", reason: "validation failed"},
		{name: "a group, one named, and a word for all", items: 2, free: 2, status: 422, body: body("", `"validation failed",{"error":"bad","toPhoneNumber":"`+phone(1)+`"}`), want: "full! rejected"},
		{name: "lone, its words", items: 1, free: 1, status: 422, body: `{"code":"E7","message":"agent is not published"}`, want: "rejected", reason: "conversation: agent is not published"},
		{name: "lone, no words", items: 1, free: 1, status: 400, want: "rejected", reason: "status 400"},
		{name: "lone, no slot", items: 1, free: 1, status: 409, body: `{"error":"no free slot"}`, want: "full+", full: true},
		{name: "lone, not about slots though none is free", items: 1, free: 0, status: 400, body: `{"error":"bad number"}`, want: "rejected"},
		{name: "lone, a page", items: 1, free: 1, status: 400, body: "<html>", want: "rejected", reason: "an HTML page"},
		{name: "400 cut", items: 1, free: 1, status: 400, cut: true, body: `{"message":"b`, want: "doubt"},
		{name: "404 with JSON", items: 1, free: 1, status: 404, body: `{"message":"no such agent"}`, want: "rejected"},
		{name: "404 page", items: 2, free: 2, status: 404, body: "<!DOCTYPE html><title>Not found</title>", want: "unsent unsent", stop: true},
		{name: "404 text", items: 1, free: 1, status: 404, body: "404 page not found\n", want: "unsent", stop: true},
		{name: "404 page, cut", items: 1, free: 1, status: 404, cut: true, body: "<html>", want: "unsent", stop: true},
		{name: "404 cut before a byte", items: 1, free: 1, status: 404, cut: true, want: "doubt"},
		{name: "404 cut JSON", items: 1, free: 1, status: 404, cut: true, body: `{"mess`, want: "doubt"},
		{name: "405 empty", items: 1, free: 1, status: 405, want: "unsent", stop: true},
		{name: "405 with JSON", items: 1, free: 1, status: 405, body: `{"error":"no"}`, want: "rejected"},
		{name: "404 vouched for", items: 1, free: 1, status: 404, refused: []int{404}, want: "unsent"},
		{name: "401", items: 2, free: 2, status: 401, body: `{"message":"bad key"}`, want: "unauthorized unauthorized", reason: "bad key"},
		{name: "403 page, cut", items: 1, free: 1, status: 403, cut: true, body: "<html>", want: "unauthorized"},
		{name: "503 vouched for", items: 2, free: 2, status: 503, refused: []int{503}, body: "<html>", want: "unsent unsent"},
		{name: "503 vouched for, cut", items: 1, free: 1, status: 503, refused: []int{503}, cut: true, body: `{"mess`, want: "unsent"},
		{name: "300", items: 1, free: 1, status: 300, want: "doubt", stop: true},
		{name: "304", items: 1, free: 1, status: 304, want: "doubt", stop: true},
		{name: "no answer", items: 2, free: 2, want: "doubt doubt", reason: "connection reset by peer"},
		{name: "not a byte", items: 2, free: 2, unsent: true, want: "unsent unsent", reason: "connection reset by peer"},
		{name: "an answer to nothing", items: 1, free: 1, unsent: true, status: 408, want: "unsent"},
		{name: "200 empty", items: 1, free: 1, status: 200, want: "doubt"},
		{name: "204", items: 1, free: 1, status: 204, want: "doubt"},
		{name: "200 page", items: 1, free: 1, status: 200, body: "<html>", want: "doubt"},
		{name: "200 text", items: 1, free: 1, status: 200, body: "ok", want: "doubt"},
		{name: "200 array of errors", items: 1, free: 1, status: 200, body: `["bad"]`, want: "doubt"},
		{name: "200 empty object", items: 2, free: 2, status: 200, body: `{}`, want: "doubt doubt"},
		{name: "200 cut in a result", items: 2, free: 2, status: 200, cut: true, body: `{"errors":["x"],"results":[` + flat(1) + `,` + flat(0)[:30], want: "doubt created1"},
		{name: "200 cut after an error", items: 1, free: 1, status: 200, cut: true, body: `{"errors":["bad"],`, want: "doubt"},
		{name: "200 that ends too early", items: 1, free: 1, status: 200, body: `{"errors":["bad"]`, want: "doubt"},
		{name: "200 with a mark before it", items: 1, free: 1, status: 200, body: "\ufeff" + body(flat(0), ""), want: "created0"},
	}
	for _, s := range []int{301, 302, 303, 307, 308} {
		rows = append(rows, row{name: strconv.Itoa(s), items: 1, free: 1, status: s, body: "<html>", want: "unsent", stop: true})
	}
	for _, s := range []int{408, 425, 499, 500, 501, 502, 503, 504, 520, 599, 600, 999, 101} {
		rows = append(rows, row{name: strconv.Itoa(s), items: 2, free: 2, status: s, body: body("", `"limit","limit"`), want: "doubt doubt"})
	}
	for _, s := range []int{400, 402, 404, 405, 406, 409, 410, 413, 415, 422, 428, 431, 451} {
		rows = append(rows, row{name: strconv.Itoa(s) + " lone", items: 1, free: 1, status: s, body: `{"message":"bad"}`, want: "rejected", reason: "bad"})
	}
	judge(t, rows)
}

func TestReasonsAreFitForAPerson(t *testing.T) {
	t.Parallel()
	say := func(status int, answer string) string {
		got, _ := oration.Classify(oration.Exchange{
			Items: calls(t, 1), Free: 1, Exchange: wire.Exchange{Written: true, Status: status, Body: []byte(answer), Complete: true},
		})
		return got.Results[0].Reason
	}
	long := say(422, `{"message":"`+strings.Repeat("é", 5000)+`"}`)
	if n := len([]rune(long)); n > 400 {
		t.Errorf("got a reason of %d characters, want at most 400", n)
	}
	for _, answer := range []string{
		`{"message":"+14155550123 is not\n a\u0000 number"}`, `number +14155550123 is bad`, body("", `"no +14155550123 for you"`),
		`<html><title>+14155550123</title>`,
	} {
		got := say(422, answer)
		if strings.Contains(got, "5550123") || strings.ContainsAny(got, "\n\x00") {
			t.Errorf("answer %q: got the reason %q", answer, got)
		}
	}
	flood := say(422, body("", strings.Repeat(`"a","b","+14155550123",`, 50_000)+`"c"`))
	if n := len([]rune(flood)); n > 400 || !strings.Contains(flood, "a; b; …23") {
		t.Errorf("got the reason %q of 150,001 errors", flood)
	}
	x := oration.Exchange{Items: calls(t, 1), Exchange: wire.Exchange{
		Written: true, Status: 302, Complete: true,
		Header: http.Header{"Location": {"https://user:pass@apex.example/api?token=abc#x"}},
	}}
	got, _ := oration.Classify(x)
	want := "the provider answered with status 302 (to https://apex.example/api) instead of a result: the url of this account is wrong"
	if diff := cmp.Diff(want, got.Stop); diff != "" {
		t.Errorf("Stop (-want +got):\n%s", diff)
	}
}
