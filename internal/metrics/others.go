package metrics

import (
	"strconv"
	"time"
)

// Took counts that this replica took an account over.
func (m *Metrics) Took(account string) { m.tallies.account(account).taken.Add(1) }

// Delivered counts one try to deliver an outcome of a lane, by what came of it.
func (m *Metrics) Delivered(lane, result string) {
	m.delivered.WithLabelValues(lane, m.accounts[lane], oneOf(result, []string{"delivered", "refused", "endpoint", "gone"})).Inc()
}

// The routes and methods of the gateway.
var (
	routes  = []string{"events", "provider_hook", "crm_hook"}
	methods = []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
)

// Served counts one answer of the gateway. Lane and method may be anybody's words.
func (m *Metrics) Served(route, lane, method string, status int, took time.Duration) {
	route = oneOf(route, routes)
	m.door.WithLabelValues(route, m.lane(lane), oneOf(method, methods), strconv.Itoa(status)).Inc()
	m.doorTime.WithLabelValues(route).Observe(took.Seconds())
}

// The ways by which events come in over HTTP, and what becomes of them.
var (
	doors = []string{"events", "crm"}
	fates = []string{"accepted", "duplicate", "skipped", "refused", "failed"}
)

// Taken counts an event that came in over HTTP.
func (m *Metrics) Taken(door, lane, result string) {
	m.events.WithLabelValues(oneOf(door, doors), m.lane(lane), oneOf(result, fates)).Inc()
}

// lane is a lane's name, if the configuration has it.
func (m *Metrics) lane(name string) string {
	if _, ok := m.accounts[name]; ok {
		return name
	}
	return "none"
}
