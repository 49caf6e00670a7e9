package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxSecret bounds a secret's file: 64 KiB hold any key or token.
const maxSecret = 64 << 10

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// A variable's name that is surely none of the secret's own letters.
	conventional = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
)

// secret looks up {env: NAME} or {file: PATH}.
func (d *decoder) secret(path string, n *yaml.Node, v reflect.Value) {
	key, name, ok := d.reference(path, n)
	if key != "" && d.blind() && strings.Contains(path, "auth.") {
		v.SetString(Unseen)
	}
	if !ok {
		return
	}
	find := d.fromFile
	if key == "env" {
		find = d.fromEnv
	}
	value, problem := find(name)
	if problem == "" {
		problem = unfit(value)
	}
	if problem != "" {
		d.add(path, "%s", problem)
		return
	}
	v.SetString(value)
}

// reference returns the key and the name of {env: NAME} or {file: PATH}, and
// whether it is to be looked up. No text here repeats what the file has in this
// place: it may be the secret itself.
func (d *decoder) reference(path string, n *yaml.Node) (key, name string, ok bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || !isScalar(n.Content[0], "!!str") {
		d.literal(path)
		return "", "", false
	}
	word, ref := n.Content[0], n.Content[1]
	if word.Value != "env" && word.Value != "file" || !d.plain(path, word) || !d.plain(path, ref) {
		d.literal(path)
		return "", "", false
	}
	if !isScalar(ref, "!!str") || ref.Value == "" {
		d.add(path, "%s must be followed by a name", word.Value)
		return "", "", false
	}
	return word.Value, ref.Value, !d.blind() && d.lookUp(path)
}

// blind reports whether nothing is looked up that the file names.
func (d *decoder) blind() bool { return d.lookUp == nil }

func (d *decoder) literal(path string) {
	d.add(path, "must be {env: NAME} or {file: PATH}; a secret itself never stands in this file")
}

func (d *decoder) fromEnv(name string) (value, problem string) {
	if !variable.MatchString(name) {
		return "", "env must be followed by the name of an environment variable"
	}
	value = d.getenv(name)
	switch {
	case value != "":
		return value, ""
	case conventional.MatchString(name):
		return "", "environment variable " + name + " is not set"
	default:
		return "", "the environment variable that is named here is not set"
	}
}

func (d *decoder) fromFile(name string) (value, problem string) {
	return readSecret(d.resolve(name))
}

// readSecret returns what a file holds, without the line breaks at its end.
func readSecret(full string) (value, problem string) {
	if problem := readable(full); problem != "" {
		return "", problem
	}
	f, err := os.Open(full)
	if err != nil {
		return "", fileProblem(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fileProblem(err)
	}
	if len(data) > maxSecret {
		return "", "the file that is named here is larger than 64 KiB"
	}
	value = strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", "the file that is named here is empty"
	}
	return value, ""
}

// unfit says why a value cannot be a credential, for it has to fit into one
// header line.
func unfit(value string) string {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "the value found there has a line break or another control character in it"
	}
	return ""
}

// resolve returns a path of the file as one for this process.
func (d *decoder) resolve(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

// existing resolves the path in *name, and reports one that cannot be read.
func (d *decoder) existing(path string, name *string) {
	if *name == "" {
		return
	}
	*name = d.resolve(*name)
	if d.blind() {
		return
	}
	if problem := readable(*name); problem != "" {
		d.add(path, "%s", problem)
	}
}

// readable says why name cannot be read as a file. Opening anything but a
// regular file could wait for ever.
func readable(name string) string {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fileProblem(err)
	case !info.Mode().IsRegular():
		return "what is named here is not a regular file"
	default:
		return ""
	}
}

func fileProblem(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the file that is named here does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "the file that is named here may not be read by this user"
	default:
		return "the file that is named here cannot be read"
	}
}
