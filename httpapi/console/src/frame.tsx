import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { sentence } from './api'
import { Link, navigate, usePlace, type Route } from './router'
import { may, signOut, useSession } from './session'
import { Mark } from './signin'
import { Away } from './ui/away'
import { Button } from './ui/button'
import { Dialog } from './ui/dialog'
import { toast, Toasts } from './ui/toast'

interface FrameProps {
  routes: readonly Route[]
  /** The title of the view that is shown. */
  title: string
  onSignedOut: () => void
  children: ComponentChildren
}

/** What is around every view: navigation, who is signed in, keys, toasts. */
export function Frame({ routes, title, onSignedOut, children }: FrameProps): JSX.Element {
  const session = useSession()
  const { path } = usePlace()
  const main = useRef<HTMLElement>(null)
  const [keys, setKeys] = useState(false)
  const listed = routes.filter((r) => r.key !== undefined && may(session, r.role ?? 'viewer'))
  useShortcuts(listed, () => setKeys(true))
  useEffect(() => {
    document.title = `${title} · logbridge`
    // On a phone the navigation is wider than the screen.
    document.querySelector('.top nav a.on')?.scrollIntoView({ inline: 'nearest', block: 'nearest' })
  }, [title])
  const nav = useRef<HTMLElement>(null)
  // On a phone not all views fit; the one that is shown does.
  useEffect(() => nav.current?.querySelector('.on')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [path])
  const leave = async (): Promise<void> => {
    try {
      await signOut()
      onSignedOut()
    } catch (e) {
      toast(sentence(e), true)
    }
  }
  const active = (r: Route): boolean => (r.path === '/' ? path === '/' : path === r.path || path.startsWith(r.path + '/'))
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); main.current?.focus() }}>Skip to the content</a>
      <header class="top">
        <Link to="/" class="brand" aria-label="logbridge, overview"><Mark /><span>logbridge</span></Link>
        <nav ref={nav} aria-label="Views">
          {listed.map((r) => (
            <Link key={r.path} to={r.path} class={active(r) ? 'on' : undefined} aria-current={active(r) ? 'page' : undefined}>{r.title}</Link>
          ))}
        </nav>
        <div class="who">
          <span class="name" title={session.scope.length > 0 ? `limited to ${session.scope.join(', ')}` : undefined}>
            {session.name} <small>{session.role}{session.scope.length > 0 && ', limited'}</small>
          </span>
          <Button class="icon" aria-label="Keys" title="Keys (?)" onClick={() => setKeys(true)}>?</Button>
          <Button onClick={() => void leave()}>Sign out</Button>
        </div>
      </header>
      <Away />
      <main id="main" ref={main} tabIndex={-1}>{children}</main>
      <Toasts />
      {keys && <Keys routes={listed} onClose={() => setKeys(false)} />}
    </div>
  )
}

/** Reports whether keys go into a text field now. */
export function typing(e: KeyboardEvent): boolean {
  const t = e.target
  return t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) || t.closest('dialog') !== null)
}

/** g and a letter goes to a view, / to its search, ? shows the keys. */
function useShortcuts(routes: readonly Route[], onHelp: () => void): void {
  const state = useRef({ routes, onHelp, afterG: false })
  state.current.routes = routes
  state.current.onHelp = onHelp
  useEffect(() => {
    const press = (e: KeyboardEvent): void => {
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e)) return
      const s = state.current
      const to = s.afterG ? s.routes.find((r) => r.key === e.key) : undefined
      s.afterG = e.key === 'g'
      const search = document.querySelector<HTMLElement>('[data-search]')
      if (to) navigate(to.path)
      else if (e.key === '/' && search) search.focus()
      else if (e.key === '?') s.onHelp()
      else return
      e.preventDefault()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}

function Keys({ routes, onClose }: { routes: readonly Route[]; onClose: () => void }): JSX.Element {
  const rows: [string, string][] = [
    ['/', 'search in this view'],
    ...routes.map((r): [string, string] => [`g ${r.key ?? ''}`, r.title]),
    ['j  k', 'next and previous line (Logs)'],
    ['Enter', 'the line in full (Logs)'],
    ['c', 'the lines around it (Logs)'],
    ['Space', 'pause and go on (Logs)'],
    ['End', 'the newest line (Logs)'],
    ['Esc', 'close what is open'],
    ['?', 'this list'],
  ]
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl class="keys">{rows.map(([k, what]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{what}</dd></div>)}</dl>
    </Dialog>
  )
}
