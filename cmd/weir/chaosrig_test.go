//go:build chaos && linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/simulator"
)

// What a child of the run is, and its configuration, in its environment.
const (
	chaosRole   = "WEIR_CHAOS_ROLE"
	chaosConfig = "WEIR_CHAOS_CONFIG"
)

// nodeConfig is a nats-server.
type nodeConfig struct {
	Name, Host, Store string
	Port, ClusterPort int      // ClusterPort 0: alone
	Background        bool     // it syncs now and then, not with each write
	Routes            []string // to the other nodes
}

// simConfig is both providers behind one address, with one proof log.
type simConfig struct {
	Addr, Proof string
	Oration     simulator.Config
	Anyreach    simulator.AnyreachConfig
}

// TestChaosChild is no test: it is the broker or the providers of a run, as a
// process of its own.
func TestChaosChild(*testing.T) {
	role := os.Getenv(chaosRole)
	if role == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	switch role {
	case "server":
		err = runNode(ctx)
	case "simulator":
		err = runProviders(ctx)
	case "clock":
		err = tell()
	case "bare":
		err = runBare(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runNode(ctx context.Context) error {
	var c nodeConfig
	if err := json.Unmarshal([]byte(os.Getenv(chaosConfig)), &c); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: c.Name, Host: c.Host, Port: c.Port, NoSigs: true,
		JetStream: true, StoreDir: c.Store, SyncAlways: !c.Background, JetStreamMaxStore: 16 << 30, Logtime: true,
	}
	if c.ClusterPort != 0 {
		// Not advertised: a client must come through the proxy that it knows.
		o.Cluster = server.ClusterOpts{Name: "chaos", Host: c.Host, Port: c.ClusterPort, NoAdvertise: true}
		for _, r := range c.Routes {
			u, err := url.Parse(r)
			if err != nil {
				return err
			}
			o.Routes = append(o.Routes, u)
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	go s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

func runProviders(ctx context.Context) error {
	var c simConfig
	if err := json.Unmarshal([]byte(os.Getenv(chaosConfig)), &c); err != nil {
		return err
	}
	log, err := os.OpenFile(c.Proof, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	c.Oration.Log, c.Anyreach.Log = log, log
	o, err := simulator.New(zerolog.Nop(), c.Oration)
	if err != nil {
		return err
	}
	y, err := simulator.NewAnyreach(zerolog.Nop(), c.Anyreach)
	if err != nil {
		return err
	}
	group, err := simulator.Join(o, y)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	return errors.Join(group.Serve(ctx, ln), log.Close())
}

// node is a server of the run, with the proxy through which weir reaches it.
type node struct {
	cfg   nodeConfig
	proxy *chaos.Proxy
	proc  *chaos.Process
}

// rig is everything that runs in a round. The fields above mu are set before
// anything is disturbed.
type rig struct {
	dir    string // of the run
	kind   string // kindOne or another
	store  string // of the servers
	round  int
	hist   *chaos.History
	past   *proofLog // the providers' log
	clocks clocks    // of kindClock
	nodes  []*node
	sim    *chaos.Process
	addr   string // of the providers
	front  *chaos.Proxy
	b      *broker.Broker // past the proxies
	load   load
	conf   lanesConfig
	slack  int                         // slots that Oration has beyond the limit in weir.yaml
	watch  func(context.Context, *rig) // from when weir runs until the calm is over; nil: nobody
	admin  string                      // where weir shows its metrics; empty: nowhere

	mu     sync.Mutex
	weir   *chaos.Process
	next   *chaos.Process // takes the place of weir when that has ended
	down   time.Time      // until when weir is not started again
	ends   []func()       // heal what a kill of weir disturbed, once it is up again
	held   bool           // lanes were, because the ledger was damaged
	found  []chaos.Finding
	struck map[string]int // how often each fault did

	published eventLog
	wg        sync.WaitGroup
	cancel    context.CancelFunc // ends the proxies
	retire    func()             // ends supervise, and waits until it has; nil before it runs
}

func (r *rig) find(kind chaos.Find, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, chaos.Finding{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// rest waits, and reports whether it was not interrupted.
func (r *rig) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// replicas is how many copies of each stream there are.
func (r *rig) replicas() int { return len(r.nodes) }

// servers returns where the nodes are, through their proxies or past them.
func (r *rig) servers(past bool) []string {
	var urls []string
	for _, n := range r.nodes {
		addr := n.proxy.Addr()
		if past {
			addr = fmt.Sprintf("%s:%d", n.cfg.Host, n.cfg.Port)
		}
		urls = append(urls, "nats://"+addr)
	}
	return urls
}

// freePorts finds ports that nobody has now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// logFile is where a process of this round writes.
func (r *rig) logFile(name string) string {
	return filepath.Join(r.dir, "log", fmt.Sprintf("r%d-%s.log", r.round, name))
}

// start starts a child that is not weir.
func (r *rig) start(role, name string, cfg any) (*chaos.Process, error) {
	data, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	env := []string{chaosRole + "=" + role, chaosConfig + "=" + string(data)}
	if role == "server" && r.kind == kindClock {
		env = append(env, r.clocks.server.env())
	}
	p, err := chaos.Start(chaos.Command{
		Name: name, Path: os.Args[0], Args: []string{"-test.run=^TestChaosChild$"}, Env: env, Log: r.logFile(name),
	})
	if err == nil {
		r.hist.Note("process", name, fmt.Sprintf("started as %d", p.PID()))
	}
	return p, err
}

// startNode starts a server that does not run.
func (r *rig) startNode(n *node) {
	p, err := r.start("server", n.cfg.Name, n.cfg)
	if err != nil {
		r.find(chaos.Crash, "%v", err)
		return
	}
	n.proc = p
}

// makeNodes lays out the servers, each with its proxy.
func (r *rig) makeNodes(ctx context.Context, count int) error {
	ports, err := freePorts(2 * count)
	if err != nil {
		return err
	}
	for i := range count {
		c := nodeConfig{Name: fmt.Sprint("n", i+1), Host: "127.0.0.1", Port: ports[2*i], Store: filepath.Join(r.store, fmt.Sprint("n", i+1))}
		if count > 1 {
			c.ClusterPort = ports[2*i+1]
			for j := range count {
				c.Routes = append(c.Routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[2*j+1]))
			}
		}
		proxy, err := chaos.NewProxy(fmt.Sprintf("127.0.0.1:%d", c.Port))
		if err != nil {
			return err
		}
		r.wg.Go(func() { _ = proxy.Run(ctx) })
		r.nodes = append(r.nodes, &node{cfg: c, proxy: proxy})
	}
	return nil
}

// up starts everything but weir.
func (r *rig) up(ctx context.Context, sim simConfig) error {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	count := 1
	if r.kind == kindCluster || r.kind == kindFlip3 {
		count = 3
	}
	if err := r.makeNodes(ctx, count); err != nil {
		return err
	}
	for _, n := range r.nodes {
		r.startNode(n)
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	r.addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	sim.Addr = r.addr
	if r.sim, err = r.start("simulator", "simulator", sim); err != nil {
		return err
	}
	if r.front, err = chaos.NewProxy(r.addr); err != nil {
		return err
	}
	r.wg.Go(func() { _ = r.front.Run(ctx) })
	if err := r.connect(ctx); err != nil {
		return err
	}
	if err := r.configure(); err != nil {
		return err
	}
	watch, cancelWatch := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.supervise(watch)
	}()
	r.retire = func() {
		cancelWatch()
		<-done
	}
	return nil
}

// connect reaches the servers past the proxies. A cluster may need a while to
// elect its leader.
func (r *rig) connect(ctx context.Context) (err error) {
	cfg := broker.Config{URL: strings.Join(r.servers(true), ","), Replicas: r.replicas(), Name: "chaos"}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); r.rest(ctx, time.Second) {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		r.b, err = broker.Connect(try, zerolog.Nop(), cfg)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// supervise starts weir, and again whenever it has ended, until ctx ends.
func (r *rig) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		p, err := r.adopt()
		if err != nil {
			r.find(chaos.Crash, "%v", err)
			return
		}
		select {
		case <-p.Done():
		case <-ctx.Done():
			return
		}
		text, _ := p.End()
		r.hist.Note("process", p.Name, fmt.Sprintf("%d ended: %s", p.PID(), text))
		heal := r.hist.Disturb("weir-away", text)
		r.mu.Lock()
		r.ends = append(r.ends, heal)
		wait := max(200*time.Millisecond, time.Until(r.down))
		r.mu.Unlock()
		r.rest(ctx, wait)
	}
}

// adopt returns the weir that takes the place of the one that ended.
func (r *rig) adopt() (*chaos.Process, error) {
	r.mu.Lock()
	p := r.next
	r.next = nil
	r.mu.Unlock()
	if p == nil {
		var err error
		if p, err = r.startWeir("weir"); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.weir = p
	for _, heal := range r.ends {
		heal()
	}
	r.ends = nil
	return p, nil
}

// startWeir starts a weir serve.
func (r *rig) startWeir(name string) (*chaos.Process, error) {
	env := []string{asWeir + "=1", "KEY=k", "WORKSPACE=w", "TOKEN=ak_1.secret"}
	if r.kind == kindClock {
		env = append(env, r.clocks.weir.env())
	}
	p, err := chaos.Start(chaos.Command{
		Name: name, Path: os.Args[0], Args: []string{"serve", "-c", r.yaml()}, Env: env, Log: r.logFile("weir"),
	})
	if err == nil {
		r.hist.Note("process", name, fmt.Sprintf("started as %d", p.PID()))
	}
	return p, err
}

// current is the weir that works.
func (r *rig) current() *chaos.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.weir
}

// awaitLanes waits until weir has made the lanes' consumers.
func (r *rig) awaitLanes(ctx context.Context) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		_, err := r.backlog(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(end) || !r.rest(ctx, 200*time.Millisecond) {
			return fmt.Errorf("the lanes did not come up: %w", err)
		}
	}
}

// backlog is what all lanes have not acknowledged.
func (r *rig) backlog(ctx context.Context) (n uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, lane := range chaosLanes {
		pending, unacked, err := r.b.Backlog(ctx, lane)
		if err != nil {
			return 0, err
		}
		n += pending + unacked
	}
	return n, nil
}

// outage orders an outage of the providers.
func (r *rig) outage(kind string, d time.Duration) error {
	body := fmt.Sprintf(`{"kind":%q,"for":%q}`, kind, d)
	resp, err := http.Post("http://"+r.addr+"/simulator/outage", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// report asks the providers what happened.
func (r *rig) report(ctx context.Context) (reports map[string]simulator.Report, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+"/simulator/report", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return reports, json.NewDecoder(resp.Body).Decode(&reports)
}

// heal ends every disturbance that is left, and waits until a weir runs.
func (r *rig) heal(ctx context.Context) {
	r.clocks.set(0, 0)
	r.front.Set(chaos.Mode{})
	for _, n := range r.nodes {
		n.proxy.Set(chaos.Mode{})
		n.proc.Continue()
		if text, _ := n.proc.End(); text != "" {
			r.startNode(n)
		}
	}
	_ = r.outage("none", 0)
	r.current().Continue()
	r.awake(ctx).Continue()
}

// close ends everything. weir is asked to, and must within half a minute, as
// everything around it is well; unless the run was cut off.
func (r *rig) close(ctx context.Context, orderly bool) {
	if r.cancel == nil {
		return
	}
	if r.retire != nil {
		r.retire() // no weir is started from here on
		r.dismiss(ctx, orderly)
	}
	r.cancel()
	if r.b != nil {
		_ = r.b.Close(context.WithoutCancel(ctx))
	}
	for _, p := range append(nodeProcesses(r.nodes), r.sim) {
		if p != nil {
			p.Terminate()
			p.Await(context.WithoutCancel(ctx), 10*time.Second)
			p.Kill()
		}
	}
	r.wg.Wait()
}

// dismiss ends weir, and the one that was to take its place.
func (r *rig) dismiss(ctx context.Context, orderly bool) {
	r.mu.Lock()
	w, next := r.weir, r.next
	r.mu.Unlock()
	if next != nil {
		next.Kill()
	}
	if w == nil {
		return
	}
	if text, _ := w.End(); orderly && text == "" {
		w.Terminate()
		stopped := w.Await(ctx, 30*time.Second)
		text, clean := w.End()
		switch {
		case !stopped:
			r.find(chaos.Crash, "weir did not stop within 30 s of SIGTERM")
		case !clean && text != "exit status 130": // 130: it was still coming up
			r.find(chaos.Crash, "weir stopped by SIGTERM ended with %s", text)
		}
	}
	w.Kill()
}

func nodeProcesses(nodes []*node) (all []*chaos.Process) {
	for _, n := range nodes {
		all = append(all, n.proc)
	}
	return all
}
