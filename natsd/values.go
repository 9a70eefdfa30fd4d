package natsd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

const (
	// writeWait bounds a write or a read of one value: the election of a leader (9 s at most) and some more.
	writeWait = 15 * time.Second
	// askAgain is how long one question may stay without an answer. A leader that is killed answers nothing.
	askAgain = 2 * time.Second
)

// The headers of a bucket's messages (ADR-8 of NATS).
const (
	headOperation = "KV-Operation"
	opDelete      = "DEL"
)

// anyRevision is the expected revision of who does not care.
const anyRevision = ^uint64(0)

// write stores a value, or the marker of a deleted one, if the key still has the expected revision, and gives the new one.
//
// While nobody answers, as when the bucket elects a leader, it asks again, under the same message id: what was stored already
// is not stored twice, and its revision is told. So the outcome is known unless the answer stays out for writeWait, or ctx ends.
// The embedded server needs none of this: it is there, or the program has ended.
func (s *Store) write(ctx context.Context, key string, data []byte, operation string, expected uint64) (uint64, error) {
	m := nats.NewMsg("$KV." + s.bucket + "." + key)
	m.Data = data
	if operation != "" {
		m.Header.Set(headOperation, operation)
	}
	if !s.node.Embedded() {
		m.Header.Set(jetstream.MsgIDHeader, rand.Text())
	}
	if expected != anyRevision {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expected, 10))
	}
	var revision uint64
	err := s.ask(ctx, func(ctx context.Context) error {
		ack, err := s.node.js.PublishMsg(ctx, m)
		if err == nil {
			revision = ack.Sequence
		}
		return err
	})
	return revision, err
}

// ask asks again until there is an answer, ctx ends, or writeWait is over.
func (s *Store) ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	if s.node.Embedded() {
		return question(ctx)
	}
	for {
		once, cancel := context.WithTimeout(ctx, askAgain)
		err := question(once)
		cancel()
		if err == nil || !unanswered(err) {
			return err
		}
		if sleep(ctx, connectPause) != nil {
			return err
		}
	}
}

// unanswered reports whether asking again may help.
func unanswered(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch server.ErrorIdentifier(api.ErrorCode) {
		case server.JSStreamDuplicateMessageConflict: // the first of them is on its way
			return true
		case server.JSInsufficientResourcesErr: // no room
			return false
		}
	}
	return passing(err)
}

// Read reads a value and its revision, not from memory but as the bucket's leader has it: what it holds now, whoever wrote it. (A
// read by the client's own Get is answered by any server that has a copy, which may be a moment behind.) ErrNotFound when there is
// none, with the revision of what says that it was deleted; ErrUnavailable.
func (s *Store) Read(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": "$KV." + s.bucket + "." + key})
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq  uint64 `json:"seq"`
			Hdrs []byte `json:"hdrs"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	err = s.ask(ctx, func(ctx context.Context) error {
		m, err := s.node.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_"+s.bucket, question)
		if err != nil {
			return err
		}
		answer.Error = nil
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		if answer.Error != nil {
			return answer.Error
		}
		return nil
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, fmt.Errorf("%w: %s", logbridge.ErrNotFound, key)
	}
	if err != nil {
		return nil, 0, unavailable("read", key, err)
	}
	head, err := nats.DecodeHeadersMsg(answer.Message.Hdrs)
	if err == nil && head.Get(headOperation) != "" {
		return nil, answer.Message.Seq, fmt.Errorf("%w: %s", logbridge.ErrNotFound, key)
	}
	return answer.Message.Data, answer.Message.Seq, nil
}

// Write stores a value that no table holds. ErrUnavailable means that the outcome is unknown.
func (s *Store) Write(ctx context.Context, key string, value []byte) error {
	if err := s.room(Reserve); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	if _, err := s.write(ctx, key, value, "", anyRevision); err != nil {
		return unavailable("store", key, err)
	}
	return nil
}

// First stores a value unless there is one, and gives what is there then, and its revision: of several nodes that do so at once all get
// the same. ErrUnavailable means that the outcome is unknown.
func (s *Store) First(ctx context.Context, key string, value []byte) ([]byte, uint64, error) {
	if err := s.room(Reserve); err != nil {
		return nil, 0, fmt.Errorf("store %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	var over uint64
	for {
		revision, err := s.write(ctx, key, value, "", over)
		if err == nil {
			return value, revision, nil
		}
		if !conflict(err) {
			return nil, 0, unavailable("store", key, err)
		}
		there, revision, err := s.Read(ctx, key)
		if !errors.Is(err, logbridge.ErrNotFound) {
			return there, revision, err
		}
		over = revision // of its deletion; or the other's value is on its way, and not yet to be read
		if err := sleep(ctx, askPause); err != nil {
			return nil, 0, unavailable("store", key, err)
		}
	}
}
