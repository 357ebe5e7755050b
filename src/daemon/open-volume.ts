/** What a mount serves, as one thing to close. */
import type { Metrics } from "../observe/metrics.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { Filesystem } from "../vfs/filesystem.ts";

export interface OpenVolume extends AsyncDisposable {
  readonly store: ObjectStore;
  readonly filesystem: Filesystem;
  /** Where requests go, for people. */
  readonly endpoint: string;
  readonly region: string;
  /** Adds what its parts count. */
  report(metrics: Metrics): void;
  /** Filesystem, content, connections, in this order. May be called twice. */
  close(): Promise<void>;
}
