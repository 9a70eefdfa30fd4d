package devicesim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// dialect is how devices with one SDK speak: login (tencent-iot.md 2.1), level question (3.1) and upload (4, 5).
type dialect struct {
	protocol  uint // 3 for MQTT 3.1, 4 for 3.1.1
	keepAlive time.Duration
	appID     string
	connID    func() string
	expiry    func(now time.Time) int64
	algorithm string // of the password, and of the signature of an upload
	resultQoS byte   // of the subscription
	askQoS    byte
	// question makes the n-th question of a device; nil for an SDK that has none and never hears of a level.
	question func(id logbridge.DeviceID, n int) (token, payload string)
	eager    bool // asks without waiting for the SUBACK
	asksTime bool // learns the time over $sys/operation
	most     int  // lines in one upload
	// send is how lines are uploaded; nil for by HTTP or MQTT as the fleet is told to.
	send        func(d *device, ctx context.Context, lines []string) error
	mustPublish bool // send needs the connection
}

// plain is what a fleet speaks without ScriptSDK: Java's login, at QoS 1.
var plain = dialect{
	protocol: 4, keepAlive: keepAlive, appID: "12010126", connID: letters, algorithm: tencent.HMACSHA256,
	expiry: func(time.Time) int64 { return loginExpiry }, resultQoS: 1, most: mostInUpload,
	question: func(id logbridge.DeviceID, n int) (string, string) {
		token := fmt.Sprintf("%s-%d", id.Product, n)
		return token, string(tencent.LevelRequestPayload(token))
	},
}

// dialects are C (HUB), Java, Python and ESP, in this order.
var dialects = []dialect{
	{ // C
		protocol: 4, keepAlive: 240 * time.Second, appID: "21010406", connID: letters, algorithm: tencent.HMACSHA1,
		expiry: func(time.Time) int64 { return longMax }, asksTime: true,
		most: 10, // 3000 bytes
		question: func(id logbridge.DeviceID, n int) (string, string) {
			token := fmt.Sprintf("%s-%d", id.Product, n)
			return token, fmt.Sprintf(`{"type": "get_log_level", "clientToken": "%s"}`, token)
		},
		send: (*device).postC,
	}, { // Java
		protocol: 4, keepAlive: 60 * time.Second, appID: "12010126", connID: letters, algorithm: tencent.HMACSHA256,
		expiry: func(time.Time) int64 { return loginExpiry }, eager: true, most: mostInUpload,
		question: func(id logbridge.DeviceID, n int) (string, string) {
			token := fmt.Sprintf("%s-%d", tencent.ClientID(id), n-1)
			return token, fmt.Sprintf(`{"clientToken":"%s","type":"get_log_level"}`, token)
		},
		send: (*device).postJava,
	}, {
		// Python's SDK neither asks for a level nor uploads lines; an application publishes them.
		protocol: 3, keepAlive: 60 * time.Second, appID: "21010406", connID: letters, algorithm: tencent.HMACSHA1,
		expiry: time.Time.UnixMilli, most: mostInUpload,
		send: (*device).publish, mustPublish: true,
	}, { // ESP
		protocol: 4, keepAlive: 15 * time.Second, appID: "21010406", connID: digits, algorithm: tencent.HMACSHA256,
		expiry: func(time.Time) int64 { return loginExpiry }, resultQoS: 1, askQoS: 1,
		most: 1, // a request for each line
		question: func(id logbridge.DeviceID, _ int) (string, string) {
			token := id.Product + "-" + digits()
			return token, fmt.Sprintf(`{"type":"get_log_level","clientToken": "%s"}`, token)
		},
		send: (*device).postFrame,
	},
}

// SDKs put five random letters or digits into the user name (tencent-iot.md 2.1).
const connIDLength = 5

func letters() string { return rand.Text()[:connIDLength] }

func digits() string { return fmt.Sprintf("%0*d", connIDLength, mathrand.IntN(100_000)) }

// login is the user name and password of one connection.
func (d *device) login() (user, password string, err error) {
	x := &d.dialect
	user = tencent.ClientID(d.ID) + ";" + x.appID + ";" + x.connID() + ";" + strconv.FormatInt(x.expiry(time.Now()), 10)
	password, err = tencent.Password(d.PSK, user, x.algorithm)
	return user, password, err
}

// postC uploads as the C SDK does: a Level beside the lines, slashes escaped.
func (d *device) postC(ctx context.Context, lines []string) error {
	list := make([]string, len(lines))
	for i, l := range lines {
		list[i] = strings.ReplaceAll(quoted(l), "/", `\/`)
	}
	body := fmt.Sprintf(`{"DeviceName":"%s","Level":"ERR","ProductId":"%s","Message":[%s]}`, d.ID.Device, d.ID.Product, strings.Join(list, ", "))
	return d.postSigned(ctx, d.fleet.host, []byte(body))
}

// javaHost is what Java's SDK signs for, whatever host it uploads to (tencent-iot.md 4.3).
const javaHost = "ap-guangzhou.gateway.tencentdevices.com"

// postJava uploads as Java's SDK does: all lines in one element.
func (d *device) postJava(ctx context.Context, lines []string) error {
	const lineEnd = "\n\f"
	body := fmt.Sprintf(`{"Message":[%s],"ProductId":"%s","DeviceName":"%s"}`, quoted(strings.Join(lines, lineEnd)+lineEnd), d.ID.Product, d.ID.Device)
	return d.postSigned(ctx, javaHost, []byte(body))
}

// framePath is where the older SDKs upload (tencent-iot.md 5).
const framePath = "/cgi-bin/report-log"

// postFrame uploads the older frame as ESP's SDK does: one line, without a tag and a line end.
func (d *device) postFrame(ctx context.Context, lines []string) error {
	const fields = 4 // LEVEL|TIME|TAG|TEXT
	text := lines[0]
	if f := strings.SplitN(text, "|", fields); len(f) == fields {
		text = f[0] + "|" + f[1] + "|" + f[3]
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.fleet.cfg.HTTP+framePath, bytes.NewReader(tencent.EncodeFrame(d.ID, d.stamp(), text, d.PSK)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain;charset=utf-8")
	status, answer, err := d.fleet.do(req)
	if err != nil {
		return err
	}
	var a struct{ Retcode *int }
	switch err := json.Unmarshal(answer, &a); {
	case err != nil, a.Retcode == nil, status != http.StatusOK:
		return fmt.Errorf("answer %d is not one for devices", status)
	case *a.Retcode != 0:
		return fmt.Errorf("%w: Retcode %d", errRefused, *a.Retcode)
	}
	return nil
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string cannot fail
	return string(b)
}
