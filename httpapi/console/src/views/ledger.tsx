// Ledger: what became of every line that came in. Received = stored + duplicate + refused + dropped.
import type { JSX } from 'preact'
import { get } from '../api'
import { useLoad } from '../load'
import { Link, useParams } from '../router'
import { relative, stamp, useNow } from '../time'
import { Button } from '../ui/button'
import { Field, Select } from '../ui/field'
import { Table, type Column, type Sorting } from '../ui/table'

interface Counts {
  received: number
  stored: number
  duplicate: number
  refused: Record<string, number> | null
  dropped: Record<string, number> | null
}

interface Row extends Counts {
  stream: string
}

interface Answer {
  since?: string
  total: Counts
  sources: Record<string, Counts>
  streams: Row[] | null
}

/** How many streams are shown at a time: a server may have a hundred thousand. */
const page = 100

export function Ledger(): JSX.Element {
  const ledger = useLoad((signal) => get<Answer>('/ledger', {}, signal), 'ledger', 5000)
  const now = useNow(10_000)
  const l = ledger.data
  return (
    <>
      <div class="head">
        <h1>Ledger</h1>
        {l?.since && <span class="quiet" title={stamp(l.since)}>every line since {relative(l.since, now)}</span>}
      </div>
      {ledger.error && <p class="wrong" role="alert">{ledger.error}</p>}
      <Sums counts={l?.total} />
      <div class="halves">
        <Reasons title="Refused" what="The sender was told." counts={l?.total.refused} />
        <Reasons title="Dropped" what="It was acknowledged, since its sender would repeat it for ever." counts={l?.total.dropped} />
      </div>
      <section class="part">
        <h2>By source</h2>
        <Table caption="Lines by source" columns={columns('Source', (r) => r.stream)} rows={l && Object.entries(l.sources).map(([stream, c]) => ({ stream, ...c }))}
          rowKey={(r) => r.stream} empty="Nothing has come in yet." loading={ledger.loading && !l} />
      </section>
      <Streams rows={l?.streams ?? (l ? [] : undefined)} loading={ledger.loading && !l} />
    </>
  )
}

const sum = (counts: Record<string, number> | null | undefined): number => Object.values(counts ?? {}).reduce((a, b) => a + b, 0)
const figure = (n: number | undefined): string => (n === undefined ? '' : n.toLocaleString('en'))
const share = (n: number, of: number): string => (of === 0 ? '' : n > 0 && n / of < 0.0005 ? '< 0.1 %' : ((100 * n) / of).toFixed(1) + ' %')

/** The equation that the ledger keeps to, as tiles. */
function Sums({ counts }: { counts: Counts | undefined }): JSX.Element {
  const tiles: [string, number | undefined, string][] = [
    ['Received', counts?.received, ''],
    ['Stored', counts?.stored, 'good'],
    ['Duplicate', counts?.duplicate, ''],
    ['Refused', counts && sum(counts.refused), 'warn'],
    ['Dropped', counts && sum(counts.dropped), 'wrong'],
  ]
  return (
    <div class="tiles ledger-sums">
      {tiles.map(([name, n, kind], i) => (
        <div key={name} class="panel tile">
          <h2>{i === 1 && <span aria-hidden="true">= </span>}{i > 1 && <span aria-hidden="true">+ </span>}{name}</h2>
          <div class={n ? `figure ${kind}` : 'figure'}>{figure(n)}</div>
          <p>{counts && i > 0 && n !== undefined ? share(n, counts.received) : ''}</p>
        </div>
      ))}
    </div>
  )
}

function Reasons({ title, what, counts }: { title: string; what: string; counts: Record<string, number> | null | undefined }): JSX.Element {
  const rows = Object.entries(counts ?? {}).sort(([, a], [, b]) => b - a)
  return (
    <section class="panel">
      <h2>{title}</h2>
      <p class="quiet">{what}</p>
      {rows.length === 0 ? <p class="quiet">{counts ? 'none' : ''}</p> : (
        <dl class="reasons">{rows.map(([reason, n]) => <div key={reason}><dt><code>{reason}</code></dt><dd class="num">{figure(n)}</dd></div>)}</dl>
      )}
    </section>
  )
}

function columns(title: string, head: (r: Row) => JSX.Element | string): Column<Row>[] {
  const lost = (c: Record<string, number> | null): JSX.Element | string => (sum(c) === 0 ? '0' : <span class="warn-text" title={reasonText(c)}>{figure(sum(c))}</span>)
  return [
    { title, sort: 'stream', cell: head },
    { title: 'Received', kind: 'num', sort: 'received', cell: (r) => figure(r.received) },
    { title: 'Stored', kind: 'num', sort: 'stored', cell: (r) => figure(r.stored), spare: true },
    { title: 'Duplicate', kind: 'num', sort: 'duplicate', cell: (r) => figure(r.duplicate), spare: true },
    { title: 'Refused', kind: 'num', sort: 'refused', cell: (r) => lost(r.refused) },
    { title: 'Dropped', kind: 'num', sort: 'dropped', cell: (r) => lost(r.dropped) },
    { title: 'Reasons', kind: 'wide', cell: (r) => <span class="quiet">{[reasonText(r.refused), reasonText(r.dropped)].filter((t) => t !== '').join('; ')}</span>, spare: true },
  ]
}

const reasonText = (counts: Record<string, number> | null): string => Object.entries(counts ?? {}).map(([r, n]) => `${r} ${figure(n)}`).join(', ')

const values: Record<string, (r: Row) => number | string> = {
  stream: (r) => r.stream, received: (r) => r.received, stored: (r) => r.stored, duplicate: (r) => r.duplicate,
  refused: (r) => sum(r.refused), dropped: (r) => sum(r.dropped),
}

/** Compares two rows by a column, downwards; of equal ones the name decides, so that nothing trades places at each turn. */
function order({ by, down }: Sorting): (a: Row, b: Row) => number {
  const value = values[by] ?? values.received!
  return (a, b) => {
    const x = value(a), y = value(b)
    const way = x < y ? -1 : x > y ? 1 : 0
    return (down ? -way : way) || (a.stream < b.stream ? -1 : 1)
  }
}

function Streams({ rows, loading }: { rows: Row[] | undefined; loading: boolean }): JSX.Element {
  const [params, change] = useParams()
  const text = params.get('q') ?? '', only = params.get('only') ?? ''
  const [by, way] = (params.get('sort') ?? 'received.down').split('.')
  const sorting = { by: by ?? 'received', down: way !== 'up' }
  const from = Math.max(0, Number(params.get('from') ?? 0) || 0)
  const found = rows?.filter((r) => r.stream.includes(text) && (only === '' || r.received !== r.stored)).sort(order(sorting))
  const to = Math.min(from + page, found?.length ?? 0)
  return (
    <section class="part">
      <div class="bar">
        <h2>By stream</h2>
        <Field label="Stream" bare type="search" data-search placeholder="part of a stream's name" value={text} onInput={(e) => change({ q: e.currentTarget.value, from: undefined })} />
        <Select label="Which" bare value={only} options={[['', 'All streams'], ['lossy', 'With anything not stored']]} onChange={(e) => change({ only: e.currentTarget.value, from: undefined })} />
      </div>
      <Table caption="Lines by stream" columns={columns('Stream', (r) => <StreamName name={r.stream} />)} rows={found?.slice(from, to)} rowKey={(r) => r.stream}
        empty={text || only ? 'No stream is like that.' : 'Nothing has come in yet.'} loading={loading} sorting={sorting}
        onSort={(s) => change({ sort: `${s.by}.${s.down ? 'down' : 'up'}`, from: undefined })} />
      {found && found.length > page && (
        <nav class="pager" aria-label="pages of streams">
          <Button disabled={from === 0} onClick={() => change({ from: from > page ? String(from - page) : undefined })}>← Previous</Button>
          <Button disabled={to >= found.length} onClick={() => change({ from: String(to) })}>Next →</Button>
          <span class="quiet">{figure(from + 1)} to {figure(to)} of {figure(found.length)}</span>
        </nav>
      )}
    </section>
  )
}

/** A stream leads to its lines; the two that stand for many lead nowhere. */
function StreamName({ name }: { name: string }): JSX.Element {
  if (name === 'unknown') return <span title="names that do not exist">unknown</span>
  if (name === 'other') return <span title="streams beyond those that are counted apart">other</span>
  return <Link to={`/logs?stream=${encodeURIComponent(name)}`}>{name}</Link>
}
