package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	wasi "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// guest is a test binary, compiled.
type guest struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	module  wazero.CompiledModule
	patient time.Duration
}

// Memory of one instance: pages of 64 KiB. The guest's collector begins only near
// the limit, beyond what a world leaves behind.
const (
	memoryPages = 8192 // 512 MiB
	memorySoft  = "256MiB"
)

// build makes the test binary and compiles it, or finds it compiled.
func build(ctx context.Context, o options) (*guest, error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(o.dir, filepath.Base(o.pkg)+".wasm")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-buildvcs=false", "-ldflags=-s -w", "-o", file, o.pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s for wasip1: %w\n%s", o.pkg, err, out)
	}
	binary, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return compile(ctx, binary, filepath.Join(o.dir, "cache"), o.patient)
}

// compile compiles a binary. The cache keeps one binary: each change of the
// source makes another, of some 50 MB.
func compile(ctx context.Context, binary []byte, dir string, patient time.Duration) (*guest, error) {
	sum := fmt.Sprintf("%x", sha256.Sum256(binary))
	mark := filepath.Join(dir, "binary")
	if old, err := os.ReadFile(mark); err != nil || string(old) != sum {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, err
	}
	g := &guest{cache: cache, patient: patient}
	g.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().
		WithCompilationCache(cache).WithMemoryLimitPages(memoryPages).WithDebugInfoEnabled(false))
	if _, err := wasi.Instantiate(ctx, g.runtime); err != nil {
		return nil, errors.Join(err, g.close())
	}
	if g.module, err = g.runtime.CompileModule(ctx, binary); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, os.WriteFile(mark, []byte(sum), 0o644)
}

func (g *guest) close() error {
	return errors.Join(g.runtime.Close(context.Background()), g.cache.Close(context.Background()))
}

// errHangs is a world that does not come to its end.
var errHangs = errors.New("it hangs")

// run runs the binary to its end in an instance of its own and returns what it
// printed. Everything that may differ between two runs is made of source. An
// error means that the tests failed, or could not be run.
func (g *guest) run(ctx context.Context, patient time.Duration, source string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	var late atomic.Bool
	defer time.AfterFunc(patient, func() { late.Store(true) }).Stop()
	defer context.AfterFunc(ctx, func() { late.Store(true) })()
	now := int64(0)
	cfg := wazero.NewModuleConfig().WithName("").
		WithArgs(append([]string{"storm.test", "-test.timeout=0"}, args...)...).
		WithEnv("GOGC", "off").WithEnv("GOMEMLIMIT", memorySoft).
		WithStdout(&out).WithStderr(&out).
		WithRandSource(rand.NewChaCha8(sha256.Sum256([]byte(source)))).
		WithNanotime(func() int64 {
			if late.Load() {
				panic(errHangs) // the scheduler asks for the time again and again
			}
			now += int64(time.Microsecond)
			return now
		}, sys.ClockResolution(time.Microsecond))
	m, err := g.runtime.InstantiateModule(ctx, g.module, cfg)
	if m != nil {
		err = errors.Join(err, m.Close(ctx))
	}
	switch exit, ok := errors.AsType[*sys.ExitError](err); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case ok && exit.ExitCode() == 0:
		return out.Bytes(), nil
	case ok:
		return out.Bytes(), fmt.Errorf("exit code %d", exit.ExitCode())
	case late.Load():
		return out.Bytes(), fmt.Errorf("%w: more than %v", errHangs, patient)
	default:
		return out.Bytes(), err
	}
}

// world runs one seed of one storm.
func (g *guest) world(ctx context.Context, kind string, seed, salt uint64, history bool) ([]byte, error) {
	return g.run(ctx, g.patient, fmt.Sprintf("%s\n%d\n%d", kind, seed, salt),
		"-test.run=^"+kind+"$", "-seeds=1", "-from="+strconv.FormatUint(seed, 10), "-history="+strconv.FormatBool(history))
}

// listFor is how long the list may take, however little a world may.
const listFor = 5 * time.Minute

// list returns the names of the storms.
func (g *guest) list(ctx context.Context, pattern string) ([]string, error) {
	out, err := g.run(ctx, listFor, "list", "-test.list="+pattern)
	if err != nil {
		_, _ = io.Copy(os.Stderr, bytes.NewReader(out))
		return nil, fmt.Errorf("list the storms: %w", err)
	}
	var kinds []string
	for name := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(name, "Test") {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("no test matches %q", pattern)
	}
	return kinds, nil
}
