/**
 * Unmounting from inside: a stop always comes to an end.
 *
 * Politely while there is time, then lazily (the path is free at once, open files go on), then by closing the kernel
 * connection, which gives every waiting reader an error, and at last by aborting it through fusectl, for when
 * something else holds it open. Each step is bounded. What other mount namespaces still show of a mount that is detached
 * here ends with it as soon as nobody uses it there.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HawserError } from "../common/errors.ts";
import type { Milliseconds } from "../common/units.ts";
import type { Channel } from "../fuse/channel.ts";
import type { Logger } from "../observe/logger.ts";
import { until, within } from "./deadline.ts";
import { abortConnection } from "./detach.ts";
import type { MountEntry } from "./mountinfo.ts";
import { isLeftIdle, lookElsewhere } from "./other-namespaces.ts";

/** How long open files may keep a mount that was told to stop. */
export const DEFAULT_POLITE_MS: Milliseconds = 5000;
/** How long a detached mount may take to come to its end before it is broken off. */
const LINGER_MS: Milliseconds = 5000;
/** Between two polite tries: there is no event for "not busy any more". */
const RETRY_MS: Milliseconds = 100;
/** How long the word that a file was closed may be under way. */
const CLOSED_MS: Milliseconds = 5000;
/** Between two looks at other mount namespaces, for which there is no event either. */
const LOOK_MS: Milliseconds = 250;

export interface StopOptions {
  politeMs: Milliseconds;
  /** How long a detached mount may take to come to its end; LINGER_MS when absent. */
  lingerMs?: Milliseconds | undefined;
  log: Logger;
  /** The mount's line in the mount table, read when it was mounted: gone from there once it is detached. */
  entry: MountEntry | undefined;
  /** True while a file is open, wherever. */
  hasOpenFiles: () => boolean;
}

/** Ends a mount, whatever is open. Resolves when it has ended. */
export async function stopChannel(channel: Channel, options: StopOptions): Promise<void> {
  const { politeMs, lingerMs = LINGER_MS, log, entry } = options;
  const deadline = performance.now() + politeMs;
  while (performance.now() < deadline) {
    const outcome = await within(
      tryUnmount(channel, options),
      Math.max(RETRY_MS, deadline - performance.now()),
    );
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

/**
 * Unmounts, also from other mount namespaces, unless files are open. Resolves when the mount has ended.
 *
 * @throws HawserError `mount_point_busy`
 */
export async function unmountEverywhere(
  channel: Channel,
  { log, entry, hasOpenFiles }: Pick<StopOptions, "log" | "entry" | "hasOpenFiles">,
): Promise<void> {
  if (!entry) return await channel.unmount();
  const { shown, users } = lookElsewhere(entry);
  // Who uses it may be invisible to us. The kernel tells of a close when it has been.
  if (users.length > 0 || (shown && !(await until(() => !hasOpenFiles(), CLOSED_MS)))) {
    throw new HawserError("mount_point_busy", `${entry.mountPoint} is in use in another mount namespace.`);
  }
  const unmounted = channel.unmount().then(() => true);
  while (!(await within(unmounted, LOOK_MS))) {
    if (hasOpenFiles() || !isLeftIdle(entry)) continue;
    log.info("ending the mount in other mount namespaces, where nobody uses it");
    await channel.close();
  }
}

/** One polite try. @throws what the channel throws, except that it is busy */
async function tryUnmount(
  channel: Channel,
  options: Pick<StopOptions, "log" | "entry" | "hasOpenFiles">,
): Promise<"unmounted" | "busy"> {
  try {
    await unmountEverywhere(channel, options);
    return "unmounted";
  } catch (error) {
    if (!HawserError.is(error, "mount_point_busy")) throw error;
    await sleep(RETRY_MS);
    return "busy";
  }
}
