/**
 * Where a server differs from S3 so that a case cannot pass there. docs/INTEROP.md tells the same; a test holds the two
 * together, and each case is still run and must fail, so that the list cannot outlive its reasons.
 */
import type { ServerName } from "./servers.ts";

export interface Difference {
  server: ServerName;
  /** The case's name, the same for all clients. */
  case: string;
  reason: string;
}

export const DIFFERENCES: readonly Difference[] = [
  {
    server: "SeaweedFS",
    case: "boto3 backslash",
    reason: "A backslash in a key becomes a slash.",
  },
  {
    server: "SeaweedFS",
    case: "boto3 odd_slashes",
    reason:
      "Keys are paths of its filer: empty components and `.` and `..` are resolved, and a key that is also a folder gets lost.",
  },
  {
    server: "SeaweedFS",
    case: "boto3 conditional_put_of_nothing",
    reason: "PUT with If-Match on a missing key answers 412 PreconditionFailed; S3 answers 404 NoSuchKey.",
  },
  {
    server: "SeaweedFS",
    case: "boto3 listing_folders_v1",
    reason:
      "ListObjects V1 with a delimiter takes its own NextMarker wrongly where names are encoded, and leaves folders out.",
  },
  {
    server: "SeaweedFS",
    case: "s5cmd copies of odd names",
    reason: "A plus in x-amz-copy-source stays a plus; s5cmd sends it for a space, which S3 reads it as.",
  },
];

export function differenceOf(server: ServerName, name: string): Difference | undefined {
  return DIFFERENCES.find((one) => one.server === server && one.case === name);
}
