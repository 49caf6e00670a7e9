package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Needs are what weir serve would ask of the broker.
type Needs struct {
	Lanes    []string
	MaxEvent int64 // bytes of the largest event that a lane takes
	// Ledger is the stream of the ledger, with its room, which is reserved first.
	Ledger     string
	LedgerRoom int64
	// CheckLedger names the settings of an existing ledger that break a promise.
	CheckLedger func(jetstream.StreamConfig) error
	// Servers are those that could be asked; nil if none.
	Servers []Server
	// Sized says that the store was made for these streams.
	Sized bool
}

// restart is what to do about a setting that weir serve changes as it starts.
const restart = "start weir serve again: it sets this right"

// spareConsumers are those on a stream besides the lanes' own: of reads of the
// whole of it.
const spareConsumers = 2

// serverConsumers is how many consumers a newer server allows a stream that does not
// say how many it may have.
const serverConsumers = 1000

// Inspect looks whether the broker can do what is needed, and whether what is
// there already keeps the promises. It changes nothing. What it cannot find out
// is a problem too.
func (b *Broker) Inspect(ctx context.Context, n Needs) []Finding {
	in := &inspection{b: b, needs: n, there: make(map[string]*jetstream.StreamInfo)}
	in.server()
	if err := in.look(ctx); err != nil {
		in.problem("streams", "give this user the rights on $JS.API.>, or wait until the broker has a leader", "cannot be read: %v", err)
		return in.findings
	}
	in.account()
	in.storage()
	in.streams()
	in.consumers(ctx)
	in.strays(ctx)
	return in.findings
}

// inspection is one look at everything.
type inspection struct {
	findings
	b     *Broker
	needs Needs
	info  *jetstream.AccountInfo
	there map[string]*jetstream.StreamInfo // the streams that exist
}

// server looks at what the connection tells.
func (in *inspection) server() {
	nc := in.b.nc
	in.ok("broker", "connected to %s, nats-server %s, with JetStream", address(nc), nc.ConnectedServerVersion())
	if need := in.needs.MaxEvent + Headroom; nc.MaxPayload() < need {
		in.problem("max_payload", fmt.Sprintf("raise max_payload to %d, or lower max_event", need),
			"the broker takes messages of %d bytes, and an event of max_event with what is kept beside it has %d", nc.MaxPayload(), need)
	}
	cluster := nc.ConnectedClusterName()
	switch copies := in.b.cfg.Replicas; {
	case cluster == "" && copies > 1:
		in.problem("replicas", "connect to a cluster, or set broker.replicas to 1", "broker.replicas is %d, and the broker is a single server", copies)
	case cluster != "" && copies == 1:
		in.warn("replicas", "set broker.replicas to 3 before weir serve makes its streams",
			"broker.replicas is 1, and the broker is the cluster %s: each stream is on one of its servers alone, and is away when that one is", cluster)
	case cluster != "":
		in.ok("replicas", "%d copies of each stream on the cluster %s", copies, cluster)
	}
}

// look asks for the account and the streams.
func (in *inspection) look(ctx context.Context) error {
	err := retry(ctx, 5*time.Second, func(ctx context.Context) error {
		var err error
		in.info, err = in.b.js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range in.names() {
		err := retry(ctx, 5*time.Second, func(ctx context.Context) error {
			s, err := in.b.js.Stream(ctx, name)
			if err == nil {
				in.there[name] = s.CachedInfo()
			}
			return err
		})
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return nil
}

// names are those of all streams, the ledger first.
func (in *inspection) names() []string {
	names := []string{in.needs.Ledger}
	for _, plan := range in.b.plans() {
		names = append(names, plan.Name)
	}
	return names
}

// tier returns the limits that hold for streams of our replicas, and how often
// each byte counts against them.
func (in *inspection) tier() (t jetstream.Tier, each int64) {
	if t, ok := in.info.Tiers[fmt.Sprintf("R%d", in.b.cfg.Replicas)]; ok {
		return t, 1
	}
	return in.info.Tier, int64(in.b.cfg.Replicas)
}

// account compares the account's limits with what is needed.
func (in *inspection) account() {
	tier, _ := in.tier()
	limits, before := tier.Limits, len(in.findings)
	if missing := len(in.names()) - len(in.there); limits.MaxStreams > 0 && tier.Streams+missing > limits.MaxStreams {
		in.problem("account", fmt.Sprintf("raise its max_streams to %d", tier.Streams+missing),
			"it may have %d streams and has %d, and %d more are needed", limits.MaxStreams, tier.Streams, missing)
	}
	if need := in.readers(StreamEvents); limits.MaxConsumers > 0 && limits.MaxConsumers < need {
		in.problem("account", fmt.Sprintf("raise its max_consumers to %d", need),
			"a stream may have %d consumers, and %s needs %d: two for each lane, and %d to read with", limits.MaxConsumers, StreamEvents, need, spareConsumers)
	}
	if limits.MaxAckPending > 0 && limits.MaxAckPending < maxAckPending {
		in.problem("account", fmt.Sprintf("raise its max_ack_pending to %d", maxAckPending),
			"a consumer may have %d deliveries open, and a lane needs %d: those that wait for their time count too", limits.MaxAckPending, maxAckPending)
	}
	if largest, name := in.largest(); limits.StoreMaxStreamBytes > 0 && limits.StoreMaxStreamBytes < largest {
		in.problem("account", fmt.Sprintf("raise its limit for one stream to %d MiB", ceilMiB(largest)),
			"a stream may reserve %d MiB, and %s needs %d", limits.StoreMaxStreamBytes>>20, name, ceilMiB(largest))
	}
	if limits.MaxBytesRequired {
		in.problem("account", "take max_bytes_required off", "each stream must have max_bytes, and %s cannot: a full stream of schedules would drop what it has confirmed", StreamLater)
	}
	if len(in.findings) == before {
		in.ok("account", "its limits are wide enough for %d lanes", len(in.needs.Lanes))
	}
}

// readers is how many consumers a stream must be able to have.
func (in *inspection) readers(stream string) int {
	n := spareConsumers
	for _, lane := range in.needs.Lanes {
		for _, plan := range in.b.lanePlans(lane) {
			if plan.stream == stream {
				n++
			}
		}
	}
	return n
}

// rooms are what each stream is to reserve.
func (in *inspection) rooms() map[string]int64 {
	rooms := map[string]int64{in.needs.Ledger: in.needs.LedgerRoom}
	for _, plan := range in.b.plans() {
		rooms[plan.Name] = max(0, plan.MaxBytes)
	}
	return rooms
}

func (in *inspection) largest() (room int64, name string) {
	for _, n := range in.names() {
		if r := in.rooms()[n]; r > room {
			room, name = r, n
		}
	}
	return room, name
}

// missingRoom is how many bytes the streams are still to reserve, of one copy
// each.
func (in *inspection) missingRoom() (more int64) {
	for name, room := range in.rooms() {
		had := int64(0)
		if info := in.there[name]; info != nil {
			had = max(0, info.Config.MaxBytes)
		}
		more += max(0, room-had)
	}
	return more
}

// whole is the room of all streams, with that of WEIR_LATER, of one copy each.
func (in *inspection) whole() (all int64) {
	for _, room := range in.rooms() {
		all += room
	}
	return all + in.b.cfg.Room.Later
}

// storage looks whether the rooms of all streams fit.
func (in *inspection) storage() {
	if in.needs.Sized {
		return
	}
	tier, each := in.tier()
	reserved := int64(min(tier.ReservedStore, 1<<62))
	more := in.missingRoom() * each
	limit, later := tier.Limits.MaxStore, in.b.cfg.Room.Later
	free, known := in.free()
	switch {
	case limit > 0 && more > limit-reserved:
		in.problem("storage", fmt.Sprintf("raise its limit to %d MiB", ceilMiB(reserved+more)),
			"the streams are to reserve %d MiB more, and of the account's %d MiB %d are free", ceilMiB(more), limit>>20, max(0, limit-reserved)>>20)
	case known && in.missingRoom() > free:
		in.problem("storage", "free disk space on the broker's server, or raise its max_file_store",
			"the streams are to reserve %d MiB more, and the broker's server has %d left", ceilMiB(in.missingRoom()), max(0, free)>>20)
	case more > 0 && limit <= 0 && !known:
		in.warn("storage", "see that its max_file_store allows it, or set broker.monitor",
			"weir serve will reserve %d MiB, the ledger's first; how much the broker's server has left is not told", ceilMiB(more))
	case more > 0:
		in.ok("storage", "weir serve will reserve %d MiB, the ledger's first; %d MiB are reserved", ceilMiB(more), ceilMiB(reserved))
	default:
		in.ok("storage", "the streams' room is reserved: %d MiB, of which the ledger has %d", ceilMiB(reserved), in.ledgerRoom()>>20)
	}
	if limit <= 0 {
		in.warn("storage", fmt.Sprintf("give the account a limit of %d MiB or more, and other accounts none of the rest", ceilMiB(in.whole()*each)),
			"the account has no limit of its own: %s reserves no room, and what other accounts store can take it", StreamLater)
	}
	if limit > 0 && more <= limit-reserved && limit-reserved-more < later*each {
		in.warn("storage", fmt.Sprintf("raise its limit by %d MiB", ceilMiB(later*each-(limit-reserved-more))),
			"beside the streams' room %d MiB of the account's limit are left; %s may take %d MiB, and events that wait for long are refused a place there before that", (limit-reserved-more)>>20, StreamLater, later*each>>20)
	}
}

// free is how many bytes the server with the least room left can still reserve,
// if that is known.
func (in *inspection) free() (free int64, known bool) {
	for _, s := range in.needs.Servers {
		if left := s.MaxStore - s.Reserved; s.MaxStore > 0 && (!known || left < free) {
			free, known = left, true
		}
	}
	return free, known
}

func (in *inspection) ledgerRoom() int64 {
	if info := in.there[in.needs.Ledger]; info != nil {
		return max(0, info.Config.MaxBytes)
	}
	return 0
}

// streams looks at the settings and the copies of each stream.
func (in *inspection) streams() {
	plans := make(map[string]jetstream.StreamConfig)
	for _, plan := range in.b.plans() {
		plans[plan.Name] = plan
	}
	var there, missing []string
	for _, name := range in.names() {
		info := in.there[name]
		if info == nil {
			missing = append(missing, name)
			continue
		}
		there = append(there, name)
		var err error
		if name == in.needs.Ledger {
			err = in.needs.CheckLedger(info.Config)
		} else {
			err = check(info.Config, plans[name])
		}
		in.settings(name, info, err)
		in.copies(name, info)
	}
	if len(there) > 0 {
		in.ok("streams", "there: %s", strings.Join(there, ", "))
	}
	if len(missing) > 0 {
		in.warn("streams", "", "will be made by weir serve: %s", strings.Join(missing, ", "))
	}
}

// settings reports what breaks a promise, each in a line.
func (in *inspection) settings(name string, info *jetstream.StreamInfo, err error) {
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			in.problem("stream "+name, "change it with nats stream edit; what cannot be changed needs a new stream", "%s", strings.TrimSpace(line))
		}
	}
	if tooWide(info.Config) {
		in.warn("stream "+name, restart, "subjects is %v: it confirms events on subjects that no lane reads", info.Config.Subjects)
	}
	if keep := in.b.cfg.KeepOutcomes; name == StreamOutcomes && info.Config.MaxAge != keep {
		in.warn("stream "+name, restart, "max_age is %v, and outcomes.keep is %v", info.Config.MaxAge, keep)
	}
	if need := in.readers(name); info.Config.MaxConsumers > 0 && info.Config.MaxConsumers < need {
		in.problem("stream "+name, "a stream's max_consumers cannot be changed: make it anew", "max_consumers is %d, and %d are needed", info.Config.MaxConsumers, need)
	} else if tier, _ := in.tier(); info.Config.MaxConsumers <= 0 && tier.Limits.MaxConsumers <= 0 && need > serverConsumers {
		in.warn("stream "+name, "set default_max_consumers: -1 in the jetstream limits of the broker's file, or make the stream anew",
			"%d consumers are needed, an older Weir made it without a number of its own, and newer servers then allow %d", need, serverConsumers)
	}
}

// copies looks whether each copy of a stream is up to date.
func (in *inspection) copies(name string, info *jetstream.StreamInfo) {
	if info.Cluster == nil {
		return
	}
	for _, peer := range info.Cluster.Replicas {
		switch {
		case peer.Offline:
			in.warn("stream "+name, "start that server again; while it is away one more failure may stop the stream", "its copy on %s is offline", peer.Name)
		case !peer.Current:
			in.warn("stream "+name, "wait until it has caught up", "its copy on %s is %d operations behind", peer.Name, peer.Lag)
		}
	}
}

// consumers looks at those of the lanes that exist.
func (in *inspection) consumers(ctx context.Context) {
	good := 0
	for _, lane := range in.needs.Lanes {
		for _, plan := range in.b.lanePlans(lane) {
			if in.there[plan.stream] == nil {
				continue
			}
			c, err := in.b.js.Consumer(ctx, plan.stream, plan.cfg.Durable)
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				continue
			}
			if err != nil {
				in.problem("consumer "+plan.cfg.Durable, "give this user the rights on $JS.API.>", "cannot be read: %v", err)
				continue
			}
			before := len(in.findings)
			in.consumer(c.CachedInfo(), plan.cfg)
			if len(in.findings) == before {
				good++
			}
		}
	}
	if good > 0 {
		in.ok("consumers", "%d of the lanes' consumers are there and as they must be; those that are not yet there are made by weir serve", good)
	}
}

// consumer compares one with what it must be. What the broker lets nobody change
// afterwards, or what breaks a promise until the next start, is a problem; what
// only weighs on the speed is a warning.
func (in *inspection) consumer(info *jetstream.ConsumerInfo, want jetstream.ConsumerConfig) {
	got, name := info.Config, "consumer "+want.Durable
	const recreate = "stop weir serve and delete the consumer: it is made anew, and the ledger knows what was done"
	complain := func(bad bool, next, field string, got, want any) {
		if bad {
			in.problem(name, next, "%s is %v, must be %v", field, got, want)
		}
	}
	complain(got.AckPolicy != want.AckPolicy, recreate, "ack_policy", got.AckPolicy, want.AckPolicy)
	complain(got.DeliverPolicy != want.DeliverPolicy, recreate, "deliver_policy", got.DeliverPolicy, want.DeliverPolicy)
	complain(got.MemoryStorage, recreate, "mem_storage", true, false)
	complain(got.MaxDeliver != want.MaxDeliver, restart, "max_deliver", got.MaxDeliver, want.MaxDeliver)
	complain(len(got.BackOff) > 0, restart, "backoff", got.BackOff, "unset")
	complain(got.InactiveThreshold > 0, restart, "inactive_threshold", got.InactiveThreshold, "unset")
	complain(got.FilterSubject != want.FilterSubject || fmt.Sprint(got.FilterSubjects) != fmt.Sprint(want.FilterSubjects), restart,
		"filter", filters(got), filters(want))
	complain(got.Replicas > 0 && got.Replicas < in.b.cfg.Replicas, restart, "num_replicas", got.Replicas, in.b.cfg.Replicas)
	if got.AckWait != want.AckWait {
		in.warn(name, restart, "ack_wait is %v, and broker.ack_wait is %v", got.AckWait, want.AckWait)
	}
	if got.MaxAckPending != want.MaxAckPending && got.MaxAckPending > 0 {
		in.warn(name, restart, "max_ack_pending is %d, should be %d: events that wait for their time count too, and stop the lane when there are so many", got.MaxAckPending, want.MaxAckPending)
	}
	if info.Paused {
		in.warn(name, "resume it with nats consumer resume; weir lane pause is what pauses a lane", "it is paused for another %v", info.PauseRemaining.Round(time.Second))
	}
}

func filters(cfg jetstream.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return []string{cfg.FilterSubject}
	}
	return cfg.FilterSubjects
}
