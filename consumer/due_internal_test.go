package consumer

import (
	"testing"
	"time"
)

// Few live calls are looked at whenever something happens; of many, looks are apart.
func TestLooksAreApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		live  int
		apart time.Duration
	}{{0, 0}, {20, 0}, {63, 0}, {64, 4 * time.Millisecond}, {1000, 62 * time.Millisecond}, {100_000, 100 * time.Millisecond}} {
		a := &account{watched: make(map[*slot]bool)}
		for range tt.live {
			a.watched[new(slot)] = true
		}
		began := time.Now()
		if _, ok := a.due(began); !ok {
			t.Errorf("%d calls: the first look is put off", tt.live)
		}
		if tt.apart > 0 {
			next, ok := a.due(began.Add(tt.apart - 1))
			if ok || !next.Equal(began.Add(tt.apart)) {
				t.Errorf("%d calls: got a look at %v, want one after %v", tt.live, next.Sub(began), tt.apart)
			}
		}
		if _, ok := a.due(began.Add(tt.apart)); !ok {
			t.Errorf("%d calls: no look after %v", tt.live, tt.apart)
		}
	}
}
