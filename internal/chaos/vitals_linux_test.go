package chaos_test

import (
	"os"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/chaos"
)

func TestVitals(t *testing.T) {
	t.Parallel()
	before, err := chaos.VitalsOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.RSS < 1<<20 || before.Peak < before.RSS || before.Threads < 1 || before.Files < 3 {
		t.Errorf("got %+v of a Go process", before)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for end := time.Now().Add(3 * time.Minute); ; { // work until the kernel has counted some
		now, err := chaos.VitalsOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now.CPU > before.CPU && now.Files > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no CPU time was counted: %+v, then %+v", before, now)
		}
	}
	if _, err := chaos.VitalsOf(1 << 30); err == nil {
		t.Error("of no process: got no error")
	}
}
