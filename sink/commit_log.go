package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"
)

// openStream makes the commit log, or opens it. A log that has to be made anew continues behind the segments.
func openStream(ctx context.Context, js jetstream.JetStream, lastIndexed uint64, maxBytes int64) (jetstream.Stream, error) {
	cfg := streamConfig(maxBytes)
	s, err := js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		cfg.FirstSeq = lastIndexed + 1
		s, err = js.CreateStream(ctx, cfg)
	} else if err == nil {
		s, err = js.UpdateStream(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("commit log: %w", err)
	}
	return s, nil
}

func streamConfig(maxBytes int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        streamName,
		Description: "logbridge commit log: groups of records that are not yet in a segment",
		Subjects:    []string{subject},
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    maxBytes,
		DenyDelete:  true,
		AllowDirect: true,
		Duplicates:  publishTries * publishTimeout * 2, // message ids are only needed while one is tried again
	}
}

// groupReader reads messages back; one that is not there is jetstream.ErrMsgNotFound.
type groupReader interface {
	GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error)
}

// readGroup fetches a group from the commit log; nil when that sequence holds nothing.
func readGroup(ctx context.Context, s groupReader, seq uint64) (*group, error) {
	msg, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("commit log: sequence %d: %w", seq, err)
	}
	return decompress(seq, msg.Data)
}

// decompress checks the size before it allocates.
func decompress(seq uint64, data []byte) (*group, error) {
	n, err := s2.DecodedLen(data)
	if err != nil || n > maxGroup {
		return nil, fmt.Errorf("commit log: sequence %d: %w", seq, errCorrupt)
	}
	raw, err := s2.Decode(nil, data)
	if err != nil {
		return nil, fmt.Errorf("commit log: sequence %d: %w", seq, err)
	}
	return &group{seq: seq, raw: raw}, nil
}
