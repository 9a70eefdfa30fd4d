package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

// sinkless takes everything at once.
type sinkless struct{ Log }

func (sinkless) Append(_ context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	return logbridge.Receipt{Stored: len(b.Records)}, nil
}

// openStores has one logstore and one topic, open to everyone.
type openStores struct {
	anyStores
}

// anyStores is what it does not have itself.
type anyStores interface {
	Projects
	Logstores
	Topics
}

func (openStores) ProjectByHost(string) (logbridge.SLSProject, bool) {
	return logbridge.SLSProject{Name: "myproj"}, true
}

func (openStores) Logstore(project, name string) (logbridge.Logstore, error) {
	return logbridge.Logstore{Project: project, Name: name, WebTracking: true}, nil
}

func (openStores) CLSTopic(id string) (logbridge.CLSTopic, error) {
	return logbridge.CLSTopic{ID: id, AnonymousWrite: true}, nil
}

// answerless is a connection that forgets the answer.
type answerless struct{ header http.Header }

func (a *answerless) Header() http.Header         { return a.header }
func (a *answerless) Write(b []byte) (int, error) { return len(b), nil }
func (a *answerless) WriteHeader(int)             {}

// BenchmarkTrack: what a request costs between net/http and the log, without either.
func BenchmarkTrack(b *testing.B) {
	stores := openStores{}
	s, err := New(Config{Addr: "127.0.0.1:0"}, Deps{Projects: stores, Logstores: stores, Topics: stores, Log: sinkless{}, MakePSK: func() string { return "" }}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.fronts[0].listener.Close()
	const event = `{"event":"click","path":"/shop/lamps/1","user":"u-000001","status":"200","duration_ms":"31","referrer":"https://www.example.com/campaign/summer","agent":"Mozilla/5.0"},`
	for _, n := range []int{1, 10, 100} {
		body := []byte(`{"__logs__":[` + strings.TrimSuffix(strings.Repeat(event, n), ",") + `]}`)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			r, err := http.NewRequest("POST", "http://127.0.0.1"+trackPath, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.RemoteAddr, r.ContentLength = "127.0.0.1:4711", int64(len(body))
			r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
			in := bytes.NewReader(body)
			r.Body = io.NopCloser(in)
			for b.Loop() {
				in.Reset(body)
				w := &answerless{header: http.Header{}}
				s.fronts[0].server.Handler.ServeHTTP(w, r)
				if got := w.header.Get("Content-Length"); got != "0" {
					b.Fatalf("%v", w.header)
				}
			}
		})
	}
}
