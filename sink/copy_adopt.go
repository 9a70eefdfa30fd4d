package sink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

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
	return removeOldLedgers(l.cfg.Dir, plan.Last)
}

// moveIn moves the files of a copy to where they belong. It may be repeated.
func moveIn(dir string, plan copyPlan) error {
	from := filepath.Join(dir, incomingDir)
	for _, name := range slices.Concat(plan.State, plan.Segments) {
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
