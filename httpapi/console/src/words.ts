// Numbers with what they count.

/** "1 device", "2,000 devices". */
export function count(n: number, what: string): string {
  return `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`
}
