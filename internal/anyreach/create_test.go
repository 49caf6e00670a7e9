package anyreach_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
)

func allow() error { return nil }

// batch is one item on a channel.
func batch(t testing.TB, channel string) consumer.Batch {
	return consumer.Batch{Items: []consumer.Item{item(t, channel)}, Free: 1, Permit: allow}
}

// server answers with raw bytes what reaches it, each connection once.
type server struct {
	url string

	mu       sync.Mutex // guards what follows: written by connections, read by tests
	requests []*http.Request
	bodies   []string
}

// serve runs a server that answers the nth request with answers[n], and closes
// the connection.
func serve(t *testing.T, answers ...string) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	s := &server{url: "http://" + ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				s.answer(conn, answers)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return s
}

// answer reads one request and answers it.
func (s *server) answer(conn net.Conn, answers []string) {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	n := len(s.requests)
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(body))
	s.mu.Unlock()
	_, _ = io.WriteString(conn, answers[min(n, len(answers)-1)])
}

// all returns the requests so far, with their bodies.
func (s *server) all() ([]*http.Request, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.bodies
}

// raw is an answer at the level of bytes, whose connection ends with it.
func raw(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func TestCreateSendsGoldenRequest(t *testing.T) {
	t.Parallel()
	common := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/json"}, "User-Agent": {"weir"},
	}
	tests := []struct {
		name string
		cfg  anyreach.Config
		want map[string]string
	}{
		{"key", anyreach.Config{Token: "ak_1.x"}, map[string]string{"Authorization": "Bearer ak_1.x"}},
		{"personal token", anyreach.Config{Token: "pat_x", Organization: "org_1"}, map[string]string{"Authorization": "Bearer pat_x", "X-Anyreach-Org": "org_1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, raw(202, wrap(ours)))
			tt.cfg.URL = s.url + "/"
			c := client(t, tt.cfg)
			b := batch(t, "telephone")
			r, err := c.Prepare(call("custom_metadata", map[string]any{"weir_intent": "forged", "weir_attempt": "7", "name": "Ana"}))
			if err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			b.Items[0].Request = r
			a := c.Create(t.Context(), b)
			if got := shorthand(a.Results[0]); got != "created:ours" || a.Status != 202 || a.Header["Content-Length"] == nil || a.Results[0].Status != "triggered" {
				t.Errorf("got %q of %+v", got, a)
			}
			// The forged values are neither sent nor is the prepared request changed.
			if meta := r.Body.(anyreach.Request).CustomMetadata; len(meta) != 1 {
				t.Errorf("prepared metadata: got %v, want only the name", meta)
			}
			requests, bodies := s.all()
			if len(requests) != 1 || requests[0].Method+" "+requests[0].RequestURI != "POST /core/conversations" {
				t.Fatalf("got the requests %+v, want one POST", requests)
			}
			want := `{"id":"` + intent + `","channel":"telephone","user_id":"+14155550111","agent_id":"agent_1","agent_number":"+14155550199",` +
				`"custom_metadata":{"name":"Ana","weir_attempt":2,"weir_intent":"` + intent + `"}}`
			if diff := cmp.Diff(want, bodies[0]); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			header := common.Clone()
			header.Set("Content-Length", fmt.Sprint(len(want)))
			for k, v := range tt.want {
				header.Set(k, v)
			}
			if diff := cmp.Diff(header, requests[0].Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheSameItemGoesUnderTheSameID sends an item again after a doubt.
func TestTheSameItemGoesUnderTheSameID(t *testing.T) {
	t.Parallel()
	s := serve(t, "HTTP/1.1 202 X\r\nContent-Length: 99\r\n\r\n{", raw(200, wrap(ours)))
	c := client(t, anyreach.Config{URL: s.url})
	b := batch(t, "telephone")
	for i, want := range []string{"doubt", "created:ours"} {
		b.Items[0].Attempt = i + 1
		if got := shorthand(c.Create(t.Context(), b).Results[0]); got != want {
			t.Errorf("attempt %d: got %q, want %q", i+1, got, want)
		}
	}
	_, bodies := s.all()
	for i, body := range bodies {
		var sent struct {
			ID   string
			Meta struct {
				Attempt int `json:"weir_attempt"`
			} `json:"custom_metadata"`
		}
		if err := json.Unmarshal([]byte(body), &sent); err != nil || sent.ID != intent || sent.Meta.Attempt != i+1 {
			t.Errorf("attempt %d: sent %s", i+1, body)
		}
	}
	if len(bodies) != 2 {
		t.Errorf("got %d requests, want 2", len(bodies))
	}
}

// TestRawAnswers has answers at the level of bytes, after a request that was
// read to its end.
func TestRawAnswers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 202 Accepted\r\n"
	tests := []struct{ name, answer, want string }{
		{"no body", head + "Content-Length: 0\r\n\r\n", "created:ours"},
		{"until the end", head + "\r\n" + wrap(ours), "created:ours"},
		{"nothing until the end", head + "\r\n", "created:ours"},
		{"cut behind the conversation", head + "Content-Length: 9999\r\n\r\n" + wrap(ours), "created:ours"},
		{"cut within it", head + "Content-Length: 9999\r\n\r\n" + wrap(ours)[:40], "doubt"},
		{"cut before a byte", head + "Content-Length: 9999\r\n\r\n", "doubt"},
		{"last chunk missing", head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "doubt"},
		{"header cut", head, "doubt"},
		{"nothing", "", "doubt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.answer)
			a := client(t, anyreach.Config{URL: s.url}).Create(t.Context(), batch(t, "telephone"))
			if got := shorthand(a.Results[0]); got != tt.want {
				t.Errorf("got %q (%s), want %q", got, a.Results[0].Reason, tt.want)
			}
			if requests, _ := s.all(); len(requests) != 1 {
				t.Errorf("got %d requests, want 1", len(requests))
			}
		})
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	c := preparer(t)
	good := item(t, "text")
	with := func(change func(*consumer.Item)) []consumer.Item {
		it := good
		change(&it)
		return []consumer.Item{it}
	}
	for name, tt := range map[string]struct {
		items  []consumer.Item
		reason string
	}{
		"nothing":            {nil, ""},
		"two":                {[]consumer.Item{good, good}, "holds one conversation"},
		"another provider's": {with(func(it *consumer.Item) { it.Request.Body = "x" }), "not of this provider"},
		"no id":              {with(func(it *consumer.Item) { it.Intent = "" }), "the intent is no UUID"},
		"an id in braces":    {with(func(it *consumer.Item) { it.Intent = "{" + intent + "}" }), "the intent is no UUID"},
	} {
		a := c.Create(t.Context(), consumer.Batch{Items: tt.items, Permit: func() error { t.Error("Permit was asked"); return nil }})
		if len(a.Results) != len(tt.items) || a.Status != 0 || a.Done.Before(a.Began) {
			t.Errorf("%s: got %+v", name, a)
		}
		for _, r := range a.Results {
			if r.Verdict != consumer.VerdictUnsent || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: got %v with the reason %q, want unsent with %q", name, r.Verdict, r.Reason, tt.reason)
			}
		}
	}
	b := batch(t, "text")
	b.Permit = func() error { return errors.New("the claim is too old") }
	s := serve(t, raw(200, "{}"))
	a := client(t, anyreach.Config{URL: s.url}).Create(t.Context(), b)
	if r := a.Results[0]; r.Verdict != consumer.VerdictUnsent || !strings.Contains(r.Reason, "the claim is too old") {
		t.Errorf("got %v with the reason %q", r.Verdict, r.Reason)
	}
	if requests, _ := s.all(); len(requests) != 0 {
		t.Errorf("got %d requests, want none", len(requests))
	}
}

func TestRefusedStatusesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		refused []int
		want    string
	}{{[]int{503}, "unsent"}, {nil, "doubt"}} {
		s := serve(t, raw(503, `{"detail":"down"}`))
		c := client(t, anyreach.Config{URL: s.url, RefusedStatuses: tt.refused})
		if got := shorthand(c.Create(t.Context(), batch(t, "text")).Results[0]); got != tt.want {
			t.Errorf("refused_statuses %v: got %q, want %q", tt.refused, got, tt.want)
		}
	}
}

// TestAnotherIDIsLogged has a provider that gives ids of its own.
func TestAnotherIDIsLogged(t *testing.T) {
	t.Parallel()
	s := serve(t, raw(202, wrap(conv(another, number, ""))))
	var log bytes.Buffer
	c, err := anyreach.New(zerolog.New(&log), anyreach.Config{URL: s.url, Token: "ak_1.secret-token"})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	if a := c.Create(t.Context(), batch(t, "telephone")); a.Stop == "" || a.Results[0].Conversation != another {
		t.Errorf("got %+v, want the provider's id and Stop", a)
	}
	want := `{"level":"warn","intent":"` + intent + `","conversation":"` + another + `","message":"the provider gave the conversation an id of its own"}`
	if diff := cmp.Diff(want, strings.TrimSpace(log.String())); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestNothingPrivateIsRepeated has a provider that repeats, in every place, what
// it was sent and what it keeps of a conversation.
func TestNothingPrivateIsRepeated(t *testing.T) {
	t.Parallel()
	const token, organization = `pat_x3Wd/58"hTjR+m26<eB9`, "c61f7a0e-2d94-4b38-a5e7-90d3b8f1462c"
	quotedToken := strings.ReplaceAll(token, `"`, `\"`)
	private := `"starting_message":"Dear Ana Lima","summary":"She has debts","token":"opaque-join-token","url":"wss://join.example",` +
		`"initial_context":"A difficult person","user_id":"+14155550111","to_address":"ana.lima@example.com"`
	words := "the token " + quotedToken + " is not of " + organization + ", +14155550111 or ana.lima@example.com"
	answers := map[string]struct {
		status int
		body   string
	}{
		"detail":           {401, `{"detail":"` + words + `",` + private + `}`},
		"problems":         {422, `{"detail":[{"loc":["body","` + quotedToken + `"],"msg":"` + words + `","input":{` + private + `}}]}`},
		"a conversation":   {409, `{"detail":"` + words + `","conversation":{"id":"` + another + `",` + private + `}}`},
		"no words":         {500, `{` + private + `,"x":"` + quotedToken + `"}`},
		"torn":             {500, `{` + private + `,"x":"` + quotedToken + `"`},
		"a list":           {500, `[{` + private + `}]`},
		"success, foreign": {200, `{"conversation":{"id":"` + intent + `","channel":"email",` + private + `},` + private + `}`},
		"success, renamed": {200, `{"conversation":{"id":"` + quotedToken + `"},` + private + `}`},
		"success, torn":    {200, `{"error":"` + words + `",` + private},
		"a message":        {200, `{"message":"Dear Ana Lima","x":`},
		"a status":         {200, `{"id":"` + intent + `","channel":"text","status":"` + quotedToken + ` of ana.lima@example.com"}`},
		"no object":        {200, `[{` + private + `}`},
		"a title":          {404, `<html><title>` + strings.ReplaceAll(token, "<", "&lt;") + ` ana.lima@example.com</title>`},
		"text":             {400, `no ` + token + ` for +14155550111`},
		"at the cut":       {422, `{"detail":"` + strings.Repeat(" ", 16<<10-30) + words + `"}`},
		"a target":         {302, ""},
		"no HTTP":          {0, ""},
	}
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.status == 0 {
					if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
						fmt.Fprintf(conn, "%s +14155550111\r\n\r\n", token)
						conn.Close()
					}
					return
				}
				w.Header().Set("Location", "https://x.example/"+strings.ReplaceAll(token, `"`, "%22"))
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			var log bytes.Buffer
			c, err := anyreach.New(zerolog.New(&log), anyreach.Config{URL: srv.URL, Token: token, Organization: organization})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			defer c.Close()
			b := batch(t, "text")
			a := c.Create(t.Context(), b)
			a.Results[0].Session.Greeting = "" // for whoever asked, and for nobody else
			asked, err := c.Conversation(t.Context(), intent)
			_, listErr := c.Conversations(t.Context(), time.Time{})
			if a.Results[0].Verdict == consumer.VerdictCreated && name == "success, renamed" {
				t.Error("an id that repeats a credential was kept")
			}
			kept := fmt.Sprintf("%+v %q %q %q %v %v %s", a.Results, a.Stop, asked.Status, asked.Reason, err, listErr, log.String())
			for _, secret := range []string{"x3Wd", "hTjR", "m26", organization, "5550111", "ana.lima", "Dear", "debts", "opaque", "wss:", "difficult"} {
				if strings.Contains(kept, secret) {
					t.Errorf("%q is in %s", secret, kept)
				}
			}
		})
	}
}

func TestJoinHoldsNoCredentialOfOurs(t *testing.T) {
	t.Parallel()
	s := serve(t, raw(200, `{"conversation":{"id":"`+intent+`"},"token":"eyJ","echo":"Bearer ak_1.secret-token"}`))
	a := client(t, anyreach.Config{URL: s.url}).Create(t.Context(), batch(t, "webrtc"))
	if got, want := a.Results[0].Session.Join.Reveal(), `{"echo":"Bearer [redacted]","token":"eyJ"}`; got != want {
		t.Errorf("join: got %s, want %s", got, want)
	}
	if s := fmt.Sprintf("%+v", a); strings.Contains(s, "eyJ") {
		t.Errorf("the token is in %s", s)
	}
}
