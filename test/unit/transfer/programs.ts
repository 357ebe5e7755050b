/** The program `hawser` as a process, against a test's own server and with state of its own. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { testEnvironment } from "../../support/dev-s3.ts";
import type { Place } from "./place.ts";

export const PROGRAM = fileURLToPath(new URL("../../../bin/hawser.js", import.meta.url));

export interface Ended {
  /** Null when a signal ended it. */
  code: number | null;
  out: string;
  err: string;
  /** Of standard output. */
  bytes: Buffer;
}

export interface Started {
  child: ChildProcess;
  ended: Promise<Ended>;
  /** Resolves when this was said; rejects when the program ends without. */
  says(text: string, where?: "out" | "err"): Promise<void>;
}

export interface StartOptions {
  /** Standard input; at its end at once when absent. */
  input?: Uint8Array | undefined;
  cwd?: string | undefined;
  /** A program that is given the command line to run, with its own arguments. */
  through?: readonly string[] | undefined;
}

/** The processes of one test file: `close` ends those that still run. */
export class Programs {
  readonly #children: ChildProcess[] = [];

  start(place: Place, argv: readonly string[], options: StartOptions = {}): Started {
    const [file, ...args] = [...(options.through ?? []), process.execPath, PROGRAM, ...argv];
    const child = spawn(file!, args, {
      cwd: options.cwd,
      env: { ...process.env, ...testEnvironment(place.s3), HAWSER_STATE_DIR: place.path(".state") },
    });
    this.#children.push(child);
    const out: Buffer[] = [];
    let err = "";
    const heard = new Set<() => void>();
    const hear = (): void => {
      for (const look of heard) look();
    };
    child.stdout.on("data", (chunk: Buffer) => {
      out.push(chunk);
      hear();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
      hear();
    });
    // A program that ends before it has read everything closes the pipe.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input);
    const ended = new Promise<Ended>((resolve) => {
      child.once("close", (code) => {
        const bytes = Buffer.concat(out);
        resolve({ code, out: bytes.toString(), err, bytes });
      });
    });
    const says: Started["says"] = (text, where = "out") =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const said = where === "out" ? Buffer.concat(out).toString() : err;
          if (!said.includes(text)) return;
          heard.delete(look);
          resolve();
        };
        heard.add(look);
        look();
        void ended.then((end) => reject(new Error(`it never said ${text}: ${end.out}${end.err}`)));
      });
    return { child, ended, says };
  }

  close(): void {
    for (const child of this.#children.splice(0)) child.kill("SIGKILL");
  }
}
