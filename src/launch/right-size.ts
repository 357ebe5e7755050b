/**
 * Which smaller kind of machine would have done: from what the nodes were used for at their peak.
 *
 * Pure. Peaks get room on top, GPUs are only exchanged for fewer of the same name (what fits the memory of another kind
 * cannot be told from here), and nothing is said of a use that was too short to mean much.
 */
import { GiB } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";
import type { InstanceType } from "./ec2/instance-types.ts";
import type { UsageSummary } from "./worker/protocol.ts";

const ENOUGH_MS: Milliseconds = 5 * 60_000;
/** What is wanted for each that was used at the peak. */
const ROOM = 1.25;
/** A GPU below both was not used. */
const IDLE_PERCENT = 5;
const IDLE_MEMORY = 0.05;
/** What a burstable type (t3, …) gives of its processors for as long as is wanted, about. */
const BASELINE_PERCENT = 20;
/** Less than this saved is not worth a word. */
const WORTH = 0.9;

export interface SmallerType {
  instanceType: string;
  /** US dollars for one node in us-east-1, as the type that was used. */
  hourlyCost: number;
  insteadOf: number;
}

/** @param usages of every node @returns the cheapest type that would have done for all of them, where there is one */
export function smallerType(
  type: InstanceType,
  usages: readonly UsageSummary[],
  catalogue: Iterable<InstanceType>,
): SmallerType | undefined {
  const { hourlyCost: insteadOf } = type;
  if (insteadOf === undefined || usages.length === 0 || usages.some(({ ms }) => ms < ENOUGH_MS)) {
    return undefined;
  }
  const most = (value: (usage: UsageSummary) => number): number => Math.max(...usages.map(value));
  const cpus = most((usage) => (usage.cpuPeakPercent / 100) * usage.cpus * ROOM);
  const memoryGiB = most((usage) => (usage.memoryPeakBytes * ROOM) / GiB);
  const gpus = most(
    (usage) =>
      usage.gpus.filter(
        ({ peakPercent, memoryPeakBytes, memoryBytes }) =>
          peakPercent >= IDLE_PERCENT || memoryPeakBytes > IDLE_MEMORY * memoryBytes,
      ).length,
  );
  const sustained = most((usage) => (usage.cpuPercent / 100) * usage.cpus);
  const lasts = ({ name, vcpus }: InstanceType): boolean =>
    !/^t\d/.test(name) || sustained <= (vcpus * BASELINE_PERCENT) / 100;
  const fits = [...catalogue].filter(
    (other) =>
      lasts(other) &&
      other.arch === type.arch &&
      other.hourlyCost !== undefined &&
      other.hourlyCost < insteadOf * WORTH &&
      other.vcpus >= cpus &&
      other.memoryGiB >= memoryGiB &&
      (gpus === 0 || (other.gpus?.name === type.gpus?.name && (other.gpus?.count ?? 0) >= gpus)),
  );
  const [cheapest] = fits.sort((a, b) => a.hourlyCost! - b.hourlyCost!);
  return cheapest && { instanceType: cheapest.name, hourlyCost: cheapest.hourlyCost!, insteadOf };
}
