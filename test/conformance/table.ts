/**
 * The conformance table: rows of behaviour that hold on every channel.
 *
 * Each row runs against the in-memory filesystem, mounted by a process of its own, once per channel. What a channel
 * cannot do by its nature is named in the row's `limits`, with the reason; such a row is skipped for that channel and
 * the reason is part of its title.
 */
import { afterAll, beforeAll, test } from "vitest";
import type { ChannelKind } from "../../src/fuse/channel.ts";
import { describeChannels } from "../support/channels.ts";
import { compileChildPrograms } from "../support/child-programs.ts";
import { MemoryMount, type MemoryMountOptions } from "../support/memory-mount.ts";

export type Limits = Partial<Record<ChannelKind, string>>;

export interface Table {
  readonly channel: ChannelKind;
  /** A behaviour on the table's one mount. */
  row(behaviour: string, run: (mount: MemoryMount) => Promise<void> | void, limits?: Limits): void;
  /** A behaviour that starts mounts of its own. */
  rowAlone(behaviour: string, run: (start: StartMount) => Promise<void>, limits?: Limits): void;
}

export type StartMount = (options?: Omit<MemoryMountOptions, "channel">) => Promise<MemoryMount>;

/** Declares a theme of the table, with one mount per channel for its rows. */
export function conformance(
  theme: string,
  options: Omit<MemoryMountOptions, "channel">,
  declare: (table: Table) => void,
): void {
  beforeAll(() => compileChildPrograms());

  describeChannels(theme, (channel) => declareOn(channel, options, declare));
}

function declareOn(
  channel: ChannelKind,
  options: Omit<MemoryMountOptions, "channel">,
  declare: (table: Table) => void,
): void {
  let mount: MemoryMount | undefined;
  const shared = async (): Promise<MemoryMount> =>
    (mount ??= await MemoryMount.start({ ...options, channel }));

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
  });

  const add = (behaviour: string, limits: Limits | undefined, run: () => Promise<void> | void): void => {
    const limit = limits?.[channel];
    if (limit === undefined) test(behaviour, run);
    else test.skip(`${behaviour} [not on ${channel}: ${limit}]`, run);
  };
  declare({
    channel,
    row: (behaviour, run, limits) => add(behaviour, limits, async () => run(await shared())),
    rowAlone: (behaviour, run, limits) =>
      add(behaviour, limits, () => run((own) => MemoryMount.start({ ...options, ...own, channel }))),
  });
}
