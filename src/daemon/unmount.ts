/**
 * Unmounting from inside: a stop always comes to an end.
 *
 * Politely while there is time, then lazily (the path is free at once, open files go on), then by closing the kernel
 * connection, which gives every waiting reader an error, and at last by aborting it through fusectl, for when
 * something else holds it open. Each step is bounded.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Channel } from "../fuse/channel.ts";
import type { Logger } from "../observe/logger.ts";
import { within } from "./deadline.ts";
import { abortConnection } from "./detach.ts";
import type { MountEntry } from "./mountinfo.ts";

/** How long open files may keep a mount that was told to stop. */
export const DEFAULT_POLITE_MS: Milliseconds = 5000;
/** How long a detached mount may take to come to its end before it is broken off. */
const LINGER_MS: Milliseconds = 5000;
/** Between two polite tries: there is no event for "not busy any more". */
const RETRY_MS: Milliseconds = 100;

export interface StopOptions {
  politeMs: Milliseconds;
  /** How long a detached mount may take to come to its end; LINGER_MS when absent. */
  lingerMs?: Milliseconds | undefined;
  log: Logger;
  /** The mount's line in the mount table, read when it was mounted: gone from there once it is detached. */
  entry: MountEntry | undefined;
}

/** Ends a mount, whatever is open. Resolves when it has ended. */
export async function stopChannel(
  channel: Channel,
  { politeMs, lingerMs = LINGER_MS, log, entry }: StopOptions,
): Promise<void> {
  const deadline = performance.now() + politeMs;
  while (performance.now() < deadline) {
    const outcome = await within(tryUnmount(channel), Math.max(RETRY_MS, deadline - performance.now()));
    if (outcome === "unmounted") return;
    await within(channel.ended, RETRY_MS);
  }
  log.warn("files are still open: detaching the mount");
  const lazily = channel.unmount({ lazy: true }).then(
    () => true,
    (error: unknown) => {
      log.error({ err: error }, "detaching failed");
      return undefined;
    },
  );
  if (await within(lazily, lingerMs)) return;
  await breakOff(channel, { log, entry });
}

/** Ends a mount at once: open files and waiting readers get errors. */
export async function breakOff(
  channel: Channel,
  { log, entry }: Pick<StopOptions, "log" | "entry">,
): Promise<void> {
  log.warn("ending open files with errors");
  const closing = channel.close().then(
    () => true,
    (error: unknown) => {
      log.error({ err: error }, "closing the connection failed");
      return undefined;
    },
  );
  if (await within(closing, LINGER_MS)) return;
  if (entry && abortConnection(entry)) log.warn("the connection was aborted through fusectl");
  await within(channel.ended, LINGER_MS);
}

/** One polite try. @throws what the channel throws, except that it is busy */
async function tryUnmount(channel: Channel): Promise<"unmounted" | "busy"> {
  try {
    await channel.unmount();
    return "unmounted";
  } catch (error) {
    if (!HawserError.is(error, "mount_point_busy")) throw error;
    await sleep(RETRY_MS);
    return "busy";
  }
}
