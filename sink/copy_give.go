package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"crypto/rand"

	"github.com/nats-io/nats.go"
)

const (
	// Where nodes ask for segments of others: who has any, and the node of a name for its own.
	offerSubject = "logbridge.sink.offer"
	copySubject  = "logbridge.sink.copy."

	// asksMost is how many questions of others may wait; beyond it they are lost, and asked again.
	asksMost = 64

	// copyChunk is how much of a file one answer holds, in bytes: well below the largest message of a NATS server.
	copyChunk = 256 << 10

	// copyPage is how many files one answer lists: names and sizes of so many stay below that, too.
	copyPage = 4096

	// copiesMost is how many nodes may copy from this one at a time, copyIdle how long one may be silent before its files are let go.
	copiesMost = 4
	copyIdle   = 5 * time.Minute

	// copyPrefix begins the names of the folders in which files are kept while they are copied.
	copyPrefix = "copy-"
)

// The headers of an answer: the CRC-32C of its data, and what went wrong.
const (
	sumHeader   = "Logbridge-Crc32c"
	errorHeader = "Logbridge-Error"
)

// copyAsk is a question of a node that copies.
type copyAsk struct {
	Op     string `json:"op"` // open, list, read, close
	Copy   string `json:"copy,omitempty"`
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"` // in the file, or among the files
}

// copyOffer says what a node has.
type copyOffer struct {
	Name string `json:"name"`
	Last uint64 `json:"last"` // the end of its segments
}

// copyFile is a file of a copy.
type copyFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// copyList is what a copy consists of: the state of a node after sequence Last. Files has some of the Count files.
type copyList struct {
	Copy  string     `json:"copy"`
	Last  uint64     `json:"last"`
	Count int        `json:"count"`
	Files []copyFile `json:"files,omitempty"`
}

// giver keeps the files that others are copying: hard links to them, so that merges and retention go on meanwhile.
type giver struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex
	open map[string]*givenCopy
}

type givenCopy struct {
	copyList
	dir  string
	used time.Time
}

// listenForCopies subscribes to the questions.
func (c *cluster) listenForCopies() error {
	for _, s := range []string{offerSubject, copySubject + c.name} {
		sub, err := c.conn.ChanSubscribe(s, c.asks)
		if err != nil {
			return err
		}
		c.subs = append(c.subs, sub)
	}
	return nil
}

// answering answers the questions of nodes that copy, one after the other, until ctx ends.
func (l *Log) answering(ctx context.Context) {
	idle := time.NewTicker(copyIdle / 5)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			l.cluster.give.letGo(time.Now().Add(-copyIdle))
		case m := <-l.cluster.asks:
			l.answerCopy(m)
		}
	}
}

func (l *Log) answerCopy(m *nats.Msg) {
	answer := &nats.Msg{Subject: m.Reply, Header: nats.Header{}}
	var err error
	if answer.Data, err = l.copyAnswer(m); err != nil {
		answer.Data = nil
		answer.Header.Set(errorHeader, err.Error())
	}
	if answer.Data == nil && err == nil {
		return
	}
	answer.Header.Set(sumHeader, sumText(answer.Data))
	if err := m.RespondMsg(answer); err != nil {
		l.log.Warn("a node that copies was not answered", "err", err)
	}
}

func sumText(b []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(b, castagnoli)), 16)
}

// copyAnswer gives the data of an answer; nil for none.
func (l *Log) copyAnswer(m *nats.Msg) ([]byte, error) {
	if m.Subject == offerSubject {
		return l.offer(string(m.Data))
	}
	var ask copyAsk
	if err := json.Unmarshal(m.Data, &ask); err != nil {
		return nil, err
	}
	switch g := &l.cluster.give; ask.Op {
	case "open":
		c, err := l.openCopy()
		if err != nil {
			return nil, err
		}
		return json.Marshal(copyList{Copy: c.Copy, Last: c.Last, Count: c.Count})
	case "list":
		return g.list(ask)
	case "read":
		return g.read(ask)
	case "close":
		g.remove(ask.Copy)
		return []byte("{}"), nil
	default:
		return nil, fmt.Errorf("%q is not known here: another version asks", ask.Op)
	}
}

// offer answers another node that looks for segments; who is behind himself has none to give.
func (l *Log) offer(asker string) ([]byte, error) {
	newest := l.newest()
	if asker == l.cluster.name || newest == nil || l.cluster.behind.Load() {
		return nil, nil
	}
	return json.Marshal(copyOffer{Name: l.cluster.name, Last: newest.last})
}

// openCopy links all files of the state after the newest segment into a folder.
func (l *Log) openCopy() (*givenCopy, error) {
	g := &l.cluster.give
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(l.erasing()) > 0 {
		return nil, errors.New("records are being erased, which takes a while")
	}
	if len(g.open) >= copiesMost {
		return nil, errors.New("as many nodes as may be are copying already")
	}
	c := &givenCopy{used: time.Now()}
	c.Copy = rand.Text()
	c.dir = filepath.Join(g.dir, copyPrefix+c.Copy)
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	if err := l.linkState(c); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	c.Count = len(c.Files)
	g.open[c.Copy] = c
	l.log.Info("another node copies the segments", "files", c.Count, "position", c.Last)
	return c, nil
}

// linkState links segments, windows and ledger as of the end of the newest segment. Old windows and ledgers stay meanwhile.
func (l *Log) linkState(c *givenCopy) error {
	l.stateFiles.Lock()
	defer l.stateFiles.Unlock()
	held := l.held()
	defer l.letGo(held)
	if len(held) == 0 {
		return errors.New("no segments are there")
	}
	c.Last = held[len(held)-1].last
	windows, err := windowChain(l.cfg.Dir, c.Last)
	if err != nil {
		return err
	}
	names := []string{ledgerName(c.Last)}
	for _, w := range windows {
		names = append(names, w.name())
	}
	for _, m := range held {
		names = append(names, filepath.Base(m.path))
	}
	if _, err := os.Stat(filepath.Join(l.cfg.Dir, erasuresFile)); err == nil {
		names = append(names, erasuresFile)
	}
	for _, name := range names {
		to := filepath.Join(c.dir, name)
		if err := os.Link(filepath.Join(l.cfg.Dir, name), to); err != nil {
			return err
		}
		info, err := os.Stat(to)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, copyFile{name, info.Size()})
	}
	return nil
}

// windowChain names the files of the windows that lead up to a sequence, newest first.
func windowChain(dir string, last uint64) (chain []windowFile, err error) {
	files, err := windowFiles(dir)
	if err != nil {
		return nil, err
	}
	for at := last; ; at = chain[len(chain)-1].first - 1 {
		i := slices.IndexFunc(files, func(f windowFile) bool { return f.last == at })
		if i < 0 {
			return chain, nil
		}
		chain = append(chain, files[i])
	}
}

// copy gives a copy that is open, and notes that it is used.
func (g *giver) copy(id string) (*givenCopy, error) {
	c := g.open[id]
	if c == nil {
		return nil, errors.New("this copy is over")
	}
	c.used = time.Now()
	return c, nil
}

func (g *giver) list(ask copyAsk) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := g.copy(ask.Copy)
	if err != nil {
		return nil, err
	}
	from := min(max(ask.Offset, 0), int64(c.Count))
	some := c.copyList
	some.Files = c.Files[from:min(from+copyPage, int64(c.Count))]
	return json.Marshal(some)
}

// read gives a part of a file, which is empty behind its end.
func (g *giver) read(ask copyAsk) ([]byte, error) {
	g.mu.Lock()
	c, err := g.copy(ask.Copy)
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(c.Files, func(f copyFile) bool { return f.Name == ask.File }) {
		return nil, fmt.Errorf("no file %q", ask.File)
	}
	f, err := os.Open(filepath.Join(c.dir, ask.File))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, copyChunk)
	n, err := f.ReadAt(b, ask.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

func (g *giver) remove(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(id)
}

// drop needs the lock.
func (g *giver) drop(id string) {
	c := g.open[id]
	if c == nil {
		return
	}
	delete(g.open, id)
	if err := os.RemoveAll(c.dir); err != nil {
		g.log.Warn("links to copied files not removed, the next start will do it", "err", err)
	}
}

// letGo ends the copies that were not used since then.
func (g *giver) letGo(since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, c := range g.open {
		if c.used.Before(since) {
			g.drop(id)
		}
	}
}

func (g *giver) closeAll() { g.letGo(time.Now().Add(time.Hour)) }

// removeCopies removes what an earlier process was giving to others.
func removeCopies(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), copyPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
