/** The words for a run that was ended by its pool's time to live: which limit, when, where everything is, how to have more. */
import { formatDuration } from "../common/units.ts";
import type { PoolRecord } from "./pool-record.ts";

export interface AfterTheEnd {
  logsPath: string;
  /** Everything that was written is in the bucket. */
  broughtHome: boolean;
}

/** @param record as it was when the pool ended */
export function timeIsOver(
  { name, config, createdMs, expiresMs, volumes, task }: PoolRecord,
  { logsPath, broughtHome }: AfterTheEnd,
): string {
  const { ttl } = config;
  const given = ttl !== undefined && expiresMs === createdMs + ttl;
  const limit = given ? `its time to live (ttl: ${formatDuration(ttl)})` : "the end that it was given";
  const at = expiresMs === undefined ? "" : ` at ${new Date(expiresMs).toISOString()}`;
  const places = [
    ...volumes
      .filter(({ mode }) => mode === "writable")
      .map(({ mount, bucket, prefix }) => `${mount} in s3://${bucket}/${prefix}`),
    ...(task.outputs ?? []).map(({ from, to }) => `${from} in ${to}`),
  ];
  const kept = broughtHome ? "What it had written until then is in the bucket" : "What it wrote goes";
  return [
    `the pool '${name}' reached ${limit}${at}, and its job was stopped there`,
    ...(places.length > 0 ? [`${kept}: ${places.join(", ")}`] : []),
    `The output of each rank is in ${logsPath}`,
    `For more time write a longer ttl: in hawser.yaml, or give it to a pool that is up with 'hawser pool extend ${name} --ttl TIME'`,
  ].join(". ");
}
