package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of one fetch of groups from a cluster. The bytes are those of the messages, compressed; a server goes over them by one.
const (
	fetchGroups = 256
	fetchBytes  = 4 << 20

	// fetchWait is how long an answer may be silent: one that was lost with a server is asked for again.
	fetchWait = 2 * time.Second
)

const (
	directGet = "$JS.API.DIRECT.GET." + streamName
	leaderGet = "$JS.API.STREAM.MSG.GET." + streamName

	statusEnd      = "204" // of a batch
	statusNotFound = "404"

	codeNoMessage = 10037
)

// getRequest asks a stream for messages: a batch from a sequence or time on, or the last of a subject.
type getRequest struct {
	Seq      uint64     `json:"seq,omitempty"`
	From     *time.Time `json:"start_time,omitempty"`
	LastOf   string     `json:"last_by_subj,omitempty"`
	Batch    int        `json:"batch,omitempty"`
	MaxBytes int        `json:"max_bytes,omitempty"`
}

// fetched is a message of the commit log as it was read back.
type fetched struct {
	seq  uint64
	id   string
	data []byte
}

// fetcher reads the commit log of a cluster.
//
// It asks by JetStream's direct get in batches (ADR-31), which any server answers that has the stream, so also while there is no
// leader. What a server has is the beginning of what all have in common, since nothing shows before it is committed: an answer may
// be behind, and never wrong.
type fetcher struct {
	conn *nats.Conn

	mu    sync.Mutex // one fetch at a time
	inbox string
	sub   *nats.Subscription
	asked uint64 // fetches so far, which tells the answers apart
}

func newFetcher(conn *nats.Conn) (*fetcher, error) {
	f := &fetcher{conn: conn, inbox: nats.NewInbox()}
	var err error
	if f.sub, err = conn.SubscribeSync(f.inbox + ".*"); err != nil {
		return nil, fmt.Errorf("answers of the commit log: %w", err)
	}
	return f, nil
}

// fetch gives groups from sequence from on, in order, at most so many; more says how many the server has behind them. What was
// purged is left out, so the first may be a later one. Nothing is there for from when there are none.
func (f *fetcher) fetch(ctx context.Context, from uint64, most int) (groups []fetched, more uint64, err error) {
	return f.batch(ctx, getRequest{Seq: from, Batch: min(most, fetchGroups), MaxBytes: fetchBytes})
}

// firstSince gives the sequence of the first message that was stored at this time or later; 0 when there is none.
func (f *fetcher) firstSince(ctx context.Context, at time.Time) (uint64, error) {
	groups, _, err := f.batch(ctx, getRequest{From: &at, Batch: 1})
	if err != nil || len(groups) == 0 {
		return 0, err
	}
	return groups[0].seq, nil
}

func (f *fetcher) batch(ctx context.Context, r getRequest) (groups []fetched, more uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := json.Marshal(r)
	if err != nil {
		return nil, 0, err
	}
	f.asked++
	reply := f.inbox + "." + strconv.FormatUint(f.asked, 10)
	if err := f.conn.PublishRequest(directGet, reply, body); err != nil {
		return nil, 0, fmt.Errorf("commit log: %w", err)
	}
	for {
		msg, err := f.next(ctx, reply)
		if err != nil {
			return nil, 0, err
		}
		switch status := msg.Header.Get("Status"); status {
		case "":
		case statusEnd:
			more, _ = strconv.ParseUint(msg.Header.Get("Nats-Num-Pending"), 10, 64) // it is only shown
			return groups, more, nil
		case statusNotFound:
			return groups, 0, nil
		default:
			return nil, 0, fmt.Errorf("commit log: %s %s", status, msg.Header.Get("Description"))
		}
		seq, err := strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("commit log: %w", err)
		}
		groups = append(groups, fetched{seq: seq, id: msg.Header.Get(jetstream.MsgIDHeader), data: msg.Data})
	}
}

// next gives the next message to an inbox; those to earlier ones come from servers that were too slow.
func (f *fetcher) next(ctx context.Context, reply string) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	for {
		msg, err := f.sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("commit log: %w", err)
		}
		if msg.Subject == reply {
			return msg, nil
		}
	}
}

// errNoMessage: the leader has no such message.
var errNoMessage = errors.New("no such message")

// ofLeader asks the leader for one message, which is the last word on what there is and what is not.
func (f *fetcher) ofLeader(ctx context.Context, r getRequest) (m fetched, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return m, err
	}
	msg, err := f.conn.RequestWithContext(ctx, leaderGet, body)
	if err != nil {
		return m, fmt.Errorf("commit log: %w", err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Seq    uint64 `json:"seq"`
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return m, fmt.Errorf("commit log: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == codeNoMessage:
		return m, errNoMessage
	case answer.Error != nil:
		return m, fmt.Errorf("commit log: %w", answer.Error)
	case answer.Message == nil:
		return m, errors.New("commit log: an answer without a message")
	}
	m.seq, m.data = answer.Message.Seq, answer.Message.Data
	if len(answer.Message.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(answer.Message.Header)
		if err != nil {
			return m, fmt.Errorf("commit log: %w", err)
		}
		m.id = header.Get(jetstream.MsgIDHeader)
	}
	return m, nil
}

// lastOf gives sequence and id of the last group on a subject, as the leader knows it; 0 when there is none.
func (f *fetcher) lastOf(ctx context.Context, subject string) (seq uint64, id string, err error) {
	m, err := f.ofLeader(ctx, getRequest{LastOf: subject})
	if errors.Is(err, errNoMessage) {
		return 0, "", nil
	}
	return m.seq, m.id, err
}
