// Package consumer is Weir's engine: it takes events from the broker, claims
// each one in the ledger, asks a provider for the conversation, and records
// what the answer means.
//
// # The way of an event
//
//	slot reserved -> pull -> decode -> route -> claim -> age check -> POST
//	-> verdict -> ledger -> outcome -> ack
//
// A lane pulls only what its account's limiter permits now, so that the backlog
// stays in the stream. Permission to send is one successful compare-and-set of
// the event's intent to Started, with a fresh nonce; a read is never
// permission. A claim older than ClaimAge is not sent.
//
// # What a crash leaves behind
//
// The durable steps of one event are, in this order: claim, POST, ledger,
// copy (for dead letters and doubts), outcome, ack. A process that dies
//
//   - before the claim leaves nothing: the message is delivered again;
//   - between claim and POST, or between POST and ledger, leaves Started. Whoever
//     meets it treats it as live for ClaimAge + Timeout + Margin on its own
//     clock, and then as a doubt: a conversation may exist;
//   - between ledger and ack leaves a state whose durable steps the redelivery
//     repeats: each has the same id each time, so that nobody sees it twice.
//
// Facts that no message stands behind (the end of a conversation, a doubt
// settled by a person as created) are published first and written second, and
// whoever found them repeats both. So is the event that calls a person again after
// an end (see Redials).
//
// # Slots
//
// A slot is taken when an event is fetched, held as long as its conversation
// lives, and given back at once when the event turns out to need none. A
// conversation's end is found by asking the provider; a doubt holds its slot
// until its conversation, which may be live, is certainly over: MaxCall after the
// last moment at which its request can have taken effect.
package consumer
