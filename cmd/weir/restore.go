package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/backup"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/owner"
)

// restoreCmd is weir restore.
type restoreCmd struct {
	Dir     string `arg:"" placeholder:"FOLDER" help:"What weir backup made."`
	Replace bool   `help:"Streams that are there, and hold anything, are deleted first."`
	Contact bool   `xor:"contact" help:"Also who must not be contacted. Who asked for it after the backup is called again."`

	KeepContact bool `xor:"contact" help:"Leave who must not be contacted as it is, although it does not go on from the backup's."`

	DryRun bool `help:"Compare the backup with its checksums, and only say what would be done."`
	Yes    bool `short:"y" help:"Do not ask."`
	decision
}

// putBack is what becomes, or would become, of one stream.
type putBack struct {
	Stream   string `json:"stream"`
	Messages uint64 `json:"messages"` // of the backup
	There    uint64 `json:"there"`    // the last sequence of the stream that is there; 0: none, or empty
	Plan     string `json:"plan"`
	Missing  uint64 `json:"missing,omitzero"` // messages that the copy lacks: it was made while they moved
	Done     bool   `json:"done"`

	piece     backup.Piece
	exists    bool
	skipped   bool
	undecided bool
	another   bool // it is there, but was made after the backup, or is not as far
}

// Run puts a backup back.
func (c *restoreCmd) Run(a *app) error {
	by, err := c.signedUnless(c.DryRun, a)
	if err != nil {
		return err
	}
	cfg, err := a.brokerConfig()
	if err != nil {
		return err
	}
	archive, err := backup.Open(c.Dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, need := range neededStreams {
		if _, ok := archive.Piece(need); !ok {
			return fmt.Errorf("restore: %s has no copy of %s: it is no backup of Weir's", c.Dir, need)
		}
	}
	seen := make(map[string]bool)
	for _, p := range archive.Streams { // one that is there is deleted
		if !slices.Contains(keptStreams, p.Stream) || seen[p.Stream] {
			return fmt.Errorf("restore: the manifest of %s names stream %s, which is none of Weir's, or twice: nothing was done", c.Dir, p.Stream)
		}
		seen[p.Stream] = true
	}
	at := a.withBroker
	switch {
	case c.DryRun && unbegun(cfg): // and is not to be, by this
		return c.foretell(a, nil, archive)
	case c.DryRun:
		return a.atStore(cfg, func(b *broker.Broker) error { return c.foretell(a, b, archive) })
	case cfg.Embedded != nil: // its lock shows that no weir serve runs
		at = a.atOwnStore
	}
	return at(cfg, func(b *broker.Broker) error { return c.restore(a, cfg, b, archive, by) })
}

// foretell says what would be done. Nothing has to be stopped for it. No broker: there
// is none yet.
func (c *restoreCmd) foretell(a *app, b *broker.Broker, archive *backup.Archive) error {
	all, err := c.plan(a.ctx, b, archive)
	if err != nil {
		return err
	}
	return a.print(all, func(w io.Writer) {
		drawPutBack(w, all)
		if b != nil {
			if err := alone(a.ctx, b); err != nil {
				fmt.Fprintln(w, "Now it would be refused:", err)
			}
		}
	})
}

func drawPutBack(w io.Writer, all []*putBack) {
	fmt.Fprintln(w, "STREAM\tMESSAGES\tPLAN")
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%d\t%s\n", p.Stream, p.Messages, p.Plan)
	}
	for _, p := range all {
		if p.Missing > 0 {
			fmt.Fprintf(w, "The copy of %s lacks %d messages: they were replaced or removed while it was made.\n", p.Stream, p.Missing)
		}
	}
}

func (c *restoreCmd) restore(a *app, cfg *config.Config, b *broker.Broker, archive *backup.Archive, by decision) error {
	if err := alone(a.ctx, b); err != nil {
		return err
	}
	all, err := c.plan(a.ctx, b, archive)
	if err != nil {
		return err
	}
	if err := c.agreed(a, all); err != nil {
		return err
	}
	lanes, err := lanesKept(a.ctx, b, cfg)
	if err != nil {
		return err
	}
	moved := newMoved(a, "put back")
	r := &restoring{
		b: b, archive: archive, replicas: 1, progress: moved.show, lanes: append(lanes, archive.Lanes...),
		why: fmt.Sprintf("the backup of %s was put back by %s: %s", archive.Began.Format(time.RFC3339), by.By, by.Reason),
	}
	if cfg.Broker != nil {
		r.replicas = cfg.Broker.Replicas
	}
	err = r.do(a.ctx, all)
	moved.end()
	switch {
	case err != nil && !r.held:
		return fmt.Errorf("restore: %w; not every lane is held yet: do not start weir serve, and give the same command again", err)
	case err != nil:
		return fmt.Errorf("restore: %w; every lane is held: do not start weir serve, and give the same command again with --replace", err)
	}
	return a.print(all, func(w io.Writer) {
		drawPutBack(w, all)
		fmt.Fprintln(w, "Every lane is held. Start weir serve, let the publishers send again what was lost, then: weir release")
	})
}

// alone fails if a weir serve runs on this broker, or did a moment ago.
func alone(ctx context.Context, b *broker.Broker) error {
	holders, err := owner.Replicas(ctx, b)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err == nil && len(holders) > 0 {
		err = fmt.Errorf("weir serve runs: %s. Stop it; one that was killed counts for another 20 seconds", strings.Join(holders, ", "))
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// plan says what would be done with each stream, the last one copied first.
func (c *restoreCmd) plan(ctx context.Context, b *broker.Broker, archive *backup.Archive) (all []*putBack, err error) {
	for _, piece := range slices.Backward(archive.Streams) {
		p := &putBack{Stream: piece.Stream, Messages: piece.State.Messages, piece: piece, Plan: "put back"}
		if err := p.look(ctx, b, archive.Ended); err != nil {
			return nil, err
		}
		switch {
		case p.exists && p.Stream == broker.StreamLanes && p.another:
			p.skipped, p.Plan = true, "left as it is: it was made after the backup; pauses that the backup has are to be given again"
		case p.exists && p.Stream == broker.StreamLanes:
			p.skipped, p.Plan = true, "left as it is: its mark and its pauses are newer"
		case p.There > 0 && p.Stream == broker.StreamContact && !c.Contact && !c.KeepContact && p.another:
			p.skipped, p.Plan = true, "refused: the one that is there was made after the backup, or went back, and may lack who is in the backup; give --contact to put the backup's in its place, or --keep-contact to keep it"
			p.undecided = true
		case p.There > 0 && p.Stream == broker.StreamContact && !c.Contact:
			p.skipped, p.Plan = true, "left as it is: who asked not to be called since is in it alone; --contact puts it back"
		case p.There > 0:
			p.Plan = fmt.Sprintf("put back in the place of the one that is there, which went to sequence %d", p.There)
		}
		all = append(all, p)
	}
	return all, nil
}

// look says whether there is a stream of this name, and whether it is another than the
// one that was copied: it was made later, or is not even as far.
func (p *putBack) look(ctx context.Context, b *broker.Broker, copied time.Time) error {
	if b == nil {
		return nil
	}
	s, err := b.JetStream().Stream(ctx, p.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore: stream %s: %w", p.Stream, err)
	}
	info := s.CachedInfo()
	p.exists, p.There = true, info.State.LastSeq
	p.another = info.Created.After(copied) || p.There < p.piece.State.LastSeq
	return nil
}

// agreed asks, unless it was told not to.
func (c *restoreCmd) agreed(a *app, all []*putBack) error {
	var lost []string
	for _, p := range all {
		if p.undecided {
			return usageError{fmt.Errorf("nothing was done; stream %s: %s", p.Stream, p.Plan)}
		}
		if p.There > 0 && !p.skipped {
			lost = append(lost, p.Stream)
		}
	}
	if len(lost) > 0 && !c.Replace {
		return usageError{fmt.Errorf("nothing was done: %s are there and hold something; what they hold beyond the backup is lost. Give --replace if that is meant", strings.Join(lost, ", "))}
	}
	if c.Yes {
		return nil
	}
	if !interactive(a.stdin) || !isTerminal(a.stderr) {
		return usageError{errors.New("nothing was done; give --yes to do it, or --dry-run to look first")}
	}
	return agree(a.ctx, a.stdin, a.stderr, "Put the backup back? Every lane is held until weir release.")
}

// restoring is one run of weir restore.
type restoring struct {
	b        *broker.Broker
	archive  *backup.Archive
	replicas int
	lanes    []string
	why      string
	progress backup.Progress
	held     bool // every lane is
}

// do puts the streams back. First of all every lane is held, durably, also one that
// neither the backup nor this configuration knows: whatever happens then, no weir serve
// sends anything.
func (r *restoring) do(ctx context.Context, all []*putBack) error {
	shelf := all[slices.IndexFunc(all, func(p *putBack) bool { return p.Stream == broker.StreamLanes })]
	if !shelf.exists {
		if err := r.put(ctx, shelf); err != nil {
			return err
		}
	}
	gates, err := r.b.Gates(ctx) // a lane that has one begins with it, and not with that of the others
	if err != nil {
		return err
	}
	r.lanes = slices.AppendSeq(r.lanes, maps.Keys(gates))
	slices.Sort(r.lanes)
	for _, lane := range slices.Compact(r.lanes) {
		if err := r.b.Hold(ctx, lane, r.why); err != nil {
			return err
		}
	}
	if err := r.b.HoldOthers(ctx, r.why); err != nil {
		return err
	}
	r.held = true
	for _, p := range all {
		if p.skipped || p.Done {
			continue
		}
		if err := r.put(ctx, p); err != nil {
			return err
		}
	}
	if shelf.Done {
		return nil // it holds the leases of the day of the backup
	}
	return alone(ctx, r.b)
}

// put makes one stream of its copy.
func (r *restoring) put(ctx context.Context, p *putBack) error {
	if p.exists {
		if err := r.b.JetStream().DeleteStream(ctx, p.Stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", p.Stream, err)
		}
	}
	is, err := r.archive.Restore(ctx, r.b.JetStream(), p.piece, r.replicas, r.progress)
	if err != nil {
		return err
	}
	p.Done = true
	if p.piece.Torn() && is.Messages < p.piece.State.Messages {
		p.Missing = p.piece.State.Messages - is.Messages
	}
	return nil
}
