/**
 * Bucket subresources that are kept and given back as they are: lifecycle, encryption and their kind.
 *
 * What the documents say has no effect here. A subresource that was never put answers with its own error, or with the
 * document S3 answers by default.
 */
import { OWNER, type Reply, type RequestContext } from "../context.ts";
import { S3Error, s3Error } from "../errors.ts";
import { parseXml, xmlDocument } from "../xml.ts";

export interface Setting {
  /** The query name. */
  readonly name: string;
  /** As in S3's operation names, e.g. `BucketLifecycleConfiguration`. */
  readonly operation: string;
  readonly action: string;
  /** Root of the document; absent for JSON. */
  readonly root?: string;
  /** Code of the 404 where nothing was put. */
  readonly missing?: string;
  /** The document where nothing was put. */
  readonly initial?: string;
  readonly canDelete?: boolean;
}

const ENCRYPTION = xmlDocument("ServerSideEncryptionConfiguration", {
  Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" }, BucketKeyEnabled: false },
});

export const SETTINGS: readonly Setting[] = [
  {
    name: "lifecycle",
    operation: "BucketLifecycleConfiguration",
    action: "LifecycleConfiguration",
    root: "LifecycleConfiguration",
    missing: "NoSuchLifecycleConfiguration",
    canDelete: true,
  },
  {
    name: "encryption",
    operation: "BucketEncryption",
    action: "EncryptionConfiguration",
    root: "ServerSideEncryptionConfiguration",
    initial: ENCRYPTION,
    canDelete: true,
  },
  {
    name: "publicAccessBlock",
    operation: "PublicAccessBlock",
    action: "BucketPublicAccessBlock",
    root: "PublicAccessBlockConfiguration",
    missing: "NoSuchPublicAccessBlockConfiguration",
    canDelete: true,
  },
  {
    name: "ownershipControls",
    operation: "BucketOwnershipControls",
    action: "BucketOwnershipControls",
    root: "OwnershipControls",
    missing: "OwnershipControlsNotFoundError",
    canDelete: true,
  },
  {
    name: "cors",
    operation: "BucketCors",
    action: "BucketCORS",
    root: "CORSConfiguration",
    missing: "NoSuchCORSConfiguration",
    canDelete: true,
  },
  {
    name: "tagging",
    operation: "BucketTagging",
    action: "BucketTagging",
    root: "Tagging",
    missing: "NoSuchTagSet",
    canDelete: true,
  },
  {
    name: "policy",
    operation: "BucketPolicy",
    action: "BucketPolicy",
    missing: "NoSuchBucketPolicy",
    canDelete: true,
  },
  {
    name: "replication",
    operation: "BucketReplication",
    action: "ReplicationConfiguration",
    root: "ReplicationConfiguration",
    missing: "ReplicationConfigurationNotFoundError",
    canDelete: true,
  },
  {
    name: "website",
    operation: "BucketWebsite",
    action: "BucketWebsite",
    root: "WebsiteConfiguration",
    missing: "NoSuchWebsiteConfiguration",
    canDelete: true,
  },
  {
    name: "object-lock",
    operation: "ObjectLockConfiguration",
    action: "BucketObjectLockConfiguration",
    root: "ObjectLockConfiguration",
    missing: "ObjectLockConfigurationNotFoundError",
  },
  {
    name: "logging",
    operation: "BucketLogging",
    action: "BucketLogging",
    root: "BucketLoggingStatus",
    initial: xmlDocument("BucketLoggingStatus", {}),
  },
  {
    name: "notification",
    operation: "BucketNotificationConfiguration",
    action: "BucketNotification",
    root: "NotificationConfiguration",
    initial: xmlDocument("NotificationConfiguration", {}),
  },
  {
    name: "accelerate",
    operation: "BucketAccelerateConfiguration",
    action: "AccelerateConfiguration",
    root: "AccelerateConfiguration",
    initial: xmlDocument("AccelerateConfiguration", {}),
  },
  {
    name: "requestPayment",
    operation: "BucketRequestPayment",
    action: "BucketRequestPayment",
    root: "RequestPaymentConfiguration",
    initial: xmlDocument("RequestPaymentConfiguration", { Payer: "BucketOwner" }),
  },
];

export function getSetting(setting: Setting, context: RequestContext): Reply {
  const body = context.bucket.settings.get(setting.name) ?? setting.initial;
  if (body === undefined) {
    throw new S3Error(setting.missing!, "The bucket has no such configuration.", {
      status: 404,
      elements: { BucketName: context.bucket.name },
    });
  }
  const headers = { "content-type": setting.root === undefined ? "application/json" : "application/xml" };
  return { status: 200, headers, body };
}

export async function putSetting(setting: Setting, context: RequestContext): Promise<Reply> {
  const text = await context.body.text();
  if (text === "") throw s3Error("MissingRequestBodyError");
  if (setting.root === undefined) {
    try {
      JSON.parse(text);
    } catch {
      throw new S3Error("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'");
    }
  } else parseXml(text, setting.root);
  await context.buckets.set(context.bucket, setting.name, text);
  return { status: setting.root === undefined ? 204 : 200 };
}

export async function deleteSetting(setting: Setting, context: RequestContext): Promise<Reply> {
  await context.buckets.set(context.bucket, setting.name, null);
  return { status: 204 };
}

/** Everything belongs to the one owner; canned ACLs are taken and have no effect. */
export function getAcl(): Reply {
  const grantee = `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>${OWNER.ID}</ID><DisplayName>${OWNER.DisplayName}</DisplayName></Grantee>`;
  const body = xmlDocument("AccessControlPolicy", {
    Owner: OWNER,
    AccessControlList: { Grant: { Permission: "FULL_CONTROL" } },
  }).replace("<Grant>", `<Grant>${grantee}`);
  return { status: 200, body };
}

export async function putAcl(context: RequestContext): Promise<Reply> {
  await context.body.text();
  return { status: 200 };
}
