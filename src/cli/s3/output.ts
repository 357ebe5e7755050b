/** Long output: what whoever reads it has not taken yet must not pile up in memory. */
import { once } from "node:events";

/** Resolves when standard output takes more. */
export async function outputTaken(): Promise<void> {
  if (process.stdout.writableNeedDrain) await once(process.stdout, "drain");
}
