package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// reason is why an upload was not stored, as the ledger counts it. Each surface has a table from reasons to its own
// status and code.
type reason string

const (
	malformed   reason = "malformed"     // not what the protocol says
	badValue    reason = "bad_value"     // a header or parameter has a value that there is not
	missing     reason = "missing"       // a header or parameter that must be there is not
	tooLarge    reason = "too_large"     // over a bound
	slow        reason = "too_slow"      // the body did not come in time
	overload    reason = "overload"      // the bound of all bodies in flight was reached
	badAuth     reason = "signature"     // the signature is not the device's
	throttled   reason = "throttled"     // too many wrong signatures before this one
	registerOff reason = "register_off"  // the product does not let devices register
	notThere    reason = "unregistered"  // the device that wants its key is not registered
	inUse       reason = "connected"     // the device that wants its key has been here before
	badToken    reason = "token"         // no token, or one that is not good
	notInScope  reason = "scope"         // a token that may not write to this stream
	badRole     reason = "role"          // a token that may not write, or a temporary key of another logstore
	expired     reason = "expired"       // the clock of the request is off by more than is allowed, or its temporary key has ended
	unknownName reason = "unknown"       // no such device, store or topic
	closed      reason = "anonymous_off" // the store takes no anonymous writes
	badOrigin   reason = "origin"        // the store takes no writes from this page
	writeToken  reason = "write_token"   // the store wants a write token, and this is none of its
	overRate    reason = "rate"          // the address, or all writers of the store, are over their rate
	unsupported reason = "unsupported"   // a way to write that this server does not know
	badMethod   reason = "method"        // a method that the path does not have
	unanswered  reason = "unavailable"   // not stored in time; Append counts it, when the outcome is known
	internal    reason = "internal"      // a fault of this server
)

// optedOut is why events are dropped, as the ledger counts it: their sender is told that all is well.
const optedOut reason = "opt_out" // the client does not want to be tracked, and the store heeds that

// refusal is an upload that will not be stored: why, and for whom it is counted. stream is "" as long as the target is not
// known to exist.
type refusal struct {
	reason reason
	stream logbridge.Stream
	lines  int // how many lines are lost; 0 when that is not known, counted as one
	err    error
}

func (r *refusal) Error() string { return string(r.reason) + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse makes a refusal of one kind of error.
func refuse(why reason, stream logbridge.Stream, lines int, err error) *refusal {
	return &refusal{reason: why, stream: stream, lines: lines, err: err}
}

// kindOf finds the reason for an error of readBody, of a decoder or of the log.
func kindOf(err error) reason {
	switch {
	case errors.Is(err, logbridge.ErrTooLarge):
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return slow
	case errors.Is(err, logbridge.ErrUnavailable):
		return overload
	case errors.Is(err, logbridge.ErrUnauthorized):
		return badAuth
	case errors.Is(err, logbridge.ErrInvalid):
		return malformed
	}
	return internal
}

// count enters a refusal into the ledger, unless the log does.
func (s *Server) count(source logbridge.Source, r *refusal) {
	if r.reason == unanswered {
		return
	}
	s.deps.Counter.Refuse(source, r.stream, string(r.reason), max(r.lines, 1))
}

// append hands a batch to the log and waits at most appendTimeout, which is the same for all who begin at about the same time. It goes on when the client has hung up: a page that is
// being closed does not wait for its answer.
func (s *Server) append(b logbridge.Batch, stream logbridge.Stream) error {
	if len(b.Records) == 0 {
		return nil
	}
	_, err := s.deps.Log.Append(s.patience.context(), b)
	if err == nil {
		return nil
	}
	why := kindOf(err)
	switch why {
	case overload: // ErrUnavailable; here it means that the outcome is unknown
		why, err = unanswered, errors.New("the logs could not be stored in time")
		s.log.Warn("append was not acknowledged", "stream", stream, "records", len(b.Records))
	case internal:
		s.log.Error("append", "stream", stream, "records", len(b.Records), "error", err)
	}
	return refuse(why, stream, len(b.Records), err)
}

// patience ends appends that take too long. All that begin within a patienceStep share one context and its timer: one for each request is a
// tenth of what a small one allocates. The zero value is ready.
type patience struct {
	mu    sync.Mutex // guards all below
	ctx   context.Context
	until time.Time
}

// patienceStep is by how much an append may be given less than appendTimeout.
const patienceStep = 50 * time.Millisecond

func (p *patience) context() context.Context {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || now.After(p.until) {
		ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
		context.AfterFunc(ctx, cancel) // it ends by its time alone
		p.ctx, p.until = ctx, now.Add(patienceStep)
	}
	return p.ctx
}

// clientIP is the address of the client: of the connection, or as trusted proxies say (forwarding.apply).
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// clientAddr is the same as an address; the zero Addr for what is none.
func clientAddr(r *http.Request) netip.Addr {
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr()
}

// hostName is the Host of a request without its port.
func hostName(r *http.Request) string {
	if strings.IndexByte(r.Host, ':') < 0 { // an error costs more than all the rest
		return strings.Trim(r.Host, "[]")
	}
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return strings.Trim(r.Host, "[]")
}
