/** Who is in the pool, as MPI, DeepSpeed and Accelerate want to read it: files in the work folder, of the job's user. */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { WorkerSpec } from "./spec.ts";

export function writeTopology(
  work: string,
  { peers, rank, user }: Pick<WorkerSpec, "peers" | "rank" | "user">,
): void {
  const gpus = peers[rank]?.gpus ?? 0;
  const folder = join(work, ".hawser");
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const hostfile = peers.map(({ address, gpus }) => `${address} slots=${Math.max(1, gpus)}\n`).join("");
  const accelerate = [
    "compute_environment: LOCAL_MACHINE",
    `distributed_type: ${gpus > 0 ? "MULTI_GPU" : "MULTI_CPU"}`,
    `machine_rank: ${rank}`,
    `main_process_ip: ${peers[0]!.address}`,
    "main_process_port: 29500",
    `num_machines: ${peers.length}`,
    `num_processes: ${peers.reduce((sum, { gpus }) => sum + Math.max(1, gpus), 0)}`,
    "rdzv_backend: static",
    "",
  ].join("\n");
  for (const [name, text] of Object.entries({ hostfile, "accelerate.yaml": accelerate })) {
    writeFileSync(join(folder, name), text, { mode: 0o644 });
    chownSync(join(folder, name), user.uid, user.gid);
  }
  chownSync(folder, user.uid, user.gid);
}
