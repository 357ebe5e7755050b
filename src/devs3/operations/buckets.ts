/** Buckets themselves: list, create, delete, head, location, versioning. */
import { OWNER, type Reply, type RequestContext } from "../context.ts";
import { s3Error } from "../errors.ts";
import { parseXml, xmlDocument } from "../xml.ts";
import type { Versioning } from "../state/model.ts";

const NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

export function listBuckets(context: RequestContext): Reply {
  const prefix = context.query("prefix");
  const shown = context.buckets
    .all()
    .filter((bucket) => prefix === undefined || bucket.name.startsWith(prefix));
  const body = xmlDocument("ListAllMyBucketsResult", {
    Owner: OWNER,
    Buckets: {
      Bucket: shown.map((bucket) => ({
        Name: bucket.name,
        CreationDate: new Date(bucket.createdMs).toISOString(),
        BucketRegion: bucket.region,
      })),
    },
  });
  return { status: 200, body };
}

export async function createBucket(context: RequestContext): Promise<Reply> {
  const name = context.request.bucket!;
  if (!NAME.test(name) || name.includes("..") || /^\d+\.\d+\.\d+\.\d+$/.test(name)) {
    throw s3Error("InvalidBucketName", undefined, { elements: { BucketName: name } });
  }
  const text = await context.body.text();
  const asked =
    text === "" ? undefined : parseXml(text, "CreateBucketConfiguration").value("LocationConstraint");
  const region = asked || context.settings.region;
  const existing = context.buckets.find(name);
  if (existing) {
    // S3's oldest region answers a repetition with success.
    if (region !== "us-east-1" || existing.region !== region) throw s3Error("BucketAlreadyOwnedByYou");
  } else await context.buckets.create(name, region, context.nowMs);
  return { status: 200, headers: { location: `/${name}` } };
}

export async function deleteBucket(context: RequestContext): Promise<Reply> {
  await context.buckets.delete(context.bucket.name);
  return { status: 204 };
}

export function headBucket(context: RequestContext): Reply {
  return { status: 200, headers: { "x-amz-bucket-region": context.bucket.region } };
}

export function getBucketLocation(context: RequestContext): Reply {
  const { region } = context.bucket;
  // us-east-1 is the empty text.
  const text = region === "us-east-1" ? "" : region;
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${text}</LocationConstraint>`;
  return { status: 200, body };
}

export function getBucketVersioning(context: RequestContext): Reply {
  const { versioning } = context.bucket;
  return {
    status: 200,
    body: xmlDocument("VersioningConfiguration", { Status: versioning === "" ? undefined : versioning }),
  };
}

export async function putBucketVersioning(context: RequestContext): Promise<Reply> {
  const { bucket } = context;
  const status = parseXml(await context.body.text(), "VersioningConfiguration").value("Status");
  if (status !== "Enabled" && status !== "Suspended")
    throw s3Error("IllegalVersioningConfigurationException");
  await context.buckets.set(bucket, "versioning", status satisfies Versioning);
  return { status: 200 };
}
