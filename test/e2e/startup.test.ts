/** What a person waits for before anything happens. */
import { expect, test } from "vitest";
import { PROGRAM, runProgram } from "./harness.ts";

/** Runs the program a few times, one after the other. Prints the least CPU time that a run took, in seconds. */
const LEAST_CPU = `
import resource, subprocess, sys
def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
def run():
    before = spent()
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
    return spent() - before
print(min(run() for _ in range(7)))`;

test("hawser --help answers within 150 ms of a processor", async () => {
  // Not of the clock on the wall, which goes on while other programs have the processor.
  const { stdout } = await runProgram("python3", ["-c", LEAST_CPU, process.execPath, PROGRAM, "--help"]);
  expect(Number(stdout)).toBeGreaterThan(0);
  expect(Number(stdout)).toBeLessThan(0.15);
});

test("the program ends quietly when nobody reads its output", async () => {
  const { stderr, code } = await runProgram("bash", [
    "-c",
    `set -o pipefail; "$0" "$1" completion bash | head -1`,
    process.execPath,
    PROGRAM,
  ]);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
});
