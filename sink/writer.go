package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// clusterTry is how long one try to publish to a cluster waits. What a server had in its hands when it died is lost, and no
	// error comes: the shorter, the sooner the next leader is asked. A disk that takes longer costs a repetition, no more.
	clusterTry = time.Second

	// The pause before a publish is repeated: from the first to the most.
	repeatFirst = 20 * time.Millisecond
	repeatMost  = 250 * time.Millisecond

	// lastTry is how long a publish is repeated when the sink is to end: the cluster may be gone, and the end must come.
	lastTry = 5 * time.Second
)

// writer publishes the groups of one process to a cluster, each exactly once, however long the outcome of a try is unknown.
//
// Each process has a subject of its own, on which nobody else publishes, and says with each group which sequence its last
// one has (Nats-Expected-Last-Subject-Sequence). A repetition of a group that is stored is so refused for ever, and not only for as
// long as the servers remember message ids; whoever is refused looks what the last group on his subject is.
type writer struct {
	subject string
	last    uint64 // sequence of the last group on it; 0 is none
	lookup  func(ctx context.Context, subject string) (seq uint64, id string, err error)
	log     *slog.Logger
	own     ownGroups
	repeats atomic.Uint64
}

// publish returns nil when the group is stored, and g.seq then is its sequence; a *jetstream.APIError when it was refused and no try
// can have stored it; any other error when the sink ends and the outcome is not known.
func (w *writer) publish(js publisher, g *group, id string, data []byte, ending <-chan struct{}) error {
	msg := nats.NewMsg(w.subject)
	msg.Data = data
	doubt, purged, pause := false, false, repeatFirst
	var given <-chan time.Time
	for {
		seq, err := w.try(js, msg, id)
		if err == nil {
			g.seq, w.last = seq, seq
			return nil
		}
		if !doubt && refusedForSure(err) {
			return err
		}
		if !doubt && !purged && wrongSequence(err) { // the last group of this process is not there any more
			purged = true
			if _, _, err := w.newest(); err == nil {
				continue
			}
		}
		if !doubt {
			w.log.Warn("the outcome of a publish is not known, repeating it", "err", err)
		}
		doubt = true
		w.repeats.Add(1)
		if found, ok := w.settled(id); ok {
			g.seq = found
			return nil
		}
		if given == nil {
			select {
			case <-ending:
				given = time.After(lastTry)
			default:
			}
		}
		select {
		case <-given:
			return fmt.Errorf("the outcome is not known: %w", err)
		case <-time.After(pause):
		}
		pause = min(2*pause, repeatMost)
	}
}

func (w *writer) try(js publisher, msg *nats.Msg, id string) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), clusterTry)
	defer cancel()
	ack, err := js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(streamName), jetstream.WithExpectLastSequencePerSubject(w.last))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// settled looks for the last group of this process, and reports whether it is the one with this id.
func (w *writer) settled(id string) (seq uint64, ok bool) {
	seq, last, err := w.newest()
	return seq, err == nil && seq > 0 && last == id
}

// newest asks the leader which group of this process is the last; all may have been purged.
func (w *writer) newest() (seq uint64, id string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), clusterTry)
	defer cancel()
	if seq, id, err = w.lookup(ctx, w.subject); err == nil {
		w.last = seq
	}
	return seq, id, err
}

// The errors that say for sure that a try has stored nothing: they come before anything is proposed to the other servers, or
// with the same effect on each of them.
const (
	codeAccountFull     = 10002
	codeServerFull      = 10023
	codeHeaderTooLarge  = 10052
	codeMessageTooLarge = 10054
	codeStoreFailed     = 10077
)

// wrongSequence reports that a try was refused since the last group on the subject is another one.
func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// refusedForSure leaves out the store's other failures: one server's disk may have failed when the others had the group.
func refusedForSure(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeAccountFull, codeServerFull, codeHeaderTooLarge, codeMessageTooLarge:
		return true
	case codeStoreFailed:
		return api.Description == "maximum bytes exceeded"
	}
	return false
}

// ownGroups are the groups of this process that are on their way: the indexer may meet one in the commit log before its
// acknowledgement has come.
type ownGroups struct {
	mu   sync.Mutex
	byID map[string]*group
}

func (o *ownGroups) add(g *group) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byID == nil {
		o.byID = map[string]*group{}
	}
	o.byID[g.id] = g
}

func (o *ownGroups) remove(g *group) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, g.id)
}

// find gives the group of a message, nil if it is not on its way from here.
func (o *ownGroups) find(id string) *group {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byID[id]
}
