package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// asset is a file that browsers keep.
type asset struct {
	kind string
	mark string // of its content; in its address
	data []byte
}

// kinds are the media types of our files: what the system knows of them varies.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func readAssets() map[string]asset {
	all := make(map[string]asset)
	entries, err := fs.ReadDir(staticFiles, "static")
	for _, e := range entries {
		data, readErr := fs.ReadFile(staticFiles, "static/"+e.Name())
		err = errors.Join(err, readErr)
		sum := sha256.Sum256(data)
		all[e.Name()] = asset{kind: kinds[path.Ext(e.Name())], mark: hex.EncodeToString(sum[:6]), data: data}
	}
	if err != nil {
		panic("console: embedded files: " + err.Error())
	}
	return all
}

// static serves the style sheet and the scripts. They hold nothing of anybody, and
// the sign-in page needs them.
func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[r.PathValue("name")]
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "read only", http.StatusMethodNotAllowed)
		return
	case !ok:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	if r.URL.Query().Get("v") == a.mark {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.data)
}

// looks are the parsed templates, by name.
type looks struct{ all map[string]*template.Template }

// newLooks parses each page's template with a copy of the layout and the parts.
func newLooks(assets map[string]asset) *looks {
	funcs := template.FuncMap{
		"asset": func(name string) (string, error) {
			a, ok := assets[name]
			if !ok {
				return "", fmt.Errorf("no file static/%s", name)
			}
			return "/static/" + name + "?v=" + a.mark, nil
		},
		"since": func(t time.Time) string { return since(t, time.Now()) },
		"stamp": func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -07:00") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"long":  long,
		"count": count,
		"clip":  shorten,
		"clock": func(t time.Time) string { return t.Local().Format("15:04:05") },
	}
	base := template.Must(template.New("base").Funcs(funcs).ParseFS(templateFiles, "templates/layout.html", "templates/parts*.html"))
	l := &looks{all: make(map[string]*template.Template)}
	files, _ := fs.Glob(templateFiles, "templates/*.html") // the pattern is right
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || strings.HasPrefix(name, "parts") {
			continue
		}
		l.all[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, file))
	}
	return l
}

// draw writes a page: the layout, and in it the view's own template.
func (l *looks) draw(w io.Writer, p page) error {
	return l.drawPart(w, "layout", p)
}

// drawPart writes one of the templates that a page is made of.
func (l *looks) drawPart(w io.Writer, part string, p page) error {
	t := l.all[p.Template]
	if t == nil {
		return fmt.Errorf("no template %q", p.Template)
	}
	return t.ExecuteTemplate(w, part, p)
}

// count is a number with its noun: "1 event", "2 events".
func count(n any, one, many string) string {
	if fmt.Sprint(n) == "1" {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
