package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/schema"
)

// PauseRecord says who paused a lane, why and when.
type PauseRecord struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitzero"`
	At     time.Time `json:"at"`
}

// pauseFormat is the major version of storedPause.
const pauseFormat = 1

// storedPause is the stored form of a lane's pause. A resumed lane keeps its
// record, with Paused false, so that a watcher that was away does not miss it.
type storedPause struct {
	V      int  `json:"v"`
	Paused bool `json:"paused"`
	PauseRecord
}

const pausePrefix = "pause."

// Pause implements consumer.Switchboard. Of two pauses the newer one's reason
// is shown.
func (b *Broker) Pause(ctx context.Context, lane, by, reason string) error {
	if err := b.storePause(ctx, lane, true, by, reason); err != nil {
		return fmt.Errorf("pause lane %s: %w", lane, err)
	}
	return nil
}

// Resume ends a lane's pause; by is who.
func (b *Broker) Resume(ctx context.Context, lane, by string) error {
	if err := b.storePause(ctx, lane, false, by, ""); err != nil {
		return fmt.Errorf("resume lane %s: %w", lane, err)
	}
	return nil
}

func (b *Broker) storePause(ctx context.Context, lane string, paused bool, by, reason string) error {
	if err := checkLane(lane); err != nil {
		return err
	}
	data, err := json.Marshal(storedPause{V: pauseFormat, Paused: paused, PauseRecord: PauseRecord{
		By: schema.Cut(by, maxField), Reason: schema.Cut(reason, maxField), At: time.Now().UTC(),
	}})
	if err != nil {
		return err
	}
	w := keyWrite{id: nuid.Next(), key: pausePrefix + lane, data: data}
	return retry(ctx, budget, func(ctx context.Context) error {
		_, err := b.writeKey(ctx, w)
		return err
	})
}

// Pauses returns the lanes that are paused now. A pause that cannot be read counts
// as one.
func (b *Broker) Pauses(ctx context.Context) (map[string]PauseRecord, error) {
	paused := make(map[string]PauseRecord)
	for m, err := range b.walk(ctx, StreamLanes, lanesPrefix+pausePrefix+"*", 1) {
		if err != nil {
			return nil, fmt.Errorf("pauses: %w", err)
		}
		lane, p := readPause(m)
		if p != nil {
			paused[lane] = *p
		}
	}
	return paused, nil
}

// readPause is pauseOf for one who must know whether the lane may run: a pause that
// cannot be read counts as one.
func readPause(m *jetstream.RawStreamMsg) (lane string, p *PauseRecord) {
	lane, p, err := pauseOf(m)
	if err != nil {
		p = &PauseRecord{By: "weir", Reason: "the lane's pause cannot be read: " + err.Error(), At: m.Time}
	}
	return lane, p
}

// pauseOf reads a lane's pause; nil if the lane runs.
func pauseOf(m *jetstream.RawStreamMsg) (lane string, p *PauseRecord, err error) {
	lane = strings.TrimPrefix(m.Subject, lanesPrefix+pausePrefix)
	data := newRecord(m).data
	if data == nil {
		return lane, nil, nil
	}
	var s storedPause
	err = json.Unmarshal(data, &s)
	if s.V > pauseFormat { // whatever else it has
		err = fmt.Errorf("a newer Weir wrote it (format %d, this one reads %d)", s.V, pauseFormat)
	}
	if err != nil {
		return lane, nil, fmt.Errorf("pause of lane %s: %w", lane, err)
	}
	if !s.Paused {
		return lane, nil, nil
	}
	return lane, &s.PauseRecord, nil
}

// WatchPauses calls changed for each lane that has a pause or had one, and then
// within a second of each change: with the record, or with nil when the lane
// runs. It returns when ctx ends. While the broker is away it keeps trying, and
// then tells what changed meanwhile. A pause that cannot be read counts as one:
// a lane stops rather than runs by mistake.
func (b *Broker) WatchPauses(ctx context.Context, changed func(lane string, p *PauseRecord)) error {
	return b.watchKeys(ctx, "pauses", pausePrefix, func(m *jetstream.RawStreamMsg) { changed(readPause(m)) })
}
