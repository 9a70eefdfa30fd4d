package sink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/logbridge/logbridge"
)

const (
	// incomingDir is where files of another node lie until all of them are there; planFile in it says that they are.
	incomingDir = "incoming"
	planFile    = "plan"

	// offerWait is how long the nodes have for an offer, copyWait for any other answer.
	offerWait = time.Second
	copyWait  = 5 * time.Second

	// copyPause is the wait before another try.
	copyPause = 2 * time.Second

	// maxCopyFiles bounds what another node may list, maxCopyFile the size of a file.
	maxCopyFiles = 1 << 20
	maxCopyFile  = 1 << 40
)

// copyPlan is what is to be done with the files of incomingDir.
type copyPlan struct {
	Last     uint64   `json:"last"` // the state is that after this sequence
	Segments []string `json:"segments"`
	State    []string `json:"state"` // windows and ledger
}

// copyFrom copies what this node lacks from another one, and tries until it has it, or ctx ends. An error ends Run.
func (l *Log) copyFrom(ctx context.Context) error {
	c := l.cluster
	c.behind.Store(true)
	c.copying.Store(true)
	defer c.copying.Store(false)
	for {
		offer, err := l.bestOffer(ctx)
		if err == nil {
			err = l.copyOf(ctx, offer)
		}
		if err == nil {
			c.stateless = false
			c.look()
			return nil
		}
		if errors.Is(err, errNoOffer) && l.alone(ctx) {
			return l.goOnWithout(ctx)
		}
		if fatal := (*halfAdopted)(nil); errors.As(err, &fatal) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(c.said) > sayEvery {
			c.said = time.Now()
			l.log.Error("segments are not copied from another node yet, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(copyPause):
		}
	}
}

// errNoOffer: no node that answers has what is lacking.
var errNoOffer = errors.New("no other node has what the commit log has dropped")

// halfAdopted is an error after which memory and folder may differ: a new start finishes what was begun.
type halfAdopted struct{ error }

// bestOffer asks all nodes and takes the one that is farthest.
func (l *Log) bestOffer(ctx context.Context) (best copyOffer, err error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return best, err
	}
	inbox := nats.NewInbox()
	sub, err := l.cluster.conn.SubscribeSync(inbox)
	if err != nil {
		return best, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is gone otherwise
	if err := l.cluster.conn.PublishRequest(offerSubject, inbox, []byte(l.cluster.name)); err != nil {
		return best, err
	}
	ctx, cancel := context.WithTimeout(ctx, offerWait)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			break
		}
		var o copyOffer
		if json.Unmarshal(m.Data, &o) == nil && o.Last > best.Last {
			best = o
		}
	}
	if best.Last+1 < max(info.State.FirstSeq, l.first) {
		return best, errNoOffer
	}
	return best, nil
}

// copyOf copies from one node.
func (l *Log) copyOf(ctx context.Context, from copyOffer) error {
	t := &taking{Log: l, subject: copySubject + from.Name, dir: filepath.Join(l.cfg.Dir, incomingDir)}
	began := time.Now()
	select {
	case <-l.written: // what is being written is not asked for
	case <-ctx.Done():
		return ctx.Err()
	}
	plan, err := t.fetch(ctx)
	if err != nil {
		return err
	}
	if err := l.adopt(plan); err != nil {
		return &halfAdopted{fmt.Errorf("take over copied segments: %w", err)}
	}
	l.log.Info("segments copied from another node", "segments", len(plan.Segments), "bytes", t.bytes, "position", plan.Last, "took", time.Since(began))
	return nil
}

// taking is one copy on its way in.
type taking struct {
	*Log
	subject string
	dir     string
	list    copyList
	bytes   int64
}

// fetch brings all files into the folder for incoming ones, and then the plan.
func (t *taking) fetch(ctx context.Context) (plan copyPlan, err error) {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return plan, err
	}
	if err := t.ask(ctx, copyAsk{Op: "open"}, &t.list); err != nil {
		return plan, err
	}
	defer func() { _ = t.ask(context.WithoutCancel(ctx), copyAsk{Op: "close", Copy: t.list.Copy}, nil) }() // it ends by itself, too
	if t.list.Count < 0 || t.list.Count > maxCopyFiles {
		return plan, fmt.Errorf("%d files", t.list.Count)
	}
	for len(t.list.Files) < t.list.Count {
		var some copyList
		if err := t.ask(ctx, copyAsk{Op: "list", Copy: t.list.Copy, Offset: int64(len(t.list.Files))}, &some); err != nil {
			return plan, err
		}
		if len(some.Files) == 0 {
			return plan, errors.New("the list of files ends early")
		}
		t.list.Files = append(t.list.Files, some.Files...)
	}
	plan.Last = t.list.Last
	end := t.first - 1 // of what this node has
	files, straddling := t.wanted(end)
	if err := t.clean(files); err != nil {
		return plan, err
	}
	for _, f := range files {
		if err := t.file(ctx, f); err != nil {
			return plan, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if straddling != "" {
		if err := t.cut(ctx, straddling, end); err != nil {
			return plan, fmt.Errorf("%s: %w", straddling, err)
		}
	}
	return plan, t.decide(&plan)
}

// wanted chooses the files: windows, ledger, and the segments that reach behind end, as many of the newest as retention keeps.
// One of them may have begun before end.
func (t *taking) wanted(end uint64) (files []copyFile, straddling string) {
	total := int64(0)
	for _, f := range slices.Backward(t.list.Files) { // segments stand in their order
		name, ok := parseSegmentName(f.Name)
		switch {
		case f.Size < 0 || f.Size > maxCopyFile || filepath.Base(f.Name) != f.Name:
			continue
		case !ok:
			if _, window := parseWindowName(f.Name); !window && f.Name != ledgerName(t.list.Last) && f.Name != erasuresFile {
				continue
			}
		case name.last <= end || name.last > t.list.Last || t.cfg.RetentionBytes > 0 && total > t.cfg.RetentionBytes:
			continue
		default:
			total += f.Size
			if name.first <= end {
				straddling = f.Name
			}
		}
		files = append(files, f)
	}
	return files, straddling
}

// clean removes what an earlier try has left, but for the segments that are whole.
func (t *taking) clean(files []copyFile) error {
	entries, err := os.ReadDir(t.dir)
	for _, e := range entries {
		_, segment := parseSegmentName(e.Name())
		info, statErr := e.Info()
		if segment && statErr == nil && slices.Contains(files, copyFile{e.Name(), info.Size()}) {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(t.dir, e.Name())))
	}
	return err
}

// file brings one file.
func (t *taking) file(ctx context.Context, f copyFile) error {
	path := filepath.Join(t.dir, f.Name)
	if _, err := os.Stat(path); err == nil {
		return nil // since an earlier try
	}
	if err := t.room.check(uint64(f.Size)); err != nil {
		return err
	}
	_, err := replaceFile(t.dir, f.Name, func(out *os.File) (string, error) {
		for at := int64(0); at < f.Size; {
			b, err := t.request(ctx, copyAsk{Op: "read", Copy: t.list.Copy, File: f.Name, Offset: at})
			if err != nil {
				return "", err
			}
			if len(b) == 0 || int64(len(b)) > f.Size-at {
				return "", fmt.Errorf("%d bytes at %d of %d", len(b), at, f.Size)
			}
			if _, err := out.Write(b); err != nil {
				return "", err
			}
			at += int64(len(b))
		}
		return f.Name, nil
	})
	if err != nil {
		return err
	}
	t.bytes += f.Size
	t.cluster.copiedBytes.Add(uint64(f.Size))
	if _, ok := parseSegmentName(f.Name); !ok {
		return nil // its checksum is looked at when it is loaded
	}
	s, err := openSegment(path)
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	t.cluster.copied.Add(1)
	return s.Close()
}

// decide writes down that everything is there: from here on the copy is finished, now or at the next start.
func (t *taking) decide(plan *copyPlan) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := parseSegmentName(e.Name()); ok {
			plan.Segments = append(plan.Segments, e.Name())
		} else {
			plan.State = append(plan.State, e.Name())
		}
	}
	if !slices.Contains(plan.State, ledgerName(plan.Last)) {
		return errors.New("the ledger is missing")
	}
	b, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	_, err = replaceFile(t.dir, planFile, func(f *os.File) (string, error) {
		_, err := f.Write(b)
		return planFile, err
	})
	return err
}

// ask asks the other node and decodes its answer, into nil not at all.
func (t *taking) ask(ctx context.Context, a copyAsk, answer any) error {
	b, err := t.request(ctx, a)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(b, answer)
}

// request asks, once more when an answer is lost, and checks what comes.
func (t *taking) request(ctx context.Context, a copyAsk) ([]byte, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	const tries = 3
	for try := 1; ; try++ {
		var m *nats.Msg
		once, cancel := context.WithTimeout(ctx, copyWait)
		m, err = t.cluster.conn.RequestWithContext(once, t.subject, body)
		cancel()
		if err == nil {
			if text := m.Header.Get(errorHeader); text != "" {
				return nil, fmt.Errorf("the other node: %s", text)
			}
			sum, bad := strconv.ParseUint(m.Header.Get(sumHeader), 16, 32)
			if bad == nil && uint32(sum) == crc32.Checksum(m.Data, castagnoli) {
				return m.Data, nil
			}
			err = errors.New("the checksum of an answer is wrong")
		}
		if try == tries || ctx.Err() != nil {
			return nil, err
		}
	}
}

// adopt takes a complete copy over: first its files, then in memory.
func (l *Log) adopt(plan copyPlan) error {
	l.cluster.tending.Lock()
	defer l.cluster.tending.Unlock()
	if err := moveIn(l.cfg.Dir, plan); err != nil {
		return err
	}
	var in []*member
	for _, name := range plan.Segments {
		s, err := openSegment(filepath.Join(l.cfg.Dir, name))
		if err != nil {
			return err
		}
		in = append(in, newMember(s))
	}
	slices.SortFunc(in, func(a, b *member) int { return cmp.Compare(a.first, b.first) })
	if err := l.loadErasures(); err != nil {
		return err
	}
	told, err := loadDuplicates(l.cfg.Dir, plan.Last, windowEntries, l.log)
	if err != nil {
		return err
	}
	counted, err := loadLedger(l.cfg.Dir, plan.Last, maxLedgerStreams, l.log)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.segments.replace(nil, in...)
	l.active, l.began, l.duplicates = newMemtable(0), time.Time{}, told
	l.first, l.last = plan.Last+1, logbridge.Position{Seq: plan.Last, Index: math.MaxUint32}
	l.mu.Unlock()
	l.ledger.become(counted)
	l.sleepers.everyone(plan.Last)
	select {
	case l.wakeEraser <- struct{}{}:
	default:
	}
	return removeOldLedgers(l.cfg.Dir, plan.Last)
}

// moveIn moves the files of a copy to where they belong. It may be repeated.
func moveIn(dir string, plan copyPlan) error {
	from := filepath.Join(dir, incomingDir)
	if slices.Contains(plan.State, erasuresFile) {
		if err := adoptErasures(dir, from); err != nil {
			return err
		}
	}
	for _, name := range slices.Concat(plan.State, plan.Segments) {
		if name == erasuresFile {
			continue
		}
		err := os.Rename(filepath.Join(from, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(from); err != nil {
		return err
	}
	return syncDir(dir)
}

// finishCopy ends a copy that was decided on before a crash; one that was not is left to be gone on with.
func finishCopy(dir string) error {
	b, err := readBounded(filepath.Join(dir, incomingDir, planFile), maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var plan copyPlan
	if err == nil {
		err = json.Unmarshal(b, &plan)
	}
	if err == nil {
		err = moveIn(dir, plan)
	}
	if err == nil {
		err = removeOldLedgers(dir, plan.Last)
	}
	if err != nil {
		return fmt.Errorf("finish the copy of another node's segments: %w", err)
	}
	return nil
}

// alone reports that no other node has been there for as long as the commit log is kept. This one says that it is: by that the
// others' age is told.
func (l *Log) alone(ctx context.Context) bool {
	if err := l.cluster.report(ctx, l.first-min(l.first, 1)); err != nil {
		return false
	}
	nodes, _, err := l.cluster.others(ctx)
	return err == nil && len(nodes) == 0
}

// goOnWithout goes on where the commit log begins: nobody has what is before.
func (l *Log) goOnWithout(ctx context.Context) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		l.sayUnreached(err)
		return nil // the next look comes here again
	}
	l.cluster.stateless = false
	if info.State.FirstSeq <= l.next() {
		return nil
	}
	l.log.Error("no node has what the commit log has dropped, and this one goes on without", "from", l.next(), "to", info.State.FirstSeq-1)
	select {
	case <-l.written:
	case <-ctx.Done():
		return nil
	}
	if len(l.active.rows) > 0 || !l.began.IsZero() {
		l.writeSegment(ctx, l.freeze())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = info.State.FirstSeq
	l.last = logbridge.Position{Seq: l.first - 1, Index: math.MaxUint32}
	return nil
}
