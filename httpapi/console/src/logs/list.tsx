// The list of lines. Only what is on the screen is in the page, so that neither 20 000 lines nor a thousand a second are felt.
import { Component, type ComponentChildren, type JSX } from 'preact'
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks'
import { clock } from '../time'
import { count } from '../words'
import { Level } from '../ui/level'
import type { Feed } from './feed'
import { isGap, origin, summary, visible, type Entry, type LogRecord } from './record'

/** How many lines beyond the edges of the screen are in the page. */
const margin = 12

interface ListProps {
  feed: Feed
  /** Grows with each change of the feed. */
  version: number
  /** Whether the end stays in sight. */
  stuck: boolean
  /** Told that the reader moved away from the end, or back to it. */
  onStuck: (stuck: boolean) => void
  chosen: string | undefined
  /** Told which line was clicked on, or gone to by a key. */
  onChoose: (e: LogRecord, clicked: boolean) => void
  onOpen: () => void
  highlight: string
  children?: ComponentChildren
}

export function LineList({ feed, version, stuck, onStuck, chosen, onChoose, onOpen, highlight, children }: ListProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const probe = useRef<HTMLDivElement>(null)
  const row = useHeight(probe)
  const height = useHeight(box)
  const [, draw] = useReducer((n: number, _: void) => n + 1, 0)
  const top = useRef(0)
  const count = feed.entries.length

  const place = (to: number): void => {
    const element = box.current
    if (!element) return
    if (Math.abs(element.scrollTop - to) > 1) element.scrollTop = to
    top.current = element.scrollTop
    if (!stuck) draw() // at the end, the lines on the screen follow from their number, and are drawn already
  }
  // Lines that were put before the others push them down: the reader's place moves with them.
  useLayoutEffect(() => {
    if (feed.prepended > 0 && row > 0) {
      const by = feed.prepended * row
      feed.prepended = 0
      place((box.current?.scrollTop ?? 0) + by)
    }
    if (stuck) place(Math.max(count * row - (box.current?.clientHeight ?? 0), 0))
  }, [version, stuck, count, row, height])

  const scrolled = (): void => {
    const element = box.current
    if (!element) return
    const at = element.scrollTop
    const before = top.current
    top.current = at
    if (!stuck) draw()
    const end = element.scrollHeight - at - element.clientHeight < row * 1.5
    if (stuck && at < before - 2 && !end) onStuck(false)
    else if (!stuck && end && at > before) onStuck(true)
    if (at < row * 20) void feed.older()
    if (end && feed.hasNewer) void feed.newer()
  }
  const index = chosen === undefined ? -1 : feed.entries.findIndex((e) => e.seq === chosen)
  // A line that is gone to comes into sight: the next one at the edge, a far one in the middle.
  useLayoutEffect(() => {
    const element = box.current
    if (index < 0 || row === 0 || !element || stuck) return
    const at = index * row
    const before = element.scrollTop - at
    const behind = at + row - element.scrollTop - element.clientHeight
    if (Math.max(before, behind) > 2 * row) place(at - (element.clientHeight - row) / 2)
    else if (before > 0) place(at)
    else if (behind > 0) place(element.scrollTop + behind)
  }, [chosen, row > 0 && height > 0 && index >= 0])

  const move = (by: number): void => {
    for (let i = (index < 0 ? (by > 0 ? -1 : count) : index) + by; i >= 0 && i < count; i += Math.sign(by)) {
      const e = feed.entries[i]
      if (e && !isGap(e)) return onChoose(e, false)
    }
  }
  const press = (e: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / row) - 2)
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: page, PageUp: -page }
    const by = e.ctrlKey || e.metaKey || e.altKey ? undefined : steps[e.key]
    if (by !== undefined) {
      onStuck(false)
      move(by)
    } else if (e.key === 'Enter') onOpen()
    else return
    e.preventDefault()
    e.stopPropagation()
  }

  const at = stuck ? Math.max(count * row - height, 0) : top.current
  const from = row > 0 ? Math.max(0, Math.floor(at / row) - margin) : 0
  const to = row > 0 ? Math.min(count, Math.ceil((at + height) / row) + margin) : 0
  const shown = feed.entries.slice(from, to)
  const active = shown.some((e) => e.seq === chosen) ? lineID(chosen ?? '') : undefined
  return (
    <div class="lines-frame">
      <div
        ref={box}
        class="lines"
        role="listbox"
        aria-label="Lines"
        aria-activedescendant={active}
        tabIndex={0}
        onScroll={scrolled}
        onKeyDown={press}
      >
        <div ref={probe} class="line probe" aria-hidden="true" />
        <div class="lines-all" role="presentation" style={{ height: `${count * row}px` }}>
          <div role="presentation" style={{ transform: `translateY(${from * row}px)` }}>
            {shown.map((e) => <Line key={e.seq} entry={e} chosen={e.seq === chosen} highlight={highlight} onChoose={onChoose} />)}
          </div>
        </div>
      </div>
      {children}
    </div>
  )
}

export const lineID = (seq: string): string => 'line-' + seq.replace('.', '-')

interface LineProps {
  entry: Entry
  chosen: boolean
  highlight: string
  onChoose: (e: LogRecord, clicked: boolean) => void
}

/** One line. What it shows never changes, so it is drawn once. */
class Line extends Component<LineProps> {
  override shouldComponentUpdate(next: LineProps): boolean {
    return next.entry !== this.props.entry || next.chosen !== this.props.chosen || next.highlight !== this.props.highlight
  }

  override render({ entry, chosen, highlight, onChoose }: LineProps): JSX.Element {
    if (isGap(entry)) {
      return (
        <div id={lineID(entry.seq)} class="line gap" role="option" aria-selected="false" aria-disabled="true">
          {count(entry.dropped, 'line')} {entry.dropped === 1 ? 'is' : 'are'} not shown here: more came than this page took. All are stored.
        </div>
      )
    }
    const r = entry
    return (
      <div id={lineID(r.seq)} class={`line ${r.level}${chosen ? ' chosen' : ''}`} role="option" aria-selected={chosen} onClick={() => onChoose(r, true)}>
        <time>{clock(r.time)}</time>
        <Level level={r.level} />
        <span class="origin" title={visible(r.stream)}>{visible(origin(r))}</span>
        <span class="body"><Marked text={summary(r)} mark={highlight} /></span>
      </div>
    )
  }
}

/** A text with what was looked for marked in it. */
export function Marked({ text, mark }: { text: string; mark: string }): JSX.Element {
  const wanted = visible(mark)
  if (wanted === '' || !text.includes(wanted)) return <>{text}</>
  const parts = text.split(wanted)
  return <>{parts.map((p, i) => (i === 0 ? p : <><mark>{wanted}</mark>{p}</>))}</>
}

/** The height of an element in pixels, as it changes. */
function useHeight(ref: { current: HTMLElement | null }): number {
  const [height, setHeight] = useState(0)
  useEffect(() => {
    const element = ref.current
    if (!element) return
    const look = new ResizeObserver(() => setHeight(element.getBoundingClientRect().height))
    look.observe(element)
    return () => look.disconnect()
  }, [ref])
  return height
}
