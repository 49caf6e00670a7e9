// Package backup copies Weir's streams into a folder and puts them back, each as the
// broker's own snapshot: messages with their sequences and times, and consumers with
// what they have acknowledged.
//
// # The folder
//
// One file <stream>.snapshot for each stream, and manifest.json, which is written
// last: a folder without it is no backup, whatever else is in it. The manifest has each
// file's length and SHA-256, and the stream's settings and how far it went. It is
// versioned: a newer one than this Weir knows is refused.
//
// # The order
//
// The streams are copied in the order in which they are given, the ledger after all
// that tell of it: so its copy knows at least what they do (H19). They are put back in
// the opposite order.
//
// # Streams that change meanwhile
//
// A snapshot is not of one moment. One during which something was removed or replaced
// may lack messages that were there all the time; it is made again, and if that does
// not help it is kept and says so (Piece.Torn).
//
// # What a failure leaves behind
//
// Write leaves a folder without a manifest. Restore leaves streams that are missing,
// or of before; the caller has stopped every lane durably before, and begins again.
package backup
