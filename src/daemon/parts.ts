/** The parts of a mount, as the program uses them. */
import { HawserError } from "../common/errors.ts";
import type { Channel } from "../fuse/channel.ts";
import { resolveReference } from "./credentials.ts";
import { openVolume } from "./open-volume.ts";
import type { Parts } from "./serve.ts";

export const parts: Parts = {
  openVolume: (settings, { supervisor, log, signal }) =>
    openVolume(settings.volume, {
      credentials: resolveReference(settings.credentials, supervisor),
      log,
      signal,
      note: (text) => supervisor.note(text),
    }),
  async createChannel({ volume }, log): Promise<Channel> {
    if (volume.channel === "fuse-native") {
      const { FuseNativeChannel } = await import("../fuse/fuse-native-channel.ts");
      return new FuseNativeChannel({ logger: log });
    }
    const { NativeChannel } = await import("../fuse/native-channel.ts").catch((error: unknown) => {
      throw new HawserError("addon_missing", "The native channel could not be loaded.", { cause: error });
    });
    return new NativeChannel({ logger: log });
  },
};
