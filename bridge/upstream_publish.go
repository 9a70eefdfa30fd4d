package bridge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// maxUnconfirmed bounds how many messages are on their way to the broker; who wants to send another waits for one of them.
const maxUnconfirmed = 1000

// publisher writes to the outside broker, at QoS 1. It remembers the devices whose level did not get there, and tells them anew when
// there is a connection again: what is told is always the level of then.
type publisher struct {
	up *Upstream

	mu     sync.Mutex // guards the rest
	client mqtt.Client
	flight chan sending
	busy   *sync.WaitGroup                 // who sends into flight
	unsent map[logbridge.DeviceID]struct{} // registered devices only
}

// sending is a message that the broker has not acknowledged.
type sending struct {
	token  mqtt.Token
	device logbridge.DeviceID
	level  bool
}

// run keeps one connection. A clean session and no reconnecting are what makes tokens tell the truth (mqtt-broker.md 5).
func (p *publisher) run(ctx context.Context) (worked bool, err error) {
	opts, lost := p.up.options(p.up.cfg.ClientID + "p")
	client := mqtt.NewClient(opts.SetCleanSession(true))
	if err := wait("connect", client.Connect()); err != nil {
		client.Disconnect(0)
		return false, err
	}
	flight, busy := make(chan sending, maxUnconfirmed), new(sync.WaitGroup)
	var confirming sync.WaitGroup
	confirming.Go(func() { p.confirm(flight) })
	p.open(client, flight, busy)
	select {
	case <-ctx.Done():
	case err = <-lost:
	}
	p.mu.Lock()
	p.client = nil
	p.mu.Unlock()
	client.Disconnect(uint(farewell.Milliseconds())) // every token ends
	busy.Wait()
	close(flight)
	confirming.Wait()
	return true, err
}

// open begins to publish, first the levels that did not get there.
func (p *publisher) open(client mqtt.Client, flight chan sending, busy *sync.WaitGroup) {
	p.mu.Lock()
	p.client, p.flight, p.busy = client, flight, busy
	again := slices.Collect(maps.Keys(p.unsent))
	clear(p.unsent)
	p.mu.Unlock()
	for _, id := range again {
		p.up.bridge.retell(id, p.up)
	}
}

// publish hands a message to the connection, and waits while too many are on their way.
func (p *publisher) publish(id logbridge.DeviceID, topic string, payload []byte) error {
	kind, _ := tencent.ParseTopic(topic)
	level := kind == tencent.TopicOperationResult
	p.mu.Lock()
	client, flight, busy := p.client, p.flight, p.busy
	if client != nil {
		busy.Add(1)
	}
	p.mu.Unlock()
	if client == nil {
		p.missed(id, level)
		return fmt.Errorf("%w: the outside broker is not connected, or another node writes to it", logbridge.ErrUnavailable)
	}
	defer busy.Done()
	flight <- sending{client.Publish(topic, 1, false, payload), id, level}
	return nil
}

// missed remembers a device to be told again.
func (p *publisher) missed(id logbridge.DeviceID, level bool) {
	p.up.counters.unpublished.Add(1)
	if level {
		p.mu.Lock()
		p.unsent[id] = struct{}{}
		p.mu.Unlock()
	}
}

// confirm waits for the broker's acknowledgements, in order.
func (p *publisher) confirm(flight <-chan sending) {
	for s := range flight {
		if err := wait("publish", s.token); err != nil {
			p.missed(s.device, s.level)
			continue
		}
		p.up.counters.published.Add(1)
	}
}
