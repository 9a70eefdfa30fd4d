package devicesim

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The times of one connection.
const (
	connectTimeout = 10 * time.Second
	// keepAlive is what the C SDK's sample uses (tencent-iot.md 2.1); an SDK's own is in its dialect.
	keepAlive = 120 * time.Second
	// loginExpiry is the far future that Java's SDK writes into the user name, in unix seconds.
	loginExpiry = 2147483647
)

// Granted QoS 0x80 is a refused filter; paho reports it nowhere else (mqtt-broker.md 5).
const subscribeRefused = 0x80

// connection is one MQTT connection of a device, from login to loss.
type connection struct {
	dev    *device
	client mqtt.Client
	raw    net.Conn // closed to give a hanging login up
	lost   chan struct{}

	mu    sync.Mutex
	token string // of the question that waits for its answer, "" if none does
	asked time.Time
	n     int
}

// connect logs in and subscribes the result topic.
func (d *device) connect(ctx context.Context) (*connection, error) {
	user, password, err := d.login()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: connectTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", d.fleet.cfg.Broker)
	if err != nil {
		return nil, err
	}
	if d.fleet.cfg.Script == ScriptSlow {
		if raw, err = slowly(raw); err != nil {
			return nil, err
		}
	}
	c := &connection{dev: d, raw: raw, lost: make(chan struct{})}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + d.fleet.cfg.Broker)
	o.SetClientID(tencent.ClientID(d.ID)).SetUsername(user).SetPassword(password).SetProtocolVersion(d.dialect.protocol)
	o.SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false)
	o.SetKeepAlive(d.dialect.keepAlive).SetWriteTimeout(uploadTimeout)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return raw, nil })
	o.SetConnectionLostHandler(func(mqtt.Client, error) { close(c.lost) })
	c.client = mqtt.NewClient(o)
	if err := c.open(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *connection) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := wait(ctx, c.client.Connect()); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	x := &c.dev.dialect
	if x.asksTime {
		if err := c.subscribe(ctx, tencent.SysResultTopic(c.dev.ID), 0, true, c.time); err != nil {
			return err
		}
		c.client.Publish(tencent.SysTopic(c.dev.ID), 0, false, `{"type": "get", "resource": ["time"]}`)
	}
	if x.question == nil {
		return nil
	}
	return c.subscribe(ctx, tencent.OperationResultTopic(c.dev.ID), x.resultQoS, !x.eager, c.result)
}

// subscribe subscribes a topic and, if it is to wait, makes sure that the broker grants it.
func (c *connection) subscribe(ctx context.Context, topic string, qos byte, waits bool, take func(payload []byte)) error {
	sub := c.client.Subscribe(topic, qos, func(_ mqtt.Client, m mqtt.Message) { take(m.Payload()) })
	if !waits {
		return nil
	}
	if err := wait(ctx, sub); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if sub.(*mqtt.SubscribeToken).Result()[topic] == subscribeRefused {
		return errors.New("subscribe: the broker refuses " + topic)
	}
	return nil
}

// serve asks for the level, again every interval if there is one, until the connection or ctx ends.
func (c *connection) serve(ctx context.Context, interval time.Duration) {
	var again <-chan time.Time
	if interval > 0 {
		ticker := time.NewTicker(interval/2 + mathrand.N(interval))
		defer ticker.Stop()
		again = ticker.C
	}
	struck := *c.dev.fleet.storm.Load()
	for {
		c.ask()
		select {
		case <-struck:
			_ = c.raw.Close() // without a word, as a lost network does
			return
		case <-ctx.Done():
			return
		case <-c.lost:
			return
		case <-again:
		}
	}
}

func (c *connection) ask() {
	x := &c.dev.dialect
	if x.question == nil {
		return
	}
	c.mu.Lock()
	c.n++
	var payload string
	c.token, payload = x.question(c.dev.ID, c.n)
	c.asked = time.Now()
	c.mu.Unlock()
	c.dev.fleet.stats.asked.Add(1)
	c.client.Publish(tencent.OperationTopic(c.dev.ID), x.askQoS, false, payload)
}

// time takes the answer to the question for the time.
func (c *connection) time([]byte) { c.dev.fleet.stats.times.Add(1) }

// result takes an answer or a push. It runs on paho's receive path and must not block.
func (c *connection) result(payload []byte) {
	reply, err := tencent.ParseLevelReply(payload)
	if err != nil {
		c.dev.log.Debug("level message not understood", "err", err)
		return
	}
	c.dev.obey(reply.Level)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" || reply.ClientToken != c.token {
		c.dev.fleet.stats.pushed.Add(1)
		return
	}
	c.token = ""
	c.dev.fleet.stats.answered.Add(1)
	c.dev.fleet.stats.roundTrips.add(time.Since(c.asked))
}

// report publishes lines at QoS 1; nil means that the PUBACK came.
func (c *connection) report(ctx context.Context, payload []byte) error {
	return wait(ctx, c.client.Publish(tencent.ReportTopic(c.dev.ID), 1, false, payload))
}

// quiesce is how long paho may take to send DISCONNECT, in milliseconds.
const quiesce = 100

func (c *connection) close() {
	c.client.Disconnect(quiesce)
	_ = c.raw.Close() // paho has closed it, unless the login hung
}

// wait waits for a token of paho's, but no longer than ctx.
func wait(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}
