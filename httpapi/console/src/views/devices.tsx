// Devices: up to 100 000 in pages that the server cuts; what is wanted of each, and what was seen.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { get } from '../api'
import { place, productIds, states, type Device } from '../devices/device'
import { Bad, Clock, PerMinute, State, Wanted } from '../devices/parts'
import { Raise } from '../devices/raise'
import { useLoad } from '../load'
import { Link, useParams } from '../router'
import { may, useSession } from '../session'
import { relative, useNow } from '../time'
import { Button } from '../ui/button'
import { Field, Select } from '../ui/field'
import { levelOptions } from '../ui/level'
import { PagedTable, type Column, type Page } from '../ui/table'

/** How many are on a page, and how often it is asked for again. */
const perPage = 100
const every = 5000

const filters = ['q', 'product', 'tag', 'online', 'level', 'state', 'sort'] as const

const online: [string, string][] = [['', 'On- and offline'], ['true', 'Online'], ['false', 'Offline']]
const orders: [string, string][] = [['', 'By name'], ['lines', 'Most lines a minute'], ['dropped', 'Most drops'], ['skew', 'Clock most off']]

export function Devices(): JSX.Element {
  const [params, change] = useParams()
  const session = useSession()
  const now = useNow()
  const [raise, setRaise] = useState<Device | undefined>()
  const [turn, setTurn] = useState(0)
  const products = useLoad(productIds, 'products')
  const wanted = Object.fromEntries(filters.map((name) => [name, params.get(name) ?? '']))
  const load = async (cursor: string, signal: AbortSignal): Promise<Page<Device>> => {
    const page = await get<{ devices: Device[]; next_cursor?: string }>('/devices', { ...wanted, cursor, limit: perPage }, signal)
    return { rows: page.devices, next: page.next_cursor }
  }
  const set = (name: string) => (e: { currentTarget: HTMLInputElement | HTMLSelectElement }): void => change({ [name]: e.currentTarget.value, cursor: undefined })
  const of = products.data?.map((p): [string, string] => [p, p]) ?? []
  const product = wanted.product ?? ''
  if (product !== '' && !of.some(([p]) => p === product)) of.push([product, product])
  const columns: Column<Device>[] = [
    { title: 'Device', sort: 'name', cell: (d) => <Link class="device-name" to={place(d.product, d.device)}><span class="quiet">{d.product}/</span>{d.device}</Link> },
    { title: 'Online', kind: 'narrow', cell: (d) => <span class={`state ${d.online ? 'good' : ''}`}>{d.online ? 'yes' : 'no'}</span>, spare: true },
    { title: 'Level', kind: 'narrow', cell: (d) => <Wanted device={d} now={now} /> },
    { title: 'Base', kind: 'narrow', cell: (d) => <span class="quiet">{d.base}</span>, spare: 'desk' },
    { title: 'Observed', kind: 'narrow', cell: (d) => <State device={d} now={now} /> },
    { title: 'Last line', kind: 'narrow', cell: (d) => <span class={d.last_line ? undefined : 'quiet'}>{relative(d.last_line, now) || 'never'}</span>, spare: true },
    { title: 'Lines/min', kind: 'num', sort: 'lines', cell: (d) => <PerMinute n={d.lines_per_minute} /> },
    { title: 'Drops', kind: 'num', sort: 'dropped', cell: (d) => <Bad n={d.dropped + d.refused} />, spare: true },
    { title: 'Clock', kind: 'narrow', sort: 'skew', cell: (d) => <Clock ms={d.clock_skew_ms} />, spare: 'desk' },
    { title: 'Tags', cell: (d) => Object.entries(d.tags).map(([k, v]) => <span key={k} class="chip tag">{k}:{v}</span>), spare: 'desk' },
  ]
  if (may(session, 'operator')) {
    columns.push({ title: 'Change', kind: 'narrow', cell: (d) => <Button class="small" aria-label={`Level of ${d.product}/${d.device}`} onClick={() => setRaise(d)}>Level …</Button>, spare: true })
  }
  return (
    <>
      <div class="head">
        <h1>Devices</h1>
      </div>
      <div class="bar device-filters" role="search" aria-label="Filters">
        <Field label="Name" bare type="search" data-search placeholder="part of a name" value={wanted.q} onChange={set('q')} />
        <Select label="Product" bare value={product} options={[['', 'All products'], ...of]} onChange={set('product')} />
        <Field label="Tag" bare placeholder="tag as key:value" value={wanted.tag} onChange={set('tag')} />
        <Select label="Connection" bare value={wanted.online ?? ''} options={online} onChange={set('online')} />
        <Select label="Level" bare value={wanted.level ?? ''} options={[...levelOptions('Any level'), ['off', 'off']]} onChange={set('level')} />
        <Select label="Observed state" bare value={wanted.state ?? ''} options={[['', 'Any state'], ...states.map((s): [string, string] => [s, s])]} onChange={set('state')} />
        <Select label="Order" bare value={wanted.sort ?? ''} options={orders} onChange={set('sort')} />
      </div>
      <PagedTable
        caption="Devices"
        columns={columns}
        rowKey={(d) => `${d.product}/${d.device}`}
        empty={filters.some((name) => wanted[name]) ? 'No device is like that.' : 'No device is registered: logbridge device add, or device import.'}
        load={load}
        depends={JSON.stringify(wanted)}
        every={every}
        turn={turn}
        sorting={{ by: wanted.sort || 'name', down: Boolean(wanted.sort) }}
        onSort={({ by }) => change({ sort: by === 'name' || by === wanted.sort ? undefined : by, cursor: undefined })}
      />
      {raise && <Raise device={raise} onClose={() => setRaise(undefined)} onDone={() => setTurn((n) => n + 1)} />}
    </>
  )
}
