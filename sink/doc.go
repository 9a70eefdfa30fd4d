// Package sink is the one durable, searchable log that everything goes into.
//
// # Promise
//
// When Append returns nil, a power cut at that moment would not lose the records, and a query that begins then finds
// them. When it returns an error that is logbridge.ErrUnavailable, the outcome is unknown: the records may or may not
// be there, and the sender may send them again. Nothing that was acknowledged is stored twice by a crash, at whichever
// moment it comes.
//
// Assumed: the disk keeps what fsync has returned for, a rename is atomic, and one process owns the folder.
//
// # How
//
// Appends that arrive while one publish is in flight become the next one: a group is one JetStream message, compressed
// with s2, at most 1 MiB, synced before it is acknowledged (commit.go, codec.go). The indexer takes the committed groups
// in stream order into a memtable (index.go, memtable.go), where queries see them, and wakes the tails. A full or old
// memtable becomes a segment: a Parquet file sorted by stream and time, which carries the range of stream sequences it
// holds (segment_write.go). Only when the segment is synced under its final name may the commit log drop those
// sequences. A restart reads the last sequence of the newest segment and indexes the stream from the next one on:
// nothing has to be reconciled, and nothing is stored twice.
//
// Replay keys of uploads (logbridge.Batch.ReplayKey) are decided by the indexer in stream order, in a bounded window
// that is written beside each segment, so a restart decides as the first run did (window.go).
//
// # Limits
//
// A record is at most MaxRecord bytes; at most maxWaiting bytes of appends wait at a time. The memtables, and with them a
// restart, are bounded by twice Config.MemtableBytes and what waits; when segments cannot be written, appends wait and
// time out as unavailable once both memtables are full, while reads go on; when they can be written again, so do appends.
// Config.CommitLogBytes is a last bound on the disk.
//
// A disk that gets full is noticed before JetStream meets its end, for that keeps the first write error of a stream for
// ever: uploads are refused as unavailable while less is free than a flush may need (room.go), reads go on, a memtable
// still becomes a segment, and uploads are taken again as soon as there is room. When the commit log does not answer in
// spite of this (the disk fails, or another process takes the reserve at the same moment), Run ends with an error: a new
// start goes on from what is on disk.
package sink
