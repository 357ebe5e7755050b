/** `cleanup --install-timer`: what is written down runs the same cleanup, by cron as it stands and by systemd's rules. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { cronLine, unitsOf } from "../../../../src/cli/checkpoint/timer.ts";
import { run } from "../../../../src/cli/main.ts";
import { distributed, place } from "./layouts.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-timer-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** A crontab(1) that keeps its table in a file. */
function fakeCrontab(): string {
  const bin = join(folder, "bin");
  const table = join(folder, "crontab");
  mkdirSync(bin);
  const script = `#!/bin/sh\nif [ "$1" = -l ]; then [ -f '${table}' ] && exec /bin/cat '${table}'; exit 1; fi\nexec /bin/cat > '${table}'\n`;
  writeFileSync(join(bin, "crontab"), script);
  chmodSync(join(bin, "crontab"), 0o755);
  return table;
}

async function hawser(...argv: string[]): Promise<{ code: number; err: string }> {
  const errors: string[] = [];
  const code = await run(["checkpoint", "cleanup", ...argv], {
    out: () => undefined,
    err: (line) => void errors.push(line),
    paint: (_style, text) => text,
    paintErr: (_style, text) => text,
    interactive: false,
    columns: 100,
    verbose: false,
    environment: { PATH: join(folder, "bin") },
  });
  return { code, err: errors.join("\n") };
}

test("a line of the crontab that cleans up, once however often it is installed, and gone when it is ended", async () => {
  const table = fakeCrontab();
  writeFileSync(table, "0 1 * * * /bin/true\n");
  const out = join(folder, "it's 100% out");
  place(out, { ...distributed(100), ...distributed(200), ...distributed(300) });
  const rules = ["--keep-last-n", "1", "--settle", "1s"];
  const install = ["--install-timer", "--scheduler", "cron"];
  expect(await hawser(out, ...rules, ...install, "--every", "2h")).toMatchObject({ code: 0 });
  expect(await hawser(out, ...rules, ...install, "--every", "15m")).toMatchObject({ code: 0 });
  const lines = readFileSync(table, "utf8").trim().split("\n");
  expect(lines).toHaveLength(3);
  expect(lines[0]).toBe("0 1 * * * /bin/true");
  const [, minutes, command] = /^(\S+ \* \* \* \*) (.*)$/.exec(lines[2]!)!;
  expect(minutes).toBe("*/15 * * * *");
  // As cron(8) hands it to the shell.
  const ran = spawnSync("/bin/sh", ["-c", command!.replaceAll("\\%", "%")], {
    encoding: "utf8",
    env: { HOME: folder },
  });
  expect(ran.stderr).not.toContain("error");
  expect(readdirSync(out)).toEqual(["step_300"]);
  expect(await hawser(out, "--uninstall-timer", "--scheduler", "cron")).toMatchObject({ code: 0 });
  expect(readFileSync(table, "utf8")).toBe("0 1 * * * /bin/true\n");
  expect((await hawser(out, "--uninstall-timer", "--scheduler", "cron")).err).toContain(
    "There is no schedule",
  );
});

test("where nothing keeps a schedule it says so, and what is to be done", async () => {
  const { code, err } = await hawser(folder, "--keep-last-n", "1", "--install-timer", "--scheduler", "cron");
  expect(code).toBe(1);
  expect(err).toContain("there is no crontab");
  expect(err).toContain("scheduler of your own");
  expect(existsSync(join(folder, "crontab"))).toBe(false);
});

test.each([
  ["90s", "whole minutes"],
  ["7m", "15m, 1h, 6h or 1d"],
])("--every %s is refused", async (every, words) => {
  fakeCrontab();
  const { code, err } = await hawser(
    folder,
    "--keep-last-n",
    "1",
    "--install-timer",
    "--scheduler",
    "cron",
    "--every",
    every,
  );
  expect(code).toBe(2);
  expect(err).toContain(words);
});

test.each([
  [1, "*/1 * * * *"],
  [30, "*/30 * * * *"],
  [60, "0 */1 * * *"],
  [360, "0 */6 * * *"],
  [1440, "0 0 * * *"],
])("every %i minutes is %s", (minutes, expected) => {
  expect(cronLine({ everyMs: minutes * 60_000, words: ["x"] })).toBe(`${expected} 'x'`);
});

test("systemd's units quote what is special to it", () => {
  const units = unitsOf({
    name: "hawser-cleanup-1",
    place: "/out 100%",
    everyMs: 3_600_000,
    words: ["/bin/a b", '50% $x "y"'],
  });
  expect(Object.keys(units)).toEqual(["hawser-cleanup-1.service", "hawser-cleanup-1.timer"]);
  expect(units["hawser-cleanup-1.service"]).toContain(String.raw`ExecStart="/bin/a b" "50%% $$x \"y\""`);
  expect(units["hawser-cleanup-1.service"]).toContain("Description=Cleans up checkpoints in /out 100%%\n");
  expect(units["hawser-cleanup-1.timer"]).toContain("OnUnitActiveSec=3600\n");
});
