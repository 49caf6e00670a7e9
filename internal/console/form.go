package console

// form is what a visitor fills in, or a button alone. parts.html draws it.
type form struct {
	Action string
	Method string // "get" for a search; else post
	Button string
	Danger bool // what it does cannot be taken back
	Inline bool // on one line
	Hidden map[string]string
	Fields []field
	Error  string // of the whole
}

// field is one thing to fill in. Name is unique on its page unless ID is given.
type field struct {
	Name     string
	ID       string // default Name
	Label    string
	Kind     string // text (the default), password, search, area, select, check, datetime-local
	Value    string
	Help     string
	Error    string
	Required bool
	Checked  bool
	Max      int      // characters; 0: 1000
	Rows     int      // of an area
	Complete string   // autocomplete
	Options  []option // of a select
}

// option is one of a select.
type option struct {
	Value, Text string
	Chosen      bool
}

// Key is the id of the field's element.
func (f field) Key() string {
	if f.ID != "" {
		return f.ID
	}
	return f.Name
}

// Most is how many characters fit in.
func (f field) Most() int {
	if f.Max > 0 {
		return f.Max
	}
	return 1000
}

// Type is the type of an input.
func (f field) Type() string {
	if f.Kind == "" {
		return "text"
	}
	return f.Kind
}

// Wrong reports whether any of it is wrong.
func (f form) Wrong() bool {
	for _, field := range f.Fields {
		if field.Error != "" {
			return true
		}
	}
	return f.Error != ""
}

// table is a table, on a narrow screen a list of cards. parts.html draws it.
type table struct {
	Caption string   // what it is a list of, said to those who do not see it
	Head    []string // a column each
	Rows    [][]cell
	Empty   string // what is said if there is no row
	More    string // the address of what comes after these; empty: nothing
}

// cell is one of a row. The first of a row names it.
type cell struct {
	Text  string
	Sub   string // smaller, below
	Href  string
	Class string // num: to the right; mono: an id; state-…: a state's colour; wide: may take room
	Form  *form  // instead of the text
}
