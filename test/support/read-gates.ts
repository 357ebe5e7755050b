/**
 * Gates: reads of a path wait at its gate until the test opens it, or until the reader was killed.
 *
 * This is how a test holds a request in flight without knowing how long anything takes.
 */
import { HawserError } from "../../src/common/errors.ts";
import type { Caller } from "../../src/vfs/filesystem.ts";

export class ReadGates {
  /** Called when a read has arrived at a shut gate, and when a waiting reader was interrupted. */
  onEvent: (event: "waiting" | "interrupted", path: string) => void = () => {};
  readonly #shut = new Map<string, Set<() => void>>();

  /** True when no gate is shut anywhere. */
  get isOpen(): boolean {
    return this.#shut.size === 0;
  }

  shut(path: string): void {
    if (!this.#shut.has(path)) this.#shut.set(path, new Set());
  }

  open(path: string): void {
    const waiting = this.#shut.get(path);
    this.#shut.delete(path);
    for (const go of waiting ?? []) go();
  }

  openAll(): void {
    for (const path of this.#shut.keys()) this.open(path);
  }

  async pass(path: string, caller: Caller): Promise<void> {
    const waiting = this.#shut.get(path);
    if (!waiting) return;
    const { signal } = caller;
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        waiting.delete(go);
        this.onEvent("interrupted", path);
        reject(new HawserError("interrupted", `The reader of ${path} was killed.`));
      };
      const go = (): void => {
        signal.removeEventListener("abort", abort);
        resolve();
      };
      waiting.add(go);
      signal.addEventListener("abort", abort, { once: true });
      this.onEvent("waiting", path);
    });
  }
}
