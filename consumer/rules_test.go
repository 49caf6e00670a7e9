package consumer_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirhq/weir/consumer"
)

// Each constant that names a contact rule stands in the list of them, from which
// metrics take their labels.
func TestRulesAreAllListed(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "contact.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Rule") {
			return true
		}
		if text, ok := spec.Values[0].(*ast.BasicLit); ok {
			name, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return true
	})
	if got := consumer.Rules(); !slices.Equal(got, names) || !slices.Contains(got, consumer.RuleRedial) {
		t.Errorf("got %v, want %v", got, names)
	}
}

// Each kind of step has a name of its own.
func TestStepsAreAllNamed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{"unknown": true}
	for _, k := range consumer.StepKinds() {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("step %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
}
