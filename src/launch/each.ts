/** The same for many nodes at once, with a bound on how many at a time. */
import { HawserError, toHawserError } from "../common/errors.ts";

/** More logins and transfers at a time help nobody. */
const AT_ONCE = 32;

export type Outcome<T> = { ok: true; value: T } | { ok: false; error: HawserError };

/** Every one is brought to its end, whatever happens to the others; outcomes in their order. */
export async function eachNode<N, T>(
  nodes: readonly N[],
  body: (node: N) => Promise<T>,
): Promise<Outcome<T>[]> {
  const outcomes: Outcome<T>[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < nodes.length; i = next++) {
      try {
        outcomes[i] = { ok: true, value: await body(nodes[i]!) };
      } catch (error) {
        outcomes[i] = { ok: false, error: toHawserError(error) };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, nodes.length) }, lane));
  return outcomes;
}

/** The values, or one error that says what each failed node said. */
export function allOrThrow<T>(outcomes: readonly Outcome<T>[]): T[] {
  const failures = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.error]));
  const [first] = failures;
  if (!first) return outcomes.flatMap((outcome) => (outcome.ok ? [outcome.value] : []));
  if (failures.length === 1) throw first;
  const messages = [...new Set(failures.map(({ message }) => message))];
  throw new HawserError(first.code, messages.join("\n"), { cause: first });
}
