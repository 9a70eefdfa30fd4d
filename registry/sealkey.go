package registry

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/logbridge/logbridge"
)

// A seal key file holds one key a line. The first one seals; others open what they sealed before, while the key is being changed.

const (
	// maxSealKeyFile bounds what is read of a seal key file, in bytes.
	maxSealKeyFile = 4 << 10
	// maxSealKeys: the current one, and the one before; more only after changes that were broken off.
	maxSealKeys = 8
)

// ParseSealKeys reads keys from text, separated by white space: the current one first.
func ParseSealKeys(text string) ([]SealKey, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 || len(fields) > maxSealKeys {
		return nil, fmt.Errorf("%w: %d seal keys, want 1 to %d", logbridge.ErrInvalid, len(fields), maxSealKeys)
	}
	keys := make([]SealKey, len(fields))
	for i, field := range fields {
		var err error
		if keys[i], err = ParseSealKey(field); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// LoadSealKeys reads the seal keys from a file, the current one first. If there is none it makes one key, readable by the owner
// only, and says so by created. Of two processes that do so at once, both get the same key.
func LoadSealKeys(path string) (keys []SealKey, created bool, err error) {
	keys, err = readSealKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, false, err
	}
	created, err = makeSealKey(path)
	if err != nil {
		return nil, false, fmt.Errorf("make seal key: %w", err)
	}
	keys, err = readSealKeys(path)
	return keys, created && err == nil, err
}

func readSealKeys(path string) ([]SealKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSealKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	keys, err := ParseSealKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("seal key file %s: %w", path, err)
	}
	return keys, nil
}

// newSealKey makes a random key.
func newSealKey() (key SealKey) {
	rand.Read(key[:])
	return key
}

// makeSealKey makes the file, unless it is there already.
func makeSealKey(path string) (created bool, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	name, err := tempSealKeys(dir, []SealKey{newSealKey()})
	if err != nil {
		return false, err
	}
	defer os.Remove(name)
	if err := os.Link(name, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		return false, err
	}
	return true, syncDir(dir)
}

// WriteSealKeys replaces the file by one with these keys, the current one first. When it returns nil they would survive a power
// cut; before that, the file is the old one or the new one, whole.
func WriteSealKeys(path string, keys []SealKey) error {
	dir := filepath.Dir(path)
	name, err := tempSealKeys(dir, keys)
	if err != nil {
		return fmt.Errorf("write seal key: %w", err)
	}
	if err := os.Rename(name, path); err != nil {
		return errors.Join(fmt.Errorf("write seal key: %w", err), os.Remove(name))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write seal key: %w", err)
	}
	return nil
}

// tempSealKeys writes keys to a new file of the folder, complete and synced: a key that was lost after it had sealed something
// could not be replaced.
func tempSealKeys(dir string, keys []SealKey) (name string, err error) {
	f, err := os.CreateTemp(dir, ".seal-key-*") // mode 0600
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
