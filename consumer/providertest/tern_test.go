package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/consumer/providertest"
	"github.com/weirhq/weir/consumer/wire"
	"github.com/weirhq/weir/schema"
)

// Client is one account at Tern. Its methods may be called concurrently.
type Client struct {
	wire    *wire.Client
	refused []int
}

// New returns a client; token goes into the Authorization header.
func New(cfg wire.Config, token schema.Secret, refused []int) (*Client, error) {
	cfg.Credentials = []wire.Credential{{Setting: "auth.token", Header: "Authorization", Prefix: "Bearer ", Value: token}}
	w, err := wire.New(cfg)
	if err := errors.Join(err, wire.CheckRefused(refused)); err != nil {
		return nil, err
	}
	return &Client{wire: w, refused: refused}, nil
}

// Close ends the idle connections.
func (c *Client) Close() { c.wire.Close() }

// Request is the body of POST /calls. Weir sets Ref and Attempt.
type Request struct {
	To      string `json:"to"`
	Ref     string `json:"ref"`
	Attempt int    `json:"attempt"`
}

var e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// Prepare implements [consumer.Provider].
func (c *Client) Prepare(request map[string]any) (consumer.Request, error) {
	for name := range request {
		if name != "to" {
			return consumer.Request{}, refuse(wire.Bounded(schema.Mask(name), 64), "is not a field of a Tern call")
		}
	}
	to, _ := request["to"].(string)
	if !e164.MatchString(to) {
		return consumer.Request{}, refuse("to", "must be a telephone number such as +14155550123")
	}
	return consumer.Request{Pair: to, To: consumer.Recipient{Channel: "call", Number: to, Field: "to"}, Body: Request{To: to}}, nil
}

func (c *Client) Dials(map[string]any) string { return "to" }

func refuse(field, what string) error {
	return &schema.Refusal{Class: schema.ClassRequest, Field: field, Reason: field + " " + what + "."}
}

const maxBody = 1 << 20 // bytes of an answer

// Create implements [consumer.Provider].
func (c *Client) Create(ctx context.Context, b consumer.Batch) consumer.Answer {
	began := time.Now()
	if len(b.Items) == 0 {
		return consumer.Answer{Began: began, Done: time.Now()}
	}
	a := Classify(c.send(ctx, b), c.refused, c.wire.Censor())
	a.Results = slices.Repeat(a.Results, len(b.Items))
	a.Began, a.Done = began, time.Now()
	return a
}

// send posts the only item of a batch.
func (c *Client) send(ctx context.Context, b consumer.Batch) wire.Exchange {
	body, err := encode(b.Items)
	if err != nil {
		return wire.Exchange{Err: err}
	}
	return c.wire.Post(ctx, "/calls", body, b.Permit, maxBody)
}

// Preview implements [consumer.Previewer].
func (c *Client) Preview(items []consumer.Item) (consumer.Preview, error) {
	body, err := encode(items)
	return c.wire.Preview("/calls", body), err
}

// encode returns the body of a create with one call, with Weir's marks.
func encode(items []consumer.Item) ([]byte, error) {
	r, ok := items[0].Request.Body.(Request)
	if !ok || len(items) != 1 {
		return nil, fmt.Errorf("a create holds one call: got %d, the first a %T", len(items), items[0].Request.Body)
	}
	r.Ref, r.Attempt = items[0].Intent, items[0].Attempt
	return json.Marshal(r)
}

// Classify says what an exchange means for its item. It is pure.
func Classify(x wire.Exchange, refused []int, c wire.Censor) consumer.Answer {
	page := !json.Valid(x.Body)
	torn := page && strings.ContainsAny(wire.Cut(string(x.Body), 1), "{[")
	whole := x.Complete && c.Coding(x.Header) == "" && !torn
	call := wire.AsObject(wire.AsObject(x.Body)["call"])
	a := consumer.Answer{Status: x.Status, Header: x.Header, Full: x.Status == http.StatusTooManyRequests}
	r := consumer.Result{Verdict: consumer.VerdictDoubt, Reason: c.Said(x.Body)}
	if x.Err != nil {
		r.Reason = c.Failure(x.Err)
	}
	switch id := wire.UsableID(call.Text("id")); {
	case id != "": // before any status (H1)
		r = consumer.Result{Verdict: consumer.VerdictCreated, Conversation: id, Status: c.Words(call.Text("state"))}
	case !x.Written || slices.Contains(refused, x.Status):
		r.Verdict = consumer.VerdictUnsent
	case x.Status == http.StatusUnauthorized || x.Status == http.StatusForbidden:
		r.Verdict = consumer.VerdictUnauthorized
	case x.Status/100 == 3 || whole && page && (x.Status == http.StatusNotFound || x.Status == http.StatusMethodNotAllowed):
		a.Stop = fmt.Sprintf("status %d%s: the url of this account is wrong", x.Status, x.Target(c))
		if wire.Redirect(x.Status) || x.Status/100 == 4 {
			r.Verdict = consumer.VerdictUnsent
		}
	case whole && a.Full:
		r.Verdict = consumer.VerdictFull
	case whole && x.Status/100 == 4 && !wire.Ambiguous(x.Status):
		r.Verdict = consumer.VerdictRejected
	}
	r.Reason = wire.Bounded(r.Reason, wire.MaxWords)
	a.Results = []consumer.Result{r}
	return a
}

// Conversation implements [consumer.Provider].
func (c *Client) Conversation(ctx context.Context, id string) (consumer.Conversation, error) {
	if wire.UsableID(id) == "" {
		return consumer.Conversation{}, errors.New("the id cannot be asked for")
	}
	x := c.wire.Get(ctx, "/calls/"+url.PathEscape(id), maxBody)
	none := consumer.Conversation{Header: x.Header}
	body, err := c.wire.Answer(x)
	if err != nil {
		return none, err
	}
	call := wire.AsObject(wire.AsObject(body)["call"])
	if call.Text("id") != id {
		return none, errors.New("the answer is about another call")
	}
	censor := c.wire.Censor()
	conv := consumer.Conversation{ID: id, Header: x.Header, Status: censor.Words(call.Text("state")), Reason: censor.Words(call.Text("why")), Intent: call.Text("ref")}
	if call.Text("state") == "over" { // a state that nobody knows is no end
		conv.Ended, conv.Result = true, "completed"
	}
	return conv, nil
}

func TestTern(t *testing.T) { providertest.Run(t, tern) }

const ternToken = `t9Rk/04"vQzN+b73<cW6`

var tern = providertest.Harness{
	New: func(t *testing.T, cfg providertest.Config) providertest.Client {
		c, err := New(wire.Config{URL: cfg.URL, Timeout: cfg.Timeout, RootCAs: cfg.RootCAs}, ternToken, cfg.RefusedStatuses)
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		return c
	},
	Secrets:  []string{ternToken},
	Requests: []map[string]any{{"to": "+14155550101"}, {"to": "+14155550102"}, {"to": "+14155550103"}},
	Bad:      map[string]map[string]any{"to": {"to": "(415) 555-0101"}},
	Forged:   []map[string]any{{"to": "+14155550101", "ref": "forged"}},
	Most:     1,
	Sent: func(body []byte) []providertest.Sent {
		var r Request
		_ = json.Unmarshal(body, &r)
		return []providertest.Sent{{Intent: r.Ref, Attempt: r.Attempt}}
	},
	Created: func(made []providertest.Made) string {
		return fmt.Sprintf(`{"call":{"id":%q,"state":"new","ref":%q}}`, made[0].ID, made[0].Intent)
	},
	Error: func(words string) string {
		b, _ := json.Marshal(map[string]string{"error": words})
		return string(b)
	},
	Conversation: func(id string, ended bool, words string) string {
		state := map[bool]string{true: "over", false: "live"}[ended]
		b, _ := json.Marshal(map[string]any{"call": map[string]string{"id": id, "state": state, "why": words}})
		return string(b)
	},
}
