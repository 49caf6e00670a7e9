package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tableSpec says how the rows of a table become events.
type tableSpec struct {
	eventType, source string    // of events whose columns have none
	maps              []mapping // as the person gave them
}

// mapping leads one column to one member of an event.
type mapping struct {
	to     string // "id", "data.phone", "priority"; "-" drops the column
	as     string // text, number or boolean
	column string // its header
}

// maxMap is how long a file of mappings may be, in bytes.
const maxMap = 64 << 10

// parseMaps reads what --map was given: member=Column, or the name of a YAML or
// JSON file of such pairs.
func parseMaps(args []string) ([]mapping, error) {
	var all []mapping
	for _, arg := range args {
		if to, column, ok := strings.Cut(arg, "="); ok {
			m, err := newMapping(to, column)
			if err != nil {
				return nil, fmt.Errorf("--map %s: %w", arg, err)
			}
			all = append(all, m)
			continue
		}
		pairs, err := readMaps(arg)
		if err != nil {
			return nil, fmt.Errorf("--map %s: %w", arg, err)
		}
		for _, to := range slices.Sorted(maps.Keys(pairs)) {
			m, err := newMapping(to, pairs[to])
			if err != nil {
				return nil, fmt.Errorf("--map %s: %s: %w", arg, to, err)
			}
			all = append(all, m)
		}
	}
	return all, nil
}

func readMaps(name string) (map[string]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("neither member=Column nor a file: %w", err)
	}
	if info.Size() > maxMap {
		return nil, fmt.Errorf("the file has %d bytes; %d at most are read", info.Size(), maxMap)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var pairs map[string]string
	if err := yaml.Unmarshal(text, &pairs); err != nil {
		return nil, fmt.Errorf("it must hold lines such as data.phone: Phone Number: %w", err)
	}
	return pairs, nil
}

// members of an event that a column may become.
var (
	dataMember = regexp.MustCompile(`^data(\.[A-Za-z0-9_-]+)+$`)
	attribute  = regexp.MustCompile(`^[a-z0-9]{1,20}$`)
)

// reservedMembers cannot be a column's: weir sets them.
var reservedMembers = []string{"specversion", "datacontenttype", "dataschema", "data"}

func newMapping(to, column string) (mapping, error) {
	m := mapping{to: strings.TrimSpace(to), as: "text", column: strings.TrimSpace(column)}
	if name, as, ok := strings.Cut(m.to, ":"); ok {
		m.to, m.as = name, as
	}
	switch {
	case m.column == "":
		return m, errors.New("which column? give its header after =")
	case !slices.Contains([]string{"text", "number", "boolean"}, m.as):
		return m, fmt.Errorf("%q is no kind of value; it is text, number or boolean", m.as)
	case m.to == "-":
	case slices.Contains(reservedMembers, m.to), !dataMember.MatchString(m.to) && !attribute.MatchString(m.to):
		return m, fmt.Errorf("%q is no member that a column may become: give data.NAME, or an attribute such as id, time, subject or priority", m.to)
	case m.as != "text" && !dataMember.MatchString(m.to):
		return m, fmt.Errorf("the attribute %s is always text", m.to)
	}
	return m, nil
}

// usual are the members that columns with common headers become, by the header
// without spaces, case and signs.
var usual = map[string]string{
	"firstname": "data.first_name", "givenname": "data.first_name", "vorname": "data.first_name",
	"lastname": "data.last_name", "surname": "data.last_name", "familyname": "data.last_name", "nachname": "data.last_name",
	"phone": "data.phone", "phonenumber": "data.phone", "telephone": "data.phone", "telephonenumber": "data.phone",
	"mobile": "data.phone", "mobilephone": "data.phone", "tel": "data.phone", "telefon": "data.phone", "telefonnummer": "data.phone",
	"email": "data.email", "emailaddress": "data.email", "mail": "data.email",
	"company": "data.company", "companyname": "data.company", "organization": "data.company", "organisation": "data.company", "firma": "data.company",
	"id": "data.id", "leadid": "data.id", "recordid": "data.id",
}

var (
	signs = regexp.MustCompile(`[^\pL\pN]+`)
	words = regexp.MustCompile(`[^a-z0-9]+`)
)

// column is one column of a table.
type column struct {
	header string
	to     []mapping // what it becomes; nothing: it is dropped
	guess  bool      // by its header alone
}

// columnPlan says what each column becomes, and where the events' ids come from.
type columnPlan struct {
	columns  []column
	idFrom   string // header of the column with the event's id; empty: derived from the row
	wantData bool   // the data needs an id: that of the event
}

// mostColumns is how many columns a table may have. Spreadsheets have 16,384, and
// each of them would become a member of an event.
const mostColumns = 1000

// newColumnPlan decides by the headers. What the person maps goes before what a header
// suggests; any other column becomes a member of data that is called as its header.
func newColumnPlan(headers []string, spec tableSpec) (columnPlan, error) {
	if len(headers) > mostColumns {
		return columnPlan{}, fmt.Errorf("the header line has %d cells; a table has at most %d columns", len(headers), mostColumns)
	}
	p := columnPlan{columns: make([]column, len(headers))}
	var errs []error
	at := make(map[string]int) // by header
	for i, h := range headers {
		p.columns[i].header = h
		if first, ok := at[h]; ok && h != "" {
			errs = append(errs, fmt.Errorf("columns %d and %d are both called %q", first+1, i+1, clean(h)))
		}
		at[h] = i
	}
	taken := make(map[string]string) // header, by member
	take := func(i int, m mapping) {
		if other, ok := taken[m.to]; ok {
			errs = append(errs, fmt.Errorf("columns %q and %q both become %s; map one of them to something else, or drop it with --map=%q", other, m.column, m.to, "-="+m.column))
			return
		}
		taken[m.to] = m.column
		p.columns[i].to = append(p.columns[i].to, m)
	}
	mapped := make(map[int]bool)
	for _, m := range spec.maps {
		i, ok := at[m.column]
		if !ok {
			errs = append(errs, fmt.Errorf("there is no column %q; the columns are: %s", m.column, clean(strings.Join(headers, ", "))))
			continue
		}
		if mapped[i] = true; m.to != "-" {
			take(i, m)
		}
	}
	for i, h := range headers {
		if mapped[i] || h == "" {
			continue
		}
		p.columns[i].guess = true
		to := suggest(h)
		if _, ok := taken[to]; ok { // a second number, say, has its own name
			to = ownName(h)
		}
		take(i, mapping{to: to, as: "text", column: h})
	}
	p.idFrom = taken["id"]
	if p.idFrom == "" && taken["data.id"] != "" { // a lead's id names its event
		p.idFrom = taken["data.id"]
		i := at[p.idFrom]
		p.columns[i].to = append(p.columns[i].to, mapping{to: "id", as: "text", column: p.idFrom})
	}
	p.wantData = taken["data.id"] == ""
	for _, to := range slices.Sorted(maps.Keys(taken)) {
		for other := range taken {
			if strings.HasPrefix(other, to+".") {
				errs = append(errs, fmt.Errorf("%s cannot be both a value and hold %s", to, other))
			}
		}
	}
	if spec.source == "" && taken["source"] == "" {
		errs = append(errs, errors.New("give --source, such as --source /import/spring-fair: source and id together are the event for ever, and the same list published again must have the same"))
	}
	return p, errors.Join(errs...)
}

// suggest is the member that a header stands for.
func suggest(header string) string {
	if to, ok := usual[signs.ReplaceAllString(strings.ToLower(header), "")]; ok {
		return to
	}
	return ownName(header)
}

// ownName is the member of data that is called as the column.
func ownName(header string) string {
	name := strings.Trim(words.ReplaceAllString(strings.ToLower(header), "_"), "_")
	if name == "" {
		name = "column"
	}
	return "data." + name
}

// value is a cell as a member of an event.
func (m mapping) value(cell string) (any, error) {
	switch m.as {
	case "number":
		if _, err := strconv.ParseFloat(cell, 64); err != nil || !number.MatchString(cell) {
			return nil, fmt.Errorf("column %q: %s must be a number such as 12.5", m.column, m.to)
		}
		return jsonNumber(cell), nil
	case "boolean":
		switch strings.ToLower(cell) {
		case "true", "yes", "1":
			return true, nil
		case "false", "no", "0":
			return false, nil
		}
		return nil, fmt.Errorf("column %q: %s must be true, false, yes, no, 1 or 0", m.column, m.to)
	default:
		return cell, nil
	}
}

// number is what JSON takes for one.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// jsonNumber is a number as it was written.
type jsonNumber string

// MarshalJSON implements json.Marshaler.
func (n jsonNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil } //nolint:unparam // as the interface has it
