// Package pacingtest is a world for pacers: a provider with slots, the leads
// that wait for them, and clients of several kinds that ask for conversations.
// Time is virtual and everything comes from a seed, so an hour takes
// milliseconds and a run can be repeated.
//
// # The model
//
// A call holds a slot from the moment at which the provider handles its request
// until it ends. Of all calls 45 % stay unanswered (25 s, give or take 2 s), 25 %
// are short (60 s on average), 30 % long (150 s): 71.25 s on average. A round trip
// takes 120 ms in the median, half of it each way. The length of a lead's call
// depends on the seed and the lead alone, so all clients of one seed meet the same
// calls.
//
// A provider refuses a request for more calls than it has free slots, whole or in
// part ([Scenario.Partial]), and tells its limit and what remains of it on every
// answer, or never ([Scenario.Headers]). Its headers may lag behind, its limit may
// change, it may be out of order for a while, and other programs may take slots of
// the same account: those try at random times and give up if there is no room.
//
// # The clients
//
// [Weir] is the product's ratelimiter.Limiter and Breaker, driven as the engine
// drives them: one lane with a backlog, a window of requests under way, GETs for
// the ends of calls. The others are models: an oracle that knows each end at once,
// and what people write who have no pacer. [Replicas] are several of the product's,
// of which one owns the account: they are killed, and take over from each other.
//
// # What is not modelled
//
// Several lanes, lost answers, the time that claims and outcomes take, limits on
// requests per second, and others who try again.
package pacingtest
