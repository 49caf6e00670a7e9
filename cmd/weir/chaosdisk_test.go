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

// The sizes of the small disk and of the disk image.
const (
	smallDisk = "48m"
	imageSize = 256 << 20
)

// mount makes the store of a kind of broker, fresh where it lies on a disk of
// its own, and returns what removes such a disk.
func mount(ctx context.Context, kind, store string) (remove func() error, err error) {
	remove = func() error { return nil }
	switch kind {
	case kindDisk:
		err = os.MkdirAll(store, 0o700)
		if err == nil {
			err = command(ctx, "mount", "-t", "tmpfs", "-o", "size="+smallDisk, "tmpfs", store)
		}
	case kindPower:
		err = makeImage(ctx, store)
		if err == nil {
			err = command(ctx, "mount", "-o", "loop", image(store), store)
		}
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
func makeImage(ctx context.Context, store string) error {
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	f, err := os.Create(image(store))
	if err == nil {
		err = errors.Join(f.Truncate(imageSize), f.Close())
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
	remove, err := mount(ctx, kind, filepath.Join(dir, "store"))
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
	defer r.hist.Disturb("disk-full", length.String())()
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
	defer r.hist.Disturb("power-cut", "")()
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
