/** Price tables: what storage costs. The one that comes along is data/s3-prices.yaml. */
import { readFile } from "node:fs/promises";
import * as z from "zod";
import { packagePath } from "../../common/package-root.ts";
import { HawserError } from "../../common/errors.ts";
import { GiB } from "../../common/units.ts";
import type { Bytes } from "../../common/units.ts";

const schema = z.strictObject({
  name: z.string(),
  currency: z.string(),
  perGiBMonth: z.record(z.string(), z.number().min(0)),
});

export type PriceTable = z.infer<typeof schema>;

const BUILT_IN = packagePath("data/s3-prices.yaml");

/** @throws HawserError `config_not_found`, `config_invalid` */
export async function loadPrices(file: string = BUILT_IN): Promise<PriceTable> {
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(await readFile(file, "utf8"));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HawserError("config_not_found", `The price table ${file} cannot be read: ${why}.`, {
      cause: error,
    });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(
    ({ path, message }) => `${path.join(".") || "the table"}: ${message}`,
  );
  throw new HawserError("config_invalid", [`The price table ${file} cannot be used.`, ...issues].join("\n"));
}

/** A month of so many bytes in a class. */
export function monthlyCost({ perGiBMonth }: PriceTable, storageClass: string, bytes: Bytes): number {
  const price = Object.hasOwn(perGiBMonth, storageClass) ? perGiBMonth[storageClass] : perGiBMonth["other"];
  return ((price ?? 0) * bytes) / GiB;
}
