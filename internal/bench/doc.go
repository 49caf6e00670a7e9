// Package bench is what weir bench measures with: the processes that it starts, the
// load that it makes, the yardsticks that it holds Weir against, and the page that
// it writes.
//
// # Processes
//
// Each part of a run is a process of its own (Child), so that its processor time
// and memory are its own: weir serve, the brokers (ServeBroker) and the provider
// (Provider). They end with the process that started them. The one that measures
// publishes and runs the yardsticks.
//
// # Yardsticks
//
// A figure of one machine says little about another. So each is held against what
// the same machine does, in the same run and in turn with it, so that what else the
// machine does hits all alike:
//
//	Loop      fetch, POST and ack with the client library alone, without any safety
//	Writes    the writes of the same events to the same streams, without anything else
//	Requests  the same requests to the same provider, without anything else
//	Pair      one publish and one compare-and-set, one after the other
//
// The writes are copies of those that Weir was seen to make (Template), with the
// same sizes, headers and expectations. They go to a broker of their own, whose
// settings and disk are the same.
//
// # Events
//
// An event of the load has a number. It stands in the event's data under Mark, and
// the lane's route puts it into the request, so that the provider can tell when the
// first request for it came.
package bench
