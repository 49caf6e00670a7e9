package broker

import "testing"

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.12.0": true, "2.15.2": true, "v2.12.1": true, "3.0.0": true, "2.14.0-beta.1": true, "2.12": true,
		"2.11.9": false, "2.9.25": false, "1.99.0": false, "2": false, "": false, "x.y.z": false,
	} {
		if got := atLeast(version, 2, 12); got != want {
			t.Errorf("%q is 2.12 or newer: got %v, want %v", version, got, want)
		}
	}
}
