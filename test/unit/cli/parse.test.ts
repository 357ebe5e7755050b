import { describe, expect, test } from "vitest";
import type { Command } from "../../../src/cli/command.ts";
import { argumentsFor } from "../../../src/cli/mount-options.ts";
import { helpText, parseArguments } from "../../../src/cli/parse.ts";
import { volumeFromFlags, withFlags } from "../../../src/cli/volume-options.ts";
import { command as mount } from "../../../src/cli/commands/mount.ts";
import { command as run } from "../../../src/cli/commands/run.ts";

const parse = (...argv: string[]) => parseArguments("mount", mount, argv);

describe("arguments", () => {
  test("the flags that a benchmark or a script gives are understood", async () => {
    const args = await parse(
      ..."s3://data /m --endpoint http://127.0.0.1:9100 --foreground --cache-dir /c --cache-size 50GiB --read-only".split(
        " ",
      ),
    );
    expect(args.positionals).toEqual(["s3://data", "/m"]);
    expect(args.flag("foreground")).toBe(true);
    expect(args.text("cache-size")).toBe("50GiB");
  });

  test("values stay text, whatever they look like", async () => {
    const args = await parse("s3://007", "/1e3", "--uid", "007", "--umask=022", "--region", "1.0");
    expect(args.positionals).toEqual(["s3://007", "/1e3"]);
    expect([args.text("uid"), args.text("umask"), args.text("region")]).toEqual(["007", "022", "1.0"]);
  });

  test("a single dash is a value: standard input", async () => {
    expect((await parse("--region", "-", "s3://x")).text("region")).toBe("-");
  });

  test("an option that may be given several times has all its values", async () => {
    const args = await parseArguments("run", run, ["--in", "s3://a:b", "--in=s3://c:d", "--", "--in", "x"]);
    expect(args.list("in")).toEqual(["s3://a:b", "s3://c:d"]);
    expect(args.list("out")).toEqual([]);
  });

  test("the last of two wins, and -- ends the options", async () => {
    const args = await parse("--region", "a", "--region", "b", "s3://x", "--", "--not-an-option");
    expect(args.text("region")).toBe("b");
    expect(args.rest).toEqual(["--not-an-option"]);
  });

  test.each([
    [["--cache-siz", "1"], "--cache-siz is not an option of this command; did you mean '--cache-size'?"],
    [["--writeable"], "--writeable is not an option of this command; did you mean '--writable'?"],
    [["-x"], "-x is not an option of this command"],
    [["--sign-request"], "--sign-request is not an option of this command"],
    [["--foreground=2"], "--foreground is a switch and takes no value"],
    [["--channel", "natve"], "--channel: 'natve' is not one of native, fuse-native; did you mean 'native'?"],
    [["--region"], "--region needs a value"],
    [
      ["--profile", "--x", "s3://a"],
      "--profile needs a value; one that begins with a dash is written --profile=VALUE",
    ],
    [["--__proto__"], "--__proto__ is not an option"],
    [["--constructor", "x"], "--constructor is not an option"],
  ])("%j is refused with what to write", async (argv, message) => {
    await expect(parse(...argv)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(message),
    });
  });

  test("an option's value may look like an option", async () => {
    expect((await parse("--profile=--x", "s3://a")).text("profile")).toBe("--x");
  });

  test("more arguments than a command takes are refused", async () => {
    const one: Command = { ...mount, maxPositionals: 1 };
    await expect(parseArguments("x", one, ["a", "b"])).rejects.toThrow("'b' is one argument too many");
  });

  test("help names every option and shows examples", async () => {
    const help = await helpText("mount", mount, 100);
    for (const name of Object.keys(mount.options)) expect(help).toContain(`--${name}`);
    expect(help).toContain("Examples:");
    expect(help).toContain("Usage: hawser mount s3://BUCKET[/PREFIX] PATH");
  });
});

describe("volumes from options", () => {
  test("options are keys of the schema", async () => {
    const args = await parse(
      "--profile",
      "p",
      "--memory",
      "256MiB",
      "--no-passthrough",
      "--file-mode",
      "0755",
      "--allow-other",
    );
    expect(volumeFromFlags("s3://data/x", "/m/data", args)).toMatchObject({
      name: "data",
      bucket: "data",
      prefix: "x/",
      credentials: { profile: "p" },
      cache: { memory: 256 * 1024 * 1024 },
      passthrough: false,
      fileMode: 0o755,
      allowOther: true,
    });
  });

  test("a mistake is named by its option", async () => {
    const args = await parse("--cache-keep-free", "much");
    expect(() => volumeFromFlags("s3://data", "/m", args)).toThrow("--cache-keep-free: 'much' is not a size");
  });

  test("unsigned requests and a profile contradict each other", async () => {
    const args = await parse("--profile", "p", "--no-sign-request");
    expect(() => volumeFromFlags("s3://data", "/m", args)).toThrow("contradict");
  });

  test("options win over a file, key by key", async () => {
    const args = await parse("--cache-size", "1GiB", "--endpoint", "http://x:1");
    const volume = volumeFromFlags(
      "s3://data",
      "/m",
      await parse("--cache-dir", "/c", "--region", "eu-west-1"),
    );
    expect(withFlags(volume, args)).toMatchObject({
      bucket: "data",
      region: "eu-west-1",
      endpoint: "http://x:1",
      mode: "read-only",
      cache: { dir: "/c", size: 1024 ** 3 },
    });
    expect(withFlags(volume, await parse())).toBe(volume);
  });
});

describe("options of writing", () => {
  const WRITABLE = { mode: "writable" };
  test.each([
    ["--staging-size", "1GiB"],
    ["--staging-dir", "/s"],
    ["--early-upload", "1GiB"],
    ["--fsync", "local"],
    ["--on-close", "bucket"],
    ["--publish", "any"],
    ["--storage-class", "STANDARD_IA"],
    ["--sse", "AES256"],
    ["--sse-kms-key-id", "key"],
    ["--acl", "private"],
    ["--tags", "a=b"],
  ])("%s is refused for a read-only volume and taken by a writable one", async (option, value) => {
    const args = await parse(option, value);
    const refused = new RegExp(`^${option}: is for writable volumes`);
    expect(() => volumeFromFlags("s3://data", "/m", args)).toThrow(refused);
    expect(volumeFromFlags("s3://data", "/m", args, WRITABLE)).toMatchObject(WRITABLE);
    const file = volumeFromFlags("s3://data", "/m", await parse());
    expect(() => withFlags(file, args)).toThrow(refused);
    expect(withFlags({ ...file, mode: "writable" }, args)).toMatchObject(WRITABLE);
  });

  test("a file's staging and objects are changed key by key", async () => {
    const given = await parse("--staging-dir", "/s", "--storage-class", "STANDARD_IA");
    const volume = volumeFromFlags("s3://data", "/m", given, WRITABLE);
    expect(withFlags(volume, await parse("--staging-size", "1GiB", "--acl", "private"))).toMatchObject({
      staging: { dir: "/s", size: 1024 ** 3 },
      objects: { storageClass: "STANDARD_IA", acl: "private" },
    });
  });

  test("--read-only leaves away what a writable volume's file says of writing", async () => {
    const volume = volumeFromFlags("s3://data", "/m", await parse("--fsync", "local"), WRITABLE);
    expect(withFlags(volume, await parse(), { mode: "read-only" })).not.toHaveProperty("fsync");
  });
});

describe("options of mount(8)", () => {
  const to = (list: string, sloppy = false) => argumentsFor(list, mount.options, { sloppy });

  test("ro and allow_other, as in fstab", () => {
    expect(to("ro,allow_other,_netdev,nofail,x-systemd.automount,rw")).toEqual([
      "--read-only",
      "--allow-other",
    ]);
  });
  test("values keep commas inside quotes and equal signs", () => {
    expect(to('endpoint=http://h:1/?a=b,profile="a,b"')).toEqual([
      "--endpoint=http://h:1/?a=b",
      "--profile=a,b",
    ]);
  });
  test("a misspelt one is refused, unless mount -s", () => {
    expect(() => to("allow_othr")).toThrow("did you mean 'allow_other'?");
    expect(to("allow_othr", true)).toEqual([]);
  });
  test("one that needs a value says so", () => {
    expect(() => to("endpoint")).toThrow("endpoint=…");
  });
});
