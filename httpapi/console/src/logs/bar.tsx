// The search bar: what is looked for, how far back, and the filters, each of which is also a chip that can be taken away.
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { get } from '../api'
import { useLoad } from '../load'
import { Button } from '../ui/button'
import { Field, Select } from '../ui/field'
import { defaultSince, filterNames, readQuery, readSearch, sources, type FilterName, type Query } from './query'

const spans: [string, string][] = [['5m', '5 minutes'], ['15m', '15 minutes'], ['1h', '1 hour'], ['6h', '6 hours'], ['24h', '24 hours'], ['168h', '7 days'], ['720h', '30 days']]

/** A level asks for lines that are at least so severe. */
const atLeast: [string, string][] = [['', 'all levels'], ['error', 'error'], ['warn', 'warn +'], ['info', 'info +']]

interface BarProps {
  query: Query
  onQuery: (q: Query) => void
}

export function SearchBar({ query, onQuery }: BarProps): JSX.Element {
  const [typed, setTyped] = useState(query.text)
  const [open, setOpen] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => setTyped(query.text), [query.text])
  const since = query.since || defaultSince
  const listed = !query.until && !query.around && spans.some(([v]) => v === since)
  const search = (e: Event): void => {
    e.preventDefault()
    // Enter in a filter's field changes that first: what counts is the address, which has it already.
    onQuery(readSearch(typed, { ...readQuery(new URLSearchParams(location.search)), around: undefined }))
  }
  const span = (v: string): void => {
    if (v !== '') onQuery({ ...query, since: v, until: '', live: query.live || query.until !== '', around: undefined })
  }
  return (
    <form class="search" role="search" onSubmit={search}>
      <div class="bar">
        <label class="unseen" for="logs-q">Search</label>
        <input
          id="logs-q"
          ref={input}
          type="search"
          data-search
          placeholder="Search: timeout  device:dev-0*  level:warn  field.status=500   ( / )"
          autocomplete="off"
          spellcheck={false}
          value={typed}
          onInput={(e) => setTyped(e.currentTarget.value)}
          onKeyDown={(e) => { if (e.key === 'Escape') e.currentTarget.blur() }}
        />
        <Select label="Level" bare value={query.filters.level ?? ''} options={atLeast} onChange={(e) => onQuery({ ...query, filters: { ...query.filters, level: e.currentTarget.value } })} />
        <Select label="Time" bare value={listed ? since : ''} options={listed ? spans : [['', 'chosen time'], ...spans]} onChange={(e) => span(e.currentTarget.value)} />
        <Button aria-expanded={open} aria-controls="logs-filters" onClick={() => setOpen(!open)}>Filters</Button>
        <Button type="submit" kind="primary">Search</Button>
      </div>
      {open && <Filters query={query} onQuery={onQuery} />}
      <Chips query={query} onQuery={onQuery} />
    </form>
  )
}

/** All filters as fields, for those who do not know their names. */
function Filters({ query, onQuery }: BarProps): JSX.Element {
  const [field, setField] = useState('')
  const { data } = useLoad((signal) => get<{ products: { id: string }[] | null }>('/products', {}, signal), 'products')
  const products = data?.products?.map((p) => p.id) ?? []
  const set = (name: FilterName) => (e: { currentTarget: { value: string } }): void => onQuery({ ...query, filters: { ...query.filters, [name]: e.currentTarget.value.trim() }, around: undefined })
  const value = (name: FilterName): string => query.filters[name] ?? ''
  const addField = (): void => {
    const i = field.indexOf('=')
    if (i < 1) return
    setField('')
    onQuery({ ...query, fields: [...query.fields, [field.slice(0, i).replace(/^field\./, ''), field.slice(i + 1)]], around: undefined })
  }
  return (
    <div id="logs-filters" class="filters">
      <Select label="Source" value={value('source')} options={[['', 'all'], ...sources.map((s): [string, string] => [s, s])]} onChange={set('source')} />
      <Field label="Product" value={value('product')} offers={products} onChange={set('product')} />
      <Field label="Device" value={value('device')} placeholder="dev-0*" onChange={set('device')} />
      <Field label="Project" value={value('project')} onChange={set('project')} />
      <Field label="Logstore" value={value('logstore')} onChange={set('logstore')} />
      <Field label="Topic" value={value('topic')} onChange={set('topic')} />
      <Field label="Field" value={field} placeholder="status=500" onInput={(e) => setField(e.currentTarget.value)} onChange={addField} />
      <Field label="From" type="datetime-local" step={1} value={local(query.since)} onChange={(e) => onQuery({ ...query, since: utc(e.currentTarget.value), around: undefined })} />
      <Field label="Until" type="datetime-local" step={1} value={local(query.until)} onChange={(e) => onQuery({ ...query, until: utc(e.currentTarget.value), around: undefined })} />
    </div>
  )
}

/** A time of the API as a field of local time takes it; "" for a duration. */
function local(time: string): string {
  const t = Date.parse(time)
  if (Number.isNaN(t) || !time.includes('T')) return ''
  const d = new Date(t - new Date(t).getTimezoneOffset() * 60_000)
  return d.toISOString().slice(0, 19)
}

const utc = (text: string): string => (text === '' ? '' : new Date(text).toISOString())

function Chips({ query, onQuery }: BarProps): JSX.Element | null {
  const chips: [text: string, without: Query][] = []
  for (const name of filterNames) {
    const v = query.filters[name]
    if (v && name !== 'level') chips.push([`${name}: ${v}`, { ...query, filters: { ...query.filters, [name]: undefined }, around: undefined }])
  }
  for (const [i, [key, value]] of query.fields.entries()) {
    chips.push([`${key} = ${value}`, { ...query, fields: query.fields.filter((_, j) => j !== i) }])
  }
  if (query.around) chips.push(['around one line', { ...query, around: undefined }])
  if (chips.length === 0) return null
  return (
    <ul class="chips" aria-label="Filters that are set">
      {chips.map(([text, without]) => (
        <li key={text} class="chip">
          <span>{text}</span>
          <button type="button" aria-label={`Remove ${text}`} onClick={() => onQuery(without)}>✕</button>
        </li>
      ))}
    </ul>
  )
}
