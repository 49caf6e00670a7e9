package broker

import (
	"context"

	"github.com/weirhq/weir/consumer"
)

var _ consumer.Stream = (*Broker)(nil)

// Event implements consumer.Stream.
func (b *Broker) Event(ctx context.Context, lane string, sequence uint64) (header map[string][]string, data []byte, err error) {
	f, err := b.EventAt(ctx, lane, sequence)
	return f.Header, f.Data, err
}

// Append implements consumer.Stream. ErrFull: the lane has as many events as it may,
// or the stream no room.
func (b *Broker) Append(ctx context.Context, lane, id string, header map[string][]string, data []byte) error {
	_, err := b.PublishEvent(ctx, lane, header, data, id)
	return err
}
