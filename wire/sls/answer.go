package sls

import (
	"crypto/rand"
	"fmt"
)

// GIF is the picture of 1 by 1 pixel that answers track.gif and track_ua.gif, and CLS's track.gif (4.5). It is not to be
// changed.
var GIF = []byte("GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x01\x00\x2c" +
	"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x4c\x01\x00\x3b")

// RequestID is a new x-log-requestid: 24 upper-case hex digits (4.4).
func RequestID() string {
	var id [12]byte
	rand.Read(id[:]) // never fails
	return fmt.Sprintf("%X", id)
}
