// Package sink is the one durable, searchable log that everything goes into.
//
// # The promise
//
//   - When Append returns nil, a power cut or a kill at that moment loses none of the batch, and a query that begins then
//     finds it: each record once, or, where it repeats one that is there (see Duplicates), the first one.
//   - Append's error ErrTooLarge or ErrInvalid means that nothing is stored. ErrUnavailable means that the outcome is not
//     known: the sender may send again. What is then told as a repetition, and what is not, is below.
//   - No crash stores twice what was acknowledged, at whichever moment it comes.
//   - Received = stored + duplicate + refused + dropped, exactly, before and after a crash.
//   - On a cluster all this holds for each node: Append returns when most of the servers have the batch on disk, and this node's
//     queries find it; and all nodes come to the same records, positions and counts. See More than one node.
//   - Bytes of segments that change on the disk are noticed before they are an answer: the segment is set aside, loudly, and
//     the rest is served.
//
// # What is assumed
//
//   - The disk keeps what fsync has returned for. A write that was not synced may be there in part, or not at all.
//   - The file system renames in one step, keeps a name once its folder is synced, and keeps the name of a new file when the
//     file is synced (ext4, XFS and Btrfs do; JetStream relies on it for its blocks). Two removals may survive in either
//     order.
//   - One process owns the folder, and the commit log of an embedded server: serve locks the data folder, this package does not. Reading beside it is
//     harmless. Segments and commit log belong together: a folder put together from two different ones may reuse sequences.
//   - The clock may be wrong and may step. Only what is listed below goes by it; order, recovery and tails go by sequences.
//
// # What is not promised
//
//   - Bits that flip in memory before their checksum is computed. A disk that lies about fsync.
//   - The records of a segment that was set aside, until an operator puts a good copy back. There is no second copy, and
//     pages are not looked at until a query or a merge reads them.
//   - A commit log that is damaged on the disk: until they are in a segment, records are there alone. JetStream has
//     checksums. After a clean stop a damaged group is lost alone, and reported as missing; after a crash JetStream takes the
//     first damaged byte for the torn end of what was written, and drops what is behind it without a word to us.
//   - Refusals and drops since the last report: a second, or for as long as the commit log took nothing, as on a full disk.
//     After a crash they count as never received. So does an append whose outcome was unknown and that did not reach the
//     disk.
//   - Records beyond retention. Those of a file whose removal had not reached the disk may be back after a crash, until
//     retention removes them again. Age is judged by this server's clock: nothing expires for an hour after that was set by
//     more than ten minutes, but one that is wrong already at the start is believed. What was received while it was ahead
//     stays that much longer.
//   - Repetitions beyond the windows. A step of the clock forward ends the ten minutes at once, one back makes them longer.
//
// # The folders
//
//	<data>/nats/       JetStream's own: stream "logbridge" is the commit log (natsd); levels and registry have buckets there
//	<data>/segments/   Config.Dir
//	   <first>-<last>-<length>-<sum>.parquet   a segment: all records of these sequences that are kept        segment.go
//	   window-<first>-<last>                   what the three windows took in in these sequences             window_file.go
//	   ledger-<last>                           all counts up to this sequence                                ledger_file.go
//	   node                                    the name of the folder among the nodes of a cluster             cluster.go
//	   incoming/                               segments on their way from another node                       copy_take.go
//	   copy-<id>/                              links to what another node copies; a start removes it         copy_give.go
//	   erasures                                what is erased and still in segments                          erase.go
//	   *.tmp                                   being written; a start removes it
//	   *.damaged  *.overlap                    set aside; nobody but an operator touches them
//
// Numbers in names are hexadecimal. Sequences are those of the commit log: they ascend by one from group to group and never
// come again, so (sequence, index in the group) is a record's Position. Every file is written under a temporary name, synced,
// renamed, and its folder synced (files.go): it is there whole or not at all, and never changes. A file of the windows
// follows on the one before; after 16 of them one is written that has everything.
//
// # The files
//
// A message of the commit log is a group (group.go, codec.go). What is refused and dropped is in no upload, so it rides along:
//
//	message   s2( version | entry | entry | … )                  one publish, at most maxGroup bytes before compression
//	entry     upload: replay key, delivery, time of receipt, part, records
//	          report: what was refused and dropped, by source, stream and reason
//	          erasure: a stream whose records before this group are erased
//
// A segment is one Parquet file with one row group (schema.go; docs/segments.md is for other readers), sorted by stream, time
// and position. Our queries go by the side index (segment_index.go), which other readers do not look at:
//
//	┌──────┬────────────────────────────────────────┬────────────┬──────────────────────────────┬────────┬──────┐
//	│ PAR1 │ column after column: (dictionary) page…│ side index │ Parquet footer with our JSON │ length │ PAR1 │
//	└──────┴────────────────────────────────────────┴────────────┴──────────────────────────────┴────────┴──────┘
//	          ▲ CRC-32C of each page is in ─────────────┘  ▲ CRC-32C and place are in ─┘ ▲
//	            (Parquet's CRC-32, too, in its header)                                   └ length and CRC-32C from here to
//	                                                                                       the end are in the file's name
//
//	side index   pages of each column: place, rows, checksum · streams: name, rows · blocks of 4096 rows: least and greatest
//	             time, severities, sources, qualities · keys of the columns for frequent attributes
//	our JSON     format, sequences, least and greatest time and time of receipt, rows by severity and source, the side index
//
// So every byte is covered but the first four, which nothing reads. A segment of another version's format ends the start.
//
// A file of the windows and a checkpoint of the ledger end with a CRC-32C of all before it. Commit log: JetStream's checksums.
//
// # The way of a record
//
//	Append ─▶ waiting ─▶ group ─publish, sync─▶ commit log            commit.go: what comes during a publish is the next group
//	                       └─────handed over──▶ indexer               index.go: in the order of sequences, one goroutine
//	                            duplicates, memtable, ledger          duplicates.go, memtable.go, ledger.go
//	Append returns ◀──────────────┘   memtable full or old ─▶ flush   flush.go
//
// A publish whose outcome is unknown is repeated under one message id, and JetStream stores it once. If an embedded server does not
// answer at all, or a committed group cannot be read back, Run ends with an error and a new start goes on from the disk. A cluster is
// asked for as long as it takes.
// What is a duplicate and what is counted follows from the groups alone, so each run over them comes to the same.
//
// # Flush, and a crash between any two steps
//
// A flush ends at a sequence L; P is where the one before ended.
//
//	1  window-(P+1)-L        A crash before 3 is done: the segments end at P. The start takes the windows and the ledger as of
//	2  ledger-L              P, which are still there, and indexes from P+1 on from the commit log, which still has all of it.
//	3  segment (P+1)-L       The files of 1 and 2 are too new: a start removes the one and passes over the other.
//	4  queries move over     In memory only.
//	5  purge up to L (*)     A crash after 3: the segments end at L, and windows and ledger of L are there, for they came first.
//	                         What the commit log still has up to L is not looked at, and purged by the next flush.
//	6  older files of 1, 2   A crash after 5 leaves files that nobody asks for; a start or the next flush removes them.
//
// (*) With an embedded server. On a cluster the nodes do it together, and later, as below.
//
// A start (New): remove *.tmp; read the footers of all segments, set aside what cannot be read, settle overlaps (below); L is
// the end of the last. A commit log that ends before L (it was lost, or is older) is made to go on behind L. If it begins
// behind L+1, then what is between was set aside: the start goes on where it begins. Take windows and ledger as they were
// before the first sequence to index; index the rest of the commit log as if it were live. A newest segment that is damaged
// is so written again, if the commit log was not shortened yet. A missing or damaged file of theirs is reported: then some
// repetitions are stored again, or the ledger goes on from an older checkpoint or counts anew, as its "since" says.
//
// When the disk is too full for step 5 it is left to the next flush, and step 6 is done all the same; only a damage of the
// newest segment in that state would miss those files.
//
// # Merging, retention, set aside
//
// Small neighbours become one segment (merge.go): each record is written at most twice more (thrice in a log that
// rests between its segments), nothing stays small for ever but the newest, and a gap in the sequences stays open. The sum is
// synced under its final name, the set changes in one step, the parts go when their last reader is done (segments.go). A
// crash in between leaves files within the sequences of another: a start removes them when that has at least as many records.
//
// Retention (retention.go) removes whole segments, oldest first: by age when the last record of one is older than that
// (counted from receipt, so an old backlog stays), by bytes while all together have too many, but never the newest for that.
// A newest one that is too old becomes an empty one, so that the folder still says where the commit log begins. Memtables are
// never touched.
//
// The audit stream is kept for Config.AuditAge at least, while it lies in the same segments (carry.go). A segment that goes
// earlier leaves one of the same sequences with its audit records alone, at their positions; its markers in the streams of
// devices go with the rest. Where older segments stay for that, one without audit records leaves an empty one, so that no gap
// keeps its neighbours apart. Those small ones are merged over up to a month. Bytes cost audit records only when nothing else
// is left but the newest segment.
//
//	1  smaller segment, same sequences   written, synced, renamed. A crash before 4 leaves both, and a start takes the one with
//	2  queries move over                 more records, which is the whole one: nothing is lost, and it expires again.
//	3  the whole one is unlinked         Also while it is read: its readers take a new look.
//	4  the folder is synced              Only then is the smaller one merged, so that no start finds the whole one beside a sum.
//
// One that cannot be written (a full disk) leaves the whole one where it is, with an error in the log, and for bytes nothing
// newer goes in its place; it is tried again every minute.
//
// A segment whose checksum is wrong in two reads leaves the set: it gets the name *.damaged, an error is logged with its
// records and times, Stats counts it, and the query goes on with the rest (reading.go). At a start, one whose footer cannot
// be read, be it for an error of the disk, is treated alike. Of two files whose sequences overlap in any other way than parts
// and their sum, the one with fewer records becomes *.overlap: somebody has put it there. What an operator does:
//
//   - With a copy of the folder elsewhere: stop, put the copy's file there under its name without the suffix (or its files
//     that have the same sequences), start. Nothing has taken their place.
//   - Without: other Parquet readers may still read the pages and columns that are whole. For *.overlap: compare, it is a
//     whole file.
//   - Then remove it. Neither retention nor a start does, and retention does not count its bytes.
//   - A damaged window or checkpoint is set aside too; there is nothing to repair: its effect is what the log said.
//   - Names are not to be changed: they hold sequences and checksum.
//
// # Erasing
//
// An operator erases what a stream holds (erase.go). The erasure is an entry of the commit log: once Erase has returned, no query that
// begins finds the records, before and after a crash. Then the memtable becomes a segment, without them, the commit log is
// shortened (on a cluster when its age allows), and each segment that has some is written anew without them, under the same sequences; merges
// wait until that is done. Their bytes stay in files that were set aside, in snapshots of the disk, in blocks that the file system has
// freed, and in the commit log's newest file, of 8 MiB, until it has gone, too. The ledger counts what was stored, erased or not, and the windows of duplicates remember the lines.
//
// # Duplicates
//
// Three windows (duplicates.go, window.go), each of 1 Mi entries, the oldest forgotten first and counted in
// Stats.ForgottenKeys when that was before their time:
//
//	signed uploads    one with the key of any remembered one                                 bound by number only
//	messages          a redelivery with the key of a delivery                                10 minutes by time of receipt
//	lines             the n-th occurrence of a line in an upload, when an n-th was stored    10 minutes by time of receipt
//
// Lines count when they are a device's and have its own time: same stream, own time, severity, body, attributes, and part of
// a batch of several groups. Events of web pages, and lines without a time of their own, are stored as often as they come.
//
// # More than one node
//
// The nodes of a cluster append to one stream, "logbridge", of three replicas. Each has all of it in segments of its own, and
// answers every query. Nothing is decided between the nodes: the order of the stream decides, and each node reads that.
//
//	node A ─publish, quorum─▶ stream ◀─publish, quorum─ node B
//	  ▲ own groups handed over in process;      the same on B
//	  └ those of B fetched, in order            fetch.go, follow.go
//
// Writing (writer.go). A process publishes one group at a time, on a subject of its own (logbridge.log.<random>), and says with each
// which sequence its last one has; so the servers take a group once, however long its outcome was unknown and whatever they
// have forgotten of message ids. A try waits one second: what the leader had in its hands when it died is gone without a word. Then the
// process asks the leader which group of his is the last, and tries again if it is not this one. While nobody leads, groups wait, appends
// are given up by their deadline as ErrUnavailable, and those beyond 64 MiB are refused. Only what was surely not stored is
// counted as refused; the rest has never come in, or is counted when it is indexed. A report of refusals is part of a group and so is
// counted once; its random number tells the node that wrote it from the others.
//
// Reading. A node hears by a plain message that another has committed, looks each second anyway, and fetches what is behind its
// last group: 256 groups or 4 MiB at a time, by direct get in batches, from whichever server. A server shows nothing that is not
// committed, so it may be behind, never wrong. What a server does not have, the leader is asked for. A group of this process
// waits for all that are before it; met on the way it is indexed at once, and its appends are answered before the acknowledgement comes.
// A group of a later format ends Run: who passed it over would be another node.
//
// So a record that one node has acknowledged is found on the others some milliseconds later, not at once. Positions are the same
// everywhere, and with them cursors and tails. Ledgers are the same to the byte but for what a node has yet to report.
//
// What the commit log drops (keep.go). A node that has written a segment, and every ten minutes, says in the bucket "logbridge_sink" how
// far its segments reach, and may purge. It never purges what is not in its own segments, so a copy can always be had from it. What is
// older than Config.CommitLogAge (24 h) goes when all nodes have it that have said anything within that time: a node that is
// slow holds it up, one that is away for longer does not. Above 3/4 of Config.CommitLogBytes the oldest go before their time, and
// then a node has no say that was silent for half an hour. At the bound itself appends are refused: what no segment holds is never dropped,
// and nothing is by the servers themselves, which would drop what nobody has indexed after a weekend with all nodes down. Step 5 of a
// flush is left out; windows and ledgers go as before.
//
// Catching up. A node that starts indexes what it lacks from the stream; within 5 s in New, else in Run. Until it has what
// there was at its start it is behind: Ready says how many groups are left; Append, Query, Count and Tail answer ErrUnavailable
// rather than with half of it; Ledger and metrics show what is there. A node that merely lags, by milliseconds or since it was cut
// off for a while, answers with what it has: Stats.Lag.
//
// If the stream has dropped what it lacks, or its windows and ledger are missing, it copies (copy_take.go) from the node whose segments
// reach farthest, over plain NATS messages:
//
//	1  offer           all nodes say how far they are                     the other links its files into copy-<id>/: a state as of one
//	2  open, list      names and sizes                                    sequence, while it merges and expires as it likes (copy_give.go)
//	3  read, read, …   256 KiB each with CRC-32C, into incoming/          a crash: the files that are whole are kept for the next try
//	4  cut             one segment may begin with what is here already: its rest is written anew (copy_cut.go)
//	5  incoming/plan   from here on it is decided                          a crash before: incoming/ is no part of the log
//	6  move            files to their places, then incoming/ goes          a crash: a start moves the rest (finishCopy)
//	7  in memory       set, windows, ledger; the memtable is dropped, it is in what was copied
//
// The segments of this node stay. It copies no more of the newest than Config.RetentionBytes, and retention, which is each node's own, does the
// rest; what the other has expired is missing here. If no other node answers, it asks again; if none has said anything for
// CommitLogAge, it goes on where the stream begins, and logs what is missing.
//
// A folder that is copied to become another node must not take the file "node" along: two of one name do not answer each other.
//
// What is lost with what: a server of three, nothing, but that nothing is stored while a leader is elected if it led (4 to 9 s by
// NATS's own rules; Stats.CommitWaiting, CommitLongest). Two servers: appends are refused until one is back. A node: its clients go to
// another; what it held in memory is in the stream. A node's disk: what it had is copied from another. A purge by one node is undone by
// nothing, so two nodes at least should be there at most times: then what was purged is in the segments of both.
// A stream that is lost with all servers: the node with the longest segments is to be started first, and makes it anew behind
// them. A node whose segments are ahead of a stream that is not empty refuses to start: it belongs to another cluster, or
// that has lost what it acknowledged.
//
// # A full disk
//
// JetStream keeps the first write error of a stream for ever, so it must never meet one (room.go). Appends are refused as
// unavailable, before anything is tried, while less is free than a flush may need and natsd.Reserve: with the defaults
// 104 MiB, and 8 MiB more to begin again. Reads go on; memtables still become segments, with that reserve; merges wait;
// retention goes on; and appends are taken again by themselves. Values of registry and levels stop at natsd.Reserve. If
// another process takes the reserve in one go, Run may end, as above. Where the system does not tell the room
// (not Linux, not Darwin), JetStream's error ends Run. On a cluster the disk is that of the segments: a node whose disk is full
// refuses appends, and lags behind the others when its memtables are full.
//
// # Queries
//
// A query takes hold of the memtables and segments that its times and position allow, opens them as their best record comes
// up, and reads a page of records at a time, in turn with others. It ends with its context, its limit, or its bounds
// (bounds.go). A reader who takes nothing for 5 s, or takes a minute over what it gets, costs the query its hold: it looks anew
// behind the last record it gave, up to the position it first saw. In memory it has 32 bytes for each hit in what it has open (a limit
// cuts them as they come), of each segment that is open the next records, of about 16 MiB at most, and a page.
//
// Readers do not starve ingest (turns.go). Each goroutine that reads for a query, a count or a tail needs a turn. While
// something is being appended, and 50 ms longer, half of the processors give turns, one at least; else all of them do, and a
// query that nobody waits behind uses them all. A turn is over with the first page after 5 ms if another waits: then comes the
// query that has worked least, so that a look at one device does not stand behind the searches of everything, and of every
// four turns one is the oldest query's. Beside ingest a turn of that length is followed by a rest of half of it. What waits in
// the midst of a segment keeps its pages, some 2 MB, and a memtable only if it has found more than 256 records or 1 MiB in it.
//
// # Tails
//
// A tail is such a query again and again, from position to position, without gap or repeat (tail.go). Between its looks it
// sleeps (sleepers.go): one of a single stream until a group holds a record of that, one of more until a group holds any record; it
// goes on at that group, and does not open what was written while it slept. The looks of one tail are 25 ms apart at least,
// however many groups come. So a group costs the indexer a look-up for each stream in it and the tails that it wakes; a
// tail of one stream costs the lines that it gives, whatever else comes, and one of more a glance at each record.
//
// A slow reader holds nobody up and costs no memory. A tail that has not come to the newest record yet, since it reads
// history or catches up, waits for him as long as he likes. One that has, and has since waited for him for more than 10 s
// before it was there again, counts what is behind: if that is more than 4096 records that answer its query, it gives a
// *logbridge.Lost with their exact number in their place, and goes on behind them. Stats counts them.
//
// # Limits
//
//	record                             MaxRecord, 1 007 616 bytes          group      maxGroup, 1 015 808 bytes before compression
//	replay key                         2048 bytes                          a larger batch takes several groups: a crash may keep the first of them alone
//	appends that wait                  64 MiB, then ErrUnavailable         commit log Config.CommitLogBytes, 4 GiB
//	memtable                           24 MiB (at most 512) or 10 minutes; two at most, then appends wait
//	segment                            16 Mi rows; merged until it has 1.2 M rows or 64 MiB, of 256 files, a day and 1/16 of the retention age at most
//	columns for frequent attributes    24 a segment, with 1024 values each, in at least 256 rows
//	windows                            3 × 1 Mi entries, 24 MB each        ledger     100 000 streams (once for each source), then "other"
//	queries                            72 at a time, in turns, then ErrUnavailable; tails: 8 read at a time, any number waits
//	a tail                             25 ms between looks, 4096 records a look; passes over after 10 s of waiting and 4096 records
//	one query                          2 min of work, of all its goroutines together, 64 GiB read, then ErrTooLarge
//	a page of a query                  256 KiB, 4096 records or 100 ms     count      100 000 groups
//	cached of segments                 64 MiB of indexes, 256 open files
//	of a cluster                       256 groups or 4 MiB a fetch; 1 s a try to publish; 4 nodes may copy from one, 256 KiB an answer
//
// # Which file has which subject
//
//	promise and life      sink.go (Config, Log, New, Run, Append) · stats.go
//	commit log            commit.go · commit_log.go · group.go, codec.go (bytes) · commitstate.go (what it holds)
//	indexing              index.go (live and at a start) · memtable.go · duplicates.go, window.go · ledger.go, ledger_answer.go
//	state on disk         flush.go (order) · window_file.go · ledger_file.go · files.go · room.go
//	cluster               cluster.go · writer.go, flight.go · fetch.go, follow.go · keep.go · copy_give.go, copy_take.go, copy_cut.go, copy_adopt.go
//	segment, writing      schema.go · segment_write.go · segment_columns.go · segment_texts.go · segment_pack.go · segment_attrs.go · segment_flush.go, segment_merge.go (where rows come from)
//	segment, reading      segment.go (open) · segment_index.go · segment_pages.go · scan.go · scan_filter.go · segment_read.go (records)
//	the set of segments   segments.go · cache.go · merge.go · retention.go, carry.go (the audit stream) · erase.go, erase_file.go
//	questions             query.go (plan) · reading.go (Query), tables.go · tail.go, sleepers.go · count.go, count_segment.go · needle.go · bounds.go, turns.go
//
// # Proof
//
// All tests run on embedded servers and once more on a cluster of three, but for those that damage an embedded server's
// files. The tests have the name of what they break; make crash does it to the whole program (kill -9 at system calls and at random,
// a power cut that leaves only what was synced, a full disk, flipped bytes) and prints acknowledged, found and twice. make
// bench prints the numbers.
package sink
