package httpapi

import (
	"context"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/logbridge/logbridge"
)

type exportDevices struct {
	Product string   `query:"product"`
	Q       string   `query:"q" doc:"substring of the device name"`
	Tag     []string `query:"tag,explode" doc:"key:value, may be repeated"`
	Online  string   `query:"online" enum:"true,false" doc:"connected or not"`
	Level   string   `query:"level" doc:"desired level"`
	State   string   `query:"state" enum:"offline,sent,acknowledged,asked,seen,contradicted,unsupported" doc:"observed state"`
	Secrets bool     `query:"secrets" doc:"with the device secrets; needs a token of role admin"`
}

func (a *api) exports() {
	const path = "/devices/export"
	linesCall(a, logbridge.RoleViewer, http.MethodGet, path, "export-devices", "Write down all devices that a filter asks for", a.exportDevices)
	a.huma.OpenAPI().Paths[path].Get.Description = "One device a line, by product and name, in the form that an import reads. Without secrets an import of it elsewhere makes new ones."
}

func (a *api) exportDevices(ctx context.Context, in *exportDevices) (*huma.StreamResponse, error) {
	who := callerOf(ctx)
	if in.Secrets {
		if p := who.permit(logbridge.RoleAdmin); p != nil {
			return nil, p
		}
	}
	match, err := deviceFilter(&listDevices{Product: in.Product, Q: in.Q, Tag: in.Tag, Online: in.Online, Level: in.Level, State: in.State})
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		if in.Secrets {
			a.record(ctx, h.Operation(), &deed{}, outcomeDone, "")
		}
		ctx, cancel := a.whileGood(ctx, who)
		defer cancel()
		defer context.AfterFunc(a.draining, cancel)()
		feed := newFeed(maxPending)
		var reading sync.WaitGroup
		reading.Go(func() { a.fillDevices(ctx, feed, match, in.Secrets) })
		defer reading.Wait()
		defer feed.stop()
		a.pump(ctx, humaecho.Unwrap(h), feed)
	}}, nil
}

// fillDevices writes devices until they end or the feed is stopped.
func (a *api) fillDevices(ctx context.Context, f *feed, match deviceMatch, secrets bool) {
	end := errPanic // in case of one
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("export panicked", "panic", p)
		}
		f.end(end)
	}()
	for d := range a.matching(ctx, match, logbridge.DeviceID{}) {
		if !f.write(exportLine(d.Device, secrets)) {
			break
		}
	}
	if end = ctx.Err(); end == nil {
		end = errEnd
	}
}

// exportLine is a device as an import reads it.
func exportLine(d logbridge.Device, secrets bool) deviceLine {
	line := deviceLine{Product: d.ID.Product, Device: d.ID.Device}
	given := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	if secrets {
		line.PSK = given(d.PSK)
	}
	line.Certificate, line.Subject = given(d.Certificate), given(d.CertificateSubject)
	if len(d.Tags) > 0 {
		line.Tags = &d.Tags
	}
	return line
}
