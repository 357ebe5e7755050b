/**
 * Tags: how what was made is found again, by whoever looks for it, without a record.
 *
 * Everything of a pool has the same name too, made of the pool's name and its owner's id, so that two people may use
 * one pool name in one account.
 */
import type { EpochMs } from "../../common/units.ts";
import type { PoolOwner, ProviderContext } from "../provider.ts";

export const END_TAG = "hawser:end";

export const TAG = {
  pool: "hawser:pool",
  owner: "hawser:owner",
  label: "hawser:owner-label",
  expires: "hawser:expires",
  version: "hawser:version",
  node: "hawser:node",
  /** A writable volume was mounted there: what was written may be nowhere else. */
  writes: "hawser:writes",
  /** Whoever set it wants the instance to bring its data home and end. The worker reads it from the metadata service. */
  end: END_TAG,
} as const;

/** Of the layout of tags, not of the program. */
const LAYOUT = "1";

export interface Tag {
  Key: string;
  Value: string;
}

/** Never a character that a tag of IAM refuses. */
function clean(text: string): string {
  return text.replace(/[^\w .:/=+@-]/g, "_").slice(0, 256);
}

export function poolTags({
  name,
  owner,
  expiresMs,
  config,
}: Pick<ProviderContext, "name" | "owner" | "expiresMs" | "config">): Tag[] {
  const ours: Record<string, string> = {
    ...config.tags,
    Name: `hawser-${name}`,
    [TAG.pool]: name,
    [TAG.owner]: owner.id,
    [TAG.label]: owner.label,
    [TAG.expires]: expiryText(expiresMs),
    [TAG.version]: LAYOUT,
  };
  return Object.entries(ours).map(([Key, Value]) => ({ Key, Value: clean(Value) }));
}

export function expiryText(expiresMs: EpochMs | undefined): string {
  return expiresMs === undefined ? "never" : new Date(expiresMs).toISOString();
}

/**
 * Whether the metadata service can show an instance's tags: a launch with a key that it cannot show would be refused.
 *
 * Source: "View tags for your EC2 instances using instance metadata", EC2 User Guide.
 */
export function showsTags(tags: readonly Tag[]): boolean {
  return tags.every(({ Key }) => /^[\w+\-=.,:@]+$/.test(Key) && ![".", "..", "_index"].includes(Key));
}

type FoundTags = readonly { Key?: string | undefined; Value?: string | undefined }[] | undefined;

export function tagOf(tags: FoundTags, key: string): string | undefined {
  return tags?.find(({ Key }) => Key === key)?.Value;
}

/** Whose a thing is; `undefined` for one that is not of Hawser. */
export function belonging(
  tags: FoundTags,
): { pool: string; owner: PoolOwner; expiresMs: EpochMs | undefined } | undefined {
  const pool = tagOf(tags, TAG.pool);
  const id = tagOf(tags, TAG.owner);
  if (pool === undefined || id === undefined) return undefined;
  const expiry = Date.parse(tagOf(tags, TAG.expires) ?? "");
  return {
    pool,
    owner: { id, label: tagOf(tags, TAG.label) ?? "somebody" },
    expiresMs: Number.isNaN(expiry) ? undefined : expiry,
  };
}

export function poolFilters(
  name: string,
  owner: Pick<PoolOwner, "id">,
): { Name: string; Values: string[] }[] {
  return [
    { Name: `tag:${TAG.pool}`, Values: [name] },
    { Name: `tag:${TAG.owner}`, Values: [owner.id] },
  ];
}

/** The name of everything of a pool that has one. At most 64 characters, which IAM allows. */
export function resourceName(name: string, owner: Pick<PoolOwner, "id">): string {
  return `hawser-${name}-${owner.id.replace(/-/g, "").slice(0, 8)}`;
}
