// The console of logbridge. This file has the table of views: one line for each.
import { render, type JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { sentence, signedOut } from './api'
import { Frame } from './frame'
import { match, usePlace, type Route } from './router'
import { current, may, SessionContext, useSession, type Session } from './session'
import { SignIn } from './signin'
import './style.css'
import { Button } from './ui/button'
import { Audit } from './views/audit'
import { Device } from './views/device'
import { Devices } from './views/devices'
import { Ledger } from './views/ledger'
import { Logs } from './views/logs'
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

function App(): JSX.Element | null {
  const [session, setSession] = useState<Session | undefined>()
  const [state, setState] = useState<'asking' | 'known' | 'failed'>('asking')
  const [note, setNote] = useState('')
  const ask = async (): Promise<void> => {
    setState('asking')
    try {
      setSession(await current())
      setState('known')
    } catch (e) {
      setNote(sentence(e))
      setState('failed')
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
    return <main class="signin"><div class="instead"><p class="wrong">{note}</p><Button onClick={() => void ask()}>Try again</Button></div></main>
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
      <Frame routes={routes} title={r.title} onSignedOut={onSignedOut}>
        {allowed ? <r.view key={path} names={names} /> : <p class="instead">This needs a token of role {r.role}.</p>}
      </Frame>
    )
  }
  return <Frame routes={routes} title="Not found" onSignedOut={onSignedOut}><p class="instead">There is no such view.</p></Frame>
}

const root = document.getElementById('app')
if (root) render(<App />, root)
