// What is shown at an address that is no view: what was meant perhaps, and all that there is.
import type { JSX } from 'preact'
import { Link, type Route } from '../router'
import { part } from '../api'

/** More letters than this that differ are another word, not a slip. */
const mostSlips = 2

export function Nowhere({ path, routes }: { path: string; routes: readonly Route[] }): JSX.Element {
  const [first = '', second] = path.split('/').filter((p) => p !== '')
  const near = routes.find((r) => r.path !== '/' && slips('/' + first.toLowerCase(), r.path) <= mostSlips)
  const product = near?.path === '/devices' && second !== undefined ? decoded(second) : undefined
  return (
    <div class="instead nowhere">
      <h1>There is no view at <code>{path}</code></h1>
      {product !== undefined && <p>A device is at /devices/PRODUCT/DEVICE. <Link to={`/devices?product=${part(product)}`}>Devices of product {product}</Link></p>}
      {near && product === undefined && <p>Did you mean <Link to={near.path + location.search}>{near.title}</Link>?</p>}
      <p>The views are {routes.map((r, i) => <>{i > 0 && ', '}<Link to={r.path}>{r.title}</Link></>)}.</p>
    </div>
  )
}

/** A part of a path without its escapes; as it is if they are wrong. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** How many letters have to be changed, added or taken away to make one word of another. */
function slips(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length] ?? 0
}
