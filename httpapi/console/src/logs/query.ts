// What is asked for, as it is in the address of the page: the names are those of GET /logs, so an address of the console and
// one of the API differ in the path alone.
import type { Params } from '../api'
import { parseDuration } from '../time'

/** The filters about streams and content that have one value each, in the order in which they are shown. */
export const filterNames = ['source', 'product', 'device', 'project', 'logstore', 'topic', 'stream', 'level'] as const

export type FilterName = (typeof filterNames)[number]

export const sources = ['mqtt', 'reportlog', 'sls', 'cls', 'otlp', 'loki', 'audit'] as const

export interface Query {
  filters: Partial<Record<FilterName, string>>
  /** Attributes that must have exactly these values. */
  fields: [key: string, value: string][]
  text: string
  /** A duration before now, or a time; "" is the default of an hour. */
  since: string
  until: string
  /** Follows what arrives. */
  live: boolean
  /** The line to show with what is around it: its position and its time. */
  around: { seq: string; at: string } | undefined
}

export const defaultSince = '1h'

/** Reads the query string of the page. */
export function readQuery(params: URLSearchParams): Query {
  const q: Query = { filters: {}, fields: [], text: params.get('q') ?? '', since: params.get('since') ?? '', until: params.get('until') ?? '', live: false, around: undefined }
  for (const name of filterNames) {
    const v = params.get(name)
    if (v) q.filters[name] = v
  }
  for (const [name, value] of params) if (name.startsWith('field.') && name.length > 6) q.fields.push([name.slice(6), value])
  const line = params.get('line')
  const at = params.get('at')
  if (line && at) q.around = { seq: line, at }
  q.live = params.get('live') !== '0' && q.until === '' && !q.around
  return q
}

/** Writes it as the query string of the page. */
export function writeQuery(q: Query): string {
  const out = new URLSearchParams()
  for (const name of filterNames) {
    const v = q.filters[name]
    if (v) out.append(name, v)
  }
  for (const [key, value] of q.fields) out.append('field.' + key, value)
  if (q.text) out.append('q', q.text)
  if (q.since && q.since !== defaultSince) out.append('since', q.since)
  if (q.until) out.append('until', q.until)
  if (!q.live && !q.until && !q.around) out.append('live', '0')
  if (q.around) {
    out.append('line', q.around.seq)
    out.append('at', q.around.at)
  }
  const text = out.toString()
  return '/logs' + (text === '' ? '' : '?' + text)
}

/** The parameters of the API that say which records, without those about time. */
export function filterParams(q: Query): Params {
  const params: Params = { ...q.filters, q: q.text }
  for (const [key, value] of q.fields) {
    const name = 'field.' + key
    const before = params[name]
    params[name] = before === undefined ? value : [...(Array.isArray(before) ? (before as string[]) : [String(before)]), value]
  }
  return params
}

/** The begin and end of what is asked for, in milliseconds; the end is now without one. */
export function range(q: Query, now: number): [from: number, to: number] {
  const when = (text: string): number => {
    const before = parseDuration(text)
    if (!Number.isNaN(before)) return now - before
    const seconds = /^\d+$/.test(text) ? Number(text) * 1000 : NaN
    return Number.isNaN(seconds) ? Date.parse(text) : seconds
  }
  const to = q.until ? when(q.until) : now
  const from = when(q.since || defaultSince)
  return [Number.isNaN(from) ? now - 3_600_000 : from, Number.isNaN(to) ? now : to]
}

/** The same query with its times fixed, so that a link shows tomorrow what it shows now. */
export function pinned(q: Query, now: number): Query {
  if (q.around) return q
  const [from, to] = range(q, now)
  return { ...q, since: new Date(from).toISOString(), until: new Date(to).toISOString(), live: false }
}

/**
 * Reads what was typed into the search: name:value and field.key=value become filters, the rest is the text to look for.
 * What is in double quotes is text, or a value with spaces.
 */
export function readSearch(typed: string, q: Query): Query {
  const next: Query = { ...q, filters: { ...q.filters }, fields: [...q.fields] }
  const text: string[] = []
  for (const m of typed.matchAll(/(?:([\w.\-@]+)([:=]))?(?:"([^"]*)"|(\S+))|\S+/g)) {
    const [all, name, sign] = m
    const value = m[3] ?? m[4] ?? ''
    const key = name?.startsWith('field.') ? name.slice(6) : ''
    if (name !== undefined && sign === ':' && (filterNames as readonly string[]).includes(name)) next.filters[name as FilterName] = value
    else if (name === 'since' || name === 'until') next[name] = value
    else if (key !== '') next.fields.push([key, value])
    else text.push(name === undefined && m[3] !== undefined ? m[3] : all)
  }
  next.text = text.join(' ')
  return next
}
