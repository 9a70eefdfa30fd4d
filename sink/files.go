package sink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// tmpSuffix marks files that are still being written; a restart removes them.
const tmpSuffix = ".tmp"

// replaceFile writes a file whole or not at all: under a temporary name, synced, renamed to the name that write gives,
// and the folder synced.
func replaceFile(dir, temporary string, write func(*os.File) (name string, err error)) (path string, err error) {
	temporary = filepath.Join(dir, temporary+tmpSuffix)
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer os.Remove(temporary) // gone already when all went well
	name, err := write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", filepath.Base(temporary), err)
	}
	path = filepath.Join(dir, name)
	if err := os.Rename(temporary, path); err != nil {
		return "", err
	}
	return path, syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readBounded reads a file of at most most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, setAside(path, fmt.Errorf("%w: %d bytes", errCorrupt, info.Size()))
	}
	return os.ReadFile(path)
}

// setAside renames a file that is damaged, as err says, and returns the error with the file's name.
func setAside(path string, err error) error {
	return errors.Join(fmt.Errorf("%s: %w", filepath.Base(path), err), os.Rename(path, path+damagedSuffix))
}
