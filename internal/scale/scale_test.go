package scale_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/scale"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lanes         []scale.Lane
		free, running int
		want          scale.Load
	}{
		"idle":                         {nil, 20, 0, scale.Load{Free: 20}},
		"fewer events than slots":      {[]scale.Lane{{3, true, true}}, 20, 1, scale.Load{3, 20, 3, 1}},
		"fewer slots than events":      {[]scale.Lane{{5000, true, true}}, 4, 16, scale.Load{5000, 4, 4, 16}},
		"full":                         {[]scale.Lane{{5000, false, true}}, 0, 20, scale.Load{5000, 0, 0, 20}},
		"two lanes share the slots":    {[]scale.Lane{{5, true, true}, {9, true, true}}, 6, 0, scale.Load{14, 6, 6, 0}},
		"the lane's own channel full":  {[]scale.Lane{{50, false, true}, {1, true, true}}, 8, 2, scale.Load{51, 8, 1, 2}},
		"a channel without a limit":    {[]scale.Lane{{50, true, false}}, 0, 0, scale.Load{50, 0, 50, 0}},
		"more are used than there are": {[]scale.Lane{{7, false, true}}, -3, 23, scale.Load{7, 0, 0, 23}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, scale.Of(tt.lanes, tt.free, tt.running)); diff != "" {
				t.Errorf("load (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		accounts map[string]scale.Load
		slots    int
		want     scale.Sum
	}{
		"nothing":  {nil, 100, scale.Sum{Wanted: 1}},
		"all idle": {map[string]scale.Load{"a": {Free: 20}, "b": {Free: 5}}, 100, scale.Sum{Wanted: 1, Accounts: 2, Load: scale.Load{Free: 25}}},
		// A queue of a million behind a full account is no reason for a replica.
		"a queue behind full slots": {
			map[string]scale.Load{"a": {Ready: 1_000_000, Running: 20}}, 100,
			scale.Sum{Wanted: 1, Accounts: 1, Busy: 1, Load: scale.Load{Ready: 1_000_000, Running: 20}},
		},
		// One account is one replica's, however large it is.
		"one large account": {
			map[string]scale.Load{"a": {Ready: 5000, Free: 2000, Startable: 2000}, "b": {Free: 5}}, 100,
			scale.Sum{Wanted: 1, Accounts: 2, Busy: 1, Load: scale.Load{Ready: 5000, Free: 2005, Startable: 2000}},
		},
		"three large accounts": {
			map[string]scale.Load{"a": {Running: 300}, "b": {Running: 100, Startable: 20}, "c": {Startable: 150}}, 100,
			scale.Sum{Wanted: 3, Accounts: 3, Busy: 3, Load: scale.Load{Running: 400, Startable: 170}},
		},
		"small ones share a replica, and one more has the rest": {
			map[string]scale.Load{"a": {Running: 40}, "b": {Running: 40}, "c": {Startable: 21}}, 100,
			scale.Sum{Wanted: 2, Accounts: 3, Busy: 3, Load: scale.Load{Running: 80, Startable: 21}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, scale.Add(tt.accounts, tt.slots)); diff != "" {
				t.Errorf("sum (-want +got):\n%s", diff)
			}
		})
	}
}

// What is wanted does not change by calls that begin: a replica that helps is kept.
func TestBegunCallsCountAsBefore(t *testing.T) {
	t.Parallel()
	for begun := range 301 {
		got := scale.Add(map[string]scale.Load{
			"a": {Ready: 300 - begun, Free: 300 - begun, Startable: 300 - begun, Running: begun},
			"b": {Running: 150},
		}, 200).Wanted
		if got != 2 {
			t.Fatalf("with %d calls begun: got %d replicas, want 2", begun, got)
		}
	}
}
