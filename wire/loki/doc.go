// Package loki speaks what Grafana Loki's clients speak: LogQL, the times and parameters of its HTTP API, and the JSON of
// its answers and tail frames. It is written after query-and-export.md, section 1, and held against vectors that were
// recorded from Loki itself (testdata).
//
// Parse reads a query into a small tree whose String is the query again, in one canonical form. Pipeline runs the stages of a
// log query over lines, as Loki does: labels taken from a line have the values that Loki gives them, under the same names,
// and what could not be read is said in __error__. Params reads the parameters of a request, Answer writes the reply.
//
// DecodePushJSON and DecodePushProto read what Loki's clients push, into records.
//
// Everything here is a pure function of its arguments: no I/O, no clock, no state beyond a Pipeline's own buffers. Each input is
// bounded before it costs anything: a query in bytes, depth and stages, a regular expression in the size of its program,
// the labels of one line in number and bytes. Errors are one sentence with line and column, and wrap a kind of package
// logbridge.
//
// Left out is what the sink cannot answer at its own speed or nobody has asked for: unwrap and the functions over unwrapped
// values, unpack, pattern, regexp, decolorize, pattern filters (|>), ip(), label_replace, sort, set operators and the matching
// of two vectors; templates know labels and the line, but no functions. Each is refused by name. What is stored, and how a
// query is evaluated over time, is for the callers. Where we do otherwise than Loki, the tests that hold us against it say so
// and why.
//
// The package is larger than others here, and has more exported names: each is a word of one protocol, whose language, times
// and answers make sense together only.
package loki
