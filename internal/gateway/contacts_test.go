package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

const ownToken = "0123456789abcdef-own"

// list is a do-not-contact list in memory.
type list struct {
	mu     sync.Mutex
	fail   error // instead of anything
	wishes []gateway.Wish
	on     map[string]bool // person and lane
}

func (l *list) do(w gateway.Wish, block bool) (gateway.Listed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fail != nil:
		return gateway.Listed{}, l.fail
	case w.Person == "12":
		return gateway.Listed{}, &gateway.ContactError{Reason: "It cannot be read: …12 is no number."}
	case w.Region == "XX":
		return gateway.Listed{}, &gateway.ContactError{Region: true, Reason: "There is no such region."}
	}
	l.wishes = append(l.wishes, w)
	key := w.Person + " " + w.Lane
	changed := l.on[key] != block
	l.on[key] = block
	return gateway.Listed{Person: schema.Mask(w.Person), Changed: changed, Blocked: block}, nil
}

func (l *list) Block(_ context.Context, w gateway.Wish) (gateway.Listed, error) { return l.do(w, true) }
func (l *list) Allow(_ context.Context, w gateway.Wish) (gateway.Listed, error) {
	return l.do(w, false)
}

// openList serves a door with a list.
func openList(t *testing.T) (*list, string) {
	t.Helper()
	l := &list{on: make(map[string]bool)}
	door := doorOf(t, &queue{}, nil)
	door.Publishers = append(door.Publishers, gateway.Publisher{
		Name: "gateway.token", Tokens: tokens(ownToken), Lanes: []string{"sales", "care", "shop"}, Rate: 1000, Everywhere: true,
	})
	door.List = l
	srv := httptest.NewServer(gateway.New(zerolog.Nop(), nil, gateway.Config{Door: door}).Handler())
	t.Cleanup(srv.Close)
	return l, srv.URL
}

const asJSON = "application/json"

// contactAnswer is what the list said of one person.
type contactAnswer struct {
	Index                                *int
	Status                               int
	Person, Lane, Title, Detail, Pointer string
	Changed, Blocked                     bool
}

// TestPeopleAreBlockedInTheLanesOfTheToken tells who may decide what, for whom.
func TestPeopleAreBlockedInTheLanesOfTheToken(t *testing.T) {
	t.Parallel()
	const who = `"number":"+14155550101","reason":"asked"`
	for _, tt := range []struct {
		name, token, act, body string
		status                 int
		lane, pointer          string
	}{
		{"own, everywhere", ownToken, "block", `{` + who + `}`, 201, "", ""},
		{"own, a lane", ownToken, "block", `{` + who + `,"lane":"care"}`, 201, "care", ""},
		{"own, no such lane", ownToken, "block", `{` + who + `,"lane":"x"}`, 422, "", "/lane"},
		{"a lane of the token", crmToken, "block", `{` + who + `,"lane":"care"}`, 201, "care", ""},
		{"not everywhere", crmToken, "block", `{` + who + `}`, 422, "", "/lane"},
		{"another's lane", crmToken, "block", `{` + who + `,"lane":"shop"}`, 422, "", "/lane"},
		{"the token's only lane", shopToken, "block", `{` + who + `}`, 201, "shop", ""},
		{"allow in another's lane", shopToken, "allow", `{` + who + `,"lane":"sales"}`, 422, "", "/lane"},
		{"allow", shopToken, "allow", `{` + who + `}`, 200, "shop", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, url := openList(t)
			a := ask(t, "POST", url+"/contacts/"+tt.act, tt.body, "Authorization", "Bearer "+tt.token, "Content-Type", asJSON)
			if tt.status == 422 {
				if a.isRefusal(t, 422); a.Pointer != tt.pointer || len(l.wishes) != 0 {
					t.Errorf("got %s and %v, want it refused at %s", a.body, l.wishes, tt.pointer)
				}
				return
			}
			if a.status != tt.status || a.Lane != tt.lane || strings.Contains(a.body, "415555") || len(l.wishes) != 1 || l.wishes[0].Lane != tt.lane {
				t.Errorf("got %d %s and %+v, want %d, lane %q, and the person masked", a.status, a.body, l.wishes, tt.status, tt.lane)
			}
		})
	}
}

// TestABlockByHTTP blocks, once more, and allows again.
func TestABlockByHTTP(t *testing.T) {
	t.Parallel()
	l, url := openList(t)
	for _, tt := range []struct {
		act, body string
		want      contactAnswer
	}{
		{"block", `{"address":"ada@example.com","lane":"sales","reason":" asked ","source":"mail"}`, contactAnswer{Status: 201, Changed: true, Blocked: true}},
		{"block", `{"address":"ada@example.com","lane":"sales","reason":"again"}`, contactAnswer{Status: 200, Blocked: true}},
		{"allow", `{"address":"ada@example.com","lane":"sales","reason":"back"}`, contactAnswer{Status: 200, Changed: true}},
		{"allow", `{"address":"ada@example.com","lane":"sales","reason":"back","region":"de"}`, contactAnswer{Status: 200}},
	} {
		a := ask(t, "POST", url+"/contacts/"+tt.act, tt.body, "Content-Type", asJSON)
		var got contactAnswer
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		tt.want.Person, tt.want.Lane = schema.Mask("ada@example.com"), "sales"
		if diff := cmp.Diff(tt.want, got); diff != "" || a.status != tt.want.Status {
			t.Errorf("%s %s: status %d (-want +got):\n%s", tt.act, tt.body, a.status, diff)
		}
	}
	want := gateway.Wish{Person: "ada@example.com", Lane: "sales", By: "publisher crm", Reason: "asked", Source: "mail"}
	if diff := cmp.Diff(want, l.wishes[0]); diff != "" {
		t.Errorf("what is written down (-want +got):\n%s", diff)
	}
}

// TestWhatIsNoWishIsRefused holds each bound, and that nothing of a person is
// repeated.
func TestWhatIsNoWishIsRefused(t *testing.T) {
	t.Parallel()
	l, url := openList(t)
	long := strings.Repeat("x", 201)
	for _, tt := range []struct {
		name, body string
		status     int
		pointer    string
	}{
		{"nobody", `{"lane":"sales","reason":"x"}`, 422, "/number"},
		{"null", `null`, 422, "/number"},
		{"both", `{"number":"+14155550101","address":"ada@example.com","lane":"sales","reason":"x"}`, 422, "/address"},
		{"no reason", `{"number":"+14155550101","lane":"sales","reason":" "}`, 422, "/reason"},
		{"a long reason", `{"number":"+14155550101","lane":"sales","reason":"` + long + `"}`, 422, "/reason"},
		{"a long source", `{"number":"+14155550101","lane":"sales","reason":"x","source":"` + long + `"}`, 422, "/source"},
		{"an address as number", `{"number":"ada@example.com","lane":"sales","reason":"x"}`, 422, "/number"},
		{"a number as address", `{"address":"+14155550101","lane":"sales","reason":"x"}`, 422, "/address"},
		{"a wrong number", `{"number":"12","lane":"sales","reason":"x"}`, 422, "/number"},
		{"a wrong region", `{"number":"030","region":"XX","lane":"sales","reason":"x"}`, 422, "/region"},
		{"a misspelt member", `{"number":"+14155550101","lane":"sales","resaon":"x"}`, 422, ""},
		{"a number that is no text", `{"number":14155550101,"lane":"sales","reason":"x"}`, 400, "/number"},
		{"no JSON", `{"number":"+14155550101"`, 400, ""},
		{"two of them", `{"number":"+14155550101","lane":"sales","reason":"x"}{}`, 400, ""},
		{"nothing", ``, 400, ""},
		{"an empty list", `[]`, 400, ""},
		{"too many", `[` + strings.Repeat(`{},`, 1000) + `{}]`, 413, ""},
		{"too long for one", `{"number":"+14155550101","lane":"sales","reason":"x","region":"` + strings.Repeat("x", 5000) + `"}`, 413, ""},
		{"too long", `{"number":"` + strings.Repeat("1", 1<<20) + `"}`, 413, ""},
	} {
		a := ask(t, "POST", url+"/contacts/block", tt.body, "Content-Type", asJSON)
		if a.isRefusal(t, tt.status); a.Pointer != tt.pointer || strings.Contains(a.body, "415555") || strings.Contains(a.body, "ada@") {
			t.Errorf("%s: got %d %s, want %d at %q", tt.name, a.status, a.body, tt.status, tt.pointer)
		}
	}
	good := `{"number":"+14155550101","lane":"sales","reason":"x"}`
	for _, tt := range []struct {
		name, method, path string
		status             int
		header             []string
	}{
		{"GET", "GET", "/contacts/block", 405, []string{"Content-Type", asJSON}},
		{"DELETE", "DELETE", "/contacts/allow", 405, []string{"Content-Type", asJSON}},
		{"no token", "POST", "/contacts/block", 401, []string{"Authorization", "", "Content-Type", asJSON}},
		{"a wrong one", "POST", "/contacts/block", 401, []string{"Authorization", "Bearer x", "Content-Type", asJSON}},
		{"of another type", "POST", "/contacts/block", 415, []string{"Content-Type", "text/plain"}},
		{"compressed", "POST", "/contacts/block", 415, []string{"Content-Type", asJSON, "Content-Encoding", "gzip"}},
		{"elsewhere", "POST", "/contacts/list", 404, []string{"Content-Type", asJSON}},
	} {
		ask(t, tt.method, url+tt.path, good, tt.header...).isRefusal(t, tt.status)
	}
	if len(l.wishes) != 0 {
		t.Errorf("done: got %+v, want nothing", l.wishes)
	}
	l.fail = errors.New("the broker is away")
	a := ask(t, "POST", url+"/contacts/block", good, "Content-Type", asJSON)
	if a.isRefusal(t, 503); strings.Contains(a.body, "broker is away") {
		t.Errorf("got %s, want no words of the inside", a.body)
	}
}

// TestAListOfPeople tells what became of each, as an array and as lines.
func TestAListOfPeople(t *testing.T) {
	t.Parallel()
	item := func(number string) string { return fmt.Sprintf(`{"number":%q,"lane":"sales","reason":"x"}`, number) }
	for _, tt := range []struct{ kind, good, mixed string }{
		{asJSON, "[" + item("+1") + "," + item("+2") + "]", "[" + item("+1") + "," + item("12") + "," + item("+3") + "]"},
		{"application/x-ndjson; charset=utf-8", item("+1") + "\r\n\n" + item("+2") + "\n", item("+1") + "\n" + item("12") + "\n" + item("+3")},
	} {
		l, url := openList(t)
		statuses := func(a answer) (all []int) {
			var got struct{ Contacts []contactAnswer }
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			for i, c := range got.Contacts {
				if c.Index == nil || *c.Index != i {
					t.Errorf("%s: got %+v, want index %d", tt.kind, c, i)
				}
				all = append(all, c.Status)
			}
			return all
		}
		a := ask(t, "POST", url+"/contacts/block", tt.good, "Content-Type", tt.kind)
		if diff := cmp.Diff([]int{201, 201}, statuses(a)); diff != "" || a.status != 200 {
			t.Errorf("%s: got %d %s", tt.kind, a.status, a.body)
		}
		a = ask(t, "POST", url+"/contacts/block", tt.mixed, "Content-Type", tt.kind)
		a.isRefusal(t, 422)
		if diff := cmp.Diff([]int{200, 422, 201}, statuses(a)); diff != "" {
			t.Errorf("%s, mixed: got %s", tt.kind, a.body)
		}
		l.fail = errors.New("away")
		a = ask(t, "POST", url+"/contacts/block", tt.good, "Content-Type", tt.kind)
		a.isRefusal(t, 503)
		if diff := cmp.Diff([]int{503, 503}, statuses(a)); diff != "" || !strings.Contains(a.body, "Not tried") {
			t.Errorf("%s, broker away: got %s", tt.kind, a.body)
		}
	}
}

// TestTheRateOfPeople holds a publisher's rate, by people and not by requests.
func TestTheRateOfPeople(t *testing.T) {
	t.Parallel()
	_, url := openList(t) // shop: one a second, ten at once
	body := "[" + strings.TrimSuffix(strings.Repeat(`{"number":"+1","reason":"x"},`, 10), ",") + "]"
	if a := ask(t, "POST", url+"/contacts/block", body, "Authorization", "Bearer "+shopToken, "Content-Type", asJSON); a.status != 200 {
		t.Fatalf("ten at once: got %d %s", a.status, a.body)
	}
	ask(t, "POST", url+"/contacts/block", body, "Authorization", "Bearer "+shopToken, "Content-Type", asJSON).isRefusal(t, 429)
}
