package gateway_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

// What a lane is sure to refuse is refused at once: what it does not pass through,
// and what violates a schema of the user's own.
func TestH22RefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	passing, err := schema.CompileRoutes([]schema.RouteSource{
		{Type: schema.ConversationRequested, When: "!has(data.plain)", Passthrough: []string{"agentId", "toPhoneNumber", "dynamicVariables"}, Request: map[string]any{"conversationType": "telephony"}},
		{Type: "*", Request: map[string]any{"to": "x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := schema.CompileCatalog(fstest.MapFS{"s.json": {Data: []byte(`{"required":["order"]}`)}}, []schema.SchemaSource{{Type: "acme.*", File: "s.json"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ kind, data, at, says string }{
		"passed":         {"conversation.requested", `{"toPhoneNumber":"+14155550123","dynamicVariables":{"a":1}}`, "", ""},
		"another route":  {"conversation.requested", `{"plain":1,"ignoreDND":true}`, "", ""},
		"not a request":  {"lead.created", `{"id":1,"ignoreDND":true}`, "", ""},
		"not listed":     {"conversation.requested", `{"toPhoneNumber":"+14155550123","ignoreDND":true}`, "/data/ignoreDND", "data.ignoreDND is not passed through by this lane"},
		"a forged mark":  {"conversation.requested", `{"dynamicVariables":{"a":{"weir_intent":"x"}}}`, "/data/dynamicVariables/a/weir_intent", "is for Weir alone"},
		"no object":      {"conversation.requested", `[1]`, "/data", "data must be an object"},
		"an own schema":  {"acme.order", `{}`, "/data/order", "data.order is missing"},
		"it holds":       {"acme.order", `{"order":1}`, "", ""},
		"and the others": {"lead.updated", `{"order":1}`, "/data/id", "data.id is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &queue{}
			door := doorOf(t, q, nil)
			door.Catalog = catalog
			door.Lanes["sales"] = gateway.Lane{MaxEvent: 2000, Routes: passing}
			srv := httptest.NewServer(gateway.New(zerolog.Nop(), nil, gateway.Config{Door: door}).Handler())
			defer srv.Close()
			a := ask(t, "POST", srv.URL+"/events/sales", ev("1", "type", `"`+tc.kind+`"`, "data", tc.data), "Content-Type", structured)
			if tc.at == "" {
				if a.status != 202 || len(q.taken()) != 1 {
					t.Errorf("got %d %s, want it published", a.status, a.body)
				}
				return
			}
			a.isRefusal(t, 422)
			if a.Class != "data" || a.Pointer != tc.at || !strings.Contains(a.Detail, tc.says) || len(q.taken()) != 0 {
				t.Errorf("got class %q at %q: %s; want data at %q with %q", a.Class, a.Pointer, a.Detail, tc.at, tc.says)
			}
		})
	}
}
