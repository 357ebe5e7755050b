/**
 * Where this package lies: the folder with package.json, bin, data and native.
 *
 * The only module that knows how deep it is: two folders below the root as src/common/…, as dist/common/…, and bundled
 * in dist/program/….
 */
import { fileURLToPath } from "node:url";

/** A file or folder of this package, by its path from the root. */
export function packagePath(relative: string): string {
  return fileURLToPath(new URL(`../../${relative}`, import.meta.url));
}
