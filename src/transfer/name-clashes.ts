/**
 * Keys that differ and become one file.
 *
 * Where a file system ignores case, `A.txt` and `a.txt` are one file, and the second download would silently replace the
 * first. A file that is there already and stays takes its name as well. Whether a folder ignores case is found out once;
 * only then are names remembered.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HawserError } from "../common/errors.ts";

export class NameClashes {
  readonly #folder: string;
  #ignoresCase: boolean | undefined;
  /** Paths in lower case, and the keys that took them. */
  readonly #taken = new Map<string, string>();

  /** @param ignoresCase what is known of the folder; found out when absent */
  constructor(folder: string, ignoresCase?: boolean) {
    this.#folder = folder;
    this.#ignoresCase = ignoresCase;
  }

  get ignoresCase(): boolean {
    return (this.#ignoresCase ??= ignoresCase(this.#folder));
  }

  /** @throws HawserError `exists` when another key has become this file */
  check(target: string, key: string): void {
    if (!this.ignoresCase) return;
    const folded = target.toLowerCase();
    const other = this.#taken.get(folded);
    if (other !== undefined && other !== key) {
      throw new HawserError(
        "exists",
        `The keys '${other}' and '${key}' differ in case only, and ${this.#folder} keeps no such files apart.`,
        { key },
      );
    }
    this.#taken.set(folded, key);
  }

  /** True when a key has become this file, perhaps by a name that differs in case. */
  isTaken(target: string): boolean {
    return this.#taken.has(target.toLowerCase());
  }
}

/** Asks the file system of a folder, or of the nearest one above it that is there. */
function ignoresCase(folder: string): boolean {
  let place = folder;
  while (!statSync(place, { throwIfNoEntry: false })?.isDirectory()) {
    const above = dirname(join(place));
    if (above === place) return false;
    place = above;
  }
  try {
    const probe = mkdtempSync(join(place, ".hawser-CASE-"));
    try {
      const other = join(place, basename(probe).toLowerCase());
      return other !== probe && statSync(other, { throwIfNoEntry: false }) !== undefined;
    } finally {
      rmSync(probe, { recursive: true, force: true });
    }
  } catch {
    return false;
  }
}
