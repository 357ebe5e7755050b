/**
 * One error class with stable codes.
 *
 * The code is the public contract: the CLI turns it into an exit code, the FUSE adapter into an errno, and a program
 * that uses the library branches on it. The message says what happened, to what, and what to do. docs/ERRORS.md lists
 * every code; a test holds the two together.
 */

/** Every code a HawserError can carry, with its meaning. */
export const ERROR_CODES = {
  // What a user typed or configured.
  invalid_argument: "An argument, option or request is not acceptable as given.",
  config_invalid: "hawser.yaml or an option does not fit the schema.",
  config_not_found: "The configuration file does not exist.",
  mount_point_missing: "The mount point does not exist.",
  mount_point_busy: "The mount point is already mounted or in use.",
  volume_in_use: "The volume is mounted writable on this machine already, with the same staging folder.",
  mount_point_not_empty: "The mount point has content; --nonempty hides it.",
  mount_point_not_directory: "The mount point is not a folder.",
  mount_point_forbidden: "The mount point is a system path or not absolute.",
  not_mounted: "No mount of ours is at that path.",
  // The machine.
  fuse_missing: "/dev/fuse or fusermount3 is not there.",
  fuse_denied: "This user may not mount.",
  addon_missing: "The native addon is not built for this machine.",
  mount_failed: "The kernel or the daemon refused the mount.",
  daemon_failed: "The volume's process ended or did not answer.",
  // Pools.
  pool_not_found: "There is no pool of that name.",
  pool_busy: "Another command, or somebody else, has this pool.",
  provision_failed: "The machines of a pool could not be had.",
  host_unknown: "The host's key is in no known_hosts file.",
  host_key_changed: "The host shows another key than the known one.",
  ssh_unreachable: "The host does not answer, or refuses the connection.",
  ssh_denied: "The host does not accept the login.",
  sudo_missing: "The login may not become root on the node.",
  bundle_missing: "There is no worker software for the node's kind of machine.",
  node_failed: "A node cannot be prepared, or stopped answering.",
  step_timed_out: "A step took longer than its timeout allows.",
  inputs_failed: "Inputs of a pool could not be copied to a node.",
  job_failed: "The job ended with a failure.",
  drain_failed: "What was written on a node is not all in the bucket; the node was kept.",
  teardown_incomplete: "Not everything of a pool could be removed.",
  // The store.
  credentials_missing: "No credentials were found.",
  credentials_expired: "The credentials have expired.",
  credentials_invalid: "The store does not accept the credentials.",
  access_denied: "The store denies this operation to these credentials.",
  bucket_not_found: "The bucket does not exist.",
  wrong_region: "The bucket is in another region and the redirect could not be followed.",
  clock_skewed: "This machine's clock differs too much from the store's.",
  endpoint_unreachable: "The endpoint cannot be reached.",
  timed_out: "The store did not answer within the deadline.",
  slow_down: "The store asks for fewer requests.",
  store_failed: "The store answered with an error of its own.",
  not_supported_by_store: "The store does not offer this operation.",
  checksum_mismatch: "The bytes received do not match their checksum.",
  object_archived: "The object is in an archive class and must be restored first.",
  object_changed: "The object is no longer the version that was asked for.",
  // Files. Each maps to one errno.
  not_found: "There is no such file or object.",
  exists: "The name is taken.",
  not_a_directory: "A part of the path is not a folder.",
  is_a_directory: "The path is a folder.",
  not_empty: "The folder is not empty.",
  volume_readonly: "The volume is read-only.",
  not_permitted: "The operation is not allowed on this volume.",
  permission_denied: "File permissions do not allow this.",
  stale: "The file's version is gone; open it again.",
  text_busy: "The program is being executed.",
  bad_handle: "The handle is not open for this.",
  name_too_long: "A name is longer than 255 bytes.",
  no_attribute: "The file has no such extended attribute.",
  result_too_large: "The result does not fit the given buffer.",
  too_large: "The file or object would be larger than allowed.",
  no_space: "The disk, the staging area or the quota is full.",
  beyond_end: "There is no data, or no hole, at or after this offset.",
  too_many_open_files: "The process is out of file descriptors.",
  cross_device: "The two paths are on different volumes.",
  not_supported: "The operation is not supported.",
  interrupted: "The operation was interrupted.",
  would_block: "The operation would have to wait.",
  closed: "The object was used after close().",
  io_error: "Reading or writing failed.",
  internal: "A bug in Hawser.",
} as const;

/** A stable error code, a key of ERROR_CODES. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What the store said, where an error came from it. */
export interface StoreErrorDetail {
  /** The S3 error code, e.g. `NoSuchKey`. */
  s3Code?: string | undefined;
  /** `x-amz-request-id`, for the store's support. */
  requestId?: string | undefined;
  httpStatus?: number | undefined;
  bucket?: string | undefined;
  key?: string | undefined;
}

export interface HawserErrorOptions extends StoreErrorDetail {
  cause?: unknown;
}

/** Any failure that Hawser reports. */
export class HawserError extends Error {
  override readonly name = "HawserError";
  readonly code: ErrorCode;
  readonly s3Code: string | undefined;
  readonly requestId: string | undefined;
  readonly httpStatus: number | undefined;
  readonly bucket: string | undefined;
  readonly key: string | undefined;

  constructor(code: ErrorCode, message: string, options: HawserErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.s3Code = options.s3Code;
    this.requestId = options.requestId;
    this.httpStatus = options.httpStatus;
    this.bucket = options.bucket;
    this.key = options.key;
  }

  /** True when `error` is a HawserError with one of these codes (any code when none is given). */
  static is(error: unknown, ...codes: ErrorCode[]): error is HawserError {
    return error instanceof HawserError && (codes.length === 0 || codes.includes(error.code));
  }
}

/** Wraps what is not a HawserError as `internal`, keeping it as the cause. */
export function toHawserError(error: unknown): HawserError {
  if (error instanceof HawserError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new HawserError("internal", message, { cause: error });
}
