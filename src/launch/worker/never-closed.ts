/** Files that were open when their machine went down: no bucket gets them by itself. */
import { dirname, join } from "node:path";
import { HawserError } from "../../common/errors.ts";
import { listRecovered } from "../../writeback/recovered.ts";

/** Named one by one up to here. */
const NAMED = 5;

/**
 * @param stagingPlace the volume's part of the staging folder
 * @throws HawserError `drain_failed` with the files and what to do about them
 */
export async function neverClosed(stagingPlace: string): Promise<void> {
  const folder = join(stagingPlace, "recovered");
  const open = (await listRecovered(folder)).filter(
    ({ reason }) => reason === "never_closed" || reason === "power_loss",
  );
  if (open.length === 0) return;
  const named = open.slice(0, NAMED).map(({ key, name }) => `${key} as ${name}`);
  if (open.length > NAMED) named.push(`${open.length - NAMED} more`);
  throw new HawserError(
    "drain_failed",
    `${open.length} file${open.length === 1 ? " was" : "s were"} open when the machine or the mount went down (${named.join(", ")}); log in, restore or drop what 'sudo hawser recovered ls --staging-dir ${dirname(stagingPlace)}' shows, and end the pool again`,
  );
}
