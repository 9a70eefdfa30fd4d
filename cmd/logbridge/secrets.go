package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/logbridge/logbridge/registry"
)

// sealKeys gives the keys that seal secrets at rest, the current one first: from the setting, which is a file or (from the
// environment) the keys themselves, else from the user's config folder, where one is made once. Only the path is printed. write
// replaces them in their file; it is nil when there is none.
func (s *server) sealKeys() (keys []registry.SealKey, write registry.KeyWriter, err error) {
	if keys, err := registry.ParseSealKeys(s.cfg.SealKey); err == nil {
		return keys, nil, nil
	}
	file, err := s.cfg.sealKeyFile()
	if err != nil {
		return nil, nil, err
	}
	keys, created, err := registry.LoadSealKeys(file)
	if err != nil {
		return nil, nil, err
	}
	if created {
		s.log.Info("seal key made: keep a copy, without it the secrets in the data folder are lost", "path", file)
	} else {
		s.log.Info("seal key", "path", file)
	}
	return keys, func(keys []registry.SealKey) error { return registry.WriteSealKeys(file, keys) }, nil
}

// sealKeyFile is where the seal keys are.
func (c *Config) sealKeyFile() (string, error) {
	file := c.SealKey
	if file == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("no place for the seal key (%w): name one with --seal-key", err)
		}
		file = filepath.Join(dir, "logbridge", "seal-key")
	}
	if within(c.Data, file) {
		return "", fmt.Errorf("the seal key %s would be inside the data folder %s: name another place with --seal-key", file, c.Data)
	}
	return file, nil
}

// adminTokenFile is where the administrator's token is.
func (c *Config) adminTokenFile() string {
	if c.AdminTokenFile != "" {
		return c.AdminTokenFile
	}
	return filepath.Join(c.Data, "admin-token")
}

// adminToken gives the administrator's token: from the setting, else from its file, which is made once. Only its path
// is printed.
func (s *server) adminToken() (string, error) {
	if s.cfg.AdminToken != "" {
		return s.cfg.AdminToken, nil
	}
	file := s.cfg.adminTokenFile()
	token, made, err := loadToken(file)
	if err != nil {
		return "", fmt.Errorf("administrator's token: %w", err)
	}
	if made {
		s.log.Info("administrator's token made", "path", file)
	} else {
		s.log.Info("administrator's token", "path", file)
	}
	return token, nil
}

// tokenBytes: 192 random bits, 32 characters.
const tokenBytes = 24

// loadToken reads the token of a file. If there is no file it makes one that only its owner can read.
func loadToken(file string) (token string, made bool, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		token = randomToken()
		return token, true, writeNew(file, token+"\n")
	}
	if err != nil {
		return "", false, err
	}
	token = strings.TrimSpace(string(text))
	if len(token) < leastToken || strings.ContainsAny(token, " \t\r\n") {
		return "", false, fmt.Errorf("%s does not hold one word of at least %d characters", file, leastToken)
	}
	return token, false, nil
}

func randomToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// writeNew writes a file that must not be there yet.
func writeNew(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}
