/**
 * SlowStore: any store, as far away and as narrow as a test wants it.
 *
 * Each call waits for the latency; bodies then take the time that the bandwidth allows, shared by nobody (a rate a
 * connection, as S3's). Time is the given clock's, so that a test with a clock of its own waits for nothing.
 */
import { HawserError } from "../common/errors.ts";
import { systemClock } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import type { Bytes, Milliseconds } from "../common/units.ts";
import type { ObjectStore, RequestOptions } from "./object-store.ts";
import { sizeOf } from "./put-body.ts";

export interface SlowOptions {
  /** Until the first byte of every answer. */
  latencyMs?: Milliseconds;
  /** Of one connection; unlimited when absent. */
  bytesPerSecond?: Bytes;
  clock?: Clock;
}

/** Wraps `store`; closing the wrapper closes it. */
export function createSlowStore<Store extends ObjectStore>(store: Store, options: SlowOptions): Store {
  const { latencyMs = 0, bytesPerSecond, clock = systemClock } = options;
  const transferMs = (bytes: Bytes): Milliseconds =>
    bytesPerSecond === undefined ? 0 : (bytes / bytesPerSecond) * 1000;

  const pause = (ms: Milliseconds, signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        cancel();
        reject(new HawserError("interrupted", "The request was interrupted."));
      };
      const cancel = clock.after(ms, () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      });
      if (signal?.aborted) {
        stop();
        return;
      }
      signal?.addEventListener("abort", stop, { once: true });
    });

  async function* paced(
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      await pause(transferMs(chunk.length), signal);
      yield chunk;
    }
  }

  const slow: Partial<ObjectStore> = {
    get: async (request, target, options) => {
      await pause(latencyMs, options?.signal);
      const result = await store.get(request, target, options);
      await pause(transferMs(result.bytesRead), options?.signal);
      return result;
    },
    getStream: async (request, options) => {
      await pause(latencyMs, options?.signal);
      const { info, body } = await store.getStream(request, options);
      return { info, body: paced(body, options?.signal) };
    },
    put: async (key, body, options) => {
      await pause(latencyMs + transferMs(sizeOf(body)), options?.signal);
      return await store.put(key, body, options);
    },
    uploadPart: async (key, uploadId, partNumber, body, options) => {
      await pause(latencyMs + transferMs(sizeOf(body)), options?.signal);
      return await store.uploadPart(key, uploadId, partNumber, body, options);
    },
  };

  const delayed = new Set<PropertyKey>([
    "list",
    "head",
    "createMultipart",
    "uploadPartCopy",
    "listParts",
    "completeMultipart",
    "abortMultipart",
    "listMultiparts",
    "copy",
    "delete",
    "deleteMany",
  ]);
  return new Proxy(store, {
    get(target, property) {
      const replaced: unknown = Reflect.get(slow, property);
      if (replaced) return replaced;
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      const bound = (value as (...args: unknown[]) => unknown).bind(target);
      if (!delayed.has(property)) return bound;
      return async (...args: unknown[]) => {
        await pause(latencyMs, (args.at(-1) as RequestOptions | undefined)?.signal);
        return await bound(...args);
      };
    },
  });
}
