package schema_test

import (
	"encoding/json"
	"fmt"

	"github.com/weirhq/weir/schema"
)

// A message becomes an event, is held against the schema of its type, and a
// route makes a provider's request of it.
func Example() {
	routes, err := schema.CompileRoutes([]schema.RouteSource{{
		Type: "lead.created",
		When: "has(data.phone)",
		Request: map[string]any{
			"conversationType": "telephony",
			"toPhoneNumber":    "${ data.phone }",
			"dynamicVariables": map[string]any{"firstName": "${ data.first_name ?? 'there' }"},
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	catalog := schema.NewCatalog()
	for _, body := range []string{
		`{"specversion":"1.0","id":"1","source":"/crm","type":"lead.created","data":{"id":"7","phone":"+14155550100"}}`,
		`{"specversion":"1.0","id":"2","source":"/crm","type":"lead.created","data":{"id":"8"}}`,
		`{"specversion":"1.0","id":"3","source":"/crm","type":"lead.created","data":{"phone":"+14155550101"}}`,
	} {
		e, err := schema.Decode(nil, []byte(body), schema.DefaultLimit)
		if err == nil {
			err = catalog.Check(e)
		}
		var request map[string]any
		if err == nil {
			request, err = routes.Request(e)
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		text, _ := json.Marshal(request)
		fmt.Println(string(text))
	}
	// Output:
	// {"conversationType":"telephony","dynamicVariables":{"firstName":"there"},"toPhoneNumber":"+14155550100"}
	// No route of this lane applies to this lead: each has a condition that does not hold.
	// The lead has no id: data.id is missing.
}

func ExampleMask() {
	fmt.Println(schema.Mask("no answer from +1 415 555 0145, wrote to anna@example.com"))
	// Output: no answer from …45, wrote to …@example.com
}
