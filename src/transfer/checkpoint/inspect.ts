/**
 * Is a checkpoint complete? By its names, by the files that its writers make last, and by the structure of its weights.
 *
 * Where nothing in a layout says "that was all", time does: what nobody has touched for a while counts as complete. An
 * object of a bucket appears whole, so a checkpoint of one file is complete there at once.
 */
import type { Bytes, EpochMs, Milliseconds } from "../../common/units.ts";
import { MiB } from "../../common/units.ts";
import { isWeights } from "../cleanup/checkpoint-name.ts";
import type { Checkpoint } from "../cleanup/group.ts";
import { structureOf } from "./file-structure.ts";
import {
  innerStep,
  isMarker,
  missingByNames,
  missingOfIndex,
  missingOfMetadata,
  trackedStep,
  trackerOf,
} from "./layout.ts";
import type { CheckpointPlace } from "./place.ts";
import type { Step } from "./step.ts";
import { TOMBSTONE } from "./tombstone.ts";

export interface InspectOptions {
  now: EpochMs;
  /** Untouched for so long, a checkpoint without any mark of its end counts as complete. */
  settleMs: Milliseconds;
  /** Untouched for so long, an incomplete one is not being written any more. */
  abandonedMs: Milliseconds;
  /** Look into the weights of a bucket as well: two small reads a file. */
  deep?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export const SETTLE_MS: Milliseconds = 30_000;
export const ABANDONED_MS: Milliseconds = 3_600_000;
/** Longer indexes and metadata are believed by their names alone. */
const LONGEST_INDEX: Bytes = 64 * MiB;

/** Inspects the checkpoints of one place; it asks for the trackers of a run and for open files once. */
export class Inspector {
  readonly #place: CheckpointPlace;
  readonly #options: InspectOptions;
  readonly #tracked = new Map<string, Promise<number | undefined>>();
  #writing: Promise<ReadonlySet<string>> | undefined;

  constructor(place: CheckpointPlace, options: InspectOptions) {
    this.#place = place;
    this.#options = options;
  }

  async inspect(checkpoint: Checkpoint & { isFolder: boolean }): Promise<Step> {
    const { now, settleMs, abandonedMs } = this.#options;
    const { objects, name, isFolder, mtimeMs } = checkpoint;
    if (isFolder && objects.some(({ key }) => key === `${name}/${TOMBSTONE}`))
      return { ...checkpoint, state: "removing", why: "somebody began to remove it" };
    const ageMs = now - mtimeMs;
    const found = await this.#missing(checkpoint);
    if (found === undefined) return { ...checkpoint, state: "complete" };
    if (found.kind === "unsettled") {
      if (ageMs >= settleMs) return { ...checkpoint, state: "complete" };
      return {
        ...checkpoint,
        state: "writing",
        why: "it changed a moment ago, and nothing says that it is complete",
      };
    }
    const isYoung = found.kind === "open" || ageMs < abandonedMs;
    return { ...checkpoint, state: isYoung ? "writing" : "abandoned", why: found.why };
  }

  async #missing(
    checkpoint: Checkpoint & { isFolder: boolean },
  ): Promise<{ kind: "missing" | "open"; why: string } | { kind: "unsettled" } | undefined> {
    const { objects, name, isFolder } = checkpoint;
    const names = objects.map(({ key }) =>
      isFolder ? key.slice(name.length + 1) : key.slice(key.lastIndexOf("/") + 1),
    );
    const why =
      missingByNames(names) ??
      (await this.#missingByContent(checkpoint, names)) ??
      (await this.#missingByTracker(checkpoint, names));
    if (typeof why === "string") return { kind: "missing", why };
    const writing = await (this.#writing ??= this.#place.beingWritten());
    const open = objects.find(({ key }) => writing.has(key));
    if (open) return { kind: "open", why: `${open.key} is open for writing` };
    const torn = await this.#structures(checkpoint);
    if (torn.why !== undefined) return { kind: "missing", why: torn.why };
    const isMarked = why === true || names.some(isMarker);
    const isWhole = !isFolder && (this.#place.isAtomic || torn.allKnown);
    return isMarked || isWhole ? undefined : { kind: "unsettled" };
  }

  /** What indexes and metadata name and is not there. */
  async #missingByContent(checkpoint: Checkpoint, names: readonly string[]): Promise<string | undefined> {
    for (const [at, name] of names.entries()) {
      const isIndex = name.endsWith(".index.json");
      if (!isIndex && !/(?:^|\/)\.metadata$/.test(name)) continue;
      const { key, sizeBytes } = checkpoint.objects[at]!;
      if (sizeBytes === 0) return `${name} is empty`;
      if (sizeBytes > LONGEST_INDEX) continue;
      const content = await this.#place.read(key, 0, sizeBytes, this.#options.signal);
      if (content === undefined) return `${name} is not there any more`;
      const folder = name.slice(0, name.lastIndexOf("/") + 1);
      try {
        const missing = isIndex
          ? missingOfIndex(content, folder, names)
          : missingOfMetadata(content, folder, names);
        if (missing.length > 0) return `${missing[0]} is named by ${name} and not there`;
      } catch {
        return `${name} is no JSON`;
      }
    }
    return undefined;
  }

  /** True when a tracker says that the step is complete, undefined when there is none. */
  async #missingByTracker(
    { name, run, isFolder }: Checkpoint & { isFolder: boolean },
    names: readonly string[],
  ): Promise<string | true | undefined> {
    if (!isFolder) return undefined;
    const own = name.slice(name.lastIndexOf("/") + 1);
    const inner = innerStep(names);
    const path =
      inner === undefined
        ? trackerOf(own) && (run === "" ? "" : `${run}/`) + trackerOf(own)!
        : `${name}/${trackerOf(inner)!}`;
    if (path === undefined) return undefined;
    const tracked = await this.#trackedBy(path);
    const step = trackedStep(inner ?? own)!;
    // Within another checkpoint the file is a part of it; in the run's folder it may be yet to come.
    if (tracked === undefined) return inner === undefined ? undefined : `${path} does not name ${inner}`;
    if (tracked >= step) return true;
    return `${path} names step ${tracked} as the last that is complete`;
  }

  #trackedBy(path: string): Promise<number | undefined> {
    const known = this.#tracked.get(path);
    if (known) return known;
    const asked = this.#place.read(path, 0, 200, this.#options.signal).then((content) => {
      return content === undefined ? undefined : trackedStep(Buffer.from(content).toString("utf8"));
    });
    this.#tracked.set(path, asked);
    return asked;
  }

  async #structures(checkpoint: Checkpoint): Promise<{ why?: string; allKnown: boolean }> {
    const weights = checkpoint.objects.filter(({ key }) => isWeights(key));
    const empty = weights.find(({ sizeBytes, key }) => sizeBytes === 0 && !/(?:^|\/)\.metadata$/.test(key));
    if (empty) return { why: `${empty.key} is empty`, allKnown: false };
    if (this.#place.isAtomic && !this.#options.deep) return { allKnown: false };
    let allKnown = true;
    for (const { key, sizeBytes } of weights) {
      const structure = await structureOf(key, sizeBytes, async (offset, length) => {
        return (await this.#place.read(key, offset, length, this.#options.signal)) ?? new Uint8Array(0);
      });
      if (structure === "torn") return { why: `${key} ends too early`, allKnown: false };
      allKnown &&= structure === "whole";
    }
    return { allKnown };
  }
}
