/** A node: one machine of a pool, as its provider gives it and as everything above addresses it. */
import type { EpochMs } from "../common/units.ts";

/**
 * What a provider says of one machine. It is kept in the pool's record, so that a later command can reach the machine;
 * no secret is in it.
 */
export interface PoolNode {
  /** From 0, without gaps: the rank of what runs on it. */
  index: number;
  /** The provider's own name: an instance id, or the host as the user wrote it. Unique in the pool. */
  id: string;
  /** Where SSH connects to: an address, or a name of the user's SSH configuration. */
  address: string;
  /** Where other nodes reach it; the first address of the machine itself where absent. */
  poolAddress?: string | undefined;
  user?: string | undefined;
  port?: number | undefined;
  /**
   * Host keys as in a .pub file (`ssh-ed25519 AAAA…`), where the provider made or learned them: the first connection
   * is verified against these alone. Without them, the user's known_hosts files decide.
   */
  hostKeys?: string[] | undefined;
  /** Private key to log in with, where the provider made one. Absolute path. */
  identityFile?: string | undefined;
  /** What the machine is, where the provider knows. */
  facts?: NodeFacts | undefined;
}

export interface NodeFacts {
  instanceType?: string | undefined;
  zone?: string | undefined;
  spot?: boolean | undefined;
  /** US dollars. */
  hourlyCost?: number | undefined;
  gpus?: { count: number; name: string } | undefined;
  startedMs?: EpochMs | undefined;
}

/** What a provider sees of a machine right now. */
export type NodeState = "pending" | "running" | "stopping" | "stopped" | "gone" | "unknown";

export interface NodeStatus {
  node: PoolNode;
  state: NodeState;
  /** Why, where there is more to say: an interruption notice, a failed status check. */
  reason?: string | undefined;
}
