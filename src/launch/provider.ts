/**
 * Provider: where machines come from.
 *
 * Everything above this interface is the same for machines that exist and for ones that are started. A provider is
 * one folder below src/launch, one line in providers.ts and one file of keys in src/config; docs/POOLS.md says how to
 * add one.
 *
 * Two rules make a launcher that is killed harmless. What a provider is about to make is written by `context.save`
 * before it asks for it (or carries a tag by which `discover` finds it), and every function may be called again after
 * it ended in the middle: it looks at what is there first.
 */
import type { Clock } from "../common/clock.ts";
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { Environment } from "../config/interpolate.ts";
import type { PoolConfig, ProviderKind } from "../config/pool.ts";
import type { PoolEvents } from "./events.ts";
import type { NodeStatus, PoolNode } from "./node.ts";
import type { RecordedVolume } from "./pool-record.ts";

/** Who started a pool, as others see it. */
export interface PoolOwner {
  /** Random, made once for each user of each machine: two launchers never share it. */
  id: string;
  /** `alice@laptop`, for people. */
  label: string;
}

export interface ProviderContext {
  /** The pool's name. */
  name: string;
  config: PoolConfig;
  /** Also for policies: what is to be read, and what written. */
  volumes: readonly RecordedVolume[];
  owner: PoolOwner;
  /** When the pool ends by itself; machines carry it as a tag. */
  expiresMs: EpochMs | undefined;
  /** The pool's folder on this machine (0700), for keys. Absolute. */
  folder: string;
  /** What `save` was last given for this pool; `undefined` at first. The provider's own affair. */
  state: unknown;
  /** Writes the provider's own state to disk, whole, before it resolves. JSON; no secrets. */
  save(state: unknown): Promise<void>;
  environment: Environment;
  events: PoolEvents;
  clock: Clock;
  /** Fires when the user or a timeout ends the step. */
  signal: AbortSignal;
}

/** One thing that could be had. */
export interface Offer {
  description: string;
  instanceType?: string | undefined;
  zone?: string | undefined;
  spot: boolean;
  /** US dollars for one node; `undefined` where it costs nothing that we know of. */
  hourlyCost: number | undefined;
  /** Why it will not be taken, where it will not. */
  skipped?: string | undefined;
}

export interface Check {
  name: string;
  outcome: "ok" | "warning" | "failed";
  detail: string;
  /** What failed, as a program tells it apart. */
  error?: Error | undefined;
}

/** What `provision` would do. */
export interface ProviderPlan {
  nodes: number;
  /** In the order in which they are tried. */
  offers: Offer[];
  checks: Check[];
  /** Most US dollars an hour for all nodes; `undefined` where nothing is charged that we know of. */
  hourlyCost: number | undefined;
  /** Default of `timeouts.ssh`: how long a machine may take until it can be logged in to. */
  sshTimeoutMs: Milliseconds;
}

/** Something of ours that is still there. */
export interface Leftover {
  kind: string;
  id: string;
  region?: string | undefined;
  detail?: string | undefined;
}

/** A pool that a provider finds by itself, with or without a record on this machine. */
export interface DiscoveredPool {
  name: string;
  owner: PoolOwner;
  expiresMs: EpochMs | undefined;
  region?: string | undefined;
  nodes: NodeStatus[];
  leftovers: Leftover[];
}

export interface Provider {
  readonly kind: ProviderKind;

  /** Machines are made and ended by it: one that it does not describe any more is gone, whatever was on it. */
  readonly makesMachines: boolean;

  /** Looks and checks; starts nothing, changes nothing. Problems are failed checks, not errors. */
  plan(context: ProviderContext): Promise<ProviderPlan>;

  /**
   * Makes what is missing until there are as many nodes as wanted, and gives all of them, old and new, in order of
   * index. Nodes named in `replace` are ended and made anew.
   *
   * @throws HawserError `provision_failed`; what was made until then stays, for the caller to terminate
   */
  provision(context: ProviderContext, options: { replace: readonly PoolNode[] }): Promise<PoolNode[]>;

  /** What is there right now, in order of index. Nothing for a pool that was never provisioned. */
  describe(context: ProviderContext): Promise<NodeStatus[]>;

  /**
   * Whether there may be data on these nodes that is nowhere else. Called before anything writable is mounted, and after
   * a stop has brought everything home, so that `remove` knows whom to ask; may be called again.
   */
  noteWrites(context: ProviderContext, nodes: readonly PoolNode[], mayWrite: boolean): Promise<void>;

  /** Whether a stopped node is switched off, and cannot be asked anything. */
  readonly switchesOff: boolean;
  /** Whether `stop` and `start` work on these nodes; why not, as a sentence. */
  cannotStop(nodes: readonly PoolNode[]): string | undefined;
  /** @param options.wait resolves only when they are switched off */
  stop(context: ProviderContext, nodes: readonly PoolNode[], options: { wait: boolean }): Promise<void>;
  /** Waits for those that are just being switched off. @returns these nodes, whose addresses may have changed */
  start(context: ProviderContext, nodes: readonly PoolNode[]): Promise<PoolNode[]>;

  /** Writes the new end to wherever the provider keeps it, so that `discover` tells it. */
  extend(context: ProviderContext, expiresMs: EpochMs | undefined): Promise<void>;

  /** Ends these nodes. With all of the pool's, what the pool had besides goes too: keys, groups, profiles. */
  terminate(
    context: ProviderContext,
    nodes: readonly PoolNode[],
    options: { wholePool: boolean },
  ): Promise<void>;

  /** What of the pool is still there; empty once everything is gone. Nodes in `kept` are expected to be there. */
  verifyRemoved(context: ProviderContext, kept: readonly PoolNode[]): Promise<Leftover[]>;

  /** Every pool of Hawser that the provider can find without a record of ours; of this owner alone unless `everyone`. */
  discover(options: {
    owner: PoolOwner;
    everyone: boolean;
    environment: Environment;
    regions?: readonly string[] | undefined;
    signal: AbortSignal;
  }): Promise<DiscoveredPool[]>;

  /**
   * Removes what `discover` found of one pool, nodes included. A node that may hold data is asked to bring it home and to
   * end by itself; one that has not done so when `waitMs` is over is left, with what it needs for it.
   *
   * @returns what is still there
   */
  remove(
    found: DiscoveredPool,
    options: { environment: Environment; signal: AbortSignal; waitMs: Milliseconds },
  ): Promise<Leftover[]>;
}
