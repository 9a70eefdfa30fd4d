// Package broker is the embedded MQTT broker: it lets registered devices log in, keeps each of them to its own topics,
// hands what they publish to a Handler and delivers what the Handler sends. It speaks MQTT 3.1, 3.1.1 and 5.
//
// It promises that a PUBACK is only written after Handler.Handle returned (mqtt-broker.md 2), that nothing one client
// sends or fails to read stops the process, another client or a sender for longer than the write timeout, and that
// every session which was reported as connected is reported as disconnected, once.
//
// It offers less than MQTT: devices never talk to each other, so there is no fan-out between clients, no retained
// message, no will, no queue for the absent, no QoS 2 and no shared subscription. What a message means is left to the
// Handler.
//
// Inside is mochi-mqtt, unforked, for packets and the protocol's flow. Its known defects (mqtt-broker.md 1a, rows P1 to
// P28) are kept away from us by three things: our own listeners and connection wrapper (listener.go, conn.go), one
// guard hook (hook.go), and not using what we do not need. mochi's event loop is never started, since without stored
// sessions and retained messages all it does is copy the client map twice a second (P26); its subscription tree, queues
// and in-flight messages stay empty, since sessions (session.go) keep what is deliverable themselves (P4, P5, P7, P12, P14
// to P17, and a packet identifier of the client's that equals one of the server's, which mochi confuses).
package broker
