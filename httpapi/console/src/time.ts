// Times and durations as people read them, and as the API takes them (Go's durations: 1h30m0s).
import { useEffect, useState } from 'preact/hooks'

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** Milliseconds of a duration of the API such as 90s, 1h30m0s or 250ms; NaN if it is none. */
export function parseDuration(text: string): number {
  const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: second, m: minute, h: hour, d: day }
  let rest = text.trim()
  if (rest === '') return NaN
  let sum = 0
  while (rest !== '') {
    const m = /^(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/.exec(rest)
    if (!m) return NaN
    sum += Number(m[1]) * (units[m[2] ?? ''] ?? NaN)
    rest = rest.slice(m[0].length)
  }
  return sum
}

/** A duration in two units at most: 2d 4h, 29m 58s, 0s. */
export function duration(ms: number): string {
  const left = Math.max(0, Math.round(ms / second) * second)
  const units: [number, string][] = [[day, 'd'], [hour, 'h'], [minute, 'm'], [second, 's']]
  for (const [i, [size, name]] of units.entries()) {
    if (left < size && size > second) continue
    const next = units[i + 1]
    const rest = next ? Math.floor((left % size) / next[0]) : 0
    return `${Math.floor(left / size)}${name}` + (next && rest > 0 ? ` ${rest}${next[1]}` : '')
  }
  return '0s'
}

/** How far a time is from now: "3m ago", "in 29m 58s", "now". */
export function relative(time: string | undefined, now: number): string {
  if (!time) return ''
  const off = Date.parse(time) - now
  if (Math.abs(off) < second) return 'now'
  return off > 0 ? 'in ' + duration(off) : duration(-off).split(' ')[0] + ' ago'
}

const two = (n: number): string => String(n).padStart(2, '0')

/** A time of the API in local time: 14:03:07.123, with the day when it is not today's. */
export function clock(time: string | number, now = Date.now(), fraction = true): string {
  const t = new Date(time)
  const text = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}` + (fraction ? '.' + String(t.getMilliseconds()).padStart(3, '0') : '')
  const today = new Date(now)
  return t.toDateString() === today.toDateString() ? text : `${calendar(t)} ${text}`
}

/** A time of the API in local time with its day: 2026-11-21 14:03:07. */
export function stamp(time: string | number | undefined): string {
  if (time === undefined || time === '') return ''
  const t = new Date(time)
  return `${calendar(t)} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`
}

function calendar(t: Date): string {
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`
}

/** The zone that all of the console's times are in, as it is at a time: UTC, UTC+1, UTC+5:30. */
export function zone(time: string | number = Date.now()): string {
  const east = -new Date(time).getTimezoneOffset()
  if (east === 0) return 'UTC'
  const minutes = Math.abs(east) % 60
  return `UTC${east > 0 ? '+' : '−'}${Math.floor(Math.abs(east) / 60)}${minutes > 0 ? ':' + two(minutes) : ''}`
}

/** What now is, renewed every so many milliseconds, for countdowns and relative times. */
export function useNow(every = second): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every)
    return () => clearInterval(timer)
  }, [every])
  return now
}
