package config

import (
	"reflect"
	"strings"
)

// Keys lists the keys of each kind of block, by the name of its Go type.
func Keys() map[string][]string {
	keys := map[string][]string{}
	collect(reflect.TypeFor[file](), keys)
	return keys
}

func collect(t reflect.Type, keys map[string][]string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || keys[t.Name()] != nil {
		return
	}
	for field := range t.Fields() {
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if key != "" && key != "-" {
			keys[t.Name()] = append(keys[t.Name()], key)
		}
		if key != "-" || options == "inline" {
			collect(field.Type, keys)
		}
	}
}
