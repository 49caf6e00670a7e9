package backup_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/backup"
)

// noise does not shrink when it is packed, so that a copy takes its time.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data)
	return data
}

// A stream that changes while it is copied comes back. Where something was replaced or
// removed meanwhile the broker's snapshot lacks more than that: it is made again, and
// where that does not help the copy says so.
func TestAStreamThatChangesMeanwhileComesBack(t *testing.T) {
	t.Parallel()
	const messages = 300 // of 100 kB: much more than may be under way
	replace := func(ctx context.Context, js jetstream.JetStream) (err error) {
		for i := range 20 { // soon done: a broker whose copy nobody takes gives up
			_, e := js.Publish(ctx, fmt.Sprint("BUSY.", i), noise(1_000))
			err = errors.Join(err, e)
		}
		return err
	}
	for name, tt := range map[string]struct {
		act   func(ctx context.Context, js jetstream.JetStream) error
		times int // that it is done, once in each copy
		torn  bool
		least uint64 // messages that come back
	}{
		"it grows": {func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.Publish(ctx, "BUSY.new", []byte("x"))
			return err
		}, 1, false, messages},
		"it is replaced once": {replace, 1, false, messages},
		"it is never at rest": {replace, 100, true, 1},
		"it is pruned for ever": {func(ctx context.Context, js jetstream.JetStream) error {
			s, err := js.Stream(ctx, "BUSY")
			if err != nil {
				return err
			}
			return s.Purge(ctx, jetstream.WithPurgeSequence(s.CachedInfo().State.FirstSeq+50))
		}, 100, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, dir := start(t), filepath.Join(t.TempDir(), "backup")
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BUSY", Subjects: []string{"BUSY.*"}, MaxMsgsPerSubject: 1}); err != nil {
				t.Fatal(err)
			}
			for i := range messages {
				if _, err := js.Publish(t.Context(), fmt.Sprint("BUSY.", i), noise(100_000)); err != nil {
					t.Fatal(err)
				}
			}
			acted, last := 0, int64(0)
			m, err := backup.Write(t.Context(), js, dir, []string{"BUSY"}, nil, func(_ string, n int64) {
				if (last == 0 || n < last) && acted < tt.times { // a copy begins
					acted++
					if err := tt.act(t.Context(), js); err != nil {
						t.Error(err)
					}
				}
				last = n
			})
			if err != nil || len(m.Streams) != 1 || m.Streams[0].Torn() != tt.torn {
				t.Fatalf("got %+v and %v, want it torn: %v", m.Streams, err, tt.torn)
			}
			a, err := backup.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if is, err := a.Restore(t.Context(), start(t), a.Streams[0], 1, nobody); err != nil || is.Messages < tt.least {
				t.Errorf("got %d messages and %v, want at least %d", is.Messages, err, tt.least)
			}
		})
	}
}
