package tencent

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// The head of the old frame (5):
//
//	0    40  lower-case hex HMAC-SHA1 over everything behind it
//	40    1  P key device, C certificate device
//	41    3  ###
//	44   10  ProductId
//	54   48  DeviceName, padded with #
//	102  10  Unix seconds, zeros when unknown
//	112      lines
const (
	frameMode    = 40
	frameMark    = 41
	frameProduct = 44
	frameDevice  = 54
	frameTime    = 102
	frameText    = 112
)

// Frame is the body of POST /cgi-bin/report-log.
type Frame struct {
	Device logbridge.DeviceID
	// Certificate: the device has a certificate, and the frame no signature worth the name (VerifyFrame).
	Certificate bool
	// Timestamp is in Unix seconds, 0 when the device did not know.
	Timestamp int64
	// Text holds the lines.
	Text string
}

// ParseFrame reads a frame (5). ErrInvalid when it is none. It does not check the signature.
func ParseFrame(body []byte) (Frame, error) {
	if len(body) < frameText {
		return Frame{}, fmt.Errorf("%w: frame of %d bytes, at least %d", logbridge.ErrInvalid, len(body), frameText)
	}
	mode := body[frameMode]
	if mode != 'P' && mode != 'C' || string(body[frameMark:frameProduct]) != "###" {
		return Frame{}, fmt.Errorf("%w: frame has no P### or C### at offset %d", logbridge.ErrInvalid, frameMode)
	}
	id := logbridge.DeviceID{
		Product: string(body[frameProduct:frameDevice]),
		Device:  strings.TrimRight(string(body[frameDevice:frameTime]), "#"),
	}
	if err := id.Validate(); err != nil {
		return Frame{}, fmt.Errorf("frame: %w", err)
	}
	seconds, err := strconv.ParseUint(string(body[frameTime:frameText]), 10, 63)
	if err != nil {
		return Frame{}, fmt.Errorf("%w: frame time is not 10 digits", logbridge.ErrInvalid)
	}
	return Frame{Device: id, Certificate: mode == 'C', Timestamp: int64(seconds), Text: loose.Repair(body[frameText:])}, nil
}

// Lines are the lines of the frame. ErrTooLarge beyond MaxLines.
func (f Frame) Lines() ([]string, error) {
	lines, ok := appendLines(nil, f.Text, lineEnd, MaxLines)
	if !ok {
		return nil, fmt.Errorf("frame: %w", errTooManyLines)
	}
	return lines, nil
}

// VerifyFrame checks the signature of a key device's frame with the first 24 characters of the PSK text or all of it (5).
// ErrUnauthorized when it does not match, and for every frame of a certificate device: their key is made from the public
// certificate and proves nothing (5).
func VerifyFrame(body []byte, secret string) error {
	if len(body) < frameText {
		return fmt.Errorf("%w: frame of %d bytes, at least %d", logbridge.ErrInvalid, len(body), frameText)
	}
	if body[frameMode] == 'C' {
		return fmt.Errorf("%w: frames of certificate devices have no secret key", logbridge.ErrUnauthorized)
	}
	var sig [sha1.Size]byte
	_, err := hex.Decode(sig[:], body[:frameMode])
	if err != nil || !hmacCheck(sha1.New, secret, sig[:])(string(body[frameMode:])) {
		return fmt.Errorf("%w: frame signature does not match", logbridge.ErrUnauthorized)
	}
	return nil
}

// EncodeFrame makes a signed frame of a key device; secret is the key as it is. It is the client's side, for tests.
func EncodeFrame(id logbridge.DeviceID, timestamp int64, text, secret string) []byte {
	padding := strings.Repeat("#", max(0, frameTime-frameDevice-len(id.Device)))
	rest := "P###" + id.Product + id.Device + padding + fmt.Sprintf("%010d", timestamp) + text
	sig := hmac.New(sha1.New, []byte(secret))
	sig.Write([]byte(rest))
	return append([]byte(hex.EncodeToString(sig.Sum(nil))), rest...)
}

// FrameSignature is the signature of a frame that ParseFrame takes: two frames with the same one are the same.
func FrameSignature(body []byte) string { return string(body[:frameMode]) }
