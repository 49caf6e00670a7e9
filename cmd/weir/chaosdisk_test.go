//go:build chaos && linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

// The sizes of the small disk and of the disk image, in a round of baseRound
// events; a larger round has as much more.
const (
	smallDisk = 48 << 20
	imageSize = 256 << 20
)

// mount makes the store of a kind of broker, fresh where it lies on a disk of
// its own, and returns what removes such a disk.
func mount(ctx context.Context, kind, store string, factor int64) (remove func() error, err error) {
	remove = func() error { return nil }
	switch kind {
	case kindDisk:
		err = os.MkdirAll(store, 0o700)
		if err == nil {
			err = command(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", smallDisk*factor), "tmpfs", store)
		}
	case kindPower:
		err = makeImage(ctx, store, imageSize*factor)
		if err == nil {
			err = command(ctx, "mount", "-o", "loop", image(store), store)
		}
	case kindFlip, kindFlip3: // what is damaged once is not used again
		if err := os.RemoveAll(store); err != nil {
			return remove, err
		}
		return remove, os.MkdirAll(store, 0o700)
	default:
		return remove, os.MkdirAll(store, 0o700)
	}
	if err != nil {
		return remove, err
	}
	return func() error { return command(context.WithoutCancel(ctx), "umount", store) }, nil
}

func image(store string) string { return store + ".img" }

// makeImage makes a file system in a file.
func makeImage(ctx context.Context, store string, size int64) error {
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	f, err := os.Create(image(store))
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err == nil {
		err = command(ctx, "mkfs.ext4", "-q", "-F", image(store))
	}
	return err
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// mountable says why this machine cannot have a kind of broker, empty if it can.
func mountable(ctx context.Context, kind string) string {
	if kind == kindOne || kind == kindCluster {
		return ""
	}
	dir, err := os.MkdirTemp("", "chaos-mount-")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	remove, err := mount(ctx, kind, filepath.Join(dir, "store"), 1)
	if err != nil {
		return err.Error()
	}
	if err := remove(); err != nil {
		return err.Error()
	}
	return ""
}

// fillDisk fills the disk until nothing fits, for a while. The broker does not
// recover by itself when there is room again: it is started anew.
func fillDisk(ctx context.Context, r *rig, d *rand.Rand) {
	length := between(d, 3*time.Second, 10*time.Second)
	defer r.strike("disk-full", length.String())()
	balloon := filepath.Join(r.store, "balloon")
	f, err := os.Create(balloon)
	if err != nil {
		r.find(chaos.Crash, "%v", err)
		return
	}
	_, err = io.Copy(f, zeros{})
	_ = f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		r.find(chaos.Crash, "the disk did not fill: %v", err)
	}
	r.rest(ctx, length)
	if err := os.Remove(balloon); err != nil {
		r.find(chaos.Crash, "%v", err)
	}
	n := r.nodes[0]
	n.proc.Terminate()
	n.proc.Await(ctx, 10*time.Second)
	n.proc.Kill()
	r.startNode(n)
	r.rest(ctx, 3*time.Second)
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// cutPower stops the broker, takes the disk as it is below its file system, with
// nothing of what only the cache has, and goes on from there.
func cutPower(ctx context.Context, r *rig, d *rand.Rand) {
	defer r.strike("power-cut", "")()
	n := r.nodes[0]
	n.proc.Stop()
	cut := image(r.store) + ".cut"
	err := command(ctx, "cp", "--sparse=always", image(r.store), cut)
	n.proc.Kill()
	all := context.WithoutCancel(ctx)
	err = errors.Join(err, command(all, "umount", r.store))
	if err == nil {
		err = os.Rename(cut, image(r.store))
	}
	if err == nil {
		err = command(all, "mount", "-o", "loop", image(r.store), r.store)
	}
	if err != nil {
		r.find(chaos.Crash, "power cut: %v", err)
		return
	}
	r.rest(ctx, between(d, 0, 3*time.Second))
	r.startNode(n)
	r.rest(ctx, 5*time.Second)
}

// freeze keeps the broker's file system from taking anything for a while: what is
// written or synced waits.
func (r *rig) freeze(ctx context.Context, length time.Duration) {
	all := context.WithoutCancel(ctx)
	if err := command(all, "fsfreeze", "--freeze", r.store); err != nil {
		r.find(chaos.Crash, "%v", err)
		return
	}
	r.rest(ctx, length)
	if err := command(all, "fsfreeze", "--unfreeze", r.store); err != nil {
		r.find(chaos.Crash, "%v", err)
	}
}

// slowDisk lets the disk take something in short moments only.
func slowDisk(ctx context.Context, r *rig, d *rand.Rand) {
	end := time.Now().Add(between(d, 3*time.Second, 12*time.Second))
	defer r.strike("disk-slow", time.Until(end).String())()
	for time.Now().Before(end) {
		r.freeze(ctx, between(d, 50*time.Millisecond, 800*time.Millisecond))
		if !r.rest(ctx, between(d, time.Millisecond, 100*time.Millisecond)) {
			return
		}
	}
}

// stallDisk lets the disk take nothing at all for longer than weir waits for an
// answer.
func stallDisk(ctx context.Context, r *rig, d *rand.Rand) {
	length := between(d, 5*time.Second, 20*time.Second)
	defer r.strike("disk-stall", length.String())()
	r.freeze(ctx, length)
}
