import type { JSX } from 'preact'

/** The levels, most severe first, as the API names them. */
export const levels = ['error', 'warn', 'info', 'debug'] as const

/** A level as a badge: its name always, colour as well. */
export function Level({ level }: { level: string }): JSX.Element {
  return <span class={`level ${levels.includes(level as (typeof levels)[number]) ? level : 'off'}`}>{level}</span>
}

/** Choices for a Select of levels; the first is empty. */
export const levelOptions = (none: string): [string, string][] => [['', none], ...levels.map((l): [string, string] => [l, l])]
