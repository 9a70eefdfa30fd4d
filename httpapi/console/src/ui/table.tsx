import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { sentence } from '../api'
import { useLoad } from '../load'
import { useParams } from '../router'
import { Button } from './button'

export interface Column<T> {
  title: string
  cell: (row: T) => ComponentChildren
  /** num aligns right in figures of one width; narrow takes no more room than it needs. */
  kind?: 'num' | 'narrow' | 'wide'
  /** Left out on a phone; "desk" is left out on a tablet, too. */
  spare?: boolean | 'desk'
  /** The name by which rows can be sorted by it. */
  sort?: string
}

/** By which column rows are sorted. */
export interface Sorting {
  by: string
  down: boolean
}

interface TableProps<T> {
  /** What the table is of, for screen readers. */
  caption: string
  columns: readonly Column<T>[]
  rows: readonly T[] | undefined
  rowKey: (row: T) => string
  /** What is said instead of rows when there are none. */
  empty: ComponentChildren
  error?: string
  loading?: boolean
  rowClass?: (row: T) => string | undefined
  /** How rows are sorted now, and what to do when another column is asked for. */
  sorting?: Sorting
  onSort?: (to: Sorting) => void
}

/** Rows and columns. The first column of each row is its heading. */
export function Table<T>({ caption, columns, rows, rowKey, empty, error, loading, rowClass, sorting, onSort }: TableProps<T>): JSX.Element {
  const name = (c: Column<T>): string => [c.kind, c.spare && 'spare', c.spare === 'desk' && 'desk'].filter(Boolean).join(' ')
  return (
    <div class="table-box" aria-busy={Boolean(loading)} tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map((c) => c.sort && onSort
              ? <SortHead key={c.title} title={c.title} name={name(c)} by={c.sort} sorting={sorting} onSort={onSort} />
              : <th key={c.title} scope="col" class={name(c)}>{c.title}</th>)}
          </tr>
        </thead>
        <tbody>
          {rows?.map((row) => (
            <tr key={rowKey(row)} class={rowClass?.(row)}>
              {columns.map((c, i) => i === 0
                ? <th key={c.title} scope="row" class={name(c)}>{c.cell(row)}</th>
                : <td key={c.title} class={name(c)}>{c.cell(row)}</td>)}
            </tr>
          ))}
          {(error || !rows || rows.length === 0) && (
            <tr>
              <td class="instead" colSpan={columns.length}>
                {error ? <span class="wrong">{error}</span> : rows ? empty : 'loading …'}
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  )
}

interface SortHeadProps {
  title: string
  name: string
  by: string
  sorting: Sorting | undefined
  onSort: (to: Sorting) => void
}

/** A heading that sorts; pressed again, the other way round. The arrow keeps its room, so that nothing moves. */
function SortHead({ title, name, by, sorting, onSort }: SortHeadProps): JSX.Element {
  const on = sorting?.by === by
  return (
    <th scope="col" class={name} aria-sort={on ? (sorting.down ? 'descending' : 'ascending') : 'none'}>
      <button type="button" class="sort" onClick={() => onSort({ by, down: on ? !sorting.down : true })}>
        {title}<span aria-hidden="true">{on ? (sorting.down ? '▾' : '▴') : ''}</span>
      </button>
    </th>
  )
}

/** A page of a list that the server cuts: its rows, and the cursor of the next page if there is one. */
export interface Page<T> {
  rows: T[]
  next?: string | undefined
}

interface PagedProps<T> extends Omit<TableProps<T>, 'rows' | 'error' | 'loading'> {
  /** Fetches the page that begins at a cursor, the first for "". */
  load: (cursor: string, signal: AbortSignal) => Promise<Page<T>>
  /** All that the list depends on but the cursor; when it changes, the list begins anew. */
  depends: string
  /** Milliseconds after which the page is fetched again; 0 is never. */
  every?: number
  /** Changes when the page should be fetched again now. */
  turn?: number
  /** Told what each answer was. */
  onPage?: (page: Page<T>) => void
}

/**
 * A Table of a list that the server pages. The cursor is in the query string, so that a page can be shared; the way back
 * is remembered as long as the view is there, and leads to the first page else.
 */
export function PagedTable<T>({ load, depends, every = 0, turn = 0, onPage, ...table }: PagedProps<T>): JSX.Element {
  const [params, change] = useParams()
  const cursor = params.get('cursor') ?? ''
  const [back, setBack] = useState<string[]>([])
  const before = useRef(depends)
  useEffect(() => {
    if (before.current === depends) return
    before.current = depends
    setBack([])
    change({ cursor: undefined })
  }, [depends, change])
  const { data, error, loading, again } = useLoad((signal) => load(cursor, signal), depends + '\n' + cursor + '\n' + String(turn), every)
  useEffect(() => {
    if (data) onPage?.(data)
  }, [data])
  const next = (): void => {
    setBack([...back, cursor])
    change({ cursor: data?.next }, false)
  }
  const previous = (): void => {
    change({ cursor: back.at(-1) }, false)
    setBack(back.slice(0, -1))
  }
  return (
    <>
      <Table {...table} rows={data?.rows} error={error && sentence(error)} loading={loading} />
      {(cursor !== '' || data?.next) && (
        <nav class="pager" aria-label={`pages of ${table.caption}`}>
          <Button onClick={previous} disabled={cursor === ''}>← {back.length > 0 || cursor === '' ? 'Previous' : 'First'}</Button>
          <Button onClick={next} disabled={!data?.next}>Next →</Button>
          {error && <Button onClick={again}>Try again</Button>}
        </nav>
      )}
    </>
  )
}
