/**
 * Lifecycle rules as a person writes them, and as S3 has them.
 *
 * ```yaml
 * rules:
 *   - name: old-runs
 *     prefix: runs/
 *     transitions: [{ to: STANDARD_IA, after: 30d }]
 *     expire: 365d
 *     abortMultiparts: 7d
 *     oldVersions: { expire: 30d, keep: 2 }
 * ```
 *
 * Both directions are pure, and what S3 has comes back the same after being shown and set.
 */
import type { LifecycleRule } from "@aws-sdk/client-s3";
import * as z from "zod";
import { HawserError } from "../../common/errors.ts";
import { parseDuration, parseSize } from "../../common/units.ts";
import type { S3Store } from "../../store/s3-store.ts";

const DAY_MS = 86_400_000;

/** `30d`, `4w`: S3 counts whole days. */
const days = z.string().transform((text, context): number => {
  const count = wholeDays(text);
  if (count !== undefined) return count;
  context.addIssue({ code: "custom", message: `'${text}' is not whole days, such as 30d` });
  return z.NEVER;
});
/** After so many days, or at a date. */
const moment = z.string().transform((text, context): number | string => {
  if (/^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text))) return text;
  const count = wholeDays(text);
  if (count !== undefined) return count;
  context.addIssue({
    code: "custom",
    message: `'${text}' is neither whole days, such as 30d, nor a date, such as 2027-01-31`,
  });
  return z.NEVER;
});
const size = z.union([z.string(), z.number()]).transform((text, context): number => {
  try {
    return parseSize(text);
  } catch {
    context.addIssue({ code: "custom", message: `'${text}' is not a size, such as 1MiB` });
    return z.NEVER;
  }
});
const transition = z.strictObject({ to: z.string().min(1), after: moment });
const rule = z
  .strictObject({
    name: z.string().min(1).max(255),
    enabled: z.boolean().optional(),
    prefix: z.string().optional(),
    tags: z.record(z.string(), z.string()).optional(),
    largerThan: size.optional(),
    smallerThan: size.optional(),
    transitions: z.array(transition).optional(),
    expire: moment.optional(),
    removeExpiredMarkers: z.boolean().optional(),
    oldVersions: z
      .strictObject({
        expire: days.optional(),
        keep: z.int().min(1).max(100).optional(),
        transitions: z.array(z.strictObject({ to: z.string().min(1), after: days })).optional(),
      })
      .optional(),
    abortMultiparts: days.optional(),
  })
  .refine(
    (one) =>
      one.transitions ?? one.expire ?? one.removeExpiredMarkers ?? one.oldVersions ?? one.abortMultiparts,
    "says nothing to do: expire, transitions, oldVersions, removeExpiredMarkers or abortMultiparts",
  );
const document = z.strictObject({ rules: z.array(rule).min(1).max(1000) });

/** @throws HawserError `config_invalid` that names what is wrong and where */
export function lifecycleOf(value: unknown): LifecycleRule[] {
  const parsed = document.safeParse(value);
  if (parsed.success) return parsed.data.rules.map(ruleOf);
  const said = parsed.error.issues.map(
    ({ path, message }) => `${path.join(".") || "the document"}: ${message}`,
  );
  throw new HawserError("config_invalid", ["The lifecycle rules cannot be used.", ...said].join("\n"));
}

function wholeDays(text: string): number | undefined {
  try {
    const count = parseDuration(text) / DAY_MS;
    return Number.isInteger(count) && count >= 1 ? count : undefined;
  } catch {
    return undefined;
  }
}

type Rule = z.infer<typeof rule>;

function ruleOf(one: Rule): LifecycleRule {
  const made: LifecycleRule = {
    ID: one.name,
    Status: one.enabled === false ? "Disabled" : "Enabled",
    Filter: filterOf(one),
  };
  if (one.expire !== undefined) made.Expiration = momentOf(one.expire);
  else if (one.removeExpiredMarkers) made.Expiration = { ExpiredObjectDeleteMarker: true };
  if (one.transitions)
    made.Transitions = one.transitions.map(({ to, after }) => ({
      ...momentOf(after),
      StorageClass: to as "GLACIER",
    }));
  const { oldVersions } = one;
  if (oldVersions?.expire !== undefined) {
    made.NoncurrentVersionExpiration = { NoncurrentDays: oldVersions.expire };
    if (oldVersions.keep !== undefined)
      made.NoncurrentVersionExpiration.NewerNoncurrentVersions = oldVersions.keep;
  }
  if (oldVersions?.transitions) {
    made.NoncurrentVersionTransitions = oldVersions.transitions.map(({ to, after }) => ({
      NoncurrentDays: after,
      StorageClass: to as "GLACIER",
    }));
  }
  if (one.abortMultiparts !== undefined)
    made.AbortIncompleteMultipartUpload = { DaysAfterInitiation: one.abortMultiparts };
  return made;
}

/** S3 wants one condition bare and several within And. */
function filterOf({
  prefix,
  tags = {},
  largerThan,
  smallerThan,
}: Rule): NonNullable<LifecycleRule["Filter"]> {
  const pairs = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  const count = [prefix, largerThan, smallerThan].filter((one) => one !== undefined).length + pairs.length;
  const bare = {
    ...(prefix === undefined ? {} : { Prefix: prefix }),
    ...(largerThan === undefined ? {} : { ObjectSizeGreaterThan: largerThan }),
    ...(smallerThan === undefined ? {} : { ObjectSizeLessThan: smallerThan }),
  };
  if (count > 1) return { And: { ...bare, ...(pairs.length > 0 ? { Tags: pairs } : {}) } };
  if (pairs[0]) return { Tag: pairs[0] };
  return count === 0 ? { Prefix: "" } : bare;
}

function momentOf(moment: string | number): { Days: number } | { Date: Date } {
  return typeof moment === "number" ? { Days: moment } : { Date: new Date(`${moment}T00:00:00Z`) };
}

/** The rules of a bucket as `lifecycleOf` takes them. */
export function readableLifecycle(rules: readonly LifecycleRule[]): { rules: Record<string, unknown>[] } {
  return { rules: rules.map(readableRule) };
}

function readableRule(one: LifecycleRule, at: number): Record<string, unknown> {
  const { Filter, Expiration, NoncurrentVersionExpiration: old } = one;
  const filter = { ...Filter, ...Filter?.And };
  // Rules from before 2016 have their prefix outside of a filter.
  const prefix = filter.Prefix ?? (one as { Prefix?: string }).Prefix;
  const tags = [...(Filter?.Tag ? [Filter.Tag] : []), ...(Filter?.And?.Tags ?? [])];
  const transitions = one.Transitions?.map((made) => ({
    to: made.StorageClass,
    after: readableMoment(made),
  }));
  const oldTransitions = one.NoncurrentVersionTransitions?.map(({ StorageClass, NoncurrentDays }) => ({
    to: StorageClass,
    after: `${NoncurrentDays}d`,
  }));
  const oldVersions = {
    expire: old?.NoncurrentDays === undefined ? undefined : `${old.NoncurrentDays}d`,
    keep: old?.NewerNoncurrentVersions,
    transitions: oldTransitions,
  };
  const abort = one.AbortIncompleteMultipartUpload?.DaysAfterInitiation;
  return defined({
    name: one.ID ?? `rule-${at + 1}`,
    enabled: one.Status === "Disabled" ? false : undefined,
    prefix: prefix === "" ? undefined : prefix,
    tags: tags.length > 0 ? Object.fromEntries(tags.map(({ Key, Value }) => [Key, Value])) : undefined,
    largerThan: filter.ObjectSizeGreaterThan,
    smallerThan: filter.ObjectSizeLessThan,
    transitions,
    expire: Expiration && readableMoment(Expiration),
    removeExpiredMarkers: Expiration?.ExpiredObjectDeleteMarker || undefined,
    oldVersions: old || oldTransitions ? defined(oldVersions) : undefined,
    abortMultiparts: abort === undefined ? undefined : `${abort}d`,
  });
}

function readableMoment({
  Days,
  Date: date,
}: {
  Days?: number | undefined;
  Date?: Date | undefined;
}): string | undefined {
  if (Days !== undefined) return `${Days}d`;
  return date?.toISOString().slice(0, 10);
}

function defined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The rules of a bucket; none when it has none. */
export async function getLifecycle(store: S3Store, signal?: AbortSignal): Promise<LifecycleRule[]> {
  try {
    const { Rules = [] } = await store.control(
      { operation: "GetBucketLifecycleConfiguration", signal },
      ({ sdk, client, bucket, signal }) =>
        client.send(new sdk.GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), {
          abortSignal: signal,
        }),
    );
    return Rules;
  } catch (error) {
    if (HawserError.is(error) && error.s3Code === "NoSuchLifecycleConfiguration") return [];
    throw error;
  }
}

/** Replaces all rules; none removes them. */
export async function setLifecycle(
  store: S3Store,
  rules: readonly LifecycleRule[],
  signal?: AbortSignal,
): Promise<void> {
  if (rules.length === 0) {
    await store.control({ operation: "DeleteBucketLifecycle", signal }, ({ sdk, client, bucket, signal }) =>
      client.send(new sdk.DeleteBucketLifecycleCommand({ Bucket: bucket }), { abortSignal: signal }),
    );
    return;
  }
  await store.control(
    { operation: "PutBucketLifecycleConfiguration", signal },
    ({ sdk, client, bucket, signal }) =>
      client.send(
        new sdk.PutBucketLifecycleConfigurationCommand({
          Bucket: bucket,
          LifecycleConfiguration: { Rules: [...rules] },
        }),
        { abortSignal: signal },
      ),
  );
}
