import type { JSX } from 'preact'
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks'
import { get } from '../api'
import { typing } from '../frame'
import { bars, levelColor, levelOrder, type Histogram } from '../histogram'
import { useLoad } from '../load'
import { SearchBar } from '../logs/bar'
import { around, Details } from '../logs/details'
import { Feed, mostLines, mostWaiting } from '../logs/feed'
import { LineList } from '../logs/list'
import { filterParams, pinned, range, readQuery, writeQuery, type Query } from '../logs/query'
import { asText, isGap, type LogRecord } from '../logs/record'
import { navigate, usePlace } from '../router'
import { Button } from '../ui/button'
import { Chart } from '../ui/chart'
import { copyText } from '../ui/copy'

/** How often the histogram is counted again while lines arrive. */
const countEvery = 5000

/** How long a tab that nobody looks at goes on following: browsers have six connections for all tabs of one server. */
const restAfter = 30_000

/** How long after that it goes on where it was; later it begins anew with the newest lines. */
const restartAfter = 600_000

/** Logs: search, read, follow. Everything that is asked for is in the address. */
export function Logs(): JSX.Element {
  const { params } = usePlace()
  const text = params.toString()
  const query = useMemo(() => readQuery(new URLSearchParams(text)), [text])
  const [feed, version, restart] = useFeed(query, text)
  const [stuck, setStuck] = useState(!query.around)
  const [chosen, setChosen] = useState<LogRecord | undefined>()
  const [open, setOpen] = useState(false)
  const ask = useCallback((q: Query) => navigate(writeQuery(q)), [])

  useEffect(() => {
    setStuck(!query.around)
    setOpen(false)
    setChosen(undefined)
  }, [text])
  // The line that everything is around is chosen as soon as it is there.
  useEffect(() => {
    const seq = query.around?.seq
    const found = seq === undefined || chosen ? undefined : feed.entries.find((e): e is LogRecord => e.seq === seq && !isGap(e))
    if (found) setChosen(found)
  }, [version, query])

  const paused = feed.state === 'paused'
  const move = useCallback((end: boolean) => {
    setStuck(end)
    if (end) feed.resume()
    else feed.pause()
  }, [feed])
  const newest = (): void => {
    if (query.around) return ask({ ...query, around: undefined, live: true })
    if (feed.waitingMore) restart()
    setStuck(true)
    feed.resume()
  }
  const choose = useCallback((r: LogRecord, clicked: boolean) => {
    setChosen(r)
    if (clicked) setOpen(true)
    if (feed.state !== 'still') move(false)
  }, [move])
  useKeys({ feed, chosen, onPause: () => move(paused || !stuck), onNewest: newest, onOpen: () => setOpen(true), onClose: () => setOpen(false) })

  return (
    <div class={open && chosen ? 'logs with-details' : 'logs'}>
      <h1 class="unseen">Logs</h1>
      <SearchBar query={query} onQuery={ask} />
      <Rates query={query} text={text} live={feed.state === 'live'} onQuery={ask} />
      <Status feed={feed} query={query} stuck={stuck} onPause={() => move(paused)} onNewest={newest} onQuery={ask} />
      <LineList feed={feed} version={version} stuck={stuck} onStuck={move} chosen={chosen?.seq} onChoose={choose} onOpen={() => setOpen(true)} highlight={query.text}>
        <Instead feed={feed} onAgain={restart} />
      </LineList>
      {open && chosen && <Details record={chosen} query={query} onQuery={ask} onClose={() => setOpen(false)} onCopy={(t, what) => void copyText(t, what)} />}
    </div>
  )
}

/** The feed of a query, and a number that grows with each frame in which it changed. */
function useFeed(query: Query, key: string): [Feed, number, () => void] {
  const [version, draw] = useReducer((n: number, _: void) => n + 1, 0)
  const [turn, setTurn] = useState(0)
  const frame = useRef(0)
  const feed = useMemo(() => new Feed(query, () => {
    // As often as the screen is drawn, and no more; not at all while nobody looks.
    if (frame.current === 0) frame.current = requestAnimationFrame(() => { frame.current = 0; draw() })
  }), [key, turn])
  const restart = useCallback(() => setTurn((n) => n + 1), [])
  useEffect(() => {
    void feed.start()
    return () => feed.stop()
  }, [feed])
  useEffect(() => {
    let timer = 0
    let since = 0
    const look = (): void => {
      clearTimeout(timer)
      if (document.hidden) {
        since = Date.now()
        timer = window.setTimeout(() => feed.rest(), restAfter)
      } else if (feed.resting && Date.now() - since > restartAfter) restart()
      else feed.wake()
    }
    document.addEventListener('visibilitychange', look)
    return () => {
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', look)
    }
  }, [feed, restart])
  return [feed, version, restart]
}

function Rates({ query, text, live, onQuery }: { query: Query; text: string; live: boolean; onQuery: (q: Query) => void }): JSX.Element {
  const minutes = 5 * 60_000
  const span = query.around
    ? { since: new Date(Date.parse(query.around.at) - minutes).toISOString(), until: new Date(Date.parse(query.around.at) + minutes).toISOString() }
    : { since: query.since, until: query.until }
  const { data, error } = useLoad((signal) => get<Histogram>('/logs/histogram', { ...filterParams(query), ...span, by: 'level' }, signal), text, live ? countEvery : 0)
  const shown = useMemo(() => bars(data, levelOrder, levelColor), [data])
  const zoom = (from: number, to: number): void => {
    onQuery({ ...query, since: new Date(from).toISOString(), until: new Date(Math.max(to, from + 1)).toISOString(), around: undefined })
  }
  const out = (): void => {
    const now = Date.now()
    const [from, to] = range(query, now)
    const half = (to - from) / 2
    const until = to + half
    onQuery({ ...query, since: new Date(from - half).toISOString(), until: until >= now ? '' : new Date(until).toISOString(), live: until >= now })
  }
  return (
    <div class="rates">
      <Chart label="Lines over time by level" times={shown.times} step={shown.step} series={shown.series} height={76} onZoom={zoom} />
      {query.until && <Button class="zoom-out" onClick={out}>Zoom out</Button>}
      {error && <p class="wrong">{error}</p>}
    </div>
  )
}

interface StatusProps {
  feed: Feed
  query: Query
  stuck: boolean
  onPause: () => void
  onNewest: () => void
  onQuery: (q: Query) => void
}

/** What is shown, whether more arrives, and what can be done with it. */
function Status({ feed, query, stuck, onPause, onNewest, onQuery }: StatusProps): JSX.Element {
  const n = feed.entries.length
  const waiting = feed.waiting.length
  const words: Record<Feed['state'], string> = {
    loading: 'loading …', still: query.around ? 'around one line' : 'not live', live: 'live', paused: 'paused', reconnecting: 'connection lost, trying again', failed: 'failed',
  }
  const follows = feed.state === 'live' || feed.state === 'paused' || feed.state === 'reconnecting'
  return (
    <div class="status">
      <span class={`state ${{ live: 'good', paused: 'warn', reconnecting: 'wrong', failed: 'wrong', loading: '', still: '' }[feed.state]}`} role="status" title={feed.error || undefined}>{words[feed.state]}</span>
      {follows && <Button aria-pressed={feed.state === 'paused'} title="Space" onClick={onPause}>{feed.state === 'paused' ? 'Resume' : 'Pause'}</Button>}
      {feed.state === 'still' && !query.around && <Button onClick={() => onQuery({ ...query, until: '', live: true })}>Go live</Button>}
      {feed.state === 'live' && <Button title="Stop following" onClick={() => onQuery({ ...query, live: false })}>Stop</Button>}
      <Button class={stuck ? 'hidden' : ''} disabled={stuck} title="End" onClick={onNewest}>
        Jump to newest{waiting > 0 && ` (${waiting.toLocaleString('en')}${feed.waitingMore ? '+' : ''} new)`}
      </Button>
      <span class="quiet counts">
        {n === 1 ? '1 line' : `${n.toLocaleString('en')} lines`}{n >= mostLines && ', the most that are kept here'}
        {feed.lost > 0 && <span class="wrong"> · {feed.lost.toLocaleString('en')} passed over</span>}
        {feed.waitingMore && ` · over ${mostWaiting.toLocaleString('en')} wait on the server`}
      </span>
      <span class="bar tools">
        <Button disabled={n === 0} onClick={() => void copyText(shownRecords(feed).map(asText).join('\n'), 'The lines')}>Copy</Button>
        <Button disabled={n === 0} title="NDJSON of the lines that are here" onClick={() => download(shownRecords(feed))}>Download</Button>
        <Button title="A link that shows the same lines later" onClick={() => void copyText(location.origin + writeQuery(pinned(query, Date.now())), 'The link')}>Copy link</Button>
      </span>
    </div>
  )
}

/** What is said in place of lines. */
function Instead({ feed, onAgain }: { feed: Feed; onAgain: () => void }): JSX.Element | null {
  if (feed.state === 'failed') return <div class="instead over" role="alert"><p class="wrong">{feed.error}</p><Button onClick={onAgain}>Try again</Button></div>
  if (feed.entries.length > 0 || feed.state === 'loading') return null
  return <p class="instead over">{feed.state === 'live' ? 'No lines yet: what arrives appears here.' : 'No lines match. A longer time, or fewer filters?'}</p>
}

interface Keys {
  feed: Feed
  chosen: LogRecord | undefined
  onPause: () => void
  onNewest: () => void
  onOpen: () => void
  onClose: () => void
}

/** The keys of the view; frame.tsx lists them. */
function useKeys(keys: Keys): void {
  const latest = useRef(keys)
  latest.current = keys
  useEffect(() => {
    const press = (e: KeyboardEvent): void => {
      const k = latest.current
      if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || typing(e)) return
      const onControl = e.target instanceof HTMLElement && /^(BUTTON|A)$/.test(e.target.tagName)
      if (e.key === ' ' && !onControl) k.onPause()
      else if (e.key === 'End') k.onNewest()
      else if (e.key === 'Escape') k.onClose()
      else if (e.key === 'c' && k.chosen) navigate(writeQuery(around(k.chosen)))
      else if (e.key === 'j' || e.key === 'k') document.querySelector<HTMLElement>('.lines')?.focus()
      else return
      e.preventDefault()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}

const shownRecords = (feed: Feed): LogRecord[] => feed.entries.filter((e): e is LogRecord => !isGap(e))

function download(records: LogRecord[]): void {
  const url = URL.createObjectURL(new Blob(records.map((r) => r.raw + '\n'), { type: 'application/x-ndjson' }))
  const a = document.createElement('a')
  a.href = url
  a.download = `logs-${new Date().toISOString().replace(/[:.]/g, '-')}.ndjson`
  a.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
