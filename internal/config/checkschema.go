package config

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/weirhq/weir/schema"
)

// ignoreDND is Oration's field that reaches people who do not want to be called
// (H22).
const ignoreDND = "ignoreDND"

// catalog compiles the file's own schemas; each fault stands at its own line.
// Nothing outside the file's folder is read.
func (d *decoder) catalog(blocks []Schema) *schema.Catalog {
	if len(blocks) == 0 {
		return schema.NewCatalog()
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		d.add("schemas", "the folder of this file cannot be read")
		return nil
	}
	defer root.Close()
	sources := make([]schema.SchemaSource, len(blocks))
	for i, at := range d.whole("schemas", len(blocks)) {
		if !d.has(at + ".file") {
			d.add(at+".file", "is missing")
		}
		sources[i] = schema.SchemaSource{Type: blocks[i].Type, File: path.Clean(filepath.ToSlash(blocks[i].File))}
	}
	catalog, err := schema.CompileCatalog(root.FS(), sources)
	for _, e := range schemaErrors(err) {
		at := "schemas[" + strconv.Itoa(e.Index) + "]." + e.Key
		if !d.told(at) {
			d.addAt(d.place(at), at, "%v", e.Err)
		}
	}
	return catalog
}

// schemaErrors are those that CompileCatalog joins.
func schemaErrors(err error) []*schema.SchemaError {
	if one, ok := err.(*schema.SchemaError); ok { //nolint:errorlint // the tree is walked here, node by node
		return []*schema.SchemaError{one}
	}
	var all []*schema.SchemaError
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // as above
		for _, e := range joined.Unwrap() {
			all = append(all, schemaErrors(e)...)
		}
	}
	return all
}

// passthrough checks what the routes of the lane at path let publishers give.
func (d *decoder) passthrough(path string, p *provider, lane *Lane, blocks []routeBlock) {
	allowed := path + ".allow_ignore_dnd"
	listed := false
	for i, at := range d.whole(path+".routes", len(blocks)) {
		if list := at + ".passthrough"; d.read(list) && len(blocks[i].Passthrough) == 0 {
			d.add(list, "must name at least one field of the provider's request")
		}
		for j, at := range d.whole(at+".passthrough", len(blocks[i].Passthrough)) {
			name := blocks[i].Passthrough[j]
			listed = listed || name == ignoreDND
			switch {
			case p == unknownProvider, name == "": // CompileRoutes tells of an empty one
			case p.notPassed[name] != "":
				d.add(at, "%s", p.notPassed[name])
			case !slices.Contains(p.passes, name):
				d.add(at, "is not a field of this provider's request%s", meant(name, p.passes))
			case name == ignoreDND && !lane.AllowIgnoreDND:
				d.add(at, "needs allow_ignore_dnd: true in the lane: with it a publisher reaches people who do not want to be called")
			}
		}
	}
	if d.read(allowed) && lane.AllowIgnoreDND && !listed {
		d.add(allowed, "has no meaning without a route whose passthrough names ignoreDND")
	}
}

// meant asks for what a name is most likely a slip of.
func meant(name string, candidates []string) string {
	if near := nearest(name, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}
