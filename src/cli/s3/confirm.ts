/** Questions before something that cannot be taken back. */
import { HawserError } from "../../common/errors.ts";
import { ask } from "../confirm.ts";
import type { Terminal } from "../terminal.ts";

/**
 * Asks, and resolves when the answer is yes.
 *
 * @throws HawserError `interrupted` for any other answer; `invalid_argument` where nobody is there to answer
 */
export async function confirm(terminal: Terminal, question: string): Promise<void> {
  if (!terminal.interactive) {
    throw new HawserError("invalid_argument", `${question} Nobody is there to answer: write --yes if so.`);
  }
  if (await ask(question)) return;
  throw new HawserError("interrupted", "Nothing was done.");
}
