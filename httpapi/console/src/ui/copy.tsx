import type { JSX } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { Button } from './button'
import { toast } from './toast'

interface CopyBoxProps {
  /** What it is, for screen readers and on the button: "token". */
  what: string
  text: string
  /** Several lines, as they are. */
  block?: boolean
}

/** A text that is there to be copied, and a button that does it. */
export function CopyBox({ what, text, block = false }: CopyBoxProps): JSX.Element {
  const box = useRef<HTMLElement>(null)
  const [done, setDone] = useState(false)
  const copy = async (): Promise<void> => {
    // The clipboard is there for pages over TLS and of this machine alone; elsewhere the text is selected, ready for Ctrl+C.
    try {
      await navigator.clipboard.writeText(text)
      setDone(true)
      setTimeout(() => setDone(false), 2000)
    } catch {
      if (box.current) getSelection()?.selectAllChildren(box.current)
    }
  }
  return (
    <div class={block ? 'copy block' : 'copy'}>
      <pre tabIndex={0} role="region" aria-label={what}><code ref={box}>{text}</code></pre>
      <Button aria-label={`Copy the ${what}`} onClick={() => void copy()}>{done ? 'Copied' : 'Copy'}</Button>
    </div>
  )
}

/** Copies text and says so, also where the page came without TLS and browsers have no clipboard for it. */
export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    area.className = 'unseen'
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    if (!done) return toast('The browser does not let this page copy.', true)
  }
  toast(`${what} copied.`)
}
