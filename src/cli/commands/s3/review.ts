/** `hawser s3 review`: what is in a bucket, what it costs, and what to do about it. */
import { writeFile } from "node:fs/promises";
import { HawserError } from "../../../common/errors.ts";
import { formatBytes, formatDuration } from "../../../common/units.ts";
import type { ListedObject } from "../../../store/object-store.ts";
import type { Review } from "../../../transfer/review/review.ts";
import { AGES } from "../../../transfer/review/tally.ts";
import type { Command } from "../../command.ts";
import { interruptible } from "../../interrupt.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, counted, oneAddress } from "../../s3/arguments.ts";
import { table } from "../../table.ts";
import type { Terminal } from "../../terminal.ts";

/** A page with more would not open. */
const LISTED_AT_MOST = 100_000;

export const command: Command = {
  usage: ["s3://BUCKET[/PREFIX]"],
  description:
    "Reviews what lies below a prefix: counts and sizes, age, storage classes, the biggest folders, duplicates (by ETag " +
    "and size, from 64 KiB on), unfinished uploads, the estimated cost of a month, and what to do about it. Costs are " +
    "of storage alone, by a table of prices that --prices replaces.",
  options: {
    ...BUCKET_OPTIONS,
    detailed: { type: "boolean", describe: `Add the list of objects, up to ${LISTED_AT_MOST}` },
    html: { type: "string", value: "FILE", describe: "Write a page with charts, which needs nothing else" },
    prices: {
      type: "string",
      value: "FILE",
      describe: "Prices of your own, as data/s3-prices.yaml has them",
    },
  },
  examples: [
    ["s3 review s3://bucket", "A summary"],
    ["s3 review s3://bucket/runs --detailed --html review.html", "A page with everything"],
    ["s3 review s3://bucket --prices our-prices.yaml --json", "By your own prices, for a program"],
  ],
  async run(args, terminal) {
    const address = oneAddress("review", args);
    const [{ review }, { loadPrices }] = await Promise.all([
      import("../../../transfer/review/review.ts"),
      import("../../../transfer/review/prices.ts"),
    ]);
    const prices = await loadPrices(args.text("prices"));
    const detailed = args.flag("detailed");
    const listed: ListedObject[] = [];
    await using connection = openConnection(args);
    const result = await interruptible(async (signal) =>
      review(await connection.store(address.bucket), address.key, prices, {
        nowMs: Date.now(),
        signal,
        onObjects: (page) => {
          if (detailed) listed.push(...page.slice(0, LISTED_AT_MOST - listed.length));
        },
      }),
    );
    const html = args.text("html");
    if (html !== undefined) {
      const { reviewHtml } = await import("../../../transfer/review/html.ts");
      await writeFile(html, reviewHtml(result, detailed ? listed : undefined)).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        throw new HawserError("io_error", `${html} cannot be written: ${why}.`, { cause: error });
      });
      terminal.err(`hawser: wrote ${html}`);
    }
    if (args.flag("json")) terminal.out(JSON.stringify(plain(result, detailed ? listed : undefined)));
    else if (html === undefined) await show(result, detailed ? listed : undefined, terminal);
  },
};

function plain({ tally, ...result }: Review, objects: ListedObject[] | undefined): unknown {
  const ages = tally.ages.map((sum, at) => ({ age: AGES[at]!.label, ...sum }));
  const classes = Object.fromEntries(tally.classes);
  return { type: "review", ...result, tally: { ...tally, ages, classes }, objects };
}

async function show(result: Review, objects: ListedObject[] | undefined, terminal: Terminal): Promise<void> {
  const { formatCost } = await import("../../../transfer/review/review.ts");
  const { tally, prices, costs, multiparts, nowMs } = result;
  const heading = (text: string): void => terminal.out(`\n${terminal.paint("bold", text)}`);
  const rows = (lines: readonly string[][]): void => {
    for (const line of table(["", "", "", ""], lines).slice(1)) terminal.out(`  ${line}`);
  };
  const sums = (name: string, sum: { objects: number; bytes: number }, extra = ""): string[] => [
    name,
    formatBytes(sum.bytes),
    counted(sum.objects, "object"),
    extra,
  ];
  terminal.out(terminal.paint("bold", result.uri));
  terminal.out(`${counted(tally.objects, "object")}, ${formatBytes(tally.bytes)}`);
  terminal.out(`about ${formatCost(result.monthlyCost, prices)} a month (${prices.name})`);
  if (multiparts) {
    const { count, oldestMs } = multiparts;
    const age =
      oldestMs === undefined ? "" : `, the oldest ${formatDuration(Math.max(1000, nowMs - oldestMs))} old`;
    terminal.out(`${counted(count, "unfinished upload")}${age}`);
  }
  heading("Storage classes");
  const costOf = new Map(costs.map(({ storageClass, cost }) => [storageClass, formatCost(cost, prices)]));
  rows([...tally.classes].map(([name, sum]) => sums(name, sum, costOf.get(name))));
  heading("Age");
  rows(tally.ages.map((sum, at) => sums(AGES[at]!.label, sum)));
  heading("Biggest folders");
  rows(tally.folders.map(({ folder, ...sum }) => sums(folder, sum)));
  if (tally.duplicates.length > 0) {
    heading("Duplicates");
    rows(
      tally.duplicates.map(({ bytes, copies, keys }) => [
        `${copies} x ${formatBytes(bytes)}`,
        keys.join(", "),
        "",
        "",
      ]),
    );
  }
  if (objects) {
    heading("Objects");
    rows(
      objects.map(({ key, sizeBytes, mtimeMs, storageClass = "STANDARD" }) => [
        key,
        formatBytes(sizeBytes),
        new Date(mtimeMs).toISOString(),
        storageClass,
      ]),
    );
  }
  heading("What to do");
  for (const text of result.advice.length > 0 ? result.advice : ["Nothing stands out."])
    terminal.out(`  - ${text}`);
}
