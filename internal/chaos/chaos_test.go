package chaos_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/chaos"
)

func TestPicksGiveEachNameItsTurn(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e"}
	count := make(map[string]int)
	var rows [][]string
	for round := range 10 {
		row := chaos.Picks(7, "process", round, 2, names)
		rows = append(rows, row)
		for _, name := range row {
			count[name]++
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 4, "b": 4, "c": 4, "d": 4, "e": 4}, count); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
	if again := chaos.Picks(7, "process", 3, 2, names); !slices.Equal(again, rows[3]) {
		t.Errorf("round 3 had %v, and again %v", rows[3], again)
	}
	same := func(seed uint64, stream string) bool {
		for round, row := range rows {
			if !slices.Equal(row, chaos.Picks(seed, stream, round, 2, names)) {
				return false
			}
		}
		return true
	}
	if same(8, "process") || same(7, "broker") {
		t.Error("another seed, or another stream, picks the same")
	}
}

func TestPicksOfNothing(t *testing.T) {
	t.Parallel()
	if got := chaos.Picks(1, "s", 0, 3, nil); got != nil {
		t.Errorf("got %v, want none", got)
	}
	if got := chaos.Picks(1, "s", 4, 0, []string{"a"}); got != nil {
		t.Errorf("got %v, want none", got)
	}
}
