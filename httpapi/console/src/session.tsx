// Who is signed in. The token itself is in a cookie that scripts cannot read.
import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import { ApiError, del, get, post } from './api'

export type Role = 'viewer' | 'operator' | 'admin'

export interface Session {
  name: string
  role: Role
  /** Streams, or their beginnings, that the token is limited to; empty is everything. */
  scope: string[]
  expires?: string
}

/** The session that the cookie stands for; undefined without one. */
export async function current(): Promise<Session | undefined> {
  try {
    return await get<Session>('/session')
  } catch (e) {
    if (e instanceof ApiError && e.status === 401) return undefined
    throw e
  }
}

export const signIn = (token: string): Promise<Session> => post<Session>('/session', { token })

export const signOut = (): Promise<void> => del('/session')

const ranks: Record<Role, number> = { viewer: 1, operator: 2, admin: 3 }

/** Reports whether a role may do what another may. */
export function may(session: Session, role: Role): boolean {
  return (ranks[session.role] ?? 0) >= ranks[role]
}

export const SessionContext = createContext<Session>({ name: '', role: 'viewer', scope: [] })

/** The session of whoever looks at this. */
export function useSession(): Session {
  return useContext(SessionContext)
}
