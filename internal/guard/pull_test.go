package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAPlaceIsWhatTheClientReads(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"$JS.ACK.KV_L.c1.1.18446744073709551615.7.1795323600123456789.42",
		"$JS.ACK._.AbCd.KV_L.c1.1.12.7.1795323600123456789.0",
		"$JS.ACK.hub.AbCd.KV_L.c1.1.12.7.1795323600123456789.42.XyZ",
		"$JS.ACK.hub.AbCd.KV_L.c1.1.12.7.1795323600123456789.42.XyZ.more",
		"$JS.ACK.L.c.1.12.7.1795323600123456789", "$JS.ACK.d.L.c.1.12.7.1795323600123456789.42",
		"", "_INBOX.a.b", "$JS.FC.L.c.1.12.7.1795323600123456789.42",
	} {
		meta, err := (&nats.Msg{Reply: reply, Sub: &nats.Subscription{}}).Metadata()
		got, ok := placed(reply)
		if ok != (err == nil) {
			t.Errorf("%q: got %v, the client says %v", reply, ok, err)
		}
		if ok && (got.stream != meta.Sequence.Stream || got.consumer != meta.Sequence.Consumer || got.pending != meta.NumPending || !got.time.Equal(meta.Timestamp)) {
			t.Errorf("%q: got %+v, the client reads %+v", reply, got, meta)
		}
	}
	if got, ok := placed("$JS.ACK.L.c.1.x.7.1795323600123456789.42"); ok {
		t.Errorf("a sequence that is none: got %+v", got)
	}
}

// feed answers as many requests as its script has, with the words of each: "3/7" is its
// third message, with seven left after it, "2 as 3/7" the same with the sequence 2 in
// the stream, and any other a status.
type feed struct {
	script  [][]string
	answers chan *nats.Msg
	asked   []uint64
}

func (c *feed) ask(n uint64) error {
	c.asked = append(c.asked, n)
	if len(c.script) == 0 {
		return nil
	}
	for _, word := range c.script[0] {
		m := &nats.Msg{}
		if n, left, ok := strings.Cut(word, "/"); ok {
			sequence, n, other := strings.Cut(n, " as ")
			if !other {
				n = sequence
			}
			m.Reply = "$JS.ACK.L.c.1." + sequence + "." + n + ".1795323600123456789." + left
		} else {
			m.Header = nats.Header{"Status": {word[:3]}, "Description": {word[4:]}}
		}
		c.answers <- m
	}
	c.script = c.script[1:]
	return nil
}

// What a consumer leaves out is read from the next one, or from the leader if it brings
// nothing at all: only a message after which nothing is left is the end.
func TestWhatEndsAPull(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script [][]string
		want   error
		silent bool
		given  []uint64
	}{
		"all came":                      {script: [][]string{{"1/2", "2/1", "3/0"}}, given: []uint64{1, 2, 3}},
		"more than there was":           {script: [][]string{{"1/3", "2/2", "3/1"}, {"4/0"}}, given: []uint64{1, 2, 3, 4}},
		"fewer than there was":          {script: [][]string{{"1/1", "2/0"}}, given: []uint64{1, 2}},
		"nothing came in time":          {script: [][]string{{"408 Request Timeout"}}},
		"there is nothing":              {script: [][]string{{"404 No Messages"}}},
		"nobody answers":                {script: [][]string{{"503 No Responders"}}},
		"too much was asked for":        {script: [][]string{{"409 Exceeded MaxRequestBatch of 2"}}},
		"the rest did not come":         {script: [][]string{{"1/2", "408 Request Timeout"}}, want: errMissed, given: []uint64{1}},
		"the consumer is gone":          {script: [][]string{{"1/2", "2/1", "409 Consumer Deleted"}}, want: errMissed, given: []uint64{1, 2}},
		"another server has it":         {script: [][]string{{"1/2", "409 Leadership Change"}}, want: errMissed, given: []uint64{1}},
		"the broker ends":               {script: [][]string{{"1/2", "409 Server Shutdown"}}, want: errMissed, given: []uint64{1}},
		"one is missing":                {script: [][]string{{"1/2", "3/0"}}, want: errMissed, given: []uint64{1}},
		"the first is missing":          {script: [][]string{{"2/1", "3/0"}}, want: errMissed},
		"one comes twice":               {script: [][]string{{"1/2", "1/2", "2/1", "3/0"}}, want: errMissed, given: []uint64{1}},
		"one from before":               {script: [][]string{{"1/2", "1 as 2/1", "2 as 3/0"}}, want: errMissed, given: []uint64{1}},
		"the rest is silence":           {script: [][]string{{"1/2", "2/1"}}, want: errMissed, silent: true, given: []uint64{1, 2}},
		"not a word":                    {script: [][]string{{}}, want: errMissed, silent: true},
		"a word that was not asked for": {script: [][]string{{"1/2", "100 Idle Heartbeat", "3/0"}}, want: errMissed, given: []uint64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &feed{script: tc.script, answers: make(chan *nats.Msg, 10)}
				var given []uint64
				w := &walk{size: 10, give: func(m message) error {
					given = append(given, m.sequence)
					return nil
				}}
				began := time.Now()
				if err := w.collect(t.Context(), 3, c.answers, c.ask); !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if diff := cmp.Diff(tc.given, given); diff != "" {
					t.Errorf("given (-want +got):\n%s", diff)
				}
				if took := time.Since(began); took > 0 != tc.silent || took > 2*(readWait+time.Second) {
					t.Errorf("took %v; nothing is said in the end: %v", took, tc.silent)
				}
			})
		})
	}
}

// script is what a consumer with so many messages answers to pulls of these sizes.
func script(all int, sizes ...uint64) (answers [][]string) {
	n := 0
	for _, size := range sizes {
		var words []string
		for range size {
			n++
			words = append(words, strconv.Itoa(n)+"/"+strconv.Itoa(all-n))
		}
		answers = append(answers, words)
	}
	return answers
}

// The broker has more to do before all of what it was asked for is given, but never
// more than the walk has room for; a scrub asks for the next portion after its pause.
func TestAPullIsFollowedBeforeItEnds(t *testing.T) {
	t.Parallel()
	const pause = 30 * time.Millisecond
	for name, tc := range map[string]struct {
		size, room uint64
		pause      time.Duration
		asks       []uint64
	}{
		"ahead":      {8, 8, 0, []uint64{8, 4, 4, 4}},
		"with pause": {8, 8, pause, []uint64{8, 8, 4}},
		"one by one": {1, 1, 0, slices.Repeat([]uint64{1}, 20)},
		"all":        {30, 30, 0, []uint64{20}},
		"growing":    {2, 8, pause, []uint64{2, 4, 8, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, n := &feed{script: script(20, tc.asks...), answers: make(chan *nats.Msg, tc.room)}, 0
				w := &walk{size: tc.size, r: reading{pause: tc.pause}, give: func(message) error {
					n++
					return nil
				}}
				began := time.Now()
				if err := w.collect(t.Context(), 20, c.answers, c.ask); err != nil || n != 20 {
					t.Errorf("got %d, %v; want 20", n, err)
				}
				if took, want := time.Since(began), time.Duration(len(tc.asks))*tc.pause; took != want {
					t.Errorf("took %v, want %v", took, want)
				}
				if diff := cmp.Diff(tc.asks, c.asked); diff != "" {
					t.Errorf("asked for (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Fewer may come than were asked for, where messages were removed meanwhile.
func TestAShortPullHasItsPauseToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &feed{script: [][]string{{"1/1", "2/0"}}, answers: make(chan *nats.Msg, 10)}
		w := &walk{size: 10, r: reading{pause: time.Second}, give: func(message) error { return nil }}
		began := time.Now()
		if err := w.collect(t.Context(), 3, c.answers, c.ask); err != nil || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want nothing after 1s", err, time.Since(began))
		}
	})
}

// bulk reads a walk's stream without asking the leader, and says if anything is not
// given, or not once.
func bulk(t *testing.T, w *walk, all int, each func(n int)) {
	t.Helper()
	var got []uint64
	w.give = func(m message) error {
		got = append(got, m.sequence)
		each(len(got))
		return nil
	}
	if err := w.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, sequence := range got {
		if sequence != uint64(i)+1 {
			t.Fatalf("message %d: got sequence %d", i+1, sequence)
		}
	}
	if len(got) != all {
		t.Errorf("got %d messages, want %d", len(got), all)
	}
}

// Whoever is given the messages may be slow: the client has room for what comes meanwhile.
func TestThereIsRoomForAllThatIsAskedFor(t *testing.T) {
	t.Parallel()
	dropped := make(chan error, 10_000)
	w := filled(t, start(t, server.JSLimitOpts{}).ClientURL(), 2000, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { dropped <- err }))
	w.size = 500
	nc := w.js.Conn()
	before := nc.Stats().InMsgs
	bulk(t, w, 2000, func(n int) {
		if n != 1 {
			return
		}
		for end := time.Now().Add(2 * readWait); nc.Stats().InMsgs < before+w.size && time.Now().Before(end); { // then the pull has run out
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if len(dropped) > 0 {
		t.Error(<-dropped)
	}
}

func TestAConsumerIsRemovedUnderTheReading(t *testing.T) {
	t.Parallel()
	w := filled(t, start(t, server.JSLimitOpts{}).ClientURL(), 2000)
	w.size = 500
	bulk(t, w, 2000, func(n int) {
		if n != 100 {
			return
		}
		for name := range w.s.ConsumerNames(t.Context()).Name() {
			if err := w.s.DeleteConsumer(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	})
}

// What a reading has missed now and then makes it slow for a while, not up to its end.
func TestAReadingThatMissedGetsFasterAgain(t *testing.T) {
	t.Parallel()
	w := filled(t, start(t, server.JSLimitOpts{}).ClientURL(), 3000)
	w.size = 500
	least, then := w.size, uint64(0) // and then the most
	bulk(t, w, 3000, func(n int) {
		if least = min(least, w.size); n > 700 {
			then = max(then, w.size)
			return
		}
		for name := range w.s.ConsumerNames(t.Context()).Name() {
			if err := w.s.DeleteConsumer(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	})
	if least == 500 || then != 500 {
		t.Errorf("the portions were of %d, and then of %d; want fewer for a while than 500", least, then)
	}
}

// What is under way when the connection ends is lost, and read again.
func TestTheConnectionEndsUnderTheReading(t *testing.T) {
	t.Parallel()
	var after atomic.Int64
	w := filled(t, stall(t, start(t, server.JSLimitOpts{}).ClientURL(), &after, 0), 2000,
		nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1))
	w.size = 500
	after.Store(50_000)
	bulk(t, w, 2000, func(int) {})
	if after.Load() > 0 {
		t.Error("the connection did not end")
	}
}

// A pull that cannot be sent is not one that is answered: what it was to bring is
// missing.
func TestNobodyIsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &feed{script: [][]string{{"1/2", "2/1"}}, answers: make(chan *nats.Msg, 10)}
		w, n := &walk{size: 2, give: func(message) error { return nil }}, 0
		ask := func(size uint64) error {
			if n++; n == 2 {
				return nats.ErrConnectionReconnecting
			}
			return c.ask(size)
		}
		if err := w.collect(t.Context(), 3, c.answers, ask); !errors.Is(err, errMissed) {
			t.Errorf("got %v, want %v", err, errMissed)
		}
	})
}

// What is slow to be given has not been silent.
func TestAPullWaitsForWhoIsGivenIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &feed{script: script(20, 20), answers: make(chan *nats.Msg, 20)}
		n := 0
		w := &walk{size: 20, give: func(message) error {
			n++
			time.Sleep(5 * readWait)
			return nil
		}}
		if err := w.collect(t.Context(), 20, c.answers, c.ask); err != nil || n != 20 {
			t.Errorf("got %d, %v; want 20", n, err)
		}
	})
}

func TestAReadingIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &feed{script: [][]string{{"1/2"}}, answers: make(chan *nats.Msg, 10)}
		w := &walk{size: 10, give: func(message) error {
			cancel()
			return nil
		}}
		began := time.Now()
		if err := w.collect(ctx, 3, c.answers, c.ask); !errors.Is(err, context.Canceled) || time.Since(began) > 0 {
			t.Errorf("got %v after %v, want the context's error at once", err, time.Since(began))
		}
	})
}

func TestAPullGoesToTheDomain(t *testing.T) {
	t.Parallel()
	w := filled(t, start(t, server.JSLimitOpts{}).ClientURL(), 0)
	nc := w.js.Conn()
	js, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	_, err = nc.Subscribe("$JS.hub.API.CONSUMER.MSG.NEXT.L.c", func(m *nats.Msg) {
		asked <- string(m.Data)
		if err := m.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"408"}}}); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		w.js, w.most = js, w.size
		err = w.pull(t.Context(), &jetstream.ConsumerInfo{Stream: "L", Name: "c", NumPending: 3})
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-asked:
		if want := `{"batch":3,"expires":2000000000}`; got != want {
			t.Errorf("asked for %s, want %s", got, want)
		}
	default:
		t.Error("nobody was asked")
	}
}

func BenchmarkRead(b *testing.B) {
	const all = 20_000
	w := filled(b, start(b, server.JSLimitOpts{}).ClientURL(), all)
	b.ResetTimer()
	for b.Loop() {
		n := 0
		w.next, w.give = 1, func(message) error { n++; return nil }
		if err := w.all(b.Context()); err != nil || n != all {
			b.Fatal(fmt.Sprint(n, err))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/all, "ns/message")
}
