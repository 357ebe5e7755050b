import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HawserError } from "../../../src/common/errors.ts";
import { run } from "../../../src/cli/main.ts";
import { reportError } from "../../../src/cli/report.ts";
import { shellQuote, systemdQuote } from "../../../src/cli/system-files.ts";
import { table } from "../../../src/cli/table.ts";
import { wantsColour } from "../../../src/cli/terminal.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

class Recorder implements Terminal {
  readonly lines: string[] = [];
  readonly errors: string[] = [];
  readonly interactive = false;
  readonly columns = 100;
  verbose = false;
  readonly environment = {};
  out = (line: string) => void this.lines.push(line);
  err = (line: string) => void this.errors.push(line);
  paint = (_style: string, text: string) => text;
  paintErr = (_style: string, text: string) => text;
}

async function hawser(...argv: string[]) {
  const terminal = new Recorder();
  const code = await run(argv, terminal);
  return { code, out: terminal.lines.join("\n"), err: terminal.errors.join("\n") };
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-cli-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the program", () => {
  test("without a command it shows what there is, and fails", async () => {
    expect(await hawser()).toMatchObject({ code: 2, out: expect.stringContaining("Commands:") });
    expect(await hawser("--help")).toMatchObject({ code: 0, out: expect.stringContaining("unmount") });
  });
  test("says its version", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
    expect(await hawser("--version")).toEqual({ code: 0, out: version, err: "" });
  });
  test("an unknown command is refused with the nearest", async () => {
    expect(await hawser("statsu")).toMatchObject({
      code: 2,
      err: expect.stringContaining("did you mean 'status'?"),
    });
  });
  test.each(["mount", "unmount", "umount", "status", "doctor", "config", "install", "dev-s3", "completion"])(
    "%s has help with usage and examples",
    async (name) => {
      const { code, out } = await hawser(name, "--help");
      expect(code).toBe(0);
      expect(out).toMatch(/^Usage: hawser /);
      expect(out).toContain("Examples:");
      expect(await hawser("help", name)).toMatchObject({ code: 0, out });
    },
  );
  test("--help after -- is not for us", async () => {
    expect(await hawser("config", "nothing", "--", "--help")).toMatchObject({ code: 2 });
  });
});

describe("mount refuses before anything happens", () => {
  test.each([
    [["mount"], 2, "Say what to mount"],
    [["mount", "s3://data"], 2, "Say where to mount"],
    [["mount", "data", "/m"], 2, "did you mean 's3://data'?"],
    [["mount", "s3://data", "rel"], 3, "is a relative path"],
    [["mount", "s3://data", "/etc"], 3, "system folder"],
    [["mount", "s3://data", "/m", "--writable", "--read-only"], 2, "contradict"],
    [["mount", "s3://data", "/m", "x"], 2, "one argument too many"],
    [["mount", "--config", "/no/such.yaml"], 2, "does not exist"],
  ])("%j", async (argv, code, message) => {
    expect(await hawser(...argv)).toMatchObject({ code, err: expect.stringContaining(message) });
  });

  test("a volume that the file does not have", async () => {
    const file = join(folder, "hawser.yaml");
    writeFileSync(file, "volumes: [{bucket: data, mount: /m/train}]");
    expect(await hawser("mount", "--config", file, "test")).toMatchObject({
      code: 2,
      err: expect.stringContaining("it has train"),
    });
  });
});

describe("errors", () => {
  test("show message, code and what the store said, and no stack", () => {
    const terminal = new Recorder();
    const error = new HawserError("access_denied", "No.\nTry this.", {
      s3Code: "AccessDenied",
      httpStatus: 403,
      requestId: "R",
    });
    expect(reportError(error, terminal)).toBe(5);
    expect(terminal.errors).toEqual([
      "error: No. [access_denied]",
      "       Try this.",
      "       the store said: AccessDenied, HTTP 403, request R",
    ]);
  });
  test("show the stack to who asks", () => {
    const terminal = new Recorder();
    terminal.verbose = true;
    expect(reportError(new TypeError("x is undefined"), terminal)).toBe(70);
    expect(terminal.errors.join("\n")).toMatch(/TypeError: x is undefined\n\s+at /);
  });
});

describe("config", () => {
  test("check lists the volumes", async () => {
    const file = join(folder, "hawser.yaml");
    writeFileSync(file, "volumes: [{bucket: data, prefix: p, mount: /m/train}]");
    expect(await hawser("config", "check", file)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/train +s3:\/\/data\/p +\/m\/train +read-only/),
    });
  });
  test("check says mistakes with their line", async () => {
    const file = join(folder, "hawser.yaml");
    writeFileSync(file, "volumes:\n  - bucket: data\n    moun: /m\n");
    const { code, err } = await hawser("config", "check", file);
    expect(code).toBe(2);
    expect(err).toContain(`${file}:3:5: volumes[0].moun: unknown key; did you mean 'mount'?`);
  });
  test("schema is JSON", async () => {
    expect(JSON.parse((await hawser("config", "schema")).out)).toMatchObject({ title: "hawser.yaml" });
  });
});

describe("install", () => {
  test("writes the helper and the unit, again, and removes them", async () => {
    expect((await hawser("install", "--root", folder)).code).toBe(0);
    expect((await hawser("install", "--root", folder)).code).toBe(0);
    const helper = join(folder, "sbin/mount.hawser");
    expect(statSync(helper).mode & 0o777).toBe(0o755);
    expect(readFileSync(helper, "utf8")).toMatch(/^#!\/bin\/sh\n[\s\S]*mount-helper "\$@"\n$/);
    const unit = readFileSync(join(folder, "etc/systemd/system/hawser@.service"), "utf8");
    for (const line of [
      "OOMScoreAdjust=-900",
      "KillMode=mixed",
      "TimeoutStopSec=infinity",
      "After=network-online.target",
    ]) {
      expect(unit).toContain(`\n${line}\n`);
    }
    expect((await hawser("install", "--root", folder, "--uninstall")).code).toBe(0);
    expect(() => statSync(helper)).toThrow("ENOENT");
  });
  test("leaves a file alone that is not its own", async () => {
    await hawser("install", "--root", folder);
    writeFileSync(join(folder, "sbin/mount.hawser"), "#!/bin/sh\n");
    expect(await hawser("install", "--root", folder)).toMatchObject({
      code: 1,
      err: expect.stringContaining("was not written by Hawser"),
    });
    expect(await hawser("install", "--root", folder, "--uninstall")).toMatchObject({ code: 1 });
  });
  test("--print shows both", async () => {
    const { out } = await hawser("install", "--print");
    expect(out).toContain("# /sbin/mount.hawser (mode 755)");
    expect(out).toContain("ExecStart=");
  });
  test("paths are quoted for the shell and for systemd", () => {
    expect(shellQuote("/a b/it's")).toBe("'/a b/it'\\''s'");
    expect(systemdQuote('/a "b"/50%/$x\\')).toBe('"/a \\"b\\"/50%%/$$x\\\\"');
  });
});

test("tables align by what is seen, not by colour codes", () => {
  expect(
    table(
      ["A", "B"],
      [
        ["\u001b[31mred\u001b[39m", "x"],
        ["é", "y"],
      ],
    ),
  ).toEqual(["A    B", "\u001b[31mred\u001b[39m  x", "é    y"]);
});

test.each([
  [true, {}, true],
  [false, {}, false],
  [true, { NO_COLOR: "1" }, false],
  [true, { TERM: "dumb" }, false],
  [false, { FORCE_COLOR: "1" }, true],
])("colours: tty %s with %j -> %s", (isTTY, environment, wanted) => {
  expect(wantsColour({ isTTY }, environment)).toBe(wanted);
});
