/** The janitor of given-up multiparts: whenever it is told of one, it goes. */
import { expect, test } from "vitest";
import type { Context } from "../../../src/writeback/context.ts";
import { Beginnings } from "../../../src/writeback/multipart-begin.ts";
import { MultipartJanitor } from "../../../src/writeback/multipart-janitor.ts";

/** More turns of the microtask queue than the janitor's run has from its last look to its end. */
const TURNS = 12;

/** @param flushed called when the janitor has written down what it did */
function janitorOf(flushed: () => void): { janitor: MultipartJanitor; abandoned: Map<string, string> } {
  const abandoned = new Map<string, string>();
  const context: Partial<Record<keyof Context, unknown>> = {
    beginnings: new Beginnings(),
    closing: new AbortController().signal,
    fault: () => undefined,
    journal: {
      state: { abandoned, begins: new Map() },
      add: ({ mp }: { mp: string }) => abandoned.delete(mp),
      flush: async () => flushed(),
    },
    store: { abortMultipart: async () => undefined },
  };
  return { janitor: new MultipartJanitor(context as unknown as Context), abandoned };
}

test.each(Array.from({ length: TURNS }, (_, turns) => turns + 1))(
  "an upload that is given up %i turns after the last look's end is aborted as well",
  async (turns) => {
    let late: Promise<void> | undefined;
    const { janitor, abandoned } = janitorOf(() => {
      late ??= giveUpLate();
    });
    async function giveUpLate(): Promise<void> {
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      abandoned.set("late", "key");
      janitor.kick();
    }
    // Everything here goes on in microtasks.
    await new Promise((turn) => setImmediate(turn));
    await late;
    expect([...abandoned.keys()]).toEqual([]);
  },
);
