/** What a pool does once every volume has answered: files, setup, the GPUs that are promised, the job. */
import { createHash, randomUUID } from "node:crypto";
import { posix, resolve } from "node:path";
import { HawserError } from "../common/errors.ts";
import { formatBytes } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import { allOrThrow, eachNode } from "./each.ts";
import { refuseFullDisks } from "./full-disks.ts";
import { MachinesFailed } from "./gone.ts";
import { lostGpus } from "./gpus.ts";
import { followJob, startJob, stopJob } from "./job-run.ts";
import type { JobResult } from "./job-run.ts";
import type { PoolNode } from "./node.ts";
import type { PoolContext } from "./pool-context.ts";
import type { PoolRecord } from "./pool-record.ts";
import { workerSpecs } from "./prepare.ts";
import { makeWhole, onWholePool } from "./repair.ts";
import { pushFiles } from "./push.ts";
import { fetchInputs, pushOutputs } from "./copying.ts";
import { serviceCommand, waitUntilReady } from "./service.ts";
import { jobCommand, taskEnvironment } from "./task-environment.ts";
import { workFiles } from "./work-files.ts";
import type { WorkFile } from "./work-files.ts";
import { WorkerFolder } from "./worker/spec.ts";
import type { WorkerSpec } from "./worker/spec.ts";

const FILES_MS: Milliseconds = 10 * 60_000;
const SETUP_MS: Milliseconds = 30 * 60_000;

/** Work folder and files to every node, inputs by the nodes themselves, then setup where it changed, then a look at the GPUs. */
export async function prepareTask(context: PoolContext): Promise<void> {
  await onWholePool(context, () => prepareNow(context));
}

async function prepareNow(context: PoolContext): Promise<void> {
  const specs = await workerSpecs(context, context.record.nodes);
  const files = await pushTask(context, specs);
  await fetchInputs(context);
  await setUp(context, specs, files);
  await checkGpus(context);
}

interface Tree {
  files: WorkFile[];
  /** On the nodes; `undefined` for the work folder. */
  to: string | undefined;
}

/** What is sent, one tree for each folder on the nodes: what went to a folder before and is wanted no more is removed there. */
async function treesOf({ task, baseFolder }: Pick<PoolRecord, "task" | "baseFolder">): Promise<Tree[]> {
  const { workdir, files = [] } = task;
  const trees = new Map<string | undefined, WorkFile[]>();
  if (workdir !== undefined) trees.set(undefined, await workFiles(resolve(baseFolder, workdir)));
  for (const { from, to } of files) {
    const path = resolve(baseFolder, from);
    const found = await workFiles(path);
    const isFile = found.length === 1 && found[0]!.file === path;
    const root = isFile ? posix.dirname(to) : to;
    const named = isFile ? [{ ...found[0]!, path: posix.basename(to) }] : found;
    const present = trees.get(root) ?? [];
    const twice = named.find((file) => present.some((other) => other.path === file.path));
    if (twice) {
      throw new HawserError(
        "invalid_argument",
        `Two of files: are ${posix.join(root, twice.path)} on the nodes; leave one of them away.`,
      );
    }
    trees.set(root, [...present, ...named]);
  }
  return [...trees].map(([to, files]) => ({ files, to }));
}

/** @returns what went, for the question whether setup must run again */
async function pushTask(context: PoolContext, specs: readonly WorkerSpec[]): Promise<string> {
  const { record, steps } = context;
  const trees = await treesOf(record);
  if (trees.length === 0) return "";
  const pushed = await eachNode(record.nodes, (node) =>
    steps.run(
      "files",
      { node: node.index, timeoutMs: FILES_MS },
      async (signal) => {
        let sent = 0;
        let sentBytes = 0;
        for (const { files, to } of trees) {
          const root = to ?? WorkerFolder.workFolder(specs[node.index]!);
          const pushed = await pushFiles(context.session(node), root, files, signal);
          sent += pushed.sent;
          sentBytes += pushed.sentBytes;
        }
        return { sent, sentBytes };
      },
      ({ sent, sentBytes }) => (sent === 0 ? "unchanged" : `${sent} files, ${formatBytes(sentBytes)}`),
    ),
  );
  refuseFullDisks(record.nodes, pushed);
  allOrThrow(pushed);
  const hash = createHash("sha256");
  for (const { files, to } of trees)
    for (const { path, checksum } of files) hash.update(`${to}\0${path}\0${checksum}\n`);
  return hash.digest("hex");
}

/** Setup runs on a node when its commands, its environment, its image or the files have changed since it last did. */
async function setUp(context: PoolContext, specs: readonly WorkerSpec[], files: string): Promise<void> {
  const { record, steps } = context;
  const { setup = [], env = {}, image } = record.task;
  if (setup.length === 0) return;
  const value = createHash("sha256").update(JSON.stringify({ setup, env, image, files })).digest("hex");
  const markers = allOrThrow(
    await eachNode(record.nodes, async (node) => {
      const worker = await context.session(node).worker(context.signal);
      return (await worker.call("marker", { name: "setup" }, { signal: context.signal })).value;
    }),
  );
  const due = record.nodes.filter((_node, i) => markers[i] !== value);
  if (due.length === 0) return;
  const command = `set -e\n${setup.join("\n")}`;
  await steps.run("setup", { timeoutMs: SETUP_MS }, async (signal) => {
    const job = { name: "setup", run: randomUUID() };
    allOrThrow(
      await eachNode(due, async (node) => {
        const worker = await context.session(node).worker(signal);
        const spec = specs[node.index]!;
        const own = taskEnvironment(spec, record.task);
        const argv = jobCommand(command, { image, spec, env: own });
        return await worker.call("start", { ...job, argv, env: own }, { signal });
      }),
    );
    const result = await followJob(context, job, {
      signal,
      ranks: due.map(({ index }) => index),
      stopOthers: false,
    });
    const succeeded = due.filter((_node, i) => result.codes[i] === 0);
    const marked = await eachNode(succeeded, async (node) => {
      const worker = await context.session(node).worker(signal);
      return await worker.call("marker", { name: "setup", set: value }, { signal });
    });
    if (result.code !== 0) throw setupFailed(context, result);
    allOrThrow(marked);
  });
}

function setupFailed(context: PoolContext, { failedRank, code, lost }: JobResult): HawserError {
  const message = `Setup failed on node ${failedRank} with code ${code}; its output is in ${context.folder.logsPath}.`;
  if (lost.length === 0) return new HawserError("job_failed", message);
  const failed = lost.map((index) => ({
    node: context.node(index),
    why: "the machine was lost during setup",
  }));
  return new MachinesFailed("node_failed", message, failed);
}

/** A machine that has lost a GPU is found out before the job. */
async function checkGpus(context: PoolContext): Promise<void> {
  const { record, steps } = context;
  const { nodes } = record;
  const before = await eachNode(nodes, (node) => context.session(node).facts(context.signal));
  const isWanted = nodes.some(({ facts }, i) => {
    const known = before[i]!;
    return (facts?.gpus?.count ?? 0) > 0 || (known.ok && known.value.driverGpus > 0);
  });
  if (!isWanted) return;
  await steps.run("gpu", {}, async (signal) => {
    const found = allOrThrow(await eachNode(nodes, (node) => context.session(node).gpus(signal)));
    const failed = nodes.flatMap((node, i) => {
      const why = lostGpus(node, found[i]!);
      return why === undefined ? [] : [{ node, why }];
    });
    if (failed.length === 0) return;
    const message = failed.map(({ why }) => why).join("\n");
    // Where none has any, it is the image that lacks the driver.
    if (found.every(({ gpus }) => gpus.length === 0))
      throw new HawserError("node_failed", `${message}; the image may lack the driver.`);
    throw new MachinesFailed("node_failed", message, failed);
  });
}

export interface RunOptions {
  /** How often a failed job is started again. */
  restarts?: number | undefined;
  /** Leave it running and do not wait. */
  detach?: boolean | undefined;
}

/** Starts the job, or finds the one that runs, and follows it to its end. */
export async function runTask(
  context: PoolContext,
  options: RunOptions = {},
): Promise<JobResult | undefined> {
  const restarts = options.restarts ?? context.record.task.restarts ?? 0;
  for (let restart = 0; ; restart++) {
    const run =
      (restart === 0 ? await runningJob(context) : undefined) ?? (await launchOnAll(context, restart));
    if (options.detach) return undefined;
    const result = await waitForTask(context, run);
    // A machine that has ended itself in time may be gone before it could say so.
    const { expiresMs = Number.POSITIVE_INFINITY } = context;
    const isOver = result.poolEnded !== undefined || expiresMs <= context.clock.now();
    if (result.code === 0 || restart >= restarts || isOver) {
      await pushOutputs(context, result.lost);
      return result;
    }
    context.events({
      type: "note",
      text: `the job failed on rank ${result.failedRank} with code ${result.code}; starting it again (${restart + 1} of ${restarts})`,
    });
    await stopJob(context, "job");
    if (await makeWhole(context, result.lost)) await prepareTask(context);
  }
}

/** Follows what runs. @throws HawserError `step_timed_out` */
async function waitForTask(context: PoolContext, run: string): Promise<JobResult> {
  const { task: timeoutMs } = context.record.config.timeouts ?? {};
  return await context.steps.run("job", { timeoutMs }, (signal) =>
    followJob(context, { name: "job", run }, { signal, stopOthers: true }),
  );
}

/** The run that is under way on any node, started by an earlier command. */
export async function runningJob(context: PoolContext): Promise<string | undefined> {
  const { job, nodes } = context.record;
  if (!job) return undefined;
  const states = await eachNode(nodes, async (node: PoolNode) => {
    const worker = await context.session(node).worker(context.signal);
    const { jobs } = await worker.call("status", {}, { signal: context.signal });
    return jobs.find(({ name, run }) => name === "job" && run === job.run);
  });
  const running = states.some((outcome) => outcome.ok && outcome.value && outcome.value.code === undefined);
  if (!running) return undefined;
  context.events({ type: "note", text: "the job is running already; following it" });
  return job.run;
}

/** A machine that is lost at the last moment is replaced like one that was lost before. */
async function launchOnAll(context: PoolContext, restart: number): Promise<string> {
  let attempts = 0;
  return await onWholePool(context, async () => {
    if (attempts++ > 0) await prepareNow(context);
    return await launchTask(context, restart);
  });
}

async function launchTask(context: PoolContext, restart: number): Promise<string> {
  const { job, image, service } = context.record.task;
  if (job === undefined) {
    throw new HawserError(
      "invalid_argument",
      "There is no job; write job: in hawser.yaml, or the command behind --.",
    );
  }
  const specs = await workerSpecs(context, context.record.nodes);
  const isService = service !== undefined && service !== false;
  const run = randomUUID();
  context.update({ job: { run, startedMs: context.clock.now(), restart } });
  await startJob(
    context,
    {
      name: "job",
      run,
      commandFor: (node) => {
        const spec = specs[node.index]!;
        const env = taskEnvironment(spec, context.record.task, { restart });
        const argv = jobCommand(job, { image, spec, env });
        return { argv: isService ? serviceCommand(argv) : argv, env };
      },
    },
    context.signal,
  );
  context.events({ type: "started", job: typeof job === "string" ? job : job.join(" ") });
  if (typeof service === "object") await waitUntilReady(context, service, context.signal);
  return run;
}
