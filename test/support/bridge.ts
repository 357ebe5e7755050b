/** Bridges of beds and clouds: each has a number of its own, which is in its name and in the addresses behind it. */
import type { Ledger } from "./bed-ledger.ts";
import { tryRun } from "./run.ts";

/**
 * Makes a bridge with a number that none has. The kernel decides who has which: two test processes may ask at once. So
 * it is in the ledger from when it is this process's, and not before.
 *
 * @param address of its own: a bridge without one takes that of a port, and another one when that port goes
 */
export async function makeBridge(prefix: string, address: string, ledger: Ledger): Promise<number> {
  let why = "";
  for (let i = 0; i < 50; i++) {
    const number = 1 + Math.floor(Math.random() * 250);
    const link = `${prefix}${number}`;
    const made = await tryRun("ip", ["link", "add", link, "address", address, "type", "bridge"]);
    if (made.code === 0) {
      ledger.add({ link });
      return number;
    }
    why = made.stderr;
  }
  throw new Error(`No bridge could be made: ${why}`);
}
