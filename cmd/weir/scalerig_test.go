//go:build chaos && linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/owner"
	"github.com/weirhq/weir/internal/simulator"
)

// scalePatience bounds each wait of a measurement.
const scalePatience = 10 * time.Minute

// scaleRig is a broker, a provider and some weir serve, each a process of its own
// but the provider.
type scaleRig struct {
	dir    string
	say    func(format string, args ...any)
	lanes  int
	sim    *simulator.Simulator
	simURL string
	limit  int
	batch  int

	node   nodeConfig
	proc   *chaos.Process
	b      *broker.Broker
	weirs  []*scaleWeir
	pulled map[int]bool    // lanes that were seen to pull
	ctx    context.Context //nolint:containedctx // of the provider, until close
	end    func()
	wg     sync.WaitGroup
}

// scaleWeir is one weir serve.
type scaleWeir struct {
	*chaos.Process
	admin string
	began time.Time
}

// newScaleRig starts the provider and lays out a broker that syncs now and then.
func newScaleRig(ctx context.Context, dir string, lanes int, sc simulator.Config, say func(string, ...any)) (*scaleRig, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sim, err := simulator.New(zerolog.Nop(), sc)
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &scaleRig{dir: dir, say: say, lanes: lanes, sim: sim, simURL: "http://" + ln.Addr().String(), limit: 1, batch: 1}
	r.ctx, r.end = context.WithCancel(ctx)
	r.wg.Go(func() { _ = sim.Serve(r.ctx, ln) })
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	r.node = nodeConfig{Name: "scale", Host: "127.0.0.1", Port: ports[0], Store: filepath.Join(dir, "store"), Background: true}
	return r, nil
}

func (r *scaleRig) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", r.node.Port) }

// startBroker starts the broker, with its clock turned if env says so, and returns
// how long that took until it answered.
func (r *scaleRig) startBroker(env ...string) (time.Duration, error) {
	data, err := json.Marshal(r.node)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	r.proc, err = chaos.Start(chaos.Command{
		Name: "server", Path: os.Args[0], Args: []string{"-test.run=^TestChaosChild$"}, Log: filepath.Join(r.dir, "server.log"),
		Env: append([]string{chaosRole + "=server", chaosConfig + "=" + string(data)}, env...),
	})
	if err != nil {
		return 0, err
	}
	for {
		try, cancel := context.WithTimeout(r.ctx, time.Second)
		r.b, err = broker.Connect(try, zerolog.Nop(), broker.Config{URL: r.url(), Name: "scale"})
		cancel()
		if err == nil {
			return time.Since(began), nil
		}
		if time.Since(began) > scalePatience || r.ctx.Err() != nil {
			return 0, err
		}
		if text, _ := r.proc.End(); text != "" {
			return 0, fmt.Errorf("the broker ended: %s", text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// provision makes the streams, the ledger first.
func (r *scaleRig) provision() (*ledger.Ledger, error) {
	lg, err := ledger.Open(r.ctx, r.b.JetStream(), ledger.Config{})
	if err != nil {
		return nil, err
	}
	return lg, r.b.Provision(r.ctx)
}

// stopBroker stops it in order.
func (r *scaleRig) stopBroker() {
	if r.b != nil {
		_ = r.b.Close(context.WithoutCancel(r.ctx))
	}
	if r.proc != nil {
		stopProcess(r.proc)
	}
	r.b, r.proc = nil, nil
}

func stopProcess(p *chaos.Process) {
	p.Terminate()
	if !p.Await(context.Background(), time.Minute) {
		p.Kill()
	}
}

// yaml writes the file of one replica: as many accounts as lanes.
func (r *scaleRig) yaml(admin string) (string, error) {
	var y strings.Builder
	fmt.Fprintf(&y, "broker: {url: %q}\nadmin: {listen: %q}\nlanes:\n", r.url(), admin)
	for i := range r.lanes {
		fmt.Fprintf(&y, `  - name: lane-%d
    provider: oration
    url: %s/api/v2
    auth: {api_key: {env: KEY}, workspace_id: {env: W%d}}
    limit: %d
    batch: %d
    timeout: 10s
    max_call: 10m
    expire_after: 0s
    routes:
      - type: lead.created
%s`, i, r.simURL, i, r.limit, r.batch, plantRoute)
	}
	path := filepath.Join(r.dir, "weir-"+admin[strings.LastIndex(admin, ":")+1:]+".yaml")
	return path, os.WriteFile(path, []byte(y.String()), 0o600)
}

// startWeir starts a replica.
func (r *scaleRig) startWeir(env ...string) (*scaleWeir, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	admin := fmt.Sprintf("127.0.0.1:%d", ports[0])
	path, err := r.yaml(admin)
	if err != nil {
		return nil, err
	}
	env = append([]string{asWeir + "=1", "KEY=k"}, env...)
	for i := range r.lanes {
		env = append(env, fmt.Sprintf("W%d=w%d", i, i))
	}
	w := &scaleWeir{admin: admin, began: time.Now()}
	w.Process, err = chaos.Start(chaos.Command{
		Name: "weir", Path: os.Args[0], Args: []string{"serve", "-c", path}, Env: env, Log: filepath.Join(r.dir, "weir.log"),
	})
	if err == nil {
		r.weirs = append(r.weirs, w)
	}
	return w, err
}

// startBare starts the loop that has the same consumers and nothing else.
func (r *scaleRig) startBare() (*chaos.Process, error) {
	data, err := json.Marshal(bareConfig{URL: r.url(), Lanes: r.lanes})
	if err != nil {
		return nil, err
	}
	return chaos.Start(chaos.Command{
		Name: "bare", Path: os.Args[0], Args: []string{"-test.run=^TestChaosChild$"}, Log: filepath.Join(r.dir, "bare.log"),
		Env: []string{chaosRole + "=bare", chaosConfig + "=" + string(data)},
	})
}

// stopWeirs stops all replicas in order.
func (r *scaleRig) stopWeirs() {
	var wg sync.WaitGroup
	for _, w := range r.weirs {
		wg.Go(func() { stopProcess(w.Process) })
	}
	wg.Wait()
	r.weirs = nil
}

func (r *scaleRig) close() {
	r.stopWeirs()
	r.stopBroker()
	r.end()
	r.wg.Wait()
	_ = os.RemoveAll(r.dir)
}

// awaiting waits until done, or says what did not come.
func (r *scaleRig) awaiting(what string, every time.Duration, done func() bool) error {
	for began := time.Now(); !done(); time.Sleep(every) {
		if time.Since(began) > scalePatience {
			return fmt.Errorf("waited %v for %s", scalePatience, what)
		}
		for _, w := range r.weirs {
			if text, _ := w.End(); text != "" {
				log, _ := os.ReadFile(filepath.Join(r.dir, "weir.log"))
				return fmt.Errorf("waiting for %s, a weir ended: %s\n%s", what, text, tail(string(log), 3000))
			}
		}
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
	}
	return nil
}

// owned counts how many accounts each replica has, from its own records, past weir.
func (r *scaleRig) owned() map[string]int {
	n := make(map[string]int)
	all, _ := owner.Standings(r.ctx, r.b)
	for duty, st := range all {
		if strings.HasPrefix(duty, accountPrefix) && st.Holder != "" && st.Alive {
			n[st.Holder]++
		}
	}
	return n
}

// metric sums the samples of a metric of a replica. Asking makes weir ask the broker
// for minutes, so it comes last in a measurement of what idling costs.
func (w *scaleWeir) metric(name string) (sum float64, err error) {
	resp, err := http.Get("http://" + w.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		line := sc.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// fill publishes n events on a lane, as fast as the broker takes them.
func (r *scaleRig) fill(lane string, from, n int) error {
	return r.flood(n, func(i int) *nats.Msg {
		id := from + i
		body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/crm","type":"lead.created","datacontenttype":"application/json","data":{"id":%d,"phone":"+1415%07d"}}`, id, id, id)
		return &nats.Msg{Subject: "weir.events." + lane, Header: nats.Header{"Content-Type": {"application/cloudevents+json"}}, Data: []byte(body)}
	})
}

// flood publishes without waiting for each.
func (r *scaleRig) flood(n int, message func(i int) *nats.Msg) error {
	nc, err := nats.Connect(r.url())
	if err != nil {
		return err
	}
	defer nc.Close()
	var mu sync.Mutex
	var failed error
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000), jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, err)
	}))
	if err != nil {
		return err
	}
	for i := range n {
		for {
			_, err := js.PublishMsgAsync(message(i))
			if err == nil {
				break
			}
			if !errors.Is(err, jetstream.ErrTooManyStalledMsgs) {
				return err
			}
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(scalePatience):
		return errors.New("the broker did not confirm all events")
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}

// writes is how many messages all streams were ever given.
func (r *scaleRig) writes() (n uint64, err error) {
	for _, name := range []string{ledger.Stream, broker.StreamEvents, broker.StreamOutcomes, broker.StreamLater, broker.StreamDead, broker.StreamLanes} {
		s, err := r.b.JetStream().Stream(r.ctx, name)
		if err != nil {
			return 0, err
		}
		n += s.CachedInfo().State.LastSeq
	}
	return n, nil
}

// used is what a process took over a time.
type used struct {
	rss   int64
	cores float64 // CPU time through time
}

// using measures processes over a time, side by side.
func (r *scaleRig) using(over time.Duration, procs ...*chaos.Process) ([]used, error) {
	before := make([]chaos.Vitals, len(procs))
	out := make([]used, len(procs))
	began := time.Now()
	for i, p := range procs {
		var err error
		if before[i], err = chaos.VitalsOf(p.PID()); err != nil {
			return nil, err
		}
	}
	sleepFor(r.ctx, over)
	for i, p := range procs {
		now, err := chaos.VitalsOf(p.PID())
		if err != nil {
			return nil, err
		}
		out[i] = used{rss: now.RSS, cores: (now.CPU - before[i].CPU).Seconds() / time.Since(began).Seconds()}
	}
	return out, nil
}

func sleepFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
