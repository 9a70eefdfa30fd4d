import type { JSX } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { duration, stamp, zone } from '../time'
import { useWidth } from './width'

/** One part of each bar. */
export interface Series {
  name: string
  /** The custom property of its colour: --error. */
  color: string
  /** A value for each time. */
  values: readonly number[]
}

interface ChartProps {
  /** What it shows, for those who do not see it. */
  label: string
  /** The begins of the intervals, in seconds since 1970, in order and evenly apart. */
  times: readonly number[]
  /** The length of an interval in seconds. */
  step: number
  /** From the bottom of the bars to the top. */
  series: readonly Series[]
  height?: number
  /** Told which time was dragged over or clicked on, in milliseconds. */
  onZoom?: (from: number, to: number) => void
  /** What a value means, under the pointer: "lines". */
  unit?: string
}

/** Bars over time, stacked. Its height is fixed from the first moment, so nothing jumps when the numbers come. */
export function Chart({ label, times, step, series, height = 120, onZoom, unit = 'lines' }: ChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const width = useWidth(box)
  const scheme = useScheme()
  const [at, setAt] = useState<number | null>(null)
  const zoom = useRef(onZoom)
  zoom.current = onZoom
  const names = series.map((s) => s.name + s.color).join()

  // In the task that says in words what the bars say: nobody sees or drags over one of the two without the other.
  useLayoutEffect(() => {
    if (!box.current || width === 0) return
    const u = new uPlot(options(box.current, width, height, step, series, (from, to) => zoom.current?.(from, to), setAt, Boolean(zoom.current)), stacked(times, series), box.current)
    plot.current = u
    return () => {
      plot.current = null
      u.destroy()
    }
  }, [width > 0, scheme, names, step, height])
  useLayoutEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height })
  }, [width, height])
  useLayoutEffect(() => {
    plot.current?.setData(stacked(times, series))
  }, [times, series])

  const total = (i: number): number => series.reduce((n, s) => n + (s.values[i] ?? 0), 0)
  const shown = at !== null && times[at] !== undefined ? at : null
  return (
    <figure class="chart">
      <div ref={box} class="chart-box" role="img" aria-label={`${label}: ${series.map((s) => `${s.name} ${sum(s.values)}`).join(', ') || 'nothing'}`} style={{ height: `${height}px` }} />
      <figcaption>
        <span class="chart-at">{shown === null ? about(times, step) : `${stamp((times[shown] ?? 0) * 1000)} · ${total(shown).toLocaleString('en')} ${unit}`}</span>
        {series.map((s) => (
          <span key={s.name} class="key"><i style={{ background: `var(${s.color})` }} />{s.name} <b>{compact(shown === null ? sum(s.values) : (s.values[shown] ?? 0))}</b></span>
        ))}
      </figcaption>
    </figure>
  )
}

/** What stands where the pointer's time would: what a bar is, and where midnight is. There is always something, so that nothing jumps. */
const about = (times: readonly number[], step: number): string => (times.length > 0 ? `a bar is ${duration(step * 1000)}, times are ${zone((times[0] ?? 0) * 1000)}` : '\u00a0')

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)

const figures = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

/** A number in little room: 12.3K. */
export const compact = (n: number): string => figures.format(n)

/** Which scheme the system prefers; the chart has to be drawn again when that changes. */
function useScheme(): boolean {
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches)
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)')
    const look = (): void => setDark(media.matches)
    media.addEventListener('change', look)
    return () => media.removeEventListener('change', look)
  }, [])
  return dark
}

/** Each series on top of those before; the last comes first, since what is drawn later covers what is below. */
function stacked(times: readonly number[], series: readonly Series[]): uPlot.AlignedData {
  const below = times.map(() => 0)
  const sums = series.map((s) => times.map((_, i) => (below[i] = (below[i] ?? 0) + (s.values[i] ?? 0))))
  return [[...times], ...sums.reverse()]
}

/** Fewer pixels than this are no drag but a click of an unsteady hand. */
const leastDrag = 4

/** How much higher the chart is than its highest bar. */
const headroom = 1.05

/** The room for half a label at the right end of the time axis, and how wide a character of a label is at most. */
const edge = 18
const widest = 7.2

function options(box: HTMLElement, width: number, height: number, step: number, series: readonly Series[], onZoom: (from: number, to: number) => void, onAt: (i: number | null) => void, zooms: boolean): uPlot.Options {
  const style = getComputedStyle(box)
  // A custom property may hold light-dark(); only a used colour says which of the two it is.
  const probe = document.createElement('i')
  box.append(probe)
  const color = (name: string): string => {
    probe.style.color = `var(${name})`
    return getComputedStyle(probe).color
  }
  const axis = { stroke: color('--faint'), font: `11px ${style.fontFamily}`, ticks: { show: false }, grid: { stroke: color('--line'), width: 1 } }
  const bars = uPlot.paths.bars
  let dragged = false
  const made: uPlot.Options = {
    width,
    height,
    padding: [6, edge, 0, 0],
    legend: { show: false },
    cursor: { points: { show: false }, y: false, drag: { x: zooms, y: false, setScale: false } },
    scales: {
      x: { range: (_, min, max) => [min - step * 0.02, max + step] },
      y: { range: (_, __, max) => [0, Math.max(max, 1) * headroom] },
    },
    axes: [
      { ...axis, size: 22, gap: 3, grid: { show: false }, space: 70, values: (u, splits, __, ___, apart) => splits.map((t, i) => fitting(u, t, tick(t, splits[i - 1], apart))) },
      { ...axis, size: 38, gap: 2, space: 26, ...(height < 100 ? { splits: (_: uPlot, __: number, ___: number, max: number) => [0, max / headroom] } : {}), values: (_, splits) => splits.map((v) => (v > 0 && Number.isInteger(v) ? compact(v) : '')) },
    ],
    series: [
      {},
      ...[...series].reverse().map((s): uPlot.Series => ({
        stroke: color(s.color),
        fill: color(s.color),
        width: 0,
        points: { show: false },
        ...(bars ? { paths: bars({ size: [0.82, 60], align: 1 }) } : {}),
      })),
    ],
    hooks: {
      setCursor: [(u) => onAt(u.cursor.left !== undefined && u.cursor.left >= 0 ? bar(u, u.posToVal(u.cursor.left, 'x'), step) : null)],
      setSelect: [(u) => {
        if (u.select.width < leastDrag) return
        dragged = true
        // Without bars the axis shows no time.
        if (u.data[0].length > 0) onZoom(u.posToVal(u.select.left, 'x') * 1000, u.posToVal(u.select.left + u.select.width, 'x') * 1000)
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
      }],
      ready: [(u) => {
        if (!zooms) return
        u.over.addEventListener('mousedown', () => { dragged = false })
        u.over.addEventListener('click', (e) => {
          if (dragged) return // a click comes at the end of a drag, too
          const i = bar(u, u.posToVal(e.offsetX, 'x'), step)
          const from = i === null ? undefined : u.data[0][i]
          if (from !== undefined) onZoom(from * 1000, (from + step) * 1000)
        })
      }],
    },
  }
  probe.remove()
  return made
}

/** What stands at the time axis: the time of day, and the day where it begins. */
function tick(time: number, before: number | undefined, apart: number): string {
  const t = new Date(time * 1000)
  const day = before === undefined ? t.getHours() + t.getMinutes() === 0 : new Date(before * 1000).getDate() !== t.getDate()
  if (apart >= 86_400 || day) return t.toLocaleDateString('en', { month: 'short', day: 'numeric' })
  return t.toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(apart < 60 ? { second: '2-digit' } : {}) })
}

/** A label if there is room for it at the right end: half a label would be a wrong time. */
function fitting(u: uPlot, time: number, label: string): string {
  const room = u.bbox.width / devicePixelRatio + edge - u.valToPos(time, 'x')
  return (label.length * widest) / 2 <= room ? label : ''
}

/** The bar over which a time is. */
function bar(u: uPlot, time: number, step: number): number | null {
  const first = u.data[0][0]
  if (first === undefined) return null
  const i = Math.floor((time - first) / step)
  return i >= 0 && i < u.data[0].length ? i : null
}
