package guard

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
)

// site is a broker with a ledger, and the mark of whoever looks after it. The mark
// is not in the broker, so that a test can do to that what it likes.
type site struct {
	t      *testing.T
	dir    string
	server *server.Server
	js     jetstream.JetStream
	mark   []byte
	serial uint64
	floors func() // called when the guard asks for floors, after it has read the ledger
	asked  func() // called before each use of the broker
}

func (s *site) JetStream() jetstream.JetStream {
	if s.asked != nil {
		s.asked()
	}
	return s.js
}

func (s *site) Mark(context.Context) ([]byte, uint64, error) { return s.mark, s.serial, nil }

func (s *site) StoreMark(_ context.Context, data []byte, revision uint64) (uint64, error) {
	if revision != s.serial {
		return 0, consumer.ErrConflict
	}
	s.mark = data
	s.serial++
	return s.serial, nil
}

func (s *site) Floors(context.Context, string) (map[string]uint64, error) {
	if s.floors != nil {
		s.floors()
	}
	return nil, nil
}

// up starts the broker, and down stops it in order.
func (s *site) up() {
	s.t.Helper()
	e, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: s.dir, NoSigs: true})
	if err != nil {
		s.t.Fatal(err)
	}
	e.Start()
	if !e.ReadyForConnections(3 * time.Minute) {
		s.t.Fatal("the broker does not start")
	}
	s.server, s.js = e, dial(s.t, e.ClientURL())
	s.t.Cleanup(func() { e.Shutdown(); e.WaitForShutdown() })
}

func (s *site) down() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func dial(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// streams makes what a guard looks at, with n entries.
func (s *site) streams(n int) {
	s.t.Helper()
	for _, name := range []string{"KV_L", "E", "O", "S"} {
		subjects := []string{name + ".>"}
		if name == "KV_L" {
			subjects = []string{"$KV.L.>"}
		}
		if _, err := s.js.CreateStream(s.t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, MaxMsgsPerSubject: 1}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.fill(0, n, 100)
}

// fill writes n entries of so many bytes.
func (s *site) fill(from, n, size int) {
	s.t.Helper()
	for i := range n {
		if _, err := s.js.PublishAsync(fmt.Sprint("$KV.L.acme.", from+i), bytes.Repeat([]byte{'x'}, size)); err != nil {
			s.t.Fatal(err)
		}
	}
	select {
	case <-s.js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		s.t.Fatal("the entries are not stored")
	}
}

// pass is a start of weir: it returns the guard, and what Check found.
func (s *site) pass(change ...func(*Config)) (*Guard, []Finding) {
	s.t.Helper()
	cfg := Config{Ledger: "KV_L", Events: "E", Outcomes: "O", Shelf: "S", Patience: time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	g, err := Open(s.t.Context(), zerolog.Nop(), s, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	found, err := g.Check(s.t.Context())
	if err == nil {
		err = g.Accept(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return g, found
}

// wants starts weir, and says if it read, or found, anything else.
func (s *site) wants(when string, unread bool, found string) *Guard {
	s.t.Helper()
	g, got := s.pass()
	if g.Unread() != unread {
		s.t.Errorf("%s: the ledger was taken for whole unread: %v, want %v", when, g.Unread(), unread)
	}
	if text := fmt.Sprint(got); (len(got) > 0) != (found != "") || !strings.Contains(text, found) {
		s.t.Errorf("%s: found %s, want %q", when, text, found)
	}
	return g
}

func newSite(t *testing.T, entries int) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.up()
	s.streams(entries)
	return s
}

func (s *site) ledger() jetstream.Stream {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), "KV_L")
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// damage flips a bit of the first entry, in the file.
func (s *site) damage() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "jetstream", "*", "streams", "KV_L", "msgs", "*.blk"))
	if err != nil || len(files) < 2 {
		s.t.Fatalf("got %v, %v; want several files", files, err)
	}
	slices.Sort(files)
	f, err := os.OpenFile(slices.MinFunc(files, func(a, b string) int { return len(a) - len(b) }), os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{'y'}, 500); err != nil {
		s.t.Fatal(err)
	}
}

// A weir that starts anew on a broker that has run all the while reads nothing before
// it begins; what was lost since is found as by a weir that has run.
func TestASealedLedgerIsNotReadAtTheStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, 20)
	s.wants("the first start", false, "")
	read := s.read()
	s.wants("another one", true, "")
	if got := s.read(); !got.Equal(read) {
		t.Errorf("a start that read nothing: the ledger was read at %v, want %v", got, read)
	}
	s.fill(20, 5, 100)
	s.wants("with entries that are newer than the mark", true, "")
	if err := s.ledger().Purge(t.Context(), jetstream.WithPurgeSubject("$KV.L.acme.7")); err != nil {
		t.Fatal(err)
	}
	s.wants("with an entry removed", false, "has 24 entries, and had 25 or more before")
	s.wants("after that was accepted", false, "")
	g := s.wants("when it was read", true, "")
	if err := s.ledger().Purge(t.Context(), jetstream.WithPurgeSubject("$KV.L.acme.8")); err != nil {
		t.Fatal(err)
	}
	held := func(_ context.Context, found []Finding) error { return nil }
	if err := g.look(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	s.wants("after a loss under a running weir", false, "")
	s.fill(30, 5, 100) // more than the mark knows of
	if err := s.ledger().DeleteMsg(t.Context(), s.ledger().CachedInfo().State.LastSeq); err != nil {
		t.Fatal(err)
	}
	s.wants("with the newest entry lost", false, "what can be read ends at")
}

// The seal is put on before the ledger is read: a broker that starts anew meanwhile may
// lose what was read already.
func TestTheSealIsPutOnBeforeTheReading(t *testing.T) {
	t.Parallel()
	s := newSite(t, 20)
	lanes := func(c *Config) { c.Lanes = []string{"acme"} }
	s.floors = func() {
		s.floors = nil
		s.down()
		s.up()
	}
	s.pass(lanes)
	s.wants("after a check with another broker at its end", false, "")
	s.floors = func() {
		s.floors = nil
		s.down()
		s.up()
	}
	g, _ := s.pass()
	g.cfg.Lanes = []string{"acme"}
	if _, err := g.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wants("after a scrub with another broker at its end", false, "")
}

// Whatever opens the ledger anew, or may hide that, takes the seal off.
func TestTheSealIsOff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do    func(s *site)
		found string
	}{
		"the broker was started anew": {do: func(s *site) { s.down(); s.up() }},
		"the broker was killed, and a file copied back": {do: func(s *site) {
			killed := filepath.Join(s.t.TempDir(), "killed")
			if err := os.CopyFS(killed, os.DirFS(s.dir)); err != nil {
				s.t.Fatal(err)
			}
			s.down()
			s.dir = killed
			s.up()
		}},
		"somebody removed the consumer": {do: func(s *site) {
			if err := s.ledger().DeleteConsumer(s.t.Context(), sealName); err != nil {
				s.t.Fatal(err)
			}
		}},
		"the same name from a copy": {do: func(s *site) { // as a snapshot with consumers has it
			c, err := s.ledger().Consumer(s.t.Context(), sealName)
			if err == nil {
				err = s.ledger().DeleteConsumer(s.t.Context(), sealName)
			}
			if err == nil {
				_, err = s.ledger().CreateConsumer(s.t.Context(), c.CachedInfo().Config)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}},
		"one that is not in memory": {do: func(s *site) {
			c, err := s.ledger().Consumer(s.t.Context(), sealName)
			if err == nil {
				err = s.ledger().DeleteConsumer(s.t.Context(), sealName)
			}
			if err == nil {
				cfg := c.CachedInfo().Config
				cfg.MemoryStorage = false
				_, err = s.ledger().CreateConsumer(s.t.Context(), cfg)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}},
		"read long ago":                {do: func(s *site) { s.remark(func(m *mark) { m.Seal.Read = m.Seal.Read.Add(-trusted) }) }},
		"read tomorrow":                {do: func(s *site) { s.remark(func(m *mark) { m.Seal.Read = m.Seal.Read.Add(time.Hour) }) }},
		"an older weir wrote the mark": {do: func(s *site) { s.remark(func(m *mark) { m.Seal = seal{} }) }},
		"entries that cannot be read": {do: func(s *site) {
			s.remark(func(m *mark) {
				l := m.Streams["KV_L"]
				l.Missing = 1
				m.Streams["KV_L"] = l
			})
		}},
		"made anew": {found: "was made anew", do: func(s *site) {
			cfg := s.ledger().CachedInfo().Config
			err := s.js.DeleteStream(s.t.Context(), "KV_L")
			if err == nil {
				_, err = s.js.CreateStream(s.t.Context(), cfg)
			}
			if err != nil {
				s.t.Fatal(err)
			}
			s.fill(0, 20, 100)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 20)
			s.wants("the first start", false, "")
			tc.do(s)
			s.wants("afterwards", false, tc.found)
		})
	}
}

// read is when the ledger was last read in full, as the mark has it.
func (s *site) read() time.Time {
	s.t.Helper()
	m, err := decodeMark("the test", s.mark)
	if err != nil || m.Seal.Read.IsZero() {
		s.t.Fatalf("the mark: %v, %v", m.Seal, err)
	}
	return m.Seal.Read
}

// remark changes the stored mark.
func (s *site) remark(change func(*mark)) {
	s.t.Helper()
	m, err := decodeMark("the test", s.mark)
	if err != nil {
		s.t.Fatal(err)
	}
	change(&m)
	if s.mark, err = m.encode(); err != nil {
		s.t.Fatal(err)
	}
}

// Damage while the broker runs is what a scrub finds, also that of a weir which has
// just started and read nothing; from then on each start reads.
func TestDamageUnderASeal(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.fill(0, 500, 20<<10) // more than one file
	s.wants("the first start", false, "")
	s.down()
	s.up()
	s.wants("with nothing in the broker's memory", false, "")
	s.damage()
	g := s.wants("after damage under a running broker", true, "")
	marked := func() (missing uint64, seals seal) { // by a look, as each second
		if err := g.look(t.Context(), nil); err != nil {
			t.Error(err)
		}
		m, err := decodeMark("the test", s.mark)
		if err != nil {
			t.Error(err)
		}
		return m.Streams["KV_L"].Missing, m.Seal
	}
	untold := func() {
		if missing, seals := marked(); missing > 0 || seals != (seal{}) {
			t.Errorf("before it is told: %d are given up, and %v is trusted; want none", missing, seals)
		}
	}
	g.cfg.Lanes, s.floors = []string{"acme"}, untold // a weir that ends here has its next start find it
	found, err := g.Scrub(t.Context())
	if err != nil || len(found) == 0 {
		t.Fatalf("the scrub: found %v, %v; want the damage", found, err)
	}
	untold()
	g.Told()
	if missing, seals := marked(); missing == 0 || seals != (seal{}) {
		t.Errorf("when it is told: %d are given up, and %v is trusted; want some, and none", missing, seals)
	}
}

// A weir that runs on notices that its broker was started anew, and reads everything
// then; that counts for the next start.
func TestABrokerThatIsStartedAnewUnderAWeir(t *testing.T) {
	t.Parallel()
	s := newSite(t, 20)
	g := s.wants("the first start", false, "")
	if g.Reopened(t.Context()) {
		t.Error("the same broker: reopened")
	}
	s.down()
	s.up()
	if !g.Reopened(t.Context()) || g.Reopened(t.Context()) {
		t.Error("another broker: want to hear of it, once")
	}
	if found, err := g.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Fatalf("the scrub: %v, %v", found, err)
	}
	if err := g.look(t.Context(), nil); err != nil { // as each second
		t.Fatal(err)
	}
	s.wants("after the scrub", true, "")
}

// Beside the store of an embedded broker there is no seal; nor is there one in a
// cluster, where consumers in memory are made again.
func TestWhereThereIsNoSeal(t *testing.T) {
	t.Parallel()
	s := newSite(t, 5)
	file := func(c *Config) { c.File = filepath.Join(s.dir, "mark") }
	for range 2 {
		g, _ := s.pass(file)
		if g.Unread() {
			t.Error("beside the store: unread")
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ledger().Consumer(t.Context(), sealName); err == nil {
		t.Error("beside the store: there is a seal")
	}

	s = &site{t: t, js: dial(t, cluster(t))}
	s.streams(5)
	s.wants("the first start", false, "")
	s.wants("another one", false, "")
	if _, err := s.ledger().Consumer(t.Context(), sealName); err == nil {
		t.Error("in a cluster: there is a seal")
	}
}

// cluster starts three servers and returns the address of one.
func cluster(t *testing.T) (url string) {
	t.Helper()
	var routes []string
	var ports []int
	for port := 10_000 + rand.IntN(9_000); len(ports) < 3 && port < 20_000; port++ { // the system gives none of these to others
		ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		ports, routes = append(ports, port), append(routes, "nats://"+ln.Addr().String())
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var all []*server.Server
	for i, port := range ports {
		e, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: server.RoutesFromStr(strings.Join(routes, ",")),
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Start()
		t.Cleanup(func() { e.Shutdown(); e.WaitForShutdown() })
		all = append(all, e)
	}
	led := func(e *server.Server) bool {
		return e.ReadyForConnections(time.Minute) && e.JetStreamIsClustered() && e.JetStreamIsLeader() && len(e.JetStreamClusterPeers()) == 3
	}
	for began := time.Now(); !slices.ContainsFunc(all, led); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the cluster has no leader")
		}
	}
	return all[0].ClientURL()
}

// What the mark and the stream have to say for themselves.
func TestSealed(t *testing.T) {
	t.Parallel()
	at := made.Add(time.Hour)
	for name, tc := range map[string]struct {
		change func(m *mark, is *survey, now *seal)
		want   bool
	}{
		"all is well":          {func(*mark, *survey, *seal) {}, true},
		"a day":                {func(_ *mark, _ *survey, now *seal) { now.Read = at.Add(trusted) }, false},
		"a second less":        {func(_ *mark, _ *survey, now *seal) { now.Read = at.Add(trusted - time.Second) }, true},
		"the clock went back":  {func(_ *mark, _ *survey, now *seal) { now.Read = at.Add(-1) }, false},
		"no clock":             {func(m *mark, _ *survey, now *seal) { now.Read, m.Seal.Read = time.Time{}, time.Time{} }, false},
		"another seal":         {func(_ *mark, _ *survey, now *seal) { now.Created = made.Add(1) }, false},
		"no seal":              {func(m *mark, _ *survey, now *seal) { m.Seal.Created, now.Created = time.Time{}, time.Time{} }, false},
		"replicas":             {func(_ *mark, is *survey, _ *seal) { is.copies = true }, false},
		"two numbers":          {func(_ *mark, is *survey, _ *seal) { is.claimed++ }, false},
		"accepted, unreadable": {func(m *mark, _ *survey, _ *seal) { m.Streams["L"] = level{Missing: 1} }, false},
		"accepted, a lost end": {func(m *mark, _ *survey, _ *seal) { m.Streams["L"] = level{Ends: 7} }, false},
	} {
		m := sample(1)
		m.Seal = seal{Created: made, Read: at}
		is, now := survey{created: made, last: 100, entries: 40, claimed: 40}, seal{Created: made, Read: at.Add(time.Minute)}
		tc.change(&m, &is, &now)
		if got := sealed(m, "L", is, now); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// A broker that starts anew while a start looks at what is there has lost what was
// damaged while it was down, although it had the seal before.
func TestABrokerThatIsStartedAnewUnderAStart(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"after the seal", "while the witnesses are asked"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 0)
			s.fill(0, 500, 20<<10) // more than one file
			s.pass()
			again := func() {
				s.asked, s.floors = nil, nil
				s.down()
				s.damage()
				s.up()
			}
			if calls := 0; when == "after the seal" {
				s.asked = func() {
					if calls++; calls == 2 {
						again()
					}
				}
			} else {
				s.floors = again
			}
			g, found := s.pass(func(c *Config) { c.Lanes = []string{"acme"} })
			if g.Unread() || len(found) == 0 {
				t.Errorf("unread: %v, found %v; want the damage", g.Unread(), found)
			}
		})
	}
}
