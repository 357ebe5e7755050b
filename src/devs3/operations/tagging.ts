/** Object tags: get, put, delete. */
import type { Reply, RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import { parseXml, xmlDocument, type XmlElement } from "../xml.ts";
import { checkTags, versionHeader } from "./attributes.ts";
import { findVersion } from "./get.ts";

function readTags(document: XmlElement): Record<string, string> {
  const tags: Record<string, string> = {};
  for (const tag of document.child("TagSet")?.all("Tag") ?? []) {
    const name = tag.value("Key") ?? "";
    if (name in tags) throw s3Error("InvalidTag", "Cannot provide multiple Tags with the same key");
    tags[name] = tag.value("Value") ?? "";
  }
  return checkTags(tags);
}

export function getObjectTagging(context: RequestContext): Reply {
  const version = findVersion(context);
  const Tag = Object.entries(version.tags).map(([Key, Value]) => ({ Key, Value }));
  return {
    status: 200,
    headers: versionHeader(context, version),
    body: xmlDocument("Tagging", { TagSet: { Tag } }),
  };
}

export async function putObjectTagging(context: RequestContext): Promise<Reply> {
  const tags = readTags(parseXml(await context.body.text(), "Tagging"));
  const version = findVersion(context);
  await context.buckets.update(context.bucket, { ...version, tags });
  return { status: 200, headers: versionHeader(context, version) };
}

export async function deleteObjectTagging(context: RequestContext): Promise<Reply> {
  const version = findVersion(context);
  await context.buckets.update(context.bucket, { ...version, tags: {} });
  return { status: 204, headers: versionHeader(context, version) };
}
