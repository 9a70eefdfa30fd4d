// The console of logbridge. This file has the table of views: one line for each.
import { render, type JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { sentence, signedOut } from './api'
import { Frame } from './frame'
import { match, usePlace, type Route } from './router'
import { current, may, SessionContext, useSession, type Session } from './session'
import { SignIn } from './signin'
import './style.css'
import { Audit } from './views/audit'
import { Device } from './views/device'
import { Devices } from './views/devices'
import { Ledger } from './views/ledger'
import { Logs } from './views/logs'
import { Nowhere } from './views/nowhere'
import { Overview } from './views/overview'
import { Rules } from './views/rules'
import { Stores } from './views/stores'
import { Tokens } from './views/tokens'

const routes: readonly Route[] = [
  { path: '/', title: 'Overview', key: 'o', view: Overview },
  { path: '/logs', title: 'Logs', key: 'l', view: Logs },
  { path: '/devices', title: 'Devices', key: 'd', view: Devices },
  { path: '/devices/:product/:device', title: 'Device', view: Device },
  { path: '/rules', title: 'Rules', key: 'r', view: Rules },
  { path: '/stores', title: 'Stores', key: 's', view: Stores },
  { path: '/ledger', title: 'Ledger', key: 'e', view: Ledger },
  { path: '/audit', title: 'Audit', key: 'a', view: Audit },
  { path: '/tokens', title: 'Tokens', key: 't', view: Tokens, role: 'admin' },
]

/** How long after a failure it is asked again who is signed in. */
const askAgain = 3000

function App(): JSX.Element | null {
  const [session, setSession] = useState<Session | undefined>()
  const [state, setState] = useState<'asking' | 'known' | 'failed'>('asking')
  const [note, setNote] = useState('')
  const ask = async (): Promise<void> => {
    try {
      setSession(await current())
      setNote('')
      setState('known')
    } catch (e) {
      setNote(sentence(e))
      setState('failed')
      setTimeout(() => void ask(), askAgain)
    }
  }
  useEffect(() => {
    void ask()
    const ended = (): void => {
      setNote('The session has ended: the token has expired or was revoked.')
      setSession(undefined)
    }
    signedOut.addEventListener('401', ended)
    return () => signedOut.removeEventListener('401', ended)
  }, [])
  if (state === 'asking') return null
  if (state === 'failed') {
    return <main class="signin"><div class="instead"><p class="wrong" role="alert">{note}</p><p>It is asked again every few seconds.</p></div></main>
  }
  if (!session) return <SignIn note={note} onSession={(s) => { setNote(''); setSession(s) }} />
  return (
    <SessionContext.Provider value={session}>
      <Shown onSignedOut={() => { setNote('Signed out.'); setSession(undefined) }} />
    </SessionContext.Provider>
  )
}

function Shown({ onSignedOut }: { onSignedOut: () => void }): JSX.Element {
  const session = useSession()
  const { path } = usePlace()
  for (const r of routes) {
    const names = match(r.path, path)
    if (!names) continue
    const allowed = may(session, r.role ?? 'viewer')
    return (
      <Frame routes={routes} title={names.device ?? r.title} onSignedOut={onSignedOut}>
        {allowed ? <r.view key={path} names={names} /> : <p class="instead">This needs a token of role {r.role}.</p>}
      </Frame>
    )
  }
  return <Frame routes={routes} title="Not found" onSignedOut={onSignedOut}><Nowhere path={path} routes={routes.filter((r) => r.key !== undefined && may(session, r.role ?? 'viewer'))} /></Frame>
}

const root = document.getElementById('app')
if (root) render(<App />, root)
