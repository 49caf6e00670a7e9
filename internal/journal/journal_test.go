package journal_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/journal"
	"github.com/weirhq/weir/ratelimiter"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func subject() consumer.Subject {
	return consumer.Subject{
		Lane: "sales", Account: "acme", Provider: "oration", Intent: "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7",
		EventSource: "mailto:ana@example.com", EventID: "+14155550123", EventType: "lead.created", Channel: "telephony", Born: at,
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func attempt() consumer.Attempted {
	return consumer.Attempted{
		Subject: subject(), Claim: 2, By: "ana", Fetched: at, Claimed: at.Add(time.Second), Queued: 3 * time.Second,
		Answered: &consumer.Answered{
			Began: at.Add(time.Second), Sent: at.Add(2 * time.Second), Done: at.Add(4 * time.Second), Status: 429,
			Items: make([]consumer.Sent, 2), Refused: ratelimiter.Unexplained,
		},
		Waits:   []consumer.Waited{{Cause: "full", For: time.Second}, {Cause: "queue", For: 2 * time.Second}, {Cause: "full", For: 500 * time.Millisecond}},
		Verdict: consumer.VerdictFull, Reason: "no slot for +1 415 555 0123", Doubtful: 1, Conversation: "c", State: consumer.Waiting, Cause: "full", Until: at.Add(time.Hour),
	}
}

// line is what a record becomes, at the level debug.
func line(t *testing.T, tell func(*journal.Journal)) map[string]any {
	t.Helper()
	var b bytes.Buffer
	tell(journal.New(zerolog.New(&b), nil))
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("got %q, want one line of JSON: %v", b.String(), err)
	}
	return got
}

func TestTheWideLine(t *testing.T) {
	t.Parallel()
	got := line(t, func(j *journal.Journal) { j.Attempted(attempt()) })
	want := `{"account":"acme","answer_seconds":2,"attempt":2,"by":"ana","cause":"full","channel":"telephony","conversation":"c","doubtful":1,` +
		`"event_id":"…23","event_source":"mailto:…@example.com","event_type":"lead.created","intent":"0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7","items":2,"lane":"sales","level":"warn",` +
		`"message":"attempt","prepared_seconds":1,"queued_seconds":3,"reason":"no slot for …23","refused":"unexplained","request_seconds":3,"state":"waiting","status":429,` +
		`"trace_id":"0af7651916cd43dd8448eb211c80319c","until":"2026-11-21T13:00:00Z","verdict":"full","waits_seconds":{"full":1.5,"queue":2}}`
	text, err := json.Marshal(got)
	if err != nil || string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestLevelsOfAttempts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit func(a *consumer.Attempted)
		want string
	}{
		"created":       {func(a *consumer.Attempted) { a.Verdict, a.State = consumer.VerdictCreated, consumer.Created }, "info"},
		"full":          {func(*consumer.Attempted) {}, "info"},
		"rejected":      {func(a *consumer.Attempted) { a.Verdict, a.State = consumer.VerdictRejected, consumer.Dead }, "info"},
		"unexplained":   {func(a *consumer.Attempted) { a.Answered.Refused = ratelimiter.Unexplained }, "warn"},
		"doubt":         {func(a *consumer.Attempted) { a.Verdict, a.State = consumer.VerdictDoubt, consumer.Doubt }, "warn"},
		"unauthorized":  {func(a *consumer.Attempted) { a.Verdict = consumer.VerdictUnauthorized }, "warn"},
		"not reached":   {func(a *consumer.Attempted) { a.Verdict = consumer.VerdictUnsent }, "warn"},
		"not permitted": {func(a *consumer.Attempted) { a.Verdict, a.Answered.Barred = consumer.VerdictUnsent, true }, "info"},
		"not stored":    {func(a *consumer.Attempted) { a.Verdict, a.State = consumer.VerdictCreated, consumer.Started }, "warn"},
	} {
		a := attempt()
		a.Answered.Refused = ratelimiter.Explained
		tc.edit(&a)
		if got := line(t, func(j *journal.Journal) { j.Attempted(a) }); got["level"] != tc.want {
			t.Errorf("%s: got level %v, want %s", name, got["level"], tc.want)
		}
	}
}

// The page has each message and each field, and no others.
func TestTheLogsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	fields, messages := make(map[string]bool), make(map[string]bool)
	note := func(got map[string]any) {
		for name := range got {
			fields[name] = name != "level" && name != "message"
		}
		messages[got["message"].(string)] = true
	}
	note(line(t, func(j *journal.Journal) { j.Attempted(attempt()) }))
	for _, kind := range consumer.StepKinds() {
		for _, edit := range []func(*consumer.Turned){
			func(*consumer.Turned) {}, func(c *consumer.Turned) { c.Attempt = true }, func(c *consumer.Turned) { c.Second = true },
			func(c *consumer.Turned) { c.Cause = consumer.CausePerson },
		} {
			c := consumer.Turned{
				Subject: subject(), Kind: kind, To: consumer.Waiting, Claim: 1, Cause: "window", Rule: "window", Reason: "r", By: "ana", Until: at,
				Conversation: "c", Result: "completed", Talked: time.Second,
			}
			edit(&c)
			note(line(t, func(j *journal.Journal) { j.Turned(c) }))
		}
	}
	described := make(map[string]bool)
	for row := range strings.Lines(string(page)) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_ ]+)`").FindAllStringSubmatch(cells[1], -1) {
			described[m[1]] = true
		}
	}
	for name, there := range fields {
		if there && !described[name] && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/logs.md does not tell of the field %s", name)
		}
	}
	for message := range messages {
		if !described[message] && message != "attempt" {
			t.Errorf("docs/logs.md does not tell of the message %q", message)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if !fields[name] && !messages[name] {
			t.Errorf("docs/logs.md tells of %q, which no line has", name)
		}
	}
}
