// Package bridge gives MQTT messages their meaning: a device asks for its level or the time and is answered, its log
// reports are appended to the log, and a changed level is pushed to the devices that are connected.
//
// It promises that Handle returns nil for a report only after Append did, that the last thing a connected device is told
// is the level in force, and that a device which could not be told is no error: what is wanted of it is kept elsewhere
// and it asks when it connects.
//
// It knows no broker: whatever holds the connections hands it sessions and messages (broker.Handler is what the
// embedded one wants of it). Who may log in, and on which topics, is decided there.
package bridge
