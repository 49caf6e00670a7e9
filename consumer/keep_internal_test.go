package consumer

import (
	"slices"
	"testing"
)

// keep leaves the group that it is given as it is: its intents are unlocked by it.
func TestKeep(t *testing.T) {
	t.Parallel()
	for mask := range 1 << 4 {
		group := []*candidate{{digest: "0"}, {digest: "1"}, {digest: "2"}, {digest: "3"}}
		was := slices.Clone(group)
		var want []*candidate
		got := keep(group, func(i int, c *candidate) bool {
			if c != was[i] {
				t.Errorf("number %d is %s", i, c.digest)
			}
			if mask>>i&1 == 0 {
				return false
			}
			want = append(want, c)
			return true
		})
		if !slices.Equal(got, want) || !slices.Equal(group, was) {
			t.Errorf("of mask %04b: got %d candidates, want %d; the group is as it was: %t", mask, len(got), len(want), slices.Equal(group, was))
		}
	}
}
