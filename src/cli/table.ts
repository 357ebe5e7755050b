/** Tables for terminals: columns as wide as their widest cell. */

import { stripVTControlCharacters } from "node:util";

/** Lines of a table; colour codes do not count as width. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, i) => Math.max(width(title), ...rows.map((row) => width(row[i] ?? ""))));
  return [header, ...rows].map((row) =>
    row
      .map((cell, i) => cell + " ".repeat(Math.max(0, widths[i]! - width(cell))))
      .join("  ")
      .trimEnd(),
  );
}

function width(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}
