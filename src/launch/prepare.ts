/**
 * Preparing nodes: from machines that exist to volumes that answered.
 *
 * Every stage runs on all nodes at once and is finished on all before the next one begins, so that a node that fails
 * is known before anything is started on the others. Each stage does only what is missing: the same code makes a pool,
 * repairs it and mounts again after a stop.
 */
import { HawserError } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import { checkVolume } from "./check-volumes.ts";
import { allOrThrow, eachNode } from "./each.ts";
import type { Outcome } from "./each.ts";
import { GoneWatch, lostNodes } from "./gone.ts";
import type { LostNode } from "./gone.ts";
import { refuseLostGpus } from "./gpus.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import { writesData } from "./pool-record.ts";
import type { RecordedVolume } from "./pool-record.ts";
import type { ProviderPlan } from "./provider.ts";
import type { NodeSession } from "./session.ts";
import { transfersFor } from "./transfers.ts";
import { VolumeCredentials, handsOver } from "./volume-credentials.ts";
import type { WorkerSpec } from "./worker/spec.ts";

const DEFAULT_MS = {
  provision: 10 * 60_000,
  bootstrap: 10 * 60_000,
  mount: 3 * 60_000,
  plan: 3 * 60_000,
} as const satisfies Record<string, Milliseconds>;

/** How often machines that fail before the job are replaced, in one launch. */
export const REPLACEMENTS = 2;

/** Everything that can be known before anything is started. @throws HawserError of the first check that failed */
export async function planPool(context: PoolContext): Promise<ProviderPlan & { volumes: RecordedVolume[] }> {
  const { record, provider, credentials, environment } = context;
  // Volumes first: where their buckets are decides where machines are made, unless that is said.
  const checked = await Promise.all(
    record.volumes.map((volume) => checkVolume(volume, credentials, environment, context.signal)),
  );
  const volumes = checked.map(({ volume }) => volume);
  const plan = await provider.plan({ ...context.providerContext(), volumes });
  const failed = plan.checks.find(({ outcome }) => outcome === "failed");
  if (failed) throw failed.error ?? new HawserError("provision_failed", `${failed.name}: ${failed.detail}`);
  for (const { name, detail } of plan.checks.filter(({ outcome }) => outcome === "warning")) {
    context.events({ type: "note", text: `${name}: ${detail}` });
  }
  for (const { volume, empty } of checked) {
    if (empty && volume.mode === "read-only") {
      context.events({
        type: "note",
        text: `volume '${volume.name}' is empty; check bucket and prefix if that is not meant`,
      });
    }
  }
  return {
    ...plan,
    volumes,
    checks: [
      ...plan.checks,
      ...checked.map(({ volume, empty }) => ({
        name: `volume ${volume.name}`,
        outcome: "ok" as const,
        detail: empty ? "can be read, is empty" : "can be read",
      })),
    ],
  };
}

export interface PrepareOptions {
  /** The pool is only there for the command that makes it. */
  endsWithRun: boolean;
  /** Nodes that are ended and made anew. */
  replace?: readonly PoolNode[] | undefined;
}

/** Plans, provisions, and prepares every node. Afterwards every volume has answered everywhere. */
export async function preparePool(
  context: PoolContext,
  { endsWithRun, replace: given = [] }: PrepareOptions,
): Promise<void> {
  const { steps, provider } = context;
  const timeouts = context.record.config.timeouts ?? {};
  const stopped = context.record.phase === "stopped";
  const plan = await steps.run("plan", { timeoutMs: timeouts.plan ?? DEFAULT_MS.plan }, () =>
    planPool(context),
  );
  context.update({ phase: stopped ? "stopped" : "provisioning", volumes: plan.volumes, endsWithRun });
  const provision = (replace: readonly PoolNode[]): Promise<PoolNode[]> =>
    steps.run(
      "provision",
      { timeoutMs: timeouts.provision ?? DEFAULT_MS.provision },
      async (signal) => {
        if (stopped && replace.length === 0)
          await provider.start(context.providerContext(signal), context.record.nodes);
        return await provider.provision(context.providerContext(signal), { replace });
      },
      (made) => `${made.length} node${made.length === 1 ? "" : "s"}`,
    );
  const sshTimeoutMs = timeouts.ssh ?? plan.sshTimeoutMs;
  let nodes = await provision(given);
  for (let replacements = 0; ; replacements++) {
    context.update({ phase: "preparing", nodes });
    const mayReplace = replacements < REPLACEMENTS;
    const outcomes = await reachNodes(context, nodes, sshTimeoutMs);
    let replace: readonly LostNode[] = mayReplace ? replaceable(context, nodes, outcomes) : [];
    if (replace.length === 0) {
      allOrThrow(outcomes);
      const lost = await mountOrLose(context, nodes);
      if (!lost) break;
      replace = mayReplace ? lost.gone : [];
      if (replace.length === 0) throw lost.error;
    }
    for (const { node, why } of replace) {
      context.events({ type: "note", node: node.index, text: `${why} Another machine takes its place` });
    }
    nodes = await provision(replace.map(({ node }) => node));
  }
  context.update({ phase: "ready", timings: steps.timings });
}

/** @returns what failed, and the machines that are gone, whatever they had */
async function mountOrLose(
  context: PoolContext,
  nodes: readonly PoolNode[],
): Promise<{ error: unknown; gone: readonly LostNode[] } | undefined> {
  try {
    await mountNodes(context, nodes);
    return undefined;
  } catch (error) {
    context.signal.throwIfAborted();
    return { error, gone: await lostNodes(context, error) };
  }
}

/** Logs in, installs the worker, mounts and proves, on all nodes. */
export async function prepareNodes(
  context: PoolContext,
  nodes: readonly PoolNode[],
  sshTimeoutMs: Milliseconds,
): Promise<void> {
  allOrThrow(await reachNodes(context, nodes, sshTimeoutMs));
  await mountNodes(context, nodes);
}

/** Machines that never came up, and that cannot hold anything which is nowhere else. */
function replaceable(
  context: PoolContext,
  nodes: readonly PoolNode[],
  outcomes: readonly Outcome<void>[],
): LostNode[] {
  const { record, provider } = context;
  if (!provider.makesMachines) return [];
  return nodes.flatMap((node, i) => {
    const outcome = outcomes[i]!;
    if (outcome.ok || record.writers?.includes(node.id) !== false) return [];
    const { error } = outcome;
    // Where the login works, it is the way there that is slow.
    const slow = HawserError.is(error, "step_timed_out") && context.session(node).wasReached;
    if (slow) return [];
    const isMachine = HawserError.is(error, "node_failed", "ssh_unreachable", "step_timed_out");
    // What the image lacks, another machine lacks as well; what the others of the same image have, it may have.
    const isAlone = outcomes.some(({ ok }) => ok) && HawserError.is(error, ...OF_THE_MACHINE);
    return isMachine || isAlone ? [{ node, why: error.message }] : [];
  });
}

/** What a machine may lack that others of its kind have. */
const OF_THE_MACHINE = ["fuse_missing", "no_space", "sudo_missing", "daemon_failed"] as const;

async function reachNodes(
  context: PoolContext,
  nodes: readonly PoolNode[],
  sshTimeoutMs: Milliseconds,
): Promise<Outcome<void>[]> {
  const { steps, record, provider } = context;
  const { bootstrap = DEFAULT_MS.bootstrap } = record.config.timeouts ?? {};
  const gone = new GoneWatch(context);
  return await eachNode(nodes, async (node) => {
    const session = context.session(node);
    await steps.run("ssh", { node: node.index, timeoutMs: sshTimeoutMs }, async (signal) => {
      await session.connection(
        signal,
        provider.makesMachines ? () => gone.refuseGone(node, signal) : undefined,
      );
      refuseLostGpus(node, await session.facts(signal));
    });
    await steps.run(
      "bootstrap",
      { node: node.index, timeoutMs: bootstrap },
      async (signal) => {
        const sent = await session.bootstrap(signal);
        await session.worker(signal);
        return sent;
      },
      (sent) => (sent > 0 ? `sent ${formatBytes(sent)}` : "was there"),
    );
  });
}

async function mountNodes(context: PoolContext, nodes: readonly PoolNode[]): Promise<void> {
  const { steps, record, signal } = context;
  const { mount = DEFAULT_MS.mount } = record.config.timeouts ?? {};
  const specs = await workerSpecs(context, nodes);
  // Before the nodes are marked: from then on the worker must know the pool, to be able to end it.
  allOrThrow(
    await eachNode(nodes, async (node) => {
      const worker = await context.session(node).worker(signal);
      await worker.call("adopt", { spec: specs[node.index]! }, { signal });
    }),
  );
  await noteWrites(context, nodes);
  allOrThrow(
    await eachNode(nodes, (node) =>
      steps.run(
        "mount",
        { node: node.index, timeoutMs: mount },
        (signal) => mountOn(context, context.session(node), specs[node.index]!, signal),
        (count) => `${count} volume${count === 1 ? "" : "s"}`,
      ),
    ),
  );
}

/** Before anything can be written there: who must be asked before it is ended, by this record and without it. */
async function noteWrites(context: PoolContext, nodes: readonly PoolNode[]): Promise<void> {
  const { record, provider } = context;
  if (!writesData(record)) return;
  await provider.noteWrites(context.providerContext(), nodes, true);
  const known = record.writers;
  if (known) context.update({ writers: [...new Set([...known, ...nodes.map(({ id }) => id)])] });
}

/** What each node is told; its place among the others can only be told once all have been looked at. */
export async function workerSpecs(context: PoolContext, nodes: readonly PoolNode[]): Promise<WorkerSpec[]> {
  const { record } = context;
  const facts = await Promise.all(nodes.map((node) => context.session(node).facts(context.signal)));
  const peers = nodes.map((node, rank) => ({
    rank,
    address: node.poolAddress ?? facts[rank]!.address,
    gpus: facts[rank]!.gpus.length,
  }));
  return nodes.map((node, rank) => {
    const { user, uid, gid, home, memoryFolder, systemd } = facts[rank]!;
    return {
      pool: record.name,
      owner: record.owner,
      rank,
      peers,
      user: { name: user, uid, gid, home },
      volumes: record.volumes.map((config) => ({ config, handed: handsOver(record.provider, config) })),
      transfers: transfersFor(
        record.task,
        { rank, id: node.id, provider: record.provider },
        context.environment,
      ),
      memoryFolder,
      systemd,
      expiresMs: record.expiresMs,
      idleMs: record.config.idle,
      atEnd: record.provider === "hosts" ? "release" : "poweroff",
      notices: record.provider === "ec2",
      facts: { id: node.id, ...node.facts },
    };
  });
}

async function mountOn(
  context: PoolContext,
  session: NodeSession,
  spec: WorkerSpec,
  signal: AbortSignal,
): Promise<number> {
  const worker = await session.worker(signal);
  await handCredentials(context, session, spec, signal);
  const { notes } = await worker.call("mount", {}, { signal });
  for (const text of notes) context.events({ type: "note", node: spec.rank, text });
  const { proofs } = await worker.call("prove", {}, { signal });
  const failed = proofs.filter(({ error }) => error !== undefined);
  if (failed.length > 0) {
    throw new HawserError(
      "mount_failed",
      failed
        .map(
          ({ mount, error }) =>
            `${session.node.id}: ${mount} is mounted, but ${spec.user.name} cannot use it: ${error}`,
        )
        .join("\n"),
    );
  }
  return proofs.length;
}

/** Over the worker's channel, which is SSH's standard input; again before they expire. */
export async function handCredentials(
  context: PoolContext,
  session: NodeSession,
  spec: Pick<WorkerSpec, "volumes" | "transfers">,
  signal: AbortSignal,
): Promise<void> {
  const names = new Set([
    ...spec.volumes.flatMap(({ config, handed }) => (handed ? [config.name] : [])),
    ...(spec.transfers ?? []).flatMap(({ credentials }) => credentials ?? []),
  ]);
  for (const name of names) await handOver(context, session, name, signal);
}

async function handOver(
  context: PoolContext,
  session: NodeSession,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const credentials = await context.credentials.get(name);
  if (!credentials) return;
  const worker = await session.worker(signal);
  await worker.call("credentials", { volume: name, credentials }, { signal });
  const renewMs = VolumeCredentials.renewalMs(credentials, context.clock.now());
  if (renewMs === undefined) return;
  const cancel = context.clock.after(renewMs, () => {
    handOver(context, session, name, context.signal).catch((error: unknown) => {
      context.events({
        type: "note",
        node: session.node.index,
        text: `credentials of '${name}' could not be renewed (${error instanceof Error ? error.message : String(error)})`,
      });
    });
  });
  context.onClose(cancel);
}
