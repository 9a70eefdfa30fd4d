// Package loose reads the text that log clients really send: JSON, UTF-8 and Unix times as device SDKs and web pages
// write them, which is not always as the standards say.
//
// Its JSON scanner goes over the tokens of jsontext (the Go team's encoding/json/jsontext, as a module) once and builds no
// tree, so that hostile input costs no more memory than a few times its own size, whatever it holds: a tree costs about
// 100 bytes for each value of 2 bytes. Strings without an escape are handed out as parts of the one input string, which
// is nobody else's, so they stay valid.
//
// Fields goes over the fields of protobuf messages in the same way: once, without a tree, in parts of the one input string.
//
// The Unpack functions undo the compressions of uploads within a bound.
//
// It also makes records of web events, which two vendors describe alike. Beyond that it knows no protocol: members, limits and
// error codes are the callers'.
package loose
