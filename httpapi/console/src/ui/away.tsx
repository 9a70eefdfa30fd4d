// What is said while the server does not answer.
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { get, reach } from '../api'
import { clock } from '../time'

/** How often a server that does not answer is asked whether it is back. */
const askEvery = 2000

/** A notice over the page, which moves nothing on it; the views load again what failed as soon as the server is back. */
export function Away(): JSX.Element {
  const [since, setSince] = useState(0)
  useEffect(() => {
    const gone = (): void => setSince((s) => s || Date.now())
    const back = (): void => setSince(0)
    reach.addEventListener('away', gone)
    reach.addEventListener('back', back)
    return () => {
      reach.removeEventListener('away', gone)
      reach.removeEventListener('back', back)
    }
  }, [])
  useEffect(() => {
    if (since === 0) return
    const timer = setInterval(() => void get('/session').catch(() => undefined), askEvery)
    return () => clearInterval(timer)
  }, [since])
  return <div class="away" role="alert">{since > 0 && <p>The server has not answered since {clock(since, since, false)}. What is shown is from before; it is asked again every few seconds.</p>}</div>
}
