package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
)

// contactPrefix is what the keys of the bucket WEIR_CONTACT begin with, as
// subjects.
const contactPrefix = "$KV.WEIR_CONTACT."

// contactRoom is for some 300,000 people: a block has less than 400 bytes.
const contactRoom = 128 << 20

// Contact returns the newest record of a key of WEIR_CONTACT as its leader has it,
// and its revision: 0 if there is none. Data is nil if the key is not there, or was
// removed by somebody else than Weir, which never removes one.
func (b *Broker) Contact(ctx context.Context, key string) (data []byte, revision uint64, err error) {
	r, err := b.readSubject(ctx, StreamContact, contactPrefix+key)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s of WEIR_CONTACT: %w", key, err)
	}
	return r.data, r.revision, nil
}

// StoreContact writes a key of WEIR_CONTACT once, if its newest record still has the
// revision; consumer.ErrConflict if not. The record runs out after keep, in whole
// seconds; 0 is never. After any other error it may have been written, or may still
// be.
func (b *Broker) StoreContact(ctx context.Context, key string, data []byte, revision uint64, keep time.Duration) error {
	w := keyWrite{bucket: contactPrefix, key: key, data: data, ttl: keep, expect: &revision}
	err := once(ctx, func(ctx context.Context) error {
		_, err := b.writeKey(ctx, w)
		if !outpaced(err) {
			return err
		}
		r, err := b.readSubject(ctx, StreamContact, contactPrefix+key)
		switch {
		case err != nil:
			return err
		case r.revision == revision:
			return errUnderWay
		default:
			return consumer.ErrConflict
		}
	})
	if err != nil {
		return fmt.Errorf("write %s of WEIR_CONTACT: %w", key, b.explain(ctx, err, 0))
	}
	return nil
}

// Contacts calls seen with each record of WEIR_CONTACT whose key begins with prefix,
// which ends in a dot, until that returns an error.
func (b *Broker) Contacts(ctx context.Context, prefix string, seen func(key string, data []byte) error) error {
	for m, err := range b.walk(ctx, StreamContact, contactPrefix+prefix+">", 1) {
		if err == nil {
			err = seen(strings.TrimPrefix(m.Subject, contactPrefix), newRecord(m).data)
		}
		if err != nil {
			return fmt.Errorf("read WEIR_CONTACT: %w", err)
		}
	}
	return nil
}
