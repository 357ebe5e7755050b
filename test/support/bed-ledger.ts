/** What a bed of hosts has made on this machine, on disk before it is made, so that a killed test leaves nothing for good. */
import { appendFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { identify, isAlive } from "../../src/daemon/process-table.ts";
import type { ProcessIdentity } from "../../src/daemon/process-table.ts";
import { tryRun } from "./run.ts";

const LEDGERS = join(tmpdir(), "hawser-bed-ledgers");

/** One thing: a process, a network namespace, a network device. */
export type LedgerEntry = { pid: number } | { namespace: string } | { link: string };

type Written = LedgerEntry | { owner: ProcessIdentity; folder: string } | { process: ProcessIdentity };

export class Ledger {
  private readonly path: string;

  constructor(folder: string) {
    mkdirSync(LEDGERS, { recursive: true });
    this.path = join(LEDGERS, basename(folder));
    writeFileSync(this.path, `${JSON.stringify({ owner: identify(process.pid), folder })}\n`);
  }

  add(entry: LedgerEntry): void {
    const written = "pid" in entry ? { process: identify(entry.pid) } : entry;
    appendFileSync(this.path, `${JSON.stringify(written)}\n`);
  }

  /** Removes everything that was written down. */
  clear(): Promise<void> {
    return clearLedger(this.path);
  }

  /** Removes what belongs to processes that are gone. */
  static async clearStale(): Promise<void> {
    mkdirSync(LEDGERS, { recursive: true });
    for (const name of readdirSync(LEDGERS)) {
      const path = join(LEDGERS, name);
      const [first] = read(path);
      if (!first || !("owner" in first) || isAlive(first.owner)) continue;
      await clearLedger(path);
      endLaunchersIn(first.folder);
      rmSync(first.folder, { recursive: true, force: true });
    }
  }
}

/** Ends the programs that a test had started with its files in a folder, as launchers keep their records there. */
function endLaunchersIn(folder: string): void {
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      const environment = readFileSync(`/proc/${name}/environ`, "utf8");
      if (environment.includes(`=${folder}/`)) process.kill(Number(name), "SIGKILL");
    } catch {
      // Ended meanwhile.
    }
  }
}

function read(path: string): Written[] {
  try {
    return readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Written);
  } catch {
    return [];
  }
}

async function clearLedger(path: string): Promise<void> {
  for (const entry of read(path).reverse()) {
    if ("process" in entry && isAlive(entry.process)) process.kill(entry.process.pid, "SIGKILL");
    else if ("namespace" in entry) await tryRun("ip", ["netns", "del", entry.namespace]);
    else if ("link" in entry) await tryRun("ip", ["link", "del", entry.link]);
  }
  rmSync(path, { force: true });
}
