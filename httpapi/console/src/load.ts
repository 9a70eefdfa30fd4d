// Loading what a view shows, once or again and again.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { isAbort, reach, sentence } from './api'

export interface Loaded<T> {
  /** What was loaded last; it stays while something newer is loaded, so that nothing jumps. */
  data: T | undefined
  error: string
  loading: boolean
  /** Loads again now. */
  again: () => void
}

/**
 * Runs load, and again when key changes; with every, also so many milliseconds after it was done while the page is
 * looked at; what failed runs again as soon as a server that was away is back. Answers to what is not asked any more are dropped.
 */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, key: string, every = 0): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; error: string; loading: boolean; key: string }>({ data: undefined, error: '', loading: true, key })
  const [turn, setTurn] = useState(0)
  const latest = useRef(load)
  latest.current = load
  useEffect(() => {
    const stop = new AbortController()
    let timer = 0
    let failed = false
    const wait = (): void => {
      if (every > 0 && !stop.signal.aborted) timer = window.setTimeout(() => void run(), every)
    }
    const run = async (): Promise<void> => {
      if (document.hidden && every > 0) return wait()
      failed = false
      try {
        const data = await latest.current(stop.signal)
        if (!stop.signal.aborted) setState({ data, error: '', loading: false, key })
      } catch (e) {
        failed = true
        if (!stop.signal.aborted && !isAbort(e)) setState((s) => ({ ...s, error: sentence(e), loading: false, key }))
      }
      wait()
    }
    const back = (): void => {
      if (!failed) return
      clearTimeout(timer)
      void run()
    }
    reach.addEventListener('back', back)
    setState((s) => ({ ...s, loading: true }))
    void run()
    return () => {
      reach.removeEventListener('back', back)
      stop.abort()
      clearTimeout(timer)
    }
  }, [key, every, turn])
  const again = useCallback(() => setTurn((n) => n + 1), [])
  return { data: state.data, error: state.error, loading: state.loading, again }
}
