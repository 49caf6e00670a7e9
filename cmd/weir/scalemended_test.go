//go:build chaos && linux

package main

// scaleMended is what was done about what the first run showed.
const scaleMended = `## What the first run showed, and what was done

Measured at 1,000 idle lanes, each figure after the change before it as well.

| change | weir MiB | weir % of a core | broker % | goroutines |
|---|---|---|---|---|
| first run; with more than 498 lanes weir ended with "maximum consumers limit reached", so streams that are made now say how many consumers they may have | 760.9 | 9.10 | 10.53 | 14,000 |
| a pull lasts 30 s instead of 2 s, with a heartbeat of 5 s instead of 1 s, and is drained instead of awaited at the end | 349.9 | 3.63 | 3.00 | 11,000 |
| a lane's two subscriptions have room for 512 messages each instead of 65,536; a replica looks its duties up in a set instead of comparing each with each | 267.7 | 4.05 | 3.65 | 11,000 |
| a goroutine fewer, and 150 s of rest before, in which Go collects what the start needed | 237.6 | 3.05 | 3.10 | 10,000 |

A start with a million entries took 6.6 s before the reading of the ledger asked for 8,192 headers at a time instead of 512, and 9.0 s after it, on a machine that was busier by then: its CPU time went from 3.1 s to 2.8 s. What it does in that time is decision [0009](../decisions/0009-a-mark-of-how-far-the-state-was.md), and what was considered instead is in [0037](../decisions/0037-what-scale-costs.md).

## What is not good

- A start with a large ledger misses its goal.
- A lane still costs ten goroutines, most of them with a stack of 4 to 8 KiB, and 50 KiB of heap, which Go keeps twice: that is why 1,000 idle lanes miss their 100 MiB. A third of the heap are patterns that each account compiles for itself, and counters.
- Each replica looks at all accounts four times a second, also at those of others, and reads all their records every 25 s. That is why 2,000 lanes over four replicas cost more than four times 500 lanes of one.
- The first start of many lanes is mostly the broker's making of three consumers for each.
`
