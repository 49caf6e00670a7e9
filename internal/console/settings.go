package console

import "context"

// Settings is what the page of the configuration reads.
type Settings interface {
	// InForce is the configuration that this process runs with. No secret is in it, and
	// nothing of a person.
	InForce(ctx context.Context) (Configuration, error)
}

// Configuration is what is in force.
type Configuration struct {
	File   string // the path of weir.yaml
	Blocks []Block
}

// Block is one part of it, such as a lane.
type Block struct {
	Title string
	Lines []Setting
}

// Setting is one line: where it stands in weir.yaml, and what holds.
type Setting struct{ Path, Value string }

// settingsPages are the pages of the configuration.
func (c *Console) settingsPages() []entry {
	return []entry{{path: "/configuration", nav: "Configuration", show: c.showSettings}}
}

// settingsView is the page of the configuration.
type settingsView struct {
	File, Version string
	Blocks        []settingsBlock
}

type settingsBlock struct {
	Title string
	Table *table
}

func (c *Console) showSettings(ctx context.Context, _ *visit) (view, error) {
	in, err := c.desks.Settings.InForce(ctx)
	if err != nil {
		return view{}, err
	}
	shown := settingsView{File: in.File, Version: c.cfg.Version}
	for _, b := range in.Blocks {
		t := &table{Caption: "What holds", Head: []string{"Key", "Value"}, Empty: "Nothing is set."}
		for _, l := range b.Lines {
			t.Rows = append(t.Rows, []cell{{Text: l.Path, Class: "mono"}, {Text: clip(l.Value, 2000), Class: "mono wide"}})
		}
		shown.Blocks = append(shown.Blocks, settingsBlock{b.Title, t})
	}
	return view{Template: "settings", Title: "Configuration", Data: shown}, nil
}
