package pacingtest

import (
	"container/heap"
	"time"
)

// event is something that will happen.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

// events is a heap by time, then by order of arrival.
type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = event{}
	*q = (*q)[:len(*q)-1]
	return last
}

// clock is virtual time since the start, and what is to happen.
type clock struct {
	now   time.Duration
	queue events
	seq   int
}

// in schedules something.
func (c *clock) in(d time.Duration, do func()) {
	c.seq++
	heap.Push(&c.queue, event{c.now + max(d, 0), c.seq, do})
}

// next takes what happens next.
func (c *clock) next() event { return heap.Pop(&c.queue).(event) }
