/**
 * Lanes: work on the items of a source, so many at once, taking a batch when the last one is used up.
 *
 * Sources give batches (a page of a listing, the files of a folder): one await an item would cost more than most of the
 * work on it.
 */

/**
 * Resolves when everything is done, or when `signal` was aborted and what was under way has ended.
 *
 * @param work must not throw: what fails is its own business
 * @throws what the source throws, once what was under way has ended
 */
export async function inLanes<T>(
  source: AsyncIterable<readonly T[]> | Iterable<readonly T[]>,
  atOnce: number,
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = iteratorOf(source);
  let batch: readonly T[] = [];
  let at = 0;
  let ended = false;
  let fetching: Promise<void> | undefined;
  let failure: { error: unknown } | undefined;

  const fetchBatch = async (): Promise<void> => {
    try {
      const next = await iterator.next();
      ended = next.done === true;
      batch = next.done === true ? [] : next.value;
    } catch (error) {
      failure = { error };
      ended = true;
      batch = [];
    }
    at = 0;
    fetching = undefined;
  };
  const lane = async (): Promise<void> => {
    while (!signal.aborted) {
      if (at < batch.length) await work(batch[at++]!);
      else if (ended) return;
      else await (fetching ??= fetchBatch());
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  if (!ended) await iterator.return?.();
  if (failure && !signal.aborted) throw failure.error;
}

function iteratorOf<T>(source: AsyncIterable<T> | Iterable<T>): AsyncIterator<T> | Iterator<T> {
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
}
