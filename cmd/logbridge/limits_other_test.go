//go:build !linux

package main

// limitsMain needs fdatasync; the benchmark is for Linux.
func limitsMain() { panic("the benchmark is for Linux") }
