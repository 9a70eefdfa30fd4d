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
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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

// maxSealKeyFile bounds what is read of a seal key file, in bytes: the text and some white space.
const maxSealKeyFile = 4 << 10

// LoadSealKey reads the seal key from a file. If there is none it makes one, readable by the owner only, and says so by
// created. Of two processes that do so at once, both get the same key.
func LoadSealKey(path string) (key SealKey, created bool, err error) {
	key, err = readSealKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	created, err = writeSealKey(path)
	if err != nil {
		return SealKey{}, false, fmt.Errorf("make seal key: %w", err)
	}
	key, err = readSealKey(path)
	return key, created && err == nil, err
}

func readSealKey(path string) (SealKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return SealKey{}, fmt.Errorf("read seal key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSealKeyFile))
	if err != nil {
		return SealKey{}, fmt.Errorf("read seal key: %w", err)
	}
	key, err := ParseSealKey(string(b))
	if err != nil {
		return SealKey{}, fmt.Errorf("seal key file %s: %w", path, err)
	}
	return key, nil
}

// writeSealKey makes the file. It is linked into place complete and synced: a key that was lost after it had sealed
// something could not be replaced.
func writeSealKey(path string) (created bool, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(dir, ".seal-key-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	var key SealKey
	rand.Read(key[:])
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, err
	}
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		return false, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	return true, errors.Join(d.Sync(), d.Close())
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

// sealer seals and opens with one key.
type sealer struct {
	aead cipher.AEAD
	head [sealHead]byte
}

func newSealer(key SealKey) (*sealer, error) {
	if key == (SealKey{}) {
		return nil, fmt.Errorf("%w: no seal key given", logbridge.ErrInvalid)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &sealer{aead: aead, head: [sealHead]byte{sealFormat}}
	id := sha256.Sum256(append([]byte("logbridge seal key id\x00"), key[:]...))
	copy(s.head[1:], id[:sealKeyIDLen])
	return s, nil
}

// seal seals plain for one place, which is bound to it: opened for another place it fails. Nothing seals to nothing.
func (s *sealer) seal(place, plain string) string {
	if plain == "" {
		return ""
	}
	out := make([]byte, sealHead+s.aead.NonceSize(), sealHead+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	copy(out, s.head[:])
	nonce := out[sealHead:]
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(out, nonce, []byte(plain), s.bind(place)))
}

// open is the way back.
func (s *sealer) open(place, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(b) < sealHead+s.aead.NonceSize() || !bytes.Equal(b[:sealHead], s.head[:]) {
		return "", errSeal
	}
	nonce, text := b[sealHead:sealHead+s.aead.NonceSize()], b[sealHead+s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, text, s.bind(place))
	if err != nil {
		return "", errSeal
	}
	return string(plain), nil
}

// bind is what is authenticated beside the secret: the head and the place.
func (s *sealer) bind(place string) []byte { return append(s.head[:], place...) }
