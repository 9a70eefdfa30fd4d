package natsd

import (
	"fmt"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// Reserve is how much room on the disk stays free of values, in bytes. JetStream keeps the first write error of a stream
// for ever, so it must never meet a full disk: this is enough for what it writes unasked, which is a block of a stream
// (8 MiB) written anew when part of it is dropped, and its own state.
const Reserve = 16 << 20

// roomAge is how old an answer about the room on the disk may be: much younger than it takes to write Reserve.
const roomAge = 2 * time.Millisecond

// disk knows how much room there is for the files of the server.
type disk struct {
	dir string

	mu   sync.Mutex
	at   time.Time // when free was read
	free uint64
}

// Room is nil while at least this many bytes are free, for users without privileges, on the file system of the server's
// folder, and an error that is ErrUnavailable when there are fewer. Where the system does not tell, there is room, and so there
// is with an outside cluster: its servers have bounds of their own (max_file_store, limits of accounts), at which they refuse
// single writes, and that is ErrUnavailable too.
func (n *Node) Room(bytes uint64) error {
	if n.srv == nil {
		return nil
	}
	return n.disk.room(bytes)
}

// RoomIn is Room for another folder of this machine.
func RoomIn(dir string) func(bytes uint64) error { return (&disk{dir: dir}).room }

func (d *disk) room(bytes uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.at) > roomAge {
		d.at, d.free = now, freeBytes(d.dir)
	}
	if d.free < bytes {
		return fmt.Errorf("%w: disk full: %d MiB are free, %d must be", logbridge.ErrUnavailable, d.free>>20, bytes>>20)
	}
	return nil
}
