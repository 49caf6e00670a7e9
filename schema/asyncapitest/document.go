package asyncapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// document is the form of a file, as far as it is used. Keys that it does not
// name are refused.
type document struct {
	AsyncAPI    string                    `yaml:"asyncapi"`
	ID          string                    `yaml:"id"`
	Info        infoNode                  `yaml:"info"`
	ContentType string                    `yaml:"defaultContentType"`
	Servers     map[string]serverNode     `yaml:"servers"`
	Channels    map[string]*channelNode   `yaml:"channels"`
	Operations  map[string]*operationNode `yaml:"operations"`
	Components  struct {
		Parameters map[string]*parameterNode `yaml:"parameters"`
		Messages   map[string]*messageNode   `yaml:"messages"`
		Schemas    map[string]*schemaNode    `yaml:"schemas"`
	} `yaml:"components"`
}

type infoNode struct {
	Title       string `yaml:"title"`
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
	License     struct {
		Name string `yaml:"name"`
		URL  string `yaml:"url"`
	} `yaml:"license"`
}

type serverNode struct {
	Host        string `yaml:"host"`
	Protocol    string `yaml:"protocol"`
	Description string `yaml:"description"`
}

// reference leads to another part of the document.
type reference struct {
	Ref string `yaml:"$ref"`
}

type channelNode struct {
	Address    *string              `yaml:"address"`
	Summary    string               `yaml:"summary"`
	Unseen     string               `yaml:"x-weir-unseen"`
	Parameters map[string]reference `yaml:"parameters"`
	Messages   map[string]reference `yaml:"messages"`
}

type operationNode struct {
	Action  string    `yaml:"action"`
	Channel reference `yaml:"channel"`
	Summary string    `yaml:"summary"`
	Reply   *struct {
		Channel  reference   `yaml:"channel"`
		Messages []reference `yaml:"messages"`
	} `yaml:"reply"`
}

type parameterNode struct {
	Description string `yaml:"description"`
	Pattern     string `yaml:"x-pattern"`
}

type messageNode struct {
	Summary     string     `yaml:"summary"`
	ContentType string     `yaml:"contentType"`
	Headers     *reference `yaml:"headers"`
	Payload     *reference `yaml:"payload"`
	Examples    []struct {
		Headers map[string]string `yaml:"headers"`
		Payload any               `yaml:"payload"`
	} `yaml:"examples"`
}

type schemaNode struct {
	Format string `yaml:"schemaFormat"`
	Schema any    `yaml:"schema"`
}

// format is that of every schema.
const format = "application/schema+json;version=draft-2020-12"

// resource is the document's address among the schemas.
const resource = "async:///document.yaml"

// Load reads a document. What is wrong with it ends the test.
func Load(t testing.TB, path string) *Document {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("load document: %v", err)
	}
	d, err := Parse(source, os.DirFS(filepath.Dir(path)))
	if err != nil {
		t.Fatalf("load %s:\n%v", filepath.Base(path), err)
	}
	return d
}

// Parse reads a document; files has the schemas beside it. The error joins all that
// is wrong.
func Parse(source []byte, files fs.FS) (*Document, error) {
	var doc document
	dec := yaml.NewDecoder(bytes.NewReader(source))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(source, &tree); err != nil {
		return nil, err
	}
	raw, err := plain(tree)
	if err != nil {
		return nil, err
	}
	b := &builder{doc: &doc, used: map[string]bool{}, compiler: jsonschema.NewCompiler(), out: &Document{
		channels: map[string]*channel{}, replies: map[string][]string{}, raw: raw,
	}}
	b.compiler.DefaultDraft(jsonschema.Draft2020)
	b.compiler.AssertFormat()
	b.compiler.AssertContent()
	b.compiler.UseLoader(beside{files})
	if err := b.compiler.AddResource(resource, raw); err != nil {
		return nil, err
	}
	b.build()
	if len(b.problems) > 0 {
		slices.Sort(b.problems)
		return nil, errors.New(strings.Join(b.problems, "\n"))
	}
	return b.out, nil
}

// beside loads the files beside a document, and nothing else.
type beside struct{ files fs.FS }

func (l beside) Load(address string) (any, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "async" {
		return nil, fmt.Errorf("%s is no file beside the document", address)
	}
	f, err := l.files.Open(strings.TrimPrefix(u.Path, "/"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// builder makes a Document of a document.
type builder struct {
	doc      *document
	compiler *jsonschema.Compiler
	used     map[string]bool // references that were followed
	problems []string
	out      *Document
}

func (b *builder) problem(place, text string, args ...any) {
	b.problems = append(b.problems, place+": "+fmt.Sprintf(text, args...))
}

// follow returns the last step of a reference that begins so.
func (b *builder) follow(place string, r reference, beginning string) string {
	name, ok := strings.CutPrefix(r.Ref, beginning)
	if !ok || name == "" {
		b.problem(place, "refers to %q, not to %s…", r.Ref, beginning)
		return ""
	}
	b.used[r.Ref] = true
	return name
}

const (
	toChannels   = "#/channels/"
	toParameters = "#/components/parameters/"
	toMessages   = "#/components/messages/"
	toSchemas    = "#/components/schemas/"
)

func (b *builder) build() {
	d := b.doc
	if d.AsyncAPI != "3.0.0" || d.ID == "" || d.Info.Title == "" || d.Info.Version == "" || d.Info.License.Name == "" || d.Info.License.URL == "" || len(d.Servers) == 0 {
		b.problem("#", "asyncapi must be 3.0.0, and id, info with title, version and license, and servers must be there")
	}
	for name, s := range d.Servers {
		if s.Host == "" || s.Protocol == "" || s.Description == "" {
			b.problem("#/servers/"+name, "needs host, protocol and description")
		}
	}
	messages := map[string]*message{}
	for name, m := range d.Components.Messages {
		messages[name] = b.message(toMessages+name, m)
	}
	for name, c := range d.Channels {
		b.out.channels[name] = b.channel(toChannels+name, c, messages)
	}
	for name, o := range d.Operations {
		b.operation("#/operations/"+name, o)
	}
	for name, s := range d.Components.Schemas {
		if s.Format != format {
			b.problem(toSchemas+name, "schemaFormat is %q, not %q", s.Format, format)
		}
		b.keywords(toSchemas+name+"/schema", s.Schema)
	}
	b.unused()
}

// unused finds what nothing refers to.
func (b *builder) unused() {
	for list, names := range map[string][]string{
		toChannels:   slices.Collect(maps.Keys(b.doc.Channels)),
		toParameters: slices.Collect(maps.Keys(b.doc.Components.Parameters)),
		toMessages:   slices.Collect(maps.Keys(b.doc.Components.Messages)),
		toSchemas:    slices.Collect(maps.Keys(b.doc.Components.Schemas)),
	} {
		for _, name := range names {
			if !b.used[list+name] {
				b.problem(list+name, "nothing refers to it")
			}
		}
	}
}

func (b *builder) channel(place string, n *channelNode, messages map[string]*message) *channel {
	c := &channel{unseen: n.Unseen, messages: map[string]*message{}}
	if n.Summary == "" || len(n.Messages) == 0 {
		b.problem(place, "needs a summary and messages")
	}
	for key, r := range n.Messages {
		name := b.follow(place+"/messages/"+key, r, toMessages)
		if c.messages[key] = messages[name]; messages[name] == nil {
			b.problem(place+"/messages/"+key, "%s is not there", r.Ref)
			delete(c.messages, key)
		}
	}
	if n.Address != nil {
		c.address = b.address(place, *n.Address, n.Parameters)
	}
	return c
}

var variable = regexp.MustCompile(`\{([^}]*)\}`)

// address turns an address into a pattern of subjects.
func (b *builder) address(place, address string, parameters map[string]reference) *regexp.Regexp {
	left := maps.Clone(parameters)
	var pattern strings.Builder
	at := 0
	for _, m := range variable.FindAllStringSubmatchIndex(address, -1) {
		pattern.WriteString(regexp.QuoteMeta(address[at:m[0]]))
		name := address[m[2]:m[3]]
		at = m[1]
		p := b.doc.Components.Parameters[b.follow(place+"/parameters/"+name, left[name], toParameters)]
		delete(left, name)
		if p == nil || p.Description == "" || p.Pattern == "" {
			b.problem(place+"/parameters/"+name, "is not there, or has no description or x-pattern")
			continue
		}
		pattern.WriteString("(?:" + p.Pattern + ")")
	}
	pattern.WriteString(regexp.QuoteMeta(address[at:]))
	for name := range left {
		b.problem(place+"/parameters/"+name, "is not in the address")
	}
	re, err := regexp.Compile("^" + pattern.String() + "$")
	if err != nil {
		b.problem(place, "%v", err)
	}
	return re
}

func (b *builder) operation(place string, n *operationNode) {
	if n.Action != "send" && n.Action != "receive" {
		b.problem(place, "action is %q, not send or receive", n.Action)
	}
	name := b.follow(place+"/channel", n.Channel, toChannels)
	if b.doc.Channels[name] == nil {
		b.problem(place+"/channel", "%s is not there", n.Channel.Ref)
	}
	if n.Reply == nil {
		return
	}
	reply := b.follow(place+"/reply/channel", n.Reply.Channel, toChannels)
	c := b.doc.Channels[reply]
	if c == nil || len(n.Reply.Messages) == 0 {
		b.problem(place+"/reply", "needs a channel that is there, and messages")
		return
	}
	for _, m := range n.Reply.Messages {
		key := b.follow(place+"/reply/messages", m, toChannels+reply+"/messages/")
		if _, ok := c.Messages[key]; !ok {
			b.problem(place+"/reply/messages", "%s is not there", m.Ref)
		}
	}
	b.out.replies[name] = append(b.out.replies[name], reply)
}

func (b *builder) message(place string, n *messageNode) *message {
	kind := n.ContentType
	if kind == "" {
		kind = b.doc.ContentType
	}
	m := &message{
		isJSON:  strings.HasSuffix(kind, "json"),
		headers: b.schema(place+"/headers", n.Headers), payload: b.schema(place+"/payload", n.Payload),
	}
	if n.Payload == nil {
		b.problem(place, "needs a payload")
	}
	for i, e := range n.Examples {
		header := make(map[string][]string)
		for name, value := range e.Headers {
			header[name] = []string{value}
		}
		payload, err := json.Marshal(e.Payload)
		if err == nil {
			err = m.check(header, payload)
		}
		if err != nil {
			b.problem(fmt.Sprintf("%s/examples/%d", place, i), "%v", err)
		}
	}
	return m
}

// schema compiles the schema that a reference leads to.
func (b *builder) schema(place string, r *reference) *jsonschema.Schema {
	if r == nil {
		return nil
	}
	name := b.follow(place, *r, toSchemas)
	if b.doc.Components.Schemas[name] == nil {
		b.problem(place, "%s is not there", r.Ref)
		return nil
	}
	s, err := b.compiler.Compile(resource + toSchemas + name + "/schema")
	if err != nil {
		b.problem(place, "%v", err)
	}
	return s
}
