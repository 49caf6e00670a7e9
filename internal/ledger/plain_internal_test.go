package ledger

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
)

// some fills a value by chance, half of a struct's fields not at all.
func some(r *rand.Rand, v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(r.Int64N(4e9), r.Int64N(3)*r.Int64N(1e9)).UTC()
		return
	case *consumer.State:
		*x = states[r.IntN(len(states))]
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			if r.IntN(2) == 0 {
				some(r, field)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			some(r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]int{"full": r.IntN(9), "un<sent": 2}))
	case reflect.String:
		v.SetString([]string{"", "plain /text-1", `a "quoted" one\`, "<b>&amp;", "a<b", "a>b", "a&b", "é\u2028", "\xff", "\x00\n", "\x7f"}[r.IntN(11)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint64:
		v.SetUint(r.Uint64())
	default:
		v.SetInt(r.Int64N(1e12) - 5e11)
	}
}

// An entry is written byte by byte as the standard encoder does it, and what it writes
// is read in one pass as the standard decoder reads it.
func TestEntriesAreAsTheStandardLibraryHasThem(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	read := 0
	for range 5000 {
		var e entry
		some(r, reflect.ValueOf(&e).Elem())
		if r.IntN(2) == 0 {
			e.V, e.State = format, consumer.Created
		}
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.marshal()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %s (%v), want %s", got, err, want)
		}
		if against(t, want) {
			read++
		}
	}
	if read < 2000 {
		t.Errorf("read in one pass: got %d entries, want those that are right", read)
	}
	far := entry{First: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := far.marshal(); err == nil {
		t.Error("a time that cannot be written was")
	}
}

// against holds what decodeKnown makes of data against the standard decoder, and
// reports whether it took them.
func against(t *testing.T, data []byte) bool {
	t.Helper()
	got, ok := decodeKnown(data)
	if !ok {
		return false
	}
	var want entry
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatalf("%s: is read in one pass, and wrong: %v", data, err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Fatalf("%s: -decoder +one pass\n%s", data, diff)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if members[name] == 0 {
			t.Fatalf("%s: %s is not known and was read", data, name)
		}
	}
	return true
}

// FuzzEntry holds the reader of one pass against the standard decoder.
func FuzzEntry(f *testing.F) {
	for _, s := range []string{
		`{"v":1,"w":"x","state":"created","n":2,"history":[{"n":1,"state":"started","at":"2026-11-21T10:00:00.5Z"},{}]}`,
		`{"v":1,"state":"dead","history":[{"n":1,"state":"dead","at":"2026-11-21T10:00:00Z","by":"x"}],"history":[{"n":2,"state":"dead","at":"2026-11-21T10:00:00Z"}]}`,
		`{"v":1,"state":"dead","n":1,"n":2}`, `{"v":1,"state":"dead","n":1.0}`, `{"v":1,"state":null}`, `{"v":1,"state":"dead","history":null}`,
		`{"v":1,"state":"dead","named":[{"conversation":"c","x":1}],"others":[],"waits":{"full":1}}`, `{"V":1,"state":"dead"}`,
		`{"v":1,"state":"dead","sequence":-1}`, `{"v":1,"state":"dead","claimed":"soon"}`, `{"v":1,"state":"dead","new":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { against(t, data) })
}

// A member that another program wrote in other letters was read as that member. It does
// not come back when the member was written anew; one that is not known stays.
func TestMembersInOtherLettersDoNotComeBack(t *testing.T) {
	t.Parallel()
	in, extra, err := decode("l", "k", []byte(`{"V":1,"ſtate":"doubt","n":1,"OPEN":true,"Digest":"d","new":7}`))
	if err != nil || in.State != consumer.Doubt || !in.Open || in.Digest != "d" {
		t.Fatalf("got %+v (%v), want what was written", in, err)
	}
	in.State, in.Open = consumer.Created, false
	data, err := encode(in, "w", extra)
	if err != nil {
		t.Fatal(err)
	}
	got, rest, err := decode("l", "k", data)
	if err != nil || got.State != consumer.Created || got.Open || got.Digest != "d" {
		t.Errorf("%s: got %+v (%v), want it created and not open", data, got, err)
	}
	if diff := cmp.Diff(unknown{"new": json.RawMessage("7")}, rest); diff != "" {
		t.Errorf("%s: what is not known: -want +got\n%s", data, diff)
	}
}
