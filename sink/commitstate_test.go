package sink

import "testing"

func TestCommitState(t *testing.T) {
	e := newEnv(t, Config{})
	empty, err := e.log.CommitState(t.Context())
	if err != nil || empty.Groups != 0 || empty.Last != 0 {
		t.Errorf("at first %+v, %v", empty, err)
	}
	for i := range 3 {
		e.append(lines("dev_01", i, 1))
	}
	full, err := e.log.CommitState(t.Context())
	if err != nil || full.Groups != 3 || full.Last != 3 || full.First != 1 || full.Bytes == 0 {
		t.Errorf("after three groups %+v, %v", full, err)
	}
}
