/**
 * Key split: guesses where in a listing a number of keys further on is.
 *
 * A LIST tells the next thousand keys and nothing about what lies behind them, so a listing is sequential unless
 * somebody guesses keys to start at. The guess reads names as numbers: behind what all names of a page have in common,
 * each place has an alphabet (digits, hexadecimal digits, letters, …), and the numbers of a page's first and last name
 * tell how densely names lie. That is exact for counters, good for hashes and dates, and harmless for everything else:
 * a bad guess makes ranges of unequal size and never a wrong listing.
 */
import { compareKeys } from "../store/key-order.ts";

/** Names of one page, in order, without what they have in common with the folder. */
export type Names = readonly string[];

const DIGIT = 1;
const HEX = 2;
const LOWER = 4;
const UPPER = 8;
const ALPHABETS: readonly (readonly [number, string])[] = [
  [DIGIT, "0123456789"],
  [UPPER, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"],
  [HEX, "abcdef"],
  [LOWER, "ghijklmnopqrstuvwxyz"],
];
/** Numbers stay exact in a double, with room to add. */
const MOST_STATES = 2 ** 48;
/** Names looked at in a page. */
const SAMPLE = 64;

/** Room for one character of a name: what may stand there, in byte order. `""` is a name's end. */
interface Place {
  characters: readonly string[];
}

/**
 * A name about `ahead` names behind `from`, judged by a page of names before it.
 *
 * @returns undefined where there is nothing to judge by, or nothing further on of the same form
 */
export function nameAhead(page: Names, from: string, ahead: number): string | undefined {
  const first = page[0];
  const last = page.at(-1);
  if (first === undefined || last === undefined || page.length < 2) return undefined;
  const sample = sampleOf(page);
  for (let start = numberStart(first, last); start !== undefined; start = numberBefore(first, start)) {
    if (!from.startsWith(first.slice(0, start))) continue;
    const places = placesOf(sample, start);
    const states = places.reduce((product, { characters }) => product * characters.length, 1);
    const distance = valueOf(last, start, places) - valueOf(first, start, places);
    if (distance <= 0) return undefined;
    const step = Math.max(1, Math.round((distance / (page.length - 1)) * ahead));
    const target = valueOf(from, start, places) + step;
    // Where this number would overflow, the one before it counts on: the next folder.
    if (target >= states) continue;
    const name = first.slice(0, start) + textOf(target, places);
    return compareKeys(name, from) > 0 ? name : undefined;
  }
  return undefined;
}

/** Where the part that counts begins: what two names have in common, less the digits it ends in. */
function numberStart(first: string, last: string): number | undefined {
  let at = 0;
  while (at < first.length && first[at] === last[at]) at++;
  return digitsBefore(first, at);
}

/** Where the number before the one at `start` begins. */
function numberBefore(name: string, start: number): number | undefined {
  let at = start;
  while (at > 0 && classOf(name[at - 1]!) !== DIGIT) at--;
  return at === 0 ? undefined : digitsBefore(name, at);
}

function digitsBefore(name: string, end: number): number {
  let at = end;
  while (at > 0 && (classOf(name[at - 1]!) & (DIGIT | HEX)) !== 0) at--;
  return at;
}

function classOf(character: string): number {
  for (const [bit, characters] of ALPHABETS) if (characters.includes(character)) return bit;
  return 0;
}

function sampleOf(page: Names): Names {
  const step = Math.max(1, Math.floor(page.length / SAMPLE));
  return page.filter((_, at) => at % step === 0 || at === page.length - 1);
}

function placesOf(names: Names, start: number): Place[] {
  const seen: { classes: number; others: Set<string>; ends: boolean }[] = [];
  const longest = Math.max(...names.map(({ length }) => length));
  let mixed = 0;
  for (let at = start; at < longest; at++) {
    const place = { classes: 0, others: new Set<string>(), ends: false };
    for (const name of names) {
      const character = name[at];
      if (character === undefined) place.ends = true;
      else if (classOf(character) > 0) place.classes |= classOf(character);
      else place.others.add(character);
    }
    // Where one place has digits and letters, others that happened to have digits alone may have both.
    if ((place.classes & (place.classes - 1)) !== 0) mixed |= place.classes;
    seen.push(place);
  }
  const places: Place[] = [];
  let states = 1;
  for (const { classes, others, ends } of seen) {
    const wider = (classes & mixed) !== 0 ? classes | mixed : classes;
    const characters = [...others];
    for (const [bit, alphabet] of ALPHABETS) if ((wider & bit) !== 0) characters.push(...alphabet.split(""));
    // Beyond ASCII there is no telling what lies between two characters.
    if (characters.some((character) => character > "~" || character < " ")) break;
    characters.sort();
    if (ends) characters.unshift("");
    states *= characters.length;
    if (states > MOST_STATES) break;
    places.push({ characters });
  }
  return places;
}

function valueOf(name: string, start: number, places: readonly Place[]): number {
  let value = 0;
  let beyond = false;
  for (const [at, { characters }] of places.entries()) {
    const character = name[start + at] ?? "";
    // The last of its place that is not behind it; a name that ended has the least of all that follow.
    let rank = beyond ? 0 : characters.length - 1;
    while (rank > 0 && characters[rank]! > character) rank--;
    if (character === "") beyond = true;
    value = value * characters.length + rank;
  }
  return value;
}

function textOf(value: number, places: readonly Place[]): string {
  const characters: string[] = [];
  let rest = value;
  for (const place of places.toReversed()) {
    const radix = place.characters.length;
    const rank = rest % radix;
    rest = Math.floor(rest / radix);
    // What comes last and least says nothing: without it the name sorts before all that begin with the rest.
    if (characters.length > 0 || rank > 0) characters.push(place.characters[rank]!);
  }
  return characters.reverse().join("");
}
