/**
 * How a job is shown: a bar on a terminal, lines in a log, JSON for machines; failures as they happen, and a summary.
 *
 * Results go to stdout only with `--json` and in a dry run: what is copied to `-` goes there too.
 */
import { toHawserError } from "../common/errors.ts";
import type { HawserError } from "../common/errors.ts";
import { formatBytes, formatDuration } from "../common/units.ts";
import type { Progress } from "../observe/progress.ts";
import type { Confirm } from "../transfer/deletions.ts";
import type { TransferEvent, TransferItem, TransferSummary } from "../transfer/events.ts";
import { EXIT, exitCodeOf } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

export interface ReportOptions {
  /** What is being done, e.g. `Copying`. */
  label: string;
  json: boolean;
  /** Say each file. */
  verbose: boolean;
  /** Nothing but failures. */
  quiet?: boolean;
  /** What progress counts; bytes when absent. */
  unit?: "bytes" | "files";
}

export interface TransferReport {
  onEvent(event: TransferEvent): void;
  /** A question that has the terminal to itself. */
  pausing(confirm: Confirm): Confirm;
  /** Shows what is left to say. @returns the exit code */
  finish(summary: TransferSummary): number;
}

const VERBS: Record<TransferItem["action"], string> = {
  download: "download",
  upload: "upload",
  copy: "copy",
  delete: "delete",
};

/** Why a file was left, in words. */
const REASONS = {
  same: "it is the same",
  newer: "what is there is newer",
  exists: "it exists",
  archived: "it is archived",
  special: "it is no regular file",
  changed: "it has changed",
} as const;

export function reportTransfer(terminal: Terminal, options: ReportOptions): TransferReport {
  return options.json ? new JsonReport(terminal) : new TextReport(terminal, options);
}

class JsonReport implements TransferReport {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  onEvent(event: TransferEvent): void {
    const shown = "error" in event ? { ...event, error: plain(event.error) } : event;
    this.#terminal.out(JSON.stringify(shown));
  }

  pausing(confirm: Confirm): Confirm {
    return confirm;
  }

  finish(summary: TransferSummary): number {
    const { failures, fatal, ...counts } = summary;
    this.#terminal.out(
      JSON.stringify({
        type: "summary",
        ...counts,
        elapsedMs: Math.round(counts.elapsedMs),
        failures: failures.map(({ error, ...item }) => ({ ...item, error: plain(error) })),
        ...(fatal ? { fatal: plain(fatal) } : {}),
      }),
    );
    return exitCodeOfSummary(summary);
  }
}

class TextReport implements TransferReport {
  readonly #terminal: Terminal;
  readonly #options: ReportOptions;
  #loading = false;
  #ended = false;
  #shown: Progress | undefined;
  #total = 0;
  #done = 0;
  #dry = 0;
  #dryBytes = 0;

  constructor(terminal: Terminal, options: ReportOptions) {
    this.#terminal = terminal;
    this.#options = options;
  }

  onEvent(event: TransferEvent): void {
    switch (event.type) {
      case "found":
        this.#total = this.#unit === "files" ? event.files : event.bytes;
        return;
      case "progress":
        this.#done = this.#unit === "files" ? event.files : event.bytes;
        return this.#show();
      case "would":
        this.#dry++;
        this.#dryBytes += event.bytes;
        return this.#terminal.out(`would ${describe(event)}`);
      case "done":
        if (this.#options.verbose) this.#terminal.err(describe(event));
        return;
      case "skipped":
        // What is the same is the rule and not worth a line.
        if (event.reason === "same" ? this.#options.verbose : true)
          this.#terminal.err(`hawser: left ${event.target ?? event.source}: ${REASONS[event.reason]}`);
        return;
      case "failed":
        return this.#failed(event, event.error);
      case "note":
        return this.#terminal.err(`hawser: ${event.text}`);
    }
  }

  pausing(confirm: Confirm): Confirm {
    return (plan) => {
      this.#shown?.stop();
      this.#shown = undefined;
      this.#ended = true;
      return confirm(plan);
    };
  }

  finish(summary: TransferSummary): number {
    this.#ended = true;
    this.#shown?.stop();
    const { fatal, interrupted, failures, failed } = summary;
    if (!this.#options.quiet || failed > 0 || interrupted)
      this.#terminal.err(`hawser: ${this.#text(summary)}`);
    if (failures.length < failed)
      this.#terminal.err(`hawser: ${failed - failures.length} more failures are not listed`);
    if (interrupted) {
      this.#terminal.err("hawser: interrupted; run the same command again to go on where it stopped");
    } else if (fatal)
      this.#terminal.err("hawser: ended early, because every other file would have met the same");
    return exitCodeOfSummary(summary);
  }

  #failed(item: TransferItem, error: HawserError): void {
    const code = this.#terminal.paintErr("dim", `[${error.code}]`);
    this.#terminal.err(
      `${this.#terminal.paintErr("red", "failed:")} ${describe(item)}: ${error.message} ${code}`,
    );
  }

  #text(summary: TransferSummary): string {
    if (this.#dry > 0) return `a dry run: ${this.#dry} to do, ${formatBytes(this.#dryBytes)}`;
    const { bytes, elapsedMs, failed, skipped } = summary;
    const counts = (["downloaded", "uploaded", "copied", "deleted"] as const)
      .filter((name) => summary[name] > 0)
      .map((name) => `${name} ${summary[name]}`);
    if (counts.length === 0) counts.push("nothing was done");
    if (bytes > 0) {
      const rate = elapsedMs > 0 ? `, ${formatBytes(Math.round((bytes / elapsedMs) * 1000))}/s` : "";
      counts.push(`${formatBytes(bytes)} in ${formatDuration(elapsedMs)}${rate}`);
    }
    if (skipped > 0) counts.push(`${skipped} left as they are`);
    if (failed > 0) counts.push(this.#terminal.paintErr("red", `${failed} failed`));
    return counts.join(", ");
  }

  get #unit(): "bytes" | "files" {
    return this.#options.unit ?? "bytes";
  }

  /** The library for bars is loaded when there is something to show. */
  #show(): void {
    if (this.#options.quiet || this.#ended) return;
    this.#shown?.update(this.#done, this.#total);
    if (this.#loading) return;
    this.#loading = true;
    void import("../observe/progress.ts").then(({ createProgress }) => {
      if (this.#ended) return;
      this.#shown = createProgress({ label: this.#options.label, unit: this.#unit, stream: process.stderr });
      this.#shown.update(this.#done, this.#total);
    });
  }
}

function describe({ action, source, target }: TransferItem): string {
  return target === undefined ? `${VERBS[action]} ${source}` : `${VERBS[action]} ${source} to ${target}`;
}

function plain(error: HawserError): Record<string, unknown> {
  const { code, message, s3Code, httpStatus } = toHawserError(error);
  return { code, message, ...(s3Code ? { s3Code } : {}), ...(httpStatus ? { httpStatus } : {}) };
}

/** One kind of failure has its own exit code; several kinds have the general one. */
export function exitCodeOfSummary({ failures, failed, interrupted, fatal }: TransferSummary): number {
  if (interrupted) return EXIT.interrupted;
  if (fatal) return exitCodeOf(fatal);
  if (failed === 0) return EXIT.ok;
  const codes = new Set(failures.map(({ error }) => exitCodeOf(error)));
  return codes.size === 1 ? [...codes][0]! : EXIT.failure;
}
