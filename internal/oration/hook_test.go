package oration_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/oration"
)

func TestH13Hook(t *testing.T) {
	t.Parallel()
	report := func(r consumer.Report) []consumer.Report { return []consumer.Report{r} }
	for name, tt := range map[string]struct {
		body string
		want []consumer.Report
		fail bool
	}{
		"completed": {
			body: `{"eventId":"evt_1","eventType":"conversation.completed","payload":{"id":"conv_1","conversationStatus":"completed",
				"transcript":"Agent: Hi\nUser: no","dynamicVariables":"{\"weir_intent\":\"i-1\",\"weir_attempt\":\"2\"}","customer":{"id":"x"}}}`,
			want: report(consumer.Report{Conversation: "conv_1", Intent: "i-1", Attempt: 2, Ended: true}),
		},
		"analysed, the variables an object": {
			body: `{"eventType":"conversation.analysisCompleted","payload":{"id":"c-1","dynamicVariables":{"weir_intent":"i-1","weir_attempt":1}}}`,
			want: report(consumer.Report{Conversation: "c-1", Intent: "i-1", Attempt: 1, Ended: true}),
		},
		"of a call that goes on": {
			body: `{"eventType":"conversation.completed","payload":{"id":"c-1","conversationStatus":"active"}}`,
			want: report(consumer.Report{Conversation: "c-1"}),
		},
		"an id that cannot be asked for": {
			body: `{"eventType":"conversation.completed","payload":{"id":"../customers","dynamicVariables":"no JSON"}}`,
			want: report(consumer.Report{Ended: true}),
		},
		"an id with a line break": {
			body: `{"eventType":"conversation.completed","payload":{"id":"c-1\nx"}}`,
			want: report(consumer.Report{Ended: true}),
		},
		"another event":   {body: `{"eventType":"customer.created","payload":{}}`},
		"no payload":      {body: `{"eventType":"conversation.completed"}`, fail: true},
		"a payload list":  {body: `{"eventType":"conversation.completed","payload":[1]}`, fail: true},
		"no event":        {body: `{"payload":{"id":"c-1"}}`, fail: true},
		"a list":          {body: `[]`, fail: true},
		"not JSON":        {body: `eventType=conversation.completed`, fail: true},
		"nothing":         {body: ``, fail: true},
		"an event number": {body: `{"eventType":{"a":1},"payload":{}}`, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, oration.Config{URL: "http://127.0.0.1:1"})
			defer c.Close()
			got, err := c.Hook([]byte(tt.body), nil)
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != tt.fail {
				t.Errorf("reports (-want +got), error %v:\n%s", err, diff)
			}
		})
	}
}

func FuzzHook(f *testing.F) {
	f.Add([]byte(`{"eventType":"conversation.completed","payload":{"id":"c-1","dynamicVariables":"{\"weir_intent\":\"i\"}"}}`))
	f.Add([]byte(`{"eventType":"conversation.completed","payload":{"id":{},"dynamicVariables":[[]]}}`))
	c := client(f, oration.Config{URL: "http://127.0.0.1:1"})
	f.Fuzz(func(t *testing.T, body []byte) {
		reports, err := c.Hook(body, nil)
		if err != nil && reports != nil {
			t.Error("got reports beside an error")
		}
		for _, r := range reports {
			if len(r.Conversation) > 256 || len(r.Intent) > 256 {
				t.Errorf("a report without bounds: %d, %d bytes", len(r.Conversation), len(r.Intent))
			}
		}
	})
}
