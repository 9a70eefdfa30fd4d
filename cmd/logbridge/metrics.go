package main

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/bridge"
	"github.com/logbridge/logbridge/broker"
	"github.com/logbridge/logbridge/sink"
)

// emit gives one value of a metric, with its labels' values in the order of the table.
type emit func(value float64, labels ...string)

// metric is one row of the table of all metrics.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(*server, emit)
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// metrics are all metrics of our own. A label never names a device: its values are few and known.
var metrics = []metric{
	{"logbridge_build_info", "Always 1; which version runs.", gauge, []string{"version", "goversion"},
		func(_ *server, e emit) { e(1, version(), runtime.Version()) }},

	{"logbridge_ingest_lines_total", "Lines and events that came in, whatever became of them.", counter, []string{"source"},
		eachSource(func(c logbridge.Counts) float64 { return float64(c.Received) })},
	{"logbridge_stored_lines_total", "Lines and events that were stored.", counter, []string{"source"},
		eachSource(func(c logbridge.Counts) float64 { return float64(c.Stored) })},
	{"logbridge_deduplicated_lines_total", "Lines that had been stored before and were acknowledged again.", counter, []string{"source"},
		eachSource(func(c logbridge.Counts) float64 { return float64(c.Duplicate) })},
	{"logbridge_discarded_lines_total", "Lines that were refused, or acknowledged and dropped, by reason.", counter, []string{"source", "reason"}, readDiscarded},

	{"logbridge_mqtt_connections", "MQTT connections that are open, logged in or not.", gauge, nil,
		func(s *server, e emit) { e(float64(s.broker.Stats().Connections)) }},
	{"logbridge_mqtt_sessions", "Devices that are logged in.", gauge, nil,
		func(s *server, e emit) { e(float64(s.broker.Stats().Sessions)) }},
	{"logbridge_mqtt_connects_total", "MQTT logins, by what came of them.", counter, []string{"result"}, readConnects},
	{"logbridge_mqtt_connections_refused_total", "MQTT connections refused because as many as may be were open.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.RefusedFull })},
	{"logbridge_mqtt_half_open_connections", "MQTT connections that have not sent their CONNECT, TLS handshakes included.", gauge, nil,
		func(s *server, e emit) { e(float64(s.broker.Stats().HalfOpen)) }},
	{"logbridge_mqtt_half_open_evicted_total", "Of those, closed early because there were as many as may be.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Evicted })},
	{"logbridge_mqtt_half_open_waits_total", "Times that a new connection waited because of that.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Crowded })},
	{"logbridge_mqtt_oversize_total", "MQTT packets over --mqtt-max-packet, whose connection was ended.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Oversize })},
	{"logbridge_login_allowances", "Devices, addresses and pairs of them whose failed logins are remembered.", gauge, nil,
		func(s *server, e emit) { e(float64(s.attempts.Len())) }},
	{"logbridge_tls_certificate_expiry_timestamp_seconds", "When the server's certificate expires; absent without TLS.", gauge, nil, readExpiry},
	{"logbridge_tls_reloads_total", "Times that changed certificate files were read again, by result.", counter, []string{"result"}, readReloads},
	{"logbridge_mqtt_accept_errors_total", "MQTT connections that the operating system could not hand over.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.AcceptErrors })},
	{"logbridge_mqtt_no_connect_total", "MQTT connections that ended before a CONNECT packet of bearable size.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.NoConnect })},
	{"logbridge_mqtt_panics_total", "MQTT connections that a fault of this program ended.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Panics })},
	{"logbridge_mqtt_takeovers_total", "Logins of a device that was logged in already.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Takeovers })},
	{"logbridge_mqtt_messages_total", "Messages from devices, by what came of them.", counter, []string{"result"}, readMessages},
	{"logbridge_mqtt_sent_total", "Messages written to devices.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Sent })},

	{"logbridge_mqtt_held_total", "Messages to devices that waited for the acknowledgement of an earlier one.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Held })},
	{"logbridge_mqtt_replaced_total", "Messages that waited so and were replaced by a newer one before they were written.", counter, nil,
		ofBroker(func(b broker.Stats) uint64 { return b.Replaced })},
	{"logbridge_mqtt_reports_total", "Log reports from devices that were stored.", counter, nil,
		ofBridge(func(b bridge.Stats) uint64 { return b.Reports })},
	{"logbridge_mqtt_duplicates_total", "Log reports that were delivered again and had been stored before.", counter, nil,
		ofBridge(func(b bridge.Stats) uint64 { return b.Duplicates })},
	{"logbridge_upstream_linked", "1 while this node reads from the outside broker; absent without --upstream-mqtt.", gauge, []string{"broker"}, eachUpstream(func(u bridge.UpstreamStats) float64 {
		if u.Linked {
			return 1
		}
		return 0
	})},
	{"logbridge_upstream_failures_total", "Connections to the outside broker that failed or were lost; absent without --upstream-mqtt.", counter, []string{"broker"},
		eachUpstream(func(u bridge.UpstreamStats) float64 { return float64(u.Failures) })},
	{"logbridge_upstream_messages_total", "Messages from the outside broker, and what was tried again; result: received, redelivered, unknown (no registered device), retried; absent without --upstream-mqtt.", counter, []string{"broker", "result"}, readUpstreamMessages},
	{"logbridge_upstream_published_total", "Messages to the outside broker; result: published, unpublished (levels among them are sent again); absent without --upstream-mqtt.", counter, []string{"broker", "result"}, readUpstreamPublished},
	{"logbridge_nats_connected", "1 while there is a connection to the NATS cluster; absent without --nats.", gauge, nil, onCluster(func(s *server) float64 {
		if s.node.Ready() != nil {
			return 0
		}
		return 1
	})},
	{"logbridge_nats_reconnects_total", "How often that connection was lost and made again; absent without --nats.", counter, nil,
		onCluster(func(s *server) float64 { return float64(s.node.Reconnects()) })},
	{"logbridge_cluster_nodes", "Nodes of this fleet that are heard, this one included; absent without --nats.", gauge, nil,
		onCluster(func(s *server) float64 { return float64(s.levels.Stats().Nodes) })},
	{"logbridge_cluster_devices", "Devices that are connected to the other nodes; absent without --nats.", gauge, nil,
		onCluster(func(s *server) float64 { return float64(s.levels.Stats().Elsewhere) })},

	{"logbridge_mqtt_ignored_total", "Messages on topics that mean nothing here.", counter, nil,
		ofBridge(func(b bridge.Stats) uint64 { return b.Ignored })},

	{"logbridge_level_requests_total", "Messages on the topics on which devices ask for level and time, by what they were.", counter, []string{"result"}, readQuestions},
	{"logbridge_level_push_total", "Levels sent without a question, by what came of them; acknowledged ones are counted as sent too.", counter, []string{"result"}, readPushes},
	{"logbridge_level_overrides", "Devices that have a level of their own now, by that level.", gauge, []string{"level"}, readOverrides},
	{"logbridge_level_rules", "Rules for many devices that are in force.", gauge, nil,
		func(s *server, e emit) { e(float64(s.levels.Stats().Rules)) }},
	{"logbridge_level_reminders_total", "Devices that were told their level because they did not ask for it.", counter, nil,
		ofBridge(func(b bridge.Stats) uint64 { return b.Reminded })},
	{"logbridge_level_resent_total", "Levels that were sent again because no acknowledgement came.", counter, nil,
		ofBridge(func(b bridge.Stats) uint64 { return b.Resent })},
	{"logbridge_audit_failures_total", "Audit records that could not be stored.", counter, nil,
		func(s *server, e emit) { e(float64(s.levels.Stats().AuditFailures + s.http.AuditFailures())) }},

	{"logbridge_audit_left_out_total", "Refused changes that the audit stream has by their number alone, since their actor had too many in a minute.", counter, nil,
		func(s *server, e emit) { e(float64(s.refusals.LeftOut())) }},

	{"logbridge_quota_devices", "Devices that the quotas keep in mind now: those that sent anything in the last minute or so, if there are quotas.", gauge, nil,
		func(s *server, e emit) { e(float64(s.quota.Stats().Devices)) }},

	{"logbridge_sink_segments", "Segment files.", gauge, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().Segments)) }},
	{"logbridge_sink_size_bytes", "Size of all segment files.", gauge, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().SegmentBytes)) }},
	{"logbridge_sink_memtable_bytes", "Size of the records in memory that are in no segment yet.", gauge, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().MemtableBytes)) }},
	{"logbridge_sink_memtable_records", "Records in memory that are in no segment yet.", gauge, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().MemtableRows)) }},
	{"logbridge_sink_oldest_timestamp_seconds", "Event time of the oldest record in a segment; absent without segments.", gauge, nil, readOldest},
	{"logbridge_sink_oldest_received_timestamp_seconds", "Earliest time of receipt of a record in a segment, what retention by age goes by; absent without segments.", gauge, nil,
		func(s *server, e emit) { emitTime(e, s.sink.Stats().OldestReceived) }},
	{"logbridge_sink_erased_records_total", "Records that were erased by an operator and taken out of segments.", counter, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().Erased)) }},
	{"logbridge_sink_erasures_pending", "Erased streams of which some bytes may still be in segments.", gauge, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().Erasures)) }},
	{"logbridge_sink_expired_records_total", "Records that retention has removed, by what bound.", counter, []string{"bound"}, readExpired},
	{"logbridge_sink_set_aside_segments_total", "Segments whose checksum was wrong, found since the start: renamed to .damaged and not searched any more.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.SetAside })},
	{"logbridge_sink_set_aside_records_total", "Records of those.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.SetAsideRecords })},
	{"logbridge_sink_merges_total", "Segments that were written by merging smaller ones.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.Merges })},
	{"logbridge_sink_queries", "Queries that are being answered, tails not counted.", gauge, nil,
		ofSink(func(st sink.Stats) uint64 { return uint64(st.Queries) })},
	{"logbridge_sink_queries_refused_total", "Queries refused because as many as may be were being answered.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.QueriesRefused })},
	{"logbridge_tails", "Readers that follow.", gauge, nil,
		ofSink(func(st sink.Stats) uint64 { return uint64(st.Tails) })},
	{"logbridge_tail_dropped_records_total", "Records that readers who follow did not get, since they were too slow; each was told how many.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.TailDropped })},
	{"logbridge_commit_waiting_seconds", "How long the commit log has been waited for now: while a cluster elects a leader, nothing can be stored.", gauge, nil,
		func(s *server, e emit) { e(s.sink.Stats().CommitWaiting.Seconds()) }},
	{"logbridge_commit_longest_wait_seconds", "The longest that it was waited for since the start.", gauge, nil,
		func(s *server, e emit) { e(s.sink.Stats().CommitLongest.Seconds()) }},
	{"logbridge_commit_repeats_total", "Tries to write to a cluster's commit log that were repeated, their outcome being unknown.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.CommitRepeats })},
	{"logbridge_sink_lag_groups", "Groups of the cluster's commit log that this node has not indexed, as of its last look.", gauge, nil,
		ofSink(func(st sink.Stats) uint64 { return st.Lag })},
	{"logbridge_sink_behind", "1 while this node of a cluster is so far behind that it neither takes nor answers.", gauge, nil, readBehind},
	{"logbridge_sink_copied_segments_total", "Segments that were copied from another node of a cluster.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.CopiedSegments })},
	{"logbridge_sink_copied_bytes_total", "Bytes that were copied so.", counter, nil,
		ofSink(func(st sink.Stats) uint64 { return st.CopiedBytes })},
	{"logbridge_sink_forgotten_keys_total", "Uploads, messages and lines that the bounded windows of duplicates forgot before their time.", counter, nil,
		func(s *server, e emit) { e(float64(s.sink.Stats().ForgottenKeys)) }},
}

// ofBroker reads one count of the broker.
func ofBroker(count func(broker.Stats) uint64) func(*server, emit) {
	return func(s *server, e emit) { e(float64(count(s.broker.Stats()))) }
}

// ofSink reads one count of the sink.
func ofSink(count func(sink.Stats) uint64) func(*server, emit) {
	return func(s *server, e emit) { e(float64(count(s.sink.Stats()))) }
}

// ofBridge reads one count of the bridge.
func ofBridge(count func(bridge.Stats) uint64) func(*server, emit) {
	return func(s *server, e emit) { e(float64(count(s.bridge.Stats()))) }
}

// eachSource reads one count of each source.
func eachSource(count func(logbridge.Counts) float64) func(*server, emit) {
	return func(s *server, e emit) {
		sources := s.sink.LedgerSources()
		for _, source := range logbridge.Sources {
			e(count(sources[source]), string(source))
		}
	}
}

func readDiscarded(s *server, e emit) {
	for source, c := range s.sink.LedgerSources() {
		sum := map[string]uint64{}
		for _, reasons := range []map[string]uint64{c.Refused, c.Dropped} {
			for reason, n := range reasons {
				sum[reason] += n
			}
		}
		for reason, n := range sum {
			e(float64(n), string(source), reason)
		}
	}
}

func readConnects(s *server, e emit) {
	l := s.broker.Stats().Logins
	for result, n := range map[string]uint64{"accepted": l.Accepted, "malformed": l.Malformed, "no_password": l.NoPassword,
		"unknown_device": l.UnknownDevice, "wrong_password": l.WrongPassword, "expired": l.Expired, "accepted_by_certificate": l.AcceptedByCertificate,
		"wrong_certificate": l.WrongCertificate, "throttled": l.Throttled} {
		e(float64(n), result)
	}
}

func readExpiry(s *server, e emit) {
	if s.tls != nil {
		emitTime(e, s.tls.current.Load().expires)
	}
}

func readReloads(s *server, e emit) {
	var used, failed uint64
	if s.tls != nil {
		used, failed = s.tls.reloads.Load(), s.tls.failures.Load()
	}
	e(float64(used), "used")
	e(float64(failed), "failed")
}

func readMessages(s *server, e emit) {
	st := s.broker.Stats()
	taken := st.Received - min(st.Invalid+st.Failed, st.Received)
	for result, n := range map[string]uint64{"taken": taken, "forbidden": st.Forbidden, "oversize": st.Oversize, "invalid": st.Invalid, "failed": st.Failed} {
		e(float64(n), result)
	}
}

// onCluster gives a number only where there is a cluster.
func onCluster(number func(*server) float64) func(*server, emit) {
	return func(s *server, e emit) {
		if !s.node.Embedded() {
			e(number(s))
		}
	}
}

// eachUpstream gives one number of each link.
func eachUpstream(number func(bridge.UpstreamStats) float64) func(*server, emit) {
	return func(s *server, e emit) {
		for _, u := range s.bridge.Upstreams() {
			e(number(u), u.Name)
		}
	}
}

func readUpstreamMessages(s *server, e emit) {
	for _, u := range s.bridge.Upstreams() {
		for result, n := range map[string]uint64{"received": u.Received, "redelivered": u.Redelivered, "unknown": u.Unknown, "retried": u.Retried} {
			e(float64(n), u.Name, result)
		}
	}
}

func readUpstreamPublished(s *server, e emit) {
	for _, u := range s.bridge.Upstreams() {
		e(float64(u.Published), u.Name, "published")
		e(float64(u.Unpublished), u.Name, "unpublished")
	}
}

func readQuestions(s *server, e emit) {
	st := s.bridge.Stats()
	for result, n := range map[string]uint64{"level": st.Asked, "time": st.TimeAsked, "malformed": st.Malformed} {
		e(float64(n), result)
	}
}

func readPushes(s *server, e emit) {
	st := s.bridge.Stats()
	for result, n := range map[string]uint64{"sent": st.Pushed, "acknowledged": st.Acked, "skipped": st.Skipped, "unheard": st.Unheard} {
		e(float64(n), result)
	}
}

func readOverrides(s *server, e emit) {
	for level, n := range s.levels.Stats().Overrides {
		e(float64(n), logbridge.Level(level).String())
	}
}

func readBehind(s *server, e emit) {
	if s.sink.Stats().Behind {
		e(1)
	} else {
		e(0)
	}
}

func readOldest(s *server, e emit) { emitTime(e, s.sink.Stats().OldestTime) }

// emitTime gives a time in seconds; nothing for the zero time.
func emitTime(e emit, t time.Time) {
	if !t.IsZero() {
		e(float64(t.UnixMilli()) / 1000)
	}
}

func readExpired(s *server, e emit) {
	st := s.sink.Stats()
	e(float64(st.ExpiredByAge), "age")
	e(float64(st.ExpiredByBytes), "bytes")
}

// tableCollector collects the table from the parts at each scrape.
type tableCollector struct {
	server *server
	descs  []*prometheus.Desc
}

func newTableCollector(s *server) tableCollector {
	c := tableCollector{server: s}
	for _, m := range metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c tableCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c tableCollector) Collect(ch chan<- prometheus.Metric) {
	for i, m := range metrics {
		m.read(c.server, func(value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(c.descs[i], m.kind, value, labels...)
		})
	}
}

// metricsHandler serves the table and what the Go runtime and the operating system say of the process.
func metricsHandler(s *server) http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(newTableCollector(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}
