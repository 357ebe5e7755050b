/** Files of a mount, seen through a process that is killed when a call does not come back. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { abortConnection } from "../../src/daemon/detach.ts";
import { mountAt } from "../../src/daemon/mountinfo.ts";
import type { FileCommand } from "../e2e/file-commands.ts";
import type { Tree } from "../e2e/stored-tree.ts";
import { childProgram } from "../support/child-programs.ts";
import type { FileQuestion } from "../support/file-child.ts";

/** A call that takes longer hangs. */
const CALL_MS = 300_000;

export class FileAccess implements Disposable {
  readonly #root: string;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(root: string) {
    this.#root = root;
    this.#child = spawn(process.execPath, [childProgram("test/support/file-child.ts")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#answers = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  /** On the mount, unless another root is given. @returns what it read, "done", or an error's name */
  carryOut(command: FileCommand, root = this.#root): Promise<string> {
    return this.#ask({ root, command }) as Promise<string>;
  }

  tree(root = this.#root): Promise<Tree> {
    return this.#ask({ root }) as Promise<Tree>;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }

  async #ask(question: FileQuestion): Promise<unknown> {
    this.#child.stdin!.write(`${JSON.stringify(question)}\n`);
    let hangs = false;
    const timer = setTimeout(() => {
      hangs = true;
      this.#child.kill("SIGKILL");
      // A call that the mount has taken ends only with the connection.
      const mounted = mountAt(this.#root);
      if (mounted) abortConnection(mounted);
    }, CALL_MS);
    const { value, done } = await this.#answers.next();
    clearTimeout(timer);
    const what = JSON.stringify(question.command ?? "the tree");
    if (hangs) throw new Error(`${what} hung for ${CALL_MS} ms`);
    if (done) throw new Error(`${what}: the process ended`);
    const answer = JSON.parse(value) as { value?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(`${what}: ${answer.error}`);
    return answer.value;
  }
}
