//go:build !race

package main

// detector is how many times as much memory a program needs: this one runs without
// the race detector.
const detector = 1
