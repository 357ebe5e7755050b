/** Where a program is in its pool: read from the job's environment, so that it works in containers too. */
import { HawserError } from "../common/errors.ts";

export interface InstanceInfo {
  pool: string;
  rank: number;
  nodes: number;
  /** Of all nodes, in order of rank. */
  addresses: string[];
  /** Address of rank 0. */
  head: string;
  gpus: number;
  /** The kind of machine, where the provider knows. */
  instanceType: string | undefined;
  workdir: string;
}

/** @throws HawserError `pool_not_found` outside of a pool's job */
export function instanceInfo(environment: NodeJS.ProcessEnv = process.env): InstanceInfo {
  const { HAWSER_POOL: pool, HAWSER_RANK: rank, HAWSER_NODES: nodes } = environment;
  if (pool === undefined || rank === undefined || nodes === undefined) {
    throw new HawserError(
      "pool_not_found",
      "This is not a job of a pool: HAWSER_POOL, HAWSER_RANK and HAWSER_NODES are not set.",
    );
  }
  return {
    pool,
    rank: Number(rank),
    nodes: Number(nodes),
    addresses: (environment["HAWSER_NODE_ADDRS"] ?? "").split(",").filter(Boolean),
    head: environment["HAWSER_MASTER_ADDR"] ?? "",
    gpus: Number(environment["HAWSER_GPUS"] ?? 0),
    instanceType: environment["HAWSER_INSTANCE_TYPE"],
    workdir: environment["HAWSER_WORKDIR"] ?? "",
  };
}
