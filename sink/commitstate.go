package sink

import (
	"context"
	"fmt"

	"github.com/logbridge/logbridge"
)

// CommitState is what the commit log holds: groups of records that a restart would read again, since they are in no segment
// yet, or were not dropped since.
type CommitState struct {
	Groups uint64
	Bytes  uint64
	// First and Last are sequence numbers of groups; First is behind Last when there is none.
	First, Last uint64
}

// CommitState asks the commit log. ErrUnavailable when it does not answer.
func (l *Log) CommitState(ctx context.Context) (CommitState, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return CommitState{}, fmt.Errorf("%w: state of the commit log: %w", logbridge.ErrUnavailable, err)
	}
	return CommitState{Groups: info.State.Msgs, Bytes: info.State.Bytes, First: info.State.FirstSeq, Last: info.State.LastSeq}, nil
}
