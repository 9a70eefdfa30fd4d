// Package loose reads the text that log clients really send: JSON, UTF-8 and Unix times as device SDKs and web pages
// write them, which is not always as the standards say.
//
// Its JSON scanner goes over the input once and builds no tree, so that hostile input costs no more memory than its own
// size and what the caller chooses to keep, whatever it holds. (A tree costs about 100 bytes for each value of 2 bytes,
// and the tree builders at hand quote the whole rest of the input in an error, once for each level of nesting.) Strings
// without an escape are handed out as parts of the one input string; nothing is pooled, so they stay valid.
//
// It also makes records of web events, which two vendors describe alike. Beyond that it knows no protocol: members, limits and
// error codes are the callers'.
package loose
