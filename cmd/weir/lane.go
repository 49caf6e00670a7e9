package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
)

// laneCmd is weir lane.
type laneCmd struct {
	Pause  lanePauseCmd  `cmd:"" help:"Stop lanes before their next call. It holds until they are resumed."`
	Resume laneResumeCmd `cmd:"" help:"Let paused lanes go on."`
}

// laneChoice names lanes.
type laneChoice struct {
	Lanes []string `arg:"" optional:"" name:"lane" help:"Lanes."`
	All   bool     `help:"All lanes of the configuration."`
}

// names returns the lanes that are meant.
func (c laneChoice) names(d *desk) ([]string, error) {
	all := d.laneNames()
	if c.All == (len(c.Lanes) > 0) {
		return nil, usageError{fmt.Errorf("which lanes? name some, or give --all; the lanes are: %s", strings.Join(all, ", "))}
	}
	if c.All {
		return all, nil
	}
	for _, name := range c.Lanes {
		if err := d.checkLane(name); err != nil {
			return nil, err
		}
	}
	return c.Lanes, nil
}

// lanePauseCmd is weir lane pause.
type lanePauseCmd struct {
	laneChoice
	decision
}

// Run pauses the lanes.
func (c *lanePauseCmd) Run(a *app) error {
	by, err := c.signed(a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		return d.switchLanes(a, c.laneChoice, "paused", func(lane string) error {
			return d.broker.Pause(a.ctx, lane, by.By, by.Reason)
		})
	})
}

// laneResumeCmd is weir lane resume.
type laneResumeCmd struct {
	laneChoice
	By string `placeholder:"NAME" help:"Who decides; default: the environment's USER."`
}

// Run lets the lanes go on.
func (c *laneResumeCmd) Run(a *app) error {
	by, err := decision{Reason: "resume", By: c.By}.signed(a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		return d.switchLanes(a, c.laneChoice, "resumed", func(lane string) error {
			return d.broker.Resume(a.ctx, lane, by.By)
		})
	})
}

// switched is what became of one lane's switch.
type switched struct {
	Lane    string `json:"lane"`
	State   string `json:"state"`   // paused or resumed: it is written down
	Running bool   `json:"running"` // a weir serve owns the lane
	Seen    bool   `json:"seen"`    // and obeys
}

// sentence says it to a person.
func (s switched) sentence() string {
	switch {
	case s.Seen:
		return fmt.Sprintf("lane %s is %s; weir serve has seen it", s.Lane, s.State)
	case s.Running:
		return fmt.Sprintf("lane %s is %s, but weir serve has not confirmed it", s.Lane, s.State)
	default:
		return fmt.Sprintf("lane %s is %s; no weir serve is running, it holds when weir serve starts", s.Lane, s.State)
	}
}

// switchLanes writes each lane's switch, then waits until running lanes obey.
func (d *desk) switchLanes(a *app, choice laneChoice, state string, write func(lane string) error) error {
	names, err := choice.names(d)
	if err != nil {
		return err
	}
	results, err := d.switchEach(a.ctx, names, state, write)
	if err != nil {
		return err
	}
	unseen := 0
	for _, r := range results {
		if r.Running && !r.Seen {
			unseen++
		}
	}
	err = a.print(results, func(w io.Writer) {
		for _, r := range results {
			fmt.Fprintln(w, r.sentence())
		}
	})
	if unseen > 0 {
		err = errors.Join(err, fmt.Errorf("%d lanes have not confirmed it; look with weir lanes", unseen))
	}
	return err
}

// switchEach writes the lanes' switches, all of them before it waits for any.
func (d *desk) switchEach(ctx context.Context, names []string, state string, write func(lane string) error) ([]switched, error) {
	_, err := d.broker.JetStream().Stream(ctx, broker.StreamLanes)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, errNeverServed
	}
	if err != nil {
		return nil, err
	}
	for _, lane := range names {
		if err := write(lane); err != nil {
			return nil, err
		}
	}
	results := make([]switched, len(names))
	for i, lane := range names {
		results[i] = switched{Lane: lane, State: state}
		results[i].Running, results[i].Seen = d.obeyed(ctx, lane, state == "paused")
	}
	return results, nil
}

// obeyFor is how long a running lane may take to see its switch. It looks
// several times a second.
const obeyFor = 10 * time.Second

// obeyed waits until the lane's owner says that it is paused, or not, as it
// should be.
func (d *desk) obeyed(ctx context.Context, lane string, paused bool) (running, seen bool) {
	ctx, cancel := context.WithTimeout(ctx, obeyFor)
	defer cancel()
	for {
		s, err := d.status(ctx, lane)
		if errors.Is(err, broker.ErrNoOwner) {
			return false, false
		}
		if err == nil && s != nil && (s.Pause != nil) == paused {
			return true, true
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return true, false
		}
	}
}
