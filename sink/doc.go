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
// What is a duplicate is decided by the indexer in stream order, from nothing but the groups, so that every run over them
// decides alike: replay keys of uploads (logbridge.Batch.ReplayKey), and lines that carry their device's own time, of which
// the n-th occurrence in an upload is stored unless an n-th one was within ten minutes (duplicates.go). The windows that
// remember them are bounded; what they took in since the segment before is written beside each segment (window.go,
// window_file.go).
//
// The ledger is a function of the commit log as well: stored and duplicate are counted as groups are indexed, live or at a
// restart; what was refused and dropped, which is in no upload, rides as a report in the next group, or after a second in one
// of its own (ledger.go). A checkpoint beside each segment holds the counts up to its end (ledger_file.go). A crash loses the
// refusals of the last second, which then were never received; the sums stay exact.
//
// At a flush the files of the windows and the ledger are written first, then the segment, then the commit log is
// shortened, then older files are removed. A restart takes the files for the sequence before the first one that it has to
// index, and indexes the rest on top; neither merging nor retention of segments touches them.
//
// Segments leave the set in three ways: small neighbours are merged (merge.go), the oldest expire (retention.go), and one
// whose checksum is wrong when it is read twice is set aside under another name, reported and counted, while the queries go
// on with the rest (reading.go). A query holds what it reads, and a file is removed when the last of its readers is done
// (segments.go). A start removes files whose sequences lie within another's: the parts of a merge that was interrupted.
//
// # Limits
//
// Queries read in turn, a page at a time, and are bounded in number, time and bytes (bounds.go). One whose reader is slow
// lets go of memtables and files, and takes a new look when he comes back. Of the segments, what queries need again and again is kept
// in a cache that is bounded in bytes and in open files (cache.go).
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
