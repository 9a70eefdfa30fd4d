package loose

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
)

// The wire types of protobuf that are in use. Groups, 3 and 4, were given up before any of these protocols was made.
const (
	Varint  = 0
	Fixed64 = 1
	Bytes   = 2
	Fixed32 = 5
)

// maxNumber is the highest number that a field may have.
const maxNumber = 1<<29 - 1

// ErrFields: the input is not a protobuf message. It carries nothing of the input.
var ErrFields = errors.New("not a valid protobuf message")

// Fields goes over the fields of one protobuf message front to back (protobuf.dev, "Encoding") and makes nothing of them: texts
// are parts of the one input string, and a nested message is read by Fields of its own over Raw. A field that the caller
// does not know, by number or by wire type, is passed over by not looking at it.
//
//	f := loose.FieldsOf(message)
//	for f.Next() {
//		switch f.Tag {
//		case 1<<3 | loose.Bytes:
//			name = f.Text()
//		}
//	}
//	return f.Err()
type Fields struct {
	Field
	rest string
	err  error
}

// Field is one field of a message.
type Field struct {
	// Tag is the field's number times 8 plus its wire type.
	Tag uint64
	// Uint is the value of a Varint, Fixed64 or Fixed32.
	Uint uint64
	// Raw is the value of Bytes: a string, bytes or a message.
	Raw string
}

// FieldsOf reads message.
func FieldsOf(message string) Fields { return Fields{rest: message} }

// Err is ErrFields after a fault, at which Next ends too.
func (f *Fields) Err() error { return f.err }

// Text is Raw as valid UTF-8: a wrong byte becomes U+FFFD.
func (f Field) Text() string {
	if utf8.ValidString(f.Raw) {
		return f.Raw
	}
	return strings.ToValidUTF8(f.Raw, string(utf8.RuneError))
}

// Next reads the next field; false at the end and at a fault.
func (f *Fields) Next() bool {
	if f.rest == "" || f.err != nil {
		return false
	}
	var ok bool
	if f.Tag, ok = f.varint(); ok && f.Tag>>3 > 0 && f.Tag>>3 <= maxNumber {
		f.Uint, f.Raw = 0, ""
		if f.value() {
			return true
		}
	}
	f.err = ErrFields
	return false
}

// Each calls use with each field of a message, until that returns an error. What is no message is ErrInvalid.
func Each(message string, use func(Field) error) error {
	f := FieldsOf(message)
	for f.Next() {
		if err := use(f.Field); err != nil {
			return err
		}
	}
	if f.err != nil {
		return fmt.Errorf("%w: %w", logbridge.ErrInvalid, f.err)
	}
	return nil
}

func (f *Fields) value() (ok bool) {
	switch f.Tag & 7 {
	case Varint:
		f.Uint, ok = f.varint()
	case Fixed64:
		var b string
		if b, ok = f.take(8); ok {
			f.Uint = binary.LittleEndian.Uint64([]byte(b))
		}
	case Fixed32:
		var b string
		if b, ok = f.take(4); ok {
			f.Uint = uint64(binary.LittleEndian.Uint32([]byte(b)))
		}
	case Bytes:
		var n uint64
		if n, ok = f.varint(); ok {
			f.Raw, ok = f.take(n)
		}
	}
	return ok
}

func (f *Fields) take(n uint64) (string, bool) {
	if n > uint64(len(f.rest)) {
		return "", false
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b, true
}

// varint reads up to ten bytes of seven bits, the lowest first.
func (f *Fields) varint() (v uint64, ok bool) {
	for i := 0; i < len(f.rest) && i < binary.MaxVarintLen64; i++ {
		c := f.rest[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			return 0, false
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			f.rest = f.rest[i+1:]
			return v, true
		}
	}
	return 0, false
}
