package openapitest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// parameters returns the parameters of an operation. Those in its path are the
// ones that the path has, no more and no less.
func (b *builder) parameters(place, path string, nodes []parameterNode) []parameter {
	var all []parameter
	seen := map[string]bool{}
	for i, node := range nodes {
		p := b.parameter(place+pointer("parameters", strconv.Itoa(i)), node)
		key := p.in + " " + strings.ToLower(p.name)
		if seen[key] {
			b.problem(place, "there are two parameters %s", key)
		}
		seen[key] = true
		all = append(all, p)
		if p.in == "path" && !strings.Contains(path, "{"+p.name+"}") {
			b.problem(place, "the path has no {%s}", p.name)
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, ok := variable(segment)
		declared := slices.ContainsFunc(all, func(p parameter) bool { return p.in == "path" && p.name == name })
		if ok && !declared {
			b.problem(place, "the parameter {%s} of the path is not declared", name)
		}
	}
	return all
}

func (b *builder) parameter(place string, node parameterNode) parameter {
	if node.Ref != "" {
		name := local(node.Ref, "parameters")
		var ok bool
		if node, ok = b.doc.Components.Parameters[name]; !ok || node.Ref != "" {
			b.problem(place, "the reference does not resolve")
			return parameter{}
		}
		place = pointer("components", "parameters", name)
	}
	b.need(place, "name", node.Name)
	switch node.In {
	case "query", "header":
	case "path":
		if !node.Required {
			b.problem(place, "a parameter of the path is required always")
		}
	default:
		b.problem(place, "in is %q, not path, query or header", node.In)
	}
	return b.valued(place, node)
}

// header returns a header of an answer.
func (b *builder) header(place, name string, node parameterNode) parameter {
	if node.Ref != "" {
		component := local(node.Ref, "headers")
		var ok bool
		if node, ok = b.doc.Components.Headers[component]; !ok || node.Ref != "" {
			b.problem(place, "the reference does not resolve")
			return parameter{}
		}
		place = pointer("components", "headers", component)
	}
	if node.Name != "" || node.In != "" {
		b.problem(place, "a header has neither name nor in")
	}
	node.Name, node.In = name, "header"
	return b.valued(place, node)
}

// valued returns a parameter with its schema, which is there in one of two ways.
func (b *builder) valued(place string, node parameterNode) parameter {
	p := parameter{name: node.Name, in: node.In, required: node.Required}
	_, hasJSON := node.Content["application/json"]
	switch {
	case node.Schema != nil && len(node.Content) == 0:
		p.schema = b.schema(place+"/schema", node.Schema)
	case node.Schema == nil && len(node.Content) == 1 && hasJSON:
		p.json = true
		p.schema = b.content(place, node.Content)["application/json"]
	default:
		b.problem(place, "it needs a schema, or a content of application/json alone")
	}
	return p
}

// security returns the alternatives of an operation.
func (b *builder) security(place string, node *operating) []alternative {
	all := b.doc.Security
	if node.Security != nil {
		all = node.Security
	}
	var out []alternative
	for _, names := range all {
		var a alternative
		for _, name := range sorted(names) {
			if _, ok := b.doc.Components.Security[name]; !ok {
				b.problem(place, "security names %s, which is no scheme", name)
				continue
			}
			a = append(a, b.scheme(name))
		}
		out = append(out, a)
	}
	return out
}

// scheme returns a security scheme.
func (b *builder) scheme(name string) scheme {
	node := b.doc.Components.Security[name]
	place := pointer("components", "securitySchemes", name)
	switch {
	case node.Type == "http" && node.Scheme == "bearer":
		return scheme{name: name, header: "Authorization", token: b.pattern(place, node.TokenPattern)}
	case node.Type == "apiKey" && node.In == "header" && node.Name != "":
		return scheme{name: name, header: node.Name}
	}
	b.problem(place, "it is neither a bearer token nor a key in a header")
	return scheme{}
}

// pattern returns what a token looks like.
func (b *builder) pattern(place, text string) *regexp.Regexp {
	if text == "" {
		return anyToken
	}
	re, err := regexp.Compile(text)
	if err != nil {
		b.problem(place, "x-token-pattern: %v", err)
		return anyToken
	}
	return re
}
