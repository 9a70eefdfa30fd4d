// The lines that the view holds: what was there when it began, older ones when they are asked for, and those that arrive.
import { isAbort, lines, sentence, type Params } from '../api'
import { filterParams, type Query } from './query'
import { compareSeq, isGap, parseLine, type Entry, type LogRecord } from './record'

/** How many lines the view holds at most; the oldest go when more arrive. A busy hour's scroll, some 20 MB. */
export const mostLines = 20_000

/** How many lines wait while it is paused; then the server is read no further, and from there when it goes on. */
export const mostWaiting = 5_000

/** How many lines one step into the past asks for. */
const pageSize = 500

/** How many lines are shown before and after the one that is looked at. */
const aroundSize = 200

/** What is trimmed at once, so that not each arriving line moves all others. */
const trimSlack = 1_000

/** Waits between attempts to go on after the stream broke, in milliseconds; the last is repeated. */
const retries = [500, 1000, 2000, 5000]

export type FeedState = 'loading' | 'still' | 'live' | 'paused' | 'reconnecting' | 'failed'

/** Feed holds the lines of one query. It tells onChange of every change, at once; whoever shows them takes the time for it. */
export class Feed {
  /** From the oldest to the newest. */
  entries: Entry[] = []
  state: FeedState = 'loading'
  error = ''
  /** Lines that wait while it is paused; more than these may be on the server when waitingMore is true. */
  waiting: Entry[] = []
  waitingMore = false
  /** Lines that this reader was too slow for, as the server counted them. */
  lost = 0
  /** Whether there may be lines before the first, and after the last of a query around a line. */
  hasOlder = false
  hasNewer = false
  /** How many entries were put before the first, so that the list can keep its place. */
  prepended = 0
  busy = false
  resting = false

  private readonly seen = new Set<string>()
  private last = ''
  private readonly stopped = new AbortController()
  private following: AbortController | undefined

  constructor(private readonly query: Query, private readonly onChange: () => void) {}

  /** Reads what is there, and goes on with what arrives if the query says so. */
  async start(): Promise<void> {
    const { since, until, around, live } = this.query
    try {
      if (around) await this.startAround(around.at)
      else {
        const found = await this.read({ since, until, limit: pageSize })
        this.hasOlder = found.length === pageSize
        this.add(found.reverse())
      }
    } catch (e) {
      this.fail(e)
      return
    }
    if (live) void this.follow()
    else this.become('still')
  }

  stop(): void {
    this.stopped.abort()
    this.following?.abort()
  }

  /** Holds what arrives back. */
  pause(): void {
    if (this.state === 'live' || this.state === 'reconnecting') this.become('paused')
  }

  /** Shows what arrived in the meantime and goes on, with no gap. */
  resume(): void {
    if (this.state !== 'paused') return
    const waiting = this.waiting
    this.waiting = []
    this.waitingMore = false
    this.state = 'live'
    this.add(waiting)
    if (this.following) this.onChange()
    else void this.follow()
  }

  /** Lets go of the connection while nobody looks; wake goes on from there, with no gap. */
  rest(): void {
    if (!this.following) return
    this.resting = true
    this.following.abort()
    this.following = undefined
  }

  wake(): void {
    if (!this.resting) return
    this.resting = false
    if (!this.waitingMore) void this.follow()
  }

  /** Reads the lines before the first. */
  async older(): Promise<void> {
    const first = this.entries.find((e): e is LogRecord => !isGap(e))
    if (!first || !this.hasOlder || this.busy || this.entries.length >= mostLines) return
    const { since } = this.query
    await this.more(async () => {
      // Lines of one moment come in no order, so all of its millisecond are asked for again, and those that are there left out.
      const until = nextMillisecond(first.time)
      for (let limit = pageSize; ; limit *= 4) {
        const found = await this.read({ since: this.query.around ? '0' : since, until, limit })
        const fresh = found.filter((r) => !this.seen.has(r.seq)).reverse()
        this.hasOlder = found.length === limit
        if (fresh.length === 0 && this.hasOlder) continue
        for (const r of fresh) this.seen.add(r.seq)
        this.entries = [...fresh, ...this.entries]
        this.prepended += fresh.length
        return
      }
    })
  }

  /** Reads the lines after the last, for a query around a line. */
  async newer(): Promise<void> {
    const last = this.entries.findLast((e): e is LogRecord => !isGap(e))
    if (!last || !this.hasNewer || this.busy || this.entries.length >= mostLines) return
    await this.more(async () => {
      for (let limit = pageSize; ; limit *= 4) {
        const found = await this.read({ since: last.time, direction: 'forward', limit })
        const fresh = found.filter((r) => !this.seen.has(r.seq))
        this.hasNewer = found.length === limit
        if (fresh.length === 0 && this.hasNewer) continue
        this.add(fresh)
        return
      }
    })
  }

  private async more(read: () => Promise<void>): Promise<void> {
    this.busy = true
    this.onChange()
    try {
      await read()
      this.error = ''
    } catch (e) {
      if (!isAbort(e)) this.error = sentence(e)
    }
    this.busy = false
    this.onChange()
  }

  private async startAround(at: string): Promise<void> {
    const [before, after] = await Promise.all([
      this.read({ since: '0', until: nextMillisecond(at), limit: aroundSize }),
      this.read({ since: at, direction: 'forward', limit: aroundSize }),
    ])
    this.hasOlder = before.length === aroundSize
    this.hasNewer = after.length === aroundSize
    this.add(before.reverse())
    this.add(after.filter((r) => !this.seen.has(r.seq)))
  }

  private async read(params: Params): Promise<LogRecord[]> {
    const found: LogRecord[] = []
    for await (const batch of lines('/logs', { ...filterParams(this.query), ...params }, this.stopped.signal)) {
      for (const line of batch) {
        const e = parseLine(line)
        if ('error' in e) throw new Error(e.error)
        if (!isGap(e)) found.push(e)
      }
    }
    return found
  }

  /** Follows what arrives until it is stopped or has to wait, over breaks of the connection. */
  private async follow(): Promise<void> {
    const mine = new AbortController()
    this.following = mine
    for (let failures = 0; ; ) {
      if (this.state !== 'paused') this.become('live')
      try {
        const from: Params = this.last === '' ? { since: this.query.since } : { after: this.last }
        for await (const batch of lines('/logs', { ...filterParams(this.query), ...from, follow: 'true' }, mine.signal)) {
          failures = 0
          if (!this.take(batch)) return
        }
      } catch (e) {
        if (isAbort(e) || this.stopped.signal.aborted) return
        this.error = sentence(e)
      }
      if (this.stopped.signal.aborted || mine.signal.aborted) return
      if (this.state !== 'paused') this.become('reconnecting')
      await new Promise((done) => setTimeout(done, retries[Math.min(failures++, retries.length - 1)]))
      if (this.stopped.signal.aborted || mine.signal.aborted) return
    }
  }

  /** Takes lines that arrived. It is false when no more are wanted. */
  private take(batch: string[]): boolean {
    const fresh: Entry[] = []
    for (const line of batch) {
      const e = parseLine(line)
      if ('error' in e) throw new Error(e.error)
      if (isGap(e)) this.lost += e.dropped
      this.last = e.seq
      fresh.push(e)
    }
    this.error = ''
    if (this.state !== 'paused') this.add(fresh)
    else {
      this.waiting = this.waiting.concat(fresh)
      if (this.waiting.length >= mostWaiting) {
        this.waitingMore = true
        this.following?.abort()
        this.following = undefined
        this.onChange()
        return false
      }
    }
    this.onChange()
    return true
  }

  /** Puts entries behind the last, and drops the first when there are too many. */
  private add(entries: readonly Entry[]): void {
    for (const e of entries) {
      if (this.seen.has(e.seq)) continue
      this.seen.add(e.seq)
      this.entries.push(e)
      if (this.last === '' || compareSeq(e.seq, this.last) > 0) this.last = e.seq
    }
    const over = this.entries.length - mostLines
    if (over <= (this.state === 'live' ? trimSlack : 0)) return
    for (const e of this.entries.splice(0, over)) this.seen.delete(e.seq)
    this.hasOlder = true
  }

  private become(state: FeedState): void {
    this.state = state
    this.onChange()
  }

  private fail(e: unknown): void {
    if (isAbort(e)) return
    this.error = sentence(e)
    this.become('failed')
  }
}

/** The begin of the millisecond behind a time's: what ends a span that has all of that moment. */
function nextMillisecond(time: string): string {
  return new Date(Date.parse(time) + 1).toISOString()
}
