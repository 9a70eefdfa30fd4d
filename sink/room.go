package sink

import (
	"log/slog"
	"sync/atomic"

	"github.com/logbridge/logbridge/natsd"
)

const (
	// stateRoom is what a flush may write beside the segment's records: the three windows at their bound, and the rest of
	// the state, the footer and what a group adds to a memtable that is almost full, generously.
	stateRoom = uint64(maxWindowFile) + 8<<20

	// resumeRoom is what must be free beyond the reserve before a disk that was full takes appends again, so that it does
	// not change its mind with every group.
	resumeRoom = 8 << 20
)

// room decides whether there is room on the disk for more, and says so in the log when that changes.
//
// The commit log stops first, while so much is free that a memtable can still become a segment, after which the commit
// log gives back what that held: so a full disk never keeps the memtables full, and what an operator or the retention
// frees is enough as soon as it is the reserve. Segments and the state beside them may use the reserve, and they try
// again when even that is gone. Below natsd.Reserve values are not written either.
type room struct {
	free    func(bytes uint64) error // nil while so many bytes are free
	reserve uint64
	log     *slog.Logger
	full    atomic.Bool
}

func newRoom(cfg Config, free func(bytes uint64) error, log *slog.Logger) *room {
	return &room{free: free, reserve: natsd.Reserve + uint64(cfg.MemtableBytes) + stateRoom, log: log}
}

// check is nil when extra bytes may be written besides the reserve. An error is ErrUnavailable.
func (r *room) check(extra uint64) error {
	need := r.reserve + extra
	if r.full.Load() {
		need += resumeRoom
	}
	err := r.free(need)
	switch {
	case extra > 0: // one large file finds no room: appends may well
	case err != nil && !r.full.Swap(true):
		r.log.Error("the disk is full, uploads are refused until there is room", "err", err)
	case err == nil && r.full.Swap(false):
		r.log.Info("the disk has room again, uploads are taken")
	}
	return err
}
