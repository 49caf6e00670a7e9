package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	StreamEvents      = "WEIR_EVENTS"
	StreamOutcomes    = "WEIR_OUTCOMES"
	StreamDead        = "WEIR_DEAD"
	StreamLater       = "WEIR_LATER"
	StreamLanes       = "KV_WEIR_LANES"
	StreamContact     = "KV_WEIR_CONTACT"
	StreamUndelivered = "WEIR_UNDELIVERED" // only where a lane's outcomes go to an address
)

const (
	// lanesRoom is ample: a pause has less than 1 KiB, and there are at most a
	// thousand lanes.
	lanesRoom = 16 << 20
	// manyConsumers a stream that is made may have. WEIR_EVENTS has two for each
	// lane, and a stream that does not say how many it may have gets 1,000 from newer
	// servers. It cannot be changed later.
	manyConsumers = 100_000
	// markerAge is for how long the broker remembers that a lease ran out.
	markerAge = time.Minute
)

// plans are the streams as they must be. None allows direct gets, which any copy
// answers, also one that lags behind: that a message is not there is believed of the
// leader alone.
func (b *Broker) plans() []jetstream.StreamConfig {
	plans := []jetstream.StreamConfig{{
		Name: StreamEvents, Subjects: []string{"weir.events.*", "weir.events.*.high"}, // no others: nobody would read them
		Description: "Weir: events to come",
		Discard:     jetstream.DiscardNew, DiscardNewPerSubject: true,
		MaxMsgsPerSubject: b.cfg.LaneQuota, MaxBytes: b.cfg.Room.Events,
		Duplicates: 2 * time.Minute,
	}, {
		Name: StreamOutcomes, Subjects: []string{"weir.outcomes.>"},
		Description: "Weir: what became of each event",
		Discard:     jetstream.DiscardOld, MaxMsgsPerSubject: -1, MaxBytes: b.cfg.Room.Outcomes,
		MaxAge: b.cfg.KeepOutcomes, Duplicates: 24 * time.Hour,
	}, {
		Name: StreamDead, Subjects: []string{"weir.dead.>", "weir.doubt.>"},
		Description: "Weir: dead letters and events in doubt",
		Discard:     jetstream.DiscardNew, MaxMsgsPerSubject: 1, MaxBytes: b.cfg.Room.Dead,
		Duplicates: 24 * time.Hour,
	}, {
		Name: StreamLater, Subjects: []string{"weir.later.>", "weir.due.>"},
		Description: "Weir: schedules and replays",
		Discard:     jetstream.DiscardOld, MaxMsgsPerSubject: -1, MaxBytes: -1,
		Duplicates: 2 * time.Minute, AllowMsgSchedules: true,
	}, {
		Name: StreamLanes, Subjects: []string{lanesPrefix + ">"},
		Description: "Weir: pauses and owners",
		Discard:     jetstream.DiscardNew, MaxMsgsPerSubject: 1, MaxBytes: lanesRoom,
		Duplicates: 2 * time.Minute, AllowMsgTTL: true, SubjectDeleteMarkerTTL: markerAge,
		AllowRollup: true, DenyDelete: true,
	}, {
		Name: StreamContact, Subjects: []string{contactPrefix + ">"},
		Description: "Weir: who must not be contacted, and who was",
		Discard:     jetstream.DiscardNew, MaxMsgsPerSubject: 1, MaxBytes: b.cfg.Room.Contact,
		Duplicates: 2 * time.Minute, AllowMsgTTL: true,
		DenyDelete: true, DenyPurge: true, // what is gone looks like what never was
	}}
	if b.cfg.Room.Undelivered > 0 {
		plans = append(plans, jetstream.StreamConfig{
			Name: StreamUndelivered, Subjects: []string{"weir.undelivered.>"},
			Description: "Weir: outcomes that their publisher does not take",
			Discard:     jetstream.DiscardNew, MaxMsgsPerSubject: 1, MaxBytes: b.cfg.Room.Undelivered,
			Duplicates: 2 * time.Minute,
		})
	}
	for i := range plans {
		plans[i].Retention = jetstream.LimitsPolicy
		plans[i].Storage = jetstream.FileStorage
		plans[i].Replicas = b.cfg.Replicas
		plans[i].MaxMsgs, plans[i].MaxConsumers, plans[i].MaxMsgSize = -1, -1, -1
	}
	return plans
}

// Provision creates the streams that are missing and checks those that exist.
// A setting that would break a promise is an error that names stream and field;
// all of them are reported at once. Room, quota and how long outcomes are kept are
// set to what the configuration says, but never below what is in use, and direct gets
// are turned off. An older Weir's WEIR_EVENTS takes no more subjects afterwards than it
// should; what they hold stays (see Strays).
func (b *Broker) Provision(ctx context.Context) error {
	var errs []error
	for _, plan := range b.plans() {
		if err := b.provision(ctx, plan); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: %w", plan.Name, err))
		}
	}
	return errors.Join(errs...)
}

// ProvisionContact is Provision for WEIR_CONTACT alone: people can be blocked before
// Weir runs for the first time.
func (b *Broker) ProvisionContact(ctx context.Context) error {
	for _, plan := range b.plans() {
		if plan.Name != StreamContact {
			continue
		}
		if err := b.provision(ctx, plan); err != nil {
			return fmt.Errorf("stream %s: %w", plan.Name, err)
		}
	}
	return nil
}

func (b *Broker) provision(ctx context.Context, plan jetstream.StreamConfig) error {
	var s jetstream.Stream
	err := retry(ctx, budget, func(ctx context.Context) error {
		var err error
		s, err = b.find(ctx, plan)
		return err
	})
	if err != nil {
		return b.explain(ctx, err, plan.MaxBytes)
	}
	info := s.CachedInfo()
	if err := check(info.Config, plan); err != nil {
		return err
	}
	return b.resize(ctx, s, plan)
}

// noConsumers is the broker's code for more consumers than may be.
const noConsumers jetstream.ErrorCode = 10026

// find returns the stream, which it creates if there is none.
func (b *Broker) find(ctx context.Context, plan jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := b.js.Stream(ctx, plan.Name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return s, err
	}
	plan.MaxConsumers = manyConsumers
	s, err = b.js.CreateStream(ctx, plan)
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == noConsumers { // the account's own limit is lower, and holds
		plan.MaxConsumers = -1
		s, err = b.js.CreateStream(ctx, plan)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another replica was faster
		return b.js.Stream(ctx, plan.Name)
	}
	return s, err
}

// check names every setting of an existing stream that would break a promise.
func check(got, want jetstream.StreamConfig) error {
	var errs []error
	complain := func(bad bool, field string, got, want any) {
		if bad {
			errs = append(errs, fmt.Errorf("%s is %v, must be %v", field, got, want))
		}
	}
	complain(!tooWide(got) && !slices.Equal(slices.Sorted(slices.Values(got.Subjects)), slices.Sorted(slices.Values(want.Subjects))), "subjects", got.Subjects, want.Subjects)
	complain(got.Retention != want.Retention, "retention", got.Retention, want.Retention)
	complain(got.Storage != want.Storage, "storage", got.Storage, want.Storage)
	complain(got.PersistMode != want.PersistMode, "persist_mode", got.PersistMode, want.PersistMode)
	complain(got.Discard != want.Discard, "discard", got.Discard, want.Discard)
	complain(got.DiscardNewPerSubject != want.DiscardNewPerSubject, "discard_new_per_subject", got.DiscardNewPerSubject, want.DiscardNewPerSubject)
	complain(got.MaxMsgs > 0, "max_msgs", got.MaxMsgs, "unlimited")
	complain(got.MaxBytes > 0 && want.MaxBytes < 0, "max_bytes", got.MaxBytes, "unlimited")
	complain(want.Name != StreamOutcomes && got.MaxAge != want.MaxAge, "max_age", got.MaxAge, want.MaxAge)
	complain(got.Duplicates < want.Duplicates, "duplicate_window", got.Duplicates, want.Duplicates)
	complain(want.Name != StreamEvents && got.MaxMsgsPerSubject != want.MaxMsgsPerSubject, "max_msgs_per_subject", got.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	complain(want.AllowMsgSchedules && !got.AllowMsgSchedules, "allow_msg_schedules", got.AllowMsgSchedules, want.AllowMsgSchedules)
	complain(want.AllowMsgTTL && !got.AllowMsgTTL, "allow_msg_ttl", got.AllowMsgTTL, want.AllowMsgTTL)
	complain(want.SubjectDeleteMarkerTTL > 0 && got.SubjectDeleteMarkerTTL <= 0, "subject_delete_marker_ttl", got.SubjectDeleteMarkerTTL, want.SubjectDeleteMarkerTTL)
	complain(got.DenyPurge != want.DenyPurge, "deny_purge", got.DenyPurge, want.DenyPurge)
	complain(got.NoAck, "no_ack", got.NoAck, false)
	complain(got.Sealed, "sealed", got.Sealed, false)
	complain(got.Mirror != nil, "mirror", "set", "unset")
	complain(len(got.Sources) > 0, "sources", "set", "unset")
	complain(got.Replicas < want.Replicas, "num_replicas", got.Replicas, want.Replicas)
	return errors.Join(errs...)
}

// tooWide reports whether a stream is WEIR_EVENTS as it was once: it confirms
// events on subjects that no lane reads.
func tooWide(cfg jetstream.StreamConfig) bool {
	return cfg.Name == StreamEvents && slices.Equal(cfg.Subjects, []string{"weir.events.>"})
}

// resize sets room, quota and age of an existing stream, narrows its subjects, and
// turns direct gets off.
// The broker would make room by dropping messages, so what is in use, and an eighth of head room, is never
// given up: a stream that was full, and was given more, keeps it.
func (b *Broker) resize(ctx context.Context, s jetstream.Stream, plan jetstream.StreamConfig) error {
	info := s.CachedInfo()
	cfg := info.Config
	if cfg.MaxBytes == plan.MaxBytes && cfg.MaxMsgsPerSubject == plan.MaxMsgsPerSubject && cfg.MaxAge == plan.MaxAge && !cfg.AllowDirect && !tooWide(cfg) {
		return nil
	}
	if used := int64(min(info.State.Bytes, 1<<62)); plan.MaxBytes > 0 && used > plan.MaxBytes-plan.MaxBytes/8 {
		if cfg.MaxBytes < plan.MaxBytes {
			return fmt.Errorf("max_bytes cannot be set to %d: %d bytes are in use", plan.MaxBytes, used)
		}
		plan.MaxBytes = cfg.MaxBytes
	}
	if plan.MaxMsgsPerSubject > 0 && plan.MaxMsgsPerSubject < cfg.MaxMsgsPerSubject {
		fit, err := fits(ctx, s, plan.MaxMsgsPerSubject)
		if err != nil {
			return err
		}
		if !fit {
			plan.MaxMsgsPerSubject = cfg.MaxMsgsPerSubject
		}
	}
	cfg.Subjects, cfg.MaxBytes, cfg.MaxMsgsPerSubject, cfg.MaxAge = plan.Subjects, plan.MaxBytes, plan.MaxMsgsPerSubject, plan.MaxAge
	cfg.AllowDirect = false
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		err = fmt.Errorf("set subjects to %v, max_bytes to %d, max_msgs_per_subject to %d and max_age to %v: %w", cfg.Subjects, cfg.MaxBytes, cfg.MaxMsgsPerSubject, cfg.MaxAge, err)
		return b.explain(ctx, err, plan.MaxBytes-max(0, info.Config.MaxBytes))
	}
	return nil
}

// fits reports whether no subject holds more than the quota allows.
func fits(ctx context.Context, s jetstream.Stream, quota int64) (bool, error) {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return false, fmt.Errorf("count its messages: %w", err)
	}
	for _, n := range info.State.Subjects {
		if int64(min(n, 1<<62)) > quota-quota/8 {
			return false, nil
		}
	}
	return true, nil
}
