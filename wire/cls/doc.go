// Package cls speaks the anonymous web-tracking protocol of Tencent Cloud CLS: the JSON and query forms of logs and the
// vendor's error bodies. It is written after web-tracking.md, whose sections its comments name, and checked against requests
// recorded from the unmodified browser SDKs.
//
// Everything here is a pure function of its arguments: no I/O, no clock, no state. Faults are *Error, which carries the
// answer's status, code and message and wraps a kind of package logbridge. Text that is handed out is valid UTF-8: the SDK's
// CESU-8 is repaired (5.1). Whether a topic exists and takes anonymous writes is for the caller to establish. The picture for
// track.gif is sls.GIF.
package cls
