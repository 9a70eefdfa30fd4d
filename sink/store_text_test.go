package sink

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/logbridge/logbridge"
)

// The texts of the store benchmark's records. A template is "level weight file text"; in it, <name> or <name:n> stands for
// what appendPiece writes.

// sdkLines are what the Tencent C and Java SDKs write of themselves and what their samples add, as recorded.
const sdkLines = `
D 95 mqtt_client_publish.c qcloud_iot_mqtt_publish(341): publish packetID=<pid>|topicName=$thing/up/property/<prod>/<dev>|payload={"method":"report","clientToken":"<prod>-<seq>","timestamp":<ms>,"params":{"power":<n:2>,"temperature":<temp>,"voltage":<volt>,"current":<n:9000>,"energy":<n:1000000>,"brightness":<n:101>}}
D 6 mqtt_client_publish.c qcloud_iot_mqtt_publish(341): publish packetID=0|topicName=$sys/operation/<prod>/<dev>|payload={"type": "get", "resource": ["time"]}
D 12 mqtt_client_subscribe.c qcloud_iot_mqtt_subscribe(142): topicName=$thing/down/property/<prod>/<dev>|packet_id=<pid>
D 25 data_template_client.c _template_mqtt_message_callback(97): downstream payload: {"method":"report_reply","clientToken":"<prod>-<seq>","code":0,"status":"success"}
D 18 system_mqtt.c _system_mqtt_message_callback(65): Recv Msg Topic:$sys/operation/result/<prod>/<dev>, payload:{"type":"get","time":<sec>,"ntptime1":<ms>,"ntptime2":<ms>}
D 10 system_mqtt.c _system_mqtt_sub_event_handler(118): mqtt sys topic subscribe success
D 40 mqtt_client_yield.c qcloud_iot_mqtt_handle_packet(512): PUBACK packet-id=<pid> rc=0 rtt=<n:180000> us, in flight <n:20>, head <x:12>
D 50 mqtt_client_common.c cycle_for_read(884): read packet type=<n:14> len=<n:1400> remain=<n:30>, head <x:24>, waited <n:9000> us
D 15 mqtt_client_keepalive.c _handle_keep_alive(61): ping outstanding=<n:2>, next in <n:240> s
D 30 qcloud_iot_device.c _device_state(233): heap free=<heap> min=<heap>, uptime=<up> s, tasks=<n:14>
D 35 HAL_TLS_mbedtls.c HAL_TLS_Read(402): record type=23 len=<n:1400> session=<x:32>
D 30 utils_hmac.c utils_hmac_sha1(118): digest <x:40> over <n:512> bytes
D 12 HAL_AT_TCP_Client.c at_client_send(297): AT+CIPSEND=<n:4>,<n:900> -> SEND OK, credit=<n:8>
D 15 ota_mqtt.c _otamqtt_upgrade_cb(155): payload: {"result_code":0,"type":"report_version_rsp","result_msg":"success"}
D 25 HAL_UDP_linux.c HAL_UDP_Read(140): datagram of <n:1200> bytes from <ip>, crc=<x:8>, head <x:32>
I 50 mqtt_sample.c _mqtt_event_handler(50): publish success, packet-id=<pid>, <n:700> bytes in <n:90000> us, sum <x:8>
I 20 mqtt_sample.c _mqtt_event_handler(46): subscribe success, packet-id=<pid>
I 40 data_template_sample.c _report_reply(310): rev client token: <prod>-<seq>, code=0, cost <n:260000> us, id <x:12>
I 50 data_template_sample.c OnControlMsgCallback(201): property=power_switch, value=<n:2>, token=clientToken-<x:8>-<x:4>-<x:12>
I 30 mqtt_client.c IOT_MQTT_Construct(146): mqtt connect with id: <id> success, sessionPresent=0
I 15 system_mqtt.c IOT_Get_SysTime(340): system time is <sec>
I 20 mqtt_client_connect.c qcloud_iot_mqtt_connect(528): connect to <prod>.iotcloud.tencentdevices.com:1883 (<ip>) took <n:1900> ms
I 20 HAL_Wifi.c wifi_event(88): got ip <ip>, rssi <rssi> dBm, channel <n:13>
I 15 ota_client.c IOT_OTA_ReportVersion(411): report version 2.<n:4>.<n:20> success
I 15 TXMqttConnection publish topic: $thing/up/event/<prod>/<dev> qos 1 id <pid> length <n:700>
I 15 TXMqttConnection messageArrived:::: $thing/down/service/<prod>/<dev>, {"method":"control","clientToken":"<prod>-<seq>","params":{"brightness":<n:101>}}
I 15 TXLogImpl upload <n:60> lines, <n:4800> bytes, http 200 in <n:400> ms
W 14 mqtt_client_yield.c IOT_MQTT_Yield(297): network is reconnecting, attempt <n:9>, wait <n:60000> ms
W 12 HAL_Wifi.c wifi_event(102): beacon timeout, rssi <rssi> dBm, ap <ap>
W 10 log_mqtt.c _log_level_sub_cb(88): Upload log level change to: <n:5>
W 10 qcloud_iot_device.c _device_state(241): heap low: free=<heap> of 327680, largest block <n:40000>
W 8 mqtt_client_publish.c _mask_push_pubInfo_to(201): pub info list is full (<n:20>), packet-id=<pid> dropped
W 6 TXMqttConnection onConnectionLost: <why>
E 6 mqtt_client.c IOT_MQTT_Construct(114): mqtt connect with id: <id> failed: <err>
E 5 HAL_TLS_mbedtls.c HAL_TLS_Connect(318): mbedtls_ssl_handshake returned -0x<x:4>: <why>
E 5 HAL_TCP_linux.c HAL_TCP_Connect(73): connect <ip>:8883: <why>
E 4 qcloud_iot_log.c _post_one_http_to_server(232): http client post failed: <err>, <n:40> lines kept
E 3 ota_fetch.c ofc_fetch(190): ota/<prod>/<x:16>.bin offset <n:900000>: <why>
`

// deviceLines are what the programs of one kind of device write; <kind> is its measured quantity. Each kind has its own copy
// with its own file names and line numbers, so that there are a few hundred templates in all.
const deviceLines = `
I 70 _main.c report_cycle(<line>): <kind>=<temp> <unit>, hum=<hum> %, vbat=<volt> V, rssi=<rssi>, seq=<seq>, heap=<heap>, loop=<n:90000> us, acc=[<n:2048>,<n:2048>,<n:2048>], crc <x:8>
I 25 _main.c report_cycle(<line>): window of <n:60> samples: min <temp> max <temp> avg <temp> <unit>, noise <n:9000>, crc <x:8>
D 40 _sensor.c read_raw(<line>): <kind> raw=0x<x:4> cal=<temp> <unit> status=0x<x:2> retry=<n:3>
D 40 _sensor.c i2c_xfer(<line>): addr=0x<x:2> reg=0x<x:2> data=<x:56> t=<n:900> us
D 40 _modbus.c frame(<line>): tx 0103<x:8><x:4> rx 0103<x:2><x:36><x:4> in <n:80000> us
D 15 _queue.c push(<line>): depth=<n:64> bytes=<n:9000> oldest=<n:600> s
D 30 _json.c encode(<line>): {"id":"<x:16>","ts":<ms>,"<kind>":<temp>,"bat":<volt>,"raw":[<n:4096>,<n:4096>,<n:4096>,<n:4096>],"flags":"0x<x:4>"}
I 12 _main.c schedule(<line>): next <kind> report in <n:300> s, mode=<mode>, uptime <up> s
I 15 _rule.c evaluate(<line>): rule <n:40> '<kind> above threshold' value <temp> limit <n:90>.0 -> <mode>
I 15 _store.c checkpoint(<line>): wrote <n:4096> bytes at 0x<x:6>, erase cycles <n:90000>
I 15 _gateway.c child(<line>): sub-device <x:12> joined, lqi <n:255>, parent 0x<x:4>
W 7 _sensor.c read_raw(<line>): <kind> out of range: <temp> <unit>, sample <seq> ignored
W 6 _queue.c push(<line>): <n:64> messages wait, link down for <n:3600> s, cause: <why>
W 4 _power.c brownout(<line>): vbat=<volt> V, mode=<mode>, sleeping <n:1800> s
E 3 _sensor.c i2c_xfer(<line>): addr=0x<x:2> no ack after <n:5> tries: <why>
E 2 _store.c mount(<line>): partition 'data' block <n:512>: <why>, errno=<err>
`

// deviceKinds are quantity and unit of each product.
var deviceKinds = [...][2]string{
	{"temperature", "C"}, {"pressure", "hPa"}, {"co2", "ppm"}, {"flow", "l/min"}, {"energy", "kWh"},
	{"vibration", "mm/s"}, {"level", "cm"}, {"ph", "pH"}, {"lux", "lx"}, {"pm25", "ug/m3"},
}

// rareLine occurs a few times in a million and nowhere else does rareNeedle.
const (
	rareNeedle = "watchdog bite"
	rareLine   = "E 0 reset_cause.c boot(51): watchdog bite at pc=0x<x:8> lr=0x<x:8>, task <mode>, uptime <up> s"
)

var (
	apNames  = [...]string{"factory-2g", "Office-IoT", "CMCC-8F2A", "TP-LINK_51", "hall-3", "warehouse"}
	modes    = [...]string{"normal", "eco", "boost", "standby", "manual", "away", "service"}
	errCodes = [...]string{"-117", "-101", "-103", "-27", "-110", "-702", "-5", "-1001"}
	reasons  = [...]string{
		"connection reset by peer", "Connection timed out", "No route to host", "Network is unreachable", "broken pipe",
		"MQTT: Not authorized to connect", "java.net.SocketTimeoutException: Read timed out", "X509 - Certificate verification failed",
		"SSL - The peer notified us that the connection is going to be closed", "Resource temporarily unavailable",
		"Input/output error", "No space left on device", "checksum mismatch", "bad magic",
	}
)

// piece is a part of a template: constant text, or what kind says with n.
type piece struct {
	text string
	kind string
	n    int
}

// template is one line of a program.
type template struct {
	level  logbridge.Level
	tag    string
	pieces []piece
}

// compile reads templates; each stands in the result as often as its weight says. own, when not empty, is the kind of device
// that they are for, and number tells its lines from others'.
func compile(texts, own, unit string, number int) (all []template) {
	for i, line := range strings.Split(strings.TrimSpace(texts), "\n") {
		parts := strings.SplitN(line, " ", 4)
		weight, err := strconv.Atoi(parts[1])
		if err != nil {
			panic(err)
		}
		levels := map[string]logbridge.Level{"D": logbridge.LevelDebug, "I": logbridge.LevelInfo, "W": logbridge.LevelWarn, "E": logbridge.LevelError}
		tag := parts[2]
		if own != "" {
			tag = own + tag
		}
		text := strings.NewReplacer("<kind>", own, "<unit>", unit, "<line>", fmt.Sprint(40+(i*37+number*53)%700)).Replace(parts[3])
		t := template{level: levels[parts[0]], tag: tag, pieces: cutPieces(text)}
		for range max(weight, 1) {
			all = append(all, t)
		}
	}
	return all
}

func cutPieces(text string) (pieces []piece) {
	for text != "" {
		before, rest, found := strings.Cut(text, "<")
		if before != "" {
			pieces = append(pieces, piece{text: before})
		}
		if !found {
			break
		}
		name, after, _ := strings.Cut(rest, ">")
		kind, number, _ := strings.Cut(name, ":")
		n, _ := strconv.Atoi(number)
		pieces, text = append(pieces, piece{kind: kind, n: n}), after
	}
	return pieces
}
