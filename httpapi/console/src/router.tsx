// The router: paths by the History API, and the state of a view in its query string.
import type { ComponentChildren, ComponentType, JSX, PartialAnchorHTMLAttributes } from 'preact'
import { useCallback, useEffect, useState } from 'preact/hooks'

export interface Place {
  path: string
  params: URLSearchParams
}

export interface ViewProps {
  /** The parts of the path that the route names with a colon, decoded. */
  names: Record<string, string>
}

/** One line of the table of views (main.tsx). */
export interface Route {
  path: string
  title: string
  view: ComponentType<ViewProps>
  /** The key that goes there after g; absent for views that the navigation does not list. */
  key?: string
  /** Who may see it at all; default viewer. */
  role?: 'viewer' | 'operator' | 'admin'
}

const moved = new EventTarget()

function here(): Place {
  return { path: location.pathname, params: new URLSearchParams(location.search) }
}

/** Goes to a path with its query string. replace leaves no trace in the history. */
export function navigate(to: string, replace = false): void {
  if (to === location.pathname + location.search) return
  if (replace) history.replaceState(null, '', to)
  else history.pushState(null, '', to)
  moved.dispatchEvent(new Event('move'))
}

/** Where we are; renders again when that changes. */
export function usePlace(): Place {
  const [place, setPlace] = useState(here)
  useEffect(() => {
    const look = (): void => setPlace(here())
    // Whoever is quick has gone on between the first drawing and this.
    if (location.pathname !== place.path || here().params.toString() !== place.params.toString()) look()
    addEventListener('popstate', look)
    moved.addEventListener('move', look)
    return () => {
      removeEventListener('popstate', look)
      moved.removeEventListener('move', look)
    }
  }, [])
  return place
}

/**
 * The query string as the state of a view. The setter changes the named parameters, removes those that are undefined or
 * empty, and keeps the others.
 */
export function useParams(): [URLSearchParams, (changes: Record<string, string | undefined>, replace?: boolean) => void] {
  const { params } = usePlace()
  const change = useCallback((changes: Record<string, string | undefined>, replace = true) => {
    const next = new URLSearchParams(location.search)
    for (const [name, value] of Object.entries(changes)) {
      if (value) next.set(name, value)
      else next.delete(name)
    }
    const text = next.toString()
    navigate(location.pathname + (text === '' ? '' : '?' + text), replace)
  }, [])
  return [params, change]
}

/** Finds the names in a path by a pattern such as /devices/:product/:device; undefined if it does not match. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const want = pattern.split('/')
  const have = path.replace(/(.)\/$/, '$1').split('/')
  if (want.length !== have.length) return undefined
  const names: Record<string, string> = {}
  for (const [i, w] of want.entries()) {
    const h = have[i] ?? ''
    if (w.startsWith(':')) {
      try {
        names[w.slice(1)] = decodeURIComponent(h)
      } catch {
        return undefined
      }
    } else if (w !== h) return undefined
  }
  return names
}

type LinkProps = Omit<PartialAnchorHTMLAttributes<HTMLAnchorElement>, 'href' | 'role' | 'size'> & { to: string; children?: ComponentChildren }

/** A link inside the console: a real one, so that it can be opened in another tab and copied. */
export function Link({ to, children, ...rest }: LinkProps): JSX.Element {
  const go = (e: MouseEvent): void => {
    if (e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return
    e.preventDefault()
    navigate(to)
  }
  return <a {...rest} href={to} onClick={go}>{children}</a>
}
