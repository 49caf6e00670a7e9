// Package owner decides which of several processes does what only one of them
// may do at a time: send for an account, and look after the state. The processes
// are replicas of each other and share nothing but a few keys in the broker.
//
// # The keys
//
// Each replica has a key of its own, own.replica.<id>, which it writes anew each
// fifth of its TTL: its lease. Each duty has one, own.duty.<name>, which says
// whose it is: the term of one replica, with an epoch that rises each time
// somebody takes it. Both are written by compare-and-set alone.
//
// # Who
//
// A duty belongs to the replica that wins a hash of both names among those that
// are alive and know it (rendezvous hashing), so that all agree without talking
// and little moves when one comes or goes. Whoever has it and should not gives it
// up: it ends what is under way, says so in the duty's key, and the next one
// takes it at once. A replica that is asked to stop does the same with all it has.
//
// # Why never two
//
// A replica may act on a term only while less than 4/5 of its TTL have passed
// since it sent its last renewal that succeeded (Term.Held). Another one takes its
// duties only after a whole TTL in which it saw no renewal arrive, both by their
// own clocks, and after it has removed the replica's key at the very revision that
// it saw last: a renewal that is still on its way, or that it did not see, makes
// the removal fail, and from the removal on none can succeed. So two terms of a
// duty never overlap while the clocks run at the same rate within 20 % (H12),
// whatever was stopped, late, lost or sent twice.
//
// A replica whose key is gone, or is not as it wrote it, has lapsed: it goes on
// under a new id, and none of its terms holds any more. For a TTL it neither takes
// anything nor says that it may be given something, so that everybody else who
// acted on what the broker has lost has noticed as well. What nobody took meanwhile
// it may take back by compare-and-set without ending what it does; a duty that
// others come after it has to begin anew.
//
// # A store that is put back
//
// Each look reads from the revision on at which the own lease was last seen, and is
// of use only if it shows the own lease: then all that is older is as it was, since
// a store that was put back to before would not show it. A key that went back, is
// gone, or says something else at the same revision is left alone for a TTL. A
// lease that was not in force holds again only after a look. So whoever puts an old
// backup of the keys back, or empties them, finds that nobody acts on them, if the
// replicas were stopped or the broker was away for a TTL. If not, nobody can tell
// one that has just started what is missing: it and the old owner may both hold a
// duty until the old one looks, 4/5 of its TTL at most.
//
// # After
//
// A duty may come after another: it is taken, and taken back, only while a living
// replica has that one and has said that it is ready. Accounts come after the
// look at the state, which says whether anything of it was lost. A duty is given up
// to another replica only when that one says that it may take it.
package owner
