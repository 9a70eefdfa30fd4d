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
// What one read of a connection brings is handed over together (together.go), so that a device which sends ahead of its PUBACKs has
// its messages stored with one sync and acknowledged with one write, in their order.
//
// A device proves who it is by its key, or by a certificate that TLS has verified and that is registered for it (login.go).
//
// # Bounds
//
// All connections, those without a CONNECT, connections a second, the time to the CONNECT, a CONNECT's bytes, a packet's bytes,
// a write's time and failed logins are bounded by the fields of Config and the constants beside them. At a bound new connections
// wait (ConnectRate, MaxHalfOpen) or are closed (MaxConnections); nothing grows.
//
// # mochi
//
// Inside is mochi-mqtt, unforked, for packets and the protocol's flow. Its known defects (mqtt-broker.md 1a, rows P1 to
// P28) are kept away from us by three things: our own listeners and connection wrapper (listener.go, conn.go), one
// guard hook (hook.go), and not using what we do not need. mochi's event loop is never started, since without stored
// sessions and retained messages all it does is copy the client map twice a second (P26); its subscription tree, queues
// and in-flight messages stay empty, since sessions (session.go) keep what is deliverable themselves (P4, P5, P7, P12, P14
// to P17, and a packet identifier of the client's that equals one of the server's, which mochi confuses).
//
// Each row, what keeps it away, and the test that fails without that:
//
//	P1  truncated SUBSCRIBE panics       serve recovers                            TestP1TruncatedSubscribe, FuzzConnection
//	P2  wrapped Code panics              publish answers; mochi sees no PUBLISH    TestP2WrappedCode
//	P3  failure becomes PUBACK           the same                                  TestP3FailureIsNotSuccess
//	P4  push and PUBACK deadlock         session, not mochi's Inflight             TestP4PushesAndAcksDoNotDeadlock
//	P5  send quota never comes back      session counts its own window             TestP5BurstsDoNotStall
//	P6  takeover forgets the new one     OnSessionEstablish waits; table.remove    TestP6TakeoverKeepsTheNewConnection, TestP6TakeoverStorm,
//	                                     compares                                  TestP6FleetTakeover, TestP6TakeoverWaitsForTheOldSession
//	P7  slow reader blocks the sender    conn.Write: deadline, close on error      TestP7SlowReaderDoesNotBlockForEver
//	P8  reconnect behind a stuck write   takeOver closes under a short deadline    TestP8ReconnectPastAStuckWrite
//	P9  accept error ends the listener   accept pauses and goes on                 TestP9AcceptErrors
//	P10 silent connection stays          greet: deadline; drain closes all         TestP10SilentConnection, TestHalfOpenHandshakes
//	P11 will bypasses the rights         tame takes it out of the CONNECT          TestP11Will
//	P12 expired session's subscriptions  no sessions; session holds its own        TestP12ExpiredSessionLeavesNothing
//	P13 huge keep-alive overflows        tame bounds it                            TestP13HugeKeepalive
//	P14 $share/g/# matches $log          maySubscribe: own topics, spelt out       TestP14SharedFilters, TestTopicRights
//	P15 group picks an absent member     no groups                                 TestP15P16P17NothingWaitsForTheAbsent
//	P16 resends are unordered            nothing is resent                         TestP15P16P17NothingWaitsForTheAbsent
//	P17 resends bypass the rights        client id is the device's; no sessions    TestP15P16P17NothingWaitsForTheAbsent, TestLogin
//	P18 options unannounced, 256 MiB,    OnPacketEncode, readHead, framer: 0x95    TestP18Announcements, TestP18OversizePackets,
//	    oversize ends without a word                                               TestP18OversizeIsTold, TestFramer
//	P19 rights asked about topic ""      no aliases; one hook                      TestP19TopicAliases
//	P20 client id "inline"               must be a device's                        TestLogin ("P20: inline")
//	P21 keep-alive's deadline on writes  conn.SetDeadline is for reading           TestP21SlowHandlerKeepsItsAnswer
//	P22 queue counts packets, not bytes  nothing is queued                         TestP22NothingIsQueuedForASlowReader
//	P23 DISCONNECT to older clients      conn.Close tells MQTT 5 only              TestP23NoDisconnectForOlderClients
//	P24 WebSocket: any path, any Origin  httpapi/mqtt.go; Serve guards as TCP      TestP24ServeGuardsLikeAListener; httpapi: TestMQTTOverWebSocketIsAskedForRightly
//	P25 packets with secrets are logged  mochi's log is thrown away                TestP25NothingSecretIsLogged
//	P26 housekeeping copies all clients  the event loop is not started             TestP26NoHousekeeping
//	P27 expiry is invented               session writes its own PUBLISH            TestP27NoExpiryIsInvented
//	P28 $sys never arrives               mochi sees no PUBLISH                     TestP28SysTopics
package broker
