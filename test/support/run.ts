/** Running programs to their end. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const execute = promisify(execFile);

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** @throws what the program said, when it fails */
export async function run(file: string, args: readonly string[]): Promise<Ran> {
  const ran = await tryRun(file, args);
  if (ran.code !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${ran.code}: ${ran.stderr}`);
  return ran;
}

/** A failure is an answer. */
export async function tryRun(file: string, args: readonly string[]): Promise<Ran> {
  try {
    const { stdout, stderr } = await execute(file, [...args], { maxBuffer: 64 * 1024 * 1024 });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code?: number | string; stdout?: string; stderr?: string };
    if (typeof failed.code !== "number") throw error;
    return { code: failed.code, stdout: failed.stdout ?? "", stderr: failed.stderr ?? "" };
  }
}
