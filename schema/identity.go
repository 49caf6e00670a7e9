package schema

import "encoding/json"

// Identity returns the source and id of an event that somebody names, as Decode
// would have them, so that one spelling has one intent. An error is a *Refusal.
func Identity(source, id string) (string, string, error) {
	body, err := json.Marshal(map[string]string{"specversion": "1.0", "type": "question", "source": source, "id": id})
	if err != nil {
		return "", "", refuse(ClassUndecodable, "", "This is no event's source and id.")
	}
	ev, err := Decode(map[string][]string{"Content-Type": {"application/cloudevents+json"}}, body, 0)
	if err != nil {
		return "", "", err
	}
	return ev.Source(), ev.ID(), nil
}
