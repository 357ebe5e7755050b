/**
 * Progress: a bar where a person looks, plain lines where a log is kept.
 *
 * Both say the same: how much of what is done, how fast, and how long it will take. A line is written when something
 * begins and ends, and in between at most every LINE_INTERVAL_MS.
 */
import { SingleBar } from "cli-progress";
import type { Clock } from "../common/clock.ts";
import { systemClock } from "../common/clock.ts";
import { formatBytes, formatDuration } from "../common/units.ts";
import type { Milliseconds } from "../common/units.ts";

/** Often enough to see that it moves, seldom enough to read the log. */
const LINE_INTERVAL_MS: Milliseconds = 10_000;
/** Before this much time has passed a rate says nothing. */
const RATE_AFTER_MS: Milliseconds = 500;

export interface ProgressOptions {
  /** What is being done, e.g. `Uploading`. */
  label: string;
  unit: "bytes" | "files";
  stream: NodeJS.WritableStream & { isTTY?: boolean };
  clock?: Clock;
}

export interface Progress extends Disposable {
  /** Both may grow; a total of 0 is not known yet. */
  update(done: number, total: number): void;
  /** Ends the bar and writes the last line. May be called twice. */
  stop(): void;
}

export function createProgress(options: ProgressOptions): Progress {
  return options.stream.isTTY ? new BarProgress(options) : new LineProgress(options);
}

/** `3.0 MiB of 12.0 MiB (25%), 1.5 MiB/s, 6s left` */
export function describeProgress(
  unit: ProgressOptions["unit"],
  done: number,
  total: number,
  elapsedMs: Milliseconds,
): string {
  const amount = (value: number): string =>
    unit === "bytes" ? formatBytes(Math.round(value)) : `${Math.round(value)} files`;
  const parts = [
    total > 0 ? `${amount(done)} of ${amount(total)} (${Math.floor((done / total) * 100)}%)` : amount(done),
  ];
  if (elapsedMs >= RATE_AFTER_MS && done > 0) {
    const perMs = done / elapsedMs;
    parts.push(`${amount(perMs * 1000)}/s`);
    if (total > done) parts.push(`${formatDuration((total - done) / perMs)} left`);
  }
  return parts.join(", ");
}

abstract class Counting implements Progress {
  protected readonly options: ProgressOptions;
  protected done = 0;
  protected total = 0;
  protected readonly clock: Clock;
  private readonly startedMs: Milliseconds;
  private stopped = false;

  constructor(options: ProgressOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.startedMs = this.clock.monotonic();
  }

  update(done: number, total: number): void {
    if (this.stopped) return;
    this.done = done;
    this.total = Math.max(total, done);
    this.show();
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.end();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  protected text(): string {
    return describeProgress(
      this.options.unit,
      this.done,
      this.total,
      this.clock.monotonic() - this.startedMs,
    );
  }

  protected abstract show(): void;
  protected abstract end(): void;
}

class BarProgress extends Counting {
  private readonly bar: SingleBar;

  constructor(options: ProgressOptions) {
    super(options);
    this.bar = new SingleBar({
      format: `${options.label} {bar} {text}`,
      stream: options.stream,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      barsize: 24,
      hideCursor: true,
      clearOnComplete: false,
    });
    // Of a total of 0 the library draws a full bar.
    this.bar.start(1, 0, { text: "" });
  }

  protected show(): void {
    this.bar.setTotal(Math.max(1, this.total));
    this.bar.update(this.done, { text: this.text() });
  }

  protected end(): void {
    this.show();
    this.bar.stop();
  }
}

class LineProgress extends Counting {
  private saidMs = Number.NEGATIVE_INFINITY;

  protected show(): void {
    const now = this.clock.monotonic();
    if (now - this.saidMs < LINE_INTERVAL_MS) return;
    this.saidMs = now;
    this.say();
  }

  protected end(): void {
    this.say();
  }

  private say(): void {
    this.options.stream.write(`${this.options.label}: ${this.text()}\n`);
  }
}
