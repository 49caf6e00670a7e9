package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/internal/config"
)

// completionCmd is weir completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell: ${enum}."`
}

// completeWord is what the scripts call weir with: the words of the line up to the
// cursor follow, the last of them perhaps half written or empty.
const completeWord = "__complete"

// scripts ask weir itself for the words that may follow, so that they know the
// commands of the weir that is installed, and the lanes of the file at hand. Where it
// knows none, the shell offers files.
var scripts = map[string]string{
	"bash": `_weir() {
	local IFS=$'\n'
	COMPREPLY=($("${COMP_WORDS[0]}" ` + completeWord + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weir weir
`,
	"zsh": `#compdef weir
_weir() {
	local -a found
	found=("${(@f)$("${words[1]}" ` + completeWord + ` "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _weir weir
`,
	"fish": `function __weir_words
	set -l line (commandline -opc) (commandline -ct)
	set -l found ($line[1] ` + completeWord + ` $line[2..-1] 2>/dev/null)
	if test (count $found) -gt 0
		printf '%s\n' $found
	else
		__fish_complete_path (commandline -ct)
	end
end
complete -c weir -f -a '(__weir_words)'
`,
}

// Run prints the script.
func (c *completionCmd) Run(a *app) error {
	return a.print(map[string]string{"shell": c.Shell, "script": scripts[c.Shell]}, func(w io.Writer) {
		_, _ = io.WriteString(a.stdout, scripts[c.Shell]) // not through w: a table has no tabs left
	})
}

// complete prints the words that may follow, a line each.
func complete(model *kong.Application, words []string, getenv func(string) string, w io.Writer) {
	for _, word := range candidates(model, words, func(file string) []string { return laneWords(file, getenv) }) {
		fmt.Fprintln(w, word)
	}
}

// laneWords are the lanes of a file, none if it cannot be read.
func laneWords(file string, getenv func(string) string) []string {
	if file == "" {
		file = getenv("WEIR_CONFIG")
	}
	if file == "" {
		file = "weir.yaml"
	}
	cfg, err := config.LoadBlind(file, getenv)
	if err != nil {
		return nil
	}
	d := &desk{cfg: cfg}
	return d.laneNames()
}

// candidates are the words that may stand in place of the last one, in order.
func candidates(model *kong.Application, words []string, lanes func(file string) []string) []string {
	// Bash takes the sign of equality for a word of its own.
	typed := ""
	if n := len(words); n > 0 && words[n-1] != "=" {
		typed, words = words[n-1], words[:n-1]
	}
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" })
	node, places, file := model.Node, 0, ""
	var open *kong.Flag // it waits for its value
	for _, word := range words {
		switch {
		case open != nil:
			if open.Name == "config" {
				file = word
			}
			open = nil
		case strings.HasPrefix(word, "-"):
			name, value, given := strings.Cut(word, "=")
			f := flagOf(node, name)
			if f == nil || f.IsBool() {
				break
			}
			if !given {
				open = f
			} else if f.Name == "config" {
				file = value
			}
		default:
			if child := childOf(node, word); child != nil {
				node, places = child, 0
			} else {
				places++
			}
		}
	}
	values := func(v *kong.Value) []string {
		switch {
		case v.Name == "lane":
			return lanes(file)
		case v.Enum != "":
			return slices.Sorted(maps.Keys(v.EnumMap()))
		default:
			return nil
		}
	}
	var all []string
	name, _, given := strings.Cut(typed, "=")
	switch {
	case open != nil:
		all = values(open.Value)
	case strings.HasPrefix(typed, "-") && given:
		if f := flagOf(node, name); f != nil {
			for _, v := range values(f.Value) {
				all = append(all, name+"="+v)
			}
		}
	case strings.HasPrefix(typed, "-"):
		for _, f := range flagsOf(node) {
			all = append(all, "--"+f.Name)
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				all = append(all, child.Name)
			}
		}
		if p := node.Positional; len(p) > 0 {
			all = append(all, values(p[min(places, len(p)-1)])...)
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, typed) })
}

// flagsOf are the flags that a command takes, its own first.
func flagsOf(node *kong.Node) (all []*kong.Flag) {
	for ; node != nil; node = node.Parent {
		for _, f := range node.Flags {
			if !f.Hidden {
				all = append(all, f)
			}
		}
	}
	return all
}

// flagOf is the flag that a word names, with its hyphens; nil if none does.
func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, f := range flagsOf(node) {
		if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
			return f
		}
	}
	return nil
}

// childOf is a command below another.
func childOf(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}
