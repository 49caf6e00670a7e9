package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/internal/delivery"
	"github.com/weirhq/weir/internal/guard"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/owner"
)

// specimen is a record as a version of weir stored it.
type specimen struct {
	Kind    string              `json:"kind"`
	Subject string              `json:"subject,omitzero"`
	Header  map[string][]string `json:"header,omitempty"`
	Data    string              `json:"data"`
}

// specimenKind names the stored format of a message; empty if it has none.
func specimenKind(subject string, data []byte) string {
	for prefix, kind := range map[string]string{
		"$KV.WEIR_LANES.own.replica.": "lease", "$KV.WEIR_LANES.own.duty.": "duty", "$KV.WEIR_LANES.mark": "mark",
		"$KV.WEIR_LANES.pause.": "pause", "$KV.WEIR_LANES.gate.": "gate", "$KV.WEIR_LANES.forget.": "forget",
		"$KV.WEIR_CONTACT.meta": "register", "$KV.WEIR_CONTACT.b.": "block", "$KV.WEIR_CONTACT.c.": "contacts",
		"weir.dead.": "letter dead", "weir.doubt.": "letter doubt", "weir.later.": "schedule", "weir.due.": "order", "weir.undelivered.": "undelivered",
	} {
		if strings.HasPrefix(subject, prefix) {
			return kind
		}
	}
	switch {
	case strings.HasPrefix(subject, "$KV.WEIR_LEDGER."):
		var entry struct{ State string }
		_ = json.Unmarshal(data, &entry) // as it is
		return "entry " + entry.State
	case strings.HasPrefix(subject, "weir.outcomes."):
		return "outcome " + subject[strings.LastIndexByte(subject, '.')+1:]
	case strings.HasPrefix(subject, "$KV.WEIR_LANES.") && strings.Contains(string(data), `"floor"`):
		return "place"
	default:
		return ""
	}
}

// specimens are the records of the version before.
func specimens(t *testing.T) []specimen {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "formats.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []specimen
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// place returns the lane or whatever stands there, and the last part of the subject.
func (s specimen) place() (lane, last string) {
	parts := strings.Split(s.Subject, ".")
	return parts[len(parts)-2], parts[len(parts)-1]
}

// named is the header that holds a format of its own.
func (s specimen) named() string {
	for _, name := range []string{"Weir-Letter", "Weir-Undelivered"} {
		if len(s.Header[name]) > 0 {
			return name
		}
	}
	return ""
}

// edited is the record with its members changed.
func (s specimen) edited(t *testing.T, edit func(members map[string]any)) specimen {
	t.Helper()
	text := s.Data
	if name := s.named(); name != "" {
		text = s.Header[name][0]
	}
	var members map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		t.Fatalf("%s: %v", s.Kind, err)
	}
	edit(members)
	data, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	if name := s.named(); name != "" {
		s.Header = maps.Clone(s.Header)
		s.Header[name] = []string{string(data)}
	} else {
		s.Data = string(data)
	}
	return s
}

// remade is the record of a newer format in which each member is something else. The
// format comes first, as in all that weir writes.
func (s specimen) remade(t *testing.T) specimen {
	t.Helper()
	s = s.edited(t, func(members map[string]any) {
		delete(members, "v")
		for name := range members {
			members[name] = []any{map[string]any{"of_tomorrow": true}}
		}
	})
	first := func(text string) string { return `{"v":2,` + strings.TrimPrefix(text, "{") }
	if name := s.named(); name != "" {
		s.Header[name] = []string{first(s.Header[name][0])}
	} else {
		s.Data = first(s.Data)
	}
	return s
}

// shelf is a broker with one record in it.
type shelf struct {
	b      *broker.Broker
	ledger *ledger.Ledger
	s      specimen
}

// put stores a record as it is.
func (f *shelf) put(t *testing.T, s specimen) {
	t.Helper()
	f.s = s
	if s.Subject == "" {
		return
	}
	header := nats.Header(maps.Clone(s.Header))
	if at := header.Get("Nats-Schedule"); at != "" { // its time would be over
		header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano))
	}
	if _, err := f.b.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: s.Subject, Header: header, Data: []byte(s.Data)}); err != nil {
		t.Fatalf("%s: %v", s.Kind, err)
	}
}

// errSaid is a record that is read as one that says to stop, for what it says.
type errSaid string

func (e errSaid) Error() string { return string(e) }

// read reads the record, as weir does, and checks a part of what it says. A record
// that stops whatever it is of is an error here.
func (f *shelf) read(t *testing.T) error {
	t.Helper()
	ctx := t.Context()
	is := func(what string, good bool) error {
		if good {
			return nil
		}
		return errors.New("misread: " + what)
	}
	kind, detail, _ := strings.Cut(f.s.Kind, " ")
	switch kind {
	case "entry":
		lane, key := f.s.place()
		in, _, err := f.ledger.Load(ctx, lane, key)
		return firstError(err, is("an entry", string(in.State) == detail && in.N > 0 && strings.HasPrefix(in.ID, "lead-") && len(in.History) == in.N && consumer.Key(lane, in.Source, in.ID) == key))
	case "letter":
		lane, key := f.s.place()
		l, err := f.b.Letter(ctx, consumer.State(detail), lane, key)
		return firstError(err, is("a letter", l.N > 0 && l.Reason != "" && len(l.Data) > 0))
	case "lease", "duty":
		return f.owner(t)
	case "mark":
		g, err := guard.Open(ctx, zerolog.Nop(), f.b, guard.Config{Ledger: ledger.Stream, Events: broker.StreamEvents, Outcomes: broker.StreamOutcomes, Shelf: broker.StreamLanes})
		if err != nil {
			return err
		}
		return g.Close()
	case "pause":
		all, err := f.b.Pauses(ctx)
		p := all["acme"]
		return firstError(err, said(p.By == "weir", p.Reason), is("a pause", p.By == "ana" && p.Reason == "a look"))
	case "gate":
		all, err := f.b.Gates(ctx)
		g := all["acme"]
		return firstError(err, said(g.Held, g.Why), is("a gate", g.By == "ana" && !g.Before.IsZero()))
	case "place":
		p, err := delivery.ReadPlace([]byte(f.s.Data))
		return firstError(err, is("a place", !p.Stream.IsZero()))
	case "block", "register", "contacts":
		return f.contact(t)
	case "undelivered":
		for u, err := range f.b.UndeliveredOutcomes(ctx, "acme") {
			return firstError(err, is("an undelivered outcome", u.Kind == "cancelled" && u.Reason != "" && len(u.Body) > 0))
		}
		return errors.New("misread: it is not there")
	case "order":
		lane, key := f.s.place()
		if _, err := f.b.Lane(ctx, lane); err != nil {
			t.Fatal(err)
		}
		o, err := f.b.Ordered(ctx, lane, key)
		return firstError(err, is("an order", o != nil && o.Expect == 1 && o.By == "ana" && o.Reason == "the number is right"))
	case "schedule":
		lane, key := f.s.place()
		found, err := f.b.Scheduled(ctx, lane, key)
		return firstError(err, is("a schedule", strings.Contains(string(found.Data), "lead-00001")))
	case "outcome":
		var data consumer.OutcomeData
		var ev struct{ Data json.RawMessage }
		err := firstError(json.Unmarshal([]byte(f.s.Data), &ev), json.Unmarshal(ev.Data, &data))
		return firstError(err, is("an outcome", data.Kind == detail && data.Intent == consumer.Key(data.Lane, data.EventSource, data.EventID)))
	case "endpoint.json":
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, kind), []byte(f.s.Data), 0o600); err != nil {
			t.Fatal(err)
		}
		url, token, err := broker.ReadEndpoint(dir)
		return firstError(err, is("an address", strings.HasPrefix(url, "nats://127.0.0.1:") && token.Reveal() == "a-token"))
	default:
		t.Fatalf("no reader for %q", f.s.Kind)
		return nil
	}
}

// firstError is the first of these that is an error.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func said(so bool, why string) error {
	if !so {
		return nil
	}
	return errSaid(why)
}

// owner reads who has the duty. A lease is read by replicas alone, which look away from
// one that they cannot read (internal/owner, TestNewerRecords).
func (f *shelf) owner(t *testing.T) error {
	t.Helper()
	all, err := owner.Standings(t.Context(), f.b)
	if err != nil || f.s.Kind == "lease" {
		return err
	}
	_, duty := f.s.place()
	st, ok := all[duty]
	if !ok {
		return errSaid("nobody knows whose duty it is: a newer Weir wrote it")
	}
	if st.Epoch != 1 || !strings.HasPrefix(st.Holder, "process ") {
		return fmt.Errorf("misread: %+v", st)
	}
	return nil
}

// contact asks the register about the people of the records.
func (f *shelf) contact(t *testing.T) error {
	t.Helper()
	ctx := t.Context()
	reg, err := register.Open(ctx, f.b, register.Config{Ledger: f.ledger, Lanes: map[string]register.Limits{"acme": {Purpose: "acme", Once: 24 * time.Hour}}})
	if err != nil {
		return err
	}
	forbidden := 0
	for i := -1; i < 40; i++ { // as TestUpgradeGolden has them
		number := "+14155550100"
		if i >= 0 {
			number = fmt.Sprintf("+1415555%04d", 1000+i)
		}
		blocked, often, err := reg.Look(ctx, consumer.Approach{Lane: "acme", Intent: uuid.NewString(), To: consumer.Recipient{Number: number}})
		if err != nil {
			return err
		}
		for _, r := range []consumer.Ruling{blocked, often} {
			if r.Rule == consumer.RuleUnreadable {
				return errSaid(r.Reason)
			}
		}
		if blocked.Verdict == consumer.ContactNever {
			forbidden++
		}
	}
	if forbidden != 1 {
		return fmt.Errorf("misread: %d people are blocked, want 1", forbidden)
	}
	return nil
}

// newShelf is an empty broker with the streams of this version.
func newShelf(t *testing.T) *shelf {
	t.Helper()
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown() })
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token(), Room: broker.Room{Undelivered: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	lg, err := ledger.Open(t.Context(), b.JetStream(), ledger.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{b: b, ledger: lg}
}

// unversioned are the kinds that other programs read, or that are the event itself:
// they have no number that could rise, and never change their meaning.
var unversioned = []string{"order", "schedule", "outcome"}

// TestFormats reads what the version before has stored, in each of its formats: as it
// was, with a member that nobody knows, and as a newer format. What is of a newer one
// is never taken for something else. docs/upgrade.md.
func TestFormats(t *testing.T) {
	t.Parallel()
	f := newShelf(t)
	all := specimens(t)
	at := slices.IndexFunc(all, func(s specimen) bool { return s.Kind == "register" })
	f.put(t, all[at])
	for _, s := range all {
		f.put(t, s)
		if err := f.read(t); err != nil {
			t.Errorf("%s: %v", s.Kind, err)
		}
		kind, _, _ := strings.Cut(s.Kind, " ")
		if slices.Contains(unversioned, kind) {
			continue
		}
		f.put(t, s.edited(t, func(members map[string]any) { members["of_tomorrow"] = map[string]any{"a": []int{1}} }))
		if err := f.read(t); err != nil {
			t.Errorf("%s with a member that is not known: %v", s.Kind, err)
		}
		f.put(t, s.edited(t, func(members map[string]any) { members["v"] = 2 }))
		if err := f.read(t); kind != "lease" && (err == nil || !strings.Contains(err.Error(), "newer Weir wrote") || strings.Contains(err.Error(), "misread")) {
			t.Errorf("%s of format 2: got %v, want that a newer Weir wrote it", s.Kind, err)
		}
		f.put(t, s.remade(t))
		if err := f.read(t); kind != "lease" && (err == nil || !strings.Contains(err.Error(), "newer Weir wrote") || strings.Contains(err.Error(), "misread")) {
			t.Errorf("%s of format 2, of other members: got %v, want that a newer Weir wrote it", s.Kind, err)
		}
		if kind == "entry" {
			f.put(t, s.edited(t, func(members map[string]any) { members["state"] = "resting" }))
			if err := f.read(t); !errors.Is(err, consumer.ErrStrange) {
				t.Errorf("%s in another state: got %v, want that it cannot be read", s.Kind, err)
			}
		}
		f.put(t, s) // what cannot be read is in the way of the others
	}
}

// TestFormatsAreAllThere has a specimen of each kind, and each state of an entry.
func TestFormatsAreAllThere(t *testing.T) {
	t.Parallel()
	var got []string
	for _, s := range specimens(t) {
		got = append(got, s.Kind)
		if s.Subject != "" && specimenKind(s.Subject, []byte(s.Data)) != s.Kind {
			t.Errorf("%s is named %s", s.Subject, s.Kind)
		}
	}
	want := []string{"block", "contacts", "duty", "endpoint.json", "gate", "lease", "letter dead", "letter doubt", "mark", "order", "pause", "place", "register", "schedule", "undelivered"}
	for _, state := range consumer.States() {
		if state != consumer.Absent {
			want = append(want, "entry "+string(state))
		}
	}
	for _, kind := range consumer.OutcomeKinds() {
		want = append(want, "outcome "+kind)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("specimens (-want +got):\n%s", diff)
	}
}

// TestAMarkOfANewerVersion starts weir serve where a newer version wrote the mark: it
// says so and ends, calls nobody, and leaves the mark as it is.
func TestAMarkOfANewerVersion(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	newer := `{"v":2,"serial":"later"}`
	if _, err := b.JetStream().Publish(t.Context(), "$KV.WEIR_LANES.mark", []byte(newer)); err != nil {
		t.Fatal(err)
	}
	k.publish(t, b, 3)
	cmd := child(t, k.env, "serve", "-c", k.yaml)
	if err := cmd.Wait(); err == nil {
		t.Error("weir serve ended well, want an error")
	}
	if said := cmd.Stdout.(*syncBuffer).String(); !strings.Contains(said, "a newer Weir wrote it (format 2, this one reads 1): run the newer one") {
		t.Errorf("weir serve said %s", tail(said, 2000))
	}
	if n := len(k.sim.Conversations()); n > 0 {
		t.Errorf("got %d conversations, want none", n)
	}
	if data, _, err := b.Mark(t.Context()); err != nil || string(data) != newer {
		t.Errorf("the mark: got %s, %v; want it untouched", data, err)
	}
}
