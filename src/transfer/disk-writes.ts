/**
 * DiskWrites: the large writes to local files under way, and which of them go around the page cache.
 *
 * Around it (O_DIRECT) a write costs a tenth of the CPU and takes the disk's time; through it the copy is what costs, and
 * the disk's time comes later. So a few go around, as many as keep a disk busy, and one goes through for what the disk
 * does not manage meanwhile; all others wait for the next place that suits them, in the order of asking.
 *
 * What a job writes first goes through, whole files as they come: where memory is free the kernel takes them at the speed of
 * the copy, and begins to write them back only later. It does so at a tenth of the free memory where nobody says
 * otherwise; a part of that is ours.
 *
 * A range of a file never goes through while others go around: in the kernel the one excludes the others, and each waited
 * for a third of a second.
 */
import { freemem } from "node:os";
import type { Bytes } from "../common/units.ts";

const AROUND = 3;
/** Of the free memory: half of what the kernel lets pile up before it writes. */
const FIRST_PART = 1 / 20;
const THROUGH = 1;

type Way = "around" | "through";

interface Waiting {
  ways: readonly Way[];
  resolve: (way: Way) => void;
}

const BOTH: readonly Way[] = ["around", "through"];
const AROUND_ONLY: readonly Way[] = ["around"];

export class DiskWrites {
  readonly #free = { around: AROUND, through: THROUGH };
  readonly #waiting: Waiting[] = [];
  /** Left of what goes through the page cache first. */
  #first: Bytes;

  /** @param firstBytes what the page cache takes at first */
  constructor(firstBytes: Bytes = Math.floor(freeMemory() * FIRST_PART)) {
    this.#first = firstBytes;
  }

  /** Writes a file of its own when there is a place for it. `write` is told whether to go around the page cache. */
  async file<T>(sizeBytes: Bytes, write: (direct: boolean) => Promise<T>): Promise<T> {
    if (this.takeFirst(sizeBytes)) return await write(false);
    return await this.#hold(BOTH, (way) => write(way === "around"));
  }

  /** @returns whether a file is among what goes through the page cache first: then it need not wait for anything here */
  takeFirst(sizeBytes: Bytes): boolean {
    if (sizeBytes > this.#first) return false;
    this.#first -= sizeBytes;
    return true;
  }

  /** Writes a part of a file of which others are written at the same time: around the page cache. */
  async range<T>(write: () => Promise<T>): Promise<T> {
    return await this.#hold(AROUND_ONLY, write);
  }

  async #hold<T>(ways: readonly Way[], write: (way: Way) => Promise<T>): Promise<T> {
    let way = ways.find((each) => this.#free[each] > 0);
    if (way) this.#free[way]--;
    else way = await new Promise<Way>((resolve) => this.#waiting.push({ ways, resolve }));
    try {
      return await write(way);
    } finally {
      this.#give(way);
    }
  }

  #give(way: Way): void {
    const next = this.#waiting.findIndex(({ ways }) => ways.includes(way));
    if (next < 0) this.#free[way]++;
    else this.#waiting.splice(next, 1)[0]!.resolve(way);
  }
}

/** A container may have less than the machine. */
function freeMemory(): Bytes {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, freemem()) : freemem();
}
