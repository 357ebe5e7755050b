/** Work of the worker that must be done as the job's user, in processes that have become that user. */
import { execFile } from "node:child_process";
import { chownSync, existsSync, mkdirSync } from "node:fs";
import { promisify } from "node:util";
import { HawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import { reasonIn, saysNoRoom } from "../no-room.ts";
import { asUser } from "./job.ts";
import { PROGRAM } from "./program.ts";
import type { Proof } from "./protocol.ts";
import type { ProofWanted } from "./prove.ts";
import type { WorkerSpec, WorkerUser } from "./spec.ts";

const run = promisify(execFile);

const PROVE_MS: Milliseconds = 120_000;

/** What the user can do with each volume. @throws HawserError `mount_failed` when that cannot be found out */
export async function proveAsUser({ volumes, user }: Pick<WorkerSpec, "volumes" | "user">): Promise<Proof[]> {
  const wanted: ProofWanted[] = volumes.map(({ config: { name, mount, mode } }) => ({
    volume: name,
    mount,
    writable: mode === "writable",
  }));
  const [file, args] = asUser(user, [process.execPath, PROGRAM, "worker", "prove"]);
  const proving = run(file, args, { timeout: PROVE_MS, killSignal: "SIGKILL" });
  proving.child.stdin!.end(JSON.stringify(wanted));
  const { stdout } = await proving.catch((error: unknown) => {
    throw new HawserError("mount_failed", `The mounts could not be proven: ${(error as Error).message}`, {
      cause: error,
    });
  });
  return JSON.parse(stdout) as Proof[];
}

/** Into a folder that is made where it is not there. @throws HawserError `no_space`, `node_failed` */
export async function unpackAsUser(user: WorkerUser, root: string, archive: string): Promise<void> {
  if (!existsSync(root)) {
    mkdirSync(root, { recursive: true });
    chownSync(root, user.uid, user.gid);
  }
  const [file, args] = asUser(user, ["tar", "-xzf", archive, "-C", root, "--no-same-owner"]);
  try {
    await run(file, args);
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    throw new HawserError(
      saysNoRoom(stderr) ? "no_space" : "node_failed",
      `The files could not be unpacked into ${root}: ${reasonIn(stderr)}`,
      { cause: error },
    );
  }
}
