package console_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/console"
)

// reads are the pages, and the searches that change nothing.
var reads = []struct {
	path string
	form url.Values // nil: GET
}{
	{"/events", nil}, {"/events?lane=acme&state=dead&age=7d", nil}, {"/events/acme/" + key, nil},
	{"/events", url.Values{"word": {"x"}}},
	{"/dead", nil}, {"/dead?lane=acme&class=request&from=50", nil}, {"/dead", url.Values{"text": {"+14155550199"}}},
	{"/dead/preview", url.Values{"verb": {"send"}, "class": {"request"}}}, {"/dead/preview", url.Values{"verb": {"drop"}}},
	{"/dead/acme/" + key, nil},
	{"/doubts", nil}, {"/doubts?lane=acme", nil}, {"/doubts/acme/" + key, nil},
	{"/contacts", nil}, {"/contacts", url.Values{"person": {"+14155550199"}}},
	{"/undelivered", nil}, {"/undelivered/acme/" + key, nil},
	{"/configuration", nil},
}

func (v *visitor) read(path string, form url.Values) answer {
	if form == nil {
		return v.get(path)
	}
	return v.post(path, form)
}

// TestPagesOfAllKinds shows each page with much, with nothing, with a broker that is
// away, and with what others wrote.
func TestPagesOfAllKinds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		desk   *pagesDesk
		status int
	}{
		"hostile": {fullDesk(), http.StatusOK},
		"empty":   {&pagesDesk{}, http.StatusOK},
		"broken":  {&pagesDesk{err: console.Away{Err: errors.New("no responders for ada@example.com")}}, http.StatusServiceUnavailable},
		"strange": {&pagesDesk{err: errors.New("disk +14155550199")}, http.StatusInternalServerError},
	} {
		v := open(t, tt.desk.desks(), nil).signIn()
		for _, p := range reads {
			a := v.read(p.path, p.form)
			status := tt.status
			if name == "empty" && strings.HasPrefix(p.path, "/undelivered/") {
				status = http.StatusNotFound
			}
			a.want(t, status, "<!doctype html>", `href="/dead"`, "</html>")
			for _, never := range []string{"<script>", ` onmouseover="x`, " style=", "ada@", "5550199", "ZgotmplZ", "\u202e\U0001f600 "} {
				if never == "5550199" && p.form.Get("text") != "" && status == http.StatusOK {
					continue // the text of a search stands in its own field
				}
				if strings.Contains(a.text, never) {
					t.Errorf("%s %s: got %q in the page", name, p.path, never)
				}
			}
		}
		if len(tt.desk.acts) > 0 {
			t.Errorf("%s: got %q, want nothing done", name, tt.desk.acts)
		}
	}
}

func TestPagesNeedSigningIn(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	v := open(t, desk.desks(), nil)
	for _, p := range reads {
		want := http.StatusSeeOther
		if p.form != nil {
			want = http.StatusUnauthorized
		}
		v.read(p.path, p.form).want(t, want)
	}
	if len(desk.asked) > 0 {
		t.Errorf("got %q asked of the desk", desk.asked)
	}
}

// acts are what can be done, with what the desk is told.
var acts = []struct {
	path string
	form url.Values
	to   string // where the visitor is sent
	want string // of the desk
}{
	{"/events/acme/" + key, url.Values{}, "/events/acme/" + key, "withdraw acme " + key + " by Ada: because"},
	{"/dead/act", url.Values{"verb": {"send"}, "seen": {"acme_" + key + "_7 globex_" + key + "_1"}, "class": {"request"}, "text": {"hidden"}}, "/dead?class=request", "send [{acme " + key + " 7} {globex " + key + " 1}] by Ada: because"},
	{"/dead/act", url.Values{"verb": {"drop"}, "seen": {"acme_" + key + "_7"}}, "/dead", "drop [{acme " + key + " 7}] by Ada: because"},
	{"/dead/acme/" + key, url.Values{"how": {"send"}, "n": {"7"}}, "/events/acme/" + key, "send {acme " + key + ` 7} with "" by Ada: because`},
	{"/dead/acme/" + key, url.Values{"how": {"drop"}, "n": {"7"}}, "/events/acme/" + key, "drop {acme " + key + ` 7} with "" by Ada: because`},
	{"/dead/acme/" + key, url.Values{"how": {"correct"}, "n": {"7"}, "event": {" {} "}}, "/events/acme/" + key, "send {acme " + key + ` 7} with "{}" by Ada: because`},
	{"/doubts/acme/" + key, url.Values{"how": {"created"}, "n": {"7"}, "conversation": {" c-1 "}}, "/events/acme/" + key, "settle {acme " + key + " 7} {Created:c-1 Retry:false Drop:false} by Ada: because"},
	{"/doubts/acme/" + key, url.Values{"how": {"retry"}, "n": {"7"}}, "/events/acme/" + key, "settle {acme " + key + " 7} {Created: Retry:true Drop:false} by Ada: because"},
	{"/doubts/acme/" + key, url.Values{"how": {"drop"}, "n": {"7"}}, "/events/acme/" + key, "settle {acme " + key + " 7} {Created: Retry:false Drop:true} by Ada: because"},
	{"/contacts/block", url.Values{"person": {"+14155550199"}, "source": {"mail"}}, "/contacts", "block +14155550199 lane= source=mail by Ada: because"},
	{"/contacts/allow", url.Values{"person": {"+14155550199"}, "lane": {"acme"}}, "/contacts", "allow +14155550199 lane=acme by Ada: because"},
	{"/undelivered/acme/" + key, url.Values{"how": {"send"}, "sequence": {"9"}}, "/undelivered", "send outcome acme " + key + " 9 by Ada: because"},
	{"/undelivered/acme/" + key, url.Values{"how": {"drop"}, "sequence": {"9"}}, "/undelivered", "drop outcome acme " + key + " 9 by Ada: because"},
}

// TestActs does each act: with a reason it is done once and told once, without one it
// is not done, and if somebody was faster that is said.
func TestActs(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	v := open(t, desk.desks(), nil).signIn()
	for _, tt := range acts {
		*desk = *fullDesk()
		if strings.HasPrefix(tt.path, "/doubts/") {
			desk.letter.State = "doubt"
		}
		name := tt.path + " " + tt.form.Get("how") + tt.form.Get("verb")

		without := url.Values{}
		maps.Copy(without, tt.form)
		without.Set("reason", " \t")
		a := v.post(tt.path, without)
		a.want(t, http.StatusUnprocessableEntity, "Say why.", `role="alert"`)
		if person := tt.form.Get("person"); person != "" && strings.Contains(a.text, person) {
			t.Errorf("%s: the person was sent back", name)
		}
		if len(desk.acts) > 0 {
			t.Fatalf("%s without a reason: got %q", name, desk.acts)
		}

		form := without
		form.Set("reason", "because")
		a = v.post(tt.path, form)
		a.want(t, http.StatusSeeOther)
		if got := a.Header.Get("Location"); got != tt.to {
			t.Errorf("%s: got sent to %s, want %s", name, got, tt.to)
		}
		if diff := cmp.Diff([]string{tt.want}, desk.acts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if after := v.get("/"); !strings.Contains(after.text, `class="word`) || strings.Contains(after.text, "<script>alert") {
			t.Errorf("%s: got no word, or a raw one, on the next page", name)
		}

		desk.err = console.Denied{Text: "Nothing was done: the event is created now.", Next: "Look at it again."}
		v.post(tt.path, form).want(t, http.StatusConflict, "created now")
		desk.err = console.Away{Err: errors.New("no responders")}
		v.post(tt.path, form).want(t, http.StatusServiceUnavailable, "weir check")
		if len(desk.acts) != 1 {
			t.Errorf("%s: got %q, want it done once", name, desk.acts)
		}
		desk.err = nil
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			v.do(v.request(method, tt.path, nil)).want(t, http.StatusMethodNotAllowed)
		}
		foreign := v.request(http.MethodPost, tt.path, strings.NewReader(form.Encode()))
		foreign.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		foreign.Header.Set("Sec-Fetch-Site", "cross-site")
		v.do(foreign).want(t, http.StatusForbidden)
		if len(desk.acts) != 1 {
			t.Errorf("%s: got %q, want it done once", name, desk.acts)
		}
	}
}

// TestWrongForms sends what the pages' own forms would not: nothing is done.
func TestWrongForms(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	v := open(t, desk.desks(), nil).signIn()
	because := func(more ...string) url.Values {
		form := url.Values{"reason": {"because"}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	var many []string
	for range console.MostSteps + 1 {
		many = append(many, "acme_"+key+"_1")
	}
	for i, tt := range []struct {
		path   string
		form   url.Values
		status int
		says   string
	}{
		{"/events", url.Values{}, 422, "Give an id, an intent or a person."},
		{"/events/acme/nonsense", because(), 404, "no such event"},
		{"/events/ACME/" + key, because(), 404, "no such event"},
		{"/dead/act", because("verb", "send"), 422, "begin with the preview"},
		{"/dead/act", because("verb", "send", "seen", "acme_"+key), 422, "begin with the preview"},
		{"/dead/act", because("verb", "send", "seen", "acme_"+key+"_x"), 422, "begin with the preview"},
		{"/dead/act", because("verb", "send", "seen", "../x_"+key+"_1"), 422, "begin with the preview"},
		{"/dead/act", because("verb", "send", "seen", strings.Join(many, " ")), 422, "begin with the preview"},
		{"/dead/act", because("verb", "burn", "seen", "acme_"+key+"_1"), 422, "what to do"},
		{"/dead/preview", because("verb", ""), 422, "what to do"},
		{"/dead/acme/" + key, because("how", "send"), 422, "which state"},
		{"/dead/acme/" + key, because("how", "burn", "n", "7"), 422, "what to do"},
		{"/dead/acme/" + key, because("how", "correct", "n", "7", "event", "  "), 422, "Give the event."},
		{"/dead/acme/" + key, because("how", "correct", "n", "7", "event", `{"refused":1}`), 422, "would be refused: data.phone."},
		{"/dead/acme/" + key, because("how", "correct", "n", "7", "event", strings.Repeat("x", 2<<20)), 413, "too long"},
		{"/doubts/acme/" + key, because("how", "created", "n", "7", "conversation", " "), 422, "is dead"},
		{"/doubts/acme/" + key, because("how", "", "n", "7"), 422, "how the doubt is settled"},
		{"/contacts/block", because("person", "ada"), 422, "This is no number."},
		{"/contacts/block", because("person", "+14155550199", "lane", "no such"), 422, "no lane of that name"},
		{"/undelivered/acme/" + key, because("how", "send"), 422, "which outcome"},
		{"/undelivered/acme/" + key, because("how", "burn", "sequence", "9"), 422, "what to do"},
	} {
		a := v.post(tt.path, tt.form)
		if a.StatusCode != tt.status || !strings.Contains(a.text, tt.says) {
			t.Errorf("%d %s: got %d, want %d and %q", i, tt.path, a.StatusCode, tt.status, tt.says)
		}
	}
	v.get("/dead/act").want(t, http.StatusMethodNotAllowed)
	if len(desk.acts) > 0 {
		t.Errorf("got %q, want nothing done", desk.acts)
	}
	a := v.post("/dead/acme/"+key, because("how", "correct", "n", "7", "event", `{"refused":1}`))
	if !strings.Contains(a.text, "{&#34;refused&#34;:1}") || strings.Count(a.text, `aria-invalid="true"`) != 1 {
		t.Errorf("got no event back in its own form, or what is wrong at another place too")
	}
}

// TestWhatIsAskedOfTheDesk holds what addresses and forms are read as.
func TestWhatIsAskedOfTheDesk(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	v := open(t, desk.desks(), nil).signIn()
	for _, tt := range []struct {
		path string
		form url.Values
		want string
	}{
		{"/events", nil, "find lane= word= source= person= state= since=1h0m0s"},
		{"/events?lane=acme&state=doubt&age=all", nil, "find lane=acme word= source= person= state=doubt since=ever"},
		{"/events?lane=NO&state=odd&age=odd&word=x&person=%2B1", nil, "find lane= word= source= person= state= since=1h0m0s"},
		{"/events", url.Values{"word": {" 1 "}, "source": {"/crm"}, "lane": {"acme"}}, "find lane=acme word=1 source=/crm person= state= since=ever"},
		{"/events", url.Values{"person": {"+14155550199"}}, "find lane= word= source= person=+14155550199 state= since=ever"},
		{"/dead?lane=acme&class=request&type=lead.*&since=2h&until=1h&text=no&from=50", nil, "letters {Lane:acme Class:request Type:lead.* Since:2h Until:1h Text:} from 50"},
		{"/dead?from=-7", nil, "letters {Lane: Class: Type: Since: Until: Text:} from 0"},
		{"/dead", url.Values{"text": {"busy"}, "from": {"100"}}, "letters {Lane: Class: Type: Since: Until: Text:busy} from 100"},
		{"/doubts?lane=acme&from=3", nil, "letters {Lane:acme Class: Type: Since: Until: Text:} from 3"},
		{"/contacts?lane=acme&from=5", nil, "blocked acme from 5"},
		{"/undelivered?lane=acme", nil, "undelivered acme from 0"},
	} {
		desk.asked = nil
		v.read(tt.path, tt.form).want(t, http.StatusOK)
		if got := strings.Join(desk.asked, "|"); got != tt.want {
			t.Errorf("%s %v: got %s, want %s", tt.path, tt.form, got, tt.want)
		}
	}
}

func TestListsAreTurned(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	v := open(t, desk.desks(), nil).signIn()
	v.get("/dead?class=request").want(t, http.StatusOK, "120 dead letters, 1 to 50", `href="/dead?class=request&amp;from=50"`)
	a := v.get("/dead?class=request&from=100")
	a.want(t, http.StatusOK, "101 to 120")
	if strings.Contains(a.text, ">More<") {
		t.Error("the last page leads on")
	}
	// A text to search for stands in forms alone.
	a = v.post("/dead", url.Values{"text": {"secret words"}, "lane": {"acme"}})
	a.want(t, http.StatusOK, `name="from" value="50"`, `name="text" value="secret words"`, `name="lane" value="acme"`)
	for line := range strings.Lines(a.text) {
		if strings.Contains(line, "href=") && strings.Contains(line, "secret") {
			t.Errorf("got the text in an address: %s", line)
		}
	}
	v.get("/contacts?lane=acme").want(t, http.StatusOK, `href="/contacts?from=1&amp;lane=acme"`)
}

func TestOneEventThatIsFoundIsShown(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	desk.lines, desk.rest = desk.lines[:1], ""
	v := open(t, desk.desks(), nil).signIn()
	a := v.post("/events", url.Values{"person": {"+14155550199"}})
	a.want(t, http.StatusSeeOther)
	if got, want := a.Header.Get("Location"), "/events/acme/"+key; got != want {
		t.Errorf("got sent to %s, want %s", got, want)
	}
	desk.event.State, desk.event.Withdrawable = "doubt", false
	a = v.get("/events/acme/" + key)
	a.want(t, http.StatusOK, `href="/doubts/acme/`+key)
	if strings.Contains(a.text, "Withdraw it") {
		t.Error("got a button to withdraw a doubt")
	}
}

func TestPreviewOfNothing(t *testing.T) {
	t.Parallel()
	desk := fullDesk()
	desk.fates.Can, desk.fates.Steps = 0, nil
	v := open(t, desk.desks(), nil).signIn()
	a := v.post("/dead/preview", url.Values{"verb": {"drop"}})
	a.want(t, http.StatusOK, "nothing to do with any of them")
	if strings.Contains(a.text, `action="/dead/act"`) {
		t.Error("got a button that does nothing")
	}
	desk = fullDesk()
	a = open(t, desk.desks(), nil).signIn().post("/dead/preview", url.Values{"verb": {"send"}})
	a.want(t, http.StatusOK, "Nothing was done yet", `name="seen" value="acme_`+key+"_7 globex_"+key+`_1"`, "Send again: 2 dead letters")
}

func TestProblemsForPrograms(t *testing.T) {
	t.Parallel()
	desk := &pagesDesk{err: console.Away{Err: errors.New("no responders")}}
	v := open(t, desk.desks(), nil).signIn()
	r := v.request(http.MethodGet, "/dead", nil)
	r.Header.Set("Accept", "application/json")
	a := v.do(r)
	a.want(t, http.StatusServiceUnavailable)
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type: got %s", got)
	}
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(a.text), &problem); err != nil || problem.Status != 503 || !strings.Contains(problem.Detail, "no responders") || problem.Title == "" || problem.Type != "about:blank" {
		t.Errorf("got %+v, %v", problem, err)
	}
	if a.Header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
}

func TestDeskErrorsAreToldInTheForm(t *testing.T) {
	t.Parallel()
	desk := &pagesDesk{err: console.Invalid{Field: "since", Text: "Give an age."}}
	v := open(t, desk.desks(), nil).signIn()
	a := v.get("/dead?since=odd")
	a.want(t, http.StatusUnprocessableEntity, `id="since-wrong" role="alert">Give an age.`, `value="odd"`)
	desk.err = console.Invalid{Field: "person", Text: "This is no number."}
	a = v.post("/events", url.Values{"person": {"+14155550199"}, "source": {"/crm"}})
	a.want(t, http.StatusUnprocessableEntity, `id="person-wrong" role="alert">This is no number.`, `value="/crm"`)
	if strings.Contains(a.text, "5550199") {
		t.Error("the person was sent back")
	}
}

func TestPagesWithoutADeskAreNotThere(t *testing.T) {
	t.Parallel()
	v := open(t, console.Desks{Lanes: oneLane()}, nil).signIn()
	for _, p := range []string{"/events", "/dead", "/doubts", "/contacts", "/undelivered", "/configuration"} {
		v.get(p).want(t, http.StatusNotFound)
	}
	if a := v.get("/"); slices.ContainsFunc([]string{"/events", "/dead"}, func(p string) bool { return strings.Contains(a.text, fmt.Sprintf("href=%q", p)) }) {
		t.Error("the navigation leads to pages that are not there")
	}
}
