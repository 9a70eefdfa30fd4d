package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/logbridge/logbridge"
)

// eraseLogs names one stream, by what it belongs to or as a whole.
type eraseLogs struct {
	Product  string `query:"product" doc:"with device: the device"`
	Device   string `query:"device"`
	Project  string `query:"project" doc:"with logstore: the SLS store"`
	Logstore string `query:"logstore"`
	Topic    string `query:"topic" doc:"the CLS topic"`
	Stream   string `query:"stream" doc:"or the stream itself, as records have it" example:"device/ABCDE12345/dev_01"`
}

type erasedView struct {
	Stream  logbridge.Stream `json:"stream"`
	Records uint64           `json:"records" doc:"how many there were, about"`
}

// stream is the one stream that is asked for.
func (in *eraseLogs) stream() (logbridge.Stream, error) {
	var named []logbridge.Stream
	for _, one := range []struct {
		any, all bool
		stream   logbridge.Stream
	}{
		{in.Product != "" || in.Device != "", in.Product != "" && in.Device != "", logbridge.DeviceID{Product: in.Product, Device: in.Device}.Stream()},
		{in.Project != "" || in.Logstore != "", in.Project != "" && in.Logstore != "", logbridge.SLSStream(in.Project, in.Logstore)},
		{in.Topic != "", true, logbridge.CLSStream(in.Topic)},
		{in.Stream != "", true, logbridge.Stream(in.Stream)},
	} {
		if one.any && !one.all || one.any && len(named) > 0 {
			named = nil
			break
		}
		if one.any {
			named = append(named, one.stream)
		}
	}
	if len(named) != 1 || logbridge.IsGlob(string(named[0])) {
		return "", fmt.Errorf("%w: name one stream: product and device, project and logstore, topic, or stream, without wildcards", logbridge.ErrInvalid)
	}
	return named[0], nil
}

func (a *api) erase() {
	callFor(a, anywhere, logbridge.RoleAdmin, http.MethodDelete, "/logs", "erase-logs", "Erase all records of one device, store or service", a.eraseLogs)
}

// eraseLogs needs a reason, since nothing brings the records back.
func (a *api) eraseLogs(ctx context.Context, in *eraseLogs) (*answer[erasedView], error) {
	stream, err := in.stream()
	if err != nil {
		return nil, err
	}
	if !sees(ctx, stream) {
		return nil, errOutside
	}
	if callerOf(ctx).reason == "" {
		return nil, fmt.Errorf("%w: say why: ?reason=…", logbridge.ErrInvalid)
	}
	counts, err := a.deps.Log.Count(ctx, logbridge.Query{Stream: stream}, logbridge.CountBy{})
	if err != nil {
		return nil, err
	}
	out := erasedView{Stream: stream}
	for _, c := range counts {
		out.Records += c.Records
	}
	if err := a.deps.Erase(ctx, stream); err != nil {
		return nil, err
	}
	changedThing(ctx, string(stream), map[string]any{"records": out.Records}, nil)
	return &answer[erasedView]{out}, nil
}
