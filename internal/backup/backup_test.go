package backup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/backup"
)

// start starts a broker of this process.
func start(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the broker does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// fill makes a stream of n messages, of which the second is gone, with a consumer that
// has acknowledged the first.
func fill(t *testing.T, js jetstream.JetStream, name string, n int) {
	t.Helper()
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name + ".*"}, Storage: jetstream.FileStorage})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.Publish(t.Context(), fmt.Sprint(name, ".", i), []byte(strings.Repeat("x", 3000)+fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err == nil {
		err = m.DoubleAck(t.Context())
	}
	if err == nil {
		err = s.DeleteMsg(t.Context(), 2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// contents are what a stream holds, and how far its consumer is.
func contents(t *testing.T, js jetstream.JetStream, name string) (all []string) {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			all = append(all, fmt.Sprint(seq, " ", err))
			continue
		}
		all = append(all, fmt.Sprint(seq, " ", m.Subject, " ", m.Time, " ", string(m.Data)))
	}
	c, err := s.Consumer(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	return append(all, fmt.Sprint("floor ", c.CachedInfo().AckFloor.Stream))
}

func nobody(string, int64) {}

// Streams of no message, of less than a part and of many parts come back as they were.
func TestStreamsComeBack(t *testing.T) {
	t.Parallel()
	js, dir := start(t), filepath.Join(t.TempDir(), "backup")
	fill(t, js, "SMALL", 3)
	fill(t, js, "LARGE", 300)
	m, err := backup.Write(t.Context(), js, dir, []string{"LARGE", "MISSING", "SMALL"}, []string{"acme"}, nobody)
	if err != nil || len(m.Streams) != 2 {
		t.Fatalf("got %+v and %v, want two streams", m, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: got %v and %v, want it for its owner alone", info.Mode(), err)
	}
	a, err := backup.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := start(t)
	for _, p := range a.Streams {
		if _, err := a.Restore(t.Context(), other, p, 1, nobody); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(contents(t, js, p.Stream), contents(t, other, p.Stream)); diff != "" {
			t.Errorf("%s (-was +is):\n%s", p.Stream, diff)
		}
		if _, err := a.Restore(t.Context(), other, p, 1, nobody); err == nil {
			t.Errorf("%s: it was put back over one that is there", p.Stream)
		}
	}
}

// What is not whole is no backup.
func TestDamage(t *testing.T) {
	t.Parallel()
	js := start(t)
	fill(t, js, "SMALL", 3)
	for name, tt := range map[string]struct {
		harm func(dir string) error
		want string
	}{
		"a flipped bit": {func(dir string) error {
			path := filepath.Join(dir, "SMALL.snapshot")
			data, err := os.ReadFile(path)
			if err == nil {
				data[len(data)/2] ^= 1
				err = os.WriteFile(path, data, 0o600)
			}
			return err
		}, "is damaged"},
		"cut short":      {func(dir string) error { return os.Truncate(filepath.Join(dir, "SMALL.snapshot"), 100) }, "is damaged"},
		"a missing file": {func(dir string) error { return os.Remove(filepath.Join(dir, "SMALL.snapshot")) }, "no such file"},
		"not finished":   {func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) }, "it is no backup, or one that was not finished"},
		"of a newer Weir": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"v": 2}`), 0o600)
		}, "a newer Weir wrote it"},
		"a name that leads elsewhere": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"v": 1, "streams": [{"stream": "../SMALL"}]}`), 0o600)
		}, "is no stream of Weir's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := backup.Write(t.Context(), js, dir, []string{"SMALL"}, nil, nobody); err != nil {
				t.Fatal(err)
			}
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := backup.Open(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A file that is cut, with a manifest that says so, is refused by the broker.
func TestTheBrokerRefusesWhatIsNoSnapshot(t *testing.T) {
	t.Parallel()
	js, dir := start(t), t.TempDir()
	fill(t, js, "LARGE", 100)
	if _, err := backup.Write(t.Context(), js, dir, []string{"LARGE"}, nil, nobody); err != nil {
		t.Fatal(err)
	}
	a, err := backup.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "LARGE.snapshot"), a.Streams[0].Bytes/2); err != nil {
		t.Fatal(err)
	}
	other := start(t)
	if _, err := a.Restore(t.Context(), other, a.Streams[0], 1, nobody); err == nil {
		t.Error("half a snapshot was put back")
	}
}
