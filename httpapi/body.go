package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/semaphore"

	"github.com/logbridge/logbridge"
)

// The bounds of bodies.
const (
	// maxBodiesInFlight bounds all bodies and decompressed bodies that are held at one moment (design.md 7).
	maxBodiesInFlight = 64 << 20
	// maxBodyWait is how long a request waits for its share of that. A device expects its answer within a second.
	maxBodyWait = 200 * time.Millisecond
	// firstBuffer holds nearly every body, so that most requests take a share once.
	firstBuffer = 16 << 10
	// keepBuffer is the largest buffer that is kept for reuse.
	keepBuffer = 256 << 10
	// maxDiscard: so much of a body over its bound is read and thrown away, so that the sender sees the answer instead
	// of a reset connection.
	maxDiscard = 32 << 20
)

// bodies hands out memory for request bodies, within one bound for all.
type bodies struct {
	share *semaphore.Weighted
	pool  sync.Pool // of *[]byte
}

func newBodies() *bodies {
	return &bodies{share: semaphore.NewWeighted(maxBodiesInFlight)}
}

// buffer is memory on loan: share bytes of the bound are taken until release.
type buffer struct {
	owner *bodies
	b     []byte
	share int64
}

// get returns an empty buffer without a share.
func (p *bodies) get() *buffer {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return &buffer{owner: p, b: (*b)[:0]}
	}
	return &buffer{owner: p}
}

// take makes the buffer's share n bytes. For more than it has, it waits at most maxBodyWait and then returns
// ErrUnavailable.
func (b *buffer) take(ctx context.Context, n int64) error {
	switch more := n - b.share; {
	case more < 0:
		b.owner.share.Release(-more)
	case more > 0 && !b.owner.share.TryAcquire(more):
		ctx, cancel := context.WithTimeout(ctx, maxBodyWait)
		defer cancel()
		if b.owner.share.Acquire(ctx, more) != nil {
			return fmt.Errorf("%w: too many uploads at once", logbridge.ErrUnavailable)
		}
	}
	b.share = n
	return nil
}

// grow takes a share of n bytes and gives the buffer that capacity.
func (b *buffer) grow(ctx context.Context, n int64) error {
	if err := b.take(ctx, n); err != nil {
		return err
	}
	if int64(cap(b.b)) < n {
		b.b = append(make([]byte, 0, n), b.b...)
	}
	return nil
}

// keep gives the memory back and makes the share n bytes, for what was made of the content.
func (b *buffer) keep(ctx context.Context, n int64) error {
	b.put()
	return b.take(ctx, n)
}

// release gives memory and share back; nothing may use the bytes afterwards.
func (b *buffer) release() {
	if b.share > 0 {
		b.owner.share.Release(b.share)
		b.share = 0
	}
	b.put()
}

// put gives the memory back.
func (b *buffer) put() {
	if c := cap(b.b); c > 0 && c <= keepBuffer {
		kept := b.b[:0]
		b.owner.pool.Put(&kept)
	}
	b.b = nil
}

// readBody reads the body of a request of at most most bytes. Memory grows with what has arrived, not with what was
// announced. Errors: ErrTooLarge, ErrUnavailable when the bound of all bodies is reached, os.ErrDeadlineExceeded for a
// slow body, ErrInvalid for one that was cut off. The caller releases the buffer, which is never nil.
func (s *Server) readBody(c echo.Context, most int64) (*buffer, error) {
	buf := s.bodies.get()
	r := c.Request()
	if r.ContentLength > most {
		s.discard(r.Body)
		return buf, fmt.Errorf("%w: body of %d bytes, at most %d are taken", logbridge.ErrTooLarge, r.ContentLength, most)
	}
	if r.ContentLength == 0 {
		return buf, nil
	}
	return buf, s.fill(r, buf, most)
}

func (s *Server) fill(r *http.Request, buf *buffer, most int64) error {
	whole := most + 1 // one more than is taken, so that more is seen
	if r.ContentLength > 0 {
		whole = r.ContentLength + 1 // one more, so that the end is seen without growing
	}
	err := buf.read(r.Context(), r.Body, most, whole)
	switch {
	case errors.Is(err, logbridge.ErrTooLarge):
		s.discard(r.Body)
	case err != nil && !errors.Is(err, logbridge.ErrUnavailable):
		err = bodyError(err)
	}
	return err
}

// read reads r to its end, growing up to whole bytes. Errors: those of r, ErrTooLarge for more than most bytes,
// ErrUnavailable.
func (b *buffer) read(ctx context.Context, r io.Reader, most, whole int64) error {
	for size := min(firstBuffer, whole); ; size = min(size*4, whole) {
		if err := b.grow(ctx, size); err != nil {
			return err
		}
		for len(b.b) < int(size) {
			n, err := r.Read(b.b[len(b.b):size])
			b.b = b.b[:len(b.b)+n]
			if int64(len(b.b)) > most {
				return fmt.Errorf("%w: body of more than %d bytes", logbridge.ErrTooLarge, most)
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// discard reads the rest of a refused body, as long as the body's deadline allows.
func (s *Server) discard(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxDiscard) }

func bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("body came too slowly: %w", os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("%w: body was cut off", logbridge.ErrInvalid)
}
