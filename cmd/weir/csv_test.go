package main

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is what a test expects of one row: its event's members, or an error.
type row struct {
	Place, Event, Err string
	Fatal             bool
}

// readTable reads a table, whose plan is told as text.
func readTable(t *testing.T, text, source string, maps ...string) (got []row, told string) {
	t.Helper()
	all, err := parseMaps(maps)
	if err != nil {
		t.Fatal(err)
	}
	br, start := unmarked(strings.NewReader(text))
	spec := tableSpec{eventType: "lead.created", source: source, maps: all}
	tell := func(delimiter rune, p columnPlan) {
		told = string(delimiter) + " " + p.idFrom
		for _, c := range p.columns {
			told += "|" + c.header + ">"
			for _, m := range c.to {
				told += m.to + " "
			}
		}
	}
	for m, err := range rows("a.csv", br, start, false, spec, tell) {
		r := row{Place: m.place, Event: string(m.body)}
		if err != nil {
			_, isFatal := errors.AsType[fatal](err)
			r = row{Place: m.place, Err: err.Error(), Fatal: isFatal}
		}
		got = append(got, r)
	}
	return got, told
}

func lead1(more string) string {
	return `{"data":{"first_name":"Ana","id":"7","phone":"+49 0171"},"datacontenttype":"application/json","id":"7","source":"/x",` + more + `"specversion":"1.0","type":"lead.created"}`
}

func TestTables(t *testing.T) {
	t.Parallel()
	plain := []row{{Place: "a.csv:2", Event: lead1("")}}
	for _, tt := range []struct {
		name, text string
		maps       []string
		want       []row
		told       string
	}{
		{"comma", "ID,First name,Phone\n7,Ana,+49 0171\n", nil, plain, ", ID|ID>data.id id |First name>data.first_name |Phone>data.phone "},
		{"semicolon, byte order mark, CRLF", "\ufeffID;Vorname;Telefon\r\n7;Ana;+49 0171\r\n", nil, plain, "; ID|ID>data.id id |Vorname>data.first_name |Telefon>data.phone "},
		{"tab, no last line break, blanks", "ID\tFirst name \tPhone\n7\tAna\t +49 0171 ", nil, plain, "\t ID|ID>data.id id |First name>data.first_name |Phone>data.phone "},
		{"a delimiter inside quotes does not count", "\"ID\",\"First;;; name\",Phone\n7,Ana,+49 0171\n", []string{"data.first_name=First;;; name"}, plain, ", ID|ID>data.id id |First;;; name>data.first_name |Phone>data.phone "},
		{"mapped, typed, dropped, an attribute", "Nr,Nummer,Score,OK,Prio,Notes\n7,0012,1.50,yes,high,x\n",
			[]string{"id=Nr", "data.n.x=Nummer", "data.score:number=Score", "data.ok:boolean=OK", "priority=Prio", "-=Notes"},
			[]row{{Place: "a.csv:2", Event: `{"data":{"id":"7","n":{"x":"0012"},"ok":true,"score":1.50},"datacontenttype":"application/json","id":"7","priority":"high","source":"/x","specversion":"1.0","type":"lead.created"}`}},
			", Nr|Nr>id |Nummer>data.n.x |Score>data.score |OK>data.ok |Prio>priority |Notes>"},
		{"a second telephone has its own name", "ID,Phone,Mobile\n7,1,2\n", nil,
			[]row{{Place: "a.csv:2", Event: `{"data":{"id":"7","mobile":"2","phone":"1"},"datacontenttype":"application/json","id":"7","source":"/x","specversion":"1.0","type":"lead.created"}`}},
			", ID|ID>data.id id |Phone>data.phone |Mobile>data.mobile "},
		{"line breaks in quotes, empty rows and cells", "ID,Note,Phone\n1,\"a\nb\",\n\n,,\n2,,3\n", nil, []row{
			{Place: "a.csv:2", Event: `{"data":{"id":"1","note":"a\nb"},"datacontenttype":"application/json","id":"1","source":"/x","specversion":"1.0","type":"lead.created"}`},
			{Place: "a.csv:6", Event: `{"data":{"id":"2","phone":"3"},"datacontenttype":"application/json","id":"2","source":"/x","specversion":"1.0","type":"lead.created"}`},
		}, ", ID|ID>data.id id |Note>data.note |Phone>data.phone "},
		{"bad rows do not keep the others", "ID,Age,Phone\n1,x,1\n2,3\n3,4,5,6\n,4,5\n5,\"6\"7,8\n6,07,1\n7,8,9\n", []string{"data.age:number=Age"}, []row{
			{Place: "a.csv:2", Err: `column "Age": data.age must be a number such as 12.5`},
			{Place: "a.csv:3", Err: "the row has 2 cells, and the header 3"},
			{Place: "a.csv:4", Err: "the row has 4 cells, and the header 3: is a cell with the delimiter in it not in quotes?"},
			{Place: "a.csv:5", Err: `column "ID" is empty, and the event's id comes from it`},
			{Place: "a.csv:6", Err: "a quote that is opened in this row is not closed, or a letter follows a closing one"},
			{Place: "a.csv:7", Err: `column "Age": data.age must be a number such as 12.5`},
			{Place: "a.csv:8", Event: `{"data":{"age":8,"id":"7","phone":"9"},"datacontenttype":"application/json","id":"7","source":"/x","specversion":"1.0","type":"lead.created"}`},
		}, ", ID|ID>data.id id |Age>data.age |Phone>data.phone "},
		{"Latin-1", "ID,Name\n1,Ana\n2,J\xfcrgen\n", nil, []row{
			{Place: "a.csv", Err: "line 3 is not UTF-8 (the file may be Latin-1): convert it with iconv -f LATIN1 -t UTF-8, or save it as CSV UTF-8", Fatal: true},
		}, ""},
		{"UTF-16", "\xff\xfeI\x00D\x00", nil, []row{{Place: "a.csv", Err: "the file is UTF-16; save it as UTF-8 (in a spreadsheet: CSV UTF-8)", Fatal: true}}, ""},
		{"empty", "", nil, []row{{Place: "a.csv", Err: "the table has no header line", Fatal: true}}, ""},
		{"columns that clash", "ID,A,A,data b\n", []string{"data.x=B", "data.y=A", "data.y.z=data b"}, []row{{Place: "a.csv:1", Fatal: true,
			Err: "columns 2 and 3 are both called \"A\"\nthere is no column \"B\"; the columns are: ID, A, A, data b\ndata.y cannot be both a value and hold data.y.z"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, told := readTable(t, tt.text, "/x", tt.maps...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if told != tt.told {
				t.Errorf("plan: got %q, want %q", told, tt.told)
			}
		})
	}
}

// TestRowIDs: the same row is the same event wherever it stands, and a changed one
// is another.
func TestRowIDs(t *testing.T) {
	t.Parallel()
	got, _ := readTable(t, "Phone,Name\n1,Ana\n2,Ben\n1,Ana\n1,Ann\n", "/x")
	moved, _ := readTable(t, "Phone;Name\n\"1\";Ana\n", "/x")
	other, _ := readTable(t, "Phone,Name\n1,Ana\n", "/y")
	if len(got) != 4 || !strings.Contains(got[0].Event, `"id":"row-`) || strings.Count(got[0].Event, `"id":"row-`) != 2 {
		t.Fatalf("got %+v, want four events with an id of their own", got)
	}
	if got[0].Event != got[2].Event || got[0].Event != moved[0].Event {
		t.Error("the same row: got two events")
	}
	if got[0].Event == got[1].Event || got[0].Event == got[3].Event || got[0].Event == other[0].Event {
		t.Error("another row, or source: got the same event")
	}
}

func TestTablesNeedASource(t *testing.T) {
	t.Parallel()
	got, _ := readTable(t, "ID\n1\n", "")
	if len(got) != 1 || !got[0].Fatal || !strings.Contains(got[0].Err, "give --source, such as --source /import/spring-fair") {
		t.Errorf("got %+v, want an error", got)
	}
	if got, _ = readTable(t, "ID,From\n1,/a\n", "", "source=From"); len(got) != 1 || !strings.Contains(got[0].Event, `"source":"/a"`) {
		t.Errorf("got %+v, want the source of the column", got)
	}
}

// TestTablesAreBounded: a quote that is never closed does not take the file into
// memory.
func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	got, _ := readTable(t, "ID,Name\n1,\""+strings.Repeat("x\n", maxLine), "/x")
	if len(got) != 1 || !got[0].Fatal || !strings.Contains(got[0].Err, "is a quote not closed?") {
		t.Errorf("got %.200v, want an error", got)
	}
}

func TestMaps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &plant{yaml: dir + "/weir.yaml"}
	yaml := p.file(t, "map.yaml", "data.phone: Phone = Number", "id: Nr")
	got, err := parseMaps([]string{yaml, "data.n:number=A=B"})
	want := []mapping{{"data.phone", "text", "Phone = Number"}, {"id", "text", "Nr"}, {"data.n", "number", "A=B"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for arg, says := range map[string]string{
		"data.phone=":         "which column?",
		"data.n:date=A":       `"date" is no kind of value`,
		"data=A":              `"data" is no member that a column may become`,
		"specversion=A":       "is no member",
		"Phone=A":             "is no member",
		"time:number=A":       "the attribute time is always text",
		dir + "/nosuch":       "neither member=Column nor a file",
		p.file(t, "b", "- x"): "it must hold lines such as data.phone: Phone Number",
	} {
		if _, err := parseMaps([]string{arg}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("--map %s: got %v, want %q", arg, err, says)
		}
	}
}

// TestATableHasNotTooManyColumns is refused at once: each pair of columns is compared.
func TestATableHasNotTooManyColumns(t *testing.T) {
	t.Parallel()
	var header strings.Builder
	for i := range 300_000 {
		header.WriteString("c" + strconv.Itoa(i) + ",")
	}
	got, _ := readTable(t, header.String()+"x\n1\n", "/x")
	if len(got) != 1 || !got[0].Fatal || !strings.Contains(got[0].Err, "a table has at most 1000 columns") {
		t.Errorf("got %.300v, want it refused", got)
	}
}
