import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ApiError, sentence } from './api'
import { signIn, type Session } from './session'
import { Button } from './ui/button'
import { Field } from './ui/field'

/** The page of whoever is not signed in. The address stays, so that a shared link goes on afterwards. */
export function SignIn({ onSession, note }: { onSession: (s: Session) => void; note: string }): JSX.Element {
  const [token, setToken] = useState('')
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault()
    setBusy(true)
    setError('')
    try {
      onSession(await signIn(token.trim()))
    } catch (err) {
      setError(err instanceof ApiError && err.status === 401 ? 'This token is not valid, or has expired.' : sentence(err))
      setBusy(false)
    }
  }
  return (
    <main class="signin">
      <form onSubmit={(e) => void submit(e)} aria-labelledby="signin-title">
        <h1 id="signin-title"><Mark /> logbridge</h1>
        <p class="quiet">{note || 'Sign in with a token of role viewer, operator or admin.'}</p>
        <Field
          label="Token"
          type="password"
          name="token"
          autocomplete="current-password"
          spellcheck={false}
          autoFocus
          required
          value={token}
          error={error || undefined}
          hint={<>The administrator's is in the file that <code>--admin-token-file</code> names; <code>logbridge token</code> makes others.</>}
          onInput={(e) => setToken(e.currentTarget.value)}
        />
        <Button type="submit" kind="primary" busy={busy} disabled={token.trim() === ''}>Sign in</Button>
        <p class="unseen" role="alert">{error}</p>
      </form>
    </main>
  )
}

/** The sign of the program. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 22c5-13 21-13 26 0M3 22v6M29 22v6M11 14v14M21 14v14" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" />
    </svg>
  )
}
