package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// checkAuth checks which of the credentials are given; looking them up found
// the other faults.
func (d *decoder) checkAuth(path string, p *provider, a Auth) {
	if !d.has(path) {
		d.add(path, "is missing")
		return
	}
	if p == unknownProvider {
		return
	}
	own, foreign := false, false
	for _, key := range slices.Sorted(maps.Keys(fieldsOf(reflect.ValueOf(&a).Elem()))) {
		at := path + "." + key
		switch {
		case !d.has(at):
		case slices.Contains(p.credentials, key):
			own = true
		default:
			foreign = true
			// In any case: that it could not be looked up is not its only fault.
			d.addAt(d.place(at), at, "is no credential of %s, which takes %s", p.name, p.takes)
		}
	}
	switch {
	case own:
		p.checkAuth(d, path, a)
	case !foreign:
		d.add(path, "must have %s", p.takes)
	}
}

func (d *decoder) orationAuth(path string, _ Auth) {
	key, workspace, bearer := path+".api_key", path+".workspace_id", path+".bearer"
	switch {
	case d.has(bearer) && (d.has(key) || d.has(workspace)):
		d.add(path, "must have either api_key with workspace_id, or bearer")
	case !d.has(bearer) && !d.has(key) && !d.has(workspace):
		d.add(path, "must have api_key with workspace_id, or bearer")
	default:
		d.together(key, workspace)
	}
}

// anyreachAuth knows a person's token by its beginning: it is good for several
// organizations. One of an organization's own names it by itself.
func (d *decoder) anyreachAuth(path string, a Auth) {
	organization := path + ".organization"
	if !d.has(path + ".token") {
		d.add(path+".token", "is missing: it goes together with %s", organization)
	}
	if strings.HasPrefix(a.Token.Reveal(), "pat_") && !d.has(organization) {
		d.add(organization, "is missing: a token that begins with pat_ needs it")
	}
}

// twins reports blocks that are one workspace under two limits.
func (d *decoder) twins(f *file) {
	first := map[string]string{} // the workspace: what is to be said of its block
	for i, a := range f.Accounts {
		d.twin("accounts["+strconv.Itoa(i)+"]", "account", a.Name, a.Settings, first)
	}
	for i, path := range d.whole("lanes", len(f.Lanes)) {
		if l := f.Lanes[i]; !d.has(path + ".account") {
			d.twin(path, "lane", l.Name, l.Settings, first)
		}
	}
}

func (d *decoder) twin(path, kind, name string, s Settings, first map[string]string) {
	p := providerOf(s.Provider)
	if p == nil {
		return
	}
	here := fmt.Sprintf("%s %q on line %d", kind, clip(name), d.place(path).line)
	spaces := p.spaces(s.Auth)
	if d.blind() { // all look alike
		spaces = nil
	}
	for _, space := range spaces {
		key := p.name + "\n" + space
		if other, ok := first[key]; ok {
			d.add(path+".auth", "%s %q is the same %s as %s, and together they would pass its limit: "+
				"describe it once under accounts and let each lane name it", kind, clip(name), p.space, other)
		} else {
			first[key] = here
		}
	}
}
