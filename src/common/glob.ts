/**
 * Globs over paths: `*` and `?` within a name, `**` over folders, `[a-z]`, `{a,b}`; a backslash takes the next
 * character as it is.
 */
import { HawserError } from "./errors.ts";

const SPECIAL = /[*?[{\\]/;

export function isGlob(path: string): boolean {
  return SPECIAL.test(path);
}

/** The folder below which everything lies that a glob can match. */
export function globFolder(glob: string): string {
  const names = glob.split("/");
  const first = names.findIndex(isGlob);
  return names.slice(0, first < 0 ? -1 : first).join("/");
}

/** @throws HawserError `invalid_argument` when a bracket or brace is not closed */
export function globMatcher(glob: string): (path: string) => boolean {
  const expression = new RegExp(`^${translate(glob)}$`, "su");
  return (path) => expression.test(path);
}

function translate(glob: string): string {
  let out = "";
  let braces = 0;
  for (let at = 0; at < glob.length; at++) {
    const character = glob[at]!;
    if (character === "*") {
      if (glob[at + 1] !== "*") {
        out += "[^/]*";
        continue;
      }
      at++;
      // Whole folders, none included, where it stands between slashes.
      const whole = (at === 1 || glob[at - 2] === "/") && glob[at + 1] === "/";
      if (whole) at++;
      out += whole ? "(?:[^/]+/)*" : ".*";
    } else if (character === "?") {
      out += "[^/]";
    } else if (character === "[") {
      const end = glob.indexOf("]", at + 2);
      if (end < 0) throw unclosed(glob, "[");
      const negated = glob[at + 1] === "!" || glob[at + 1] === "^";
      const inside = glob.slice(at + (negated ? 2 : 1), end).replaceAll(/[\\[\]^]/g, String.raw`\$&`);
      out += `[${negated ? "^/" : ""}${inside}]`;
      at = end;
    } else if (character === "{") {
      braces++;
      out += "(?:";
    } else if (character === "}" && braces > 0) {
      braces--;
      out += ")";
    } else if (character === "," && braces > 0) {
      out += "|";
    } else {
      if (character === "\\" && at + 1 < glob.length) at++;
      out += escaped(glob[at]!);
    }
  }
  if (braces > 0) throw unclosed(glob, "{");
  return out;
}

function escaped(character: string): string {
  return character.replace(/[$()*+./?[\\\]^{|}]/, String.raw`\$&`);
}

function unclosed(glob: string, bracket: string): HawserError {
  return new HawserError(
    "invalid_argument",
    `'${glob}' opens a '${bracket}' and does not close it; write \\${bracket} for the character itself.`,
  );
}
