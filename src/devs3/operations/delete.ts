/** DeleteObject and DeleteObjects. */
import type { Reply, RequestContext } from "../context.ts";
import { S3Error, s3Error } from "../errors.ts";
import { parseXml, xmlDocument, type XmlObject } from "../xml.ts";
import { checkDelete } from "./conditions.ts";

/** Keys in one DeleteObjects at most. */
const MAX_KEYS = 1000;

async function remove(
  context: RequestContext,
  key: string,
  versionId: string | undefined,
  ifMatch: string | undefined,
) {
  const { bucket } = context;
  if (versionId !== undefined) return context.buckets.deleteVersion(bucket, key, versionId);
  return context.buckets.deleteCurrent(bucket, key, context.nowMs, (live) => checkDelete(ifMatch, live));
}

export async function deleteObject(context: RequestContext): Promise<Reply> {
  const done = await remove(context, context.key, context.query("versionId"), context.header("if-match"));
  const headers: Record<string, string> = {};
  if (done.versionId !== undefined) headers["x-amz-version-id"] = done.versionId;
  if (done.isDeleteMarker) headers["x-amz-delete-marker"] = "true";
  return { status: 204, headers };
}

export async function deleteObjects(context: RequestContext): Promise<Reply> {
  const { bucket } = context;
  const document = parseXml(await context.body.text(), "Delete");
  const wanted = document.all("Object");
  if (wanted.length === 0 || wanted.length > MAX_KEYS) throw s3Error("MalformedXML");
  const isQuiet = document.value("Quiet")?.trim() === "true";
  const deleted: XmlObject[] = [];
  const errors: XmlObject[] = [];
  for (const object of wanted) {
    const key = object.value("Key");
    if (key === undefined || key === "") throw s3Error("MalformedXML");
    const versionId = object.value("VersionId") || undefined;
    try {
      context.authorize({
        action: versionId === undefined ? "s3:DeleteObject" : "s3:DeleteObjectVersion",
        bucket: bucket.name,
        key,
      });
      const done = await remove(context, key, versionId, object.value("ETag"));
      if (isQuiet) continue;
      const marker = done.isDeleteMarker ? { DeleteMarker: true, DeleteMarkerVersionId: done.versionId } : {};
      deleted.push({ Key: key, VersionId: versionId, ...marker });
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      errors.push({ Key: key, VersionId: versionId, Code: error.code, Message: error.message });
    }
  }
  return { status: 200, body: xmlDocument("DeleteResult", { Deleted: deleted, Error: errors }) };
}
