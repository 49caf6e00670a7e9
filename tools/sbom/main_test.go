package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

func TestBill(t *testing.T) {
	t.Parallel()
	sum := "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "example.org/m"}, Deps: []*debug.Module{
		{Path: "example.org/a", Version: "v1.2.3", Sum: sum},
		{Path: "example.org/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/fork", Version: "v1.0.1", Sum: sum}},
	}}
	b, err := billOf(info, "v9")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(b)
	for _, want := range []string{
		`"component":{"type":"application","bom-ref":"pkg:golang/example.org/m@v9"`,
		`"name":"std","version":"1.26.8"`,
		`"purl":"pkg:golang/example.org/a@v1.2.3","hashes":[{"alg":"SHA-256","content":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}]`,
		`pkg:golang/example.org/fork@v1.0.1`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got no %s in %s", want, text)
		}
	}
	info.Deps[0].Sum = ""
	if _, err := billOf(info, "v9"); err == nil {
		t.Error("a module without a checksum: got no error")
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run([]string{"v1", os.Args[0]}, &out); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("of this very binary: got %v and %s", err, out.Bytes())
	}
	for _, args := range [][]string{nil, {"v1", "main.go"}, {"v1", "nosuch"}} {
		if err := run(args, &out); err == nil {
			t.Errorf("%v: got no error", args)
		}
	}
}
