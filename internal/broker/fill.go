package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Fill is how full a stream is, in bytes.
type Fill struct {
	Used int64
	Room int64 // that it may take; below 1: no limit of its own
}

// Above reports whether more than so many percent of the room are used.
func (f Fill) Above(percent int64) bool {
	return f.Room > 0 && f.Used > f.Room/100*percent
}

// String says it to a person.
func (f Fill) String() string {
	if f.Room < 1 {
		return fmt.Sprintf("%d MiB", ceilMiB(f.Used))
	}
	return fmt.Sprintf("%d %% of %d MiB", f.Used*100/f.Room, ceilMiB(f.Room))
}

// Fill asks how full a stream is, which may be another than those of this
// package.
func (b *Broker) Fill(ctx context.Context, stream string) (Fill, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return Fill{}, fmt.Errorf("room of %w", err)
	}
	var info *jetstream.StreamInfo
	err = once(ctx, func(ctx context.Context) error {
		info, err = s.Info(ctx)
		return err
	})
	if err != nil {
		return Fill{}, fmt.Errorf("room of stream %s: %w", stream, err)
	}
	return Fill{Used: int64(min(info.State.Bytes, 1<<62)), Room: info.Config.MaxBytes}, nil
}
