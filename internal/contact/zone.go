package contact

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a container image may have none

	"github.com/nyaruka/phonenumbers"
)

// zoneName is what the name of a time zone looks like. The library looks for files
// of that name.
var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}$`)

// notZones are names that a system has in the same place: its own zone, which says
// nothing of anybody else, and zones that count leap seconds.
var notZones = []string{"Local", "localtime", "posixrules", "Factory"}

var errZone = errors.New("not a time zone such as Europe/Berlin")

// zones are those that were loaded. There are some 600 names in all.
var zones sync.Map // of *time.Location by name

// loadZone returns the time zone of this name.
func loadZone(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	if len(name) > 64 || !zoneName.MatchString(name) || slices.Contains(notZones, name) ||
		strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
		return nil, errZone
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, errZone
	}
	zones.Store(name, zone)
	return zone, nil
}

// CheckZone returns what is wrong with the name of a time zone.
func CheckZone(name string) error {
	_, err := loadZone(name)
	return err
}

// zonesOf are those that a number in international form may be in; none if its
// prefix tells nothing.
func zonesOf(number string) []*time.Location {
	names, err := phonenumbers.GetTimezonesForPrefix(number)
	if err != nil {
		return nil
	}
	var all []*time.Location
	for _, name := range names {
		zone, err := loadZone(name)
		if err != nil { // one that cannot be judged makes the rest worthless
			return nil
		}
		all = append(all, zone)
	}
	return all
}
