/**
 * The one table from error codes to errno.
 *
 * ENOSYS is not in it: the kernel takes it as "never ask again" for a whole mount, so it answers unknown opcodes only.
 */
import { constants } from "node:os";
import { HawserError, type ErrorCode } from "../common/errors.ts";

/** Positive errno numbers as Linux counts them. ESTALE is 116 on every architecture we build for. */
const { errno } = constants;

const ERRNO_OF: Record<ErrorCode, number> = {
  invalid_argument: errno.EINVAL,
  config_invalid: errno.EIO,
  config_not_found: errno.EIO,
  mount_point_missing: errno.EIO,
  mount_point_busy: errno.EIO,
  volume_in_use: errno.EIO,
  mount_point_not_empty: errno.EIO,
  mount_point_not_directory: errno.EIO,
  mount_point_forbidden: errno.EIO,
  not_mounted: errno.EIO,
  fuse_missing: errno.EIO,
  fuse_denied: errno.EIO,
  addon_missing: errno.EIO,
  mount_failed: errno.EIO,
  daemon_failed: errno.EIO,
  pool_not_found: errno.EIO,
  pool_busy: errno.EIO,
  provision_failed: errno.EIO,
  host_unknown: errno.EIO,
  host_key_changed: errno.EIO,
  ssh_unreachable: errno.EIO,
  ssh_denied: errno.EIO,
  sudo_missing: errno.EIO,
  bundle_missing: errno.EIO,
  node_failed: errno.EIO,
  step_timed_out: errno.EIO,
  inputs_failed: errno.EIO,
  job_failed: errno.EIO,
  drain_failed: errno.EIO,
  teardown_incomplete: errno.EIO,
  credentials_missing: errno.EACCES,
  credentials_expired: errno.EACCES,
  credentials_invalid: errno.EACCES,
  access_denied: errno.EACCES,
  bucket_not_found: errno.EIO,
  wrong_region: errno.EIO,
  clock_skewed: errno.EIO,
  endpoint_unreachable: errno.EIO,
  timed_out: errno.EIO,
  slow_down: errno.EIO,
  store_failed: errno.EIO,
  not_supported_by_store: errno.EOPNOTSUPP,
  checksum_mismatch: errno.EIO,
  object_archived: errno.EIO,
  object_changed: errno.ESTALE,
  not_found: errno.ENOENT,
  exists: errno.EEXIST,
  not_a_directory: errno.ENOTDIR,
  is_a_directory: errno.EISDIR,
  not_empty: errno.ENOTEMPTY,
  volume_readonly: errno.EROFS,
  not_permitted: errno.EPERM,
  permission_denied: errno.EACCES,
  stale: errno.ESTALE,
  text_busy: errno.ETXTBSY,
  bad_handle: errno.EBADF,
  name_too_long: errno.ENAMETOOLONG,
  no_attribute: errno.ENODATA,
  result_too_large: errno.ERANGE,
  too_large: errno.EFBIG,
  no_space: errno.ENOSPC,
  beyond_end: errno.ENXIO,
  too_many_open_files: errno.EMFILE,
  cross_device: errno.EXDEV,
  not_supported: errno.EOPNOTSUPP,
  interrupted: errno.EINTR,
  would_block: errno.EAGAIN,
  closed: errno.EIO,
  io_error: errno.EIO,
  internal: errno.EIO,
};

/** The positive errno for what was thrown; EIO for what is no HawserError. */
export function errnoOf(error: unknown): number {
  return error instanceof HawserError ? ERRNO_OF[error.code] : errno.EIO;
}
