/**
 * Inputs and outputs of a pool, as its nodes are told them.
 *
 * Pure: the configuration and a node's place in, addresses and paths out. Nothing of it is copied here, and no request is
 * sent: the nodes do that.
 */
import type { Environment } from "../config/interpolate.ts";
import type { ProviderKind } from "../config/pool.ts";
import type { TaskConfig } from "../config/task.ts";
import { credentialsName, forNode, nodeName } from "../config/transfers.ts";
import type { InputConfig, OutputConfig } from "../config/transfers.ts";
import { parseS3Url } from "../config/volume.ts";
import type { Access } from "./ec2/policy.ts";
import { handsOver } from "./volume-credentials.ts";
import type { WorkerTransfer } from "./worker/spec.ts";

/** What programs log beside their results; `includeLogs` takes it as well. */
const LOGS = ["*.log", "logs"];

export function transfersFor(
  { inputs = [], outputs = [] }: Pick<TaskConfig, "inputs" | "outputs">,
  { rank, id, provider }: { rank: number; id: string; provider: ProviderKind },
  environment: Environment,
): WorkerTransfer[] {
  const at = { rank, node: nodeName(id) };
  const common = (transfer: InputConfig | OutputConfig) => ({
    from: forNode(transfer.from, at),
    to: forNode(transfer.to, at),
    store: {
      storage: transfer.storage,
      region: transfer.region ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"],
      endpoint: transfer.endpoint ?? environment["AWS_ENDPOINT_URL_S3"] ?? environment["AWS_ENDPOINT_URL"],
      addressing: transfer.addressing,
      accountId: transfer.accountId,
      requestPayer: transfer.requesterPays,
    },
    anonymous: transfer.credentials === "anonymous",
    ...(handsOver(provider, transfer) ? { credentials: credentialsName(transfer.credentials) } : {}),
  });
  return [
    ...inputs.map((input) => ({
      direction: "input" as const,
      ...common(input),
      exclude: input.exclude ?? [],
    })),
    ...outputs.map((output) => ({
      direction: "output" as const,
      ...common(output),
      exclude: [...(output.includeLogs ? [] : LOGS), ...(output.exclude ?? [])],
    })),
  ];
}

/** What the nodes' own role must allow for it, up to where a path differs from node to node. */
export function transferAccess({
  inputs = [],
  outputs = [],
}: Pick<TaskConfig, "inputs" | "outputs">): Access[] {
  const of = (transfer: InputConfig | OutputConfig, url: string, mode: Access["mode"]): Access[] => {
    const { credentials, storage = "s3" } = transfer;
    if (storage !== "s3" || credentials === "anonymous" || handsOver("ec2", transfer)) return [];
    const { bucket, prefix } = parseS3Url(url.replace(/\{.*$/s, ""));
    return [{ bucket, prefix, mode }];
  };
  return [
    ...inputs.flatMap((input) => of(input, input.from, "read-only")),
    ...outputs.flatMap((output) => of(output, output.to, "writable")),
  ];
}
