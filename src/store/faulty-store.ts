/**
 * FaultyStore: any store, with failures where a test wants them.
 *
 * Faults are rules: which method, which call of it, which key, and what happens. A rule fires as often as it says and
 * is then used up. Bodies can be cut at any byte or altered; calls can be held until the test releases them.
 */
import { HawserError } from "../common/errors.ts";
import type { Bytes } from "../common/units.ts";
import type { StoreMethod } from "./memory-store.ts";
import type { ObjectStore } from "./object-store.ts";

export interface Fault {
  /** Any when absent. */
  method?: StoreMethod;
  /** Any when absent. */
  key?: string | RegExp;
  /** The first call that matches and fires, 1-based; 1 when absent. */
  nth?: number;
  /** How many calls fire from there; 1 when absent, Infinity for all. */
  times?: number;
  /** Rejects instead of doing it. */
  error?: Error;
  /** Does it, then rejects: the request arrived, the answer got lost. */
  errorAfter?: Error;
  /** Of a read: this many bytes arrive, then the error. */
  cutAt?: { bytes: Bytes; error?: Error };
  /** Of a read: the byte at this position is inverted. */
  corruptAt?: Bytes;
  /** Waits for this before doing it. */
  hold?: Promise<void>;
}

interface Rule extends Fault {
  seen: number;
  fired: number;
}

const METHODS: readonly StoreMethod[] = [
  "list",
  "head",
  "get",
  "getStream",
  "put",
  "createMultipart",
  "uploadPart",
  "uploadPartCopy",
  "listParts",
  "completeMultipart",
  "abortMultipart",
  "listMultiparts",
  "copy",
  "delete",
  "deleteMany",
];

export interface FaultControl {
  /** Adds a rule. The returned function takes it away. */
  fail(fault: Fault): () => void;
  /** Holds matching calls; the returned function lets them and all later ones go. */
  hang(fault?: Omit<Fault, "hold">): () => void;
  /** Forgets all rules. */
  heal(): void;
  /** Calls that a rule met, in order: `get key`. */
  readonly hits: readonly string[];
}

/** Wraps `store`; closing the wrapper closes it. */
export function createFaultyStore<Store extends ObjectStore>(
  store: Store,
): Store & { readonly faults: FaultControl } {
  const rules: Rule[] = [];
  const hits: string[] = [];
  const faults: FaultControl = {
    hits,
    fail(fault) {
      const rule = { ...fault, seen: 0, fired: 0 };
      rules.push(rule);
      return () => {
        const at = rules.indexOf(rule);
        if (at >= 0) rules.splice(at, 1);
      };
    },
    hang(fault = {}) {
      let release = (): void => undefined;
      const hold = new Promise<void>((resolve) => (release = resolve));
      const remove = faults.fail({ times: Number.POSITIVE_INFINITY, ...fault, hold });
      return () => {
        remove();
        release();
      };
    },
    heal: () => void rules.splice(0),
  };

  const pick = (method: StoreMethod, key: string): Rule | undefined =>
    rules.find((rule) => {
      if (rule.method !== undefined && rule.method !== method) return false;
      if (typeof rule.key === "string" ? rule.key !== key : rule.key && !rule.key.test(key)) return false;
      rule.seen++;
      if (rule.seen < (rule.nth ?? 1) || rule.fired >= (rule.times ?? 1)) return false;
      rule.fired++;
      return true;
    });

  const methods = new Map<PropertyKey, unknown>();
  for (const method of METHODS) methods.set(method, wrap(store, method, pick, hits));
  return new Proxy(store, {
    get(target, property) {
      if (property === "faults") return faults;
      const wrapped = methods.get(property);
      if (wrapped) return wrapped;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  }) as Store & { readonly faults: FaultControl };
}

type AnyMethod = (...args: unknown[]) => Promise<unknown>;

function wrap(
  store: ObjectStore,
  method: StoreMethod,
  pick: (method: StoreMethod, key: string) => Rule | undefined,
  hits: string[],
): AnyMethod {
  const original = (store[method] as AnyMethod).bind(store);
  return async (...args) => {
    const key = keyOf(args[0]);
    const rule = pick(method, key);
    if (!rule) return await original(...args);
    hits.push(`${method} ${key}`);
    if (rule.hold) await held(rule.hold, signalOf(args));
    if (rule.error) throw rule.error;
    if (method === "get") return await faultyGet(rule, original, args);
    const result = await original(...args);
    if (rule.errorAfter) throw rule.errorAfter;
    return method === "getStream" ? faultyStream(rule, result as StreamResult) : result;
  };
}

async function faultyGet(rule: Rule, original: AnyMethod, args: unknown[]): Promise<unknown> {
  const target = args[1] as Uint8Array;
  if (rule.cutAt) {
    await original(args[0], target.subarray(0, rule.cutAt.bytes), ...args.slice(2));
    throw rule.cutAt.error ?? cutError(keyOf(args[0]));
  }
  const result = await original(...args);
  if (rule.corruptAt !== undefined) target[rule.corruptAt]! ^= 0xff;
  if (rule.errorAfter) throw rule.errorAfter;
  return result;
}

type StreamResult = { body: AsyncIterable<Uint8Array> };

function faultyStream(rule: Rule, result: StreamResult): StreamResult {
  return { ...result, body: faultyBody(rule, result.body) };
}

async function* faultyBody(rule: Rule, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of body) {
    const end = at + chunk.length;
    if (rule.cutAt && end > rule.cutAt.bytes) {
      yield chunk.subarray(0, rule.cutAt.bytes - at);
      throw rule.cutAt.error ?? cutError("");
    }
    if (rule.corruptAt !== undefined && rule.corruptAt >= at && rule.corruptAt < end) {
      const altered = chunk.slice();
      altered[rule.corruptAt - at]! ^= 0xff;
      yield altered;
    } else yield chunk;
    at = end;
  }
}

function cutError(key: string): HawserError {
  return new HawserError("io_error", `The connection broke while reading ${key}.`, { key });
}

/** Methods take a key, a request with a key, or a query with a prefix. */
function keyOf(first: unknown): string {
  if (typeof first === "string") return first;
  const named = first as { key?: string; prefix?: string };
  return named.key ?? named.prefix ?? "";
}

function signalOf(args: unknown[]): AbortSignal | undefined {
  for (const arg of args) {
    const signal = typeof arg === "object" && arg !== null ? (arg as { signal?: unknown }).signal : undefined;
    if (signal instanceof AbortSignal) return signal;
  }
  return undefined;
}

async function held(hold: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return await hold;
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => reject(new HawserError("interrupted", "The request was interrupted."));
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener("abort", stop, { once: true });
    void hold.then(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    });
  });
}
