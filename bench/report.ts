/** Results of a benchmark that sets two things side by side: medians, ratios, bars, as a table or as JSON. */
import { cpus, release } from "node:os";

/** One workload: larger figures are better. */
export interface Comparison {
  workload: string;
  unit: string;
  /** Name of the contender to its figure of each run. */
  figures: Record<string, number[]>;
  /** The first contender's median over the second's must reach this. */
  bar: number;
}

interface Row extends Comparison {
  medians: Record<string, number>;
  ratio: number;
  reached: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function evaluate(comparison: Comparison): Row {
  const entries = Object.entries(comparison.figures).map(([name, values]) => [name, median(values)] as const);
  const ratio = entries[0]![1] / entries[1]![1];
  return { ...comparison, medians: Object.fromEntries(entries), ratio, reached: ratio >= comparison.bar };
}

/** Prints the comparisons. @returns whether every bar was reached */
export function report(suite: string, comparisons: readonly Comparison[], json: boolean): boolean {
  const rows = comparisons.map(evaluate);
  const machine = {
    kernel: release(),
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? "",
    node: process.version,
  };
  console.log(json ? JSON.stringify({ suite, machine, rows }, undefined, 2) : table(suite, machine, rows));
  return rows.every((row) => row.reached);
}

function table(suite: string, machine: Record<string, string | number>, rows: readonly Row[]): string {
  const names = Object.keys(rows[0]!.medians);
  const lines = [
    ["workload", ...names, "unit", "ratio", "bar", ""],
    ...rows.map(({ workload, medians, unit, ratio, bar, reached }) => [
      workload,
      ...names.map((name) => medians[name]!.toLocaleString("en-US", { maximumFractionDigits: 0 })),
      unit,
      `${ratio.toFixed(1)}x`,
      `>= ${bar}x`,
      reached ? "ok" : "MISSED",
    ]),
  ];
  const widths = lines[0]!.map((_cell, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
  const runs = Object.values(rows[0]!.figures)[0]!.length;
  const about = Object.values(machine).join(", ");
  return [`${suite}: medians of ${runs} runs (${about})`, ...text].join("\n");
}
