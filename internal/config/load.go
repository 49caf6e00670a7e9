package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the file: some thousand lanes.
const maxFile = 1 << 20

// file is weir.yaml as it is written.
type file struct {
	Broker   *brokerBlock  `yaml:"broker"`
	Embedded *Embedded     `yaml:"embedded"`
	Gateway  *Gateway      `yaml:"gateway"`
	Console  *Console      `yaml:"console"`
	Admin    Admin         `yaml:"admin"`
	Ledger   *Ledger       `yaml:"ledger"`
	Events   *Events       `yaml:"events"`
	Dead     *Dead         `yaml:"dead"`
	Outcomes *ToldOutcomes `yaml:"outcomes"`
	Blocks   *Blocks       `yaml:"do_not_contact"`
	Schemas  []Schema      `yaml:"schemas"`
	Traces   *Traces       `yaml:"traces"`
	Accounts []Account     `yaml:"accounts"`
	Lanes    []laneBlock   `yaml:"lanes"`
}

// Load reads and checks the file at path. A file that was read but is not
// right is a [Problems].
func Load(path string, getenv func(string) string) (*Config, error) {
	return load(path, getenv, everySecret)
}

// LoadBroker is Load for a command that talks to the broker alone: it checks
// everything, but looks up no secret outside broker and embedded, which the
// command's user need not have. Those of the accounts stay empty.
func LoadBroker(path string, getenv func(string) string) (*Config, error) {
	return load(path, getenv, brokerSecret)
}

// LoadBlocks is LoadBroker for a command that reads or writes the list of those who
// must not be contacted.
func LoadBlocks(path string, getenv func(string) string) (*Config, error) {
	return load(path, getenv, blocksSecret)
}

// LoadBlind is Load for a command that talks to nobody: it checks everything, but
// looks up no secret and no file, which the command's user need not have. Each
// credential of an account that is given is [Unseen].
func LoadBlind(path string, getenv func(string) string) (*Config, error) {
	return load(path, getenv, noSecret)
}

// Unseen stands for a credential that was not looked up.
const Unseen = "***"

// Parse is Load for data that was already read; name stands in the problems,
// and its folder is what paths in the file are relative to.
func Parse(name string, data []byte, getenv func(string) string) (*Config, error) {
	return parse(name, data, getenv, everySecret)
}

func everySecret(string) bool { return true }

// noSecret wants none. It is nil: the decoder asks for what is nobody's secret, too.
var noSecret func(string) bool

func brokerSecret(path string) bool {
	return strings.HasPrefix(path, "broker.") || strings.HasPrefix(path, "embedded.")
}

func blocksSecret(path string) bool {
	return brokerSecret(path) || strings.HasPrefix(path, "do_not_contact.")
}

func load(path string, getenv func(string) string, lookUp func(string) bool) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, data, getenv, lookUp)
}

func parse(name string, data []byte, getenv func(string) string, lookUp func(string) bool) (*Config, error) {
	d := &decoder{
		name: name, dir: filepath.Dir(name), getenv: getenv, lookUp: lookUp,
		places: map[string]place{}, flagged: map[string]bool{},
	}
	var cfg *Config
	if root := d.document(data); root != nil {
		var f file
		d.into("", root, reflect.ValueOf(&f).Elem())
		if !d.flagged[""] { // nothing was read of what is no block
			cfg = d.assemble(&f)
		}
	}
	if len(d.found) == 0 {
		cfg.File = name
		return cfg, nil
	}
	found := d.found.sorted()
	if d.dropped > 0 {
		found = append(found, Problem{File: name, Text: fmt.Sprintf("and %d more problems", d.dropped)})
	}
	return nil, found
}

// document returns the root of the one document in data, or nil after a
// problem.
func (d *decoder) document(data []byte) *yaml.Node {
	if len(data) > maxFile {
		d.addAt(place{}, "", "is larger than %v", Size(maxFile))
		return nil
	}
	in := yaml.NewDecoder(bytes.NewReader(data))
	first, err := read(in)
	switch {
	case errors.Is(err, io.EOF):
		d.addAt(place{}, "", "is empty")
		return nil
	case err != nil:
		d.unreadable(err)
		return nil
	}
	second, err := read(in)
	switch {
	case err == nil:
		d.addAt(place{second.Line, second.Column}, "", "a second document begins here: only one is read")
	case !errors.Is(err, io.EOF):
		d.unreadable(err)
	}
	return first.Content[0]
}

// read returns the next document. The parser has panicked on strange input
// before; a reload must not end the process.
func read(in *yaml.Decoder) (n *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the YAML parser gave up")
		}
	}()
	n = &yaml.Node{}
	if err := in.Decode(n); err != nil {
		return nil, err
	}
	return n, nil
}

var (
	parserWords = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	repeated    = regexp.MustCompile(`'[A-Za-z0-9_-]{2,}'`)
)

// unreadable reports what the YAML parser says, without what it repeats of the
// file: an unknown alias may be a password that begins with an asterisk.
func (d *decoder) unreadable(err error) {
	text := err.Error()
	var at place
	if m := parserWords.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		at.line, _ = strconv.Atoi(m[1]) // no line stays zero
	}
	d.addAt(at, "", "is not YAML: %s", repeated.ReplaceAllString(text, "'...'"))
}

// assemble checks what was read and makes the Config of it.
func (d *decoder) assemble(f *file) *Config {
	cfg := &Config{Admin: f.Admin}
	d.checkAdmin(f.Admin)
	d.checkTraces(f.Traces)
	cfg.Traces = f.Traces
	d.keeps(f, cfg)
	if f.Blocks != nil {
		d.checkBlocks(f.Blocks)
		cfg.Blocks = *f.Blocks
	}
	if f.Gateway != nil {
		d.checkGateway(f.Gateway, f.Lanes)
		cfg.Gateway = *f.Gateway
	}
	if f.Console != nil {
		d.checkConsole(f.Console, cfg.Gateway)
		cfg.Console = *f.Console
	}
	switch {
	case f.Broker != nil && f.Embedded != nil:
		d.add("embedded", "cannot stand beside broker: leave one of them out")
	case f.Broker != nil:
		d.checkBroker(f.Broker)
		cfg.Broker = &f.Broker.Broker
	default:
		if f.Embedded == nil {
			f.Embedded = &Embedded{}
			f.Embedded.defaults()
		}
		d.checkEmbedded(f.Embedded)
		cfg.Embedded = f.Embedded
	}
	cfg.Catalog = d.catalog(f.Schemas)
	cfg.Accounts = d.accounts(f)
	d.checkDeliveries(cfg)
	return cfg
}
