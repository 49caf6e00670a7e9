package schema

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Bounds of one expression. Without loops, variables and growing ranges its
// work is at most its nodes times the size of the event.
const (
	maxSource = 4096     // bytes of source
	maxNodes  = 500      // of its syntax tree
	maxMemory = 10_000   // elements of the lists and maps that it makes
	maxText   = 1 << 20  // bytes of any text that it makes: four times an event
	maxResult = 16 << 20 // bytes of what it gives: twice the largest event that a lane may take
)

// expression is one compiled expression. It is safe for concurrent use.
type expression struct {
	source  string
	program *vm.Program
	names   []string   // those of the event that it reads
	paths   [][]string // the paths into the event that it reads, in its order
	told    []string   // the same, as Choose tells them
}

// compileExpression checks and compiles source; a condition must give true or
// false.
func compileExpression(source string, isCondition bool) (*expression, error) {
	switch {
	case source == "":
		return nil, errors.New("the expression is empty")
	case len(source) > maxSource:
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxSource)
	}
	// Once as it is written, for the types; then with what makes it safe.
	typed, err := expr.Compile(source, compileOptions(functions, isCondition)...)
	if err != nil {
		return nil, compileError(source, err)
	}
	g := &guard{}
	tree := typed.Node()
	ast.Walk(&tree, g)
	if err := g.verdict(); err != nil {
		return nil, compileError(source, err)
	}
	options := compileOptions(slices.Concat(functions, operators), false)
	program, err := expr.Compile(source, append(options, expr.Patch(lenient{}))...)
	if err != nil {
		return nil, compileError(source, err)
	}
	x := &expression{source: source, program: program, names: g.names, paths: readPaths(typed.Node())}
	for _, p := range x.paths {
		x.told = append(x.told, pathName(p))
	}
	return x, nil
}

func compileOptions(library []function, isCondition bool) []expr.Option {
	options := []expr.Option{
		expr.Env(names),
		expr.DisableAllBuiltins(),
		expr.Optimize(false), // its constants would be shared between requests
		expr.MaxNodes(maxNodes),
	}
	for _, f := range library {
		options = append(options, expr.Function(f.name, f.call, f.signature))
	}
	if isCondition {
		options = append(options, expr.AsBool())
	}
	return options
}

// compileError leaves out the picture that expr draws below its message.
func compileError(source string, err error) error {
	message := err.Error()
	if f, ok := errors.AsType[*file.Error](err); ok {
		message = f.Message
	}
	return fmt.Errorf("%s, in %s", firstLine(message), quote(source))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return clip(line, maxQuote)
}

// guard is a visitor that refuses what could run for long or use much memory,
// or what is not part of the language as it is documented.
type guard struct {
	err   error
	names []string // of the event that were met
	// functions that are named but, so far, not called: the callee is visited
	// before its call
	uncalled []ast.Node
}

func (g *guard) verdict() error {
	if g.err == nil && len(g.uncalled) > 0 {
		return fmt.Errorf("%s is a function: call it", g.uncalled[0])
	}
	return g.err
}

// Visit implements ast.Visitor.
func (g *guard) Visit(node *ast.Node) {
	if g.err != nil {
		return
	}
	switch n := (*node).(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode,
		*ast.UnaryNode, *ast.ChainNode, *ast.MemberNode, *ast.SliceNode, *ast.ConditionalNode,
		*ast.ArrayNode, *ast.MapNode, *ast.PairNode,
		*ast.PredicateNode, *ast.PointerNode: // the last two stand in a BuiltinNode alone
	case *ast.IdentifierNode:
		if strings.HasPrefix(n.Value, "$") {
			g.err = fmt.Errorf("unknown name %s", n.Value)
		} else if _, ok := names[n.Value]; !ok {
			g.uncalled = append(g.uncalled, n)
		} else if !slices.Contains(g.names, n.Value) {
			g.names = append(g.names, n.Value)
		}
	case *ast.BinaryNode:
		g.err = checkOperator(n)
	case *ast.CallNode:
		if _, ok := n.Callee.(*ast.IdentifierNode); !ok {
			g.err = errors.New("a member cannot be called")
		}
		g.uncalled = slices.DeleteFunc(g.uncalled, func(f ast.Node) bool { return f == n.Callee })
	case *ast.BuiltinNode:
		g.err = fmt.Errorf("unknown function %s", n.Name)
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		g.err = errors.New("there are no variables here: write one expression")
	default:
		g.err = fmt.Errorf("%s cannot be used here", quote(n.String()))
	}
}

func checkOperator(n *ast.BinaryNode) error {
	switch n.Operator {
	case "..":
		return errors.New("there are no ranges here")
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			return errors.New("matches needs a pattern in quotes")
		}
	}
	return nil
}

// lenient is a patch that makes a member of nil, or one that is not there, nil;
// that takes nil for false; and that bounds the text which + makes.
type lenient struct{}

// Visit implements ast.Visitor.
func (lenient) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.ChainNode:
		ast.Patch(node, n.Node)
	case *ast.MemberNode:
		ast.Patch(node, call(memberFunction, n.Node, n.Property))
	case *ast.SliceNode:
		ast.Patch(node, call(sliceFunction, n.Node, orNil(n.From), orNil(n.To)))
	case *ast.BinaryNode:
		switch n.Operator {
		case "+":
			ast.Patch(node, call(addFunction, n.Left, n.Right))
		case "and", "&&", "or", "||":
			n.Left, n.Right = call(truthFunction, n.Left), call(truthFunction, n.Right)
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			n.Node = call(truthFunction, n.Node)
		}
	case *ast.ConditionalNode:
		n.Cond = call(truthFunction, n.Cond)
	}
}

func call(name string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments}
}

func orNil(n ast.Node) ast.Node {
	if n == nil {
		return &ast.NilNode{}
	}
	return n
}

// readPaths returns the longest plain paths (data.a.b) in a tree.
func readPaths(root ast.Node) [][]string {
	c := &pathCollector{}
	c.collect(root)
	return c.paths
}

type pathCollector struct{ paths [][]string }

func (c *pathCollector) collect(n ast.Node) {
	if p := plainPath(n); p != nil {
		if !slices.ContainsFunc(c.paths, func(q []string) bool { return slices.Equal(p, q) }) {
			c.paths = append(c.paths, p)
		}
		return
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		c.collect(n.Node)
	case *ast.BinaryNode:
		c.collect(n.Left)
		c.collect(n.Right)
	case *ast.ChainNode:
		c.collect(n.Node)
	case *ast.MemberNode:
		c.collect(n.Node)
	case *ast.SliceNode:
		c.collect(n.Node)
	case *ast.CallNode:
		for _, a := range n.Arguments {
			c.collect(a)
		}
	case *ast.ConditionalNode:
		c.collect(n.Cond)
		c.collect(n.Exp1)
		c.collect(n.Exp2)
	}
}

// plainPath returns the names of a path such as data.a.b, or nil.
func plainPath(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return []string{n.Value}
	case *ast.ChainNode:
		return plainPath(n.Node)
	case *ast.MemberNode:
		base := plainPath(n.Node)
		name, ok := n.Property.(*ast.StringNode)
		if base == nil || !ok {
			return nil
		}
		return append(base, name.Value)
	default:
		return nil
	}
}

// shown is the source as a Reason shows it. It may hold somebody's number as a
// constant.
func (x *expression) shown() string { return clip(Mask(x.source), maxQuote) }

// result evaluates the expression for a field of the request.
func (x *expression) result(field string, env *environment) (any, *Refusal) {
	v, err := x.run(env)
	if err != nil {
		return nil, refuse(ClassRequest, field, "%s cannot be made for this %s: ${ %s } fails (%s).", field, env.noun, x.shown(), err)
	}
	if v != nil {
		return v, nil
	}
	if absent := x.absent(env); absent != "" {
		return nil, refuse(ClassRequest, field, "%s needs %s, which this %s does not have.", field, absent, env.noun)
	}
	return nil, refuse(ClassRequest, field, "%s is empty for this %s: ${ %s } gives nothing.", field, env.noun, x.shown())
}

// condition evaluates the expression as a route's condition. Nothing is false:
// "data.vip" holds for the leads that have it.
func (x *expression) condition(env *environment) (bool, *Refusal) {
	v, err := x.run(env)
	if err != nil {
		hint := ""
		if absent := x.absent(env); absent != "" {
			hint = fmt.Sprintf(" The %s has no %s.", env.noun, absent)
		}
		return false, refuse(ClassRequest, "when", "The route's condition (when: %s) cannot be judged for this %s (%s).%s", x.shown(), env.noun, err, hint)
	}
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	default:
		return false, refuse(ClassRequest, "when", "The route's condition (when: %s) is neither true nor false for this %s.", x.shown(), env.noun)
	}
}

// quoted finds what an evaluation's error may quote of the event.
var quoted = regexp.MustCompile("\"[^\"]*\"|`[^`]*`")

// run evaluates the expression. Its value belongs to the caller; its error
// holds nothing of the event.
func (x *expression) run(env *environment) (any, error) {
	env.need(x.names)
	machine := vm.VM{MemoryBudget: maxMemory}
	v, err := machine.Run(x.program, env.values)
	if err == nil && weight(v, maxResult) > maxResult {
		err = errTooLong
	}
	if err == nil {
		v, err = own(v, 0)
	}
	if err == nil {
		return v, nil
	}
	message := err.Error()
	if f, ok := errors.AsType[*file.Error](err); ok {
		message = f.Message
	}
	return nil, errors.New(Mask(quoted.ReplaceAllString(firstLine(message), "…")))
}

// reads returns what the expression reads of the event.
func (x *expression) reads(env *environment) []Read {
	out := make([]Read, 0, len(x.paths))
	for i, p := range x.paths {
		out = append(out, Read{Path: x.told[i], Value: env.lookup(p)})
	}
	return out
}

// absent names the paths of the expression that the event has not: "data.a or data.b".
func (x *expression) absent(env *environment) string {
	var out []string
	for _, r := range x.reads(env) {
		if r.Value == nil {
			out = append(out, r.Path)
		}
	}
	return strings.Join(out, " or ")
}

// pathName writes a plain path as Reasons have it.
func pathName(p []string) string {
	var name strings.Builder
	name.WriteString(p[0])
	for _, step := range p[1:] {
		name.WriteString(member(step))
	}
	return name.String()
}
