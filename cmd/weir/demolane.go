package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/simulator"
)

// demoLane is one lane of the demo with the provider behind it.
type demoLane struct {
	name     string
	leads    int
	channels []string // of the leads, in turn; nil: the provider has none
	simulate func() (*simulator.Simulator, error)
	yaml     string // the lane's block: name, address, max_call and number are to be filled in

	provider *simulator.Simulator
	sent     map[string]string // intent -> what is expected of it, for every distinct event
	dups     int
}

// demoScale is how many times faster than life calls run: 71 s become 1.2 s,
// the longest (10 min) 10 s.
const demoScale = 60

// demoLanes are a lane that an operator has tuned, with an outage to come; one
// that is left to its defaults with a provider that hides answers; and one of
// the other provider, which does so too, but takes an id, so that nothing is
// left in doubt.
func demoLanes(seed uint64) []*demoLane {
	return []*demoLane{
		{
			name: "acme-sales", leads: 70,
			simulate: func() (*simulator.Simulator, error) {
				return simulator.New(zerolog.Nop(), simulator.Config{
					Limit: 6, Scale: demoScale, Seed: seed, Shape: simulator.Mixed, Overflow: simulator.Mixed,
					Headers: simulator.HeadersNone, Latency: 20 * time.Millisecond,
					Faults: simulator.Faults{Shuffle: .5},
				})
			},
			// The operator knows that a 503 of this provider comes before
			// anything is created, so the outage leaves no doubts. The limit is
			// set above the provider's, which tells nobody: hence the 429s.
			yaml: demoOration + "    limit: 8\n    refused_statuses: [503]\n",
		},
		{
			name: "globex-support", leads: 40,
			simulate: func() (*simulator.Simulator, error) {
				return simulator.New(zerolog.Nop(), simulator.Config{
					Limit: 4, Scale: demoScale, Seed: seed + 1, Shape: simulator.Mixed, Headers: simulator.HeadersXRateLimit,
					Latency: 20 * time.Millisecond,
					Faults:  simulator.Faults{Accepted500: .03, AcceptedHang: .02, Cut: .03, HangFor: 3 * time.Second},
				})
			},
			yaml: demoOration + "    limit: 4\n    batch: 1\n",
		},
		{
			name: "initech-care", leads: 48, channels: []string{"telephone", "email", "telephone", "text", "webrtc"},
			simulate: func() (*simulator.Simulator, error) {
				return simulator.NewAnyreach(zerolog.Nop(), simulator.AnyreachConfig{
					Limit: 3, Scale: demoScale, Seed: seed + 2, Accepted: simulator.Mixed, Detail: simulator.Mixed,
					Latency: 20 * time.Millisecond, VisibleAfter: time.Second, VisibleShare: .5,
					Faults: simulator.Faults{
						HTML502: .05, ResetEarly: .03, Accepted500: .05, AcceptedHang: .03, Cut: .05, Reset: .05, HangFor: 3 * time.Second,
					},
				})
			},
			yaml: demoAnyreach,
		},
	}
}

// channel is that of the i-th lead.
func (ln *demoLane) channel(i int) string {
	if len(ln.channels) == 0 {
		return ""
	}
	return ln.channels[i%len(ln.channels)]
}

// What a lane's block has for either provider.
const (
	demoCommon = `    timeout: 2s
    max_call: %[3]s
    doubt_limit: 0
    pacing: {mean_call: 1.2s}
    breaker: {failures: 3, open: 1s}
`
	demoOration = `  - name: %[1]s
    provider: oration
    url: http://%[2]s/api/v2
    auth: {api_key: {env: DEMO_KEY}, workspace_id: {env: WORKSPACE_%[4]d}}
    routes:
      - type: lead.created
        request:
          agentId: 0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7
          conversationType: telephony
          toPhoneNumber: ${ data.phone }
          dynamicVariables: {firstName: "${ data.first_name ?? 'there' }"}
` + demoCommon
	demoAnyreach = `  - name: %[1]s
    provider: anyreach
    url: http://%[2]s
    auth: {token: {env: DEMO_TOKEN_%[4]d}}
    limits: {telephone: 3}
    visible_after: 2s
    routes:
      - type: lead.created
        when: data.attributes.channel == 'telephone'
        request: {channel: telephone, user_id: "${ data.phone }", agent_id: agent_care, agent_number: "+14155550199"}
      - type: lead.created
        when: data.attributes.channel == 'email'
        request: {channel: email, user_id: "lead-${ data.id }", to_address: "${ data.email }", agent_id: agent_care}
      - type: lead.created
        request: {channel: "${ data.attributes.channel }", user_id: "lead-${ data.id }", agent_id: agent_care}
` + demoCommon
)

// publish sends the i-th lead of a lane, as a CRM would have it: every tenth is
// bad in some way, every eighth comes twice.
func (d *demo) publish(ctx context.Context, ln *demoLane, i int) error {
	id := fmt.Sprintf("%s-%03d", ln.name, i)
	version, phone, want := "1.0", fmt.Sprintf(`"+1415555%04d"`, i), "call"
	switch i {
	case 10:
		phone, want = `null`, "dead"
	case 20:
		phone, want = `"(415) 555-0120"`, "dead"
	case 30:
		version, want = "0.3", "dead"
	}
	data := fmt.Sprintf(`{"id":%d,"first_name":"Ana","phone":%s,"email":"ana%d@example.com","attributes":{"channel":%q}}`, i, phone, i, ln.channel(i))
	body := fmt.Sprintf(`{"specversion":%q,"id":%q,"source":"/demo/crm","type":"lead.created","datacontenttype":"application/json","data":%s}`, version, id, data)
	key := consumer.Key(ln.name, "/demo/crm", id)
	if version != "1.0" {
		key = "" // cannot be read as an event: its key is its place in the stream
	}
	copies := 1
	if i%8 == 5 {
		copies, ln.dups = 2, ln.dups+1
	}
	for range copies {
		header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
		// A CRM that repeats itself does not send the same message id.
		msgID := fmt.Sprintf("demo-%s-%d", id, time.Now().UnixNano())
		if _, err := d.svc.broker.PublishEvent(ctx, ln.name, header, []byte(body), msgID); err != nil {
			return err
		}
	}
	ln.sent[cmp.Or(key, "unreadable "+id)] = want
	return nil
}
