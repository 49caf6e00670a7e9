package register_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/contact/register"
)

var act = register.Act{By: "ana", Reason: "asked", Source: "call"}

func TestBlocks(t *testing.T) {
	t.Parallel()
	inTime(t, register.Limits{}, func(b *bench) {
		ctx := t.Context()
		blocked := func(lane string) bool {
			return b.approach(consumer.Approach{Lane: lane, Intent: "1", To: consumer.Recipient{Number: number}}).Verdict == consumer.ContactNever
		}
		for i, step := range []struct {
			do       func() (bool, error)
			changed  bool
			one, two bool
		}{
			{func() (bool, error) { return b.reg.Block(ctx, number, "one", act) }, true, true, false},
			{func() (bool, error) { return b.reg.Block(ctx, number, "one", act) }, false, true, false},
			{func() (bool, error) { return b.reg.Block(ctx, number, "", act) }, true, true, true},
			{func() (bool, error) { _, c, err := b.reg.Allow(ctx, number, "two", act); return c, err }, false, true, true},
			{func() (bool, error) { _, c, err := b.reg.Allow(ctx, number, "one", act); return c, err }, true, true, true},
			{func() (bool, error) { _, c, err := b.reg.Allow(ctx, number, "", act); return c, err }, true, false, false},
			{func() (bool, error) { _, c, err := b.reg.Allow(ctx, number, "", act); return c, err }, false, false, false},
			{func() (bool, error) { return b.reg.Block(ctx, number, "two", act) }, true, false, true},
		} {
			changed, err := step.do()
			if err != nil || changed != step.changed || blocked("one") != step.one || blocked("two") != step.two {
				t.Errorf("step %d: got changed %v, %v, blocked in one %v, in two %v; want %+v", i, changed, err, blocked("one"), blocked("two"), step)
			}
		}
	})
}

func TestPeople(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, region, want, err string }{
		{"+14155550101", "", "+14155550101", ""},
		{" +1 (415) 555-0101 ", "", "+14155550101", ""},
		{"0151 / 12345678", "DE", "+4915112345678", ""},
		{"+49 (0) 151 12345678", "", "+4915112345678", ""},
		{"Ada.B@Example.COM", "", "ada.b@example.com", ""},
		{"0151 12345678", "", "", "the number …78 names no country"},
		{"", "DE", "", "there is neither"},
		{"+1", "", "", "is no number that could be called"},
		{"+14155550101 ext. 7", "", "", "this is neither a number"},
		{"Ada <ada@example.com>", "", "", "this is no e-mail address"},
		{"a@", "", "", "this is no e-mail address"},
	} {
		got, err := register.ParsePerson(tt.text, tt.region)
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

// However the same person is written, a block holds.
func TestABlockHoldsHoweverAPersonIsWritten(t *testing.T) {
	t.Parallel()
	inTime(t, register.Limits{}, func(b *bench) {
		for _, p := range []register.Person{"+4915112345678", "ada@example.com"} {
			if _, err := b.reg.Block(t.Context(), p, "", act); err != nil {
				t.Fatal(err)
			}
		}
		for _, to := range []consumer.Recipient{
			{Number: "+4915112345678"}, {Number: "+49015112345678"}, {Address: "Ada@Example.com"}, {Number: number, Address: "ADA@EXAMPLE.COM"},
		} {
			r := b.approach(consumer.Approach{Lane: "l", Intent: "1", To: to})
			if r.Verdict != consumer.ContactNever || strings.Contains(r.Reason, "1234") || strings.Contains(strings.ToLower(r.Reason), "ada@") {
				t.Errorf("%+v: got %+v, want it forbidden without naming anybody", to, r)
			}
		}
	})
}

// What cannot be read stops the events of its person, and nobody else's.
func TestADamagedBlockStopsItsPersonAlone(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{"removed": nil, "damaged": []byte("{"), "newer": []byte(`{"v":2}`)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, register.Limits{}, func(b *bench) {
				if _, err := b.reg.Block(t.Context(), number, "", act); err != nil {
					t.Fatal(err)
				}
				b.world.mu.Lock()
				for key := range b.keys {
					if strings.HasPrefix(key, "b.") {
						b.put(key, data, 0)
					}
				}
				b.world.mu.Unlock()
				rulings, err := b.reg.Admit(t.Context(), []consumer.Approach{
					{Lane: "l", Intent: "1", To: consumer.Recipient{Number: number}},
					{Lane: "other", Intent: "2", To: consumer.Recipient{Number: "+14155550102"}},
				})
				if err != nil || rulings[0].Verdict != consumer.ContactLater || rulings[1].Verdict != consumer.ContactNow {
					t.Fatalf("got %+v, %v; want that one waits alone", rulings, err)
				}
				_, _, err = b.reg.Allow(t.Context(), number, "l", act)
				if err == nil {
					t.Error("allow in one lane: got no error, want that nobody knows of the others")
				}
				_, changed, err := b.reg.Allow(t.Context(), number, "", act)
				if name == "newer" {
					if err == nil {
						t.Error("allow over what a newer version wrote: got no error")
					}
					return
				}
				if r := b.ask("1"); !changed || err != nil || r.Verdict != consumer.ContactNow {
					t.Errorf("allow: got %v, %v, then %+v; want that it holds", changed, err, r)
				}
			})
		})
	}
}

func TestTheKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		reg, err := register.Open(t.Context(), w, register.Config{Key: "one"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reg.Block(t.Context(), number, "", act); err != nil {
			t.Fatal(err)
		}
		for key, v := range w.keys {
			if strings.Contains(string(v.data), "5550101") || strings.Contains(key, "5550101") {
				t.Errorf("%s: %s names somebody", key, v.data)
			}
		}
		for _, key := range []string{"", "two"} {
			if _, err := register.Open(t.Context(), w, register.Config{Key: "two"}); !errors.Is(err, register.ErrKey) {
				t.Errorf("key %q: got %v, want %v", key, err, register.ErrKey)
			}
		}
	})
}

// A bucket that is another one than before admits nobody, whatever is in it, until
// somebody accepts it. One without a beginning is never begun over what is there.
func TestABucketThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	inTime(t, register.Limits{}, func(b *bench) {
		ask := func() error {
			_, err := b.reg.Admit(t.Context(), []consumer.Approach{{Lane: "l", Intent: "1", To: consumer.Recipient{Number: number}}})
			return err
		}
		clear(b.keys)
		if err := ask(); !errors.Is(err, register.ErrAnew) {
			t.Errorf("empty: got %v, want %v", err, register.ErrAnew)
		}
		if _, err := register.Open(t.Context(), b.world, register.Config{}); err != nil {
			t.Fatal(err)
		}
		if err := ask(); !errors.Is(err, register.ErrAnew) {
			t.Errorf("begun by another: got %v, want %v", err, register.ErrAnew)
		}
		b.reg.Accept()
		if err := ask(); err != nil {
			t.Errorf("accepted: got %v", err)
		}
		if _, err := b.reg.Block(t.Context(), number, "", act); err != nil {
			t.Fatal(err)
		}
		delete(b.keys, "meta")
		if _, err := register.Open(t.Context(), b.world, register.Config{}); !errors.Is(err, register.ErrAnew) {
			t.Errorf("without its beginning: got %v, want %v", err, register.ErrAnew)
		}
	})
}

// A block that is confirmed counts for whoever asks after that, with answers lost
// and writers in each other's way.
func TestABlockCountsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(3)
		reg, err := register.Open(t.Context(), w, register.Config{})
		if err != nil {
			t.Fatal(err)
		}
		w.faults = true
		var wg sync.WaitGroup
		for i := range 50 {
			lane := fmt.Sprintf("lane-%d", i)
			wg.Go(func() {
				for {
					if _, err := reg.Block(t.Context(), number, lane, act); err == nil {
						break
					}
					time.Sleep(time.Second)
				}
				for {
					rulings, err := reg.Admit(t.Context(), []consumer.Approach{{Lane: lane, Intent: "1", To: consumer.Recipient{Number: number}}})
					if err == nil {
						if rulings[0].Verdict != consumer.ContactNever {
							t.Errorf("%s: got %+v after its block", lane, rulings[0])
						}
						return
					}
				}
			})
		}
		wg.Wait()
	})
}
