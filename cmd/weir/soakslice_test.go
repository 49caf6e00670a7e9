//go:build chaos && linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

// soakFaults are those of a slice: all that leave weir and its broker alive, so that
// what these gather can be seen. What kills them is for "make chaos".
var soakFaults = []string{atBroker, atProvider, atAnswer, atPublish}

// soakSample is one look at everything.
type soakSample struct {
	Slice  int     `json:"slice"`
	Minute float64 `json:"minute"` // since weir of this slice was there
	Events int     `json:"events"` // published in all slices

	RSS        float64 `json:"rss"`  // MiB
	Heap       float64 `json:"heap"` // MiB that lived after the newest collection: half of what starts the next one
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
	CPU        float64 `json:"cpu"` // seconds so far

	BrokerRSS   float64 `json:"broker_rss"`
	BrokerFiles float64 `json:"broker_files"`

	Streams   float64 `json:"streams"`
	Consumers float64 `json:"consumers"`
	Messages  float64 `json:"messages"` // in all streams
	Kept      float64 `json:"kept"`     // MiB, as the broker counts them
	Store     float64 `json:"store"`    // MiB on the disk
	Calm      bool    `json:"calm"`     // the slice is over: nothing is published any more
}

// TestSoakSlice runs one slice of a soak: real processes under load and faults for
// SOAK_MINUTES, on the store that the slices before left in SOAK_DIR.
func TestSoakSlice(t *testing.T) {
	dir := os.Getenv("SOAK_DIR")
	if dir == "" {
		t.Skip("SOAK_DIR is not set: use make soak-slice")
	}
	minutes, err := strconv.Atoi(os.Getenv("SOAK_MINUTES"))
	if err != nil || minutes < 2 || minutes > 40 {
		t.Fatalf("SOAK_MINUTES is %q, must be 2 to 40", os.Getenv("SOAK_MINUTES"))
	}
	o := chaosOptions{dir: dir, seed: uint64(time.Now().UnixNano() % 1e9), kinds: []string{kindOne}}
	status, err := runSoak(o, time.Duration(minutes)*time.Minute)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if status != 0 || err != nil {
		os.Exit(max(status, 1))
	}
}

func runSoak(o chaosOptions, length time.Duration) (status int, err error) {
	ctx, stopping, stop := signals()
	defer stop()
	c, err := openCampaign(o)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.hist.Close()) }()
	c.salvage()
	p := c.soakPlan(length)
	s := &soak{path: filepath.Join(c.dir, "samples.ndjson"), slice: c.state.Rounds, before: c.state.Total.Events, began: time.Now()}
	c.watch = s.watch
	c.state.Open = p.kind
	if err := c.state.Save(c.statePath()); err != nil {
		return 1, err
	}
	v, err := c.round(ctx, stopping, p)
	if err != nil {
		return 1, fmt.Errorf("slice %d: %w", p.round, err)
	}
	c.state.Open = ""
	c.state.Rounds++
	if err := c.state.Save(c.statePath()); err != nil {
		return 1, err
	}
	samples, err := readSamples(s.path)
	if err != nil {
		return 1, err
	}
	text, grows := soakVerdict(samples)
	fmt.Print(text)
	if err := os.WriteFile(filepath.Join(c.dir, "verdict.md"), []byte(text), 0o600); err != nil {
		return 1, err
	}
	switch {
	case ctx.Err() != nil:
		return 130, nil
	case grows || len(v.Findings) > 0:
		return 1, nil
	}
	return 0, nil
}

// soakPlan is the slice as one round of chaos: as long as it may be, with the last
// minute for its end.
func (c *campaign) soakPlan(length time.Duration) plan {
	l := loadOf(baseRound)
	l.window = length - time.Minute
	l.over = l.window
	l.events, l.senders = int(3*l.over.Seconds()), 4
	l.pause = 15 * time.Second
	p := plan{round: c.state.Rounds, load: l, seed: c.state.Seed, kind: kindOne}
	for _, f := range chaosFaults {
		if slices.Contains(soakFaults, f.group) && f.short && f.needs == "" {
			p.faults = append(p.faults, f)
		}
	}
	return p
}

// soak samples one slice.
type soak struct {
	path   string
	slice  int
	before int // events of earlier slices
	began  time.Time
}

// watch samples until ctx ends.
func (s *soak) watch(ctx context.Context, r *rig) {
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		r.find(chaos.Crash, "%v", err)
		return
	}
	defer func() { _ = f.Close() }()
	out := json.NewEncoder(f)
	for r.rest(ctx, 5*time.Second) {
		sample, err := s.sample(ctx, r)
		if err != nil {
			r.hist.Note("sample", "failed", err.Error()) // as while the broker is cut off
			continue
		}
		if err := out.Encode(sample); err != nil {
			r.find(chaos.Crash, "%v", err)
			return
		}
	}
}

func (s *soak) sample(ctx context.Context, r *rig) (n soakSample, err error) {
	const mib = 1 << 20
	n = soakSample{Slice: s.slice, Minute: time.Since(s.began).Minutes(), Events: s.before}
	r.published.mu.Lock()
	sent := len(r.published.sent)
	n.Calm = r.published.next >= r.load.events && sent >= r.published.next-len(r.published.cut)
	r.published.mu.Unlock()
	n.Events += sent
	w := r.current()
	if w == nil {
		return n, errors.New("weir is not up")
	}
	v, err := chaos.VitalsOf(w.PID())
	if err != nil {
		return n, err
	}
	n.RSS, n.Files, n.CPU = float64(v.RSS)/mib, float64(v.Files), v.CPU.Seconds()
	if v, err = chaos.VitalsOf(r.nodes[0].proc.PID()); err != nil {
		return n, err
	}
	n.BrokerRSS, n.BrokerFiles = float64(v.RSS)/mib, float64(v.Files)
	for name, into := range map[string]*float64{"go_memstats_next_gc_bytes": &n.Heap, "go_goroutines": &n.Goroutines} {
		if *into, err = (&scaleWeir{admin: r.admin}).metric(name); err != nil {
			return n, err
		}
	}
	n.Heap /= 2 * mib
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	streams := r.b.JetStream().ListStreams(ctx)
	for info := range streams.Info() {
		n.Streams++
		n.Consumers += float64(info.State.Consumers)
		n.Messages += float64(info.State.Msgs)
		n.Kept += float64(info.State.Bytes) / mib
	}
	if err := streams.Err(); err != nil {
		return n, err
	}
	err = filepath.WalkDir(r.store, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // the broker has just removed it
		}
		if info, err := d.Info(); err == nil {
			n.Store += float64(info.Size()) / mib
		}
		return nil
	})
	return n, err
}

// readSamples reads those of all slices. A line that was cut off is left out.
func readSamples(path string) (all []soakSample, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		var s soakSample
		if json.Unmarshal([]byte(line), &s) == nil {
			all = append(all, s)
		}
	}
	return all, nil
}
