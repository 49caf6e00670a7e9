package config

import (
	"cmp"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// identity is what a lane's or an account's name looks like: it becomes part
// of subjects, of consumers' names and of the ledger's keys.
var identity = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// maxLabel bounds a label, in bytes.
const maxLabel = 80

// accounts checks accounts and lanes, and puts each lane to its account.
func (d *decoder) accounts(f *file) []Account {
	d.names(f)
	all := f.Accounts
	byName := map[string]int{}
	for i, path := range d.whole("accounts", len(all)) {
		d.checkSettings(path, &all[i].Settings)
		byName[all[i].Name] = i
	}
	if len(f.Lanes) == 0 {
		d.add("lanes", "must have at least one lane")
	}
	for i, path := range d.whole("lanes", len(f.Lanes)) {
		block := &f.Lanes[i]
		lane := d.lane(path, block, d.laneProvider(path, block, all, byName))
		if !d.has(path + ".account") {
			d.checkSettings(path, &block.Settings)
			all = append(all, Account{Name: block.Name, Settings: block.Settings, Lanes: []Lane{lane}})
			continue
		}
		d.borrows(path, block)
		if at, ok := byName[block.Account]; ok {
			all[at].Lanes = append(all[at].Lanes, lane)
		} else {
			d.add(path+".account", "there is no account of that name under accounts")
		}
	}
	for i, path := range d.whole("accounts", len(f.Accounts)) {
		if len(all[i].Lanes) == 0 {
			d.add(path, "no lane names this account %q", clip(all[i].Name))
		}
	}
	d.twins(f)
	return all
}

// laneProvider returns what is known of the provider of the lane at path: that
// of the account that it names, or of its own settings.
func (d *decoder) laneProvider(path string, block *laneBlock, accounts []Account, byName map[string]int) *provider {
	name := block.Provider
	if d.has(path + ".account") {
		name = ""
		if at, ok := byName[block.Account]; ok {
			name = accounts[at].Provider
		}
	}
	return cmp.Or(providerOf(name), unknownProvider)
}

// whole yields the index and path of each of a list's n items that is a block:
// of another there is nothing more to say.
func (d *decoder) whole(list string, n int) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i := range n {
			path := list + "[" + strconv.Itoa(i) + "]"
			if !d.flagged[path] && !yield(i, path) {
				return
			}
		}
	}
}

// names checks the names of accounts and lanes. A lane that carries settings
// is an account too.
func (d *decoder) names(f *file) {
	accounts, lanes := map[string]string{}, map[string]string{}
	for i, path := range d.whole("accounts", len(f.Accounts)) {
		d.distinct(path+".name", f.Accounts[i].Name, accounts)
	}
	for i, path := range d.whole("lanes", len(f.Lanes)) {
		d.distinct(path+".name", f.Lanes[i].Name, lanes)
		if !d.has(path + ".account") {
			d.distinct(path+".name", f.Lanes[i].Name, accounts)
		}
	}
}

// distinct checks one name against those of its kind, and adds it to them.
func (d *decoder) distinct(path, name string, taken map[string]string) {
	first, twice := taken[name]
	switch {
	case !d.has(path):
		d.add(path, "is missing")
	case !identity.MatchString(name):
		d.add(path, "must be 1 to 32 of a-z, 0-9 and -")
	case twice:
		d.add(path, "is already the name of %s on line %d", strings.TrimSuffix(first, ".name"), d.place(first).line)
	default:
		taken[name] = path
	}
}

// lane checks what is the lane's own, and fills in the defaults that are the
// provider's.
func (d *decoder) lane(path string, block *laneBlock, p *provider) Lane {
	lane := block.Lane
	if lane.Label == "" {
		lane.Label = lane.Name
	}
	if len(lane.Label) > maxLabel || strings.ContainsFunc(lane.Label, func(r rune) bool { return r < ' ' }) {
		d.add(path+".label", "must be one line of at most %d bytes", maxLabel)
	}
	within(d, path+".weight", lane.Weight, 1, 100)
	within(d, path+".doubt_limit", lane.DoubtLimit, 0, 10000)
	within(d, path+".max_event", lane.MaxEvent, KiB, 8*MiB)
	if after := lane.ExpireAfter; after != 0 && (after < time.Minute || after > 365*24*time.Hour) {
		d.add(path+".expire_after", "must be between 1m and 8760h; 0s is for ever")
	}
	d.refuse(path, p.notLane)
	d.batch(path+".batch", p, &lane)
	d.doubt(path, p, &lane)
	d.checkWebhook(path+".webhook", lane.Webhook)
	d.checkCRM(path+".crm", lane.CRM, block.Rules)
	d.contact(path+".contact", p, lane.Contact)
	d.checkOutcomes(path+".outcomes", lane.Outcomes)
	if d.has(path+".weight") && !d.has(path+".account") {
		d.add(path+".weight", "has no meaning without account: this lane shares with no other")
	}
	d.passthrough(path, p, &lane, block.Rules)
	lane.Routes = d.routes(path+".routes", block.Rules)
	for _, rule := range block.Rules {
		lane.Sources = append(lane.Sources, schema.RouteSource(rule))
	}
	lane.Channels = d.channels(path+".routes", p, block.Rules)
	return lane
}

func (d *decoder) batch(path string, p *provider, lane *Lane) {
	switch {
	case !d.read(path):
		lane.Batch = p.batch
	case p.maxBatch == 1 && lane.Batch != 1:
		d.add(path, "must be 1: this provider takes one conversation a request")
	default:
		within(d, path, lane.Batch, 1, p.maxBatch)
	}
}

// doubt checks what becomes of doubts in the lane at path. H18: without an id
// of ours a request sent again could be a second call.
func (d *decoder) doubt(path string, p *provider, lane *Lane) {
	at, attempts := path+".doubt", path+".attempts"
	switch {
	case !d.read(at):
		lane.Doubt = p.doubt()
	case p.takesID:
		d.oneOf(at, lane.Doubt, Park, Resend)
	case lane.Doubt == Resend:
		d.add(at, "must be park: this provider takes no id of ours, so resend could call a person twice")
	default:
		d.oneOf(at, lane.Doubt, Park)
	}
	if d.has(attempts) && lane.Doubt == Park {
		d.add(attempts, "has no meaning without doubt: resend")
	}
	within(d, attempts, lane.Attempts, 1, 100)
}

// channels returns those that the routes at path can ask for, sorted, or nil if
// that depends on the event.
func (d *decoder) channels(path string, p *provider, blocks []routeBlock) []string {
	if len(p.channels) == 0 {
		return nil
	}
	var all []string
	fixed := true
	for i, at := range d.whole(path, len(blocks)) {
		value, ok := blocks[i].Request[p.field]
		text, _ := value.(string) // of another type is none of the channels
		if !ok || strings.Contains(text, "${") {
			fixed = false
			continue
		}
		d.oneOf(at+".request."+p.field, text, p.channels...)
		all = append(all, text)
	}
	if !fixed {
		return nil
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// borrows refuses settings in a lane that takes them from a named account.
func (d *decoder) borrows(path string, block *laneBlock) {
	for key := range fieldsOf(reflect.ValueOf(&block.Settings).Elem()) {
		if at := path + "." + key; d.has(at) {
			d.add(at, "belongs to the account %q that this lane names: give it there", clip(block.Account))
		}
	}
}

// routes compiles the routes; each fault stands at its own line.
func (d *decoder) routes(path string, blocks []routeBlock) *schema.Routes {
	if len(blocks) == 0 {
		d.add(path, "must have at least one route")
		return nil
	}
	sources := make([]schema.RouteSource, len(blocks))
	for i, at := range d.whole(path, len(blocks)) {
		if !d.has(at + ".type") {
			d.add(at+".type", "is missing")
		}
		if len(blocks[i].Request) == 0 && !d.has(at+".passthrough") {
			d.add(at+".request", "is missing or empty")
		}
		sources[i] = schema.RouteSource(blocks[i])
	}
	routes, err := schema.CompileRoutes(sources)
	if err != nil {
		d.routeErrors(path, "", err)
	}
	return routes
}

// routeErrors reports what is wrong with routes at path, without the beginning of
// their own paths.
func (d *decoder) routeErrors(path, beginning string, err error) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here, node by node
	case *schema.RouteError:
		if at := path + strings.TrimPrefix(e.Path, beginning); !d.told(at) {
			d.addAt(d.place(at), at, "%v", e.Err)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			d.routeErrors(path, beginning, inner)
		}
	case interface{ Unwrap() error }:
		d.routeErrors(path, beginning, e.Unwrap())
	default:
		d.addAt(d.place(path), path, "%v", err)
	}
}

// clip bounds a name that is repeated in a problem before it was found right.
func clip(name string) string {
	if len(name) > 40 {
		return name[:40]
	}
	return name
}
