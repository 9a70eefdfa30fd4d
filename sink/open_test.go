package sink

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestSegmentThatCannotBeOpened: what the system refuses for now is not taken for damage, which would hide good records.
func TestSegmentThatCannotBeOpened(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 8 << 10})
	for i := range 20 {
		e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, strings.Repeat("x", 1000)))}})
	}
	e.stop()
	files, err := filepath.Glob(filepath.Join(e.cfg.Dir, "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segments %v, %v", files, err)
	}
	// A link to itself cannot be opened by anyone, root included, and its file is not at fault.
	aside := files[0] + ".aside"
	if err := os.Rename(files[0], aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(files[0], files[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadSegments(e.cfg.Dir, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a segment that cannot be opened was passed over")
	}
	if damaged, _ := filepath.Glob(filepath.Join(e.cfg.Dir, "*.damaged")); len(damaged) > 0 {
		t.Errorf("set aside: %v", damaged)
	}
	if err := os.Rename(aside, files[0]); err != nil {
		t.Fatal(err)
	}
	e.start()
	if got := len(e.query(logbridge.Query{})); got != 20 {
		t.Errorf("%d records", got)
	}
}
