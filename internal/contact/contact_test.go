package contact_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nyaruka/phonenumbers"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact"
	"github.com/weirhq/weir/schema"
)

// said is what an error of the package means, and its words.
func said(t *testing.T, err error) (kind, reason string) {
	t.Helper()
	if err == nil {
		return "fine", ""
	}
	if s, ok := errors.AsType[*schema.Skip](err); ok {
		if s.Class != schema.ClassContact {
			t.Errorf("got class %q, want %q", s.Class, schema.ClassContact)
		}
		if !slices.Contains([]string{consumer.RuleConsent, consumer.RuleNumber, consumer.RuleRegion}, s.Rule) {
			t.Errorf("got rule %q, want the one that forbids it", s.Rule)
		}
		return "never", s.Reason
	}
	if r, ok := errors.AsType[*schema.Refusal](err); ok {
		return "refused", r.Error()
	}
	t.Fatalf("got %T %v, want a refusal or a skip", err, err)
	return "", ""
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ region, text, want string }{
		{"", "+14155550101", "+14155550101"},
		{"", " +1 (415) 555-0101 ", "+14155550101"},
		{"", "+49 (0)30 / 123456", "+4930123456"},
		{"", "", ""},
		{"", "030 123456", "refused"},
		{"", "0049 30 123456", "refused"},
		{"DE", "030 123456", "+4930123456"},
		{"DE", "0049 30 123456", "+4930123456"},
		{"DE", "+1 415 555 0101", "+14155550101"},
		{"IT", "06 12345678", "+390612345678"}, // whose zero is part of the number
		{"DE", "030 123456 ext. 5", "refused"},
		{"DE", "030 123456;ext=5", "refused"},
		{"DE", "tel:+4930123456", "refused"},
		{"US", "1-800-FLOWERS", "refused"},
		{"DE", "+", "refused"},
		{"DE", "1", "refused"},
		{"", "+999123456789", "refused"},
		{"DE", strings.Repeat("1", 100), "refused"},
		{"DE", "030 123456\n030 123457", "refused"},
		{"DE", "٠٣٠١٢٣٤٥٦", "refused"},
		{"DE", "110", "never"},
		{"DE", "+49110", "never"},
		{"US", "911", "never"},
		{"AU", "000", "never"},
		{"FR", "15", "never"},
		{"", "+1 911", "never"},
		{"DE", "116 117", "never"},
		{"", "+49116117", "never"},
		{"DE", "0900 1234567", "never"},
		{"", "+19005550100", "never"},
	} {
		t.Run(tt.region+" "+tt.text, func(t *testing.T) {
			t.Parallel()
			rules, err := contact.New(contact.Config{Numbers: contact.Numbers{Region: tt.region}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := rules.Number("toPhoneNumber", tt.text)
			if err != nil {
				got, _ = said(t, err)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
			if err != nil && (strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), "11111")) {
				t.Errorf("got %v, want nobody's number in it", err)
			}
		})
	}
}

// What a number was found to be when it was made makes no difference to the rules.
func TestNumberThenRule(t *testing.T) {
	t.Parallel()
	texts := []string{
		"+14155550101", "+4930123456", "+390612345678", "+49110", "+49116117", "+19005550100", "+1415555010", "+15555550100",
		"+49 30 123456", "030 123456", "110", "", "+", "+999123456789", "+4915112345678",
	}
	for _, region := range []string{"", "DE"} {
		for _, deny := range [][]string{nil, {"US"}} {
			made := func() *contact.Rules {
				rules, err := contact.New(contact.Config{Numbers: contact.Numbers{Region: region, Deny: deny}})
				if err != nil {
					t.Fatal(err)
				}
				return rules
			}
			used, e := made(), schema.NewReading(event.New())
			for _, first := range texts {
				_, _ = used.Number("to", first)
				for _, text := range texts {
					to := consumer.Recipient{Channel: "telephony", Number: text, Field: "to"}
					_, got := used.Rule(e, to)
					_, want := made().Rule(e, to)
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%q after %q: got %v, want %v", text, first, got, want)
					}
				}
			}
		}
	}
}

func TestWhoIsCalled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		numbers contact.Numbers
		to      consumer.Recipient
		want    string
	}{
		{"any", contact.Numbers{}, consumer.Recipient{Number: "+14155550101"}, "fine"},
		{"of a chat", contact.Numbers{}, consumer.Recipient{Channel: "chat"}, "fine"},
		{"short", contact.Numbers{}, consumer.Recipient{Number: "+49116117"}, "never"},
		{"premium", contact.Numbers{SendInvalid: true}, consumer.Recipient{Number: "+499001234567"}, "never"},
		{"premium of no country", contact.Numbers{SendInvalid: true}, consumer.Recipient{Number: "+979123456789"}, "never"},
		{"not known", contact.Numbers{}, consumer.Recipient{Number: "+15555550100"}, "refused"},
		{"not known, as it may be", contact.Numbers{SendInvalid: true}, consumer.Recipient{Number: "+15555550100"}, "fine"},
		{"too short", contact.Numbers{SendInvalid: true}, consumer.Recipient{Number: "+331701899"}, "refused"},
		{"local only", contact.Numbers{SendInvalid: true}, consumer.Recipient{Number: "+15550101"}, "refused"},
		{"too long", contact.Numbers{SendInvalid: true}, consumer.Recipient{Number: "+141555501011"}, "refused"},
		{"another spelling", contact.Numbers{}, consumer.Recipient{Number: "+1 415 555 0101"}, "refused"},
		{"allowed", contact.Numbers{Allow: []string{"US"}}, consumer.Recipient{Number: "+14155550101"}, "fine"},
		{"not allowed", contact.Numbers{Allow: []string{"CA", "DE"}}, consumer.Recipient{Number: "+14155550101"}, "never"},
		{"denied", contact.Numbers{Deny: []string{"US"}}, consumer.Recipient{Number: "+14155550101"}, "never"},
		{"another denied", contact.Numbers{Deny: []string{"CA"}}, consumer.Recipient{Number: "+14155550101"}, "fine"},
		{"perhaps not allowed", contact.Numbers{SendInvalid: true, Allow: []string{"US"}}, consumer.Recipient{Number: "+15555550100"}, "never"},
		{"perhaps denied", contact.Numbers{SendInvalid: true, Deny: []string{"JM"}}, consumer.Recipient{Number: "+15555550100"}, "never"},
		{"of no region", contact.Numbers{Allow: []string{"US"}}, consumer.Recipient{Number: "+80012345678"}, "never"},
		{"mail", contact.Numbers{}, consumer.Recipient{Address: "zoe.l+x@mail.example.com"}, "fine"},
		{"mail in other letters", contact.Numbers{}, consumer.Recipient{Address: "josé@münchen.example"}, "fine"},
		{"mail without a domain", contact.Numbers{}, consumer.Recipient{Address: "zoe@localhost"}, "refused"},
		{"mail with a name", contact.Numbers{}, consumer.Recipient{Address: "Zoe <zoe@example.com>"}, "refused"},
		{"mail to two", contact.Numbers{}, consumer.Recipient{Address: "zoe@example.com,bob@example.com"}, "refused"},
		{"mail to an address", contact.Numbers{}, consumer.Recipient{Address: "zoe@[127.0.0.1]"}, "refused"},
		{"mail to digits", contact.Numbers{}, consumer.Recipient{Address: "zoe@127.0.0.1"}, "refused"},
		{"no mail", contact.Numbers{}, consumer.Recipient{Address: "zoe"}, "refused"},
		{"long mail", contact.Numbers{}, consumer.Recipient{Address: strings.Repeat("a", 65) + "@example.com"}, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rules, err := contact.New(contact.Config{Numbers: tt.numbers})
			if err != nil {
				t.Fatal(err)
			}
			tt.to.Field = "toField"
			_, err = rules.Rule(schema.NewReading(event.New()), tt.to)
			kind, reason := said(t, err)
			if kind != tt.want {
				t.Errorf("got %s (%s), want %s", kind, reason, tt.want)
			}
			if kind == "refused" && !strings.HasPrefix(reason, "toField: ") {
				t.Errorf("got %q, want the field that it is about", reason)
			}
			if strings.Contains(reason, "5555") || strings.Contains(reason, "zoe") {
				t.Errorf("got %q, want nobody's number or address in it", reason)
			}
		})
	}
}

// A lane without rules calls what its provider takes, but for some numbers.
func TestAlways(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"+14155550101": "fine", "+15555550100": "fine", "+447700900123": "fine", "(415) 555-0101": "fine", "": "fine",
		"+49116117": "never", "+19005550100": "never", "+1911": "never", "+979123456789": "never",
	} {
		got, err := contact.Always{}.Number("to", text)
		if err != nil || got != text {
			t.Errorf("%s: got %q, %v, want it as it is", text, got, err)
		}
		_, err = contact.Always{}.Rule(schema.NewReading(event.New()), consumer.Recipient{Number: text})
		if kind, _ := said(t, err); kind != want {
			t.Errorf("%s: got %s, want %s", text, kind, want)
		}
	}
}

// What tells the zone: the event, else the number, else the lane.
func TestWhoseClock(t *testing.T) {
	t.Parallel()
	where, err := schema.CompileText("${ data.time_zone }")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, data, number, lane, want string }{
		{"event", `{"time_zone":"Asia/Tokyo"}`, "+4930123456", "Europe/London", "Asia/Tokyo"},
		{"number", `{}`, "+4930123456", "Europe/London", "Europe/Berlin"},
		{"empty in the event", `{"time_zone":" "}`, "+4930123456", "Europe/London", "Europe/Berlin"},
		{"lane", `{}`, "", "Europe/London", "Europe/London"},
		{"number that tells nothing", `{}`, "+80012345678", "Europe/London", "Europe/London"},
		{"nothing", `{}`, "", "", "refused"},
		{"not a zone", `{"time_zone":"Mars/Olympus"}`, "+4930123456", "Europe/London", "refused"},
		{"the host's own", `{"time_zone":"Local"}`, "", "Europe/London", "refused"},
		{"a path", `{"time_zone":"../../etc/passwd"}`, "", "Europe/London", "refused"},
		{"no text", `{"time_zone":7}`, "", "Europe/London", "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rules, err := contact.New(contact.Config{Where: where, Zone: tt.lane, Windows: []contact.Window{every(9*60, 10*60)}})
			if err != nil {
				t.Fatal(err)
			}
			ev := event.New()
			ev.SetType("lead.created")
			if err := ev.SetData(event.ApplicationJSON, []byte(tt.data)); err != nil {
				t.Fatal(err)
			}
			r, err := rules.Rule(schema.NewReading(ev), consumer.Recipient{Channel: "telephone", Number: tt.number})
			got, _ := said(t, err)
			if err == nil {
				got = r.Judge("k", time.Date(2026, 6, 1, 23, 30, 0, 0, time.UTC)).Reason
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

func TestWindowsOfAChannel(t *testing.T) {
	t.Parallel()
	calls := every(9*60, 10*60)
	calls.Channels = []string{"telephone"}
	c := contact.Config{Zone: "UTC", Windows: []contact.Window{calls}}
	if rule(t, c, consumer.Recipient{Channel: "telephone"}) == nil {
		t.Error("telephone: got no rule, want its window")
	}
	if r := rule(t, c, consumer.Recipient{Channel: "email"}); r != nil {
		t.Errorf("email: got %v, want it free", r)
	}
}

// Each zone that a number's prefix may mean is one that can be loaded.
func TestZonesOfAllPrefixes(t *testing.T) {
	t.Parallel()
	for number, zones := range contact.PrefixZones() {
		for _, name := range zones {
			if err := contact.CheckZone(name); err != nil && name != "Etc/Unknown" {
				t.Errorf("+%d: %s: %v", number, name, err)
			}
		}
	}
}

func TestImpossibleRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]contact.Config{
		"no day":     {Windows: []contact.Window{{From: 1, To: 2}}},
		"no time":    {Windows: []contact.Window{every(60, 60)}},
		"no hour 25": {Windows: []contact.Window{every(60, 1500)}},
		"no zone":    {Zone: "Europe/Atlantis"},
	} {
		if _, err := contact.New(c); err == nil {
			t.Errorf("%s: got rules, want an error", name)
		}
	}
}

// No number that is an emergency number anywhere is called there.
func TestEmergencyNumbersOfAllRegions(t *testing.T) {
	t.Parallel()
	found := 0
	for region := range phonenumbers.GetSupportedRegions() {
		rules, err := contact.New(contact.Config{Numbers: contact.Numbers{Region: region, SendInvalid: true}})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 1000 {
			if n >= 200 && n < 900 {
				continue // hardly any begin so, and each number costs
			}
			texts := []string{fmt.Sprintf("%03d", n)}
			if n < 100 {
				texts = append(texts, fmt.Sprintf("%02d", n))
			}
			for _, text := range texts {
				if !phonenumbers.IsEmergencyNumber(text, region) {
					continue
				}
				found++
				_, err := rules.Number("f", text)
				if kind, _ := said(t, err); kind != "never" {
					t.Errorf("%s in %s: got %s, want never", text, region, kind)
				}
			}
		}
	}
	if found < 400 {
		t.Errorf("got %d emergency numbers, want those of all regions", found)
	}
}
