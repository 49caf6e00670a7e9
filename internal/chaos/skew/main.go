// Command skew makes what "go build -overlay" needs for a program whose clock can be
// turned while it runs, out of the Go that is installed:
//
//	go run ./internal/chaos/skew -o DIR
//	go build -overlay DIR/overlay.json …
//
// In a program that was built so, time.Now adds to the time of day what stands,
// as nanoseconds in the machine's byte order, in the first eight bytes of the
// file that WEIR_CHAOS_SKEW names when it starts; the file is mapped, so that a
// change counts at once. The monotonic clock and the timers run on, as they do
// when somebody turns the clock of a machine. Without that variable nothing is
// other than in Go's own package.
//
// Nothing of Go's source is kept in this repository: its file is read and changed
// at build time. A Go whose file is not as expected is refused.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "skew:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("skew", flag.ContinueOnError)
	dir := flags.String("o", "", "the folder for the files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return errors.New("usage: skew -o DIR")
	}
	src, err := packageTime()
	if err != nil {
		return err
	}
	return overlay(src, *dir)
}

// packageTime returns the folder of Go's own package.
func packageTime() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src", "time"), nil
}

// overlay writes the changed file of the package in src, the one that is added to
// it, and the list of both, to dir. They are not named as Go files, which would be
// taken for a package of whatever module dir is in.
func overlay(src, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	original, err := os.ReadFile(filepath.Join(src, "time.go"))
	if err != nil {
		return err
	}
	changed, err := turn(string(original))
	if err != nil {
		return err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(src, "time.go"):       filepath.Join(dir, "time.txt"),
		filepath.Join(src, "chaos_skew.go"): filepath.Join(dir, "skew.txt"),
	}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range map[string]string{"time.txt": changed, "skew.txt": added, "overlay.json": string(list)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// anchor is how time.Now begins, as far as the change depends on it.
const anchor = "\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"

// turn returns the source of package time with a Now that asks for the skew.
func turn(source string) (string, error) {
	if strings.Count(source, anchor) != 1 {
		return "", errors.New("time.Now of this Go does not begin as expected")
	}
	return strings.Replace(source, anchor, anchor+"\tsec, nsec = chaosSkewed(sec, nsec)\n", 1), nil
}

// added is the file that package time gets.
const added = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var chaosSkew = openChaosSkew()

func openChaosSkew() *int64 {
	path, _ := syscall.Getenv("WEIR_CHAOS_SKEW")
	if path == "" {
		return nil
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic("open the skew: " + err.Error())
	}
	data, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map the skew: " + err.Error())
	}
	_ = syscall.Close(fd)
	return (*int64)(unsafe.Pointer(&data[0]))
}

func chaosSkewed(sec int64, nsec int32) (int64, int32) {
	if chaosSkew == nil {
		return sec, nsec
	}
	by := atomic.LoadInt64(chaosSkew)
	sec += by / 1e9
	rest := int64(nsec) + by%1e9
	switch {
	case rest < 0:
		sec, rest = sec-1, rest+1e9
	case rest >= 1e9:
		sec, rest = sec+1, rest-1e9
	}
	return sec, int32(rest)
}
`
