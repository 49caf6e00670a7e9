// Package delivery brings a lane's outcomes to its publisher by HTTP.
//
// # One outcome
//
// Each outcome is one POST: a CloudEvent in binary mode, signed as Standard
// Webhooks says. The signature covers the outcome's id, the time of the try and the
// body, and not the other headers; the body holds all that they say. An outcome is
// delivered when the endpoint has answered 2xx, and nothing else. Redirects are not
// followed, and of an answer's body little is read.
//
// # The place
//
// How far a lane has come is its place, a record in WEIR_LANES: everything in
// WEIR_OUTCOMES up to its floor is delivered, was given up, or is in its list of
// those that are tried again, with how often and since when. A place is written
// after what it says has happened. So a crash at any step repeats what came after
// the last place, at most a second of it, each with its own id, and skips nothing:
//
//	read, POST, 2xx, place     before the place: posted again, the same webhook-id
//	read, POST, no, place      before the place: tried again, at most once too often
//	given up: copy, place      before the place: tried and copied again, one copy
//
// A lane whose place does not exist yet begins with what is published from then on.
// There is no consumer on the stream that could be lost, or that could bring an
// ended before the created that it was given earlier.
//
// # Order
//
// Of one event an outcome is posted only when each earlier one was answered 2xx or
// was given up. Outcomes of different events overtake each other.
//
// # Failures
//
// What an answer means is [Judge]'s: the outcome's own fault (400, 413, 422 and the
// like), the endpoint's (no connection, no answer in time, 5xx, 429, 401, 403, 404),
// or for ever (410). An outcome of its own fault is tried again after 5 s, 5 min, 30
// min, 2 h and so on, and the others go on. An endpoint that fails is asked with one
// outcome at a time, after pauses of 1 s to 5 min, each time with the one that
// waited longest for its turn: one that the endpoint cannot bear must not stop the
// rest. Ten refusals in a row are the endpoint's fault too. What failed for give_up,
// counted from its first failure, or since when the endpoint fails where it came
// later, is copied to WEIR_UNDELIVERED for a person. At most 64 outcomes with faults
// of their own, and of those that wait behind them, are tried again at one time: of
// more, the one that was tried most often is copied at once. An outcome with which
// an endpoint fails that works with others is no such one, or an endpoint that takes
// so many a second would lose the rest: it is tried again after 1 s to 5 min.
//
// A person may order one of the copies to be sent again: that is one try.
package delivery
