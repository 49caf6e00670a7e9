package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// format is the major version of the manifest. It rises only when an older Weir
	// could no longer act rightly on what a newer one wrote.
	format       = 1
	manifestFile = "manifest.json"
	maxManifest  = 1 << 20 // bytes
	// copies of a stream are made at most, until one is not torn.
	copies = 4
)

// Manifest is the stored form of what a backup holds.
type Manifest struct {
	V       int       `json:"v"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Lanes   []string  `json:"lanes"`   // that ran, or were in the configuration
	Streams []Piece   `json:"streams"` // in the order in which they were copied
}

// Piece is the copy of one stream.
type Piece struct {
	Stream string          `json:"stream"`
	Bytes  int64           `json:"bytes"`
	SHA256 string          `json:"sha256"`
	State  State           `json:"state"`  // when the copy began
	After  State           `json:"after"`  // when it was there; where it differs, the copy is of something between
	Config json.RawMessage `json:"config"` // the stream's settings, as the broker has them
}

// Torn reports whether something was removed or replaced while the copy was made. The
// broker reads one block of a stream after the other, and no block that began later:
// what moves from a block that is still to be read to a new one is in neither, and
// where a block is emptied, another may be passed over. What is only added to is whole.
func (p Piece) Torn() bool {
	return p.After.LastSeq-p.State.LastSeq != p.After.Messages-p.State.Messages
}

// Progress is told how many bytes of a stream have moved.
type Progress func(stream string, bytes int64)

// Write copies streams into a folder, which must be empty or not be there. Those that
// do not exist are left out.
func Write(ctx context.Context, js jetstream.JetStream, dir string, streams, lanes []string, progress Progress) (Manifest, error) {
	m := Manifest{V: format, Began: time.Now().UTC(), Lanes: lanes}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, err
	}
	there, err := os.ReadDir(dir)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%s is not empty: give each backup a folder of its own", dir)
	}
	if err != nil {
		return m, err
	}
	for _, stream := range streams {
		p, err := copyStream(ctx, js, dir, stream, progress)
		for n := 1; err == nil && p.Torn() && n < copies; n++ {
			p, err = copyStream(ctx, js, dir, stream, progress)
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return m, fmt.Errorf("stream %s: %w", stream, err)
		}
		m.Streams = append(m.Streams, p)
	}
	m.Ended = time.Now().UTC()
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	return m, writeFile(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

// copyStream copies one stream.
func copyStream(ctx context.Context, js jetstream.JetStream, dir, stream string, progress Progress) (Piece, error) {
	p := Piece{Stream: stream}
	if _, err := js.Stream(ctx, stream); err != nil { // asked first: of one that is not there the API says nothing on a cluster
		return p, err
	}
	sum := sha256.New()
	err := writeFile(snapshotFile(dir, stream), func(w io.Writer) error {
		r, err := snapshot(ctx, js, stream, io.MultiWriter(w, sum), func(n int64) {
			p.Bytes = n
			progress(stream, n)
		})
		p.State, p.Config = r.State, r.Config
		return err
	})
	if err != nil {
		return p, err
	}
	p.SHA256 = hex.EncodeToString(sum.Sum(nil))
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return p, fmt.Errorf("look at it after the copy: %w", err)
	}
	is := s.CachedInfo().State
	p.After = State{Messages: is.Msgs, LastSeq: is.LastSeq}
	return p, nil
}

func snapshotFile(dir, stream string) string { return filepath.Join(dir, stream+".snapshot") }

// writeFile makes a file that its owner alone can read: it is whole, and on the disk,
// or it is not there.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Archive is a backup that was found whole.
type Archive struct {
	Manifest
	dir string
}

// names are those that a file may have.
var names = regexp.MustCompile(`^[A-Z_]{1,64}$`)

// Open reads a backup's manifest and compares every file with its checksum.
func Open(dir string) (*Archive, error) {
	f, err := os.Open(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no %s: it is no backup, or one that was not finished", dir, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return nil, err
	}
	a := &Archive{dir: dir}
	if err := json.Unmarshal(data, &a.Manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if a.V > format {
		return nil, fmt.Errorf("%s: a newer Weir wrote it (format %d, this one reads %d): use the newer one", f.Name(), a.V, format)
	}
	var errs []error
	for _, p := range a.Streams {
		errs = append(errs, a.verify(p))
	}
	return a, errors.Join(errs...)
}

// verify compares a file with its checksum.
func (a *Archive) verify(p Piece) error {
	if !names.MatchString(p.Stream) {
		return fmt.Errorf("%s: %q is no stream of Weir's", manifestFile, p.Stream)
	}
	f, err := os.Open(snapshotFile(a.dir, p.Stream))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if n != p.Bytes || hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
		return fmt.Errorf("%s is damaged: it is not what was written on %s", f.Name(), a.Ended.Format(time.RFC3339))
	}
	return nil
}

// Piece returns the copy of a stream, if there is one.
func (a *Archive) Piece(stream string) (Piece, bool) {
	i := slices.IndexFunc(a.Streams, func(p Piece) bool { return p.Stream == stream })
	if i < 0 {
		return Piece{}, false
	}
	return a.Streams[i], true
}

// Restore makes a stream of its copy, with so many replicas, and returns how far it
// goes. There must be none of its name. Of a stream that changed while it was copied
// there may be fewer messages than it had (see Torn).
func (a *Archive) Restore(ctx context.Context, js jetstream.JetStream, p Piece, replicas int, progress Progress) (State, error) {
	config, err := replicated(p.Config, replicas)
	if err != nil {
		return State{}, err
	}
	f, err := os.Open(snapshotFile(a.dir, p.Stream))
	if err != nil {
		return State{}, err
	}
	defer f.Close()
	is, err := restore(ctx, js, p.Stream, config, p.State, f, func(n int64) { progress(p.Stream, n) })
	if err != nil {
		return is, fmt.Errorf("stream %s: %w", p.Stream, err)
	}
	if is.LastSeq < p.State.LastSeq || is.Messages != p.State.Messages && p.After == p.State && !changes(p.Config) {
		return is, fmt.Errorf("stream %s: %d messages up to sequence %d were put back, and the backup has %d up to %d", p.Stream, is.Messages, is.LastSeq, p.State.Messages, p.State.LastSeq)
	}
	return is, nil
}

// replicated returns a stream's settings with another number of copies, free to be
// placed anywhere.
func replicated(config json.RawMessage, replicas int) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, fmt.Errorf("the stream's settings: %w", err)
	}
	all["num_replicas"] = json.RawMessage(fmt.Sprint(replicas))
	delete(all, "placement")
	return json.Marshal(all)
}

// changes reports whether the broker adds or removes messages of a stream by itself.
func changes(config json.RawMessage) bool {
	var c struct {
		MaxAge    int64 `json:"max_age"`
		TTL       bool  `json:"allow_msg_ttl"`
		Schedules bool  `json:"allow_msg_schedules"`
	}
	_ = json.Unmarshal(config, &c)
	return c.MaxAge > 0 || c.TTL || c.Schedules
}
