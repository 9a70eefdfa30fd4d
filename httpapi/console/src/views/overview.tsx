import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get } from '../api'
import { bars, levelColor, levelOrder, type Histogram } from '../histogram'
import { place, type Device } from '../devices/device'
import { PerMinute } from '../devices/parts'
import { useLoad } from '../load'
import { Link, navigate, useParams } from '../router'
import { useSession } from '../session'
import { duration, relative, useNow } from '../time'
import { Chart, compact } from '../ui/chart'
import { Select } from '../ui/field'
import { Table } from '../ui/table'
import { count } from '../words'

interface Counts {
  received: number
  stored: number
  duplicate: number
  refused: Record<string, number>
  dropped: Record<string, number>
}

interface Status {
  version: string
  started: string
  trouble?: string
  devices: { registered: number; connected: number }
  ledger: { total: Counts; sources: Record<string, Counts> }
  store?: {
    segments: number
    segment_bytes: number
    memory_records: number
    memory_bytes: number
    commit_groups: number
    commit_bytes: number
    commit_last: number
    oldest_received?: string
    set_aside: number
    queries: number
    tails: number
    tail_dropped: number
  }
}

/** How often the numbers are asked for, and how often the charts, which cost the server more. */
const statusEvery = 5000
const chartsEvery = 20_000

const sourceOrder = ['mqtt', 'reportlog', 'sls', 'cls', 'otlp', 'loki', 'audit']

const spans: [string, string][] = [['15m', 'Last 15 minutes'], ['1h', 'Last hour'], ['6h', 'Last 6 hours'], ['24h', 'Last 24 hours'], ['168h', 'Last 7 days']]

/** Overview: what comes in, what of it is bad, and whether the server is well. */
export function Overview(): JSX.Element {
  const [params, change] = useParams()
  const since = params.get('since') || '1h'
  const status = useLoad((signal) => get<Status>('/status', {}, signal), 'status', statusEvery)
  const loudest = useLoad((signal) => get<{ devices: Device[] }>('/devices', { sort: 'lines', limit: mostDevices }, signal), 'loudest', chartsEvery)
  const loud = loudest.data?.devices.filter((d) => d.lines_per_minute > 0)
  const by = (field: string) => (signal: AbortSignal): Promise<Histogram> => get<Histogram>('/logs/histogram', { since, by: field }, signal)
  const sources = useLoad(by('source'), 'source' + since, chartsEvery)
  const levels = useLoad(by('level'), 'level' + since, chartsEvery)
  const bySource = useMemo(() => bars(sources.data, sourceOrder, (s) => `--s${sourceOrder.indexOf(s) + 1 || 7}`), [sources.data])
  const byLevel = useMemo(() => bars(levels.data, levelOrder, levelColor), [levels.data])
  const zoom = (from: number, to: number): void => navigate(`/logs?since=${new Date(from).toISOString()}&until=${new Date(to).toISOString()}`)
  return (
    <>
      <div class="head">
        <h1>Overview</h1>
        <Select label="Time" bare value={since} options={spans.some(([v]) => v === since) ? spans : [[since, `Last ${since}`], ...spans]} onChange={(e) => change({ since: e.currentTarget.value })} />
      </div>
      <Tiles status={status.data} error={status.error} loud={loud} />
      <div class="halves">
        <section class="panel" aria-labelledby="by-source">
          <h2 id="by-source">Lines by source</h2>
          <Chart label="Lines over time by source" times={bySource.times} step={bySource.step} series={bySource.series} height={170} onZoom={zoom} />
          {sources.error && <p class="wrong">{sources.error}</p>}
        </section>
        <section class="panel" aria-labelledby="by-level">
          <h2 id="by-level">Lines by level</h2>
          <Chart label="Lines over time by level" times={byLevel.times} step={byLevel.step} series={byLevel.series} height={170} onZoom={zoom} />
          {levels.error && <p class="wrong">{levels.error}</p>}
        </section>
      </div>
      <div class="halves">
        <Loudest devices={loud} error={loudest.error} />
        <Errors since={since} />
        <LedgerHealth counts={status.data?.ledger.total} />
      </div>
      <Sources status={status.data} error={status.error} />
    </>
  )
}

function Tiles({ status, error, loud }: { status: Status | undefined; error: string; loud: readonly Device[] | undefined }): JSX.Element {
  const session = useSession()
  const now = useNow()
  const rate = useRate(status)
  const health = status && balance(status.ledger.total)
  const store = status?.store
  return (
    <div class="tiles">
      <Tile title="Lines a second" figure={rate === undefined ? '–' : compact(rate)}>
        {status && `${compact(status.ledger.total.stored)} stored in all`}
      </Tile>
      <Tile title="Devices connected" figure={status ? compact(status.devices.connected) : '–'} to="/devices?online=true">
        {status && `of ${compact(status.devices.registered)}${session.scope.length > 0 ? ' in your scope' : ''}`}
      </Tile>
      <Tile title="Loudest device" figure={loud?.[0] ? `${compact(loud[0].lines_per_minute)}/min` : '–'}>
        {loud?.[0] ? <Link to={place(loud[0].product, loud[0].device)}>{loud[0].device}</Link> : loud && 'none has written lately'}
      </Tile>
      <Tile title="Ledger" figure={health === undefined ? '–' : health === 0 ? 'exact' : `off by ${compact(health)}`} wrong={Boolean(health)}>
        {status && 'received = stored + duplicate + refused + dropped'}
      </Tile>
      {store && (
        <>
          <Tile title="Segments" figure={bytes(store.segment_bytes)} wrong={store.set_aside > 0}>
            {store.set_aside > 0 ? <span class="wrong">{store.set_aside} set aside as damaged</span> : `${count(store.segments, 'file')}${store.oldest_received ? `, oldest ${relative(store.oldest_received, now)}` : ''}`}
          </Tile>
          <Tile title="Commit log" figure={bytes(store.commit_bytes)}>
            {`${compact(store.commit_groups)} ${store.commit_groups === 1 ? 'group' : 'groups'}, ${compact(store.memory_records)} ${store.memory_records === 1 ? 'line' : 'lines'} in memory`}
          </Tile>
        </>
      )}
      <Tile title="Server" figure={error ? 'no answer' : status?.trouble ? 'in trouble' : status ? 'well' : '–'} wrong={Boolean(error || status?.trouble)}>
        {error || status?.trouble || (status && `up ${duration(Math.max(now - Date.parse(status.started), 0))}, ${status.version}${store ? `, ${store.tails} following` : ''}`)}
      </Tile>
    </div>
  )
}

function Tile({ title, figure, wrong = false, to, children }: { title: string; figure: string; wrong?: boolean; to?: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="panel tile" aria-label={title}>
      <h2>{to ? <Link to={to}>{title}</Link> : title}</h2>
      <p class={wrong ? 'figure wrong' : 'figure'}>{figure}</p>
      <p>{children}</p>
    </section>
  )
}

/** Lines a second between the last two answers. */
function useRate(status: Status | undefined): number | undefined {
  const before = useRef<{ time: number; received: number } | undefined>(undefined)
  const [rate, setRate] = useState<number | undefined>()
  useEffect(() => {
    if (!status) return
    const now = { time: performance.now(), received: status.ledger.total.received }
    const last = before.current
    before.current = now
    if (last && now.time > last.time && now.received >= last.received) setRate(((now.received - last.received) * 1000) / (now.time - last.time))
  }, [status])
  return rate
}

const sum = (reasons: Record<string, number>): number => Object.values(reasons).reduce((a, b) => a + b, 0)

/** By how much the sum of what became of the lines misses what was received: always 0. */
const balance = (c: Counts): number => Math.abs(c.received - c.stored - c.duplicate - sum(c.refused) - sum(c.dropped))

/** How many of the devices that write most are listed. */
const mostDevices = 8

/** The devices that write most now: who is called in the night looks for one of them. */
function Loudest({ devices: rows, error }: { devices: readonly Device[] | undefined; error: string }): JSX.Element {
  const most = rows?.[0]?.lines_per_minute ?? 1
  return (
    <section class="panel" aria-labelledby="loudest">
      <h2 id="loudest"><Link to="/devices?sort=lines">Loudest devices</Link></h2>
      {error && <p class="wrong">{error}</p>}
      {rows?.length === 0 && <p class="quiet">No device has written lately.</p>}
      <ul class="ranks loud">
        {rows?.map((d) => (
          <li key={`${d.product}/${d.device}`}>
            <Link to={place(d.product, d.device)} title={`${d.product}/${d.device}`}>{d.device} <span class="quiet">{d.product}</span></Link>
            <span class="rank" aria-hidden="true"><i style={{ width: `${(100 * d.lines_per_minute) / most}%` }} /></span>
            <span class="num"><b><PerMinute n={d.lines_per_minute} /></b> <span class="quiet">/min</span></span>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** How many products with errors are listed. */
const mostProducts = 12

function Errors({ since }: { since: string }): JSX.Element {
  const { data, error } = useLoad((signal) => get<Histogram>('/logs/histogram', { since, by: 'product', level: 'error', step: '0' }, signal), 'errors' + since, chartsEvery)
  const rows = data?.buckets.toSorted((a, b) => b.records - a.records)
  const most = rows?.[0]?.records ?? 1
  return (
    <section class="panel" aria-labelledby="errors">
      <h2 id="errors">Errors by product</h2>
      {error && <p class="wrong">{error}</p>}
      {rows?.length === 0 && <p class="quiet">No errors in this time.</p>}
      <ul class="ranks">
        {rows?.slice(0, mostProducts).map((b) => (
          <li key={b.value}>
            <Link to={`/logs?${new URLSearchParams({ ...(b.value ? { product: b.value } : {}), level: 'error', since }).toString()}`}>{b.value || 'not of a device'}</Link>
            <span class="rank" aria-hidden="true"><i style={{ width: `${(100 * b.records) / most}%` }} /></span>
            <b class="num">{b.records.toLocaleString('en')}</b>
          </li>
        ))}
      </ul>
    </section>
  )
}

function LedgerHealth({ counts }: { counts: Counts | undefined }): JSX.Element {
  const rows: [what: string, n: number, tone: string][] = counts
    ? [
        ['stored', counts.stored, ''],
        ['duplicate', counts.duplicate, ''],
        ...Object.entries(counts.refused).map(([reason, n]): [string, number, string] => [`refused: ${reason}`, n, 'warn']),
        ...Object.entries(counts.dropped).map(([reason, n]): [string, number, string] => [`dropped: ${reason}`, n, 'wrong']),
      ]
    : []
  return (
    <section class="panel" aria-labelledby="ledger">
      <h2 id="ledger"><Link to="/ledger">Ledger</Link></h2>
      <dl class="sums">
        {rows.map(([what, n, tone]) => <div key={what}><dt class={tone && `state ${tone}`}>{what}</dt><dd class="num">{n.toLocaleString('en')}</dd></div>)}
        {counts && <div class="all"><dt>received</dt><dd class="num">{counts.received.toLocaleString('en')}</dd></div>}
      </dl>
    </section>
  )
}

function Sources({ status, error }: { status: Status | undefined; error: string }): JSX.Element | null {
  const rows = status && Object.entries(status.ledger.sources).sort(([a], [b]) => sourceOrder.indexOf(a) - sourceOrder.indexOf(b))
  if (status && !status.store) return null // a limited token: nothing is known by source
  return (
    <Table
      caption="What came in, by source"
      columns={[
        { title: 'Source', cell: ([name]) => <Link to={`/logs?source=${name}`}>{name}</Link> },
        { title: 'Received', kind: 'num', cell: ([, c]) => c.received.toLocaleString('en') },
        { title: 'Stored', kind: 'num', cell: ([, c]) => c.stored.toLocaleString('en') },
        { title: 'Duplicate', kind: 'num', spare: true, cell: ([, c]) => c.duplicate.toLocaleString('en') },
        { title: 'Refused', kind: 'num', cell: ([, c]) => sum(c.refused).toLocaleString('en') },
        { title: 'Dropped', kind: 'num', cell: ([, c]) => sum(c.dropped).toLocaleString('en') },
      ]}
      rows={rows}
      rowKey={([name]) => name}
      empty="Nothing has come in yet."
      error={status ? '' : error}
    />
  )
}

/** Bytes in little room: 1.5 GB. */
function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let i = 0
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000
  return `${n >= 100 || i === 0 ? Math.round(n) : n.toFixed(1)} ${units[i] ?? ''}`
}
