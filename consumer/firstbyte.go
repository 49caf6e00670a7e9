package consumer

import (
	"sync"
	"time"
)

// firstByte is the last word on a request, and what became of it.
type firstByte struct {
	ln    *lane
	began time.Duration
	group []*candidate

	mu     sync.Mutex
	sent   time.Time // when it was permitted; zero: it was not
	barred bool      // it was forbidden
}

// permit is Batch.Permit.
func (f *firstByte) permit() error {
	err := f.ln.mayPost(f.began, f.group)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.barred = err != nil; err == nil {
		f.sent = time.Now()
	}
	return err
}

// went returns when the request was permitted, and whether it was forbidden.
func (f *firstByte) went() (sent time.Time, barred bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, f.barred
}
