//go:build chaos && linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/internal/broker"
)

// skewFile names, in the environment of a process, the file that its clock is
// turned by, if the program was built so (internal/chaos/skew).
const skewFile = "WEIR_CHAOS_SKEW"

// clock is the time of day of some processes of the run.
type clock struct {
	path string
	by   *int64 // the file, mapped
}

// newClock makes a clock that is right.
func newClock(path string) (*clock, error) {
	if err := os.WriteFile(path, make([]byte, 8), 0o600); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the mapping stays
	data, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the clock: %w", err)
	}
	return &clock{path: path, by: (*int64)(unsafe.Pointer(&data[0]))}, nil
}

// set turns the clock to what is right and so much more.
func (c *clock) set(by time.Duration) { atomic.StoreInt64(c.by, int64(by)) }

// env is what a process with this clock has in its environment.
func (c *clock) env() string { return skewFile + "=" + c.path }

// clocks are those of a run: of weir and of its broker. The providers' and the
// run's own are always right.
type clocks struct{ weir, server *clock }

func newClocks(dir string) (c clocks, err error) {
	if c.weir, err = newClock(filepath.Join(dir, "clock-weir")); err != nil {
		return c, err
	}
	c.server, err = newClock(filepath.Join(dir, "clock-server"))
	return c, err
}

func (c clocks) set(weir, server time.Duration) {
	if c.weir == nil {
		return // this kind of broker has the machine's own
	}
	c.weir.set(weir)
	c.server.set(server)
}

// skews is how wrong the clocks of weir and of the broker are: one of them, both
// alike, or each in its own direction.
func skews(d *rand.Rand, by time.Duration) (weir, server time.Duration) {
	if d.IntN(2) == 0 {
		by = -by
	}
	switch d.IntN(4) {
	case 0:
		return by, 0
	case 1:
		return 0, by
	case 2:
		return by, by
	default:
		return by, -by
	}
}

// jumpClock turns the clocks by minutes or hours, and back.
func jumpClock(ctx context.Context, r *rig, d *rand.Rand) {
	by := []time.Duration{40 * time.Second, 5 * time.Minute, time.Hour, time.Hour, 9 * time.Hour}[d.IntN(5)]
	weir, server := skews(d, by)
	defer r.strike("clock-jump", fmt.Sprintf("weir %v, server %v", weir, server))()
	r.clocks.set(weir, server)
	r.rest(ctx, between(d, time.Second, 8*time.Second))
	r.clocks.set(0, 0)
}

// driftClock lets the clocks run too fast or too slow by up to a half, and back.
func driftClock(ctx context.Context, r *rig, d *rand.Rand) {
	weir, server := skews(d, between(d, 200*time.Millisecond, time.Second))
	defer r.strike("clock-drift", fmt.Sprintf("weir %v, server %v", weir, server))()
	const steps = 40 // of 50 ms each way
	for i := range 2 * steps {
		part := time.Duration(min(i, 2*steps-i))
		r.clocks.set(weir/steps*part, server/steps*part) //nolint:durationcheck // part is a number
		if !r.rest(ctx, 50*time.Millisecond) {
			break
		}
	}
	r.clocks.set(0, 0)
}

// idleness notices that a number stays the same.
type idleness struct {
	most  time.Duration
	last  uint64
	since time.Time
}

// lasts reports whether n is what it was for too long, and begins anew if so.
func (i *idleness) lasts(n uint64, err error) bool {
	if now := time.Now(); err != nil || n != i.last || i.since.IsZero() {
		i.last, i.since = n, now
	}
	lasts := time.Since(i.since) > i.most
	if lasts {
		i.since = time.Now()
	}
	return lasts
}

// remind removes the consumers that wait for an acknowledgement, as an operator
// would: a broker whose clock was ahead delivers again only when its clock is
// there once more what it gave out meanwhile. weir makes them anew, and everything
// comes again.
func (r *rig) remind(ctx context.Context) {
	s, err := r.stream(ctx, broker.StreamEvents)
	if err != nil {
		return
	}
	for info := range s.ListConsumers(ctx).Info() {
		if info.NumAckPending == 0 {
			continue
		}
		err := s.DeleteConsumer(ctx, info.Name)
		r.hist.Note("repair", info.Name, fmt.Sprintf("removed with %d unacknowledged: %v", info.NumAckPending, err))
	}
}

// turnable says why the clocks of this program's children cannot be turned,
// empty if they can.
func turnable(ctx context.Context) string {
	dir, err := os.MkdirTemp("", "chaos-clock-")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := newClock(filepath.Join(dir, "clock"))
	if err != nil {
		return err.Error()
	}
	c.set(time.Hour)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChaosChild$")
	cmd.Env = append(os.Environ(), chaosRole+"=clock", c.env())
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprintf("the clock: %v", err)
	}
	var said time.Time
	if err := json.Unmarshal([]byte(strings.TrimSpace(string(out))), &said); err != nil {
		return fmt.Sprintf("the clock says %q", out)
	}
	if ahead := time.Until(said); ahead < 59*time.Minute || ahead > time.Hour {
		return "a program built with -overlay bin/skew/overlay.json; this one's clock cannot be turned"
	}
	return ""
}

// tell writes the time of day as this process has it.
func tell() error { return json.NewEncoder(os.Stdout).Encode(time.Now()) }
