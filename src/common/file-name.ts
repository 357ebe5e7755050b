/** What can be the name of a file: one component of a path. */
import { utf8Length } from "./utf8.ts";

/** Longest name the kernel accepts, in bytes. */
export const NAME_MAX = 255;

/** Why a text is no name. */
export type NameProblem = "empty_component" | "dot_component" | "name_too_long" | "invalid_utf8" | "nul_byte";

// Control characters are the point here: a NUL ends a C string.
// oxlint-disable-next-line no-control-regex
const SUSPECT = /[\0\ufffd\ud800-\udfff]/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Why `name` cannot be a file name, or undefined when it can. */
export function nameProblem(name: string): NameProblem | undefined {
  if (name === "") return "empty_component";
  if (name === "." || name === "..") return "dot_component";
  if (SUSPECT.test(name)) {
    if (name.includes("\0")) return "nul_byte";
    if (name.includes("\ufffd") || LONE_SURROGATE.test(name)) return "invalid_utf8";
  }
  // Three bytes a code unit at most, so most names need no count.
  if (name.length * 3 > NAME_MAX && utf8Length(name) > NAME_MAX) return "name_too_long";
  return undefined;
}

/** True for text that a path or key can hold: valid Unicode without NUL. */
export function isPathText(text: string): boolean {
  return !SUSPECT.test(text) || !(text.includes("\0") || LONE_SURROGATE.test(text));
}
