package bridge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// registered are the devices that the links of the tests know.
type registered []logbridge.DeviceID

func (r registered) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	for _, known := range r {
		if known == id {
			return logbridge.Device{ID: id}, nil
		}
	}
	return logbridge.Device{}, logbridge.ErrNotFound
}

func (r registered) Devices(product string) iter.Seq[logbridge.Device] {
	return func(yield func(logbridge.Device) bool) {
		for _, id := range r {
			if (product == "" || id.Product == product) && !yield(logbridge.Device{ID: id}) {
				return
			}
		}
	}
}

// token is a lease in one process.
type token struct{ free chan struct{} }

func newToken() token {
	t := token{make(chan struct{}, 1)}
	t.free <- struct{}{}
	return t
}

func (t token) Hold(ctx context.Context, _ string, do func(context.Context)) error {
	select {
	case <-ctx.Done():
		return nil
	case <-t.free:
	}
	do(ctx)
	t.free <- struct{}{}
	return nil
}

// linked is a bridge with a link, which runs until stop or the end of the test.
type linked struct {
	parts
	up   *Upstream
	stop func()
}

func linkTo(t testing.TB, url string, lease Lease, l *fakeLog) linked {
	t.Helper()
	cfg, err := ParseUpstream(url)
	if err != nil {
		t.Fatal(err)
	}
	p := parts{levels: newLevels(), log: l, ledger: &fakeLedger{}}
	if p.Bridge, err = New(Config{}, p.levels, p.log, products{}, p.ledger, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	up, err := p.AddUpstream(cfg, registered{dev1, dev2}, lease, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{p.Run, up.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return linked{p, up, stop}
}

func (l linked) await(t testing.TB) {
	t.Helper()
	await(t, "the link", func() bool {
		l.up.publisher.mu.Lock()
		defer l.up.publisher.mu.Unlock()
		return l.up.linked.Load() && l.up.publisher.client != nil
	})
}

// A device behind an outside broker gets what one that is connected here gets.
func TestUpstreamAnswersAndTells(t *testing.T) {
	m := startMosquitto(t)
	l := linkTo(t, address(m.addr, ""), newToken(), newLog())
	l.await(t)
	device := m.device("dev_01")
	level, clock := m.listen(device, tencent.OperationResultTopic(dev1)), m.listen(device, tencent.SysResultTopic(dev1))

	l.levels.put(dev1, logbridge.LevelInfo)
	m.say(device, tencent.OperationTopic(dev1), `{"type":"get_log_level","clientToken":"tok-1"}`, false)
	if got := receive(t, "answer", level); !strings.Contains(got, `"log_level":3`) || !strings.Contains(got, "tok-1") {
		t.Errorf("answered %s", got)
	}
	m.say(device, tencent.SysTopic(dev1), `{"type":"get","resource":["time"]}`, false)
	if got := receive(t, "time", clock); !strings.Contains(got, `"ntptime1"`) {
		t.Errorf("answered %s", got)
	}
	l.levels.put(dev1, logbridge.LevelDebug)
	l.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
	if got := receive(t, "push", level); !strings.Contains(got, `"log_level":4`) {
		t.Errorf("pushed %s", got)
	}
	m.say(device, tencent.ReportTopic(dev1), "INF|hello", false)
	if b := receive(t, "report", l.log.batches); b.Records[0].Stream != dev1.Stream() || b.ReplayKey == "" {
		t.Errorf("stored %+v", b)
	}
}

// One that has said nothing since the link is there is told of changes all the same: the broker does not say who is there.
func TestUpstreamTellsWhoWasNotHeard(t *testing.T) {
	m := startMosquitto(t)
	l := linkTo(t, address(m.addr, ""), newToken(), newLog())
	l.await(t)
	one := m.listen(m.device("a"), tencent.OperationResultTopic(dev1))
	two := m.listen(m.device("b"), tencent.OperationResultTopic(dev2))
	l.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
	receive(t, "push to the device", one)
	l.LevelChanged(logbridge.LevelChange{Product: dev1.Product})
	receive(t, "push to its product", one)
	receive(t, "push to its product", two)
	l.LevelChanged(logbridge.LevelChange{Product: other.Product, Device: other.Device}) // nobody
}

// A level that could not be published, since the broker was away, is told when it is back; as it is then.
func TestUpstreamTellsWhatWasMissed(t *testing.T) {
	m := startMosquitto(t)
	wire := newCable(t, m.addr)
	l := linkTo(t, address(wire.addr, ""), newToken(), newLog())
	l.await(t)
	heard := m.listen(m.device("a"), tencent.OperationResultTopic(dev1))
	wire.cut()
	await(t, "the end of the connection", func() bool {
		l.up.publisher.mu.Lock()
		defer l.up.publisher.mu.Unlock()
		return l.up.publisher.client == nil
	})
	for _, level := range []logbridge.Level{logbridge.LevelInfo, logbridge.LevelDebug} {
		l.levels.put(dev1, level)
		l.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
	}
	for got := ""; !strings.Contains(got, `"log_level":4`); {
		got = receive(t, "push", heard)
	}
}

// Nothing is taken of a device that is not registered, nor what the broker has kept from long ago; both are counted.
func TestUpstreamRefuses(t *testing.T) {
	m := startMosquitto(t)
	device := m.device("x")
	m.say(device, tencent.ReportTopic(dev2), "INF|retained", true)
	l := linkTo(t, address(m.addr, ""), newToken(), newLog())
	l.await(t)
	m.say(device, tencent.ReportTopic(other), "INF|unknown", false)
	m.say(device, tencent.ReportTopic(dev1), "INF|known", false)
	if b := receive(t, "report", l.log.batches); b.Records[0].Body != "known" {
		t.Errorf("stored %q", b.Records[0].Body)
	}
	await(t, "the counts", func() bool {
		l.ledger.mu.Lock()
		defer l.ledger.mu.Unlock()
		return l.ledger.dropped["mqtt  unknown_device"] == 1 && l.ledger.dropped["mqtt  retained"] == 1
	})
	if len(l.log.batches) > 0 {
		t.Errorf("stored %+v", <-l.log.batches)
	}
}

// What mosquitto has acknowledged to a device is stored, once, over restarts of the broker, cuts of the network and a sink that is
// slow and fails.
func TestUpstreamLosesNothing(t *testing.T) {
	m := startMosquitto(t)
	wire := newCable(t, m.addr)
	sink := newLog()
	var calls sync.Map
	sink.append = func(_ context.Context, b logbridge.Batch) error {
		// One message in eight fails twice.
		n, _ := calls.LoadOrStore(b.ReplayKey, new(int))
		count := n.(*int)
		if *count++; b.ReplayKey[len(b.ReplayKey)-1]%8 == 0 && *count < 3 {
			return fmt.Errorf("%w: injected", logbridge.ErrUnavailable)
		}
		return nil
	}
	l := linkTo(t, address(wire.addr, ""), newToken(), sink)
	l.await(t)

	const devices, each = 2, 150
	var talking sync.WaitGroup
	var half atomic.Int32 // devices that have said so much
	for i, id := range []logbridge.DeviceID{dev1, dev2} {
		talking.Go(func() { talk(m, id, fmt.Sprint("device", i), each, &half) })
	}
	await(t, "half of the messages of one", func() bool { return half.Load() >= 1 })
	wire.cut()
	m.restart()
	l.await(t)
	wire.cut()
	await(t, "half of the messages of both", func() bool { return half.Load() == devices })
	m.restart()
	talking.Wait()

	found := map[string]int{}
	want := devices * each
	for len(found) < want {
		for _, r := range receive(t, fmt.Sprintf("report %d of %d", len(found), want), sink.batches).Records {
			found[r.Body]++
		}
	}
	l.stop()
	for len(sink.batches) > 0 {
		found[(<-sink.batches).Records[0].Body]++
	}
	for text, n := range found {
		if n > 1 {
			t.Errorf("%q is stored %d times", text, n)
		}
	}
	t.Logf("%d messages, each once; the link: %+v", want, l.up.stats())
}

// talk publishes n messages one after the other, each until it is acknowledged. One whose acknowledgement is lost is sent anew
// under a name of its own, as nobody can know whether it arrived.
func talk(m *mosquitto, id logbridge.DeviceID, client string, n int, half *atomic.Int32) {
	var c mqtt.Client
	for i, try := 0, 0; i < n; try++ {
		if c == nil || !c.IsConnectionOpen() {
			var err error
			if c, err = m.connect(client); err != nil {
				continue
			}
		}
		if wait("publish", c.Publish(tencent.ReportTopic(id), 1, false, fmt.Sprintf("INF|%s message %d try %d", client, i, try))) != nil {
			c.Disconnect(0)
			continue
		}
		if i++; i == n/2 {
			half.Add(1)
		}
	}
	c.Disconnect(0)
}

// A second node follows the first: it gets what was not acknowledged, and tells what the first could not.
func TestUpstreamTakeover(t *testing.T) {
	m := startMosquitto(t)
	sink, lease := newLog(), newToken()
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	sink.append = func(context.Context, logbridge.Batch) error {
		var err error
		once.Do(func() { // the first node is holding a message when it ends
			close(stuck)
			<-release
			err = logbridge.ErrUnavailable
		})
		return err
	}
	first := linkTo(t, address(m.addr, ""), lease, sink)
	first.await(t)
	second := linkTo(t, address(m.addr, ""), lease, sink)
	device := m.device("a")
	heard := m.listen(device, tencent.OperationResultTopic(dev1))
	m.say(device, tencent.ReportTopic(dev1), "INF|in between", false)
	receive(t, "report", stuck)
	second.levels.put(dev1, logbridge.LevelDebug) // the first, which is dying, does not hear of it
	second.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
	close(release)
	first.stop()
	if b := receive(t, "report", sink.batches); b.Records[0].Body != "in between" {
		t.Errorf("stored %q", b.Records[0].Body)
	}
	for got := ""; !strings.Contains(got, `"log_level":4`); {
		got = receive(t, "push", heard)
	}
	if second.up.stats().Redelivered == 0 {
		t.Errorf("nothing was redelivered: %+v", second.up.stats())
	}
}

func TestUpstreamWrongLogin(t *testing.T) {
	m := startMosquitto(t)
	l := linkTo(t, "mqtt://"+linkUser+":wrong@"+m.addr, newToken(), newLog())
	await(t, "failures", func() bool { return l.up.stats().Failures >= 2 })
	if l.up.stats().Linked {
		t.Error("linked")
	}
}

func TestParseUpstream(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]UpstreamConfig{
		"mqtt://broker":                                         {Address: "broker:1883", ClientID: "logbridge8dd45da4a2ca"},
		"mqtt://u:p@broker:99?client_id=me":                     {Address: "broker:99", User: "u", Password: "p", ClientID: "me"},
		"mqtt://u@[::1]?password_file=" + file + "&client_id=c": {Address: "[::1]:1883", User: "u", Password: "from file", ClientID: "c"},
		"mqtt://broker?share=g&client_id=n1":                    {Address: "broker:1883", ClientID: "n1", Share: "g"},
	} {
		got, err := ParseUpstream(text)
		if strings.HasPrefix(want.ClientID, "logbridge") {
			want.ClientID = got.ClientID
			if len(got.ClientID) < 12 || len(got.ClientID) > 22 { // the publisher's has one letter more
				t.Errorf("%s: client id %q", text, got.ClientID)
			}
		}
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	if c, err := ParseUpstream("mqtts://broker"); err != nil || c.Address != "broker:8883" || c.TLS == nil || c.TLS.ServerName != "broker" {
		t.Errorf("mqtts: %+v, %v", c, err)
	}
	for _, text := range []string{"", "broker:1883", "http://secret@broker", "mqtt://secret@", "mqtt://secret@b/path", "mqtt://secret@b?x=1", "mqtt://secret@b?ca=x",
		"mqtt://secret@b?share=g", "mqtt://secret@b?share=a/b&client_id=c", "mqtt://secret@b?password_file=/nowhere", "mqtts://secret@b?ca=/nowhere",
		"mqtts://secret@b?cert=/nowhere", "mqtt://secret@b?client_id=a&client_id=b", "mqtt://secret@b?%zz"} {
		if _, err := ParseUpstream(text); !errors.Is(err, logbridge.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
