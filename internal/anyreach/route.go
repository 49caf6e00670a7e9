package anyreach

import (
	"maps"
	"slices"
	"strings"
)

// stand are values that stand for what an expression will make of an event.
var stand = map[string]any{
	"user_id": "+14155550100", "agent_number": "+14155550100", "version": "latest",
	"to_address": "ana@example.com", "from_address": "ana@example.com",
	"agent_config": map[string]any{}, "custom_metadata": map[string]any{},
}

// CheckRoute returns what is wrong with a route's request whatever event comes: a
// field that is none, two agents, one that the channel needs and that is not
// there. A value that holds an expression counts as given and right.
//
// open says that an event may give more fields: then what the request needs depends
// on the event.
func (c *Client) CheckRoute(request map[string]any, open bool) error {
	sample := make(map[string]any, len(request))
	for _, name := range slices.Sorted(maps.Keys(request)) {
		v := request[name]
		if s, ok := v.(string); ok && strings.Contains(s, "${") {
			v = "x"
			if known, ok := stand[name]; ok {
				v = known
			}
			if name == "channel" {
				v = nil
			}
		}
		sample[name] = v
	}
	if open || sample["channel"] == nil && request["channel"] != nil {
		return c.checkFields(sample) // what it needs depends on the event
	}
	_, err := c.Prepare(sample)
	return err
}

// checkFields checks the fields alone.
func (c *Client) checkFields(request map[string]any) error {
	var r Request
	for _, name := range slices.Sorted(maps.Keys(request)) {
		if err := r.set(name, request[name]); err != nil {
			return err
		}
	}
	return r.oneAgent()
}
