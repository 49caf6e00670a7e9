package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/metrics"
	"github.com/weirhq/weir/internal/scale"
)

// scaleOf asks a replica's listener.
func scaleOf(t *testing.T, s *service, query string) (status int, kind, body string) {
	t.Helper()
	h := &admin{}
	if s != nil {
		h.show(s)
	}
	w := httptest.NewRecorder()
	h.routes().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/scale"+query, http.NoBody))
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

// Two replicas share six accounts, as chance has it; each of them, and one that owns
// nothing, tells the load of all.
func TestScaleIsOfAllReplicas(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 6, 0.05) // calls of half an hour: none ends meanwhile
	begin := func() *service {
		cfg, err := config.Load(f.write(t, gatewayPort(t)), func(name string) string { return f.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		s, err := startService(t.Context(), zerolog.Nop(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.figures.every = 100 * time.Millisecond
		return s
	}
	replicas := []*service{begin(), begin()}
	for _, s := range replicas {
		t.Cleanup(func() {
			if err := s.close(); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(background(t, s.run))
	}
	bystander := begin()
	f.publish(t, 5)

	// All slots are in use, and the rest of each lane waits for one.
	want := make(map[string]scale.Load)
	for _, lane := range f.lanes {
		want[lane] = scale.Load{Ready: 5 - fleetLimit, Running: fleetLimit}
	}
	var accounts map[string]scale.Load
	var err error
	var got scaling
	defer func() {
		if t.Failed() {
			t.Logf("%+v, %v, %+v", accounts, err, got)
		}
	}()
	await(t, patience, "the loads of all accounts", func() bool {
		accounts, err = bystander.askLoads(t.Context())
		return err == nil && cmp.Equal(accounts, want)
	})
	for _, s := range []*service{replicas[0], replicas[1], bystander} {
		sum := scaling{Slots: 5, Sum: scale.Sum{Wanted: 3, Accounts: 6, Busy: 6, Load: scale.Load{Ready: 18, Running: 12}}}
		await(t, patience, "its answer", func() bool { // a replica that stood still does not say what it has, or has lost it for a moment
			status, kind, body := scaleOf(t, s, "?slots=5")
			if status == http.StatusServiceUnavailable {
				return false
			}
			if status != http.StatusOK || kind != "application/json" {
				t.Fatalf("got %d, %s, %s", status, kind, body)
			}
			got = decoded[scaling](t, body)
			if time.Since(got.At).Abs() > patience || strings.Contains(body, "lane-") {
				t.Errorf("got %s, want the time of the answer and no name", body)
			}
			got.At = time.Time{}
			return cmp.Equal(sum, got)
		})
	}

	// Without the broker nothing is known.
	if err := bystander.close(); err != nil {
		t.Fatal(err)
	}
	bystander.scaler = newScaler(bystander.askLoads)
	if status, kind, body := scaleOf(t, bystander, ""); status != http.StatusServiceUnavailable || kind != "application/problem+json" {
		t.Errorf("without the broker: got %d, %s, %s", status, kind, body)
	}
}

// While the figures of one account are missing, no number is given: whoever scales
// by it would take replicas away.
func TestScaleIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, 1)
	cfg, err := config.Load(f.yaml, func(name string) string { return f.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s, err := startService(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	defer background(t, s.replica.Run)() // and nothing that answers, or samples
	await(t, patience, "the account to be owned", func() bool { return len(s.figures.owned()) == 1 })
	await(t, patience, "to be told of an owner that does not answer", func() bool { // or of a broker that took too long to name it
		status, _, body := scaleOf(t, s, "")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "which owns account lane-0, does not answer")
	})
	defer background(t, s.serveLoad)()
	await(t, patience, "its answer, which is that it does not know", func() bool {
		_, err = s.askLoads(t.Context())
		return err != nil && strings.Contains(err.Error(), "what waits for account lane-0 is not known yet")
	})
}

func TestScaleAnswers(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "sales")
	s := p.broker(t)
	s.scaler = newScaler(func(context.Context) (map[string]scale.Load, error) {
		return map[string]scale.Load{"a": {Running: 900}, "b": {Running: 100}}, nil
	})
	for query, want := range map[string]int{
		"": http.StatusOK, "?slots=1": http.StatusOK, "?slots=1000000": http.StatusOK,
		"?slots=0": http.StatusBadRequest, "?slots=-5": http.StatusBadRequest, "?slots=1000001": http.StatusBadRequest, "?slots=many": http.StatusBadRequest,
	} {
		status, kind, body := scaleOf(t, s, query)
		if status != want || (want != http.StatusOK) != (kind == "application/problem+json") {
			t.Errorf("%q: got %d, %s, %s; want %d", query, status, kind, body, want)
		}
		// The store of an embedded broker is one process's.
		if want == http.StatusOK && decoded[scaling](t, body).Wanted != 1 {
			t.Errorf("%q with the embedded broker: got %s, want one replica", query, body)
		}
	}
	embedded := s.embedded
	s.embedded, s.scaler.err = nil, nil
	if _, _, body := scaleOf(t, s, ""); decoded[scaling](t, body).Wanted != 2 {
		t.Errorf("got %s, want two replicas of %d calls", body, scaleSlots)
	}
	s.embedded = embedded // or it would run on while its folder is removed
	if status, _, body := scaleOf(t, nil, ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "weir serve is starting") {
		t.Errorf("before the broker is found: got %d, %s", status, body)
	}
}

// However often it is asked, the broker is once in five seconds; also when it fails.
func TestScaleIsAskedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, fails := 0, errors.New("the broker is away")
		var fail error
		c := newScaler(func(ctx context.Context) (map[string]scale.Load, error) {
			asked++
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return map[string]scale.Load{"a": {}}, fail
		})
		gone, leave := context.WithCancel(t.Context())
		for range 20 { // the first of them leaves, and takes nobody's answer away
			go func() { _, _, _ = c.loads(gone) }()
		}
		synctest.Wait()
		leave()
		if _, _, err := c.loads(t.Context()); err != nil || asked != 1 {
			t.Fatalf("got %v and asked %d times, want once", err, asked)
		}
		time.Sleep(scaleFor - time.Second)
		if _, _, err := c.loads(t.Context()); err != nil || asked != 1 {
			t.Errorf("within five seconds: got %v and asked %d times, want once", err, asked)
		}
		fail = fails
		time.Sleep(2 * time.Second)
		for range 3 {
			if _, _, err := c.loads(t.Context()); !errors.Is(err, fails) || asked != 2 {
				t.Errorf("after them: got %v and asked %d times, want the failure of the second", err, asked)
			}
		}
	})
}

func TestLoadOfAnAccount(t *testing.T) {
	t.Parallel()
	lane := func(name, cause string, limit int) consumer.LaneVitals {
		return consumer.LaneVitals{LaneStatus: consumer.LaneStatus{Lane: name, Cause: cause, Limit: limit}}
	}
	pools := []consumer.PoolStatus{{Channel: "telephone", Used: 6, Limit: 66, Free: 60}, {Channel: "text", Used: 3, Limit: 3}}
	status := consumer.AccountStatus{Account: "a", Pools: pools, Lanes: []consumer.LaneVitals{
		lane("calls", "", 10), lane("texts", consumer.CauseSlot, 3), lane("mail", "", 0), lane("shut", consumer.CausePaused, 10),
	}}
	sampled := map[string]metrics.LaneSample{"calls": {Pending: 50}, "texts": {Pending: 7}, "mail": {Pending: 2}, "shut": {Pending: 900}}
	want := &scale.Load{Ready: 59, Free: 60, Startable: 52, Running: 9}
	if diff := cmp.Diff(want, accountLoad(status, sampled)); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	delete(sampled, "mail")
	if got := accountLoad(status, sampled); got != nil {
		t.Errorf("with a lane that was not sampled: got %+v, want that it is not known", *got)
	}
}
