package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// watch remembers what it heard.
type watch struct {
	visits []gateway.Visit
	events []string
}

func (w *watch) Served(v gateway.Visit) {
	if v.Took < 0 {
		v.Route += " before its time"
	}
	v.Took = 0
	w.visits = append(w.visits, v)
}

func (w *watch) Taken(door, lane, result string) {
	w.events = append(w.events, door+" "+lane+" "+result)
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	q := &queue{fail: func(ev event.Event) error {
		if ev.ID() == "away" {
			return errors.New("the broker is away")
		}
		return nil
	}}
	said := &watch{}
	h := gateway.New(zerolog.Nop(), ear(func(_ context.Context, _ string, body []byte) error {
		if string(body) == "later" {
			return consumer.ErrLater
		}
		return nil
	}), gateway.Config{
		Door: doorOf(t, q, nil), CRMs: crmsOf(t), PublicURL: public, Watcher: said,
		Secrets: map[string]schema.Secret{"sales": crmSecret},
	}).Handler()
	serve := func(r *http.Request) { h.ServeHTTP(httptest.NewRecorder(), r) }
	post := func(path, body string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+crmToken)
		r.Header.Set("Content-Type", "application/cloudevents+json")
		return r
	}
	serve(post("/events/sales", ev("1")))
	serve(post("/events/sales", ev("1")))
	serve(post("/events/sales", ev("2", "type", `"nobody.knows"`)))
	serve(post("/events/care", ev("away")))
	serve(post("/events", ev("3", "weirlane", `"care"`)))
	serve(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events/sales", nil)) // without a token
	serve(post("/hooks/provider/sales/"+crmSecret, "done"))
	serve(post("/hooks/provider/sales/"+crmSecret, "later"))
	serve(post("/hooks/provider/nowhere/wrong", "done"))
	serve(post("/hooks/crm/sales/wrong/and/longer", ""))
	serve(post("/x", ""))
	serve(crmRequest("pipe", pipeCreate))
	serve(crmRequest("pipe", pipeCreate))
	serve(crmRequest("plain", `{"ref":"9","form":"a","kind":"some.other","tel":"+14155550123"}`))
	want := []gateway.Visit{
		{Route: "events", Lane: "sales", Method: "POST", Status: 202},
		{Route: "events", Lane: "sales", Method: "POST", Status: 202},
		{Route: "events", Lane: "sales", Method: "POST", Status: 422},
		{Route: "events", Lane: "care", Method: "POST", Status: 503},
		{Route: "events", Method: "POST", Status: 202},
		{Route: "events", Method: "GET", Status: 401},
		{Route: "provider_hook", Lane: "sales", Method: "POST", Status: 200},
		{Route: "provider_hook", Lane: "sales", Method: "POST", Status: 503},
		{Route: "provider_hook", Lane: "nowhere", Method: "POST", Status: 404},
		{Route: "crm_hook", Lane: "sales", Method: "POST", Status: 404},
		{Route: "none", Method: "POST", Status: 404},
		{Route: "crm_hook", Lane: "pipe", Method: "POST", Status: 200},
		{Route: "crm_hook", Lane: "pipe", Method: "POST", Status: 200},
		{Route: "crm_hook", Lane: "plain", Method: "POST", Status: 200},
	}
	if diff := cmp.Diff(want, said.visits); diff != "" {
		t.Errorf("visits (-want +got):\n%s", diff)
	}
	events := []string{"events sales accepted", "events sales duplicate", "events sales refused", "events care failed", "events care accepted",
		"crm pipe accepted", "crm pipe duplicate", "crm plain skipped",
	}
	if diff := cmp.Diff(events, said.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
