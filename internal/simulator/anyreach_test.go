package simulator_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema/openapitest"
)

const callID = "5d0c8f5e-7a46-5f0e-9d6c-0a5be1a7f001"

// newAnyreach returns a simulator that answers as fast as it can, unless cfg
// says otherwise.
func newAnyreach(t *testing.T, cfg simulator.AnyreachConfig) *simulator.Simulator {
	t.Helper()
	if cfg.Latency == 0 {
		cfg.Latency = 1
	}
	sim, err := simulator.NewAnyreach(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("new simulator: %v", err)
	}
	return sim
}

// newAnyreachServer serves a simulator on loopback. Its calls last, unless cfg says
// otherwise.
func newAnyreachServer(t *testing.T, cfg simulator.AnyreachConfig) (*simulator.Simulator, string) {
	t.Helper()
	if cfg.Scale == 0 {
		cfg.Scale = hours
	}
	sim := newAnyreach(t, cfg)
	api := openapitest.Load(t, "../../schema/anyreach.openapi.yaml").AnswersOnly().
		Except("/simulator/", "GET /core/{$}", "DELETE /core/", "PUT /core/", "POST /core/conversations/")
	srv := httptest.NewServer(api.Handler(t, sim.Handler()))
	t.Cleanup(srv.Close)
	return sim, srv.URL
}

// dial returns a request for a call whose number depends on i.
func dial(i int) map[string]any {
	return map[string]any{
		"channel": "telephone", "user_id": fmt.Sprintf("+1415555%04d", i), "agent_id": "ag_1",
		"custom_metadata": map[string]any{"weir_intent": fmt.Sprintf("intent-%d", i), "weir_attempt": 1},
	}
}

// text returns a request for a text session.
func text(user string) map[string]any {
	return map[string]any{"channel": "text", "user_id": user, "agent_id": "ag_1"}
}

// bookRequest returns a create request with good credentials.
func bookRequest(t *testing.T, url string, fields map[string]any) *http.Request {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatalf("encode request: %v", err)
	}
	r := createRequest(t, url, body)
	r.URL.Path = "/core/conversations"
	return r
}

// book creates a conversation and expects a whole answer.
func book(t *testing.T, url string, fields map[string]any) reply {
	t.Helper()
	got, err := send(bookRequest(t, url, fields))
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if got.readErr != nil {
		t.Fatalf("read create answer: %v", got.readErr)
	}
	return got
}

// object is a JSON object.
type object = map[string]any

// conversationIn returns the conversation in a create answer, wrapped or bare.
func conversationIn(t *testing.T, body []byte) object {
	t.Helper()
	o := decode[object](t, body)
	if inner, ok := o["conversation"].(object); ok && o["id"] == nil {
		return inner
	}
	return o
}

func TestNewAnyreachNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := simulator.NewAnyreach(zerolog.Nop(), simulator.AnyreachConfig{
		Limit: -1, Global: -2, Busy: 51, TextLimit: -1, Scale: -1, RetryAfter: -1, Latency: -1,
		Columns: "some", Detail: "long", Accepted: "never", Replay: "201",
		VisibleAfter: -1, VisibleShare: math.NaN(), TooMany: 2, Tick: -1,
		Faults: simulator.Faults{Cut: 0.6, Reset: 0.6, Slow: 2},
	})
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, want := range []string{
		"limit: -1", "global: -2", "busy: 51", "text_limit: -1", "scale: -1", "retry_after:", "latency:",
		`columns: "some"`, `detail: "long"`, `accepted: "never"`, `replay: "201"`,
		"visible_after:", "visible_share: NaN", "too_many: 2", "tick:", "add up to 1.2", "faults.slow: 2",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got error %q, want it to contain %q", err, want)
		}
	}
}

func TestAnyreachDefaults(t *testing.T) {
	t.Parallel()
	sim, err := simulator.NewAnyreach(zerolog.Nop(), simulator.AnyreachConfig{})
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	want := simulator.Report{Limit: 10, Requests: map[string]int{}, Faults: map[string]int{}, Doubled: map[string]int{}}
	if diff := cmp.Diff(want, sim.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if got := sim.MaxCall(); got != 10*time.Minute || sim.Provider() != "anyreach" {
		t.Errorf("got longest call %v of %s, want 10m of anyreach", got, sim.Provider())
	}
}

func TestAnyreachAuth(t *testing.T) {
	t.Parallel()
	exact := simulator.AnyreachAuth{Token: "pat_1", Organization: "org_1"}
	key := simulator.AnyreachAuth{Token: "ak_1.s", Organization: "org_1"}
	for name, c := range map[string]struct {
		auth   simulator.AnyreachAuth
		header string // Authorization
		org    string
		status int // 0: good
		detail string
	}{
		"nothing":                     {simulator.AnyreachAuth{}, "", "", 401, "credentials"},
		"empty token":                 {simulator.AnyreachAuth{}, "Bearer ", "", 401, "credentials"},
		"no bearer":                   {simulator.AnyreachAuth{}, "Basic x", "", 401, "credentials"},
		"any token":                   {simulator.AnyreachAuth{}, "Bearer x", "", 0, ""},
		"any key":                     {simulator.AnyreachAuth{}, "Bearer ak_1.s", "", 0, ""},
		"any pat":                     {simulator.AnyreachAuth{}, "Bearer pat_x", "org_x", 0, ""},
		"pat without organization":    {simulator.AnyreachAuth{}, "Bearer pat_x", "", 401, "organization claim"},
		"wrong token":                 {exact, "Bearer pat_2", "org_1", 401, "credentials"},
		"right pat":                   {exact, "Bearer pat_1", "org_1", 0, ""},
		"right pat, no organization":  {exact, "Bearer pat_1", "", 401, "organization claim"},
		"right pat, other one":        {exact, "Bearer pat_1", "org_2", 403, "organization"},
		"right key, no organization":  {key, "Bearer ak_1.s", "", 0, ""},
		"right key, any organization": {key, "Bearer ak_1.s", "org_2", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Auth: c.auth, Detail: simulator.DetailList})
			for request, good := range map[string]int{"POST ": 202, "GET ": 200, "GET /" + callID: 404} {
				method, path, _ := strings.Cut(request, " ")
				r := bookRequest(t, url, dial(1))
				r.Method, r.URL.Path = method, "/core/conversations"+path
				r.Header.Set("Authorization", c.header)
				r.Header.Set("X-Anyreach-Org", c.org)
				got, err := send(r)
				if err != nil {
					t.Fatalf("%s: %v", request, err)
				}
				want := c.status
				if want == 0 {
					want = good
				}
				if got.status != want {
					t.Errorf("%s: got %d %s, want %d", request, got.status, got.body, want)
				}
				if c.status != 0 && !strings.Contains(decode[struct{ Detail string }](t, got.body).Detail, c.detail) {
					t.Errorf("%s: got %s, want a detail with %q", request, got.body, c.detail)
				}
			}
			if made := sim.Report().Conversations; (made == 1) != (c.status == 0) {
				t.Errorf("got %d conversations after status %d", made, c.status)
			}
		})
	}
}

func TestAnyreachAnswers(t *testing.T) {
	t.Parallel()
	for channel, c := range map[string]struct {
		fields object
		status int
		state  string
		keys   []string
	}{
		"telephone": {dial(1), 202, "triggered", []string{"conversation"}},
		"text":      {text("u"), 200, "in_progress", []string{"conversation", "starting_message"}},
		"email":     {with(text("u"), object{"channel": "email", "to_address": "a@example.com"}), 200, "triggered", []string{"conversation", "starting_message"}},
		"webrtc":    {with(text("u"), object{"channel": "webrtc"}), 200, "token_created", []string{"conversation", "room_name", "token", "url"}},
	} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			sim, url := newAnyreachServer(t, simulator.AnyreachConfig{})
			got := book(t, url, with(c.fields, object{"id": strings.ToUpper(callID)}))
			body := decode[object](t, got.body)
			if diff := cmp.Diff(c.keys, slices.Sorted(maps.Keys(body))); diff != "" || got.status != c.status {
				t.Errorf("got status %d, want %d; keys (-want +got):\n%s", got.status, c.status, diff)
			}
			conv := conversationIn(t, got.body)
			if conv["id"] != callID || conv["channel"] != channel || conv["status"] != c.state {
				t.Errorf("got id %v, channel %v, status %v; want %s, %s, %s", conv["id"], conv["channel"], conv["status"], callID, channel, c.state)
			}
			greeting, _ := body["starting_message"].(string)
			if (greeting != "") != (channel == "text") {
				t.Errorf("got starting message %q", greeting)
			}
			if token, _ := body["token"].(string); (channel == "webrtc") != strings.HasPrefix(token, "simulated-join-token-") {
				t.Errorf("got token %q", token)
			}
			made := sim.Conversations()[0]
			if made.ID != callID || made.ClientID != callID || made.Channel != channel || made.Provider != "anyreach" {
				t.Errorf("got %+v, want its id, channel and provider", made)
			}
			if r := sim.Report(); (r.Live == 1) != (channel == "telephone") || (r.TextHighest == 1) != (channel == "text") {
				t.Errorf("got %d slots and %d text sessions taken by %s", r.Live, r.TextHighest, channel)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, form := range []string{simulator.AcceptedWrapped, simulator.AcceptedBare, simulator.AcceptedEmpty, simulator.Mixed} {
		sim, url := newAnyreachServer(t, simulator.AnyreachConfig{Accepted: form, Seed: 1})
		for i := range 24 {
			got := book(t, url, dial(i))
			word := "empty"
			if len(got.body) > 0 {
				word = "bare"
				if decode[object](t, got.body)["id"] == nil {
					word = "wrapped"
				}
				if id := conversationIn(t, got.body)["id"]; id != sim.Conversations()[i].ID {
					t.Errorf("got id %v, want %s", id, sim.Conversations()[i].ID)
				}
			}
			if got.status != 202 || (form != simulator.Mixed && form != word) || sim.Conversations()[i].Hidden {
				t.Errorf("got %d %s, want 202 %s, not hidden", got.status, word, form)
			}
			if form == simulator.Mixed {
				seen[word]++
			}
		}
	}
	if seen["wrapped"] < 3 || seen["bare"] < 3 || seen["empty"] < 3 {
		t.Errorf("got %v of 24 mixed answers, want each form often", seen)
	}
}

func TestAnyreachUnknownPaths(t *testing.T) {
	t.Parallel()
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{})
	for _, request := range []string{
		"GET /core/", "DELETE /core/conversations/" + callID, "PUT /core/conversations",
		"POST /core/conversations/" + callID + "/end", "POST /core/conversations/" + callID + "/cancel", "POST /core/conversations/dial",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := bookRequest(t, url, dial(1))
		r.Method, r.URL.Path = method, path
		got, err := send(r)
		if err != nil || got.status != 404 || string(got.body) != `{"detail":"Not Found"}` {
			t.Errorf("%s: got %d %s (error %v), want the 404", request, got.status, got.body, err)
		}
	}
	if diff := cmp.Diff(map[string]int{"other": 6}, sim.Report().Requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := get(t, url+"/core/conversations/"+uuid.NewString()); got.status != 404 || string(got.body) != `{"detail":"Conversation not found"}` {
		t.Errorf("got %d %s for an unknown id, want the 404", got.status, got.body)
	}
}

// ask answers a create without a socket, for use in a bubble.
func ask(t *testing.T, h http.Handler, fields map[string]any) *httptest.ResponseRecorder {
	t.Helper()
	r := bookRequest(t, "http://simulator", fields)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTextLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newAnyreach(t, simulator.AnyreachConfig{TextLimit: 2, RetryAfter: 1500 * time.Millisecond})
		h := sim.Handler()
		for i, want := range []int{200, 200, 429} {
			got := ask(t, h, text(fmt.Sprint(i)))
			if got.Code != want || (want == 429) != (got.Header().Get("Retry-After") == "2") {
				t.Errorf("session %d: got %d with Retry-After %q, want %d", i, got.Code, got.Header().Get("Retry-After"), want)
			}
		}
		if got := ask(t, h, dial(1)); got.Code != 202 {
			t.Errorf("got %d for a call, want 202: %s", got.Code, got.Body)
		}
		first := sim.Conversations()[0]
		time.Sleep(time.Until(first.Ends))
		if got := ask(t, h, text("4")); got.Code != 200 {
			t.Errorf("got %d when a session was over, want 200", got.Code)
		}
		if r := sim.Report(); r.TextHighest != 2 || r.Full != 1 || r.Highest != 1 || r.Conversations != 4 {
			t.Errorf("got %+v, want 2 text sessions at most, 1 answer 429, 4 conversations", r)
		}
	})
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	sim, url := newAnyreachServer(t, simulator.AnyreachConfig{TooMany: 0.5, Seed: 6, RetryAfter: time.Second, Limit: 100, Global: 100})
	statuses := map[int]int{}
	for i := range 40 {
		got := book(t, url, dial(i))
		statuses[got.status]++
		if (got.status == 429) != (got.header.Get("Retry-After") == "1") {
			t.Errorf("got %d with Retry-After %q", got.status, got.header.Get("Retry-After"))
		}
	}
	r := sim.Report()
	if statuses[429] < 10 || statuses[202] < 10 || statuses[429]+statuses[202] != 40 {
		t.Errorf("got statuses %v, want 202 and 429 near to half each", statuses)
	}
	if r.Conversations != statuses[202] || r.Full != statuses[429] || r.Faults["too_many"] != statuses[429] || r.QueuedMost != 0 {
		t.Errorf("got %+v, want %v", r, statuses)
	}
}
