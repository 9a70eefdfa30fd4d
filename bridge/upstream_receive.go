package bridge

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

const (
	// readers is how many devices' messages are handled at a time: enough for the brokers' usual windows (mosquitto 20, EMQX 32), so
	// that a commit of the sink is for all of them.
	readers = 64
	// readerQueue is how many messages of the devices of one reader wait. A broker sends no more than its window of QoS 1; beyond
	// the bound those of QoS 0 are lost, and one of QoS 1 ends the connection, which makes the broker send it again.
	readerQueue = 1024
	// farewell is how long a connection may take to say goodbye.
	farewell = 250 * time.Millisecond
	// The waits between two tries to handle a message.
	handlePause     = 100 * time.Millisecond
	handlePauseMost = 5 * time.Second
)

// The reasons of the ledger that are the link's own.
const (
	reasonUnknown  = "unknown_device"
	reasonRetained = "retained"
)

var errFlooded = errors.New("the broker sent more than its window")

// receiver handles what one connection delivers. Messages of one device are handled in their order, those of different devices side
// by side, and all are acknowledged in the order in which they came (MQTT 3.1.1, 4.6).
type receiver struct {
	up     *Upstream
	ctx    context.Context
	seed   maphash.Seed
	queues [readers]chan *incoming
	flood  chan error // what cannot be taken ends the connection

	mu     sync.Mutex // guards flight
	flight []*incoming
}

// incoming is a message, and whether it was handled; the lock of its receiver guards that.
type incoming struct {
	mqtt.Message
	handled bool
}

// receive keeps one connection, in a session that the broker keeps.
func (u *Upstream) receive(ctx context.Context) (worked bool, err error) {
	handling, stop := context.WithCancel(ctx)
	defer stop()
	r := &receiver{up: u, ctx: handling, seed: maphash.MakeSeed(), flood: make(chan error, 1)}
	var reading sync.WaitGroup
	for i := range r.queues {
		r.queues[i] = make(chan *incoming, readerQueue)
		reading.Go(func() { r.read(r.queues[i]) })
	}
	opts, lost := u.options(u.cfg.ClientID)
	// The handler is there before the connection: what comes straight after CONNACK is else neither delivered nor acknowledged.
	client := mqtt.NewClient(opts.SetCleanSession(false).SetAutoAckDisabled(true).SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { r.take(m) }))
	err = u.subscribe(client)
	if err == nil {
		u.linked.Store(true)
		u.counters.connects.Add(1)
		u.log.Info("reading from the outside broker")
		select {
		case <-ctx.Done():
		case err = <-lost:
		case err = <-r.flood:
		}
		u.linked.Store(false)
		worked = true
	}
	stop() // what is handled is finished and acknowledged; what waits will be delivered again
	reading.Wait()
	client.Disconnect(uint(farewell.Milliseconds()))
	return worked, err
}

// subscribe connects and subscribes, each time anew, since the broker may have lost the session. A filter that is refused is in
// the result only.
func (u *Upstream) subscribe(client mqtt.Client) error {
	if err := wait("connect", client.Connect()); err != nil {
		return err
	}
	filters := map[string]byte{}
	for _, f := range []string{tencent.OperationFilter, tencent.ReportFilter, tencent.SysFilter} {
		filters[u.cfg.group(f)] = 1
	}
	token := client.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	if err := wait("subscribe", token); err != nil {
		return err
	}
	const refused = 0x80
	for filter, granted := range token.Result() {
		if granted == refused {
			return fmt.Errorf("%w: the broker does not let this client read %s", logbridge.ErrForbidden, filter)
		}
	}
	return nil
}

// take is called by paho for each message, on the path that also reads its pings: it must not wait.
func (r *receiver) take(m mqtt.Message) {
	u := r.up
	u.counters.received.Add(1)
	if m.Duplicate() {
		u.counters.redelivered.Add(1)
	}
	in := &incoming{Message: m}
	if m.Qos() > 0 {
		r.mu.Lock()
		r.flight = append(r.flight, in)
		r.mu.Unlock()
	}
	_, id := tencent.ParseTopic(m.Topic())
	select {
	case r.queues[maphash.Comparable(r.seed, id)%readers] <- in:
	default:
		if m.Qos() > 0 {
			select {
			case r.flood <- errFlooded:
			default: // it is told already
			}
		}
	}
}

// read handles the messages of one queue until the connection ends.
func (r *receiver) read(queue <-chan *incoming) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case in := <-queue:
			if r.handle(in) && in.Qos() > 0 {
				r.done(in)
			}
		}
	}
}

// done acknowledges what has been handled up to the first message that has not.
func (r *receiver) done(in *incoming) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in.handled = true
	for len(r.flight) > 0 && r.flight[0].handled {
		r.flight[0].Ack()
		r.flight[0] = nil
		r.flight = r.flight[1:]
	}
}

// handle acts on a message, again and again while that may yet succeed: MQTT 3.1.1 has no way to refuse it for now. It is false
// when the connection ended before.
func (r *receiver) handle(in *incoming) bool {
	u := r.up
	kind, id := tencent.ParseTopic(in.Topic())
	reason := ""
	if _, err := u.devices.Device(id); err != nil {
		reason = reasonUnknown
	} else if in.Retained() { // an old message that a new subscription brings, not what a device says now
		reason = reasonRetained
	}
	if reason != "" {
		u.counters.unknown.Add(1)
		if kind == tencent.TopicReport {
			u.bridge.counter.Drop(logbridge.SourceMQTT, "", reason, 1)
		}
		return true
	}
	m := logbridge.Message{Topic: in.Topic(), Payload: in.Payload(), QoS: in.Qos(), Dup: in.Duplicate()}
	s := u.session(id)
	for pause := handlePause; ; pause = min(2*pause, handlePauseMost) {
		// A report that is being stored when the connection ends is waited for: it need not come again then.
		err := errors.Join(u.bridge.Handle(context.WithoutCancel(r.ctx), s, []logbridge.Message{m})...)
		if err == nil || errors.Is(err, logbridge.ErrInvalid) || errors.Is(err, logbridge.ErrTooLarge) || in.Qos() == 0 {
			return true
		}
		u.counters.retried.Add(1)
		m.Dup = true // it may be stored already
		select {
		case <-r.ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}
