/**
 * Conflicts: files that were not published because somebody else had changed their object.
 *
 * That is found out behind the program that wrote them, so it has to be told to whoever relies on the bucket later. A
 * barrier for the volume (`hawser flush`, unmount) tells of all that wait in `recovered/`, each time. An fsync tells of
 * one once: the program that hears of it can do nothing more, and its next fsync is about something else.
 */
import { HawserError } from "../common/errors.ts";
import { listRecovered } from "./recovered.ts";
import type { RecoveredFolder } from "./recovered.ts";

interface Lost {
  readonly key: string;
  /** In `recovered/`. */
  readonly name: string;
}

export class Conflicts {
  readonly #recovered: RecoveredFolder;
  /** Lost since the start, and told to nobody. */
  #untold: Lost[] = [];

  constructor(recovered: RecoveredFolder) {
    this.#recovered = recovered;
  }

  /** Nobody waited for the file. */
  lost(key: string, name: string): void {
    this.#untold.push({ key, name });
  }

  /** @throws HawserError `object_changed` */
  async tellStanding(prefix: string): Promise<void> {
    if (this.#recovered.count === 0) return;
    const files = await listRecovered(this.#recovered.path);
    tell(files.filter(({ key, reason }) => reason === "conflict" && key.startsWith(prefix)));
  }

  /** @throws HawserError `object_changed` */
  tellOnce(isMeant: (key: string) => boolean): void {
    const told = this.#untold.filter(({ key }) => isMeant(key));
    if (told.length === 0) return;
    this.#untold = this.#untold.filter((lost) => !told.includes(lost));
    tell(told);
  }
}

/** Named one by one up to here. */
const NAMED = 5;

function tell(lost: readonly Lost[]): void {
  if (lost.length === 0) return;
  const named = lost.slice(0, NAMED).map(({ key, name }) => `${key} is in recovered/${name}`);
  if (lost.length > NAMED) named.push(`and ${lost.length - NAMED} more`);
  throw new HawserError(
    "object_changed",
    `Not published, because somebody else had changed the object: ${named.join("; ")}. See 'hawser recovered'.`,
  );
}
