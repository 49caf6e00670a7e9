//go:build race

package main

// detector is how many times as much memory a program needs under the race
// detector.
const detector = 4
