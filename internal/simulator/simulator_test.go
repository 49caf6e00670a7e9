package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema/openapitest"
)

const agent = "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7"

// newSimulator returns a simulator that answers as fast as it can, unless cfg says
// otherwise.
func newSimulator(t *testing.T, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	if cfg.Latency == 0 {
		cfg.Latency = 1
	}
	sim, err := simulator.New(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("new simulator: %v", err)
	}
	return sim
}

// hours is the scale of calls to which nothing happens while a test looks at them,
// however slow the machine is: nothing is dialled for eight minutes.
const hours = .001

// newServer serves a simulator on loopback. Its calls last, unless cfg says otherwise.
func newServer(t *testing.T, cfg simulator.Config) (*simulator.Simulator, string) {
	t.Helper()
	if cfg.Scale == 0 {
		cfg.Scale = hours
	}
	sim := newSimulator(t, cfg)
	api := openapitest.Load(t, "../../schema/oration.openapi.yaml").At("/api/v2").AnswersOnly().
		Except("/simulator/", "GET /api/v2/conversations", "/api/v2/jobs/")
	srv := httptest.NewServer(api.Handler(t, sim.Handler()))
	t.Cleanup(srv.Close)
	return sim, srv.URL
}

// phone returns an item for a number that depends on i.
func phone(i int) map[string]any {
	return map[string]any{
		"agentId": agent, "conversationType": "telephony",
		"toPhoneNumber":    fmt.Sprintf("+1415555%04d", i),
		"dynamicVariables": map[string]any{"weir_intent": fmt.Sprintf("intent-%d", i), "weir_attempt": "1"},
	}
}

// phones returns n items from number first on.
func phones(first, n int) []map[string]any {
	items := make([]map[string]any, n)
	for i := range items {
		items[i] = phone(first + i)
	}
	return items
}

// batch returns the body of a create request.
func batch(t *testing.T, items ...map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"conversations": items})
	if err != nil {
		t.Fatalf("encode batch: %v", err)
	}
	return b
}

// createRequest returns a create request with good credentials.
func createRequest(t *testing.T, url string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/v2/conversations", bytes.NewReader(body))
	if err != nil {
		t.Fatalf("new request: %v", err)
	}
	r.Header.Set("Authorization", "Bearer b")
	return r
}

// reply is an answer as the client saw it.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	readErr error // the body was not whole
}

// send sends a request on a connection of its own.
func send(r *http.Request) (reply, error) {
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: body, readErr: err}, nil
}

// post creates items and expects a whole answer.
func post(t *testing.T, url string, items ...map[string]any) reply {
	t.Helper()
	got, err := send(createRequest(t, url, batch(t, items...)))
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if got.readErr != nil {
		t.Fatalf("read create answer: %v", got.readErr)
	}
	return got
}

// get asks for a path and expects a whole answer.
func get(t *testing.T, url string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatalf("new request: %v", err)
	}
	r.Header.Set("Authorization", "Bearer b")
	got, err := send(r)
	if err != nil {
		t.Fatalf("get %s: %v", url, err)
	}
	if got.readErr != nil {
		t.Fatalf("read %s: %v", url, got.readErr)
	}
	return got
}

// created is a create answer in either shape.
type created struct {
	Message string `json:"message"`
	Results []struct {
		ID               string         `json:"id"`
		Status           string         `json:"conversationStatus"`
		DynamicVariables string         `json:"dynamicVariables"`
		Identifier       string         `json:"identifier"`
		Conversation     map[string]any `json:"conversation"`
		Token            map[string]any `json:"tokenResponse"`
	} `json:"results"`
	Errors []map[string]string `json:"errors"`
}

// decode reads a JSON body.
func decode[T any](t *testing.T, body []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("decode %q: %v", body, err)
	}
	return v
}

// ids returns the conversations that an answer names.
func (c created) ids() []string {
	var ids []string
	for _, r := range c.Results {
		if r.Conversation != nil {
			ids = append(ids, r.Conversation["id"].(string))
			continue
		}
		ids = append(ids, r.ID)
	}
	return ids
}

// texts returns the texts of an answer's errors.
func (c created) texts() []string {
	var texts []string
	for _, e := range c.Errors {
		texts = append(texts, e["error"])
	}
	return texts
}

func TestNewNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := simulator.New(zerolog.Nop(), simulator.Config{
		Limit: -1, Scale: math.NaN(), Shape: "round", Overflow: "never", Headers: "many", Success: 204,
		RetryAfter: -1, Latency: -1, Auth: simulator.Auth{Require: "neither"},
		Faults: simulator.Faults{Refuse503: 0.6, Reset: 0.6, Slow: 1.5, Shuffle: math.NaN(), HangFor: -1},
	})
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, want := range []string{
		"limit: -1", "scale: NaN", `shape: "round"`, `overflow: "never"`, `headers: "many"`, "success: 204",
		"retry_after:", "latency:", `auth.require: "neither"`, "faults.slow: 1.5", "faults.shuffle: NaN",
		"add up to 1.2", "must not be negative",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got error %q, want it to contain %q", err, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	sim, err := simulator.New(zerolog.Nop(), simulator.Config{})
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	want := simulator.Report{Limit: 20, Requests: map[string]int{}, Faults: map[string]int{}, Doubled: map[string]int{}}
	if diff := cmp.Diff(want, sim.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if got := sim.MaxCall(); got != 10*time.Minute {
		t.Errorf("got longest call %v, want 10m", got)
	}
}

// TestLengths checks the law of the lengths: 3 kinds in the shares, with the
// means and within the bounds that are promised.
func TestLengths(t *testing.T) {
	t.Parallel()
	const n = 10_000
	sim, url := newServer(t, simulator.Config{Limit: n, Seed: 4, Scale: 1})
	for first := 0; first < n; first += 1000 {
		if got := post(t, url, phones(first, 1000)...); got.status != 200 {
			t.Fatalf("got status %d, want 200: %s", got.status, got.body)
		}
	}
	var sum float64
	var ringing int
	for _, c := range sim.Conversations() {
		length := c.Ends.Sub(c.Created)
		if length < time.Second || length > 10*time.Minute {
			t.Fatalf("got length %v, want between 1s and 10m", length)
		}
		sum += length.Seconds()
		if length > 19*time.Second && length < 31*time.Second {
			ringing++
		}
	}
	// The deviation of one length is about 82 s, of the mean of 10,000 0.8 s.
	if mean := sum / n; math.Abs(mean-71.25) > 3 {
		t.Errorf("got mean length %.2f s, want 71.25 s", mean)
	}
	// 45 % within 3 deviations, and about 2 % of the answered ones fall in.
	if share := float64(ringing) / n; share < 0.44 || share > 0.50 {
		t.Errorf("got %.3f of the calls at the ringing length, want 0.44 to 0.50", share)
	}
}

func TestScaleShortensCalls(t *testing.T) {
	t.Parallel()
	slow, slowURL := newServer(t, simulator.Config{Seed: 9, Scale: 1})
	fast, fastURL := newServer(t, simulator.Config{Seed: 9, Scale: 100})
	post(t, slowURL, phones(0, 20)...)
	post(t, fastURL, phones(0, 20)...)
	if got := fast.MaxCall(); got != 6*time.Second {
		t.Errorf("got longest call %v, want 6s", got)
	}
	quick := fast.Conversations()
	for i, c := range slow.Conversations() {
		got, want := quick[i].Ends.Sub(quick[i].Created), c.Ends.Sub(c.Created)/100
		if diff := (got - want).Abs(); diff > time.Microsecond {
			t.Errorf("call %d: got length %v, want %v", i, got, want)
		}
	}
}

// serve answers a request without a socket, for use in a bubble.
func serve(t *testing.T, h http.Handler, method, path string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer b")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestLifeOfCalls follows calls from created to completed, and their slots.
func TestLifeOfCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sim := newSimulator(t, simulator.Config{Limit: 12, Seed: 1, Log: &log})
		h := sim.Handler()
		if got := serve(t, h, "POST", "/api/v2/conversations", batch(t, phones(0, 12)...)); got.Code != 200 {
			t.Fatalf("got status %d, want 200: %s", got.Code, got.Body)
		}
		seen := map[string][]string{}
		ends := map[string]int{}
		for live := 12; live > 0; time.Sleep(100 * time.Millisecond) {
			live = 0
			for _, c := range sim.Conversations() {
				path := seen[c.ID]
				if len(path) > 0 && path[len(path)-1] == "completed" {
					continue
				}
				w := serve(t, h, "GET", "/api/v2/conversations/"+c.ID, nil)
				d := decode[map[string]any](t, w.Body.Bytes())
				status := d["conversationStatus"].(string)
				if len(path) == 0 || path[len(path)-1] != status {
					seen[c.ID] = append(path, status)
				}
				over := !c.Ends.After(time.Now())
				if (status == "completed") != over {
					t.Fatalf("got status %s %v before the end", status, time.Until(c.Ends))
				}
				if over {
					ends[d["endReason"].(string)]++
					checkEnd(t, d)
					continue
				}
				live++
			}
			if got := sim.Report().Live; got != live {
				t.Fatalf("got %d live, want %d", got, live)
			}
		}
		for id, got := range seen {
			want := []string{"created", "dialing", "active", "completed"}
			if len(got) == 3 {
				want = []string{"created", "dialing", "completed"}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("states of %s (-want +got):\n%s", id, diff)
			}
		}
		if ends["user_did_not_answer"] == 0 || ends["user_hangup"] == 0 {
			t.Errorf("got ends %v, want answered and unanswered ones", ends)
		}
		checkLog(t, log.Bytes(), sim.Conversations())
	})
}

// checkEnd checks the fields of a completed call that tell whether a person
// answered.
func checkEnd(t *testing.T, d map[string]any) {
	t.Helper()
	unanswered := d["endReason"] == "user_did_not_answer"
	if (d["userJoinTime"] == nil) != unanswered || (d["telephonyStatus"] == nil) != unanswered {
		t.Errorf("got end reason %v with join time %v and telephony status %v, want null together",
			d["endReason"], d["userJoinTime"], d["telephonyStatus"])
	}
	if d["callStartTime"] == nil || d["callEndTime"] == nil {
		t.Errorf("got start %v and end %v of a completed call, want both", d["callStartTime"], d["callEndTime"])
	}
}

// logLine is a line of the proof log.
type logLine struct {
	V                        int
	At                       time.Time
	Event, Provider, Channel string
	ID, Intent               string
	ClientID                 string `json:"client_id"`
	Attempt                  int
	Number, Agent            string
	Hidden                   bool
	Fault                    string
}

// checkLog checks that a log proves just these conversations, all ended, in
// order of time.
func checkLog(t *testing.T, log []byte, all []simulator.Conversation) {
	t.Helper()
	want := map[string]int{}
	byID := map[string]simulator.Conversation{}
	for _, c := range all {
		want["made "+c.ID], want["ended "+c.ID] = 1, 1
		byID[c.ID] = c
	}
	got := map[string]int{}
	var last time.Time
	for line := range bytes.Lines(log) {
		l := decode[logLine](t, line)
		got[l.Event+" "+l.ID]++
		c := byID[l.ID]
		at := c.Created
		if l.Event == "ended" {
			at = c.Ends
		}
		wantLine := logLine{
			V: 1, At: at, Event: l.Event, Provider: c.Provider, Channel: c.Channel, ID: c.ID, ClientID: c.ClientID, Intent: c.Intent, Attempt: c.Attempt,
			Number: c.Number, Agent: c.Agent, Hidden: c.Hidden, Fault: c.Fault,
		}
		if diff := cmp.Diff(wantLine, l); diff != "" {
			t.Errorf("log line (-want +got):\n%s", diff)
		}
		if l.At.Before(last) {
			t.Errorf("got a line of %v after one of %v, want lines in order", l.At, last)
		}
		last = l.At
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// brokenWriter fails on every write.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestLogErrorIsReported(t *testing.T) {
	t.Parallel()
	sim, url := newServer(t, simulator.Config{Log: brokenWriter{}})
	post(t, url, phone(1))
	if got := sim.Report().LogError; got != io.ErrShortWrite.Error() {
		t.Errorf("got log error %q, want %q", got, io.ErrShortWrite)
	}
	if got := len(sim.Conversations()); got != 1 {
		t.Errorf("got %d conversations, want 1", got)
	}
}
