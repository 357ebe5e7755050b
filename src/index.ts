/**
 * The library: what the program `hawser` does, as typed functions.
 *
 * Every rejection is a HawserError whose `code` is stable; docs/ERRORS.md lists them.
 *
 * ```js
 * import { Volume, mount } from "hawser";
 * await using data = await mount({ bucket: "my-data", prefix: "imagenet", mount: "/data" });
 * ```
 */
export { runCommands } from "./cli/s3/run-commands.ts";
export type { CommandResult, CommandsResult, RunCommandsOptions } from "./cli/s3/run-commands.ts";
export { ERROR_CODES, HawserError } from "./common/errors.ts";
export type { ErrorCode } from "./common/errors.ts";
export { loadConfig } from "./config/file.ts";
export type { LoadedConfig, NamedVolume } from "./config/file.ts";
export { jsonSchema } from "./config/schema.ts";
export type { CredentialsConfig, StorageKind, VolumeConfig, VolumeInput } from "./config/schema.ts";
export type { MountStatus } from "./daemon/control-protocol.ts";
export type { EndOptions } from "./daemon/end-mount.ts";
export { MountedVolume, mount } from "./daemon/mount.ts";
export type { MountOptions } from "./daemon/mount.ts";
export { Volume } from "./daemon/volume.ts";
export type { FileEntry, ReadOptions } from "./daemon/volume.ts";
export type { VolumeOptions } from "./daemon/volume-request.ts";
export { gather, shard } from "./launch/call.ts";
export { instanceInfo } from "./launch/instance-info.ts";
export type { InstanceInfo } from "./launch/instance-info.ts";
export { Pool } from "./launch/pool.ts";
export type { PoolOptionsInput } from "./launch/pool.ts";
export type { PoolEvent } from "./launch/events.ts";
export type { CredentialProvider } from "./store/credentials.ts";
export type { ListedObject } from "./store/object-store.ts";
export type { Entries, EntryOptions } from "./transfer/browse/entries.ts";
export type { ConnectionOptions } from "./transfer/connection.ts";
export type {
  SkipReason,
  TransferAction,
  TransferEvent,
  TransferFailure,
  TransferItem,
  TransferSummary,
} from "./transfer/events.ts";
export type { FilterRule } from "./transfer/filter.ts";
export type { RemoveOptions } from "./transfer/remove.ts";
export type { CopyOptions } from "./transfer/route.ts";
export { S3 } from "./transfer/s3.ts";
export type { S3Cleanup, S3CleanupOptions } from "./transfer/s3.ts";
export { Checkpoints } from "./transfer/checkpoint/checkpoints.ts";
export type {
  CleanupOptions,
  KeepOptions,
  PickOptions,
  PushCallOptions,
  Verified,
  WatchPushOptions,
} from "./transfer/checkpoint/checkpoints.ts";
export type { FindOptions } from "./transfer/checkpoint/find.ts";
export type { Kept } from "./transfer/checkpoint/keep.ts";
export type { Step, StepState } from "./transfer/checkpoint/step.ts";
export type { Pulled } from "./transfer/checkpoint/pull.ts";
export type { Pushed } from "./transfer/checkpoint/push.ts";
export { runTask } from "./transfer/run-task.ts";
export type { RunTaskOptions, TaskFiles, TaskResult, TaskTransferResult } from "./transfer/run-task.ts";
export type { WatchEvent, WatchOptions } from "./transfer/watch.ts";
export type { Review } from "./transfer/review/review.ts";
export type { ObjectVersion } from "./transfer/bucket/versions.ts";
export type { BucketSettings, SettingChanges } from "./transfer/bucket/settings.ts";
export type { SyncOptions } from "./transfer/sync.ts";
export type { Confirm, DeletionPlan } from "./transfer/deletions.ts";
