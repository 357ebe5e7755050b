/**
 * Inputs and outputs on the node: who copies, with whose credentials, and what could not be brought home.
 *
 * The copying is a process of the job's user (copy.ts). Credentials are in memory, in files that root alone reads, where
 * the launcher puts new ones; they are given to that process whenever it asks.
 */
import { spawn } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { HawserError } from "../../common/errors.ts";
import type { HandedCredentials } from "../../daemon/supervisor.ts";
import type { CopyRequest, FromCopy, ToCopy } from "./copy.ts";
import { asUser } from "./job.ts";
import { PROGRAM } from "./program.ts";
import type { TransferResult, Unflushed } from "./protocol.ts";
import { WorkerFolder } from "./spec.ts";
import type { WorkerSpec, WorkerTransfer } from "./spec.ts";

export class WorkerTransfers {
  private readonly folder: WorkerFolder;
  private readonly spec: WorkerSpec;

  constructor(folder: WorkerFolder, spec: WorkerSpec) {
    this.folder = folder;
    this.spec = spec;
  }

  /** Copies all of one direction. A failure is in the results. @throws HawserError `node_failed` when it cannot be done at all */
  async run(direction: WorkerTransfer["direction"], signal: AbortSignal): Promise<TransferResult[]> {
    const transfers = (this.spec.transfers ?? []).filter((transfer) => transfer.direction === direction);
    if (transfers.length === 0) return [];
    const work = WorkerFolder.workFolder(this.spec);
    if (direction === "input") for (const transfer of transfers) this.makeFolderFor(transfer);
    return await this.copy({ work, transfers }, signal);
  }

  /** What of the outputs is not in the bucket, in the words of a drain. */
  async unflushed(onResult: (result: TransferResult) => void, signal: AbortSignal): Promise<Unflushed[]> {
    const results = await this.run("output", signal);
    for (const result of results) if (result.files + result.failed > 0) onResult(result);
    return results.flatMap(({ from, to, failed, error }) =>
      error === undefined
        ? []
        : [{ volume: "outputs", mount: from, reason: `${to}: ${error}`, pendingFiles: failed }],
    );
  }

  /** The job's user may not make folders everywhere, so root makes the one that is named, and gives it away. */
  private makeFolderFor({ from, to }: WorkerTransfer): void {
    const folder = from.endsWith("/") || to.endsWith("/") ? to : dirname(to);
    if (!to.startsWith("/") || existsSync(folder)) return;
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    chownSync(folder, this.spec.user.uid, this.spec.user.gid);
  }

  private async copy(request: CopyRequest, signal: AbortSignal): Promise<TransferResult[]> {
    const { name, home } = this.spec.user;
    const [file, args] = asUser(this.spec.user, [process.execPath, PROGRAM, "worker", "copy"]);
    const child = spawn(file, args, {
      cwd: request.work,
      env: { PATH: process.env["PATH"], HOME: home, USER: name },
      stdio: ["pipe", "pipe", "pipe"],
      signal,
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
    });
    // It may end before it has read everything.
    child.stdin.on("error", () => {});
    child.stdin.write(`${JSON.stringify(request)}\n`);
    let results: TransferResult[] | undefined;
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      const message = JSON.parse(line) as FromCopy;
      if ("results" in message) {
        ({ results } = message);
        child.stdin.end();
        return;
      }
      const answer: ToCopy = {
        name: message.credentials,
        credentials: this.credentials(message.credentials),
      };
      child.stdin.write(`${JSON.stringify(answer)}\n`);
    });
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => resolve());
    });
    if (results) return results;
    throw new HawserError("node_failed", `Inputs or outputs could not be copied: ${said.trim()}`);
  }

  private credentials(name: string): HandedCredentials | undefined {
    try {
      return JSON.parse(
        readFileSync(this.folder.credentialsPath(this.spec, name), "utf8"),
      ) as HandedCredentials;
    } catch {
      return undefined;
    }
  }
}
