package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/backup"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
)

// backupCmd is weir backup.
type backupCmd struct {
	Dir string `arg:"" placeholder:"FOLDER" help:"Where to: a folder that is empty or not there. It will hold personal data, for its owner alone."`
}

// keptStreams are the streams of a backup in their order. The pauses and the mark are
// first. The ledger comes after all that tell of it: it knows at least what they do.
// Whom it says was contacted is written down before, so that is last of all, and with
// it who must not be.
var keptStreams = []string{
	broker.StreamLanes, broker.StreamEvents, broker.StreamLater, broker.StreamDead,
	broker.StreamUndelivered, broker.StreamOutcomes, ledger.Stream, broker.StreamContact,
}

// neededStreams are those without which there is nothing to put back.
var neededStreams = []string{ledger.Stream, broker.StreamLanes, broker.StreamEvents}

// unbegun is a folder of the embedded broker that is not there.
func unbegun(cfg *config.Config) bool {
	if cfg.Embedded == nil {
		return false
	}
	_, err := os.Stat(cfg.Embedded.Dir)
	return errors.Is(err, fs.ErrNotExist)
}

// Run copies everything.
func (c *backupCmd) Run(a *app) error {
	cfg, err := a.brokerConfig()
	if err != nil {
		return err
	}
	if unbegun(cfg) { // and is not to be, by this
		return fmt.Errorf("backup: there is no %s: name the configuration of weir serve with -c", cfg.Embedded.Dir)
	}
	return a.atStore(cfg, func(b *broker.Broker) error {
		for _, stream := range neededStreams {
			if _, err := b.JetStream().Stream(a.ctx, stream); errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("backup: there is no stream %s: nothing was copied. Weir serve has never run on this broker, or part of its state is lost: see weir check", stream)
			} else if err != nil {
				return fmt.Errorf("backup: stream %s: %w", stream, err)
			}
		}
		lanes, err := lanesKept(a.ctx, b, cfg)
		if err != nil {
			return err
		}
		moved := newMoved(a, "copied")
		m, err := backup.Write(a.ctx, b.JetStream(), c.Dir, keptStreams, lanes, moved.show)
		moved.end()
		if err != nil {
			return fmt.Errorf("backup: %w; what is in %s is no backup: remove it", err, c.Dir)
		}
		return a.print(m, func(w io.Writer) {
			fmt.Fprintln(w, "STREAM\tMESSAGES\tLAST\tBYTES")
			for _, p := range m.Streams {
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", p.Stream, p.State.Messages, p.State.LastSeq, p.Bytes)
			}
			if torn := tornStreams(m); len(torn) > 0 {
				fmt.Fprintf(w, "Not of one moment, however often they were copied: %s. Single messages may be missing; for an exact copy stop weir serve first.\n", strings.Join(torn, ", "))
			}
			fmt.Fprintf(w, "The backup is in %s. Try it now and then: weir restore %s --dry-run\n", clean(c.Dir), clean(c.Dir))
		})
	})
}

// tornStreams are those that changed in a way that their copy may lack something.
func tornStreams(m backup.Manifest) (torn []string) {
	for _, p := range m.Streams {
		if p.Torn() {
			torn = append(torn, p.Stream)
		}
	}
	return torn
}

// lanesKept are the lanes that ran, and those of the configuration.
func lanesKept(ctx context.Context, b *broker.Broker, cfg *config.Config) ([]string, error) {
	all, err := b.Ran(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			all = append(all, lc.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// atStore is withBroker where the embedded broker need not run: then it is started
// for the work. Its store can be open once.
func (a *app) atStore(cfg *config.Config, work func(*broker.Broker) error) error {
	err := a.withBroker(cfg, work)
	if _, ok := errors.AsType[notRunningError](err); !ok {
		return err
	}
	return a.atOwnStore(cfg, work)
}

// atOwnStore starts the embedded broker for the work.
func (a *app) atOwnStore(cfg *config.Config, work func(*broker.Broker) error) (err error) {
	e, err := broker.StartEmbedded(a.quiet(), broker.EmbeddedConfig{Dir: cfg.Embedded.Dir, Listen: cfg.Embedded.Listen, Token: cfg.Embedded.Token})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Shutdown()) }()
	ctx, cancel := context.WithTimeout(a.ctx, reachFor)
	defer cancel()
	b, err := broker.Connect(ctx, a.quiet(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		return err
	}
	return a.lend(b, work)
}

// moved shows how far a copy is, on a terminal.
type moved struct {
	w     io.Writer // nil: nobody looks
	verb  string
	drawn time.Time
}

func newMoved(a *app, verb string) *moved {
	m := &moved{verb: verb}
	if isTerminal(a.stderr) {
		m.w = a.stderr
	}
	return m
}

func (m *moved) show(stream string, bytes int64) {
	if m.w == nil || time.Since(m.drawn) < 100*time.Millisecond {
		return
	}
	m.drawn = time.Now()
	fmt.Fprintf(m.w, "\r%-20s %8d KiB %s", stream, bytes>>10, m.verb)
}

func (m *moved) end() {
	if m.w != nil && !m.drawn.IsZero() {
		fmt.Fprintf(m.w, "\r%s\r", strings.Repeat(" ", 50))
	}
}
