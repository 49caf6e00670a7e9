//go:build chaos && linux

package main

// scaleMended is what was done about what the first run showed.
const scaleMended = ``
