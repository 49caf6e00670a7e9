// Package guard remembers how far Weir's state was, and notices when it is not
// there any more: a store that was restored from an older copy, a stream that
// was removed, purged or made anew, bits that flipped, a file that was cut
// short (H19). A ledger that has forgotten an entry would let its person be
// called again, and no read of it says so: what is lost looks like what never
// was.
//
// # The mark
//
// The mark says of each stream when it was made and how far its sequences went,
// and of the ledger how many entries it has at least. It is kept in the broker,
// written at most every Every while something changes, and, where the broker is
// embedded, in a file beside the store, which is written and synced each time
// the ledger is written, before the write counts. So beside the store not even
// the newest entry can be lost unnoticed; without the file the last Every can.
//
// # What is compared
//
// Check, at the start and before anything is claimed, compares the mark with the
// streams; unless the ledger is sealed it reads all of it once, without the bodies,
// since the broker counts entries that it can no longer read; and it asks the ledger
// for what the other streams say was done since the mark: each outcome that tells of
// a conversation, and each event at or below the ack floor of its subject, has an
// entry.
// Run goes on comparing, and Scrub reads everything.
//
// # The seal
//
// The seal is a consumer on the ledger's stream that the broker keeps in memory
// alone: it is gone when the stream was opened anew, by a new start of the broker or
// a copy that was put back. While it is the one under which the ledger was read in
// full, within a day, a start has the same to fear as a Guard that ran all the while,
// and no more: Check then leaves the reading to Scrub, which the caller begins at once,
// and again if it failed.
// A cluster has no seal, and the embedded broker none that lasts.
//
// What is found is a Finding: the caller stops the lanes, durably, and then calls
// Accept, because the mark goes on from what is there. A mark that is lower than
// the truth never makes a Finding, one that is higher always does: each number
// is therefore lowered durably before anything is removed (Remove), and raised
// only after it is true.
package guard
