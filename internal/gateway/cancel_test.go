package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/gateway"
)

// owner answers every command in the same way, and remembers the newest.
type owner struct {
	reply consumer.Reply
	err   error

	lane string
	got  consumer.Command
}

func (o *owner) Control(_ context.Context, lane string, command []byte) ([]byte, error) {
	o.lane = lane
	if err := json.Unmarshal(command, &o.got); err != nil {
		return nil, err
	}
	answer, err := json.Marshal(o.reply)
	return answer, errors.Join(err, o.err)
}

// openOwned serves a door whose lanes have this owner.
func openOwned(t *testing.T, q *queue, l ledger, o *owner) (url string) {
	t.Helper()
	door := doorOf(t, q, l)
	door.Owner = o
	srv := httptest.NewServer(gateway.New(zerolog.Nop(), nil, gateway.Config{Door: door}).Handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestWithdraw asks for what is known, what is queued and what nobody knows.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	waiting := consumer.Intent{Lane: "sales", Key: consumer.Key("sales", "/crm", "1"), State: consumer.Waiting, Source: "/crm", ID: "1"}
	var both [2]consumer.Intent
	for i, lane := range []string{"sales", "care"} {
		both[i] = consumer.Intent{Lane: lane, Key: consumer.Key(lane, "/crm", "2"), State: consumer.Waiting, Source: "/crm", ID: "2"}
	}
	queued := consumer.Key("sales", "/crm", "7")
	ahead := consumer.Key("care", "/crm", "8")
	known := consumer.Command{Verb: consumer.VerbCancel, Intent: waiting.Key, By: "publisher crm", Reason: "withdrawn by its publisher"}
	named := func(intent, id string) consumer.Command {
		return consumer.Command{Verb: consumer.VerbCancel, Intent: intent, Source: "/crm", ID: id, By: "publisher crm", Reason: "withdrawn by its publisher"}
	}
	reasoned := named(waiting.Key, "1")
	reasoned.Reason = "they called us"
	for name, tc := range map[string]struct {
		path string
		want consumer.Command // empty: nobody is asked
		lane string
		code int
	}{
		"by its intent":           {"/events/" + waiting.Key, known, "sales", 200},
		"by its source and id":    {"/events?source=/crm&id=1&reason=they+called+us", reasoned, "sales", 200},
		"queued, by its place":    {"/events/" + queued + "?lane=sales&at=1", named(queued, "7"), "sales", 200},
		"ahead, for a lane":       {"/events?source=/crm&id=8&lane=care", named(ahead, "8"), "care", 200},
		"ahead, for any lane":     {"/events?source=/crm&id=8", consumer.Command{}, "", 400},
		"an unknown intent":       {"/events/" + queued, consumer.Command{}, "", 404},
		"no intent":               {"/events/sales", consumer.Command{}, "", 404},
		"another's lane":          {"/events?source=/crm&id=8&lane=shop", consumer.Command{}, "", 404},
		"in two lanes":            {"/events?source=/crm&id=2", consumer.Command{}, "", 400},
		"in one of two lanes":     {"/events?source=/crm&id=2&lane=care", named(both[1].Key, "2"), "care", 200},
		"half a name":             {"/events?source=/crm", consumer.Command{}, "", 400},
		"while the ledger sleeps": {"/events/" + broken + "?lane=sales", consumer.Command{}, "", 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, l, o := &queue{}, ledger{"sales." + waiting.Key: waiting, "sales." + both[0].Key: both[0], "care." + both[1].Key: both[1]}, &owner{reply: consumer.Reply{State: consumer.Cancelled}}
			url := openOwned(t, q, l, o)
			if a := ask(t, "POST", url+"/events/sales", ev("7"), "Content-Type", "application/cloudevents+json"); a.status != 202 {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			a := ask(t, "DELETE", url+tc.path, "")
			if diff := cmp.Diff(tc.want, o.got); diff != "" || o.lane != tc.lane {
				t.Errorf("lane %q was asked (-want +got):\n%s", o.lane, diff)
			}
			if tc.code != 200 {
				a.isRefusal(t, tc.code)
			} else if a.status != 200 || a.Intent != tc.want.Intent || a.Lane != tc.lane {
				t.Errorf("got %d %s, want 200 with the event's state", a.status, a.body)
			}
		})
	}
}

// TestWithdrawIsRefused tells what the owner, or nobody, says.
func TestWithdrawIsRefused(t *testing.T) {
	t.Parallel()
	in := consumer.Intent{Lane: "sales", Key: consumer.Key("sales", "/crm", "1"), State: consumer.Waiting}
	type said struct {
		reply  consumer.Reply
		err    error
		status int
		says   string
	}
	cases := map[string]said{
		"nobody owns the lane": {err: gateway.ErrNoOwner, status: 503, says: "was not withdrawn"},
		"no answer":            {err: context.DeadlineExceeded, status: 503, says: "is not known"},
		"busy":                 {reply: consumer.Reply{Error: "the event +14155550123 is being worked on", State: consumer.Waiting}, status: 503, says: "could not be withdrawn now"},
	}
	for _, s := range consumer.States() {
		if s != consumer.Absent && s != consumer.Waiting && s != consumer.Cancelled {
			cases[string(s)] = said{reply: consumer.Reply{Error: "too late", State: s}, status: 409, says: "."}
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := openOwned(t, &queue{}, ledger{"sales." + in.Key: in}, &owner{reply: tc.reply, err: tc.err})
			a := ask(t, "DELETE", url+"/events/"+in.Key, "")
			a.isRefusal(t, tc.status)
			if !strings.Contains(a.Detail, tc.says) || strings.Contains(a.body, "5550123") {
				t.Errorf("got %s, want %q, and nothing of the event", a.body, tc.says)
			}
			if tc.status == 409 && !strings.Contains(a.body, `"state":"`+name+`"`) {
				t.Errorf("got %s, want the state", a.body)
			}
		})
	}
}
