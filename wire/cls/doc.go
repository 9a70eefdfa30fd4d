// Package cls speaks the upload protocols of Tencent Cloud CLS: the JSON and query forms of anonymous web tracking, the
// protobuf form of the structured upload with its compressions and its signature, and the vendor's error bodies. It is
// written after web-tracking.md, whose sections its comments name, and checked against requests recorded from the unmodified
// browser SDKs and the vendor's worked examples of signatures.
//
// Everything here is a pure function of its arguments: no I/O, no clock, no state. Faults are *Error, which carries the
// answer's status, code and message and wraps a kind of package logbridge. Text that is handed out is valid UTF-8: the SDK's
// CESU-8 is repaired (5.1). Whether a topic exists, takes anonymous writes
// and has a key is for the caller to establish. The picture for
// track.gif is sls.GIF.
package cls
