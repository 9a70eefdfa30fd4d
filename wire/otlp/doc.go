// Package otlp reads logs as the OpenTelemetry protocol sends them over HTTP (opentelemetry-proto: docs/specification.md,
// logs/v1/logs.proto): ExportLogsServiceRequest in protobuf and in JSON, its answer, and google.rpc.Status for errors.
//
// Both forms are read front to back into records, without the tree of generated types: of a request of 20 MB they would
// make some hundred, before any bound could be looked at. What is read is a part of the one input string.
//
// What becomes of a log record:
//
//	timeUnixNano            Time, of quality device; if it is 0 observedTimeUnixNano, and without both the time of receipt
//	observedTimeUnixNano    attribute observed_timestamp, in nanoseconds, if it is a second or more off timeUnixNano
//	severityNumber          Severity: 1-8 debug, 9-12 info, 13-16 warn, 17-24 error; attribute severity_number if it is not
//	                        the lowest of its four
//	severityText            Severity if there is no number; attribute severity_text if it says more than the severity
//	body                    Body: text as it is, bytes as base64, anything else as JSON
//	attributes              attributes, values as the body's
//	eventName, traceId, spanId, flags, droppedAttributesCount
//	                        attributes event_name, trace_id and span_id (hex), flags, dropped_attributes_count, if not 0 or
//	                        empty
//	scope                   attributes scope_name, scope_version, scope_dropped_attributes_count, and its own
//	resource                Stream by service.namespace and service.name, and attributes; those two only where the
//	                        stream's name cannot hold them as they are; resource_dropped_attributes_count
//
// The names with an underscore are those that Loki gives the same things. A record's own attributes come first, the
// resource's last. Schema URLs, entity references and what else later versions add are passed over.
package otlp
