package main

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// TestMQTTOverWebSocket: a device does over ws:// and wss:// what it does over TCP: login by password and by certificate, level
// questions and pushes, reports; a wrong password is refused, a page of another host too, and the end of the server ends it.
func TestMQTTOverWebSocket(t *testing.T) {
	home := newPlace(t, e2eConfig)
	ca := home.authority("ca")
	ca.issue("tls", time.Hour)
	ca.issue("dev_10", time.Hour)
	home.args = append(home.args, home.tlsArgs()...)
	s := home.start(anyone, anyone)
	s.run("device", "add", "ABCDE12345/dev_10", "--cert-subject", "dev_10")
	secure := &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{home.pair("dev_10")}}
	connect := func(url, name, psk string, edit func(*mqtt.ClientOptions)) (*testDevice, error) {
		d := &testDevice{t: t, id: device(name), told: make(chan tencent.LevelReplyFields, 100)}
		o := mqtt.NewClientOptions().AddBroker(url).SetTLSConfig(secure).SetAutoReconnect(false).SetConnectTimeout(patience)
		o.SetClientID(tencent.ClientID(d.id)).SetProtocolVersion(4)
		if psk != "" {
			user := tencent.UserName(d.id, "AbCdE", time.Now().Add(time.Hour))
			password, err := tencent.Password(psk, user, tencent.HMACSHA256)
			if err != nil {
				t.Fatal(err)
			}
			o.SetUsername(user).SetPassword(password)
		}
		if edit != nil {
			edit(o)
		}
		d.client = mqtt.NewClient(o)
		token := d.client.Connect()
		if !token.WaitTimeout(patience) || token.Error() != nil {
			return d, token.Error()
		}
		t.Cleanup(func() { d.client.Disconnect(0) })
		d.done(d.client.Subscribe(tencent.OperationResultTopic(d.id), 1, func(_ mqtt.Client, m mqtt.Message) {
			reply, _ := tencent.ParseLevelReply(m.Payload())
			d.told <- reply
		}))
		return d, nil
	}
	ws, wss := "ws://"+s.addr("http")+"/mqtt", "wss://"+s.addr("https")+"/mqtt"
	var want []string
	for _, row := range []struct{ url, name, psk string }{{ws, "dev_01", e2ePSK}, {wss, "dev_02", e2ePSK}, {wss, "dev_10", ""}} {
		d, err := connect(row.url, row.name, row.psk, nil)
		if err != nil {
			t.Fatalf("%s over %s: %v", row.name, row.url, err)
		}
		d.ask("t-1")
		d.hears(logbridge.LevelError, "t-1")
		s.run("level", "set", d.id.String(), "debug", "--for", "5m", "--reason", "websocket")
		d.hears(logbridge.LevelDebug, "")
		large := strings.Repeat("x", 100_000)
		d.report("INF" + row.name + large)
		want = append(want, row.name+large)
	}
	wantBodies(t, s.records("source=mqtt"), want...)
	for name, row := range map[string]struct {
		url, psk string
		edit     func(*mqtt.ClientOptions)
	}{
		"wrong password":            {url: ws, psk: "AAAAAAAAAAAAAAAAAAAAAA=="},
		"no certificate over plain": {url: ws},
		"a foreign page": {url: ws, psk: e2ePSK, edit: func(o *mqtt.ClientOptions) {
			o.SetHTTPHeaders(http.Header{"Origin": {"https://evil.example"}})
		}},
	} {
		if _, err := connect(row.url, "dev_01", row.psk, row.edit); err == nil {
			t.Errorf("%s got in", name)
		}
	}
}
