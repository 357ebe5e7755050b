/** A line of a file of commands, taken apart as a shell does it: quotes and backslashes, and nothing else. */
import { HawserError } from "../../common/errors.ts";

/** @throws HawserError `invalid_argument` for a quote that is not closed */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!;
    if (quote !== undefined) {
      if (character === quote) quote = undefined;
      else if (character === "\\" && quote === '"' && /["\\$`]/.test(line[at + 1] ?? "")) word += line[++at]!;
      else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= "";
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === "#" && word === undefined) {
      return words;
    } else if (character === "\\" && at + 1 < line.length) {
      word = (word ?? "") + line[++at]!;
    } else word = (word ?? "") + character;
  }
  if (quote !== undefined)
    throw new HawserError("invalid_argument", `A ${quote} is opened and not closed: ${line.trim()}`);
  if (word !== undefined) words.push(word);
  return words;
}
