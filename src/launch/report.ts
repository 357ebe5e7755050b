/** What a pool has used and cost: so far for `status`, in the end for the final report. */
import type { EpochMs, Milliseconds } from "../common/units.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Outcome } from "./each.ts";
import { loadCatalogue } from "./ec2/presets.ts";
import type { PoolNode } from "./node.ts";
import type { PoolRecord } from "./pool-record.ts";
import { smallerType } from "./right-size.ts";
import type { SmallerType } from "./right-size.ts";
import type { UsageSummary, WorkerStatus } from "./worker/protocol.ts";

export interface NodeReport {
  index: number;
  id: string;
  instanceType?: string | undefined;
  /** Absent for a node that did not answer. */
  usage?: UsageSummary | undefined;
  /** US dollars since the machine was started; `undefined` where its price is not known. */
  cost: number | undefined;
}

export interface PoolReport {
  /** Since the pool was made. */
  ms: Milliseconds;
  nodes: NodeReport[];
  /** Of the nodes whose price is known; `undefined` where none is. */
  cost: number | undefined;
  smaller?: SmallerType | undefined;
}

const HOUR_MS = 3600_000;

export function costOf(
  { facts }: Pick<PoolNode, "facts">,
  sinceMs: EpochMs,
  nowMs: EpochMs,
): number | undefined {
  if (facts?.hourlyCost === undefined) return undefined;
  return (facts.hourlyCost * Math.max(0, nowMs - (facts.startedMs ?? sinceMs))) / HOUR_MS;
}

/** @param statuses of the record's nodes, in their order */
export function reportOn(
  { nodes, createdMs }: Pick<PoolRecord, "nodes" | "createdMs">,
  statuses: readonly Outcome<WorkerStatus | undefined>[],
  nowMs: EpochMs,
  environment: Environment,
): PoolReport {
  const reports = nodes.map((node, i): NodeReport => {
    const status = statuses[i];
    return {
      index: node.index,
      id: node.id,
      instanceType: node.facts?.instanceType,
      usage: status?.ok ? status.value?.history : undefined,
      cost: costOf(node, createdMs, nowMs),
    };
  });
  const costs = reports.flatMap(({ cost }) => cost ?? []);
  const smaller = smallerFor(reports, environment);
  return {
    ms: nowMs - createdMs,
    nodes: reports,
    cost: costs.length === 0 ? undefined : costs.reduce((sum, cost) => sum + cost, 0),
    ...(smaller ? { smaller } : {}),
  };
}

/** Only where every node is of one known type, and all of them told what they did. */
function smallerFor(reports: readonly NodeReport[], environment: Environment): SmallerType | undefined {
  const [first] = reports;
  if (first?.instanceType === undefined) return undefined;
  if (reports.some(({ instanceType, usage }) => instanceType !== first.instanceType || !usage))
    return undefined;
  const { types } = loadCatalogue(environment);
  const type = types.get(first.instanceType);
  return (
    type &&
    smallerType(
      type,
      reports.flatMap(({ usage }) => usage ?? []),
      types.values(),
    )
  );
}
