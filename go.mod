module github.com/logbridge/logbridge

go 1.26.0

// What npm puts there is no Go, and what of it is is not ours.
ignore ./httpapi/console/node_modules

require (
	github.com/alecthomas/kong v1.17.0 // the command line: flags, environment and help from one tagged struct
	github.com/chromedp/chromedp v0.23.0 // tests only: drives a real browser, for the SDKs of web pages and the console
	github.com/coder/websocket v1.8.15 // WebSocket, for MQTT and the live tail of Loki's API: no goroutine of its own
	github.com/danielgtaylor/huma/v2 v2.37.2 // OpenAPI 3.1 from the Go types of the operator API
	github.com/eclipse/paho.mqtt.golang v1.5.1 // MQTT client: simulated devices, later the link to an outside broker
	github.com/getkin/kin-openapi v0.152.0 // tests only: the OpenAPI document is held against the standard, its examples against its schemas
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // jsontext, the Go team's JSON tokens: no tree for hostile input to blow up
	github.com/goccy/go-yaml v1.19.2 // strict YAML whose errors name line and key
	github.com/klauspost/compress v1.20.3 // s2 for the commit log, zstd for segments, and the bodies that SLS clients compress
	github.com/labstack/echo/v4 v4.16.0 // HTTP routing and middleware of all surfaces
	github.com/mattn/go-isatty v0.0.22 // colours on a terminal only
	github.com/mochi-mqtt/server/v2 v2.7.9 // the embedded MQTT broker
	github.com/nats-io/nats-server/v2 v2.15.2 // the embedded commit log and key-value store, synced on each write
	github.com/nats-io/nats.go v1.55.0 // its client
	github.com/parquet-go/parquet-go v0.32.0 // segments that other tools read as they are
	github.com/pierrec/lz4/v4 v4.1.33 // the body compression of SLS clients
	github.com/prometheus/client_golang v1.25.0 // /metrics
	go.opentelemetry.io/proto/otlp v1.10.0 // tests only: the generated types of OTLP, as witness of our own decoder
	golang.org/x/net v0.60.0 // netutil: a bound on the connections of a listener
	golang.org/x/sync v0.24.0 // errgroup: goroutines with an owner that waits for them
	golang.org/x/time v0.16.0 // rate: connections a second
	google.golang.org/protobuf v1.36.12 // tests only: protobuf of the generated types, and protojson
)

require (
	github.com/andybalholm/brotli v1.2.0 // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/go-openapi/jsonpointer v0.22.5 // indirect
	github.com/go-openapi/swag/jsonname v0.25.5 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/labstack/gommon v0.5.0 // indirect
	github.com/mattn/go-colorable v0.1.15 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/oasdiff/yaml v0.1.1 // indirect
	github.com/oasdiff/yaml3 v0.0.14 // indirect
	github.com/parquet-go/bitpack v1.0.0 // indirect
	github.com/parquet-go/jsonlite v1.0.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/rs/xid v1.4.0 // indirect
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // indirect
	github.com/twpayne/go-geom v1.6.1 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/valyala/fasttemplate v1.2.2 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)
