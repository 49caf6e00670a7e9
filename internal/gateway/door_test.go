package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// message is what a queue was given.
type message struct {
	lane, id string
	header   map[string][]string
	body     string
}

// queue is a broker in memory. Like the real one it has a message once.
type queue struct {
	fail func(ev event.Event) error // before anything is stored; nil: never

	mu       sync.Mutex
	messages []message
}

func (q *queue) Publish(_ context.Context, lane string, ev event.Event, header map[string][]string, body []byte) (uint64, bool, error) {
	if q.fail != nil {
		if err := q.fail(ev); err != nil {
			return 0, false, err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	id := consumer.Key(lane, ev.Source(), ev.ID()) + schema.Digest(ev)
	for i, m := range q.messages {
		if m.id == id {
			return uint64(i + 1), true, nil
		}
	}
	q.messages = append(q.messages, message{lane, id, header, string(body)})
	return uint64(len(q.messages)), false, nil
}

func (q *queue) Queued(_ context.Context, lane, intent string, sequence uint64) (gateway.Queued, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := int(sequence) - 1; i < len(q.messages) && q.messages[i].lane == lane && strings.HasPrefix(q.messages[i].id, intent) {
		ev, err := schema.Decode(q.messages[i].header, []byte(q.messages[i].body), 0)
		return gateway.Queued{Since: time.Unix(1_800_000_000, 0).UTC(), Source: ev.Source(), ID: ev.ID()}, err
	}
	return gateway.Queued{}, consumer.ErrGone
}

func (q *queue) taken() []message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]message(nil), q.messages...)
}

// ledger is a ledger in memory, by lane and key.
type ledger map[string]consumer.Intent

func (l ledger) Load(_ context.Context, lane, key string) (consumer.Intent, uint64, error) {
	if key == broken {
		return consumer.Intent{}, 0, errors.New("the ledger is away: +14155550123")
	}
	return l[lane+"."+key], 1, nil
}

const (
	crmToken  = "0123456789abcdef-crm"
	shopToken = "0123456789abcdef-shop"
	broken    = "00000000-0000-4000-8000-000000000000"
)

func routes(t testing.TB, types ...string) *schema.Routes {
	t.Helper()
	var sources []schema.RouteSource
	for _, name := range types {
		sources = append(sources, schema.RouteSource{Type: name, When: "false", Request: map[string]any{"to": "${ data.phone }"}})
	}
	r, err := schema.CompileRoutes(sources)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tokens are always the same.
func tokens(all ...schema.Secret) func() ([]schema.Secret, error) {
	return func() ([]schema.Secret, error) { return all, nil }
}

// doorOf is a door with three lanes: the publisher crm may feed two, shop one.
func doorOf(t testing.TB, q *queue, l ledger) gateway.Door {
	t.Helper()
	return gateway.Door{
		Publishers: []gateway.Publisher{
			{Name: "crm", Tokens: tokens(crmToken), Lanes: []string{"sales", "care"}, Rate: 1000, Origins: []string{"eventgrid.azure.net"}},
			{Name: "shop", Tokens: tokens(shopToken, shopToken+"-new"), Lanes: []string{"shop"}, Rate: 1},
		},
		Lanes: map[string]gateway.Lane{
			"sales": {MaxEvent: 2000, Routes: routes(t, "lead.created", "note.*")},
			"care":  {MaxEvent: 1000, Routes: routes(t, "lead.created")},
			"shop":  {MaxEvent: 2000, Routes: routes(t, "lead.created")},
		},
		Catalog: schema.NewCatalog(), Queue: q, Ledger: l,
	}
}

// open serves the door.
func open(t *testing.T, q *queue, l ledger) (url string) {
	t.Helper()
	srv := httptest.NewServer(gateway.New(zerolog.Nop(), nil, gateway.Config{Door: doorOf(t, q, l)}).Handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string

	Type, Title, Detail, Class, Pointer string
	Status                              int
	Lane, Intent, Location              string
	Duplicate                           bool
	Events                              []answer
	Index                               *int
}

// ask sends a request with the token of crm, unless the headers have another.
func ask(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+crmToken)
	for i := 0; i+1 < len(header); i += 2 {
		if strings.EqualFold(header[i], "Authorization") {
			req.Header.Del("Authorization")
		}
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] != "" {
			req.Header.Add(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if len(b) > 0 && json.Unmarshal(b, &a) != nil {
		t.Fatalf("got %d %s, want JSON", a.status, b)
	}
	return a
}

// isRefusal checks that an answer is a problem document, with what it must have.
func (a answer) isRefusal(t *testing.T, status int) {
	t.Helper()
	if a.status != status || a.Status != status || a.Title == "" || len(strings.Fields(a.Detail)) < 3 || a.Type != "about:blank" || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s, want a problem document of status %d", a.status, a.body, status)
	}
	if retry := a.header.Get("Retry-After"); (retry != "") != (status == 429 || status == 503) {
		t.Errorf("status %d: got Retry-After %q", status, retry)
	}
}

// ev is a good event with some more, or other, members.
func ev(id string, more ...string) string {
	members := map[string]json.RawMessage{
		"specversion": []byte(`"1.0"`), "id": fmt.Appendf(nil, "%q", id), "source": []byte(`"/crm"`), "type": []byte(`"lead.created"`),
		"data": []byte(`{"id":"7","phone":"+14155550123"}`),
	}
	for i := 0; i+1 < len(more); i += 2 {
		if members[more[i]] = []byte(more[i+1]); more[i+1] == "" {
			delete(members, more[i])
		}
	}
	b, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(b)
}

const structured = "application/cloudevents+json"

func TestRefusals(t *testing.T) {
	t.Parallel()
	large := fmt.Sprintf(`{"id":"7","company":%q}`, strings.Repeat("x", 1100))
	for name, tc := range map[string]struct {
		path   string // default /events/sales
		method string // default POST
		body   string
		header []string // after a Content-Type of structured
		status int
		class  string
		at     string // pointer
		says   string
	}{
		"no token":              {header: []string{"Authorization", ""}, body: ev("1"), status: 401, says: "Send Authorization: Bearer"},
		"another scheme":        {header: []string{"Authorization", "Basic " + crmToken}, body: ev("1"), status: 401},
		"a wrong token":         {header: []string{"Authorization", "Bearer " + crmToken + "x"}, body: ev("1"), status: 401, says: "not known"},
		"two tokens":            {header: []string{"Authorization", "Bearer " + crmToken, "Authorization", "Bearer " + shopToken}, body: ev("1"), status: 401},
		"a token in the path":   {path: "/events/sales?access_token=" + crmToken, body: ev("1"), status: 401, says: "into logs"},
		"another's lane":        {path: "/events/shop", body: ev("1"), status: 404, says: "no lane of this name"},
		"no such lane":          {path: "/events/nosuch", body: ev("1"), status: 404, says: "no lane of this name"},
		"a lane in capitals":    {path: "/events/SALES", body: ev("1"), status: 404},
		"below a lane":          {path: "/events/sales/1", body: ev("1"), status: 404},
		"another method":        {method: "PUT", body: ev("1"), status: 405},
		"delete without a name": {method: "DELETE", status: 404},
		"no lane":               {path: "/events", body: ev("1"), status: 422, class: "lane", says: "/events/<lane>"},
		"weirlane of another":   {path: "/events", body: ev("1", "weirlane", `"shop"`), status: 422, class: "lane", at: "/weirlane"},
		"compressed":            {header: []string{"Content-Encoding", "gzip"}, body: ev("1"), status: 415, says: "Content-Encoding"},
		"compressed twice":      {header: []string{"Content-Encoding", "identity", "Content-Encoding", "br"}, body: ev("1"), status: 415},
		"a form":                {header: []string{"Content-Type", "application/x-www-form-urlencoded"}, body: ev("1"), status: 415, says: structured},
		"another format":        {header: []string{"Content-Type", "application/cloudevents+avro"}, body: ev("1"), status: 415},
		"another batch format":  {header: []string{"Content-Type", "application/cloudevents-batch+avro"}, body: ev("1"), status: 415},
		"another charset":       {header: []string{"Content-Type", structured + "; charset=latin1"}, body: ev("1"), status: 415, says: "UTF-8"},
		"no media type":         {header: []string{"Content-Type", "a/b/c; ="}, body: ev("1"), status: 415},
		"two types":             {header: []string{"Content-Type", structured, "Content-Type", structured}, body: ev("1"), status: 400, says: "content-type is there 2 times"},
		"a header twice":        {header: []string{"Ce-Id", "1", "ce-id", "1"}, body: ev("1"), status: 400, says: "ce-id is there 2 times"},
		"too large":             {path: "/events/care", body: ev("1", "data", large), status: 413, class: "too_large", says: "1000 bytes"},
		"too large, weirlane":   {path: "/events", body: ev("1", "data", large, "weirlane", `"care"`), status: 413, class: "too_large", says: "lane care takes 1000"},
		"far too large":         {path: "/events", body: strings.Repeat("x", 5000), status: 413, class: "too_large"},
		"empty":                 {status: 400, class: "undecodable", says: "ends too early"},
		"cut":                   {body: ev("1")[:40], status: 400, class: "undecodable", says: "ends too early"},
		"no JSON":               {body: `{"specversion":"1.0",}`, status: 400, class: "undecodable", says: "not JSON from byte"},
		"more than JSON":        {body: ev("1") + "{}", status: 400, class: "undecodable", says: "something follows"},
		"a member twice":        {body: `{"specversion":"1.0","id":"1","id":"2"}`, status: 400, class: "undecodable", says: `"id" is there twice`},
		"no object":             {body: `"x"`, status: 400, class: "undecodable"},
		"a list":                {body: "[" + ev("1") + "]", status: 400, class: "undecodable", says: "application/cloudevents-batch+json"},
		"version 0.3":           {body: ev("1", "specversion", `"0.3"`), status: 400, class: "version", at: "/specversion", says: "send version 1.0"},
		"version 1":             {body: ev("1", "specversion", "1"), status: 400, class: "version", at: "/specversion"},
		"no version":            {body: ev("1", "specversion", ""), status: 400, class: "undecodable", at: "/specversion"},
		"no id":                 {body: ev("1", "id", ""), status: 400, class: "undecodable", at: "/id", says: "no id"},
		"an empty source":       {body: ev("1", "source", `""`), status: 400, class: "undecodable", at: "/source"},
		"a bad time":            {body: ev("1", "time", `"today"`), status: 400, class: "undecodable", at: "/time"},
		"no time to begin":      {body: ev("1", "notbefore", `"today"`), status: 400, class: "undecodable", at: "/notbefore"},
		"no time to end":        {body: ev("1", "expirytime", `7`), status: 400, class: "undecodable", at: "/expirytime"},
		"an attribute name":     {body: ev("1", "MyName", `"x"`), status: 400, class: "undecodable", at: "/MyName"},
		"a long attribute":      {body: ev("1", "subject", `"`+strings.Repeat("x", 5000)+`"`), path: "/events/sales", status: 413, class: "too_large"},
		"our own source":        {body: ev("1", "source", `"/weir/sales"`), status: 422, class: "source", at: "/source", says: "/weir/"},
		"data and data_base64":  {body: ev("1", "data_base64", `"eA=="`), status: 400, class: "undecodable", at: "/data"},
		"no data":               {body: ev("1", "data", ""), status: 422, class: "data", at: "/data", says: "data is missing"},
		"data without id":       {body: ev("1", "data", `{"phone":"+14155550123"}`), status: 422, class: "data", at: "/data/id", says: "has no id"},
		"data of another type":  {body: ev("1", "data", `{"id":"7","phone":["+14155550123"]}`), status: 422, class: "data", at: "/data/phone"},
		"data in text":          {body: ev("1", "datacontenttype", `"text/plain"`, "data", `"x"`), status: 422, class: "data", at: "/data"},
		"a type without route":  {body: ev("1", "type", `"lead.deleted"`), status: 422, class: "no_route", at: "/type", says: `"lead.deleted"`},
		"no event":              {header: []string{"Content-Type", "application/json"}, body: `{"id":"7"}`, status: 400, class: "undecodable", says: "not a CloudEvent"},
		"binary, no version":    {header: []string{"Content-Type", "application/json", "Ce-Id", "1"}, body: `{"id":"7"}`, status: 400, class: "undecodable", says: "ce-specversion is missing"},
		"binary, no type":       {header: []string{"Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/crm"}, body: `{"id":"7"}`, status: 400, class: "undecodable", at: "/type"},
		"binary, no UTF-8":      {header: binaryOf("Ce-Subject", "%FF"), body: `{"id":"7"}`, status: 400, class: "undecodable", at: "/subject"},
		"binary, a line break":  {header: binaryOf("Ce-Subject", "%0A"), body: `{"id":"7"}`, status: 400, class: "undecodable", at: "/subject"},
		"binary, a bad name":    {header: binaryOf("Ce-My_Name", "x"), body: `{"id":"7"}`, status: 400, class: "undecodable"},
		"binary, bad data":      {header: binaryOf(), body: `{"id":`, status: 400, class: "undecodable", at: "/data", says: "ends too early"},
		"binary, too large":     {header: binaryOf(), body: fmt.Sprintf(`{"id":"7","company":%q}`, strings.Repeat("x", 2000)), status: 413, class: "too_large"},
		"binary, 0.3":           {header: binaryOf("Ce-Specversion", "0.3")[2:], body: `{"id":"7"}`, status: 400},
		"a batch of no JSON":    {header: inBatch, body: "[" + ev("1") + ",", status: 400, class: "undecodable", says: "ends too early"},
		"a batch with a fault":  {header: inBatch, body: `[{"a":1},{"b"]`, status: 400, class: "undecodable", says: "not JSON from byte 14 on"},
		"a batch and more":      {header: inBatch, body: "[] []", status: 400, class: "undecodable", says: "not JSON from byte 4 on"},
		"a batch with a mark":   {header: inBatch, body: "\uFEFF[] []", status: 400, class: "undecodable", says: "not JSON from byte 7 on"},
		"a batch of one object": {header: inBatch, body: ev("1"), status: 400, class: "undecodable", says: "JSON array"},
		"a batch of too many":   {header: inBatch, body: "[" + strings.Repeat("1,", 1000) + "1]", status: 413, class: "too_large", says: "1000 events"},
		"a batch too long":      {header: inBatch, body: strings.Repeat(" ", 4<<20) + "[]", status: 413, class: "too_large"},
		"an unknown intent":     {method: "GET", path: "/events/" + consumer.Key("sales", "/crm", "1"), status: 404, says: "No lane of this token knows"},
		"no intent":             {method: "GET", path: "/events/sales", status: 404},
		"an unknown event":      {method: "GET", path: "/events?source=/crm&id=1", status: 404},
		"another's event":       {method: "GET", path: "/events?source=/crm&id=1&lane=shop", status: 404},
		"half a question":       {method: "GET", path: "/events?source=/crm", status: 400, says: "source= and id="},
		"a bad question":        {method: "GET", path: "/events?id=1&source=/crm%0A", status: 400, at: "/source"},
		"the ledger is away":    {method: "GET", path: "/events/" + broken, status: 503, says: "ask again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &queue{}
			header := tc.header
			if !strings.Contains(strings.Join(header, "\n"), "Content-Type") {
				header = append([]string{"Content-Type", structured}, header...)
			}
			if tc.path == "" {
				tc.path = "/events/sales"
			}
			if tc.method == "" {
				tc.method = "POST"
			}
			a := ask(t, tc.method, open(t, q, nil)+tc.path, tc.body, header...)
			a.isRefusal(t, tc.status)
			if a.Class != tc.class && tc.class != "" || a.Pointer != tc.at && tc.at != "" || !strings.Contains(a.Detail, tc.says) {
				t.Errorf("got class %q at %q: %s; want %q at %q with %q", a.Class, a.Pointer, a.Detail, tc.class, tc.at, tc.says)
			}
			if got := q.taken(); len(got) > 0 {
				t.Errorf("refused and published: %v", got)
			}
			if strings.Contains(a.body, "5550123") || strings.Contains(a.body, "0123456789abcdef") {
				t.Errorf("the answer tells too much: %s", a.body)
			}
			if (a.header.Get("WWW-Authenticate") != "") != (tc.status == 401) || (a.header.Get("Allow") != "") != (tc.status == 405) {
				t.Errorf("got WWW-Authenticate %q and Allow %q with %d", a.header.Get("WWW-Authenticate"), a.header.Get("Allow"), tc.status)
			}
		})
	}
}

// inBatch are the headers of a batch.
var inBatch = []string{"Content-Type", "application/cloudevents-batch+json"}

// binaryOf are the headers of an event in binary mode, and more.
func binaryOf(more ...string) []string {
	return append([]string{
		"Ce-Specversion", "1.0", "Content-Type", "application/json", "Ce-Id", "1", "Ce-Source", "/crm", "Ce-Type", "lead.created",
	}, more...)
}

// What is published is what the lane will read as the same event, in every mode.
func TestTaken(t *testing.T) {
	t.Parallel()
	const data = `{"id":"7","phone":"+14155550123"}`
	for name, tc := range map[string]struct {
		path   string
		header []string
		body   string
		lane   string
		check  func(e event.Event) bool
	}{
		"structured":          {"/events/sales", []string{"Content-Type", structured + "; charset=UTF-8"}, ev("1"), "sales", nil},
		"as JSON":             {"/events/sales", []string{"Content-Type", "application/json"}, ev("1"), "sales", nil},
		"without a type":      {"/events/sales", nil, ev("1"), "sales", nil},
		"stray attributes":    {"/events/sales", []string{"Content-Type", structured, "Ce-Id", "2"}, ev("1"), "sales", nil},
		"the path wins":       {"/events/sales", []string{"Content-Type", structured}, ev("1", "weirlane", `"care"`), "sales", nil},
		"weirlane":            {"/events", []string{"Content-Type", structured}, ev("1", "weirlane", `"care"`), "care", nil},
		"the only lane":       {"/events", []string{"Content-Type", structured, "Authorization", "bearer " + shopToken + "-new"}, ev("1"), "shop", nil},
		"binary":              {"/events/sales", binaryOf(), data, "sales", nil},
		"binary, percent":     {"/events/sales", binaryOf("Ce-Subject", "caf%C3%A9%20%25"), data, "sales", func(e event.Event) bool { return e.Subject() == "café %" }},
		"binary, quoted":      {"/events/sales", binaryOf("Ce-Subject", `"a b"`), data, "sales", func(e event.Event) bool { return e.Subject() == "a b" }},
		"binary, raw UTF-8":   {"/events/sales", binaryOf("Ce-Subject", "café"), data, "sales", func(e event.Event) bool { return e.Subject() == "café" }},
		"binary, weirlane":    {"/events", binaryOf("Ce-Weirlane", "care"), data, "care", nil},
		"a pattern":           {"/events/sales", []string{"Content-Type", structured}, ev("1", "type", `"note.made"`, "data", `"x"`), "sales", nil},
		"a condition is none": {"/events/care", []string{"Content-Type", structured}, ev("1"), "care", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &queue{}
			url := open(t, q, nil)
			a := ask(t, "POST", url+tc.path, tc.body, tc.header...)
			intent := consumer.Key(tc.lane, "/crm", "1")
			if a.status != 202 || a.Status != 202 || a.Lane != tc.lane || a.Intent != intent || a.Duplicate ||
				a.Location != "/events/"+intent+"?at=1&lane="+tc.lane || a.header.Get("Location") != a.Location {
				t.Fatalf("got %d %s, want it taken by %s", a.status, a.body, tc.lane)
			}
			all := q.taken()
			e, err := schema.Decode(all[0].header, []byte(all[0].body), 2000)
			if err != nil || e.ID() != "1" || all[0].lane != tc.lane || tc.check != nil && !tc.check(e) {
				t.Errorf("published %+v in lane %s: %v", e, all[0].lane, err)
			}
			for name := range all[0].header {
				if name := strings.ToLower(name); name != "content-type" && !strings.HasPrefix(name, "ce-") {
					t.Errorf("published header %s", name)
				}
			}
			again := ask(t, "POST", url+tc.path, tc.body, tc.header...)
			if !strings.Contains(tc.path+fmt.Sprint(tc.header), shopToken) && (again.status != 202 || !again.Duplicate || again.Location != a.Location || len(q.taken()) != 1) {
				t.Errorf("again: got %d %s, want a duplicate", again.status, again.body)
			}
		})
	}
}

// The broker's word alone is a yes.
func TestThereIsNoYesWithoutTheBroker(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		status int
		title  string
	}{
		"lost":      {errors.New("nats: timeout +14155550123"), 503, "Not confirmed"},
		"full":      {fmt.Errorf("x: %w", gateway.ErrFull), 503, "Lane full"},
		"too large": {fmt.Errorf("x: %w", gateway.ErrTooLarge), 413, "Too long"},
		"a word":    {&schema.Refusal{Class: schema.ClassUndecodable, Field: "priority", Reason: "The event's priority is not high."}, 400, "Event refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := open(t, &queue{fail: func(event.Event) error { return tc.err }}, nil)
			a := ask(t, "POST", url+"/events/sales", ev("1"), "Content-Type", structured)
			a.isRefusal(t, tc.status)
			if a.Title != tc.title || strings.Contains(a.body, "5550123") || a.Location != "" || a.header.Get("Location") != "" {
				t.Errorf("got %s, want %q", a.body, tc.title)
			}
			a = ask(t, "POST", url+"/events/sales", "["+ev("1")+"]", inBatch...)
			a.isRefusal(t, map[bool]int{true: 503, false: 422}[tc.status == 503])
			if len(a.Events) != 1 || a.Events[0].Status != tc.status {
				t.Errorf("in a batch: got %s, want %d for it", a.body, tc.status)
			}
		})
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	url := func(q *queue) string { return open(t, q, nil) + "/events" }
	statuses := func(a answer) (out []int) {
		for i, e := range a.Events {
			if e.Index == nil || *e.Index != i || (e.Status == 202) != (e.Location != "") || (e.Status == 202) == (e.Detail != "") {
				t.Errorf("event %d: got %+v", i, e)
			}
			out = append(out, e.Status)
		}
		return out
	}
	toSales := func(id string, more ...string) string {
		return ev(id, append([]string{"weirlane", `"sales"`}, more...)...)
	}

	q := &queue{}
	a := ask(t, "POST", url(q), "\uFEFF ["+toSales("1")+","+ev("2", "weirlane", `"care"`)+", "+toSales("1")+"]\n", inBatch...)
	if diff := cmp.Diff([]int{202, 202, 202}, statuses(a)); a.status != 202 || diff != "" || !a.Events[2].Duplicate || len(q.taken()) != 2 || q.taken()[1].lane != "care" {
		t.Errorf("a good batch: got %d %s", a.status, a.body)
	}
	if a := ask(t, "POST", url(q), "[]", inBatch...); a.status != 202 || !strings.Contains(a.body, `"events":[]`) {
		t.Errorf("an empty batch: got %d %s", a.status, a.body)
	}

	q = &queue{}
	some := "[" + strings.Join([]string{toSales("1"), ev("2"), toSales("3", "specversion", `"0.3"`), "7", toSales("4", "data", `{}`), toSales("5")}, ",") + "]"
	a = ask(t, "POST", url(q), some, inBatch...)
	a.isRefusal(t, 422)
	if diff := cmp.Diff([]int{202, 422, 400, 400, 422, 202}, statuses(a)); diff != "" || len(q.taken()) != 2 || a.Events[4].Pointer != "/data/id" || !strings.Contains(a.Detail, "4 of 6") {
		t.Errorf("a mixed batch: %s\n%s", diff, a.body)
	}

	// Where the broker fails nothing overtakes, and the whole batch once more is
	// each event once.
	away := true
	q = &queue{fail: func(e event.Event) error {
		if away && e.ID() == "2" {
			return errors.New("timeout")
		}
		return nil
	}}
	address := url(q)
	all := "[" + strings.Join([]string{toSales("1"), toSales("2"), toSales("3"), ev("4")}, ",") + "]"
	a = ask(t, "POST", address, all, inBatch...)
	a.isRefusal(t, 503)
	if diff := cmp.Diff([]int{202, 503, 503, 503}, statuses(a)); diff != "" || len(q.taken()) != 1 {
		t.Errorf("a broker that fails: %s\n%s", diff, a.body)
	}
	away = false
	a = ask(t, "POST", address, all, inBatch...)
	a.isRefusal(t, 422)
	if diff := cmp.Diff([]int{202, 202, 202, 422}, statuses(a)); diff != "" || len(q.taken()) != 3 || !a.Events[0].Duplicate || a.Events[1].Duplicate {
		t.Errorf("the same batch again: %s\n%s", diff, a.body)
	}
}

// A batch that takes long is ended in good order, with what is durable.
func TestABatchThatTakesLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{fail: func(event.Event) error {
			time.Sleep(3 * time.Second)
			return nil
		}}
		var all []string
		for i := range 6 {
			all = append(all, ev(fmt.Sprint(i)))
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/events/sales", strings.NewReader("["+strings.Join(all, ",")+"]"))
		r.Header = http.Header{"Authorization": {"Bearer " + crmToken}, "Content-Type": {inBatch[1]}}
		gateway.New(zerolog.Nop(), nil, gateway.Config{Door: doorOf(t, q, nil)}).Handler().ServeHTTP(w, r)
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if w.Code != 503 || len(q.taken()) != 4 || len(a.Events) != 6 || a.Events[3].Status != 202 || a.Events[4].Status != 503 || a.Events[5].Title != "Not tried" {
			t.Errorf("got %d %s, want four of six taken", w.Code, w.Body)
		}
	})
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	url := open(t, &queue{}, nil)
	for name, tc := range map[string]struct {
		path         string
		header       []string
		origin, rate string
	}{
		"with a token":              {"/events/sales", []string{"WebHook-Request-Origin", "a.example"}, "a.example", "60000"},
		"for any lane":              {"/events", []string{"WebHook-Request-Origin", "a.example"}, "a.example", "60000"},
		"less than allowed":         {"/events/sales", []string{"WebHook-Request-Origin", "a.example", "WebHook-Request-Rate", "120"}, "a.example", "120"},
		"more than allowed":         {"/events/shop", []string{"WebHook-Request-Origin", "a.example", "WebHook-Request-Rate", "120", "Authorization", "Bearer " + shopToken}, "a.example", "60"},
		"a bad rate":                {"/events/sales", []string{"WebHook-Request-Origin", "a.example", "WebHook-Request-Rate", "-1"}, "a.example", "60000"},
		"a named origin":            {"/events/sales", []string{"WebHook-Request-Origin", "EventGrid.azure.net", "Authorization", ""}, "EventGrid.azure.net", "60000"},
		"of another lane":           {"/events/shop", []string{"WebHook-Request-Origin", "eventgrid.azure.net", "Authorization", ""}, "", ""},
		"the token of another lane": {"/events/shop", []string{"WebHook-Request-Origin", "a.example"}, "", ""},
		"an unknown origin":         {"/events/sales", []string{"WebHook-Request-Origin", "a.example", "Authorization", ""}, "", ""},
		"no origin":                 {"/events/sales", nil, "", ""},
		"two origins":               {"/events/sales", []string{"WebHook-Request-Origin", "a.example", "WebHook-Request-Origin", "b.example"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ask(t, "OPTIONS", url+tc.path, "", tc.header...)
			got := []string{a.header.Get("WebHook-Allowed-Origin"), a.header.Get("WebHook-Allowed-Rate")}
			if diff := cmp.Diff([]string{tc.origin, tc.rate}, got); a.status != 204 || !strings.Contains(a.header.Get("Allow"), "POST") || diff != "" {
				t.Errorf("got %d, Allow %q (-want +got):\n%s", a.status, a.header.Get("Allow"), diff)
			}
		})
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	in := consumer.Intent{
		Lane: "sales", Key: consumer.Key("sales", "/crm", "lead-1"), State: consumer.Dead, N: 2, Claims: 1, Class: "rejected",
		Source: "/crm", ID: "lead-1", Type: "lead.created", Reason: "no such number +14155550123", Waits: map[string]int{"full": 2},
		Session: consumer.Session{Join: "join-secret"}, Conversation: "conv_12345678",
		History: []consumer.Transition{
			{N: 1, State: consumer.Started, Claim: 1, At: at},
			{N: 2, State: consumer.Dead, Claim: 1, At: at.Add(time.Second), By: "Ana Person", Reason: "ana@example.com says +14155550123"},
		},
	}
	foreign := in
	foreign.Lane, foreign.Key = "shop", consumer.Key("shop", "/crm", "lead-1")
	q := &queue{}
	url := open(t, q, ledger{"sales." + in.Key: in, "shop." + foreign.Key: foreign})
	want := map[string]any{
		"lane": "sales", "intent": in.Key, "state": "dead", "settled": true, "since": "2026-11-21T09:00:01Z", "claims": 1.0,
		"source": "/crm", "id": "lead-1", "type": "lead.created", "class": "rejected", "reason": "no such number …23",
		"conversation": "conv_12345678", "waits": map[string]any{"full": 2.0},
		"timeline": []any{
			map[string]any{"n": 1.0, "state": "started", "at": "2026-11-21T09:00:00Z", "claim": 1.0},
			map[string]any{"n": 2.0, "state": "dead", "at": "2026-11-21T09:00:01Z", "claim": 1.0, "reason": "…@example.com says …23"},
		},
	}
	for _, path := range []string{"/events/" + in.Key, "/events/" + in.Key + "?lane=sales&at=99", "/events?source=/crm&id=lead-1", "/events?source=%2Fcrm&id=lead-1&lane=sales"} {
		a := ask(t, "GET", url+path, "")
		var got map[string]any
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); a.status != 200 || diff != "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d (-want +got):\n%s", path, a.status, diff)
		}
	}
	if a := ask(t, "HEAD", url+"/events/"+in.Key, ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: got %d %s", a.status, a.body)
	}
	for _, path := range []string{"/events/" + foreign.Key, "/events/" + foreign.Key + "?lane=shop", "/events/" + in.Key + "?lane=care", "/events/" + in.Key + "?lane=" + strings.Repeat("x", 9000)} {
		ask(t, "GET", url+path, "").isRefusal(t, 404)
	}

	// Until a lane takes it up it is queued, for its own lane and place alone.
	taken := ask(t, "POST", url+"/events/care", ev("2"), "Content-Type", structured)
	a := ask(t, "GET", url+taken.Location, "")
	if a.status != 200 || !strings.Contains(a.body, `"state":"queued","settled":false,"since":"2027-01-15T08:00:00Z"`) {
		t.Errorf("queued: got %d %s", a.status, a.body)
	}
	for _, path := range []string{"?lane=care", "?lane=care&at=2", "?lane=sales&at=1", "?lane=care&at=x"} {
		ask(t, "GET", url+"/events/"+taken.Intent+path, "").isRefusal(t, 404)
	}
	if got := len(q.taken()); got != 1 {
		t.Errorf("got %d messages, want that of the one POST", got)
	}
}

// Whatever a request holds: an answer, no panic, and a yes only for what the lane
// will read as the same event.
func FuzzPost(f *testing.F) {
	f.Add("/events/sales", structured, "x", "", []byte(ev("1")))
	f.Add("/events", "application/cloudevents-batch+json", "x", "", []byte("["+ev("1", "weirlane", `"care"`)+",7]"))
	f.Add("/events/care", "application/json", "Ce-Id", "%41", []byte(`{"id":"7"}`))
	f.Add("/events/care", "application/json; charset=x", "Ce-Subject", "%E9", []byte(`{}`))
	f.Add("/events/sales", "", "Content-Encoding", "gzip", []byte("\x1f\x8b"))
	door := doorOf(f, nil, nil)
	f.Fuzz(func(t *testing.T, path, kind, name, value string, body []byte) {
		if !strings.HasPrefix(path, "/") {
			return // the server lets no such address in
		}
		q := &queue{}
		door := door
		door.Queue = q
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.URL.Path = path
		r.Header = http.Header{"Authorization": {"Bearer " + crmToken}, "Content-Type": {kind}}
		if strings.HasPrefix(name, "Ce-") {
			r.Header["Ce-Specversion"], r.Header["Ce-Id"], r.Header["Ce-Source"], r.Header["Ce-Type"] = []string{"1.0"}, []string{"1"}, []string{"/crm"}, []string{"lead.created"}
		}
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		w := httptest.NewRecorder()
		gateway.New(zerolog.Nop(), nil, gateway.Config{Door: door}).Handler().ServeHTTP(w, r)
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Status != w.Code || w.Code == 500 {
			t.Fatalf("got %d %s, want a document of that status", w.Code, w.Body)
		}
		yes := 0
		for _, e := range append(a.Events, a) {
			if e.Status == 202 && e.Location != "" && !e.Duplicate {
				yes++
			}
		}
		taken := q.taken()
		if yes != len(taken) {
			t.Errorf("got %d times yes, and %d messages: %s", yes, len(taken), w.Body)
		}
		for _, m := range taken {
			e, err := schema.Decode(m.header, []byte(m.body), door.Lanes[m.lane].MaxEvent)
			if err != nil || !strings.HasPrefix(m.id, consumer.Key(m.lane, e.Source(), e.ID())+schema.Digest(e)) {
				t.Errorf("the lane would read %+v, %v, of %q", e, err, m.body)
			}
		}
	})
}
