package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// hasten lets what was postponed be due now, as if the time had passed until its
// window opens.
func hasten(t *testing.T, b *broker.Broker, id string) {
	t.Helper()
	ctx, key := t.Context(), consumer.Key("sales", "/crm", id)
	l, err := openLedger(ctx, b.JetStream(), reachFor)
	if err != nil {
		t.Fatal(err)
	}
	in, revision, err := l.Load(ctx, "sales", key)
	if err != nil {
		t.Fatal(err)
	}
	if in.State == consumer.Waiting {
		in.NotBefore = time.Now()
		if _, err := l.Store(ctx, in, revision); err != nil {
			t.Fatal(err)
		}
	}
	f, err := b.Scheduled(ctx, "sales", key)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	p := consumer.Postponed{Lane: "sales", Intent: key, N: in.N + 100, At: time.Now(), Header: f.Header, Data: f.Data}
	o, err := b.Ordered(ctx, "sales", key)
	if err != nil {
		t.Fatal(err)
	}
	if o != nil {
		p.Replay = &consumer.Replay{Expect: o.Expect, By: o.By, Reason: o.Reason, At: time.Now()}
		p.Header["Weir-Corrected"] = []string{o.Corrected}
	}
	if err := b.Postpone(ctx, p); err != nil {
		t.Fatal(err)
	}
}

// TestABlockStopsWhatWaits blocks people while their events wait for the morning: one
// in WEIR_LATER, one a dead letter that somebody ordered to be sent again. Blocked over
// HTTP or by the command, neither is called when the time has come; others are.
func TestABlockStopsWhatWaits(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	address := gatewayPort(t)
	p.env["DOOR"] = doorToken
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, token: {env: DOOR}, publishers: [{name: crm, token: {file: %q}, lanes: [sales]}]}\nembedded:", address, p.file(t, "crm.token", crmToken)))
	p.edit(t, "    limit: 8\n", "    limit: 8\n    pacing: {mean_call: 1s}\n")
	p.edit(t, "  - name: sales\n", `  - name: sales
    contact: {region: US, windows: [{hours: "08:00-20:00"}]}
`)
	stop := p.serve(t, "sales", "support")
	defer func() { stop() }()
	ids := []string{"asleep", "free", "letter", "letterfree"}
	p.weir(t, "publish", "--lane", "sales", p.file(t, "a.ndjson",
		leadIn(ids[0], "(415) 555-0101", zoneAt(1)), leadIn(ids[1], "+14155550102", zoneAt(1)),
		leadIn(ids[2], "+14155550103", "Mars/Olympus"), leadIn(ids[3], "+14155550104", "Mars/Olympus")))
	p.settled(t, "dead", 2)
	for i, id := range ids[2:] {
		p.weir(t, "dead", "replay", id, "--reason", "zone corrected", "--with", p.file(t, id+".json", leadIn(id, fmt.Sprintf("+1415555010%d", i+3), zoneAt(1))))
	}
	b := p.desk(t)
	for _, id := range ids {
		await(t, patience, id+" to be postponed", func() bool {
			_, err := b.Scheduled(t.Context(), "sales", consumer.Key("sales", "/crm", id))
			return err == nil
		})
	}

	block := func(token, act, body string) (a doorAnswer) {
		t.Helper()
		await(t, patience, "an answer", func() bool { // of a gateway that listens, and of a broker that is not too slow
			a = knockDoor(t, "POST", "http://"+address+"/contacts/"+act, token, "application/x-ndjson", body)
			return a.status != 0 && a.status != http.StatusServiceUnavailable
		})
		return a
	}
	if a := block(crmToken, "block", `{"number":"415 555 0101","lane":"support","reason":"asked"}`); a.status != 422 {
		t.Errorf("in another lane: got %d %s, want it refused", a.status, a.body)
	}
	a := block(crmToken, "block", `{"number":"415 555 0101","reason":"asked","source":"crm"}`) // by the lane's region
	if contains(t, a.body, `"person":"…01"`, `"lane":"sales"`); a.status != 200 {
		t.Errorf("by a publisher: got %d %s", a.status, a.body)
	}
	if a := block(doorToken, "block", `{"number":"+1 415 555 0109","reason":"asked"}`+"\n"+`{"number":"+14155550108","reason":"asked"}`); a.status != 200 {
		t.Errorf("everywhere: got %d %s", a.status, a.body)
	}
	if a := block(doorToken, "allow", `{"number":"+14155550108","reason":"a mistake"}`); a.status != 200 {
		t.Errorf("allowed again: got %d %s", a.status, a.body)
	}
	contains(t, p.weir(t, "contact", "list"), "…01     ", "sales  ", "publisher crm", "…09     ", "all lanes", "publisher gateway.token")
	contains(t, p.weir(t, "contact", "show", "+14155550108"), "is not blocked", "a mistake")
	p.weir(t, "contact", "block", "+14155550103", "--reason", "asked on the phone")
	stop()

	p.edit(t, "08:00-20:00", "00:00-24:00") // now it is morning
	stop = p.serve(t, "sales", "support")
	b = p.desk(t)
	for _, id := range ids {
		hasten(t, b, id)
	}
	for id, want := range map[string]consumer.State{"asleep": consumer.Suppressed, "letter": consumer.Suppressed, "free": consumer.Ended, "letterfree": consumer.Ended} {
		await(t, patience, id, func() bool { return p.state(t, "sales", id).State == want })
	}
	contains(t, p.state(t, "sales", "asleep").Reason, "must not be contacted by this lane", "by publisher crm (source: crm): asked")
	contains(t, p.state(t, "sales", "letter").Reason, "must not be contacted at all", "asked on the phone")
	stop()
	stop = func() {}
	for _, c := range p.sim.Conversations() {
		if c.Number != "+14155550102" && c.Number != "+14155550104" {
			t.Errorf("somebody who is blocked was called: %+v", c)
		}
	}
}
