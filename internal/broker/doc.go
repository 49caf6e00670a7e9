// Package broker is Weir's side of NATS JetStream: the connection, the streams
// and consumers, what Weir publishes, and the small shared state of pauses and
// the lease. It implements the engine's ports Queue, Message, Outbox and
// Switchboard; the ledger is a package of its own.
//
// # Streams
//
//	WEIR_EVENTS     weir.events.<lane>, weir.events.<lane>.high   what publishers send
//	WEIR_OUTCOMES   weir.outcomes.<lane>.<kind>                   what became of it
//	WEIR_DEAD       weir.dead.<lane>.<intent>                     dead letters
//	                weir.doubt.<lane>.<intent>                    events in doubt
//	WEIR_LATER      weir.later.<lane>.<intent>                    schedules
//	                weir.due.<lane>.<intent>                      fired schedules, replays
//	KV_WEIR_LANES   $KV.WEIR_LANES.pause.<lane>                   pauses
//	                $KV.WEIR_LANES.gate.<lane>                    holds and releases
//	                $KV.WEIR_LANES.own.>                          who owns what (internal/owner)
//	                $KV.WEIR_LANES.mark                           how far the state was
//	KV_WEIR_CONTACT $KV.WEIR_CONTACT.>                            whom not to contact, and who was (internal/contact)
//	KV_WEIR_CONTACT $KV.WEIR_CONTACT.>                            who must not be contacted, and who was
//
// Core NATS requests to weir.ctl.<lane> and weir.hook.<lane> reach the process that
// owns the lane: people's commands, and webhooks that came to another replica.
// A request to weir.ctl.LOAD reaches every replica: what it could do now.
// Publishers may have rights on weir.events.> and weir.outcomes.> alone: what
// stands in weir.due.> and weir.ctl.> is believed.
//
// WEIR_EVENTS and WEIR_DEAD refuse what does not fit (ErrFull); they never drop
// what they have. WEIR_DEAD keeps the newest letter of each intent. Streams are
// read by their leader: none but WEIR_EVENTS and WEIR_OUTCOMES allows direct
// gets, which any replica may answer with something old.
//
// # Headers
//
//	Nats-Msg-Id      on all that is published: a repeat within the stream's window is dropped
//	Weir-Letter      on kept events: JSON of what became of it (see stored)
//	Weir-Cut         on kept events whose body had to be cut: its full size in bytes
//	Weir-Replay      on weir.due: the transition number that the person saw,
//	Weir-By          who it was, percent-encoded,
//	Weir-Reason      and why, percent-encoded
//
// Headers beginning with Weir- or Nats- are removed from what others wrote
// before it is published again, and those of weir.due are ignored on
// weir.events.
//
// # What a crash leaves behind
//
// Each method that publishes has published when it returns nil, and may have
// when it returns an error; all can be repeated with the same effect. While the
// connection is gone nothing is buffered, so a publish that was given up cannot
// be sent minutes later.
package broker
