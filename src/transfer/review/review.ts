/** A review of a prefix: what is there, what it costs, and what to do about it. */
import type { EpochMs } from "../../common/units.ts";
import { formatBytes } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";
import type { S3Store } from "../../store/s3-store.ts";
import { formatS3 } from "../address.ts";
import { isUnknownToStore } from "../bucket/buckets.ts";
import { folderPrefix, listObjects } from "../listing.ts";
import { monthlyCost } from "./prices.ts";
import type { PriceTable } from "./prices.ts";
import { TallyCollector } from "./tally.ts";
import type { Tally } from "./tally.ts";

export interface Review {
  uri: string;
  nowMs: EpochMs;
  tally: Tally;
  /** Undefined where the store does not tell. */
  multiparts: { count: number; oldestMs: EpochMs | undefined } | undefined;
  prices: PriceTable;
  costs: { storageClass: string; cost: number }[];
  monthlyCost: number;
  advice: string[];
}

/** @param onObjects is given the objects by the page, for a list of them */
export async function review(
  store: S3Store,
  prefix: string,
  prices: PriceTable,
  options: {
    nowMs: EpochMs;
    signal?: AbortSignal | undefined;
    onObjects?: ((page: readonly ListedObject[]) => void) | undefined;
  },
): Promise<Review> {
  const { nowMs, signal, onObjects } = options;
  const top = folderPrefix(prefix);
  const collector = new TallyCollector(top, nowMs);
  for await (const page of listObjects(store, top, { signal })) {
    for (const object of page) collector.add(object);
    onObjects?.(page);
  }
  const multiparts = await multipartsOf(store, top, signal);
  const tally = collector.tally();
  const uri = formatS3(store.bucket, top);
  const costs = [...tally.classes].map(([storageClass, { bytes }]) => ({
    storageClass,
    cost: monthlyCost(prices, storageClass, bytes),
  }));
  return {
    uri,
    nowMs,
    tally,
    multiparts,
    prices,
    costs,
    monthlyCost: costs.reduce((total, { cost }) => total + cost, 0),
    advice: adviceOf(tally, multiparts?.count ?? 0, prices, uri),
  };
}

async function multipartsOf(
  store: S3Store,
  top: string,
  signal: AbortSignal | undefined,
): Promise<Review["multiparts"]> {
  try {
    const pending = await store.listMultiparts(top, { reason: "bulk", signal });
    const begun = pending.map(({ initiatedMs }) => initiatedMs);
    return { count: begun.length, oldestMs: begun.length === 0 ? undefined : Math.min(...begun) };
  } catch (error) {
    if (isUnknownToStore(error)) return undefined;
    throw error;
  }
}

/** What to do, in sentences with the command that does it. */
export function adviceOf(tally: Tally, multiparts: number, prices: PriceTable, uri: string): string[] {
  const advice: string[] = [];
  if (multiparts > 0)
    advice.push(
      `${multiparts} uploads were never completed and are paid for: hawser s3 cleanup ${uri} --multipart`,
    );
  const saved =
    monthlyCost(prices, "STANDARD", tally.coldStandardBytes) -
    monthlyCost(prices, "STANDARD_IA", tally.coldStandardBytes);
  if (saved >= 1) {
    advice.push(
      `${formatBytes(tally.coldStandardBytes)} in STANDARD did not change for 90 days; in STANDARD_IA they would cost ${formatCost(saved, prices)} less a month: add a transition with hawser s3 lifecycle`,
    );
  }
  if (tally.duplicateBytes > 0)
    advice.push(
      `${formatBytes(tally.duplicateBytes)} are copies of what is there already; see the duplicates.`,
    );
  if (tally.objects >= 1000 && tally.smallObjects / tally.objects > 0.5) {
    advice.push(
      `${tally.smallObjects} of ${tally.objects} objects are smaller than 128 KiB: requests and classes for rare access charge them dearly; pack them, for example to tar files.`,
    );
  }
  return advice;
}

/** `12.34 USD`. */
export function formatCost(cost: number, { currency }: PriceTable): string {
  return `${cost >= 0.01 || cost === 0 ? cost.toFixed(2) : cost.toPrecision(1)} ${currency}`;
}
