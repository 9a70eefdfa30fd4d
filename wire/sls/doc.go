// Package sls speaks the web-tracking protocol of Alibaba Cloud SLS: the JSON, query and protobuf forms of log groups, compression, the
// signature of signed uploads, and the vendor's error bodies. It is written after web-tracking.md, whose sections its comments
// name, and checked against requests recorded from the unmodified browser SDKs.
//
// Everything here is a pure function of its arguments but RequestID, which is random: no I/O, no clock, no state but the tables of one zstd decoder. Faults are
// *Error, which carries the answer's status, code and message and wraps a kind of package logbridge. Text that is handed
// out is valid UTF-8. Whether a logstore exists and takes anonymous writes is for the caller to establish.
package sls
