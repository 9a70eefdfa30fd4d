import type { RefObject } from 'preact'
import { useEffect, useState } from 'preact/hooks'

/** The width of an element in pixels, as it changes; 0 before it is known. */
export function useWidth(ref: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const element = ref.current
    if (!element) return
    const look = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)))
    look.observe(element)
    return () => look.disconnect()
  }, [ref])
  return width
}
