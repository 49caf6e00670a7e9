// Package ratelimiter keeps a client within a limit of conversations that exist
// at the same time, where a slot is free again only minutes after the request
// that took it was answered. It knows no HTTP client and no queue: headers are a
// map[string][]string, and the time is an argument.
//
// It has three parts.
//
// [Parse] reads what an answer's headers say about limits, in every family of
// names that is in use. A family with a reset or a window is a rate of requests:
// it can delay and nothing else. Only a family that counts conversations moves
// tokens. A value that makes no sense is as good as absent, and never raises
// anything.
//
// [Limiter] is a token bucket tied to those headers. It keeps books of its own:
//
//	held = taken - returned - freed
//
// and never permits more than limit - reserve - held. Whatever the headers say of
// free slots can only lower that, with one exception: headers that count
// conversations for sure, and have been seen to count our own, prove that some of
// those held are over, though not which. What they may not have counted yet is
// left out, so that never fewer are held than live ([State.Gone]).
//
// While the provider is believed to be full, a probe looks for a free slot after
// each interval of 2 * [Config.Epsilon] * [Config.MeanCall]: with calls that end at
// random this leaves a share of Epsilon of the slots idle, and no schedule with as
// many requests does better. Where a status tells limit and remaining, that is the
// probe ([Limiter.Look]): it is never refused. Else it asks for a conversation, as
// far as the own books allow, or with [ProbePost] even if they are full. An end
// that is reported with [Limiter.Freed] opens its slot at once.
//
// [Breaker] stops requests to a provider that fails, and lets it back in two
// steps: a probe that costs nothing, then one real request.
//
// Nothing is stored. After a restart the books are rebuilt with [Limiter.Occupy];
// the rest is learned again from the first answers.
package ratelimiter
