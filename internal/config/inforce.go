package config

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// Setting is one line of a configuration: where it stands in the file, and what holds.
type Setting struct{ Path, Value string }

// Part is the settings of one block: an account, a lane, or one at the top.
type Part struct {
	Title    string
	Settings []Setting
}

// isSet stands for a secret: no more is told of it.
const isSet = "(set, not shown)"

// InForce returns what holds, with the defaults filled in and without what is empty.
// Of a secret it tells only that it is set, of an address that outcomes go to, whose
// path may be one, no more than the host; numbers and addresses that a text holds are
// masked. Only what has a name in the file is told, and only of types that are known
// here.
func (c *Config) InForce() []Part {
	var parts []Part
	add := func(title string, v any) {
		in := &inForce{}
		in.value(title, reflect.ValueOf(v))
		if len(in.lines) > 0 {
			parts = append(parts, Part{Title: title, Settings: in.lines})
		}
	}
	add("broker", c.Broker)
	add("embedded", c.Embedded)
	if c.Gateway.Listen != "" {
		add("gateway", c.Gateway)
	}
	if c.Console.Listen != "" {
		add("console", c.Console)
	}
	if c.Admin.Listen != "" {
		add("admin", c.Admin)
	}
	add("ledger", c.Ledger)
	add("events", c.Events)
	add("dead", c.Dead)
	add("outcomes", c.Outcomes)
	add("do_not_contact", c.Blocks)
	for _, ac := range c.Accounts {
		add("account "+ac.Name, ac)
		for _, lc := range ac.Lanes {
			in := &inForce{}
			in.value("lane "+lc.Name, reflect.ValueOf(lc))
			for i, r := range lc.Sources {
				at := fmt.Sprintf("lane %s.routes[%d]", lc.Name, i)
				in.value(at+".type", reflect.ValueOf(r.Type))
				in.value(at+".when", reflect.ValueOf(r.When))
				in.value(at+".request", reflect.ValueOf(r.Request))
				in.value(at+".passthrough", reflect.ValueOf(r.Passthrough))
			}
			parts = append(parts, Part{Title: "lane " + lc.Name, Settings: in.lines})
		}
	}
	for _, p := range parts {
		for i := range p.Settings { // below the title
			p.Settings[i].Path = strings.TrimPrefix(strings.TrimPrefix(p.Settings[i].Path, p.Title), ".")
		}
	}
	return parts
}

// inForce gathers settings.
type inForce struct{ lines []Setting }

func (in *inForce) line(path, value string) {
	if value != "" {
		in.lines = append(in.lines, Setting{path, value})
	}
}

// value adds what stands at a path.
func (in *inForce) value(path string, v reflect.Value) {
	if !v.IsValid() {
		return
	}
	if text, ok := scalarText(v); ok {
		in.line(path, text)
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			in.value(path, v.Elem())
		}
	case reflect.Struct:
		in.fields(path, v)
	case reflect.Slice:
		in.list(path, v)
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return
		}
		byName := make(map[string]reflect.Value)
		for _, k := range v.MapKeys() {
			byName[k.String()] = v.MapIndex(k)
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			in.value(path+"."+schema.Mask(name), byName[name])
		}
	}
}

// fields adds those of a struct that have a name in the file.
func (in *inForce) fields(path string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, inline := strings.CutSuffix(f.Tag.Get("yaml"), ",inline")
		switch {
		case !f.IsExported(), name == "-", name == "" && !inline:
		case inline:
			in.value(path, v.Field(i))
		case v.Type() == reflect.TypeFor[Outcomes]() && name == "url":
			in.line(path+"."+name, hostOf(v.Field(i).String()))
		default:
			in.value(path+"."+name, v.Field(i))
		}
	}
}

// list adds a list on one line where it can.
func (in *inForce) list(path string, v reflect.Value) {
	var texts []string
	for i := range v.Len() {
		text, ok := scalarText(v.Index(i))
		if !ok {
			for i := range v.Len() {
				in.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
			return
		}
		texts = append(texts, text)
	}
	in.line(path, strings.Join(texts, ", "))
}

// scalarText is a value as one text; empty if nothing is set.
func scalarText(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case schema.Secret:
		if x == "" {
			return "", true
		}
		return isSet, true
	case Token:
		switch {
		case x.File != "":
			return "{file: " + x.File + "} " + isSet, true
		case len(x.Values) > 0:
			return isSet, true
		}
		return "", true
	case time.Duration:
		return x.String(), true
	case Size:
		return x.String(), true
	case Date:
		if x.Year == 0 {
			return fmt.Sprintf("%02d-%02d", x.Month, x.Day), true
		}
		return fmt.Sprintf("%04d-%02d-%02d", x.Year, x.Month, x.Day), true
	}
	switch v.Kind() {
	case reflect.String:
		return schema.Mask(v.String()), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64), true
	default:
		return "", false
	}
}

// hostOf is an address up to its path.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return isSet
	}
	return u.Scheme + "://" + u.Host + "/…"
}
