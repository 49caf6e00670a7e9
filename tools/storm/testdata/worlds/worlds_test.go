// Package worlds has storms of every kind that tools/storm must tell apart.
package worlds

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds   = flag.Uint64("seeds", 1, "")
	from    = flag.Uint64("from", 0, "")
	history = flag.Bool("history", false, "")
)

func world(t *testing.T, met int, play func(t *testing.T, seed uint64)) {
	for seed := *from; seed < *from+*seeds; seed++ {
		synctest.Test(t, func(t *testing.T) { play(t, seed) })
		fmt.Printf("#storm {\"acts\": 3, \"faults\": {\"rain\": %d, \"hail\": 1}}\n", met)
	}
}

// order prints in which order 20 goroutines that wake at once come to run, and
// what else the runtime chooses by chance.
func order(_ *testing.T, seed uint64) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			time.Sleep(time.Duration(seed) * time.Second)
			mu.Lock()
			defer mu.Unlock()
			if *history {
				fmt.Print(i, " ")
			}
		})
	}
	wg.Wait()
	for k := range map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true} {
		if *history {
			fmt.Print(k, " ")
		}
	}
	a, b := make(chan int, 64), make(chan int, 64)
	for range 64 {
		a, b = a, b
		a <- 0
		b <- 1
	}
	for range 64 {
		select {
		case n := <-a:
			if *history {
				fmt.Print(n)
			}
		case n := <-b:
			if *history {
				fmt.Print(n)
			}
		}
	}
	if *history {
		fmt.Println(" at", time.Now())
	}
}

func TestStormOrder(t *testing.T) { world(t, 1, order) }

func TestStormDull(t *testing.T) { world(t, 0, func(*testing.T, uint64) {}) }

func TestStormFails(t *testing.T) {
	world(t, 1, func(t *testing.T, seed uint64) {
		if seed%3 == 2 {
			t.Errorf("the history of seed %d", seed)
		}
	})
}

func TestStormCloses(t *testing.T) {
	world(t, 1, func(t *testing.T, _ uint64) {
		if _, err := os.ReadDir("/"); err == nil {
			t.Error("there is a file system")
		}
		if len(os.Environ()) > 2 {
			t.Error("there is an environment: ", os.Environ())
		}
	})
}

func TestStormHangs(*testing.T) {
	for {
		runtime.Gosched()
	}
}

func TestStormSilent(*testing.T) {}
