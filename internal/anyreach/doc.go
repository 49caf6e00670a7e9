// Package anyreach is the client of the Anyreach API: it turns prepared requests
// into POST {url}/core/conversations, and answers into verdicts.
//
// # What is sent
//
// One request asks for one conversation, under an id of ours: the intent. Anyreach
// returns an existing conversation with that id unchanged, so the same item may be
// asked for again without calling anybody twice, and is found by its id after an
// answer was lost. No request goes out without it. weir_intent, a text, and
// weir_attempt, a number, are set last in custom_metadata, over everything that a
// route or an event put there. Nothing is sent twice by itself; package
// [github.com/weirhq/weir/consumer/wire] tells how.
//
// # What an answer means
//
// [Classify] is the only judge. The body comes before the status: an answer that
// names our id is created, whatever the status says. The id may stand in
// "conversation", in the body itself, in "conversation_id", or in a conversation
// deeper in the body; the request that an error repeats is none of these. A body
// is decoded as a stream, so that a cut one still counts for what it named in full.
// The higher line decides:
//
//	not a byte was written                       unsent
//	no answer                                    in doubt
//	our id, on another channel or for another    in doubt, and foreign
//	our id                                       created
//	2xx with another id, read in full            created under it, and the lane stops
//	2xx with another id, cut or not as asked for in doubt, foreign, and the lane stops
//	a conversation with another id               in doubt; foreign if it is for the same user
//	more than is read of an answer               in doubt
//	a status listed in refused_statuses          unsent
//	401, 403                                     unauthorized; cut or torn JSON: in doubt
//	301, 302, 303, 307, 308                      unsent, and the lane stops
//	any other 3xx                                in doubt, and the lane stops
//	404, 405 with a body that is not JSON        unsent, and the lane stops
//	429, read to its end                         full
//	2xx, empty or JSON, read to its end          created under our id
//	2xx that speaks of an error, or any other    in doubt
//	409                                          in doubt: it is looked up first (H16)
//	408, 425, 499, 5xx, anything unknown         in doubt
//	other 4xx, read to its end                   rejected
//	anything cut or torn                         in doubt
//
// A conversation that has our id is foreign if it has another channel, user_id or
// intent than the one asked for. Telephone numbers are compared by their digits. A
// column that is missing or null says nothing: what a credential may not read is
// left out. A second id means that the provider did not take ours: a doubt that is
// sent again would then call twice, which is why nothing more is sent.
//
// A body in any coding but identity cannot be read: none is asked for.
//
// # What is kept of it
//
// The provider's words are those of detail (a text, or a list of what is wrong
// with which field) or of another member that holds an error's words; no other
// part of a body gets into a reason, so that neither a greeting nor a summary nor
// a token for joining does. They are shortened, put on one line and masked, and
// our own credentials in them are replaced.
package anyreach
