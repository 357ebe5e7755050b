/**
 * What a review counts, object by object: classes, ages, folders, duplicates.
 *
 * Of a million objects only sums stay, and for each size and ETag how often it came.
 */
import type { Bytes, EpochMs } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";

const DAY_MS = 86_400_000;

export interface Sum {
  objects: number;
  bytes: Bytes;
}

/** Ages, each below so many days. */
export const AGES: readonly { label: string; days: number }[] = [
  { label: "up to a day", days: 1 },
  { label: "up to a week", days: 7 },
  { label: "up to 30 days", days: 30 },
  { label: "up to 90 days", days: 90 },
  { label: "up to a year", days: 365 },
  { label: "older", days: Infinity },
];

export interface Duplicate {
  bytes: Bytes;
  copies: number;
  /** The first three. */
  keys: string[];
}

export interface Tally extends Sum {
  classes: Map<string, Sum>;
  /** As AGES. */
  ages: Sum[];
  /** Folders just below the top, largest first. */
  folders: ({ folder: string } & Sum)[];
  /** What takes most room by being there more than once, first. */
  duplicates: Duplicate[];
  /** Bytes of all copies but one of each. */
  duplicateBytes: Bytes;
  /** In STANDARD, and not changed for 90 days. */
  coldStandardBytes: Bytes;
  /** Smaller than 128 KiB: classes for rare access charge for that much. */
  smallObjects: number;
}

const SMALL: Bytes = 128 * 1024;
/** Small ones are not worth a line, and there are many of them. */
const DUPLICATES_FROM: Bytes = 64 * 1024;
const COLD_DAYS = 90;
const SHOWN = 20;

export class TallyCollector {
  readonly #top: string;
  readonly #now: EpochMs;
  readonly #total = sum();
  readonly #classes = new Map<string, Sum>();
  readonly #ages = AGES.map(sum);
  readonly #folders = new Map<string, Sum>();
  readonly #contents = new Map<string, Duplicate>();
  #coldStandardBytes = 0;
  #smallObjects = 0;

  /** @param top key that ends in a slash, or empty */
  constructor(top: string, now: EpochMs) {
    this.#top = top;
    this.#now = now;
  }

  add({ key, sizeBytes, mtimeMs, etag, storageClass = "STANDARD" }: ListedObject): void {
    const days = (this.#now - mtimeMs) / DAY_MS;
    count(this.#total, sizeBytes);
    count(entry(this.#classes, storageClass, sum), sizeBytes);
    count(this.#ages[AGES.findIndex((age) => days < age.days)] ?? this.#ages.at(-1)!, sizeBytes);
    const slash = key.indexOf("/", this.#top.length);
    const folder = slash < 0 ? "." : key.slice(this.#top.length, slash + 1);
    count(entry(this.#folders, folder, sum), sizeBytes);
    if (storageClass === "STANDARD" && days > COLD_DAYS) this.#coldStandardBytes += sizeBytes;
    if (sizeBytes < SMALL) this.#smallObjects++;
    if (sizeBytes < DUPLICATES_FROM) return;
    const same = entry(this.#contents, `${sizeBytes} ${etag}`, () => ({
      bytes: sizeBytes,
      copies: 0,
      keys: [],
    }));
    same.copies++;
    if (same.keys.length < 3) same.keys.push(key);
  }

  tally(): Tally {
    const duplicates = [...this.#contents.values()].filter(({ copies }) => copies > 1);
    const wasted = ({ bytes, copies }: Duplicate): number => bytes * (copies - 1);
    return {
      ...this.#total,
      classes: this.#classes,
      ages: this.#ages,
      folders: [...this.#folders]
        .map(([folder, sums]) => ({ folder, ...sums }))
        .sort((a, b) => b.bytes - a.bytes)
        .slice(0, SHOWN),
      duplicates: duplicates.sort((a, b) => wasted(b) - wasted(a)).slice(0, SHOWN),
      duplicateBytes: duplicates.reduce((total, one) => total + wasted(one), 0),
      coldStandardBytes: this.#coldStandardBytes,
      smallObjects: this.#smallObjects,
    };
  }
}

function sum(): Sum {
  return { objects: 0, bytes: 0 };
}

function count(sums: Sum, bytes: Bytes): void {
  sums.objects++;
  sums.bytes += bytes;
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
