/**
 * Faults: what goes wrong on purpose.
 *
 * A rule says which requests it is for and what happens to them. Rules are asked in the order they were added; the
 * first that matches and is not used up is applied, one to a request. Tests wait for a rule to be hit instead of
 * sleeping, and release what they held.
 */
import type { Bytes, Milliseconds } from "../common/units.ts";

/** Plain data, so that a rule can come over HTTP as well. */
export interface FaultRule {
  /** S3's name of the operation, or several; any when absent. */
  operation?: string | readonly string[] | undefined;
  bucket?: string | undefined;
  /** The exact key. */
  key?: string | undefined;
  keyPrefix?: string | undefined;
  partNumber?: number | undefined;
  /** Matching requests that pass untouched first; 0 when absent. */
  skip?: number | undefined;
  /** How many requests it is applied to; every one when absent. */
  count?: number | undefined;

  /** Waits before the answer's first byte. */
  latencyMs?: Milliseconds | undefined;
  /** Body bytes a second on this response. */
  bytesPerSecond?: Bytes | undefined;
  /** Cuts the connection after so many body bytes; 0 cuts it before the answer. */
  cutAfterBytes?: Bytes | undefined;
  /** Cuts the connection after so many bytes of the request's body were received. */
  cutUploadAfterBytes?: Bytes | undefined;
  /** Answers this S3 error, e.g. `SlowDown`, `InternalError`. */
  error?: string | undefined;
  /** Status of `error` where it is not the code's own. */
  status?: number | undefined;
  /** `error` or `cutAfterBytes` comes after the operation took effect; before it when absent. */
  after?: boolean | undefined;
  /** `error` comes inside a 200, as Complete and Copy may answer. */
  in200?: boolean | undefined;
  /** Flips the lowest bit of this byte of the body. */
  flipByteAt?: Bytes | undefined;
  /** Never answers until released. */
  hold?: boolean | undefined;
  /** Sends so many body bytes, then nothing until released. */
  holdAfterBytes?: Bytes | undefined;
}

/** What a rule is matched against. */
export interface FaultTarget {
  operation: string;
  bucket: string | undefined;
  key: string | undefined;
  partNumber: number | undefined;
}

function matches(rule: FaultRule, target: FaultTarget): boolean {
  const { operation } = rule;
  if (
    typeof operation === "string"
      ? operation !== target.operation
      : operation && !operation.includes(target.operation)
  ) {
    return false;
  }
  if (rule.bucket !== undefined && rule.bucket !== target.bucket) return false;
  if (rule.key !== undefined && rule.key !== target.key) return false;
  if (rule.keyPrefix !== undefined && !target.key?.startsWith(rule.keyPrefix)) return false;
  return rule.partNumber === undefined || rule.partNumber === target.partNumber;
}

/** A rule at work. */
export class Fault {
  readonly id: number;
  readonly rule: FaultRule;
  readonly #remove: () => void;
  #seen = 0;
  #hits = 0;
  #held: (() => void)[] = [];
  #waiting: { hits: number; resolve: () => void }[] = [];
  #released = false;

  constructor(id: number, rule: FaultRule, remove: () => void) {
    this.id = id;
    this.rule = rule;
    this.#remove = remove;
  }

  /** Requests it was applied to. */
  get hits(): number {
    return this.#hits;
  }

  /** Resolves once it was applied to so many requests. */
  hit(times = 1): Promise<void> {
    if (this.#hits >= times) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ hits: times, resolve }));
  }

  /** Lets go on what it holds, now and later. */
  release(): void {
    this.#released = true;
    for (const resume of this.#held.splice(0)) resume();
  }

  /** Ends the rule and lets go on what it holds. */
  remove(): void {
    this.#remove();
    this.release();
  }

  /** True when the rule is for this request; counts it. */
  take(target: FaultTarget): boolean {
    if (!matches(this.rule, target)) return false;
    if (this.#seen++ < (this.rule.skip ?? 0)) return false;
    if (this.#hits >= (this.rule.count ?? Number.POSITIVE_INFINITY)) return false;
    this.#hits++;
    const reached = this.#waiting.filter(({ hits }) => this.#hits >= hits);
    this.#waiting = this.#waiting.filter(({ hits }) => this.#hits < hits);
    for (const { resolve } of reached) resolve();
    return true;
  }

  /** Resolves when released. */
  held(): Promise<void> {
    if (this.#released) return Promise.resolve();
    return new Promise((resolve) => this.#held.push(resolve));
  }
}

/** The rules of one server. */
export class Faults {
  readonly #rules = new Map<number, Fault>();
  #nextId = 1;

  add(rule: FaultRule): Fault {
    const id = this.#nextId++;
    const fault = new Fault(id, rule, () => this.#rules.delete(id));
    this.#rules.set(id, fault);
    return fault;
  }

  get(id: number): Fault | undefined {
    return this.#rules.get(id);
  }

  all(): Fault[] {
    return [...this.#rules.values()];
  }

  /** Removes all rules and lets go on what they hold. */
  clear(): void {
    for (const fault of this.all()) fault.remove();
  }

  /** The fault for a request, if any. */
  take(target: FaultTarget): Fault | undefined {
    for (const fault of this.#rules.values()) if (fault.take(target)) return fault;
    return undefined;
  }
}
