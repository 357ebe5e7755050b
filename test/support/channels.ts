/** The channels that tests run on, and why one cannot be tested on this machine. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe } from "vitest";
import type { ChannelKind } from "../../src/fuse/channel.ts";

const CHANNELS: readonly ChannelKind[] = ["native", "fuse-native"];

/** Declares the same tests for each channel; those that cannot run here are skipped, with the reason in the title. */
export function describeChannels(theme: string, declare: (channel: ChannelKind) => void): void {
  for (const channel of CHANNELS) {
    const reason = cannotTest(channel);
    describe.skipIf(reason !== "")(`${channel}: ${theme}${reason}`, () => {
      declare(channel);
    });
  }
}

/** The reason, with a space in front; empty where the channel can be tested. */
function cannotTest(channel: ChannelKind): string {
  if (process.getuid!() !== 0) return " [needs root: other users, remounts, owners]";
  return channel === "native" ? "" : whyNotFuseNative();
}

/** Why the package cannot be used, with a space in front; empty where it can. */
export function whyNotFuseNative(): string {
  const folder = fileURLToPath(new URL("../../node_modules/fuse-native", import.meta.url));
  if (!existsSync(folder)) return " [fuse-native, an optional package, is not installed]";
  return process.arch === "x64" ? "" : ` [fuse-native is built for x64, not for ${process.arch}]`;
}
