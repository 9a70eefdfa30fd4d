package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/bridge"
	"github.com/logbridge/logbridge/registry"
)

// Config is every setting of serve: the flag of that name, the environment variable LOGBRIDGE_<NAME>, and the YAML key
// with underscores. A flag beats the environment, that beats the file, and that the default. What a field without a
// default does when empty is said in its help. deployments/logbridge.yaml is the annotated reference.
type Config struct {
	ConfigFile string `name:"config" yaml:"-" env:"LOGBRIDGE_CONFIG" placeholder:"FILE" help:"YAML file with these settings."`
	Data       string `yaml:"data" env:"LOGBRIDGE_DATA" default:"./data" placeholder:"DIR" help:"Folder of everything durable (${default}). One process at a time."`
	HTTP       string `name:"http" yaml:"http" env:"LOGBRIDGE_HTTP" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of all HTTP surfaces (${default}). Port 0 picks a free one, here and everywhere."`
	MQTT       string `name:"mqtt" yaml:"mqtt" env:"LOGBRIDGE_MQTT" default:"127.0.0.1:1883" placeholder:"ADDR" help:"Address of the MQTT broker (${default})."`
	MQTTS      string `name:"mqtts" yaml:"mqtts" env:"LOGBRIDGE_MQTTS" placeholder:"ADDR" help:"Address of MQTT over TLS (off)."`
	HTTPS      string `name:"https" yaml:"https" env:"LOGBRIDGE_HTTPS" placeholder:"ADDR" help:"Address of HTTP over TLS (off)."`

	TLSCert     string `name:"tls-cert" yaml:"tls_cert" env:"LOGBRIDGE_TLS_CERT" placeholder:"FILE" help:"Server certificate chain, PEM."`
	TLSKey      string `name:"tls-key" yaml:"tls_key" env:"LOGBRIDGE_TLS_KEY" placeholder:"FILE" help:"Its key, PEM."`
	TLSClientCA string `name:"tls-client-ca" yaml:"tls_client_ca" env:"LOGBRIDGE_TLS_CLIENT_CA" placeholder:"FILE" help:"Authorities of client certificates, PEM: devices that show a certificate of theirs need no password (off)."`

	MQTTMaxConnections int      `name:"mqtt-max-connections" yaml:"mqtt_max_connections" env:"LOGBRIDGE_MQTT_MAX_CONNECTIONS" default:"100000" placeholder:"N" help:"MQTT connections at a time (${default})."`
	MQTTConnectRate    int      `name:"mqtt-connect-rate" yaml:"mqtt_connect_rate" env:"LOGBRIDGE_MQTT_CONNECT_RATE" default:"20000" placeholder:"N" help:"New MQTT connections a second, and at once (${default}). Later ones wait."`
	MQTTMaxPacket      int      `name:"mqtt-max-packet" yaml:"mqtt_max_packet" env:"LOGBRIDGE_MQTT_MAX_PACKET" default:"262144" placeholder:"N" help:"Bytes of one MQTT packet (${default})."`
	MQTTOrigins        []string `name:"mqtt-origins" yaml:"mqtt_origins" env:"LOGBRIDGE_MQTT_ORIGINS" placeholder:"ORIGIN" help:"Origins of pages of other hosts that may use the WebSocket at /mqtt, such as https://console.example.com (none)."`

	Admin          string `yaml:"admin" env:"LOGBRIDGE_ADMIN" placeholder:"ADDR" help:"Address of operator API and metrics apart from the public surfaces (same as --http)."`
	AdminToken     string `yaml:"admin_token" env:"LOGBRIDGE_ADMIN_TOKEN" placeholder:"TOKEN" help:"The administrator's bearer token; better in the environment than on a command line."`
	AdminTokenFile string `yaml:"admin_token_file" env:"LOGBRIDGE_ADMIN_TOKEN_FILE" placeholder:"FILE" help:"File that holds it (<data>/admin-token, made once)."`
	SealKey        string `yaml:"seal_key" env:"LOGBRIDGE_SEAL_KEY" placeholder:"FILE" help:"File with the key that seals secrets at rest (made once in the user's config folder); the environment variable may also hold the key itself."`

	MemtableBytes int `yaml:"memtable_bytes" env:"LOGBRIDGE_MEMTABLE_BYTES" default:"25165824" placeholder:"N" help:"Bytes of newest records in memory at which a segment is written (${default}); twice as many may be in memory meanwhile."`

	RetentionAge      age   `yaml:"retention_age" env:"LOGBRIDGE_RETENTION_AGE" placeholder:"AGE" help:"How long records are kept after they were received, such as 30d or 12h, 1h at least (for ever)."`
	RetentionAuditAge age   `yaml:"retention_audit_age" env:"LOGBRIDGE_RETENTION_AUDIT_AGE" default:"400d" placeholder:"AGE" help:"How long records of the audit stream are kept at least, also when what lies beside them goes; 0 is for ever (${default})."`
	RetentionBytes    int64 `yaml:"retention_bytes" env:"LOGBRIDGE_RETENTION_BYTES" placeholder:"N" help:"Bytes of segment files above which the oldest are removed, 1048576 at least (no bound)."`

	QuotaDeviceLines  int64 `yaml:"quota_device_lines" env:"LOGBRIDGE_QUOTA_DEVICE_LINES" placeholder:"N" help:"Lines a second that each device may log, where its product says nothing (no bound). A minute's worth may come at once; lines beyond are dropped."`
	QuotaDeviceBytes  int64 `yaml:"quota_device_bytes" env:"LOGBRIDGE_QUOTA_DEVICE_BYTES" placeholder:"N" help:"Bytes a second, likewise (no bound)."`
	QuotaProductLines int64 `yaml:"quota_product_lines" env:"LOGBRIDGE_QUOTA_PRODUCT_LINES" placeholder:"N" help:"Lines a second of all devices of a product together, likewise (no bound)."`
	QuotaProductBytes int64 `yaml:"quota_product_bytes" env:"LOGBRIDGE_QUOTA_PRODUCT_BYTES" placeholder:"N" help:"Bytes a second of all devices of a product together, likewise (no bound)."`

	TrustedProxies []netip.Prefix `yaml:"trusted_proxies" env:"LOGBRIDGE_TRUSTED_PROXIES" placeholder:"CIDR" help:"Networks of the proxies before the HTTP addresses, such as 10.0.0.0/8: what they say of their client's address is believed (none)."`
	ProxyHeader    string         `yaml:"proxy_header" env:"LOGBRIDGE_PROXY_HEADER" placeholder:"NAME" help:"The one header in which they say it: X-Forwarded-For or Forwarded (X-Forwarded-For)."`

	WebAddressEvents int64    `yaml:"web_address_events" env:"LOGBRIDGE_WEB_ADDRESS_EVENTS" placeholder:"N" help:"Events a second of each client address to each logstore or topic, where that says nothing (no bound). Ten seconds' worth may come at once."`
	WebAddressBytes  int64    `yaml:"web_address_bytes" env:"LOGBRIDGE_WEB_ADDRESS_BYTES" placeholder:"N" help:"Bytes a second, likewise (no bound)."`
	WebStoreEvents   int64    `yaml:"web_store_events" env:"LOGBRIDGE_WEB_STORE_EVENTS" placeholder:"N" help:"Events a second of all writers of each logstore or topic, likewise (no bound)."`
	WebStoreBytes    int64    `yaml:"web_store_bytes" env:"LOGBRIDGE_WEB_STORE_BYTES" placeholder:"N" help:"Bytes a second, likewise (no bound)."`
	WebRequestBytes  int64    `yaml:"web_request_bytes" env:"LOGBRIDGE_WEB_REQUEST_BYTES" placeholder:"N" help:"Bytes of the body of a web upload, where its store says nothing (10485760, which is the most; CLS 6291456)."`
	WebQueryBytes    int64    `yaml:"web_query_bytes" env:"LOGBRIDGE_WEB_QUERY_BYTES" placeholder:"N" help:"Bytes of the query of one that is a GET, likewise (16384, which is the most)."`
	WebEvents        int64    `yaml:"web_events" env:"LOGBRIDGE_WEB_EVENTS" placeholder:"N" help:"Events of a web upload, likewise (what each protocol takes: 4096, 10000)."`
	WebFields        int64    `yaml:"web_fields" env:"LOGBRIDGE_WEB_FIELDS" placeholder:"N" help:"Fields of an event, likewise (1024)."`
	WebKeyBytes      int64    `yaml:"web_key_bytes" env:"LOGBRIDGE_WEB_KEY_BYTES" placeholder:"N" help:"Bytes of a field's name, likewise (1024)."`
	WebValueBytes    int64    `yaml:"web_value_bytes" env:"LOGBRIDGE_WEB_VALUE_BYTES" placeholder:"N" help:"Bytes of a field's value, likewise (1048576, which is the most)."`
	WebAddress       string   `yaml:"web_address" env:"LOGBRIDGE_WEB_ADDRESS" placeholder:"FORM" help:"What is kept of the address of a page's visitor, likewise: none, masked, hashed or full (masked)."`
	WebOptOut        string   `yaml:"web_opt_out" env:"LOGBRIDGE_WEB_OPT_OUT" placeholder:"WHAT" help:"What is not kept of one who sends DNT or Sec-GPC, likewise: ignore, address or event (ignore)."`
	WebRedact        []string `yaml:"web_redact" env:"LOGBRIDGE_WEB_REDACT" placeholder:"NAME" help:"What is replaced in web events before they are stored, likewise: email, phone, token (nothing)."`

	LevelDefault age `yaml:"level_default" env:"LOGBRIDGE_LEVEL_DEFAULT" placeholder:"TIME" help:"How long a level above the base lasts when nothing is said (30m, or the cap if that is less)."`
	LevelCap     age `yaml:"level_cap" env:"LOGBRIDGE_LEVEL_CAP" placeholder:"TIME" help:"How long it lasts at most, unless it is said to be permanent (24h)."`

	NATS            string `name:"nats" yaml:"nats" env:"LOGBRIDGE_NATS" placeholder:"URL" help:"NATS cluster instead of the embedded server: nats://a:4222,nats://b:4222,nats://c:4222, or tls:// (embedded)."`
	NATSSyncAlways  bool   `name:"nats-sync-always" yaml:"nats_sync_always" env:"LOGBRIDGE_NATS_SYNC_ALWAYS" help:"The statement that each of its servers has sync_interval: always. Without it a power cut would lose acknowledged records, so --nats is refused."`
	NATSReplicas    int    `name:"nats-replicas" yaml:"nats_replicas" env:"LOGBRIDGE_NATS_REPLICAS" default:"3" placeholder:"N" help:"How many of its servers keep a copy of everything: 1, 3 or 5 (${default}). The cluster must have as many."`
	NATSLogAge      age    `name:"nats-log-age" yaml:"nats_log_age" env:"LOGBRIDGE_NATS_LOG_AGE" default:"24h" placeholder:"AGE" help:"How long the cluster's commit log keeps what is in segments, for nodes that are away (${default})."`
	NATSLogBytes    int64  `name:"nats-log-bytes" yaml:"nats_log_bytes" env:"LOGBRIDGE_NATS_LOG_BYTES" default:"4294967296" placeholder:"N" help:"Bytes of the cluster's commit log (${default}): above three quarters of them it keeps less."`
	NATSCredentials string `name:"nats-credentials" yaml:"nats_credentials" env:"LOGBRIDGE_NATS_CREDENTIALS" placeholder:"FILE" help:"Login there by a credentials file, as nsc makes them."`
	NATSNKey        string `name:"nats-nkey" yaml:"nats_nkey" env:"LOGBRIDGE_NATS_NKEY" placeholder:"FILE" help:"Or by the seed of a user's key, in a file."`
	NATSUser        string `name:"nats-user" yaml:"nats_user" env:"LOGBRIDGE_NATS_USER" placeholder:"NAME" help:"Or by name and password."`
	NATSPassword    string `name:"nats-password" yaml:"nats_password" env:"LOGBRIDGE_NATS_PASSWORD" placeholder:"PASSWORD" help:"The password; better in the environment than on a command line."`
	NATSCA          string `name:"nats-ca" yaml:"nats_ca" env:"LOGBRIDGE_NATS_CA" placeholder:"FILE" help:"Authorities of the cluster's certificates, PEM; asks for TLS (the system's)."`
	NATSCert        string `name:"nats-cert" yaml:"nats_cert" env:"LOGBRIDGE_NATS_CERT" placeholder:"FILE" help:"Client certificate for the cluster, PEM; asks for TLS."`
	NATSKey         string `name:"nats-key" yaml:"nats_key" env:"LOGBRIDGE_NATS_KEY" placeholder:"FILE" help:"Its key, PEM."`

	UpstreamMQTT []string `name:"upstream-mqtt" yaml:"upstream_mqtt" env:"LOGBRIDGE_UPSTREAM_MQTT" placeholder:"URL" help:"Outside MQTT broker to link to, mqtt://user@host:port?password_file=FILE or mqtts://; may be given again. docs/mqtt.md has the rest."`
	Demo         bool     `yaml:"demo" env:"LOGBRIDGE_DEMO" help:"A small simulated fleet and a demo page, on loopback, with a data folder and keys of its own that end with it."`

	// Provision is set up at start, again and again without harm. It has no flag.
	Provision registry.Provision `kong:"-" yaml:"provision"`
}

// finish adds the file's settings where neither a flag nor the environment has set one, and checks every rule. All
// faults come back in one error, each as a line that says what to do.
func (c *Config) finish(ctx *kong.Context) error {
	var faults []error
	if c.ConfigFile != "" {
		file, present, err := readConfig(c.ConfigFile)
		if err != nil {
			faults = append(faults, err)
		}
		c.merge(file, present, explicit(ctx))
	}
	return errors.Join(append(faults, c.check())...)
}

// readConfig decodes a configuration file and says which of its keys are present. On an unknown key it returns both
// the error and the rest, so that the rest can be checked too.
func readConfig(file string) (c Config, present map[string]any, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return c, nil, fmt.Errorf("read the configuration: %w", err)
	}
	strict := yaml.NewDecoder(bytes.NewReader(text), yaml.DisallowUnknownField())
	if err := strict.Decode(&c); err != nil && len(bytes.TrimSpace(text)) > 0 {
		c = Config{}
		if yaml.Unmarshal(text, &c) == nil {
			_ = yaml.Unmarshal(text, &present) // what the line above took is YAML
		}
		return c, present, fmt.Errorf("%s: %s", file, strings.TrimSpace(err.Error()))
	}
	if err := yaml.Unmarshal(text, &present); err != nil {
		return c, nil, fmt.Errorf("%s: %s", file, strings.TrimSpace(err.Error()))
	}
	return c, present, nil
}

// merge takes over the keys that are present in the file and not set elsewhere.
func (c *Config) merge(file Config, present map[string]any, set map[string]bool) {
	to, from := reflect.ValueOf(c).Elem(), reflect.ValueOf(file)
	for i := range to.NumField() {
		key := to.Type().Field(i).Tag.Get("yaml")
		if _, ok := present[key]; ok && !set[key] {
			to.Field(i).Set(from.Field(i))
		}
	}
}

// explicit lists, as YAML keys, the flags that the command line or the environment has set.
func explicit(ctx *kong.Context) map[string]bool {
	set := map[string]bool{}
	for _, flag := range ctx.Flags() {
		for _, env := range flag.Envs {
			if _, ok := os.LookupEnv(env); ok {
				set[yamlKey(flag.Name)] = true
			}
		}
	}
	for _, p := range ctx.Path {
		if p.Flag != nil {
			set[yamlKey(p.Flag.Name)] = true
		}
	}
	return set
}

func yamlKey(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// leastToken is the shortest administrator's token that is not guessed.
const leastToken = 16

// The memtable's size: a segment of less than a few pages is all overhead, and a restart indexes a whole memtable.
const (
	leastMemtable = 64 << 10
	mostMemtable  = 512 << 20
)

// Retention works on whole segments: below these there would be little that is kept at all.
const (
	leastRetentionAge   = age(time.Hour)
	leastRetentionBytes = 1 << 20
)

// A raised level that lasts less than a second never reaches its device (design.md 7).
const (
	leastLevelTime = age(time.Second)
	usualLevelCap  = age(24 * time.Hour)
)

// age is a duration that can be said in days.
type age time.Duration

// UnmarshalText reads what time.ParseDuration does, and whole days: 30d.
func (a *age) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		const most = int64(math.MaxInt64 / (24 * time.Hour))
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n < 0 || n > most {
			return fmt.Errorf("write an age as 30d or 12h, not %q", text)
		}
		*a = age(n) * age(24*time.Hour)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("write an age as 30d or 12h, not %q", text)
	}
	*a = age(d)
	return nil
}

// check returns every rule that is broken.
func (c *Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Data == "" {
		fault("--data: name a folder")
	}
	for _, a := range c.addresses() {
		if err := checkAddress(a.addr); err != nil {
			fault("--%s: %w", a.flag, err)
		} else if c.Demo && !isLoopback(a.addr) {
			fault("--%s: the demo listens on loopback only, use 127.0.0.1 instead of %s", a.flag, a.addr)
		}
	}
	if c.AdminToken != "" && c.AdminTokenFile != "" {
		fault("--admin-token and --admin-token-file: give one of them")
	}
	if c.AdminToken != "" && len(c.AdminToken) < leastToken {
		fault("--admin-token: use at least %d characters", leastToken)
	}
	if strings.ContainsAny(c.AdminToken, " \t\r\n") {
		fault("--admin-token: leave out spaces")
	}
	for _, a := range []address{{"mqtts", c.MQTTS}, {"https", c.HTTPS}} {
		if a.addr != "" && (c.TLSCert == "" || c.TLSKey == "") {
			fault("--%s: give its certificate and key with --tls-cert and --tls-key", a.flag)
		}
	}
	if c.MQTTS == "" && c.HTTPS == "" && (c.TLSCert != "" || c.TLSKey != "" || c.TLSClientCA != "") {
		fault("--tls-cert, --tls-key, --tls-client-ca: nothing uses them without --mqtts or --https; leave them out or give one")
	}
	faults = append(faults, c.checkMQTT(), c.checkWeb())
	if c.MemtableBytes < leastMemtable || c.MemtableBytes > mostMemtable {
		fault("--memtable-bytes: use a number from %d to %d", leastMemtable, mostMemtable)
	}
	if c.RetentionAge != 0 && c.RetentionAge < leastRetentionAge {
		fault("--retention-age: use at least %s, or 0 to keep for ever", time.Duration(leastRetentionAge))
	}
	if c.RetentionAuditAge != 0 && c.RetentionAuditAge < leastRetentionAge {
		fault("--retention-audit-age: use at least %s, or 0 to keep for ever", time.Duration(leastRetentionAge))
	}
	if c.RetentionBytes != 0 && c.RetentionBytes < leastRetentionBytes {
		fault("--retention-bytes: use at least %d, or 0 for no bound", leastRetentionBytes)
	}
	for _, q := range c.quota().Fields() {
		if q.Rate < 0 || q.Rate > logbridge.MaxRate {
			fault("--quota-%s: use a number up to %d, or 0 for no bound", strings.ReplaceAll(q.Name, "_", "-"), logbridge.MaxRate)
		}
	}
	if c.LevelCap != 0 && c.LevelCap < leastLevelTime {
		fault("--level-cap: use at least %s", time.Duration(leastLevelTime))
	}
	if c.LevelDefault != 0 && (c.LevelDefault < leastLevelTime || c.LevelDefault > cmp.Or(c.LevelCap, usualLevelCap)) {
		fault("--level-default: use at least %s and at most the --level-cap, %s", time.Duration(leastLevelTime), time.Duration(cmp.Or(c.LevelCap, usualLevelCap)))
	}
	if c.SealKey != "" && within(c.Data, c.SealKey) {
		fault("--seal-key: keep it outside --data, or a copy of the data would hold its own key")
	}
	_, err := c.upstreams()
	return errors.Join(append(faults, c.checkNATS(), err)...)
}

// quota is what devices may log whose product says nothing.
func (c *Config) quota() logbridge.Quota {
	return logbridge.Quota{DeviceLines: c.QuotaDeviceLines, DeviceBytes: c.QuotaDeviceBytes,
		ProductLines: c.QuotaProductLines, ProductBytes: c.QuotaProductBytes}
}

// The bounds of what may be set of MQTT: a CONNECT must fit, and a packet into one commit with others.
const (
	leastMQTTPacket = 4 << 10
	mostMQTTPacket  = 8 << 20
	mostMQTT        = 10_000_000
)

func (c *Config) checkMQTT() error {
	var faults []error
	for _, n := range []struct {
		flag              string
		value, from, upto int
	}{
		{"mqtt-max-connections", c.MQTTMaxConnections, 1, mostMQTT},
		{"mqtt-connect-rate", c.MQTTConnectRate, 1, mostMQTT},
		{"mqtt-max-packet", c.MQTTMaxPacket, leastMQTTPacket, mostMQTTPacket},
	} {
		if n.value < n.from || n.value > n.upto {
			faults = append(faults, fmt.Errorf("--%s: use a number from %d to %d", n.flag, n.from, n.upto))
		}
	}
	for _, o := range c.MQTTOrigins {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o) {
			faults = append(faults, fmt.Errorf("--mqtt-origins: write an origin as https://console.example.com, not %q", o))
		}
	}
	return errors.Join(faults...)
}

// upstreams reads the addresses of the outside brokers.
func (c *Config) upstreams() (list []bridge.UpstreamConfig, err error) {
	var faults []error
	for i, address := range c.UpstreamMQTT {
		u, err := bridge.ParseUpstream(address)
		if err != nil {
			faults = append(faults, fmt.Errorf("--upstream-mqtt, number %d: %w", i+1, err))
		}
		list = append(list, u)
	}
	return list, errors.Join(faults...)
}

type address struct{ flag, addr string }

// addresses lists what serve listens on.
func (c *Config) addresses() []address {
	list := []address{{"http", c.HTTP}, {"mqtt", c.MQTT}}
	for _, a := range []address{{"mqtts", c.MQTTS}, {"https", c.HTTPS}, {"admin", c.Admin}} {
		if a.addr != "" {
			list = append(list, a)
		}
	}
	return list
}

// taken names every address that cannot be listened on, each with its flag; nil if all can. It is for the time after a
// part could not have its own: the parts know no flags, and the first that fails hides the others.
func (c *Config) taken() error {
	var faults []error
	for _, a := range c.addresses() {
		if a.flag == "admin" && a.addr == c.HTTP { // one listener serves both
			continue
		}
		l, err := net.Listen("tcp", a.addr)
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s: %w; choose another with --%s", a.flag, err, a.flag))
			continue
		}
		defer func() { _ = l.Close() }() // at the end, so that one address for two flags is found too
	}
	return errors.Join(faults...)
}

func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("write an address as host:port, not %q", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("use a port from 0 to 65535, not %q", port)
	}
	return nil
}

func isLoopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// within reports whether file is in dir or below.
func within(dir, file string) bool {
	d, err1 := filepath.Abs(dir)
	f, err2 := filepath.Abs(file)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(d, f)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
