//go:build chaos && linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
)

// damage makes a fault that kills the broker, does something to the bytes of one
// of the ledger's files, and starts it again; weir is killed with it, or not.
func damage(name string, do func(d *rand.Rand, data []byte) []byte) func(context.Context, *rig, *rand.Rand) {
	return func(ctx context.Context, r *rig, d *rand.Rand) {
		n := r.nodes[d.IntN(len(r.nodes))]
		both := d.IntN(2) == 0
		defer r.strike(name, fmt.Sprintf("%s, weir killed: %v", n.cfg.Name, both))()
		r.rest(ctx, 2*time.Second) // or there is little to damage
		if both {
			r.hold(2 * time.Second)
			r.awake(ctx).Kill()
		}
		n.proc.Kill()
		if err := spoil(n, d, do); err != nil {
			r.find(chaos.Crash, "%s: %v", name, err)
		}
		r.startNode(n)
		for range 10 {
			r.rest(ctx, time.Second)
			r.release(ctx)
		}
	}
}

// spoil changes one of the files with the ledger's messages.
func spoil(n *node, d *rand.Rand, do func(d *rand.Rand, data []byte) []byte) error {
	files, err := filepath.Glob(filepath.Join(n.cfg.Store, "jetstream", "*", "streams", ledger.Stream, "msgs", "*.blk"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("found no file of the ledger in %s: %w", n.cfg.Store, err)
	}
	path := files[d.IntN(len(files))]
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return err // an empty one has nothing to lose
	}
	return os.WriteFile(path, do(d, data), 0o600)
}

// flipBits turns a few bits over.
func flipBits(d *rand.Rand, data []byte) []byte {
	for range 1 + d.IntN(3) {
		data[d.IntN(len(data))] ^= 1 << d.IntN(8)
	}
	return data
}

// cutShort ends a file early.
func cutShort(d *rand.Rand, data []byte) []byte { return data[:d.IntN(len(data))] }

// release lets lanes go on that weir holds because part of the ledger is missing,
// as an operator does who knows that events until now may have been sent.
func (r *rig) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	gates, err := r.b.Gates(ctx)
	if err != nil {
		return // the broker is not up yet
	}
	for lane, g := range gates {
		if !g.Held {
			continue
		}
		err := r.b.Release(ctx, lane, time.Now(), "chaos", "the store was damaged")
		r.hist.Note("repair", lane, fmt.Sprintf("held (%s), and released: %v", g.Why, err))
		r.mu.Lock()
		r.held = true
		r.mu.Unlock()
	}
}

// quiet releases what is held, and reports whether all messages of a store that was
// damaged have been acknowledged for a while. Of what the ledger has forgotten, or
// knows as it was long ago, nothing more will come.
func (r *rig) quiet(ctx context.Context, idle *idleness) bool {
	if r.kind != kindFlip && r.kind != kindFlip3 {
		return false
	}
	r.release(ctx)
	return r.damaged() && idle.lasts(r.backlog(ctx)) && idle.last == 0
}

// damaged reports whether lanes were held: what the ledger does not know may have
// been destroyed.
func (r *rig) damaged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}
