// Package tencent speaks the device protocol of Tencent Cloud IoT: MQTT login, the log-level and time questions, log lines,
// and the signed HTTP upload. It is written after tencent-iot.md, whose sections its comments name, and checked against
// requests recorded from the unmodified SDKs.
//
// Everything here is a pure function of its arguments: no I/O, no clock, no state. Text that is handed out is valid UTF-8.
// Errors wrap the kinds of package logbridge and never hold a secret, a signature or a log line. MACs are compared in
// constant time. Who a device is, which keys it has and whether a user name belongs to the connection's client id is for
// the caller to establish; so are clock skew and replays, about which real devices leave no choice (4.4).
package tencent
