// Audit: who changed what, from where, why, and what was before and after.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { lines, type Params } from '../api'
import { useLoad } from '../load'
import { Link, useParams } from '../router'
import { clock, stamp, zone } from '../time'
import { Button } from '../ui/button'
import { Dialog } from '../ui/dialog'
import { Field, Select } from '../ui/field'
import { Table } from '../ui/table'

interface Entry {
  seq: string
  time: string
  level: string
  body: string
  attributes: Record<string, string>
}

const spans: [string, string][] = [['1h', 'Last hour'], ['24h', 'Last day'], ['168h', 'Last week'], ['720h', 'Last 30 days'], ['87600h', 'All']]
const outcomes: [string, string][] = [['', 'Any outcome'], ['done', 'Done'], ['refused', 'Refused'], ['failed', 'Failed']]

/** How many entries are shown, and how many more at each wish. */
const step = 100

/** What a record is about: changes of levels name product and device apart. */
function target({ attributes: a }: Entry): string {
  return a.target ?? (a.device ? `${a.product}/${a.device}` : a.product ?? '')
}

/** The outcome; changes of levels say a refusal by their action. */
function outcome({ attributes: a }: Entry): string {
  return a.outcome ?? (a.action?.endsWith('.refuse') ? 'refused' : 'done')
}

export function Audit(): JSX.Element {
  const [params, change] = useParams()
  const since = params.get('since') ?? '24h', limit = Math.min(Number(params.get('limit')) || step, 10_000)
  const wanted = params.get('outcome') ?? ''
  const filter: Params = { stream: 'audit', since, q: params.get('q') ?? '', 'field.actor': params.get('actor') ?? '', 'field.action': params.get('action') ?? '' }
  const [open, setOpen] = useState<Entry | undefined>()
  const list = useLoad((signal) => read({ ...filter, limit: wanted ? 10_000 : limit + 1 }, signal), JSON.stringify([filter, limit, wanted !== '']), 10_000)
  const found = list.data?.filter((e) => wanted === '' || outcome(e) === wanted)
  const offers = (name: string): string[] => [...new Set(list.data?.map((e) => e.attributes[name] ?? '').filter((v) => v !== ''))].sort()
  const text = (name: string) => (e: { currentTarget: HTMLInputElement }): void => change({ [name]: e.currentTarget.value, limit: undefined })
  return (
    <>
      <div class="head">
        <h1>Audit</h1>
        <div class="bar audit-filters">
          <Field label="Text" bare type="search" data-search placeholder="device, store, ticket …" value={params.get('q') ?? ''} onChange={text('q')} />
          <Field label="Who" bare placeholder="who" value={params.get('actor') ?? ''} offers={offers('actor')} onChange={text('actor')} />
          <Field label="Action" bare placeholder="action" value={params.get('action') ?? ''} offers={offers('action')} onChange={text('action')} />
          <Select label="Outcome" bare value={wanted} options={outcomes} onChange={(e) => change({ outcome: e.currentTarget.value })} />
          <Select label="Time" bare value={since} options={spans} onChange={(e) => change({ since: e.currentTarget.value, limit: undefined })} />
        </div>
      </div>
      <Table
        caption="Changes, newest first"
        columns={[
          { title: 'Time', kind: 'narrow', cell: (e) => <button type="button" class="link" aria-label={`Details of ${stamp(e.time)}`} onClick={() => setOpen(e)}>{clock(e.time, Date.now(), false)}</button> },
          { title: 'Who', cell: (e) => e.attributes.actor ?? '', spare: true },
          { title: 'Action', cell: (e) => <code>{e.attributes.action ?? ''}</code>, spare: true },
          { title: 'About', kind: 'wide', cell: target, spare: 'desk' },
          { title: 'Outcome', cell: (e) => <span class={`state ${{ done: 'good', refused: 'warn' }[outcome(e)] ?? 'wrong'}`}>{outcome(e)}</span> },
          { title: 'What', kind: 'wide', cell: (e) => e.body },
        ]}
        rows={found?.slice(0, limit)}
        rowKey={(e) => e.seq}
        empty="Nothing was changed in this time, or nothing is like that."
        error={list.error}
        loading={list.loading && !list.data}
      />
      {found && found.length > limit && <nav class="pager" aria-label="more changes"><Button onClick={() => change({ limit: String(limit + step) })}>Show older ones</Button></nav>}
      {open && <Details entry={open} onClose={() => setOpen(undefined)} />}
    </>
  )
}

async function read(params: Params, signal: AbortSignal): Promise<Entry[]> {
  const entries: Entry[] = []
  for await (const some of lines('/logs', params, signal)) {
    for (const line of some) {
      const e = JSON.parse(line) as Entry & { error?: string }
      if (e.error) throw new Error(e.error)
      entries.push(e)
    }
  }
  return entries
}

const named = ['action', 'actor', 'address', 'target', 'product', 'device', 'reason', 'before', 'after', 'outcome', 'expires']

function Details({ entry, onClose }: { entry: Entry; onClose: () => void }): JSX.Element {
  const a = entry.attributes
  const rows: [string, string | undefined][] = [
    ['When', `${stamp(entry.time)} ${zone(entry.time)}`], ['Who', a.actor], ['From', a.address], ['Action', a.action], ['About', target(entry)], ['Outcome', outcome(entry)],
    ['Why', a.reason], ['Until', a.expires && stamp(a.expires)], ...Object.entries(a).filter(([k]) => !named.includes(k)),
  ]
  return (
    <Dialog title="Change" wide onClose={onClose}>
      <p>{entry.body}</p>
      <dl class="facts">{rows.map(([k, v]) => v ? <div key={k}><dt>{k}</dt><dd>{v}</dd></div> : null)}</dl>
      {(a.before ?? a.after) !== undefined && (
        <div class="halves">
          <section><h3>Before</h3><pre class="value" tabIndex={0} role="region" aria-label="Before">{pretty(a.before)}</pre></section>
          <section><h3>After</h3><pre class="value" tabIndex={0} role="region" aria-label="After">{pretty(a.after)}</pre></section>
        </div>
      )}
      {a.device && a.product && <p><Link to={`/devices/${encodeURIComponent(a.product)}/${encodeURIComponent(a.device)}`}>The device</Link></p>}
    </Dialog>
  )
}

/** JSON with a line for each member; any other text as it is. */
function pretty(text: string | undefined): string {
  if (!text) return '–'
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
