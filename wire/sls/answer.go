package sls

import (
	"math/rand/v2"
)

// GIF is the picture of 1 by 1 pixel that answers track.gif and track_ua.gif, and CLS's track.gif (4.5). It is not to be
// changed.
var GIF = []byte("GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x01\x00\x2c" +
	"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x4c\x01\x00\x3b")

// RequestID is a new x-log-requestid: 24 upper-case hex digits (4.4). It names a request for whoever looks for it, and keeps no secret.
func RequestID() string {
	const digits = "0123456789ABCDEF"
	var id [24]byte
	for high, low, i := rand.Uint64(), rand.Uint64(), 0; i < len(id); i++ {
		id[i] = digits[low&15]
		if low >>= 4; i == 15 {
			low = high
		}
	}
	return string(id[:])
}
