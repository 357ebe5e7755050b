/** Exit codes: what a script can tell apart without reading. Listed in docs/ERRORS.md. */
import type { ErrorCode, HawserError } from "../common/errors.ts";

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  mountPoint: 3,
  machine: 4,
  credentials: 5,
  store: 6,
  pool: 7,
  bug: 70,
  interrupted: 130,
} as const;

export const EXIT_MEANINGS: Record<keyof typeof EXIT, string> = {
  ok: "Done.",
  failure: "It failed; the message says why.",
  usage: "The command line or hawser.yaml is not acceptable as written.",
  mountPoint: "The mount point cannot be used, or nothing of ours is mounted there.",
  machine: "This machine lacks something: /dev/fuse, the right to mount, the native addon.",
  credentials: "Credentials are missing, expired, not accepted, or not allowed to do this.",
  store: "The store cannot be reached, does not have the bucket, or failed.",
  pool: "A pool or one of its nodes cannot be used; a job's own failure ends with the job's exit code.",
  bug: "A bug in Hawser; the stack is shown with --verbose.",
  interrupted: "Stopped by Ctrl-C.",
};

const BY_CODE: Partial<Record<ErrorCode, keyof typeof EXIT>> = {
  invalid_argument: "usage",
  config_invalid: "usage",
  config_not_found: "usage",
  mount_point_missing: "mountPoint",
  mount_point_busy: "mountPoint",
  volume_in_use: "mountPoint",
  mount_point_not_empty: "mountPoint",
  mount_point_not_directory: "mountPoint",
  mount_point_forbidden: "mountPoint",
  not_mounted: "mountPoint",
  fuse_missing: "machine",
  fuse_denied: "machine",
  addon_missing: "machine",
  credentials_missing: "credentials",
  credentials_expired: "credentials",
  credentials_invalid: "credentials",
  access_denied: "credentials",
  clock_skewed: "credentials",
  bucket_not_found: "store",
  wrong_region: "store",
  endpoint_unreachable: "store",
  timed_out: "store",
  slow_down: "store",
  store_failed: "store",
  pool_not_found: "pool",
  pool_busy: "pool",
  provision_failed: "pool",
  host_unknown: "pool",
  host_key_changed: "pool",
  ssh_unreachable: "pool",
  ssh_denied: "pool",
  sudo_missing: "pool",
  bundle_missing: "pool",
  node_failed: "pool",
  step_timed_out: "pool",
  inputs_failed: "pool",
  drain_failed: "pool",
  teardown_incomplete: "pool",
  interrupted: "interrupted",
  internal: "bug",
};

export function exitName(code: ErrorCode): keyof typeof EXIT {
  return BY_CODE[code] ?? "failure";
}

export function exitCodeOf(error: HawserError): number {
  return EXIT[exitName(error.code)];
}
