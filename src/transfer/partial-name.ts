/**
 * The names of files that are still arriving.
 *
 * A download is written beside its target and renamed when it is complete: the name is the target's, hidden and with an
 * ending of ours, so that a rerun finds what an earlier run left and nobody takes it for content.
 */
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { NAME_MAX } from "../common/file-name.ts";

const ENDING = ".hawser-part";
const STATE = ".state";
const PARTIAL = /^\..*\.hawser-part(\.state|\.\d+-\d+)?$/;

/** Where the content of `target` is collected. */
export function partialPath(target: string): string {
  const name = basename(target);
  const longest = NAME_MAX - 1 - ENDING.length - STATE.length;
  const label = Buffer.byteLength(name) <= longest ? name : createHash("sha256").update(name).digest("hex");
  return join(dirname(target), `.${label}${ENDING}`);
}

/** What is known of a partial file. */
export function partialStatePath(partial: string): string {
  return partial + STATE;
}

/** True for names that `partialPath` and `partialStatePath` give. */
export function isPartial(name: string): boolean {
  return PARTIAL.test(name);
}
