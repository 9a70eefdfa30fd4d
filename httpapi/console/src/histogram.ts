// Counts over time, as GET /logs/histogram gives them, made into the bars of a Chart.
import { parseDuration } from './time'
import type { Series } from './ui/chart'

export interface Histogram {
  since: string
  until: string
  step: string
  by: string
  total: number
  buckets: { time: string; value: string; records: number }[]
}

export interface Bars {
  times: number[]
  step: number
  series: Series[]
}

/** The most bars that are made of an answer; the server's default is about 60. */
const mostBars = 2000

/** Bars of the values in this order, from the bottom; values of no records are left out, those not in the order are last. */
export function bars(h: Histogram | undefined, order: readonly string[], color: (value: string, i: number) => string): Bars {
  if (!h) return { times: [], step: 60, series: [] }
  const step = parseDuration(h.step) / 1000
  if (!(step > 0)) return { times: [], step: 60, series: [] }
  const first = Math.floor(Date.parse(h.since) / 1000 / step) * step
  const n = Math.min(Math.max(Math.ceil((Date.parse(h.until) / 1000 - first) / step), 1), mostBars)
  const times = Array.from({ length: n }, (_, i) => first + i * step)
  const values = new Map<string, number[]>()
  for (const b of h.buckets) {
    const i = Math.round((Date.parse(b.time) / 1000 - first) / step)
    if (i < 0 || i >= n) continue
    let list = values.get(b.value)
    if (!list) values.set(b.value, (list = new Array<number>(n).fill(0)))
    list[i] = (list[i] ?? 0) + b.records
  }
  const place = (v: string): number => (order.includes(v) ? order.indexOf(v) : order.length)
  const names = [...values.keys()].sort((a, b) => place(a) - place(b) || a.localeCompare(b))
  return { times, step, series: names.map((name, i) => ({ name: name || '(none)', color: color(name, i), values: values.get(name) ?? [] })) }
}

/** The custom property of the colour of a level's bars. */
export const levelColor = (level: string): string => (['error', 'warn', 'info', 'debug'].includes(level) ? '--bar-' + level : '--s7')

/** The levels as a chart stacks them: what is worst is at the bottom, where it is seen beside many others. */
export const levelOrder = ['error', 'warn', 'info', 'debug'] as const
