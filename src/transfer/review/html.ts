/** A review as one HTML page that needs nothing else: charts are bars drawn by the page's own styles. */
import { formatBytes } from "../../common/units.ts";
import type { ListedObject } from "../../store/object-store.ts";
import { formatCost } from "./review.ts";
import type { Review } from "./review.ts";
import { AGES } from "./tally.ts";

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2330;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{padding:.25rem .6rem;text-align:left;border-bottom:1px solid #dde3ea;overflow-wrap:anywhere}td.n{text-align:right;white-space:nowrap}
.bar{background:#3b7dd8;height:.8rem;border-radius:2px;min-width:1px}td.b{width:40%}
@media(prefers-color-scheme:dark){body{background:#14181f;color:#dde3ea}td,th{border-color:#333c48}}`;

/** @param objects listed at the end, where there is such a list */
export function reviewHtml(review: Review, objects?: readonly ListedObject[]): string {
  const { tally, uri, nowMs, prices, costs, multiparts, advice } = review;
  const costOf = new Map(costs.map(({ storageClass, cost }) => [storageClass, formatCost(cost, prices)]));
  const sections = [
    `<h1>Review of ${escape(uri)}</h1>`,
    `<p>${tally.objects} objects, ${formatBytes(tally.bytes)}, about ${escape(formatCost(review.monthlyCost, prices))} a month (${escape(prices.name)}). ${new Date(nowMs).toISOString()}</p>`,
    multiparts ? `<p>${multiparts.count} unfinished uploads.</p>` : "",
    advice.length === 0
      ? ""
      : `<h2>What to do</h2><ul>${advice.map((text) => `<li>${escape(text)}</li>`).join("")}</ul>`,
    chart(
      "Storage classes",
      [...tally.classes].map(([name, sum]) => ({ name, ...sum, extra: costOf.get(name) ?? "" })),
    ),
    chart(
      "Age",
      tally.ages.map((sum, at) => ({ name: AGES[at]!.label, ...sum, extra: "" })),
    ),
    chart(
      "Biggest folders",
      tally.folders.map(({ folder, ...sum }) => ({ name: folder, ...sum, extra: "" })),
    ),
    tally.duplicates.length === 0
      ? ""
      : `<h2>Duplicates</h2><table>${tally.duplicates
          .map(
            ({ bytes, copies, keys }) =>
              `<tr><td class="n">${copies} × ${formatBytes(bytes)}</td><td>${keys.map(escape).join("<br>")}</td></tr>`,
          )
          .join("")}</table>`,
    objects === undefined
      ? ""
      : `<h2>Objects</h2><table>${objects
          .map(
            ({ key, sizeBytes, mtimeMs, storageClass = "STANDARD" }) =>
              `<tr><td>${escape(key)}</td><td class="n">${formatBytes(sizeBytes)}</td><td>${new Date(mtimeMs).toISOString()}</td><td>${escape(storageClass)}</td></tr>`,
          )
          .join("")}</table>`,
  ];
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Review of ${escape(uri)}</title><style>${STYLE}</style></head><body>${sections.join("\n")}</body></html>\n`;
}

function chart(
  title: string,
  rows: readonly { name: string; objects: number; bytes: number; extra: string }[],
): string {
  const most = Math.max(1, ...rows.map(({ bytes }) => bytes));
  const lines = rows.map(
    ({ name, objects, bytes, extra }) =>
      `<tr><td>${escape(name)}</td><td class="b"><div class="bar" style="width:${((bytes / most) * 100).toFixed(1)}%"></div></td><td class="n">${formatBytes(bytes)}</td><td class="n">${objects} objects</td><td class="n">${escape(extra)}</td></tr>`,
  );
  return `<h2>${escape(title)}</h2><table>${lines.join("")}</table>`;
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Keys are what anybody may have written. */
function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}
