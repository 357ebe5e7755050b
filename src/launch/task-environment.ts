/**
 * The environment of a job: where it is among the others, in the words of those who want to know.
 *
 * One process a node is started. Programs that start more of them (torchrun, accelerate, mpirun, deepspeed) find how
 * many and where in variables or files they read anyway; docs/POOLS.md has a line for each.
 */
import type { TaskConfig } from "../config/task.ts";
import type { WorkerSpec } from "./worker/spec.ts";
import { WorkerFolder } from "./worker/spec.ts";

/** torch's usual port, the same for everything that needs one. */
export const MASTER_PORT = 29_500;

export function taskEnvironment(
  spec: Pick<WorkerSpec, "pool" | "rank" | "peers" | "user" | "facts">,
  { env = {} }: Pick<TaskConfig, "env">,
  { restart = 0 }: { restart?: number } = {},
): Record<string, string> {
  const { pool, rank, peers, facts } = spec;
  const work = WorkerFolder.workFolder(spec);
  const head = peers[0]!.address;
  const perNode = Math.max(1, peers[rank]?.gpus ?? 0);
  const values: Record<string, string | number> = {
    HAWSER_POOL: pool,
    HAWSER_RANK: rank,
    HAWSER_NODES: peers.length,
    HAWSER_NODE_ADDRS: peers.map(({ address }) => address).join(","),
    HAWSER_MASTER_ADDR: head,
    HAWSER_GPUS: peers[rank]?.gpus ?? 0,
    HAWSER_RESTART: restart,
    HAWSER_WORKDIR: work,
    HAWSER_HOSTFILE: `${work}/.hawser/hostfile`,
    HAWSER_ACCELERATE_CONFIG: `${work}/.hawser/accelerate.yaml`,
    // torch.distributed's env:// with one process a node; torchrun sets its own for the processes it starts.
    MASTER_ADDR: head,
    MASTER_PORT,
    RANK: rank,
    WORLD_SIZE: peers.length,
    NODE_RANK: rank,
    LOCAL_RANK: 0,
    LOCAL_WORLD_SIZE: 1,
    // What torchrun takes as --nnodes, --node-rank, --nproc-per-node and so on.
    PET_NNODES: peers.length,
    PET_NODE_RANK: rank,
    PET_NPROC_PER_NODE: perNode,
    PET_MASTER_ADDR: head,
    PET_MASTER_PORT: MASTER_PORT,
    // Open MPI 4 and 5, MPICH and Intel MPI.
    OMPI_MCA_orte_default_hostfile: `${work}/.hawser/hostfile`,
    PRTE_MCA_prte_default_hostfile: `${work}/.hawser/hostfile`,
    HYDRA_HOST_FILE: `${work}/.hawser/hostfile`,
    ...(typeof facts["instanceType"] === "string" ? { HAWSER_INSTANCE_TYPE: facts["instanceType"] } : {}),
  };
  return {
    ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)])),
    ...env,
  };
}

/**
 * The job's command line as a program and its arguments: text is for sh.
 *
 * With an image it runs in Docker: the node's network and GPUs, the work folder, and every volume at its own path.
 * `rslave` lets a volume that is mounted again later appear in a container that runs.
 */
export function jobCommand(
  command: string | readonly string[],
  { image, spec, env }: { image: string | undefined; spec: WorkerSpec; env: Record<string, string> },
): string[] {
  const argv = typeof command === "string" ? ["sh", "-c", command] : [...command];
  if (image === undefined) return argv;
  const work = WorkerFolder.workFolder(spec);
  const gpus = (spec.peers[spec.rank]?.gpus ?? 0) > 0 ? ["--gpus=all"] : [];
  const binds = spec.volumes.flatMap(({ config: { mount, mode } }) => [
    "--mount",
    `type=bind,source=${mount},target=${mount},bind-propagation=rslave${mode === "writable" ? "" : ",readonly"}`,
  ]);
  return [
    "docker",
    "run",
    "--rm",
    "--init",
    `--name=hawser-${spec.pool}-${spec.rank}`,
    "--network=host",
    "--ipc=host",
    "--ulimit=memlock=-1",
    `--user=${spec.user.uid}:${spec.user.gid}`,
    ...gpus,
    "--mount",
    `type=bind,source=${work},target=${work}`,
    `--workdir=${work}`,
    ...binds,
    // Names alone: values would be in the machine's list of processes.
    ...Object.keys(env).flatMap((name) => ["--env", name]),
    image,
    ...argv,
  ];
}
