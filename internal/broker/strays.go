package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Strays finds events that were confirmed to their publishers and that none of
// these lanes will take: on subjects that no lane can have, which is a problem, or
// of other lanes, and not done.
func (b *Broker) Strays(ctx context.Context, lanes []string) ([]Finding, error) {
	s, err := b.stream(ctx, StreamEvents)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, fmt.Errorf("count the events: %w", err)
	}
	undone := make(map[string]uint64) // of each subject that has a consumer
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		for _, subject := range filters(c.Config) {
			undone[subject] = c.NumPending + uint64(max(0, c.NumAckPending))
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("consumers of %s: %w", StreamEvents, err)
	}
	nobodys, others := make(map[string]uint64), make(map[string]uint64)
	for subject, n := range info.State.Subjects {
		if left, ok := undone[subject]; ok {
			n = min(n, left)
		}
		switch lane, ok := laneOf(subject); {
		case n == 0:
		case !ok:
			nobodys[subject] = n
		case !slices.Contains(lanes, lane):
			others[lane] += n
		}
	}
	var found findings
	if len(nobodys) > 0 {
		found.problem("subjects", "publish them again to weir.events.<lane>, then purge these subjects of "+StreamEvents,
			"events were confirmed that no lane reads, on %s", some(nobodys))
	}
	if len(others) > 0 {
		found.warn("lanes", "give these lanes a block in the configuration, or publish their events to others",
			"events wait for lanes that the configuration does not have: %s", some(others))
	}
	return found, nil
}

// laneOf returns the lane that reads a subject.
func laneOf(subject string) (lane string, ok bool) {
	lane, ok = strings.CutPrefix(strings.TrimSuffix(subject, ".high"), "weir.events.")
	return lane, ok && checkLane(lane) == nil
}

// someShown is how many names a person is shown.
const someShown = 5

// some shows the first few names, each with its number.
func some(counts map[string]uint64) string {
	var shown []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if len(shown) == someShown {
			return strings.Join(shown, ", ") + fmt.Sprintf(" and %d others", len(counts)-someShown)
		}
		shown = append(shown, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	return strings.Join(shown, ", ")
}

// strays looks for events that nobody will take.
func (in *inspection) strays(ctx context.Context) {
	if in.there[StreamEvents] == nil {
		return
	}
	found, err := in.b.Strays(ctx, in.needs.Lanes)
	if err != nil {
		in.problem("subjects", "give this user the rights on $JS.API.>", "cannot be read: %v", err)
	}
	in.findings = append(in.findings, found...)
}
