/** A pool from flags or from a program: the same schema as hawser.yaml, with mistakes named by the caller's words. */
import { HawserError } from "../common/errors.ts";
import { explain, formatPath } from "./explain.ts";
import type { KeyPath } from "./explain.ts";
import { crossCheckVolumes, named } from "./file.ts";
import type { FileContent } from "./file.ts";
import { crossCheckPool, nodeIds } from "./pool.ts";
import type { PoolConfig } from "./pool.ts";
import { fileSchema } from "./schema.ts";
import { crossCheckTransfers } from "./transfers.ts";

/**
 * Checks a pool and what it does.
 *
 * @param raw as hawser.yaml has it, `pool` always there unless `base` has one
 * @param base what is meant where `raw` says nothing
 * @throws HawserError `invalid_argument`
 */
export function parsePoolRequest(
  raw: Readonly<Record<string, unknown>>,
  nameOf: (path: KeyPath) => string = formatPath,
  base?: FileContent,
): FileContent {
  const { pool: rawPool, ...rest } = raw;
  const wanted = base?.pool
    ? { ...rest, pool: { name: base.pool.name, ...(rawPool as object | undefined) } }
    : raw;
  const result = fileSchema.safeParse(wanted);
  if (!result.success) {
    const problems = explain(result.error, fileSchema, wanted);
    throw refused(problems.map(({ path, message }) => `${nameOf(path)}: ${message}`));
  }
  const { volumes, pool, ...task } = result.data;
  const merged: FileContent = {
    volumes: volumes ? named(volumes) : (base?.volumes ?? []),
    pool: mergedPool(pool, base?.pool, rawPool),
    task: { ...base?.task, ...task },
  };
  if (!merged.pool) throw refused(["pool: is required."]);
  const problems = [
    ...crossCheckVolumes(merged.volumes),
    ...crossCheckPool(merged.pool).map(({ path, message }) => ({ path: ["pool", ...path], message })),
    ...crossCheckTransfers(merged.task.outputs ?? [], nodeIds(merged.pool)),
  ];
  if (problems.length > 0) throw refused(problems.map(({ path, message }) => `${nameOf(path)}: ${message}`));
  return merged;
}

/** A schema fills in no defaults for a pool, so that what was not said is not there. */
function mergedPool(
  given: PoolConfig | undefined,
  base: PoolConfig | undefined,
  raw: unknown,
): PoolConfig | undefined {
  if (!base || raw === undefined) return base ?? given;
  const ssh = given?.ssh ? { ssh: { ...base.ssh, ...given.ssh } } : {};
  return { ...base, ...given, ...ssh };
}

function refused(messages: string[]): HawserError {
  return new HawserError("invalid_argument", messages.join("\n"));
}
