//go:build chaos && linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
)

// bareConfig is what the bare loop does: what weir's idle lanes are compared with.
type bareConfig struct {
	URL   string
	Lanes int
}

// runBare makes the consumers that weir would make, and waits for a message on each,
// half a minute at a time, with what nats.go does by itself.
func runBare(ctx context.Context) error {
	var c bareConfig
	if err := json.Unmarshal([]byte(os.Getenv(chaosConfig)), &c); err != nil {
		return err
	}
	nc, err := nats.Connect(c.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	b, err := broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: c.URL}) // makes the consumers, and goes
	if err != nil {
		return err
	}
	for i := range c.Lanes {
		if _, err := b.Lane(ctx, laneName(i)); err != nil {
			return err
		}
	}
	if err := b.Close(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for i := range c.Lanes {
		lane := laneName(i)
		for _, at := range [][2]string{{broker.StreamEvents, "weir-" + lane + "_high"}, {broker.StreamEvents, "weir-" + lane}, {broker.StreamLater, "weir-due-" + lane}} {
			cons, err := js.Consumer(ctx, at[0], at[1])
			if err != nil {
				return err
			}
			wg.Go(func() {
				for ctx.Err() == nil {
					batch, err := cons.Fetch(1, jetstream.FetchMaxWait(30*time.Second))
					if err != nil {
						sleepFor(ctx, time.Second)
						continue
					}
					for m := range batch.Messages() {
						err = errors.Join(err, m.Ack())
					}
				}
			})
		}
	}
	<-ctx.Done() // the loops end with the process
	return nil
}
