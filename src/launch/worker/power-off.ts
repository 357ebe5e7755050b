/**
 * Switching this machine off, which ends an instance. It is what keeps a forgotten pool from costing money, so it is
 * tried in every way there is, for as long as the machine is there.
 */
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Milliseconds } from "../../common/units.ts";
import type { Logger } from "../../observe/logger.ts";

const run = promisify(execFile);

const WAYS = [
  ["shutdown", "-h", "now"],
  ["systemctl", "poweroff"],
  ["systemctl", "poweroff", "--force"],
  ["poweroff", "-f"],
] as const;
/** A machine that is asked to end takes a while for it. */
const AGAIN_MS: Milliseconds = 60_000;

/** Does not come back. */
export async function powerOff(log: Logger): Promise<never> {
  // A login with sudo may have a PATH without the folders of these programs.
  const PATH = `/usr/sbin:/sbin:/usr/bin:/bin:${process.env["PATH"] ?? ""}`;
  for (;;) {
    for (const [file, ...args] of WAYS) {
      try {
        await run(file, args, { env: { ...process.env, PATH } });
        break;
      } catch (error) {
        log.error({ err: error }, "the machine could not be switched off");
      }
    }
    await sleep(AGAIN_MS);
  }
}
