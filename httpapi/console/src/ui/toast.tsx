import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'

interface Message {
  id: number
  text: string
  wrong: boolean
}

const told = new EventTarget()
let last = 0

/** Says something for a few seconds at the edge of the page: that a thing is done, or what went wrong. */
export function toast(text: string, wrong = false): void {
  told.dispatchEvent(new CustomEvent<Message>('toast', { detail: { id: ++last, text, wrong } }))
}

/** How long a toast stays: long enough to read a sentence twice. */
const stay = 6000

/** Where toasts appear: once, in the frame. */
export function Toasts(): JSX.Element {
  const [list, setList] = useState<Message[]>([])
  useEffect(() => {
    const timers: number[] = []
    const add = (e: Event): void => {
      const m = (e as CustomEvent<Message>).detail
      setList((l) => [...l.slice(-3), m])
      timers.push(window.setTimeout(() => setList((l) => l.filter((x) => x.id !== m.id)), stay))
    }
    told.addEventListener('toast', add)
    return () => {
      told.removeEventListener('toast', add)
      for (const t of timers) clearTimeout(t)
    }
  }, [])
  return (
    <div class="toasts" role="status" aria-live="polite">
      {list.map((m) => (
        <div key={m.id} class={m.wrong ? 'toast wrong' : 'toast'}>{m.text}</div>
      ))}
    </div>
  )
}
