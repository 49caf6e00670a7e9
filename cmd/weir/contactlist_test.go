package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/internal/guard"
)

// state is where an event of the plant stands.
func (p *plant) state(t *testing.T, lane, id string) consumer.Intent {
	t.Helper()
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	var in consumer.Intent
	a := &app{ctx: t.Context(), lg: zerolog.Nop()}
	err = a.atDeskOf(cfg, func(d *desk) (err error) {
		in, _, err = d.ledger.Load(t.Context(), lane, consumer.Key(lane, "/crm", id))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// The whole of it: who is blocked is not called, by whatever lane, and the outcome
// says why; who is allowed again is.
func TestWhoIsBlockedIsNotCalled(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales", "support")
	stop := p.serve(t, "sales", "support")
	defer stop()
	contains(t, p.weir(t, "contact", "list"), "Nobody is blocked.")
	contains(t, p.weir(t, "contact", "block", "+1 (415) 555-0101", "--reason", "asked on the phone", "--source", "call"), "…01 is blocked in all lanes\n")
	contains(t, p.weir(t, "contact", "block", "(415) 555-0102", "--region", "us", "--lane", "support", "--reason", "no"), "…02 is blocked in lane support\n")
	contains(t, p.weir(t, "contact", "block", "+14155550101", "--reason", "again"), "…01 was blocked in all lanes already\n")
	list := p.weir(t, "contact", "list")
	contains(t, list, "…01     ", "all lanes", "ana  call    asked on the phone\n", "…02     ", "  support  ")
	if strings.Contains(list, "4155550101") {
		t.Errorf("the list shows a number:\n%s", list)
	}
	contains(t, p.weir(t, "contact", "list", "--reveal", "--lane", "sales"), "+14155550101")
	contains(t, p.weir(t, "contact", "show", "+14155550101"), "asked on the phone")

	leads := p.file(t, "leads.ndjson", lead("1", "+14155550101", ""), lead("2", "+14155550102", ""), lead("3", "+14155550103", ""))
	p.weir(t, "publish", leads, "--lane", "sales")
	p.weir(t, "publish", leads, "--lane", "support")
	for _, tt := range []struct {
		lane, id string
		want     consumer.State
	}{
		{"sales", "1", consumer.Suppressed}, {"sales", "2", consumer.Ended}, {"sales", "3", consumer.Ended},
		{"support", "1", consumer.Suppressed}, {"support", "2", consumer.Suppressed}, {"support", "3", consumer.Ended},
	} {
		await(t, patience, "lead "+tt.id+" of "+tt.lane, func() bool { return p.state(t, tt.lane, tt.id).State == tt.want })
	}
	in := p.state(t, "support", "2")
	if in.Class != "contact" {
		t.Errorf("class: got %s, want contact", in.Class)
	}
	contains(t, in.Reason, "This person must not be contacted by this lane: blocked on 20", " by ana: no")
	for _, c := range p.sim.Conversations() {
		if c.Number == "+14155550101" {
			t.Errorf("somebody who is blocked was called: %+v", c)
		}
	}

	contains(t, p.weir(t, "contact", "allow", "+14155550101", "--reason", "a mistake"), "…01 is not blocked any more in all lanes\n")
	contains(t, p.weir(t, "contact", "allow", "+14155550101", "--reason", "a mistake"), "…01 was not blocked in all lanes\n")
	contains(t, p.weir(t, "contact", "show", "+14155550101"), "…01 is not blocked\n", "by ana: a mistake")
	p.weir(t, "publish", p.file(t, "more.ndjson", lead("4", "+14155550101", "")), "--lane", "support")
	await(t, patience, "the one who is allowed to be called", func() bool { return p.state(t, "support", "4").State == consumer.Ended })

	for _, tt := range []struct {
		want string
		code int
		args []string
	}{
		{"why? give --reason TEXT", 2, []string{"block", "+14155550101"}},
		{"person 2: the number …55 names no country; write it like +14155550123, or say which region it is of", 2, []string{"block", "+14155550101", "4155550155", "--reason", "x"}},
		{"person 1: this is neither a number such as +14155550123 nor an e-mail address", 2, []string{"block", "ada", "--reason", "x"}},
		{"person 1: this is no e-mail address such as ada@example.com", 2, []string{"block", "Ada <ada@example.com>", "--reason", "x"}},
		{`no lane is called "nosuch"; the lanes are: sales, support`, 2, []string{"block", "+14155550101", "--lane", "nosuch", "--reason", "x"}},
		{`no region is called "XX"; give one such as DE or US`, 2, []string{"show", "4155550155", "--region", "XX"}},
	} {
		if _, code := p.refused(t, tt.want, append([]string{"contact"}, tt.args...)...); code != tt.code {
			t.Errorf("weir contact %v: got exit code %d, want %d", tt.args, code, tt.code)
		}
	}
}

func TestContactImport(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	stop := p.serve(t, "sales")
	defer stop()
	people := []string{"# asked not to be called", "", "+14155550101", "Ada@Example.com"}
	for i := range 200 {
		people = append(people, fmt.Sprintf("+1415556%04d", i))
	}
	people = append(people, "none", "+1 415 555 0101")
	list := p.file(t, "list.txt", people...)
	printed, code := p.refused(t, "1 of 204 people were not blocked; set their lines right and give the same command again", "contact", "import", list, "--reason", "opted out")
	contains(t, printed, "list.txt  204     202      1        1\n", "line 205: this is neither a number")
	if code != 1 {
		t.Errorf("exit code: got %d, want 1", code)
	}
	printed, _ = p.refused(t, "were not blocked", "contact", "import", list, "--reason", "opted out")
	contains(t, printed, "list.txt  204     0        203      1\n")
	contains(t, p.weir(t, "contact", "show", "ada@example.COM"), "list.txt  opted out")

	crm := p.file(t, "crm.csv", "name;phone;why", `"Müller; Ida";0151 12345678;moved`, "Ada;;")
	printed, _ = p.refused(t, "1 of 2 people were not blocked", "contact", "import", crm, "--column", "phone", "--region", "DE", "--source", "crm", "--reason", "x")
	contains(t, printed, "line 3: there is neither a number nor an e-mail address", "crm.csv  2       1        0        1\n")
	contains(t, p.weir(t, "contact", "show", "+4915112345678"), "crm     x")
	p.refused(t, `line 1: the header has no column "mail"; it has: name, phone, why`, "contact", "import", crm, "--column", "mail", "--reason", "x")
}

// With a key the broker holds nobody's number, and nothing works without the key.
func TestTheListWithAKey(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	p.edit(t, "accounts:", "do_not_contact: {key: {env: LIST_KEY}}\naccounts:")
	p.env["LIST_KEY"] = "a key that nobody can guess"
	stop := p.serve(t, "sales")
	p.weir(t, "contact", "block", "+14155550101", "ada@example.com", "--reason", "asked")
	contains(t, p.weir(t, "contact", "show", "+14155550101"), "asked")
	if list := p.weir(t, "contact", "list", "--reveal"); strings.Contains(list, "5550101") || strings.Contains(list, "ada@") || strings.Count(list, "asked") != 2 {
		t.Errorf("list with a key:\n%s\nwant two people that nobody can read", list)
	}
	p.weir(t, "publish", p.file(t, "leads.ndjson", lead("1", "+14155550101", "")))
	await(t, patience, "the lead to be suppressed", func() bool { return p.state(t, "sales", "1").State == consumer.Suppressed })
	p.env["LIST_KEY"] = "another key of the same kind"
	if _, code := p.refused(t, register.ErrKey.Error(), "contact", "block", "+14155550102", "--reason", "asked"); code != 1 {
		t.Errorf("exit code with another key: got %d, want 1", code)
	}
	stop()
	_, _, err := weir(t.Context(), p.env, "serve", "-c", p.yaml, "--log-level", "error")
	if err == nil || !strings.Contains(err.Error(), register.ErrKey.Error()) {
		t.Errorf("serve with another key: got %v, want %v", err, register.ErrKey)
	}
}

// A list that was made anew while weir runs admits nobody, until somebody has
// released the lanes.
func TestAListThatIsLostUnderARunningWeir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, _ := gated(t, dir)
	ask := func() (consumer.Ruling, error) {
		rulings, err := s.register.Admit(t.Context(), []consumer.Approach{{Lane: "acme", Intent: "i", To: consumer.Recipient{Number: "+14155550101"}}})
		if err != nil {
			return consumer.Ruling{}, err
		}
		return rulings[0], nil
	}
	if _, err := s.register.Block(t.Context(), "+14155550101", "", register.Act{By: "ana", Reason: "asked"}); err != nil {
		t.Fatal(err)
	}
	if r, err := ask(); r.Verdict != consumer.ContactNever || err != nil {
		t.Fatalf("blocked: got %+v, %v", r, err)
	}
	if err := s.broker.JetStream().DeleteStream(t.Context(), broker.StreamContact); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if rulings, err := s.register.Admit(gone, []consumer.Approach{{Lane: "acme", To: consumer.Recipient{Number: "+14155550101"}}}); err == nil {
		t.Errorf("without the stream: got %+v, want an error", rulings)
	}
	if err := s.broker.ProvisionContact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := ask(); err == nil {
		t.Errorf("made anew and empty: got %+v, want an error", r)
	}
	if _, err := register.Open(t.Context(), s.broker, register.Config{}); err != nil { // another process begins it
		t.Fatal(err)
	}
	if r, err := ask(); err == nil {
		t.Errorf("made anew and begun by another: got %+v, want an error", r)
	}
	if err := s.hold(t.Context(), []guard.Finding{{Stream: broker.StreamContact, Text: "was made anew"}}); err != nil {
		t.Fatal(err)
	}
	if r, err := ask(); r.Verdict != consumer.ContactNow || err != nil {
		t.Errorf("after the lanes were held: got %+v, %v; want what is there now", r, err)
	}
}
