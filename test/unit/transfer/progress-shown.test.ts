/** What a copy shows while it is under way: a bar on a terminal, plain lines in a log. By the real program. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Fault } from "../../../src/devs3/faults.ts";
import { MiB, Place } from "./place.ts";
import { Programs } from "./programs.ts";

/** Runs a program on a terminal of 120 columns and passes on what it shows there. */
const ON_A_TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    os.environ["TERM"] = "xterm"
    os.environ.pop("NO_COLOR", None)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:
        break
    if not shown:
        break
    os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

const ESCAPE = "\x1b";

let place: Place;
let last: Fault;
const programs = new Programs();

beforeEach(async () => {
  place = await Place.open("lean");
  await place.putInParts("big", randomBytes(20 * MiB));
  // The first three ranges take their time, each longer than the least time between two looks at a bar; the last one waits.
  last = place.s3.faults.add({ operation: "GetObject", skip: 3, hold: true });
  place.s3.faults.add({ operation: "GetObject", count: 3, bytesPerSecond: 16 * MiB });
});

afterEach(async () => {
  programs.close();
  last.remove();
  await place[Symbol.asyncDispose]();
});

const OPTIONS = ["--concurrency", "1", "--part-size", "5MiB"];
const copying = (): string[] => ["s3", "cp", ...OPTIONS, "s3://data/big", place.path("big")];

test("a terminal shows a bar with bytes, share, rate and time left, and its cursor again at the end", async () => {
  const { ended, says } = programs.start(place, copying(), { through: ["python3", "-c", ON_A_TERMINAL] });
  await says("15.0 MiB of 20.0 MiB (75%)");
  last.remove();
  const { code, out } = await ended;
  expect(code).toBe(0);
  // A line is drawn over and over: what was shown, each time.
  const shown = out
    .split(new RegExp(`\\r|${ESCAPE}(?:\\[[0-9;?]*[A-Za-z]|[78])`))
    .filter((text) => text.trim() !== "");
  const quarter = /^Copying █+░+ 15\.0 MiB of 20\.0 MiB \(75%\), [\d.]+ [KM]iB\/s, \S+ left/;
  expect(shown.some((text) => quarter.test(text))).toBe(true);
  expect(shown.some((text) => /^Copying █{24} 20\.0 MiB of 20\.0 MiB \(100%\)/.test(text))).toBe(true);
  // Nothing has arrived yet: a bar that begins full would say otherwise.
  expect(shown[0]).toMatch(/^Copying ░{24}/);
  expect(out.lastIndexOf("\x1b[?25h")).toBeGreaterThan(out.lastIndexOf("\x1b[?25l"));
  expect(out).toContain("hawser: downloaded 1, 20.0 MiB in ");
});

test("a log has plain lines: one at the beginning, one at the end, and the sum", async () => {
  const { ended, says } = programs.start(place, copying());
  await says("Copying: ", "err");
  last.remove();
  const { code, out, err } = await ended;
  expect([code, out]).toEqual([0, ""]);
  const lines = err.trimEnd().split("\n");
  expect(lines[0]).toMatch(/^Copying: .+ of 20\.0 MiB \(\d+%\)/);
  expect(lines.at(-2)).toMatch(/^Copying: 20\.0 MiB of 20\.0 MiB \(100%\), [\d.]+ [KM]iB\/s$/);
  expect(lines.at(-1)).toMatch(/^hawser: downloaded 1, 20\.0 MiB in \S+, [\d.]+ [KM]iB\/s$/);
  expect(err).not.toContain("\r");
  expect(err).not.toContain(ESCAPE);
});

test("--quiet shows neither", async () => {
  last.remove();
  const { ended } = programs.start(place, [...copying(), "-q"], {
    through: ["python3", "-c", ON_A_TERMINAL],
  });
  expect(await ended).toMatchObject({ code: 0, out: "", err: "" });
});
