package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// genericReader reads any JSON by a mapping of the operator's: an object, or a list
// of which each member is mapped alone.
func genericReader(mapping *schema.Routes) func(body []byte) ([]notice, *problem) {
	return func(body []byte) ([]notice, *problem) {
		var one json.RawMessage
		if err := readJSON(body, &one); err != nil {
			return nil, notOf("The body is no JSON.")
		}
		all := []json.RawMessage{one}
		if bytes.HasPrefix(one, []byte("[")) {
			var bad *problem
			if all, bad = split(one); bad != nil {
				return nil, bad
			}
		}
		notices := make([]notice, len(all))
		for i, raw := range all {
			notices[i] = mapped(mapping, raw)
		}
		return notices, nil
	}
}

// mapped makes an event of one body. To the expressions the body is the data of an
// event whose id is the body's hash.
func mapped(mapping *schema.Routes, raw json.RawMessage) notice {
	hash := sha256.Sum256(raw)
	carrier := event.New()
	carrier.SetType("crm.webhook")
	carrier.SetSource("/crm/" + Generic)
	carrier.SetID(hex.EncodeToString(hash[:]))
	if err := carrier.SetData("application/json", []byte(raw)); err != nil {
		return unclear("The body cannot be read.")
	}
	made, err := mapping.Request(carrier)
	if err != nil {
		return notice{bad: refusalOf(err, nil)}
	}
	p := person{kind: plainText(made["type"]), source: plainText(made["source"]), id: plainText(made["id"])}
	for name, value := range map[string]string{"type": p.kind, "source": p.source, "id": p.id} {
		if value == "" {
			return unclear("The map's %s gives no text for this body.", name)
		}
	}
	data, ok := made["data"].(map[string]any)
	if !ok {
		return unclear("The map's data gives no object for this body.")
	}
	p.data = data
	return p.notice()
}

// plainText is text for what an expression gives: a text, or a whole number.
func plainText(v any) string {
	if n, ok := v.(int); ok {
		return strconv.Itoa(n)
	}
	return text(v)
}
