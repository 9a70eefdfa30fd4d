package sink

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// The list of erasures (erase.go) is JSON, written whole each time.

// saveErasures writes down what is not done.
func (l *Log) saveErasures() error {
	l.savingErasures.Lock()
	defer l.savingErasures.Unlock()
	l.mu.RLock()
	list := slices.Concat(l.erasuresDone, l.erasures)
	l.mu.RUnlock()
	if len(list) == 0 {
		if _, err := os.Stat(filepath.Join(l.cfg.Dir, erasuresFile)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := os.Remove(filepath.Join(l.cfg.Dir, erasuresFile)); err != nil {
			return err
		}
		return syncDir(l.cfg.Dir)
	}
	return writeErasures(l.cfg.Dir, list)
}

func writeErasures(dir string, list erasures) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	_, err = replaceFile(dir, erasuresFile, func(f *os.File) (string, error) {
		_, err := f.Write(text)
		return erasuresFile, err
	})
	return err
}

// readErasures gives the list in a folder, empty if there is none. A damaged one is set aside, and the error errCorrupt.
func readErasures(dir string) (list erasures, err error) {
	b, err := readBounded(filepath.Join(dir, erasuresFile), maxErasuresFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if err = json.Unmarshal(b, &list); err != nil {
			err = setAside(filepath.Join(dir, erasuresFile), fmt.Errorf("%w: %w", errCorrupt, err))
		}
	}
	return list, err
}

// adoptErasures takes over what another node has erased, whose list is in a folder, as what is to be done here. It may be repeated.
func adoptErasures(dir, from string) error {
	own, err := readErasures(dir)
	if err != nil {
		return err
	}
	theirs, err := readErasures(from)
	if err != nil {
		return err
	}
	for _, e := range theirs {
		same := func(o erasure) bool { return o.Seq == e.Seq && o.Stream == e.Stream }
		if e.Done = false; !slices.ContainsFunc(own, same) {
			own = append(own, e)
		}
	}
	if len(own) == 0 {
		return nil
	}
	return writeErasures(dir, own)
}

// loadErasures reads what was not done, and what was. A damaged list is reported: what it hid is there again.
func (l *Log) loadErasures() error {
	list, err := readErasures(l.cfg.Dir)
	if errors.Is(err, errCorrupt) {
		l.log.Error("the list of erasures is set aside: what was to be erased may be found again, erase it anew", "err", err)
		err = nil
	}
	slices.SortStableFunc(list, func(a, b erasure) int { return cmp.Compare(a.Seq, b.Seq) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erasures, l.erasuresDone = nil, nil
	for _, e := range list {
		if e.Done {
			l.erasuresDone = append(l.erasuresDone, e)
		} else {
			l.erasures = append(l.erasures, e)
		}
	}
	return err
}
