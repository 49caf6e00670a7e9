package guard

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var made = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func sample(serial uint64) mark {
	return mark{V: format, Serial: serial, At: made, Streams: map[string]level{
		"L": {Created: made, Last: 100, Entries: 40}, "E": {Created: made, Last: 70},
	}}
}

func TestTheFileKeepsTheNewestMarkThatIsWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mark")
	f, m, err := openFile(path)
	if err != nil || m != nil {
		t.Fatalf("a new file: got %v, %v; want nothing", m, err)
	}
	for serial := range uint64(5) {
		if err := f.write(sample(serial + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v; want 0600", info.Mode(), err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		damage func(b []byte) []byte
		want   uint64 // 0: none
	}{
		"as it is":          {func(b []byte) []byte { return b }, 5},
		"the newest torn":   {func(b []byte) []byte { b[slotHead+20] ^= 1; return b }, 4}, // the fifth write went to the first slot
		"the other torn":    {func(b []byte) []byte { b[slotSize+slotHead+20] ^= 1; return b }, 5},
		"both torn":         {func(b []byte) []byte { b[slotHead] ^= 1; b[slotSize+slotHead] ^= 1; return b }, 0},
		"cut short":         {func(b []byte) []byte { return b[:slotSize+100] }, 5},
		"empty":             {func([]byte) []byte { return nil }, 0},
		"a length too long": {func(b []byte) []byte { b[0] = 0xff; return b }, 4},
	} {
		if err := os.WriteFile(path, tc.damage(append([]byte(nil), whole...)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, m, err := openFile(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got uint64
		if m != nil {
			got = m.Serial
		}
		if got != tc.want {
			t.Errorf("%s: got serial %d, want %d", name, got, tc.want)
		}
		if err := f.write(sample(9)); err != nil {
			t.Errorf("%s: the next write: %v", name, err)
		}
		if err := f.close(); err != nil {
			t.Error(err)
		}
		if f, m, err = openFile(path); err != nil || m == nil || m.Serial != 9 {
			t.Fatalf("%s: after the next write: got %v, %v", name, m, err)
		}
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAMarkOfANewerWeirIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mark")
	f, _, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := sample(1)
	m.V = format + 1
	if err := f.write(m); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openFile(path); err == nil {
		t.Error("got no error")
	}
	if _, err := decodeMark("the broker", []byte(`{"v":1,"serial":3,"streams":{},"later":true}`)); err != nil {
		t.Errorf("a member that this version does not know: got %v, want none", err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	is := func(change func(l, e *survey)) map[string]survey {
		l, e := survey{created: made, last: 100, entries: 40}, survey{created: made, last: 70}
		change(&l, &e)
		return map[string]survey{"L": l, "E": e, "new": {created: made}}
	}
	for name, tc := range map[string]struct {
		now  map[string]survey
		want []string
	}{
		"the same":            {is(func(_, _ *survey) {}), nil},
		"grown":               {is(func(l, e *survey) { l.last, l.entries, e.last = 101, 41, 71 }), nil},
		"written anew":        {is(func(l, _ *survey) { l.last = 200 }), nil},
		"events trimmed":      {is(func(_, e *survey) { e.entries = 0 }), nil},
		"gone":                {is(func(_, e *survey) { *e = survey{gone: true} }), []string{"E"}},
		"made anew":           {is(func(l, _ *survey) { l.created = made.Add(1) }), []string{"L"}},
		"went back":           {is(func(l, e *survey) { l.last, e.last = 99, 69 }), []string{"E", "L"}},
		"an entry is missing": {is(func(l, _ *survey) { l.last, l.entries = 300, 39 }), []string{"L"}},
	} {
		var got []string
		for _, f := range compare(sample(1), tc.now, "L") {
			got = append(got, f.Stream)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
