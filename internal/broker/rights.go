package broker

// Rights are the subjects that a user of the broker must be able to publish to and
// to subscribe to. deploy/nats/accounts.conf gives just these.
type Rights struct{ Publish, Subscribe []string }

// ledgerStream is that of the ledger: a bucket's stream is KV_<bucket>.
const ledgerStream = "KV_WEIR_LEDGER"

// allStreams are those that weir serve makes.
var allStreams = []string{ledgerStream, StreamEvents, StreamOutcomes, StreamDead, StreamLater, StreamLanes, StreamContact, StreamUndelivered}

// ServeRights are what weir serve needs, with inboxes that begin with _INBOX. It asks
// for no stream's deletion, and so can lose none by mistake.
func ServeRights() Rights {
	r := Rights{Subscribe: []string{"_INBOX.>", "weir.ctl.*", "weir.hook.*", "weir.outcomes.*.*"}, Publish: []string{
		"$SYS.REQ.USER.INFO", "$JS.API.INFO",
		"$KV.WEIR_LEDGER.>", "$KV.WEIR_LANES.>", "$KV.WEIR_CONTACT.>",
		"weir.events.*", "weir.events.*.high", // the gateway, and redials
		"weir.outcomes.>", "weir.dead.>", "weir.doubt.>", "weir.later.>", "weir.due.>", "weir.undelivered.>",
		"weir.ctl.*", "weir.hook.*", // of the console, and to the lane's owner
	}}
	r.api("STREAM.INFO.", "", allStreams...)
	r.api("STREAM.CREATE.", "", allStreams...)
	r.api("STREAM.UPDATE.", "", allStreams...)
	r.api("STREAM.MSG.GET.", "", allStreams...)
	r.api("STREAM.PURGE.", "", ledgerStream, StreamEvents, StreamDead, StreamLater, StreamUndelivered)
	r.api("STREAM.MSG.DELETE.", "", StreamEvents, StreamOutcomes, StreamDead, StreamLater, StreamUndelivered)
	r.api("CONSUMER.CREATE.", ".>", ledgerStream, StreamEvents, StreamOutcomes, StreamLater)
	r.api("CONSUMER.INFO.", ".*", StreamEvents, StreamOutcomes, StreamLater)
	r.api("CONSUMER.MSG.NEXT.", ".*", ledgerStream, StreamEvents, StreamOutcomes, StreamLater)
	r.api("CONSUMER.DELETE.", ".*", ledgerStream, StreamEvents, StreamOutcomes) // of reads of the whole
	r.api("CONSUMER.NAMES.", "", StreamEvents)
	r.api("CONSUMER.LIST.", "", StreamEvents)
	r.Publish = append(r.Publish, "$JS.ACK.WEIR_EVENTS.>", "$JS.ACK.WEIR_LATER.>")
	return r
}

// api adds subjects of the broker's API.
func (r *Rights) api(verb, rest string, streams ...string) {
	for _, s := range streams {
		r.Publish = append(r.Publish, "$JS.API."+verb+s+rest)
	}
}

// OperatorRights are what a person needs for every command but serve, demo, simulate,
// backup and restore, with an inbox of his own. What changes the ledger is asked of
// the lanes' owners.
func OperatorRights() Rights {
	r := Rights{Subscribe: []string{"_INBOX_operator.>"}, Publish: []string{
		"$SYS.REQ.USER.INFO", "$JS.API.INFO", "weir.ctl.*",
		"weir.events.*", "weir.events.*.high", // weir publish
		"weir.due.>",                                                                     // weir dead replay, weir doubt resolve --retry
		"$KV.WEIR_LANES.>",                                                               // pauses, holds, orders to forget
		"$KV.WEIR_CONTACT.>",                                                             // weir contact
		"weir.undelivered.>",                                                             // weir undelivered send
		"$JS.API.STREAM.CREATE.KV_WEIR_CONTACT", "$JS.API.STREAM.UPDATE.KV_WEIR_CONTACT", // weir contact before the first weir serve
	}}
	r.api("STREAM.INFO.", "", allStreams...)
	r.api("STREAM.MSG.GET.", "", allStreams...)
	r.api("CONSUMER.INFO.", ".*", StreamEvents, StreamLater)
	r.api("CONSUMER.NAMES.", "", StreamEvents)
	r.api("CONSUMER.LIST.", "", StreamEvents)
	r.api("CONSUMER.CREATE.", ".>", ledgerStream, StreamOutcomes)
	r.api("CONSUMER.INFO.", ".*", StreamOutcomes)
	r.api("CONSUMER.MSG.NEXT.", ".*", ledgerStream, StreamOutcomes)
	r.api("CONSUMER.DELETE.", ".*", ledgerStream, StreamOutcomes)
	r.api("STREAM.MSG.DELETE.", "", StreamEvents, StreamOutcomes, StreamDead, StreamLater, StreamUndelivered) // weir forget
	r.api("STREAM.PURGE.", "", StreamDead, StreamLater, StreamUndelivered)
	return r
}

// BackupRights are what weir backup and weir restore need.
func BackupRights() Rights {
	r := Rights{Subscribe: []string{"_INBOX_backup.>"}, Publish: []string{"$SYS.REQ.USER.INFO", "$JS.API.INFO", "$KV.WEIR_LANES.gate.*", "$JS.SNAPSHOT.ACK.>", "$JS.SNAPSHOT.RESTORE.>"}}
	r.api("STREAM.INFO.", "", allStreams...)
	r.api("STREAM.SNAPSHOT.", "", allStreams...)
	r.api("STREAM.RESTORE.", "", allStreams...)
	r.api("STREAM.DELETE.", "", ledgerStream, StreamEvents, StreamOutcomes, StreamDead, StreamLater, StreamContact, StreamUndelivered)
	r.api("STREAM.CREATE.", "", StreamLanes)
	r.api("STREAM.MSG.GET.", "", StreamLanes)
	r.api("CONSUMER.NAMES.", "", StreamEvents)
	return r
}
