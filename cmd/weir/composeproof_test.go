//go:build compose && linux

package main

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
	"github.com/weirhq/weir/schema"
)

// composeLanes are the lanes of deploy/compose/weir.
var composeLanes = []string{"acme-sales", "globex-calls", "globex-care"}

// posted is an event that a gateway answered 202.
type posted struct {
	lane, id string
	seq      uint64 // of WEIR_EVENTS, as the answer tells
}

func (p posted) key() string { return consumer.Key(p.lane, "/compose", p.id) }

// feeder sends events to whichever gateways there are.
type feeder struct {
	s      *stack
	client *http.Client
	token  string

	mu   sync.Mutex
	sent []posted
	at   []string // the gateways
}

// feed sends n events over a time, and returns when each was taken.
func (f *feeder) feed(ctx context.Context, n int, over time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the gateways change as replicas come and go
		for ctx.Err() == nil {
			at := f.s.addresses()
			f.mu.Lock()
			f.at = at
			f.mu.Unlock()
			_ = sleep(ctx, 500*time.Millisecond)
		}
	}()
	var wg sync.WaitGroup
	for sender := range 4 {
		wg.Go(func() {
			for i := sender; i < n && ctx.Err() == nil; i += 4 {
				f.one(ctx, i)
				_ = sleep(ctx, 4*over/time.Duration(n))
			}
		})
	}
	wg.Wait()
}

// one sends an event until it is taken. The fate of a request that failed is not
// known, so the event may be published twice, under the same id.
func (f *feeder) one(ctx context.Context, i int) {
	p := posted{lane: composeLanes[[]int{0, 0, 1, 2}[i%4]], id: fmt.Sprint("event-", i)}
	contact := fmt.Sprintf(`"phone":"+1415%07d"`, 2000000+i)
	if i%8 == 7 {
		contact = fmt.Sprintf(`"email":"a%d@example.com"`, i)
	}
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/compose","type":"lead.created","time":%q,"datacontenttype":"application/json","data":{"id":"%d",%s}}`,
		p.id, time.Now().UTC().Format(time.RFC3339Nano), i, contact)
	for try := i; ctx.Err() == nil; try++ {
		if seq, err := f.post(ctx, try, p.lane, body); err == nil {
			p.seq = seq
			f.mu.Lock()
			f.sent = append(f.sent, p)
			f.mu.Unlock()
			return
		}
		_ = sleep(ctx, 200*time.Millisecond)
	}
}

func (f *feeder) post(ctx context.Context, try int, lane, body string) (uint64, error) {
	f.mu.Lock()
	at := f.at
	f.mu.Unlock()
	if len(at) == 0 {
		return 0, errors.New("no gateway is up")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at[try%len(at)]+"/events/"+lane, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := f.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return 0, fmt.Errorf("%s: %s", resp.Status, text)
	}
	where, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(where.Query().Get("at"), 10, 64)
}

// witness is a connection to the brokers, past weir.
func (s *stack) witness(ctx context.Context) *broker.Broker {
	s.t.Helper()
	cfg := broker.Config{URL: s.brokers(), User: "weir", Password: schema.Secret(s.secret("broker_password")), Replicas: s.replicas(), Name: "witness"}
	var b *broker.Broker
	await(s.t, 2*time.Minute, "a connection to the broker", func() (ok bool) {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		var err error
		b, err = broker.Connect(try, zerolog.Nop(), cfg)
		return err == nil
	})
	return b
}

func (s *stack) replicas() int {
	if s.cluster {
		return 3
	}
	return 1
}

// intents reads the ledger.
func (s *stack) intents(ctx context.Context, b *broker.Broker) (map[string]consumer.Intent, error) {
	lg, err := ledger.Open(ctx, b.JetStream(), ledger.Config{Replicas: s.replicas()})
	if err != nil {
		return nil, err
	}
	intents := make(map[string]consumer.Intent)
	for _, lane := range composeLanes {
		for entry, err := range lg.Scan(ctx, lane, time.Time{}) {
			if err != nil {
				return nil, err
			}
			intents[entry.Intent.Key] = entry.Intent
		}
	}
	return intents, nil
}

// settle waits until each event has come to its end and nothing is unacknowledged;
// what has not is for the check to tell.
func (s *stack) settle(ctx context.Context, b *broker.Broker, sent []posted) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); _ = sleep(ctx, time.Second) {
		if s.settled(ctx, b, sent) {
			return
		}
	}
	s.t.Error("not every event came to its end within 10 minutes")
}

func (s *stack) settled(ctx context.Context, b *broker.Broker, sent []posted) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, lane := range composeLanes {
		if pending, unacked, err := b.Backlog(ctx, lane); err != nil || pending+unacked > 0 {
			return false
		}
	}
	intents, err := s.intents(ctx, b)
	if err != nil {
		return false
	}
	for _, p := range sent {
		if !intents[p.key()].Settled() {
			return false
		}
	}
	return true
}

// proof reads the providers' log out of the simulator's volume.
func (s *stack) proof() (lines []chaos.Line) {
	s.t.Helper()
	out, err := s.try("docker", "cp", s.one("simulator")+":/var/lib/weir/calls.ndjson", "-")
	if err != nil {
		s.t.Fatal(err)
	}
	files := tar.NewReader(strings.NewReader(out))
	if _, err := files.Next(); err != nil {
		s.t.Fatalf("the providers' log: %v", err)
	}
	text := bufio.NewScanner(files)
	for text.Scan() {
		var line chaos.Line
		if err := json.Unmarshal(text.Bytes(), &line); err != nil {
			s.t.Fatalf("the providers' log: %v in %s", err, text.Text())
		}
		lines = append(lines, line)
	}
	return lines
}

// check holds the providers' log, the ledger, the streams and what the gateways
// confirmed against each other.
func (s *stack) check(ctx context.Context, b *broker.Broker, sent []posted) chaos.Verdict {
	s.t.Helper()
	f := chaos.Facts{Made: make(map[string]int), Spans: s.hist.Spans(), Limits: []chaos.Limit{
		{Provider: simulator.ProviderOration, Channel: "telephony", Most: 20},
		{Provider: simulator.ProviderAnyreach, Channel: "telephone", Most: 10},
	}}
	var err error
	if f.Intents, err = s.intents(ctx, b); err != nil {
		s.t.Fatal(err)
	}
	events, err := b.JetStream().Stream(ctx, broker.StreamEvents)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range sent {
		m, err := events.GetMsg(ctx, p.seq)
		stored := err == nil && strings.Contains(string(m.Data)+fmt.Sprint(m.Header), p.id)
		f.Events = append(f.Events, chaos.Event{Lane: p.lane, ID: p.id, Key: p.key(), Stored: stored, TakesID: p.lane != "acme-sales"})
	}
	outcomes, err := b.JetStream().Stream(ctx, broker.StreamOutcomes)
	if err != nil {
		s.t.Fatal(err)
	}
	for seq := uint64(1); seq <= outcomes.CachedInfo().State.LastSeq; seq++ {
		m, err := outcomes.GetMsg(ctx, seq)
		if err != nil {
			s.t.Fatalf("outcome %d: %v", seq, err)
		}
		var data consumer.OutcomeData
		if err := json.Unmarshal(outcomeData(m), &data); err != nil {
			s.t.Fatalf("outcome %d: %v", seq, err)
		}
		f.Outcomes = append(f.Outcomes, chaos.Outcome{Intent: data.Intent, Kind: m.Subject[strings.LastIndex(m.Subject, ".")+1:], Conversation: data.Conversation})
	}
	f.Proof = s.proof()
	for _, line := range f.Proof {
		if line.Event == "made" {
			f.Made[line.Intent]++
		}
	}
	return chaos.Check(f)
}
