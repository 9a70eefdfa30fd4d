package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/logbridge/logbridge/natsd"
)

// What is good enough of a disk.
const (
	// syncBytes is what one measured write has: a small group of records.
	syncBytes = 4 << 10
	// longestSyncing bounds the measurement; a disk that needs so long has said enough.
	longestSyncing = 10 * time.Second
	// slowSync: beyond it, devices that wait a second for an answer begin to miss it under load (tencent-iot.md 4.5).
	slowSync = 20 * time.Millisecond
	// stuckSync is what an upload over HTTP waits at most; a sync that takes longer fails it.
	stuckSync = 800 * time.Millisecond
	// noSync: no medium that keeps its data without power is so fast.
	noSync = 5 * time.Microsecond
	// segmentRoom is what a segment and the state beside it may want beyond a memtable, generously.
	segmentRoom = 64 << 20
	// littleRoom: below it a warning, as a part of the whole.
	littleRoom = 0.10
	// littleFiles: each segment is a file, and a merge needs some more.
	littleFiles = 10_000
)

// folders checks the data folder: who may read and write it, and whether a server works on it.
func (e *examination) folders() {
	const check = "data folder"
	dir := e.cfg.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := nearest(dir)
		if err := writable(parent); err != nil {
			e.fail(check, fmt.Sprintf("%s is not there and cannot be made: %v", dir, err), "make it and give it to the server's user, or choose another with --data")
			return
		}
		e.ok(check, "%s is not there yet; serve makes it in %s", dir, parent)
		return
	case err != nil:
		e.fail(check, err.Error(), "give its folders to the server's user, or choose another with --data")
		return
	case !info.IsDir():
		e.fail(check, dir+" is no folder", "choose another with --data")
		return
	}
	e.running = inUse(dir)
	if err := writable(dir); err != nil {
		e.fail(check, err.Error(), fmt.Sprintf("give it to the server's user: chown -R USER %s", dir))
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		e.warn(check, fmt.Sprintf("%s can be read by other users (mode %04o)", dir, info.Mode().Perm()), "chmod 700 "+dir)
		return
	}
	state := "no server works on it"
	if e.running {
		state = "a server works on it now"
	}
	e.ok(check, "%s: %s", dir, state)
}

// nearest is the nearest folder above that is there.
func nearest(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for {
		if info, err := os.Stat(abs); err == nil && info.IsDir() || filepath.Dir(abs) == abs {
			return abs
		}
		abs = filepath.Dir(abs)
	}
}

// writable tries: a read-only mount and a quota do not show in a mode.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// inUse reports whether a process holds the lock of a data folder. A shared lock that is had for a moment is the question.
func inUse(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// disk measures the time of a sync and looks at the room.
func (e *examination) disk() {
	dir := nearest(e.cfg.Data)
	e.room(dir)
	const check = "disk sync"
	times, err := syncTimes(dir, e.syncs)
	if err != nil {
		e.fail(check, err.Error(), "without a sync nothing can be acknowledged: see to the disk, or choose another folder with --data")
		return
	}
	median, worst := times[len(times)/2], times[len(times)-1]
	detail := fmt.Sprintf("median %s, worst %s of %d: about %.0f acknowledgements a second one after the other, and many times that together, since they share a sync",
		shortly(median), shortly(worst), len(times), 1/max(median, time.Microsecond).Seconds())
	switch {
	case median < noSync || inMemory(dir):
		e.warn(check, detail+"; this is no disk that keeps its data without power", "put --data on a real disk, or accept that a power cut takes what was acknowledged")
	case worst >= stuckSync:
		e.warn(check, detail, fmt.Sprintf("uploads over HTTP wait %s at most: look for what else writes to this disk, or give --data one of its own", stuckSync))
	case median >= slowSync:
		e.warn(check, detail, "give --data a disk with a faster sync: an SSD with power-loss protection needs less than a millisecond")
	default:
		e.ok(check, "%s", detail)
	}
}

// shortly rounds a time for reading.
func shortly(d time.Duration) time.Duration {
	switch {
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

// syncTimes writes and syncs n times, and gives the times in ascending order. It leaves nothing behind.
func syncTimes(dir string, n int) (times []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, syncBytes)
	for began := time.Now(); len(times) < n && time.Since(began) < longestSyncing; {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("sync %s: %w", f.Name(), err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times, nil
}

// room checks what is free on the disk, and whether what shall be kept fits.
func (e *examination) room(dir string) {
	const check = "disk room"
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		e.skip(check, "%s: %v", dir, err)
		return
	}
	free, all := uint64(s.Bavail)*uint64(s.Bsize), uint64(s.Blocks)*uint64(s.Bsize)
	detail := fmt.Sprintf("%s free of %s", bytesText(free), bytesText(all))
	least := natsd.Reserve + uint64(max(e.cfg.MemtableBytes, 0)) + segmentRoom
	switch kept := uint64(max(e.cfg.RetentionBytes, 0)); {
	case free < least:
		e.fail(check, detail, fmt.Sprintf("about %s must stay free, else uploads are refused: make room, or keep less with --retention-age and --retention-bytes", bytesText(least)))
	case s.Files > 0 && s.Ffree < littleFiles:
		e.warn(check, fmt.Sprintf("%s, but room for %d files only", detail, s.Ffree), "make room for files: each segment is one")
	case kept > free+folderBytes(filepath.Join(e.cfg.Data, "segments")):
		e.warn(check, detail+", less than the --retention-bytes of "+bytesText(kept), "lower --retention-bytes, or make room: uploads are refused when the disk is full")
	case float64(free) < littleRoom*float64(all):
		e.warn(check, detail, "make room, or keep less with --retention-age and --retention-bytes")
	case e.cfg.RetentionAge == 0 && e.cfg.RetentionBytes == 0:
		e.warn(check, detail+"; everything is kept for ever", "say how long with --retention-age 30d, or how much with --retention-bytes")
	default:
		e.ok(check, "%s", detail)
	}
}

// folderBytes is the size of the files of a folder; 0 if it is not there.
func folderBytes(dir string) (n uint64) {
	entries, _ := os.ReadDir(dir) // a folder that is not there has none
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			n += uint64(info.Size())
		}
	}
	return n
}

// bytesText writes a size with two or three digits.
func bytesText(n uint64) string {
	units := [...]string{"bytes", "KB", "MB", "GB", "TB", "PB", "EB"}
	f, i := float64(n), 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1000
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
