package broker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Each test is a row of mqtt-broker.md 1a: what mochi 2.7.9 does without our guard. Here are those of queues, sessions and the process as a whole.

// A whole fleet logs in again at once while its old connections are open: every new connection is the one that counts.
func TestP6FleetTakeover(t *testing.T) {
	const fleet = 750
	r := newRecorder()
	b := start(t, Config{}, r)
	ids := make([]logbridge.DeviceID, fleet)
	for i := range ids {
		ids[i] = logbridge.DeviceID{Product: dev1.Product, Device: "dev_" + itoa(i)}
	}
	connect := func() []*client {
		clients := make([]*client, fleet)
		var all sync.WaitGroup
		for i, id := range ids {
			clients[i] = dial(t, b, 4)
			raw := clients[i].encode(connectPacket(t, id, 4))
			all.Go(func() {
				_, _ = clients[i].Write(raw)
				_, _ = clients[i].read()
			})
		}
		all.Wait()
		return clients
	}
	old := connect()
	renewed := connect()
	newest := map[logbridge.DeviceID]logbridge.Session{}
	for range 2 * fleet {
		s := receive(t, "session", r.connected)
		newest[s.Device()] = s
	}
	kept := 0
	for i, id := range ids {
		old[i].expectClosed()
		renewed[i].subscribe(1, 0, tencent.OperationResultTopic(id))
		if err := newest[id].Send(tencent.OperationResultTopic(id), []byte("level")); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if pk := renewed[i].expect(packets.Publish); string(pk.Payload) == "level" {
			kept++
		}
	}
	if got := b.Stats(); kept != fleet || got.Sessions != fleet || got.Takeovers != fleet || b.server.Clients.Len() != fleet {
		t.Errorf("%d of %d keep their new connection, stats %+v, %d known to mochi", kept, fleet, got, b.server.Clients.Len())
	}
}

func itoa(i int) string {
	return string([]byte{byte('0' + i/100%10), byte('0' + i/10%10), byte('0' + i%10)})
}

// Shared groups may pick a member that is not there (P15), what an absent client missed comes back in any order (P16) and past
// its rights, to whoever uses its client id (P17). None of them is there: no group, no queue, no session that outlives its
// connection.
func TestP15P16P17NothingWaitsForTheAbsent(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	topic := tencent.OperationResultTopic(dev1)
	for _, version := range []byte{3, 4, 5} {
		persistent := func(pk *packets.Packet) {
			pk.Connect.Clean = false
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
		}
		c, s := listening(t, b, r, dev1, version, 1, persistent)
		if code := c.subscribe(2, 1, "$share/g/"+topic)[0]; code < 0x80 {
			t.Errorf("v%d: a shared group was granted: %#x", version, code)
		}
		for _, payload := range []string{"0", "1", "2", "3"} {
			if err := s.Send(topic, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		c.expect(packets.Publish) // not acknowledged; a newer one waits
		c.Close()
		receive(t, "end of the session", r.disconnected)
		again := dial(t, b, version)
		if ack := again.login(dev1, persistent); ack.SessionPresent {
			t.Errorf("v%d: a session was kept", version)
		}
		receive(t, "session", r.connected)
		again.alive() // and nothing before the PINGRESP
		again.Close()
		receive(t, "end of the session", r.disconnected)
		if n := b.server.Clients.Len(); n != 0 {
			t.Errorf("v%d: %d clients are remembered", version, n)
		}
	}
}

// The rights are asked about topic "" when an alias is used. The hook is one, so that no other can say yes.
func TestP19TopicAliases(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, first := range []string{tencent.ReportTopic(dev1), tencent.ReportTopic(dev2)} {
		c := loggedIn(t, b, dev1, 5, func(pk *packets.Packet) { pk.Properties.TopicAliasMaximum = 10 })
		for _, topic := range []string{first, ""} {
			pk := publishPacket(topic, "x", 0, 0)
			pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 1, true
			if _, err := c.Write(c.encode(pk)); err != nil {
				break
			}
		}
		_, _ = io.Copy(io.Discard, c) // an alias is an error of the protocol here, and ends the connection
		receive(t, "session", r.connected)
		receive(t, "end of the session", r.disconnected)
	}
	for len(r.messages) > 0 {
		if m := <-r.messages; m.Topic != tencent.ReportTopic(dev1) {
			t.Errorf("a message on %q was handled", m.Topic)
		}
	}
}

// The keep-alive's deadline covers writes, so that a handler slower than it has its PUBACK fail.
func TestP21SlowHandlerKeepsItsAnswer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newConn(ours, Config{WriteTimeout: patience, MaxPacket: 1 << 20})
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 4000))
		wrote <- err
	}()
	one := make([]byte, 1)
	if _, err := theirs.Read(one); err != nil { // the write is under way
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(-time.Minute)); err != nil { // as mochi does for the keep-alive; it has passed
		t.Fatal(err)
	}
	go func() { // byte by byte: a deadline would end it at one of them
		for {
			if _, err := theirs.Read(one); err != nil {
				return
			}
		}
	}()
	if err := receive(t, "end of the write", wrote); err != nil {
		t.Errorf("the PUBACK: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("reading has no deadline")
	}
}

// What a slow client does not read is counted in packets, not in bytes, and held: 196 MB for one. Here nothing is queued: a
// payload is written, or waits as the newest of its topic, or is an error.
func TestP22NothingIsQueuedForASlowReader(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{WriteTimeout: 2 * time.Second}, r)
	slow := pipe(t, b, 4)
	slow.login(dev1)
	s := receive(t, "session", r.connected)
	slow.subscribe(1, 0, tencent.OperationResultTopic(dev1))
	payload := bytes.Repeat([]byte("x"), 32<<10)
	failed := 0
	for range 6000 {
		if s.Send(tencent.OperationResultTopic(dev1), payload) != nil {
			failed++
		}
	}
	if failed != 6000 || b.Stats().Sent != 0 {
		t.Errorf("%d of 6000 failed, %d sent", failed, b.Stats().Sent)
	}
	if n := serverOptions(b.cfg).Capabilities.MaximumClientWritesPending; n != 1 {
		t.Errorf("mochi may queue %d packets", n)
	}
}

// Whole packets are logged, with passwords and payloads.
func TestP25NothingSecretIsLogged(t *testing.T) {
	var out syncBuffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	previous := slog.Default()
	slog.SetDefault(log) // what mochi would take
	defer slog.SetDefault(previous)
	r := newRecorder()
	b := bound(t, Config{MaxPacket: 8 << 10}, r)
	b.log = log
	run(t, b)
	secret := ""
	for _, version := range []byte{3, 4, 5} {
		c := loggedIn(t, b, dev1, version, func(pk *packets.Packet) {
			pk.Connect.Keepalive = 1 // a warning of each connect
			secret = string(pk.Connect.Password)
		})
		c.publish(tencent.ReportTopic(dev2), "confidential", 1, 1)
		c.expect(packets.Puback)
		if _, err := c.Write([]byte{0x82, 7, 0, 1, 0, 0, 2, 'a', 'b'}); err != nil { // as P1
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		twice := loggedIn(t, b, dev1, version)
		second := connectPacket(t, dev1, version) // an error of the protocol, which mochi logs with the packet
		second.Connect.Password = []byte("confidential;hmacsha256")
		twice.send(second)
		_, _ = io.Copy(io.Discard, twice)
		wrong := dial(t, b, version)
		wrong.login(dev1, func(pk *packets.Packet) { pk.Connect.Password = []byte("confidential;hmacsha256") })
		wrong.expectClosed()
	}
	got := out.String()
	if !strings.Contains(got, "login refused") {
		t.Errorf("nothing was logged: %q", got)
	}
	for _, hush := range []string{"confidential", strings.Trim(fmt.Sprint([]byte("confidential")), "[]"), testPSK, secret[:40]} {
		if strings.Contains(got, hush) {
			t.Errorf("%q is in the log:\n%s", hush, got)
		}
	}
}

// The housekeeping of mochi copies every client twice a second. It is not started, and a connection has two goroutines.
func TestP26NoHousekeeping(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	loggedIn(t, b, dev1, 4).alive()
	before := runtime.NumGoroutine()
	const more = 50
	for i := range more {
		c := loggedIn(t, b, logbridge.DeviceID{Product: dev1.Product, Device: "dev_more" + itoa(i)}, 4)
		c.alive()
	}
	if n := runtime.NumGoroutine() - before; n > 2*more {
		t.Errorf("%d goroutines for %d connections", n, more)
	}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Contains(stacks, []byte("(*Server).eventLoop(")) {
		t.Error("mochi's event loop runs")
	}
}

// A subscriber of MQTT 5 is told that a message expires when nobody said so.
func TestP27NoExpiryIsInvented(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for qos := range byte(2) {
		c, s := listening(t, b, r, dev1, 5, qos)
		if err := s.Send(tencent.OperationResultTopic(dev1), []byte("level")); err != nil {
			t.Fatal(err)
		}
		if pk := c.expect(packets.Publish); pk.Properties.MessageExpiryInterval != 0 {
			t.Errorf("QoS %d: expires after %d s", qos, pk.Properties.MessageExpiryInterval)
		}
		c.Close()
		receive(t, "end of the session", r.disconnected)
	}
}

// foreign is a connection that another listener has accepted.
type foreign struct{ net.Conn }

// P24: connections over WebSocket come through Serve, which guards them like the others: deadline before the CONNECT, bounds, the
// end of the broker.
func TestP24ServeGuardsLikeAListener(t *testing.T) {
	r := newRecorder()
	b := bound(t, Config{ConnectTimeout: 2 * time.Second, MaxConnections: 1}, r)
	stop := run(t, b)
	serve := func() (*client, chan struct{}) {
		ours, theirs := net.Pipe()
		c, returned := wrap(t, ours, 5), make(chan struct{}) // a pipe that is closed takes no deadline
		go func() {
			b.Serve(foreign{theirs})
			close(returned)
		}()
		return c, returned
	}
	silent, ended := serve()
	silent.expectClosed()
	receive(t, "end of Serve", ended)
	c, ended := serve()
	c.login(dev1)
	if b.Admits() {
		t.Error("there is room for more than the bound")
	}
	full, refused := serve()
	full.expectClosed()
	receive(t, "end of Serve", refused)
	c.alive()
	go stop()
	if pk := c.expect(packets.Disconnect); pk.ReasonCode != packets.ErrServerShuttingDown.Code {
		t.Errorf("DISCONNECT %#x", pk.ReasonCode)
	}
	receive(t, "end of Serve", ended)
	stop()
	late, ended := serve()
	late.expectClosed()
	receive(t, "end of Serve", ended)
	if err := context.Cause(b.handling); err == nil {
		t.Error("handlers may still run")
	}
}
