package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
	"github.com/logbridge/logbridge/wire/tencent"
)

// limitsMain is what the benchmark compares with, as a process of its own: the least that could do the same work.
// An Echo handler that only decodes with our JSON decoder and brings the body to disk with a group fdatasync, and a bare
// mochi whose hook answers level questions, without login, rights, durable levels or observed state.
func limitsMain() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serveLimits(ctx, log); err != nil {
		log.Error("limits", "err", err)
		os.Exit(exitFailure)
	}
}

func serveLimits(ctx context.Context, log *slog.Logger) error {
	file, err := newGroupFile("limits.log")
	if err != nil {
		return err
	}
	go file.run()
	web, err := net.Listen("tcp", anyone)
	if err != nil {
		return err
	}
	devices, err := net.Listen("tcp", anyone)
	if err != nil {
		return err
	}
	broker := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	for _, err := range []error{broker.AddHook(&bareHook{}, nil), broker.AddListener(listeners.NewNet("limits", devices)), broker.Serve()} {
		if err != nil {
			return err
		}
	}
	e := echo.New()
	e.POST("/logstores/:store/track", file.track)
	e.POST("/device/reportlog", file.report)
	e.PUT("/api/v1/products/:product/level", func(c echo.Context) error {
		for _, cl := range broker.Clients.GetAll() {
			_ = cl.WritePacket(levelPacket(cl.ID, "")) // a client that is gone is not counted by the benchmark
		}
		return c.NoContent(http.StatusOK)
	})
	server := &http.Server{Handler: e}
	go func() { _ = server.Serve(web) }() // ends with the process
	for name, l := range map[string]net.Listener{"http": web, "mqtt": devices} {
		log.Info("listening", "name", name, "addr", l.Addr().String())
	}
	log.Info("ready")
	<-ctx.Done()
	return nil
}

// groupFile appends bodies; those that come while a sync is under way share the next one.
type groupFile struct {
	f    *os.File
	mu   sync.Mutex
	buf  []byte
	done chan struct{} // closed when buf is on disk
	wake chan struct{}
}

func newGroupFile(name string) (*groupFile, error) {
	f, err := os.Create(name)
	return &groupFile{f: f, done: make(chan struct{}), wake: make(chan struct{}, 1)}, err
}

func (g *groupFile) run() {
	var spare []byte
	for range g.wake {
		g.mu.Lock()
		buf, done := g.buf, g.done
		g.buf, g.done = spare[:0], make(chan struct{})
		g.mu.Unlock()
		if _, err := g.f.Write(buf); err != nil {
			panic(err)
		}
		if err := syscall.Fdatasync(int(g.f.Fd())); err != nil {
			panic(err)
		}
		spare = buf
		close(done)
	}
}

func (g *groupFile) append(body []byte) {
	g.mu.Lock()
	g.buf = append(g.buf, body...)
	done := g.done
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	<-done
}

func (g *groupFile) track(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	if group, err := sls.DecodeJSON(body); err != nil || len(group.Logs) == 0 {
		return fmt.Errorf("nothing to store: %w", err)
	}
	g.append(body)
	return c.NoContent(http.StatusOK)
}

// report decodes and stores an upload of a device without a look at its signature, and closes the connection.
func (g *groupFile) report(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	if u, err := tencent.ParseUpload(body); err != nil || len(u.Messages) == 0 {
		return fmt.Errorf("nothing to store: %w", err)
	}
	g.append(body)
	c.Response().Header().Set("Connection", "close")
	return c.JSONBlob(http.StatusOK, tencent.Reply("1"))
}

// bareHook answers level questions and allows everything.
type bareHook struct{ mochi.HookBase }

func (*bareHook) ID() string { return "bare" }

func (*bareHook) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck || b == mochi.OnPublish
}

func (*bareHook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*bareHook) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

func (*bareHook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	question, err := tencent.ParseLevelRequest(pk.Payload)
	if err == nil {
		err = cl.WritePacket(levelPacket(cl.ID, question.ClientToken))
	}
	if err != nil {
		return pk, err
	}
	return pk, packets.CodeSuccessIgnore
}

func levelPacket(clientID, token string) packets.Packet {
	id, _ := tencent.ParseClientID(clientID) // ours are well formed
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish},
		TopicName:   tencent.OperationResultTopic(id),
		Payload:     tencent.LevelReply(token, logbridge.LevelDebug, time.Now()),
	}
}
