package registry

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/logbridge/logbridge"
)

// SealKeyLen is the length of a seal key in bytes: AES-256.
const SealKeyLen = 32

// SealKey seals secrets at rest. It prints as a placeholder, whatever the verb.
type SealKey [SealKeyLen]byte

// Format keeps the key out of logs and errors.
func (SealKey) Format(f fmt.State, _ rune) { io.WriteString(f, "[seal key]") }

// MarshalText keeps the key out of JSON logs.
func (SealKey) MarshalText() ([]byte, error) { return []byte("[seal key]"), nil }

// ParseSealKey reads a key from text: 32 bytes as 64 hexadecimal digits or as base64, of either alphabet, padded or not.
func ParseSealKey(text string) (SealKey, error) {
	var key SealKey
	bad := fmt.Errorf("%w: a seal key is %d random bytes as base64 or as %d hexadecimal digits", logbridge.ErrInvalid, SealKeyLen, 2*SealKeyLen)
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	var b []byte
	var err error
	switch len(text) {
	case hex.EncodedLen(SealKeyLen):
		b, err = hex.DecodeString(text)
	case base64.RawStdEncoding.EncodedLen(SealKeyLen):
		b, err = base64.RawStdEncoding.Strict().DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
	default:
		return key, bad
	}
	if err != nil || len(b) != SealKeyLen {
		return key, bad
	}
	if copy(key[:], b); key == (SealKey{}) {
		return key, fmt.Errorf("%w: the seal key is all zero", logbridge.ErrInvalid)
	}
	return key, nil
}

// A sealed value is base64url of: format (1 byte), key id (4), nonce (12), ciphertext and tag (16). The key id says which
// key it takes, so that keys can be told apart while they are being changed.
const (
	sealFormat   = 1
	sealKeyIDLen = 4
	sealHead     = 1 + sealKeyIDLen
)

// errSeal says no more than that: what failed to open is a secret.
var errSeal = errors.New("a sealed value does not open: it was sealed with another key, for another place, or is damaged")

// sealer seals with one key, and opens what that or an earlier one has sealed: while the key is being changed there are two.
type sealer struct {
	keys atomic.Pointer[[]cipherKey] // the first one seals
}

// cipherKey is a key made ready.
type cipherKey struct {
	aead cipher.AEAD
	head [sealHead]byte
}

func newSealer(keys ...SealKey) (*sealer, error) {
	s := &sealer{}
	return s, s.use(keys)
}

// use makes the first of keys the one that seals.
func (s *sealer) use(keys []SealKey) error {
	ready := make([]cipherKey, len(keys))
	for i, key := range keys {
		if key == (SealKey{}) {
			return fmt.Errorf("%w: no seal key given", logbridge.ErrInvalid)
		}
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return err
		}
		ready[i].aead, err = cipher.NewGCM(block)
		if err != nil {
			return err
		}
		ready[i].head = [sealHead]byte{sealFormat}
		id := sha256.Sum256(append([]byte("logbridge seal key id\x00"), key[:]...))
		copy(ready[i].head[1:], id[:sealKeyIDLen])
	}
	if len(ready) == 0 {
		return fmt.Errorf("%w: no seal key given", logbridge.ErrInvalid)
	}
	s.keys.Store(&ready)
	return nil
}

// seal seals plain for one place, which is bound to it: opened for another place it fails. Nothing seals to nothing.
func (s *sealer) seal(place, plain string) string {
	if plain == "" {
		return ""
	}
	k := (*s.keys.Load())[0]
	out := make([]byte, sealHead+k.aead.NonceSize(), sealHead+k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	copy(out, k.head[:])
	nonce := out[sealHead:]
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(k.aead.Seal(out, nonce, []byte(plain), k.bind(place)))
}

// open is the way back.
func (s *sealer) open(place, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(b) < sealHead {
		return "", errSeal
	}
	for _, k := range *s.keys.Load() {
		if !bytes.Equal(b[:sealHead], k.head[:]) || len(b) < sealHead+k.aead.NonceSize() {
			continue
		}
		nonce, text := b[sealHead:sealHead+k.aead.NonceSize()], b[sealHead+k.aead.NonceSize():]
		if plain, err := k.aead.Open(nil, nonce, text, k.bind(place)); err == nil {
			return string(plain), nil
		}
	}
	return "", errSeal
}

// current says whether a value is sealed with the key that seals now.
func (s *sealer) current(sealed string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	head := (*s.keys.Load())[0].head
	return sealed == "" || err == nil && bytes.HasPrefix(b, head[:])
}

// bind is what is authenticated beside the secret: the head and the place.
func (k cipherKey) bind(place string) []byte { return append(k.head[:], place...) }
