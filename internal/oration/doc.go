// Package oration is the client of the Oration API, version 2: it turns
// prepared requests into POST {url}/conversations, and answers into verdicts.
//
// # What is sent
//
// One request asks for one conversation per item. weir_intent and weir_attempt
// are set last, over everything that a route or an event put into
// dynamicVariables, so that a later answer can be recognised. Nothing is ever
// sent twice: no redirect is followed, no request is repeated by the transport,
// HTTP/2 is off, and a create uses a connection that was just dialled or has
// been idle for at most two seconds. Queries have connections of their own.
//
// # When it is sent
//
// [consumer.Batch.Permit] is asked in the first write of the request itself,
// above TLS, also on a connection that was open already. Until then the caller's
// context can stop the request, and every item is unsent; from then on only the
// request's own time-out ends it.
//
// # What an answer means
//
// [Classify] is the only judge. The body comes before the status: an item that
// the body names a conversation for is created, whatever the status says. A body
// is decoded as a stream, so that a cut one still counts for what it named in
// full. A result belongs to the item whose intent and attempt it echoes, else to
// the one with its number and agent (without a number: its customer and agent);
// a result that echoes another intent belongs to nobody. One result and one item
// that are left over belong together if nothing speaks against it. About the
// items that no result names:
//
//	not a byte was written                     unsent
//	no answer                                  in doubt
//	it names other conversations, anywhere     in doubt
//	results, and cut or malformed              in doubt
//	results, and no error for it               in doubt, whatever the status
//	more entries than can belong to it         in doubt
//	a status listed in refused_statuses        unsent
//	401, 403                                   unauthorized; cut or malformed JSON: in doubt
//	301, 302, 303, 307, 308 without results    unsent, and the lane stops
//	any other 3xx                              in doubt, and the lane stops
//	404, 405 with a body that is not JSON      unsent, and the lane stops
//	429, read to its end                       full
//	429, cut or malformed                      in doubt
//	429, a list of results, no error for it    in doubt, even if the list is empty
//	408, 425, 499, 5xx, anything unknown       in doubt
//	2xx, other 4xx, cut or malformed           in doubt
//	2xx, no error for it                       in doubt
//	2xx, its own item error                    rejected, or full if it means so
//	2xx, errors that cannot be told apart      full and alone
//	other 4xx, the only item of the request    rejected, or full if it means so
//	other 4xx, an error names it               rejected, or full if it means so
//	other 4xx, results leave it and one error  rejected, or full if it means so
//	other 4xx, of a group                      full and alone
//
// There is an error for each item if no fewer are left than items, without the
// items that an error names and their errors. The higher line decides.
//
// A body that was cut before its first byte may have been JSON. One in any coding
// but identity counts as such: none is asked for, and none decoded.
//
// An item error means fullness if a full_when pattern matches it, or if the
// request held more items than slots were known to be free.
//
// # What is kept of it
//
// The provider's words are shortened, put on one line and masked. Credentials of
// ours that it repeats are replaced. Join tokens are never decoded, logged or
// kept.
package oration
