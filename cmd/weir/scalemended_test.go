//go:build chaos && linux

package main

// scaleMended is what was done about what the first run showed.
const scaleMended = `## What the first run showed, and what was done

The curves above are of 2026-11-22: the idle lanes beside a soak, which takes a tenth of a processor, the other parts beside that and tests that took what they could get. What follows is how it came to them, on machines that were busier.

Measured at 1,000 idle lanes, each figure after the change before it as well.

| change | weir MiB | weir % of a core | broker % | goroutines |
|---|---|---|---|---|
| first run; with more than 498 lanes weir ended with "maximum consumers limit reached", so streams that are made now say how many consumers they may have | 760.9 | 9.10 | 10.53 | 14,000 |
| a pull lasts 30 s instead of 2 s, with a heartbeat of 5 s instead of 1 s, and is drained instead of awaited at the end | 349.9 | 3.63 | 3.00 | 11,000 |
| a lane's two subscriptions have room for 512 messages each instead of 65,536; a replica looks its duties up in a set instead of comparing each with each | 267.7 | 4.05 | 3.65 | 11,000 |
| a goroutine fewer, and 150 s of rest before, in which Go collects what the start needed | 237.6 | 3.05 | 3.10 | 10,000 |
| the same again before what follows, on a busier machine: the bare loop took 107.5 MiB and 1.25 %, so weir cost 150.4 MiB and 4.80 % more | 257.9 | 6.05 | 4.40 | 10,000 |
| patterns are compiled when an account first needs them, the default ones of full_when once for all; the lanes of a process hear commands and webhooks in one goroutine and one channel; an account's timers, clock and sweep need one goroutine; the counters of a lane of which nothing happens are plain numbers. The bare loop took 105.9 MiB and 1.75 %: weir cost **59.7 MiB** and 2.45 % more | 165.6 | 4.20 | 2.90 | 5,000 |

A start with a million entries took 6.6 s before the reading of the ledger asked for 8,192 headers at a time instead of 512, and 9.0 s after it, on a machine that was busier by then: its CPU time went from 3.1 s to 2.8 s. What it does in that time is decision [0009](../decisions/0009-a-mark-of-how-far-the-state-was.md), and what was considered instead is in [0037](../decisions/0037-what-scale-costs.md). Since [0040](../decisions/0040-a-ledger-that-stayed-open-is-not-read-before-a-start.md) only a start after the broker's own reads it before it begins. At a load of 15 to 20, four starts each on a broker that ran on, with a million entries:

| | weir's start s | its CPU ms | the broker's CPU ms |
|---|---|---|---|
| before | 7.4 to 15.1 | 2,990 to 3,550 | 3,050 to 5,100 |
| after | 0.32 to 0.35 | 60 to 90 | 140 to 180 |

A bare loop of nats.go shows what the broker's own reading is of a start after the broker's: a million headers cost it 3.9 to 4.7 s of CPU time, and 2.5 to 3.8 s whoever takes them, be they fetched 8,192 at a time (4 and 3.8 s), asked for ahead (4.3 and 2.9 s), pushed (4.2 and 2.9 s) or read by two or four consumers at once, each with a part and a connection of its own (4.0 to 4.7 and 2.5 to 2.8 s). So two processors need 3.2 s for it at the very least; weir's whole start takes 3.4 s of CPU time.

## What is not good

- A start with a large ledger after the broker's own misses its goal, and so does each with the embedded broker or on a cluster.
- A lane still costs five goroutines, most of them with a stack of 4 to 8 KiB: its own, its account's, and one for each pull. Stacks and heap are what Go keeps twice.
- Of the processor time of 1,000 idle lanes more than a quarter is the four looks a second at who owns what.
- Each replica looks at all accounts four times a second, also at those of others, and reads all their records every 25 s. That is why 2,000 lanes over four replicas cost more than four times 500 lanes of one.
- The first start of many lanes is mostly the broker's making of three consumers for each.
`
