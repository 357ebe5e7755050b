/** RestoreObject: makes an archived object readable for some days, after the delay the server was started with. */
import type { Reply, RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import { parseXml } from "../xml.ts";
import { isArchived } from "./attributes.ts";
import { findVersion } from "./get.ts";

const DAY_MS = 86_400_000;

export async function restoreObject(context: RequestContext): Promise<Reply> {
  const text = await context.body.text();
  const days = Number((text === "" ? undefined : parseXml(text, "RestoreRequest").value("Days")) ?? 1);
  if (!Number.isInteger(days) || days < 1)
    throw s3Error("InvalidArgument", "Days must be a positive integer");
  const version = findVersion(context);
  if (!isArchived(version)) {
    throw s3Error("InvalidObjectState", "Restore is not allowed for the object's current storage class", {
      elements: { StorageClass: version.storageClass },
    });
  }
  const { restore } = version;
  const isRestored = restore !== undefined && context.nowMs < restore.expiresAtMs;
  if (isRestored && context.nowMs < restore.readyAtMs) throw s3Error("RestoreAlreadyInProgress");
  const readyAtMs = isRestored ? restore.readyAtMs : context.nowMs + context.settings.restoreDelayMs;
  // Days are whole ones, counted from when the copy is there.
  const expiresAtMs = (Math.floor(Math.max(readyAtMs, context.nowMs) / DAY_MS) + days + 1) * DAY_MS;
  await context.buckets.update(context.bucket, { ...version, restore: { readyAtMs, expiresAtMs } });
  return { status: isRestored ? 200 : 202 };
}
