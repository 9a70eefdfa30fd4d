package logbridge

// Message is one MQTT PUBLISH from a device that has logged in, on a topic that it may write.
type Message struct {
	Topic   string
	Payload []byte // only valid during the call that hands it over
	// ContentType is MQTT 5's, empty without one.
	ContentType string
	QoS         byte
	// Dup marks a redelivery.
	Dup bool
}

// Session is one live connection of a device, through whichever broker holds it. It is comparable; a device that
// reconnects has a new one. Its methods may be called concurrently.
type Session interface {
	Device() DeviceID
	// Send delivers payload on topic if the device has subscribed to it, at the granted QoS but at most 1. At most one
	// QoS 1 message is unacknowledged for a topic: a later payload waits for the PUBACK, and of several that wait
	// only the newest is sent. nil means that the payload was written or waits; an error that the session is gone or
	// the topic not subscribed. It blocks at most as long as the broker's write timeout. Nobody changes payload from then on.
	Send(topic string, payload []byte) error
	// Resend sends the payload of the topic's unacknowledged QoS 1 message again, or the newer one that waits for it, as a new
	// message, and says whether there was one. An error says that it could not be sent: the session is gone, or the device
	// takes no more messages before it acknowledges some.
	Resend(topic string) (bool, error)
}
